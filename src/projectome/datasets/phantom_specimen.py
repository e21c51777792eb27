"""Specimens: imaged tissue of one modality together with all that is true of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from projectome.core.box import Triple, triple
from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.datasets.phantom_fibres import Fibre, contacts
from projectome.errors import ParameterError

LARGEST = 2**34
"""Voxels of the largest specimen; its truth is held in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Specimen:
    """Imaged tissue whose truth is known; all of it lies in the space of the image.

    Attributes
    ----------
    kind
        ``"axons"``, ``"barcodes"``, ``"brain"`` or ``"brainbow"``.
    making
        What it was made from, as plain data; the same making gives the same bytes.
    image
        What the microscope sees; lazy.
    labels
        Number of the neurite at each voxel, 0 for none; lazy.
    skeletons
        The neurites, number 1 first [um].
    somata
        The somata, column ``id``.
    tables
        Further truth by name; places are in columns ``z_um``, ``y_um``, ``x_um``, boxes in
        ``z0_um`` to ``x1_um``.
    volumes
        Further volumes by name; lazy.
    """

    kind: str
    making: Mapping[str, object]
    image: Volume
    labels: Volume
    skeletons: Sequence[Skeleton]
    somata: Points
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)

    @property
    def space(self) -> Space:
        """What the micrometres mean."""
        return self.image.space

    @property
    def cable_length(self) -> float:
        """Length of all neurites [um]."""
        return sum(skeleton.cable_length for skeleton in self.skeletons)


def checked(
    seed: int, size: ArrayLike, voxel_size: ArrayLike, *, smallest: Triple
) -> tuple[Triple, tuple[float, float, float]]:
    """Return shape and voxel size of a specimen.

    Raises
    ------
    ParameterError
        If it cannot be made like this.
    """
    shape = triple(size, name="size")
    voxel = np.broadcast_to(np.asarray(voxel_size, dtype=np.float64), (3,))
    if seed < 0:
        raise ParameterError(f"A seed is 0 or more, not {seed}.")
    if any(n < least for n, least in zip(shape, smallest, strict=True)):
        raise ParameterError(f"A specimen needs {smallest} voxels (z, y, x) or more, not {shape}.")
    if float(np.prod(np.asarray(shape, np.float64))) > LARGEST:
        raise ParameterError(
            f"A specimen of {shape} voxels is too large: its truth is held in memory, and at most "
            f"{LARGEST} voxels are made. Make several with other seeds."
        )
    if not ((voxel >= 0.01) & (voxel <= 100)).all():
        raise ParameterError(f"Voxels of a specimen are 0.01 to 100 um, not {voxel.tolist()}.")
    return shape, (float(voxel[0]), float(voxel[1]), float(voxel[2]))


def soma_table(fibres: Sequence[Fibre], space: Space) -> Points:
    """Return the somata among neurites, columns ``id`` and ``radius_um``."""
    cells = [fibre for fibre in fibres if fibre.has_soma]
    places = np.asarray([f.skeleton.coordinates[0] for f in cells]).reshape(-1, 3)
    radii = [f.skeleton.radius for f in cells]
    return Points(
        places,
        space,
        {
            "id": np.asarray([f.id for f in cells], np.int64),
            "radius_um": np.asarray([r[0] for r in radii if r is not None], np.float64),
        },
    )


def fibre_table(fibres: Sequence[Fibre]) -> pd.DataFrame:
    """Return one row a neurite: ``id``, ``origin``, ``level``, ``length_um``."""
    return pd.DataFrame(
        {
            "id": [fibre.id for fibre in fibres],
            "origin": [fibre.origin for fibre in fibres],
            "level": [fibre.level for fibre in fibres],
            "length_um": [fibre.skeleton.cable_length for fibre in fibres],
        }
    )


def contact_table(fibres: Sequence[Fibre], *, within: float) -> pd.DataFrame:
    """Return where neurites meet: ``a``, ``b`` (ids), ``kind`` and place."""
    found = contacts(fibres, within=within)
    places = np.asarray([place for *_, place in found]).reshape(-1, 3)
    return pd.DataFrame(
        {
            "a": np.asarray([a for a, *_ in found], np.int64),
            "b": np.asarray([b for _, b, *_ in found], np.int64),
            "kind": [kind for _, _, kind, _ in found],
            **places_of(places),
        }
    )


def mark_table(
    marks: Sequence[tuple[str, int, NDArray[np.float64], NDArray[np.float64]]], *, margin: float
) -> pd.DataFrame:
    """Return boxes around what was put on neurites: ``kind``, ``id`` and the box."""
    ends = np.asarray([(a, b) for _, _, a, b in marks]).reshape(-1, 2, 3)
    low, high = ends.min(axis=1) - margin, ends.max(axis=1) + margin
    table: dict[str, object] = {
        "kind": [kind for kind, *_ in marks],
        "id": np.asarray([number for _, number, *_ in marks], np.int64),
    }
    for axis, name in enumerate("zyx"):
        table[f"{name}0_um"], table[f"{name}1_um"] = low[:, axis], high[:, axis]
    return pd.DataFrame(table)


def places_of(places: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return points (N, 3) as columns."""
    return {f"{name}_um": places[:, axis] for axis, name in enumerate("zyx")}
