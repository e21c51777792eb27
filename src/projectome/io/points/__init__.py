"""Readers and writers of points and annotations.

`read_points`, `write_points` and `read_annotations` know every format; the modules below have one
format each.
"""

from projectome.io.points.annotations import Annotations
from projectome.io.points.cell_counter import read_cell_counter
from projectome.io.points.read import read_annotations, read_points, write_points

__all__ = [
    "Annotations",
    "read_annotations",
    "read_cell_counter",
    "read_points",
    "write_points",
]
