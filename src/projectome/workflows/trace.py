"""From instance labels and somata to traced neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectome.core.box import BlockGrid
from projectome.core.points import Points
from projectome.core.provenance import Record, digest
from projectome.engine.sinks import TableSink
from projectome.errors import ParameterError
from projectome.io.skeletons.swc import write_swc
from projectome.io.source import VolumeSource
from projectome.io.stores import mapped
from projectome.io.tables import write_table
from projectome.morphology.edit import smooth
from projectome.morphology.measure import measure, tissue
from projectome.tracing.assign import Neuron, assign_somata
from projectome.tracing.join import apply_joins, propose_joins
from projectome.tracing.steps import SkeletoniseBlocks
from projectome.tracing.stitch import stitch
from projectome.workflows.job import Job

BLOCK = (128, 128, 128)
"""Voxels a block of skeletons; fixed, because where blocks meet can move a path by a voxel."""

SMOOTHING = 3
"""Rounds of smoothing. Where neurites of the phantom lie alone, paths from voxel to voxel are 14 %
too long; these leave 1.5 %, and more of them cut corners."""
VOXELS = {
    "constant_um": 2.0,
    "min_tick_um": 4.0,
    "min_length_um": 10.0,
    "max_gap_um": 8.0,
    "soma_margin_um": 2.0,
}
"""Lengths that are left out, in voxels."""
DIRECTION = 10.0
"""Length of path that tells the direction of a tip, in voxels."""


@dataclass(frozen=True)
class Tracing:
    """How labels become neurons; lengths that are left out follow from the voxel size.

    Attributes
    ----------
    scale
        A path clears so many radii around it: shorter side branches are not traced.
    constant_um
        What it clears beyond that [um]; 2 voxels if left out.
    min_tick_um
        Twigs shorter than this are removed [um]; 4 voxels if left out.
    min_length_um
        Fragments with less cable are removed [um]; 10 voxels if left out.
    max_gap_um
        Tips this far apart may be joined [um]; 8 voxels if left out.
    max_angle_deg
        A join may bend by this much at either tip [degrees].
    soma_margin_um
        A fragment this close to the surface of a soma belongs to it [um]; 2 voxels if left out.
    """

    scale: float = 1.5
    constant_um: float | None = None
    min_tick_um: float | None = None
    min_length_um: float | None = None
    max_gap_um: float | None = None
    max_angle_deg: float = 35.0
    soma_margin_um: float | None = None

    def __post_init__(self) -> None:
        # Here and not where they are used: that is hours later.
        for name, value in asdict(self).items():
            least = "above 0" if name in ("max_gap_um", "max_angle_deg") else "0 or more"
            if value is None or (np.isfinite(value) and value > 0):
                continue
            if value != 0 or least == "above 0":
                raise ParameterError(f"{name} of tracing is {least}, not {value!r}.")
        if self.max_angle_deg > 180:
            raise ParameterError(f"max_angle_deg is 180 or less, not {self.max_angle_deg!r}.")

    def resolved(self, voxel_size: Sequence[float]) -> Tracing:
        """Return the parameters with nothing left out.

        Parameters
        ----------
        voxel_size
            Size of a voxel (z, y, x) [um]; its geometric mean counts.
        """
        size = mean_size(voxel_size)
        lengths = {name: round(count * size, 6) for name, count in VOXELS.items()}
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return Tracing(**{**lengths, **given})


def mean_size(voxel_size: Sequence[float]) -> float:
    """Return the geometric mean of the sides of a voxel [um]."""
    return float(np.prod(voxel_size)) ** (1 / 3)


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """Neurons and how they came about.

    Attributes
    ----------
    neurons
        Neurons with a soma first, then fragments; ids count from 1.
    audit
        Every join and cut with its evidence.
    """

    neurons: list[Neuron]
    audit: pd.DataFrame


def trace_record(labels: Path, somata: Points, tracing: Tracing) -> Record:
    """Return the record of the neurons that labels and somata give."""
    source = VolumeSource(str(labels))
    settings = asdict(tracing.resolved(source.open().voxel_size))
    found = [somata.coordinates, somata["radius_um"], somata["id"]]
    inputs = {"labels": source.fingerprint(), "somata": digest(found)}
    return Record("trace/1", settings, inputs)


def trace_labels(
    labels: Path, probability: Path, somata: Points, tracing: Tracing, *, work: Path, ledger: Path,
    job: Job,
) -> Traced:  # fmt: skip
    """Skeletonise labels, join the fragments, and give them to somata.

    Parameters
    ----------
    labels, probability
        OME-Zarr of the segmentation.
    somata
        Centres with ``radius_um`` and ``id``; possibly none.
    tracing
        Parameters.
    work
        Folder for what is needed on the way.
    ledger
        Folder of the marks of finished blocks.
    job
        Where and how to run.

    Returns
    -------
    Traced
        The same whatever the workers, the memory and the interruptions.
    """
    source = VolumeSource(str(labels))
    volume = source.open()
    chosen = asdict(tracing.resolved(volume.voxel_size))
    step = SkeletoniseBlocks(source, chosen["scale"], chosen["constant_um"])
    grid = BlockGrid(volume.box, BLOCK, step.halo())
    sink = TableSink(str(work / "skeletons"))
    job.run(step, grid, sink, ledger)
    nodes = sink.read()
    forest, _ = stitch(
        {name: nodes[name].to_numpy() for name in nodes.columns},
        shape=volume.shape,
        affine=volume.affine,
        scale=chosen["scale"],
        constant_um=chosen["constant_um"],
        min_tick_um=chosen["min_tick_um"],
        min_length_um=chosen["min_length_um"],
    )
    forest = smooth(forest, rounds=SMOOTHING)
    joins = propose_joins(
        forest,
        max_gap_um=chosen["max_gap_um"],
        max_angle_deg=chosen["max_angle_deg"],
        direction_um=DIRECTION * mean_size(volume.voxel_size),
        evidence=Evidence(VolumeSource(str(probability))),
    )
    joined = apply_joins(forest, joins)
    neurons, cuts = assign_somata(
        joined,
        somata,
        margin_um=chosen["soma_margin_um"],
        min_stem_um=chosen["min_tick_um"],
    )
    return Traced(neurons, pd.concat([joins, cuts], ignore_index=True))


@dataclass(frozen=True)
class Evidence:
    """Neurite probability at points, read where they lie.

    Attributes
    ----------
    probability
        Neurite probability, uint8.
    """

    probability: VolumeSource

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability at the voxel of each point, shape (M,)."""
        volume = self.probability.open()
        voxels = np.rint(volume.affine.inverse()(points)).astype(np.int64)
        voxels = np.clip(voxels, 0, np.asarray(volume.shape) - 1)
        chunk = np.asarray(volume.chunks)
        found = np.zeros(len(voxels))
        grid = BlockGrid(volume.box, volume.chunks)
        owner = np.ravel_multi_index(tuple((voxels // chunk).T), grid.shape)
        for place in np.unique(owner).tolist():
            mine = np.flatnonzero(owner == place)
            core = grid.nth(place).core
            z, y, x = (voxels[mine] - core.start).T
            found[mine] = volume.read(core)[z, y, x]
        return found / 255


def table_of(neurons: Sequence[Neuron]) -> pd.DataFrame:
    """Return one row a neuron or fragment.

    Returns
    -------
    pandas.DataFrame
        ``id``, ``soma_id`` (-1 for fragments), ``length_um`` as on disk, and the morphology, of
        which lengths are in micrometres of tissue.
    """
    rows: list[dict[str, Any]] = []
    for neuron in neurons:
        skeleton = neuron.skeleton
        shape = measure(skeleton)
        rows.append(
            {
                "id": neuron.id,
                "soma_id": neuron.soma_id,
                "length_um": skeleton.cable_length,
                "length_tissue_um": tissue(skeleton.cable_length, skeleton.space),
                **{k: v for k, v in shape.items() if k != "length_tissue_um"},
            }
        )
    columns = ["id", "soma_id", "length_um", "length_tissue_um", "nodes", "ends", "branches"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def write_neurons(traced: Traced, folder: Path, table: Path, audit: Path) -> pd.DataFrame:
    """Write one SWC a neuron, the table of neurons and the audit; return the table.

    Files of neurons that there are no more are removed.
    """
    with mapped(str(folder), "write"):
        folder.mkdir(parents=True, exist_ok=True)
    for neuron in traced.neurons:
        write_swc(neuron.skeleton, folder / f"{neuron.id}.swc")
    ids = {str(neuron.id) for neuron in traced.neurons}
    for file in folder.glob("*.swc"):
        if file.stem.isdecimal() and file.stem not in ids:
            file.unlink()
    rows = table_of(traced.neurons)
    write_table(traced.audit, audit)
    write_table(rows, table)
    return rows
