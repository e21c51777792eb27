"""Points of every format of the field behind one call: what a file is, its content says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from numpy.typing import ArrayLike

from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import FormatError, OutputExistsError, ParameterError
from projectome.io.access import Access
from projectome.io.markup import root_name
from projectome.io.packed import GZIP
from projectome.io.points.annotations import Annotations
from projectome.io.points.cell_counter import ROOT, read_cell_counter
from projectome.io.points.precomputed import MAX_BYTES, read_precomputed_annotations
from projectome.io.points.precomputed_write import write_precomputed_annotations
from projectome.io.points.state import parse_state
from projectome.io.points.table import points_of, write_point_table
from projectome.io.skeletons.model import Given
from projectome.io.skeletons.read import PREFIX
from projectome.io.stores import exists, join, local_path, read_bytes
from projectome.io.tables import parse_table

PARQUET = b"PAR1"
NPY = b"\x93NUMPY"


def read_points(
    url: str | Path,
    *,
    space: Space | None = None,
    voxel_size: ArrayLike | None = None,
    translation: ArrayLike = (0.0, 0.0, 0.0),
    first_plane: int = 0,
    expansion: float | None = None,
    layer: str | None = None,
    access: Access | None = None,
) -> Points:
    """Read points of any format, from any store.

    Parameters
    ----------
    url
        A parquet or CSV table; the XML of ImageJ's cell counter or of cellfinder; a neuroglancer
        state; or a folder of annotations in neuroglancer's precomputed format, with or without
        ``precomputed://`` in front. What it is, its content says.
    space
        What the coordinates mean; by default what the file says, else an unnamed scan.
    voxel_size
        Size of a voxel (z, y, x) [um], or one number for all; needed where coordinates are voxels
        or columns have no unit. Of annotations it takes the place of the scale in the file.
    translation
        Position of the centre of voxel 0 [um]; only with voxels.
    first_plane
        Number of the first plane in cell counter files: 0 of cellfinder, 1 of ImageJ.
    expansion
        Micrometres of the file that one micrometre of tissue is, in place of what it says.
    layer
        The layer of a neuroglancer state.
    access
        How to ask the store; by the settings if None.

    Returns
    -------
    Points
        In micrometres (in voxels where columns say so and no size is given), with all other
        columns. Of lines, boxes and ellipsoids the centres; `read_annotations` has the rest.

    Raises
    ------
    FormatError
        If it is of none of the formats or broken inside, or the size of a voxel is needed.
    NotFoundError
        If there is nothing.
    """
    text = str(url)
    # One number stands for all axes.
    size = (voxel_size,) * 3 if isinstance(voxel_size, (int, float)) else voxel_size
    points = _read(text, space, size, translation, first_plane, layer, access)
    if expansion is None:
        return points
    own = replace(points.space, expansion=expansion)
    return Points(points.coordinates, own, points.columns)


def _read(
    url: str,
    space: Space | None,
    voxel_size: ArrayLike | None,
    translation: ArrayLike,
    first_plane: int,
    layer: str | None,
    access: Access | None,
) -> Points:
    given = Given(space, voxel_size)
    if _is_annotations(url, access):
        folder = url.removeprefix(PREFIX).removesuffix("/info")
        return read_precomputed_annotations(folder, given=given, access=access).points()
    data = read_bytes(url, access=access, limit=MAX_BYTES)
    begin = data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0")
    if data.startswith(PARQUET) or PurePosixPath(url).suffix.lower() == ".parquet":
        table, metadata = parse_table(data, ".parquet", where=url)
        return points_of(
            table, metadata, where=url, space=space, voxel_size=voxel_size, translation=translation
        )
    if begin.startswith(b"<"):
        return read_cell_counter(
            url,
            voxel_size=_checked_size(data, url, voxel_size),
            translation=translation,
            space=space,
            first_plane=first_plane,
            access=access,
        )
    if begin.startswith((b"{", b"[")):
        return _only(parse_state(data, url=url, given=given, layer=layer), url).points()
    _check_text(data, url)
    table, metadata = parse_table(data, ".csv", where=url)
    return points_of(
        table, metadata, where=url, space=space, voxel_size=voxel_size, translation=translation
    )


def read_annotations(
    url: str | Path,
    *,
    space: Space | None = None,
    voxel_size: ArrayLike | None = None,
    expansion: float | None = None,
    layer: str | None = None,
    relationships: bool = True,
    access: Access | None = None,
) -> list[Annotations]:
    """Read neuroglancer annotations: points, lines, boxes, ellipsoids and polylines.

    Parameters
    ----------
    url
        A folder in the precomputed format, or a file with a neuroglancer state.
    space
        What the coordinates mean; by default an unnamed scan, or what projectome wrote.
    voxel_size
        Micrometres (z, y, x) in one unit of the coordinates, in place of what the file says.
    expansion
        Micrometres of the file that one micrometre of tissue is, in place of what it says.
    layer
        The layer of a state; all by default.
    relationships
        Also read which segments annotations are about.
    access
        How to ask the store; by the settings if None.

    Returns
    -------
    list of Annotations
        One of a folder; of a state one a layer and kind.

    Raises
    ------
    FormatError
        If it is neither, or broken inside.
    """
    text = str(url)
    given = Given(space, voxel_size, expansion=expansion)
    if _is_annotations(text, access):
        folder = text.removeprefix(PREFIX).removesuffix("/info")
        found = read_precomputed_annotations(
            folder, given=given, relationships=relationships, access=access
        )
        return [found]
    data = read_bytes(text, access=access)
    return parse_state(data, url=text, given=given, layer=layer)


def write_points(
    points: Points | Annotations,
    url: str | Path,
    *,
    sharded: bool | None = None,
    overwrite: bool = True,
    access: Access | None = None,
) -> None:
    """Write points as a table, or as annotations for neuroglancer.

    Parameters
    ----------
    points
        As a table: ``id``, the coordinates, then the other columns. Annotations of other kinds
        than points go into tables by `Annotations.table`.
    url
        ``X.parquet``, which keeps the space; ``X.csv``, which cannot; ``precomputed://FOLDER``.
    sharded
        Pack precomputed annotations into few files; by their number if None.
    overwrite
        Replace what is there; else an error.
    access
        How to ask the store; by the settings if None.

    Raises
    ------
    ParameterError
        If the name ends otherwise, or a column has no place in the format.
    OutputExistsError
        If there is something and `overwrite` is not set.
    """
    text = str(url)
    folder = text.removeprefix(PREFIX)
    taken = not overwrite and exists(
        folder if folder == text else join(folder, "info"), access=access
    )
    if taken:
        raise OutputExistsError(
            f"There is something at {folder}. Pass overwrite=True to replace it."
        )
    if folder != text:
        own = Annotations.of_points(points) if isinstance(points, Points) else points
        write_precomputed_annotations(own, folder, sharded=sharded, access=access)
    else:
        plain = points if isinstance(points, Points) else points.points()
        write_point_table(plain, text, access=access)


def _is_annotations(url: str, access: Access | None) -> bool:
    """Say whether an address is that of a folder, and not of a file."""
    if url.startswith(PREFIX) or PurePosixPath(url).name == "info":
        return True
    path = local_path(url)
    if path is not None:
        return path.is_dir()
    if PurePosixPath(url).suffix:
        return False
    return exists(join(url, "info"), access=access)


def _checked_size(data: bytes, url: str, voxel_size: ArrayLike | None) -> ArrayLike:
    """Return the voxel size that markers of the cell counter need."""
    root = root_name(data)
    if root not in (ROOT, None):
        raise FormatError(
            f"{url} is XML of {root!r}; points in XML are cell counter files ({ROOT!r}). Skeletons "
            "are read with projectome.read_skeletons."
        )
    if voxel_size is None:
        raise FormatError(
            f"{url} has voxels for coordinates. Pass voxel_size=(z, y, x) in micrometres."
        )
    return voxel_size


def _check_text(data: bytes, url: str) -> None:
    if data.startswith(NPY):
        raise FormatError(
            f"{url} is a bare numpy array: it names neither the order of its axes nor a unit, and "
            "BrainGlobe's are atlas voxels. Load it with numpy.load(allow_pickle=False) and make "
            "projectome.Points(array, space), order (z, y, x), or save it as CSV with column names."
        )
    if data.startswith(GZIP) or b"\0" in data[:4096]:
        raise FormatError(
            f"{url} is none of the formats of points: parquet, CSV, cell counter XML, a "
            "neuroglancer state, or a folder of precomputed annotations."
        )


def _only(found: list[Annotations], url: str) -> Annotations:
    if len(found) > 1:
        named = ", ".join(f"{a.name!r} ({a.kind})" for a in found[:8])
        raise ParameterError(
            f"{url} holds several sets of annotations: {named}. Pass layer=, or use "
            "read_annotations."
        )
    return found[0]
