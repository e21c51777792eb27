"""Readers and writers of skeletons.

`read_skeletons`, `write_skeletons` and `convert_skeletons` know every format; the modules below
have one format each.
"""

from projectome.io.skeletons.model import NamedSkeleton, Skeletons
from projectome.io.skeletons.read import read_skeletons
from projectome.io.skeletons.write import convert_skeletons, write_skeletons

__all__ = [
    "NamedSkeleton",
    "Skeletons",
    "convert_skeletons",
    "read_skeletons",
    "write_skeletons",
]
