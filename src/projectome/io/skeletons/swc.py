"""SWC: neurons as lines of text, one node a line, in every dialect that is found in the field.

A line is ``id type x y z radius parent``; roots have a negative parent. On disk the order is x, y,
z; inside it is (z, y, x). Files that projectome writes say in their header what the numbers mean::

    # projectome
    # space: scan
    # unit: micrometer
    # expansion: 1.0
    # axes: x y z
    # toward: left posterior inferior

References
----------
Cannon R.C. et al. (1998), An on-line archive of reconstructed hippocampal neurons, J. Neurosci.
Methods 84, 49-54 (the format).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.affine import read_only
from projectome.core.forest import parents_first
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import FormatError, ParameterError, Problem
from projectome.io.skeletons.swc_text import Header, Nodes, decode, split_lines
from projectome.io.stores import read_bytes, write_bytes

LARGEST_SCALE = 1e9
"""Of a unit, against a micrometre, either way."""
MAX_BYTES = 2**29
"""Size of the largest file that is read unless the caller allows more [bytes]."""


@dataclass(frozen=True, eq=False)
class SwcFile:
    """What an SWC file holds.

    Attributes
    ----------
    skeleton
        All trees of the file, nodes ordered so that parents precede their children.
    ids
        Shape (N,), int64: the id in the file of each node of `skeleton`.
    header
        The comments of the file, without line ends.
    problems
        What was doubtful and how it was read.
    name
        File name without its ending.
    """

    skeleton: Skeleton
    ids: NDArray[np.int64]
    header: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    name: str = ""


def read_swc(
    url: str | Path,
    *,
    space: Space | None = None,
    scale: float | ArrayLike | None = None,
    radius_scale: float | None = None,
    expansion: float | None = None,
    max_bytes: int = MAX_BYTES,
) -> SwcFile:
    """Read an SWC file of any dialect.

    Parameters
    ----------
    url
        Path or address.
    space
        What the coordinates mean, after scaling; by default what the header says, else an unnamed
        scan in micrometres, with a problem noted.
    scale
        Micrometres in one unit of the file, for all axes or in the order (z, y, x), for instance
        the voxel size where coordinates are voxels.
    radius_scale
        The same for radii; by default the scale along x.
    expansion
        Micrometres of the file that one micrometre of tissue is; by default what the header or
        `space` says, else 1.
    max_bytes
        Larger files are refused.

    Returns
    -------
    SwcFile
        Skeleton, ids, header and problems.

    Raises
    ------
    FormatError
        If a line cannot be understood, a parent is missing or nodes form a loop; it names the file
        and the line.
    ParameterError
        If a scale is not positive.
    NotFoundError
        If there is no such file.

    Notes
    -----
    Accepted: several trees; nodes in any order; tabs, commas or spaces; any line ends; a byte
    order mark; ids such as ``12.0``; any whole number as type; 6 columns (without radius) or more
    than 7 (eswc; the rest is not read); comments anywhere; ``# OFFSET x y z``, which is added; a
    line given twice; no node at all. Radii that are missing, not finite or not positive become
    NaN.
    """
    data = read_bytes(str(url), limit=max_bytes)
    return parse_swc(
        decode(data, str(url)),
        where=str(url),
        space=space,
        scale=scale,
        radius_scale=radius_scale,
        expansion=expansion,
    )


def parse_swc(
    text: str,
    *,
    where: str = "SWC text",
    space: Space | None = None,
    scale: float | ArrayLike | None = None,
    radius_scale: float | None = None,
    expansion: float | None = None,
) -> SwcFile:
    """Read SWC from text; `where` names it in errors, the rest is as in `read_swc`.

    Raises
    ------
    FormatError
        As `read_swc`.
    """
    header, rows = split_lines(text)
    notes = Header.parse(header, where)
    factors, radius_factor = scale_factors(scale, radius_scale, notes.unit_scale)
    nodes = Nodes.from_rows(rows, where)
    problems = [*notes.problems, *nodes.problems]

    positions = (nodes.positions + notes.offset)[:, ::-1] * factors
    radius = nodes.radius * radius_factor
    space = settle_space(space, expansion, scale is not None, notes, problems, where)
    parent = nodes.parent_rows(where)
    order = parents_first(parent)
    if len(order) < len(parent):
        lost = np.setdiff1d(np.arange(len(parent)), order)[0]
        raise FormatError(
            f"{where}, line {nodes.lines[lost]}: node {nodes.ids[lost]} is its own ancestor or "
            "hangs on a loop. Cut the loop by giving one of its nodes the parent -1."
        )
    skeleton = Skeleton.from_parents(
        positions,
        parent,
        space,
        radius=None if np.isnan(radius).all() else radius,
        kind=None if not nodes.kind.any() else nodes.kind,
    )
    problems += doubts_about_radii(skeleton, where)
    name = PurePosixPath(where.replace("\\", "/")).stem
    return SwcFile(skeleton, read_only(nodes.ids[order]), tuple(header), tuple(problems), name)


def write_swc(
    skeleton: Skeleton,
    url: str | Path,
    *,
    forest: bool = False,
    comments: Sequence[str] = (),
) -> None:
    """Write a skeleton as SWC; ids count from 1, parents stand before their children.

    Parameters
    ----------
    skeleton
        What to write. Coordinates are kept to 1e-6 of their unit. Radii and types that are unknown
        are written as 0.
    url
        Path or address; an existing file is replaced in one step.
    forest
        Allow more than one tree.
    comments
        More lines for the header.

    Raises
    ------
    ParameterError
        If there are several trees and `forest` is not set, or a comment or the name of the space
        has a line break.
    """
    text = format_swc(skeleton, forest=forest, comments=comments)
    write_bytes(str(url), text.encode())


def format_swc(skeleton: Skeleton, *, forest: bool = False, comments: Sequence[str] = ()) -> str:
    """Return the text that `write_swc` writes.

    Raises
    ------
    ParameterError
        As `write_swc`.
    """
    trees = len(skeleton.roots)
    if trees > 1 and not forest:
        raise ParameterError(
            f"This skeleton has {trees} trees and an SWC file holds one. Write each of "
            "skeleton.trees() to a file of its own, or pass forest=True."
        )
    space = skeleton.space
    toward = ["unknown" if d is None else d for d in space.toward[::-1]]
    lines = [
        "projectome",
        f"space: {space.name}",
        f"unit: {space.unit}",
        f"expansion: {space.expansion!r}",
        f"axes: {' '.join(space.axes[::-1])}",
        *([f"toward: {' '.join(toward)}"] if any(space.toward) else []),
        *comments,
    ]
    for words in (space.name, *comments):
        if len(words.splitlines()) > 1 or words != words.strip():
            raise ParameterError(
                f"A line of an SWC header cannot hold line breaks or outer blanks: {words!r}."
            )
    x, y, z = (np.round(skeleton.coordinates[:, ::-1], 6) + 0.0).T.tolist() or [[]] * 3
    n = len(skeleton)
    radius = np.zeros(n) if skeleton.radius is None else np.nan_to_num(skeleton.radius, nan=0)
    radii = np.round(radius.astype(np.float64), 6).tolist()
    kinds = [0] * n if skeleton.kind is None else skeleton.kind.tolist()
    parents = np.where(skeleton.parent < 0, -1, skeleton.parent + 1).tolist()
    body = [
        f"{i} {k} {a!r} {b!r} {c!r} {r!r} {p}"
        for i, (k, a, b, c, r, p) in enumerate(
            zip(kinds, x, y, z, radii, parents, strict=True), start=1
        )
    ]
    return "\n".join([*(f"# {line}".rstrip() for line in lines), *body, ""])


def settle_space(
    space: Space | None,
    expansion: float | None,
    scaled: bool,
    header: Header,
    problems: list[Problem],
    where: str,
) -> Space:
    """Return the space of a file from the caller's word and its header, the caller's word first."""
    if space is None:
        voxels = header.unit == "voxel" and not scaled
        space = Space(
            name="scan" if header.name is None else header.name,
            axes=header.axes,
            toward=header.toward,
            unit="voxel" if voxels else "micrometer",
            expansion=1.0 if header.expansion is None else header.expansion,
        )
        if header.unit is None and not scaled:
            header_says = "no unit is stated; read as micrometres. Pass scale= if they are not."
            problems.append(Problem("warning", where, header_says))
    elif header.expansion not in (None, space.expansion) and expansion is None:
        problems.append(
            Problem(
                "warning",
                where,
                f"The header says expansion {header.expansion}, the caller {space.expansion}; "
                "the caller's word is taken.",
            )
        )
    return space if expansion is None else replace(space, expansion=expansion)


def doubts_about_radii(skeleton: Skeleton, where: str) -> list[Problem]:
    """Return a problem if radii cannot be in the unit of the coordinates.

    Tracings step by about a radius or less; radii of twenty steps are nanometres, or sizes for
    drawing.
    """
    steps = skeleton.lengths[skeleton.lengths > 0]
    if skeleton.radius is None or not len(steps):
        return []
    radius, step = float(np.nanmedian(skeleton.radius)), float(np.median(steps))
    if radius <= 20 * step:
        return []
    message = (
        f"The median radius, {radius:.4g}, is {radius / step:.0f} times the median step: probably "
        "another unit than the coordinates (nanometres?). Pass radius_scale= or do not use radii."
    )
    return [Problem("warning", where, message)]


def scale_factors(
    scale: float | ArrayLike | None, radius_scale: float | None, unit_scale: float
) -> tuple[NDArray[np.float64], float]:
    """Return what to multiply coordinates (z, y, x) and radii by.

    Raises
    ------
    ParameterError
        If a scale is not one positive number, or three.
    """
    try:
        given = np.asarray(unit_scale if scale is None else scale, dtype=np.float64)
        factors = np.broadcast_to(given, 3)
    except ValueError:
        factors = np.zeros(3)
    radius_factor = float(factors[2]) if radius_scale is None else float(radius_scale)
    if not all(1 / LARGEST_SCALE <= f <= LARGEST_SCALE for f in (*factors, radius_factor)):
        raise ParameterError(
            "A scale is one positive number of micrometres or three in the order (z, y, x), and "
            f"radius_scale is one, none beyond {LARGEST_SCALE:g}; not {scale!r} and "
            f"{radius_scale!r}."
        )
    return factors, radius_factor
