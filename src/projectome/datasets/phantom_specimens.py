"""All kinds of specimens by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from projectome.datasets.phantom_barcodes import make_barcoded_neuropil
from projectome.datasets.phantom_brain import make_whole_brain
from projectome.datasets.phantom_brainbow import make_brainbow
from projectome.datasets.phantom_field import make_axon_field
from projectome.datasets.phantom_specimen import Specimen
from projectome.errors import ParameterError, UnknownNameError

KINDS: dict[str, Callable[..., Specimen]] = {
    "axons": make_axon_field,
    "barcodes": make_barcoded_neuropil,
    "brain": make_whole_brain,
    "brainbow": make_brainbow,
}
"""What makes a specimen of each kind."""


def make_specimen(kind: str, *, seed: int = 0, **options: Any) -> Specimen:
    """Make a specimen of a kind.

    Parameters
    ----------
    kind
        One of `KINDS`.
    seed
        Which one; the same seed and options give the same specimen, bit by bit.
    **options
        Of the function of the kind. Voxels of a ``brain`` have one edge.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    ParameterError
        If it cannot be made like this.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of specimen", kind, KINDS)
    if "voxel_size" in options:
        size = np.asarray(options["voxel_size"], dtype=np.float64).ravel()
        if size.size not in (1, 3) or (kind == "brain" and (size != size[0]).any()):
            wanted = "one number" if kind == "brain" else "one number, or three (z, y, x)"
            raise ParameterError(
                f"The voxel size of a specimen of {kind} is {wanted}, not {size.tolist()}."
            )
        options["voxel_size"] = float(size[0]) if size.size == 1 or kind == "brain" else size
    if kind == "brain" and options.get("arbors"):
        raise ParameterError(
            "The neurons of a brain run in its own anatomy; arbors from files go into axons, "
            "barcodes or brainbow."
        )
    return KINDS[kind](seed=seed, **options)
