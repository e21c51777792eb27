"""Neurons of the MouseLight and Neuron Morphology Community portals, as JSON.

A neuron has a ``soma`` and the lists ``axon`` and ``dendrite`` of samples. Each list numbers its
samples anew and begins, as a rule, with the soma; here they become one tree from the soma.

References
----------
Winnubst J. et al. (2019), Reconstruction of 1,000 projection neurons reveals new cell types and
organization of long-range connectivity in the mouse brain, Cell 179, 268-281.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from projectome.core.space import Space
from projectome.errors import FormatError, Problem
from projectome.io.documents import parse_json
from projectome.io.skeletons.model import Given, Graph, NamedSkeleton, Skeletons

SOMA = 1
KINDS = {"axon": 2, "dendrite": 3}
# Samples may say that they are a fork (5) or an end (6); their kind is that of their list.
OWN_KINDS = (2, 3, 4)
NEAR = 1e-3
"""A list's first sample this close to the soma is the soma [unit of the file]."""


@dataclass
class _Samples:
    """The samples of one neuron; edges are pairs of rows."""

    rows: list[tuple[float, float, float, float]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    structures: list[int] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)

    def add(self, sample: Mapping[str, Any], number: int, kind: int, where: str) -> int:
        z, y, x = (_float(sample, axis, where) for axis in "zyx")
        radius = sample.get("radius")
        self.rows.append((z, y, x, _float(sample, "radius", where) if radius is not None else 0.0))
        self.ids.append(number)
        self.kinds.append(kind)
        self.structures.append(_int(sample, "structureIdentifier", where, kind))
        self.regions.append(_int(sample, "allenId", where, 0))
        return len(self.rows) - 1


def parse_mouselight(data: bytes, *, url: str, given: Given | None = None) -> Skeletons:
    """Read neurons from JSON.

    Parameters
    ----------
    data
        The document: ``{"neurons": [...]}`` or one neuron.
    url
        Where it came from, for messages.
    given
        What the caller says about coordinates; micrometres by definition of the format.

    Returns
    -------
    Skeletons
        One a neuron, rooted at its soma: kinds 1 soma, 2 axon, 3 and 4 dendrite; columns
        ``allen_id`` (0 where unknown) and ``structure`` (as in the file); facts ``doi``,
        ``sample``, ``label``, ``annotation_space`` and the like. Node ids count on from list to
        list.

    Raises
    ------
    FormatError
        If it is no such document, a sample lacks a number, or a parent is missing.
    """
    given = given or Given()
    document = parse_json(data, url=url)
    neurons = document.get("neurons", document.get("contents"))
    if isinstance(neurons, dict):
        neurons = neurons.get("neurons")
    if neurons is None and ("axon" in document or "dendrite" in document):
        neurons = [document]
    if not isinstance(neurons, list):
        raise FormatError(
            f"{url} has no list 'neurons' of neurons with axon and dendrite: it is not from the "
            "MouseLight or NMCP portal."
        )
    problems: list[Problem] = []
    items = []
    for number, neuron in enumerate(neurons, 1):
        if not isinstance(neuron, dict):
            raise FormatError(
                f"{url}: neuron {number} is a {type(neuron).__name__}, not an object."
            )
        items.append(_neuron(neuron, number, url, given))
    return Skeletons(tuple(items), "mouselight", tuple(problems))


def _neuron(neuron: Mapping[str, Any], number: int, url: str, given: Given) -> NamedSkeleton:
    name = str(neuron.get("idString") or neuron.get("id") or f"neuron-{number}")
    where = f"{url}: neuron {name!r}"
    found = _Samples()
    soma = neuron.get("soma")
    if isinstance(soma, dict) and any(axis in soma for axis in "xyz"):
        found.roots.append(found.add(soma, 1, SOMA, f"{where}, soma"))
    for arbor, kind in KINDS.items():
        samples = neuron.get(arbor) or []
        if not isinstance(samples, list) or not all(isinstance(s, dict) for s in samples):
            raise FormatError(f"{where}: {arbor!r} is not a list of samples.")
        _add_arbor(found, samples, kind, f"{where}, {arbor}")
    space, problems = _space(neuron, where, given)
    factors, radius_factor = given.factors()
    values = np.asarray(found.rows, dtype=np.float64).reshape(-1, 4)
    graph = Graph(
        values[:, :3] * factors,
        np.asarray(found.edges, dtype=np.int64).reshape(-1, 2),
        np.asarray(found.ids, dtype=np.int64),
        radius=values[:, 3] * radius_factor,
        kind=np.asarray(found.kinds, dtype=np.int32),
        columns={
            "allen_id": np.asarray(found.regions, dtype=np.int64),
            "structure": np.asarray(found.structures, dtype=np.int64),
        },
        roots=found.roots,
    )
    named = graph.named(name, space, url, facts=_facts(neuron))
    return NamedSkeleton(
        named.skeleton, name, named.ids, named.columns, named.facts, (*problems, *named.problems)
    )


def _add_arbor(
    found: _Samples, samples: Sequence[Mapping[str, Any]], kind: int, where: str
) -> None:
    """Add one list of samples; its roots hang on the soma if there is one."""
    offset = max(found.ids, default=0)
    soma = found.roots[0] if found.roots else None
    rows: dict[int, int] = {}
    parents: list[tuple[int, int]] = []
    for place, sample in enumerate(samples, 1):
        here = f"{where}, sample {place}"
        number = _int(sample, "sampleNumber", here, None)
        if number in rows:
            raise FormatError(f"{here}: the number {number} is given twice. Correct the file.")
        parent = _int(sample, "parentNumber", here, None)
        own = _int(sample, "structureIdentifier", here, kind)
        if parent < 0 and soma is not None and own == SOMA and _is_soma(sample, found, soma, here):
            rows[number] = soma
            found.regions[soma] = found.regions[soma] or _int(sample, "allenId", here, 0)
            continue
        role = SOMA if own == SOMA and parent < 0 else own if own in OWN_KINDS else kind
        if not 0 < number < 2**40:
            raise FormatError(f"{here}: the number {number} is out of range. Correct the file.")
        rows[number] = found.add(sample, offset + number, role, here)
        parents.append((number, parent))
    for number, parent in parents:
        if parent >= 0 and parent not in rows:
            raise FormatError(
                f"{where}: the parent {parent} of sample {number} is not in the list. Correct it."
            )
        above = rows[parent] if parent >= 0 else soma
        if above is None:
            found.roots.append(rows[number])
            soma = rows[number] if found.kinds[rows[number]] == SOMA else None
        else:
            found.edges.append((above, rows[number]))


def _is_soma(sample: Mapping[str, Any], found: _Samples, soma: int, where: str) -> bool:
    place = np.array([_float(sample, axis, where) for axis in "zyx"])
    return bool(np.abs(place - np.array(found.rows[soma][:3])).max() <= NEAR)


def _space(neuron: Mapping[str, Any], where: str, given: Given) -> tuple[Space, list[Problem]]:
    """Return the space; the directions of its axes are left to the caller."""
    said = neuron.get("annotationSpace")
    if given.space is not None or not isinstance(said, dict):
        return given.settle(Space()), []
    text = str(said.get("description") or said.get("version") or "")[:200]
    message = (
        f"the file names its space {text!r}. Its words do not say which end of an axis is 0, so "
        "the orientation stays unknown; pass space= to state it."
    )
    version = said.get("version")
    name = "allen_mouse" if version == 3 else f"mouselight_{version}"
    return given.settle(Space(name=name)), [Problem("warning", where, message)]


def _facts(neuron: Mapping[str, Any]) -> dict[str, object]:
    names = {
        "DOI": "doi",
        "sample": "sample",
        "label": "label",
        "annotationSpace": "annotation_space",
        "annotator": "annotator",
        "proofreader": "proofreader",
        "peerReviewer": "peer_reviewer",
    }
    return {ours: neuron[theirs] for theirs, ours in names.items() if neuron.get(theirs)}


def _float(sample: Mapping[str, Any], key: str, where: str) -> float:
    value = sample.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
        raise FormatError(f"{where}: {key!r} is {str(value)[:40]!r}, not a number. Correct it.")
    return float(value)


def _int(sample: Mapping[str, Any], key: str, where: str, default: int | None) -> int:
    value = sample.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**53:
        raise FormatError(
            f"{where}: {key!r} is {str(value)[:40]!r}, not a whole number. Correct it."
        )
    return value
