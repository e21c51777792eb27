"""Any atlas by name or address: BrainGlobe's, the Allen's files, your own labels, the phantom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from projectome.atlas.allen import check_anatomy, looks_native, match_template, open_allen
from projectome.atlas.brainglobe import open_brainglobe
from projectome.atlas.bucket import BUCKET, atlas_tree, list_atlases
from projectome.atlas.kept import kept_region_table
from projectome.atlas.labels import open_labels
from projectome.core.atlas import Atlas
from projectome.core.space import Meaning, Space
from projectome.datasets.phantom import phantom_atlas
from projectome.errors import FormatError, NotFoundError, ParameterError, StoreError
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.open import open_volume

PHANTOM = "phantom"
"""The atlas that is always there: of the phantom brain, made by a formula."""


@dataclass(frozen=True, slots=True)
class Known:
    """An atlas that can be opened by its name.

    Attributes
    ----------
    name
        For instance ``"allen_mouse_25um"``.
    version
        The latest; empty for the phantom.
    where
        Address of the tree that it is in; empty for the phantom.
    kept
        Whether it was used on this machine.
    """

    name: str
    version: str
    where: str
    kept: bool


def open_atlas(
    atlas: str,
    *,
    table: str | None = None,
    version: str = "",
    voxel_size: float | tuple[float, float, float] | None = None,
    orientation: str | None = None,
    meaning: Meaning | None = None,
    midline_um: float | None = None,
    access: Access | None = None,
) -> Atlas:
    """Open an atlas by name or address; no voxel is read, but of files that have to be checked.

    Parameters
    ----------
    atlas
        ``"phantom"``; a name in the public bucket of BrainGlobe, such as ``"allen_mouse_25um"``; a
        folder or address in the layout of BrainGlobe 3 (its root, or ``ROOT/atlases/NAME``); a
        folder with the Allen's native files; with `table`, a volume of labels.
    table
        Regions of your own labels: CSV or JSON.
    version
        Of a BrainGlobe atlas; the latest if empty.
    voxel_size
        One number picks the level of that voxel size [um]; three are the voxel size of a label
        file that does not state it, (z, y, x).
    orientation, meaning
        Orientation of label files, as for `projectome.io.open.open_volume`.
    midline_um
        Where the midline of your own labels lies along the axis from side to side [um].
    access
        How to ask; by the settings if None.

    Returns
    -------
    Atlas
        ``problems`` has what was doubtful.

    Raises
    ------
    UnknownNameError
        If no atlas has that name.
    NotFoundError, FormatError, MetadataError
        If there is none at the address, or a broken one.
    StoreError
        If the store does not answer, and the atlas was not used before.
    """
    edges = voxel_size if isinstance(voxel_size, tuple) else None
    size = None if isinstance(voxel_size, tuple) else voxel_size
    if table is not None:
        labels = open_volume(
            atlas, voxel_size=edges, orientation=orientation, meaning=meaning, asset=False
        )
        found = open_labels(labels, table, midline_um=midline_um)
    elif atlas == PHANTOM:
        found = _phantom()
    elif "/" not in atlas and not _is_folder(atlas):
        found = open_brainglobe(atlas, atlas_tree(access=access), version=version)
    else:
        found = _at(atlas, version, edges, _toward(orientation, meaning), access)
    return found if size is None else found.at(voxel_size=size)


def known_atlases(url: str = "", *, access: Access | None = None) -> tuple[list[Known], str]:
    """Return the atlases that can be opened by name, and why not more, if that is so.

    Parameters
    ----------
    url
        A tree in the layout of BrainGlobe 3; the public bucket if empty, and the phantom with it.
    access
        How to ask; by the settings if None.
    """
    tree = atlas_tree(url or BUCKET, access=access)
    own = [] if url else [Known(PHANTOM, "", "", True)]
    try:
        listed = list_atlases(tree)
    except StoreError as error:
        if url:
            raise
        return own, str(error)
    return [*own, *(Known(a.name, a.version, tree.url, a.kept) for a in listed)], ""


def _at(
    url: str,
    version: str,
    voxel_size: tuple[float, float, float] | None,
    orientation: str | None,
    access: Access | None,
) -> Atlas:
    """Open the atlas in a folder."""
    parts = PurePosixPath(str(stores.parse(url))).parts
    if "atlases" in parts[:-1]:
        place = len(parts) - 1 - parts[::-1].index("atlases")
        root = str(stores.parse(url)).rsplit("/atlases/", 1)[0]
        last = parts[place + 2].replace("_", ".") if len(parts) > place + 2 else version
        return open_brainglobe(parts[place + 1], atlas_tree(root, access=access), version=last)
    names = [entry.name for entry in stores.list_folder(url, access=access)]
    if looks_native(names):
        native = open_allen(url, orientation=orientation, voxel_size=voxel_size)
        check_anatomy(kept_region_table(native))
        return match_template(native)
    if "atlases" not in names and "brainglobe-atlasapi" not in names:
        raise FormatError(
            f"{url} holds no atlas: neither the folder 'atlases' of BrainGlobe 3 nor the Allen's "
            f"annotation_* and an ontology. It holds: {', '.join(names[:12]) or 'nothing'}. Labels "
            "of your own open with their table: --table FILE"
        )
    tree = atlas_tree(url, access=access)
    listed = list_atlases(tree)
    if len(listed) == 1:
        return open_brainglobe(listed[0].name, tree, version=version)
    if not listed:
        raise NotFoundError(f"{url} has a folder 'atlases' with no atlas in it.")
    shown = ", ".join(f"{url.rstrip('/')}/atlases/{a.name}" for a in listed[:4])
    raise ParameterError(f"{url} holds {len(listed)} atlases. Choose one: {shown} ...")


@lru_cache(maxsize=1)
def _phantom() -> Atlas:
    return phantom_atlas()


def _is_folder(text: str) -> bool:
    path = stores.local_path(text)
    return path is not None and path.is_dir()


def _toward(orientation: str | None, meaning: Meaning | None) -> str | None:
    """Return an orientation code whose letters say where axes run toward."""
    if orientation is None:
        return None
    if meaning is None:
        raise ParameterError("An orientation code needs its meaning: --meaning toward|from.")
    return Space.from_code(orientation, meaning=meaning).code(meaning="toward")
