"""Overlaps of the labels of two volumes as a block-wise step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from projectome.core.box import Block
from projectome.engine.step import BlockStep
from projectome.errors import FormatError, ParameterError, ShapeError
from projectome.io.source import VolumeSource
from projectome.metrics.contingency import Contingency, contingency, label_array
from projectome.metrics.voxels import quantised


@dataclass(frozen=True)
class CountOverlaps(BlockStep):
    """Count how often each true label meets each found label.

    Attributes
    ----------
    truth
        The true labels.
    found
        The labels found; or grey values or probabilities, with `threshold` or `scores`.
    scored
        A volume that is 0 where voxels are not scored.
    threshold
        Found values from here on become 1, others 0.
    scores
        Keep the found values as scores: whole numbers as they are, probabilities in 65535 steps.
    """

    name: ClassVar[str] = "count-overlaps"
    version: ClassVar[int] = 1
    bytes_per_voxel: ClassVar[int] = 40

    truth: VolumeSource
    found: VolumeSource
    scored: VolumeSource | None = None
    threshold: float | None = None
    scores: bool = False

    def __post_init__(self) -> None:
        if self.scores and self.threshold is not None:
            raise ParameterError("Scores are kept as they are, or cut at a threshold; not both.")

    def __call__(self, block: Block) -> dict[str, NDArray[Any]]:
        """Return the table of one block: ``truth``, ``found``, ``count`` and ``place``."""
        truth = self.truth.open()
        mask = None if self.scored is None else self.scored.open().read(block.core)
        table = contingency(
            label_array(truth.read(block.core), f"The truth {truth.name}"),
            self._found(block),
            scored=mask,
        )
        z, y, x = np.unravel_index(table.place, block.core.shape)
        a, b, c = block.core.start
        place = np.ravel_multi_index((z + a, y + b, x + c), truth.shape)
        columns = {"truth": table.truth, "found": table.found, "count": table.count}
        return columns | {"place": place.astype(np.int64)}

    def _found(self, block: Block) -> NDArray[Any]:
        volume = self.found.open()
        values = volume.read(block.core)
        what = f"The prediction {volume.name}"
        if self.threshold is not None:
            if values.dtype.kind == "f" and np.isnan(values).any():
                raise FormatError(f"{what} holds NaN in {block}. Fill it with numbers first.")
            return np.asarray(np.greater_equal(values, self.threshold))
        if self.scores and values.dtype.kind == "f":
            return quantised(values, what)
        return label_array(values, what)


def table_of(columns: Any) -> Contingency:
    """Return the table that a block's columns hold."""
    return Contingency(*(np.asarray(columns[n]) for n in ("truth", "found", "count", "place")))


def check_same_voxels(step: CountOverlaps) -> None:
    """Refuse volumes whose voxels do not lie on one another.

    Raises
    ------
    ShapeError
        If the shapes differ, or the voxels lie elsewhere in one and the same space.
    """
    truth = step.truth.open()
    for source in (step.found, step.scored):
        other = None if source is None else source.open()
        if other is None:
            continue
        if other.shape != truth.shape:
            raise ShapeError(
                f"{truth.name} has {truth.shape} voxels and {other.name} {other.shape}: they are "
                "compared voxel by voxel. Bring one onto the grid of the other: projectome convert "
                "SRC DST --resample UM --box ..."
            )
        if (
            not np.allclose(truth.affine.matrix, other.affine.matrix, rtol=1e-4, atol=1e-6)
            or (
                np.abs(np.subtract(truth.affine.translation, other.affine.translation))
                > 0.01 * np.asarray(truth.voxel_size)
            ).any()
        ):
            raise ShapeError(
                f"The voxels of {truth.name} ({truth.voxel_size} um from "
                f"{tuple(truth.affine.translation)}) are not those of {other.name} "
                f"({other.voxel_size} um from {tuple(other.affine.translation)}). If a file is "
                "wrong, say what holds: --voxel-size Z,Y,X; else bring one onto the other with "
                "projectome convert."
            )
