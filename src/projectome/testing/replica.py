"""Replicas of public buckets: small, with the names, folders and documents of the real ones.

A replica is a folder; a local S3 server that serves the folder above it makes a bucket of it. Its
pictures show the phantom brain, its documents are written after the providers' public descriptions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from projectome.errors import UnknownNameError
from projectome.testing.replica_aind import aind_open_data, pasteur
from projectome.testing.replica_others import brainglobe, mayo
from projectome.testing.replica_prism import prism

BUCKETS: dict[str, tuple[str, Callable[[Path, int, int], None]]] = {
    "aind-open-data": ("aind-open-data", aind_open_data),
    "aind-exaspim": ("aind-open-data", aind_open_data),
    "aind-smartspim": ("aind-open-data", aind_open_data),
    "brainglobe": ("brainglobe", brainglobe),
    "e11-prism": ("e11bio-prism", prism),
    "mayo-ensp": ("mayo-ensp", mayo),
    "pasteur-exaspim": ("pasteur-exaspim", pasteur),
}
"""Name of the bucket of each dataset, and what writes it."""


def make_replica(folder: str | Path, dataset: str, *, seed: int = 0, zoom: int = 1) -> Path:
    """Write a small replica of the bucket of a dataset.

    Parameters
    ----------
    folder
        Where buckets lie; the bucket becomes a folder in it and is left alone if it is there.
    dataset
        Name in the catalog.
    seed
        Of the phantom in the pictures; the same seed gives the same bytes.
    zoom
        How many times as many voxels an axis the pictures have, for eyes instead of tests.

    Returns
    -------
    pathlib.Path
        The folder that stands for the bucket, named like the real one where that has a name.

    Raises
    ------
    UnknownNameError
        If there is no replica of the dataset.
    """
    if dataset not in BUCKETS:
        raise UnknownNameError("replica", dataset, BUCKETS)
    name, make = BUCKETS[dataset]
    bucket = Path(folder) / name
    if not bucket.exists():
        partial = bucket.with_name(f".{name}.partial")
        make(partial, seed, zoom)
        partial.rename(bucket)
    return bucket
