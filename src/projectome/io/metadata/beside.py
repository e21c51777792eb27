"""The metadata beside a volume: finding it, and what it says of the axes of the volume."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any

from projectome.core.space import Towards
from projectome.core.volume import Pyramid
from projectome.errors import (
    MetadataError,
    Problem,
    ProjectomeError,
    StoreError,
    TransferError,
)
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.metadata.aind import MERGED, Desk, file_names, read_asset, read_folder
from projectome.io.metadata.asset import AssetMetadata
from projectome.io.metadata.asset_names import parse_asset_name
from projectome.io.records import in_one_tree

FOLDERS_UP = 4
CLOSE = 0.01
"""Relative difference of two sizes that are the same."""
PLAIN, PREFIXED = file_names("acquisition")
Sizes = tuple[float, float, float]


def with_asset(pyramid: Pyramid, url: str, asset: str | bool, *, access: Access) -> Pyramid:
    """Return a volume with what the metadata of its asset says of it.

    Parameters
    ----------
    pyramid
        As its file and the user describe it; neither is ever overruled.
    url
        Its address.
    asset
        Address of a folder or document; True to look in the folders above the volume where the
        orientation is unknown; False for nothing.
    access
        How to ask the store. A remote one is asked at most 8 times.

    Returns
    -------
    Pyramid
        With the orientation where it was unknown, the contradictions as problems, and the facts in
        ``metadata["asset"]``.

    Raises
    ------
    ProjectomeError
        If the address given as `asset` cannot be read, or the store breaks off.
    """
    if isinstance(asset, str):
        return _related(pyramid, read_asset(asset, access=access))
    if not asset or any(pyramid.space.toward):
        return pyramid
    try:
        found = find_asset(url, access=access)
    except TransferError:
        raise
    except (MetadataError, StoreError) as error:
        problem = Problem("warning", "asset", f"No metadata was read beside the volume: {error}")
        return replace(pyramid, problems=(*pyramid.problems, problem))
    return pyramid if found is None else _related(pyramid, found)


def stated_size(url: str, asset: str | bool, *, access: Access) -> str:
    """Return a sentence on the voxel size that metadata beside a volume state of its recording.

    It is a hint for whoever has to state the size: a volume may be of another size than the tiles.

    Parameters
    ----------
    url, asset, access
        As for `with_asset`.

    Returns
    -------
    str
        Empty where nothing is stated or can be read.
    """
    try:
        found = read_asset(asset, access=access) if isinstance(asset, str) else None
        found = find_asset(url, access=access) if asset is True else found
    except ProjectomeError:
        return ""
    if found is None or found.voxel_size_um is None:
        return ""
    stated = found.voxel_size_um
    size = ",".join(f"{v:.6g}" for v in stated.value)
    return f" {stated.source} beside it states --voxel-size {size} of the tiles as recorded."


def find_asset(url: str, *, access: Access) -> AssetMetadata | None:
    """Return the metadata of the asset that a volume belongs to.

    Parameters
    ----------
    url
        Address of the volume.
    access
        How to ask the store. A remote one is asked at most 8 times.

    Returns
    -------
    AssetMetadata or None
        Of the nearest folder with an acquisition document, at most four above the volume and none
        above one that is named as an asset. None in a dataset of the catalog that has no assets.

    Raises
    ------
    MetadataError
        If there is a document, and it is broken.
    StoreError
        If the store does not answer as hoped.
    """
    folders = _above(url)
    if not folders or in_one_tree(url):
        return None
    desk = Desk(access)
    whole = parse_asset_name(folders[-1].rsplit("/", 1)[-1]) is not None
    names = desk.names(folders[-1]) if whole else None
    asked = folders if names is None else folders[:-1]
    for wanted in _rounds(stores.parse(url).scheme, whole):
        places = [(stores.join(folder, name), name) for name in wanted for folder in asked]
        there = {place[0] for place, node in zip(places, desk.fetch(places), strict=True) if node}
        for folder in asked:
            if any(stores.join(folder, name) in there for name in wanted):
                return read_folder(folder, desk)
    found = read_folder(folders[-1], desk, names) if whole else None
    is_web = stores.parse(url).scheme in ("http", "https")  # which may answer anything with a page
    if found is None and desk.problems and not is_web:
        raise MetadataError(f"The metadata above {url} cannot be read.", desk.problems)
    return found


def _rounds(scheme: str, whole: bool) -> list[tuple[str, ...]]:
    """Return the names to ask for at once, in rounds, within the requests allowed."""
    if scheme in ("file", "memory"):
        return [(PLAIN, MERGED, PREFIXED)]
    if scheme in ("http", "https"):
        return [(PLAIN, MERGED)]
    return [(PLAIN,)] if whole else [(PLAIN,), (MERGED, PREFIXED)]


def _above(url: str) -> list[str]:
    """Return the folders above a volume, nearest first, up to the asset, bucket or host."""
    address = stores.parse(url)
    key = address.path.strip("/").split("/")[:-1]  # an archive lies in a folder as any file
    found: list[str] = []
    while len(found) < FOLDERS_UP and (key or address.scheme != "file"):
        path = "/" * (address.scheme == "file") + "/".join(key)
        found.append(str(replace(address, path=path, member=None)))
        if not key or parse_asset_name(key.pop()) is not None:
            break
    return found


def _related(pyramid: Pyramid, asset: AssetMetadata) -> Pyramid:
    """Return the volume with the orientation of the asset and all contradictions."""
    problems = [*pyramid.problems, *asset.problems]
    space = pyramid.space
    taken: dict[str, Any] = {}
    toward = _fitting(pyramid, asset, problems)
    if any(space.toward):
        known = asset.toward
        if None not in known and known != space.toward:
            text = (
                f"The asset says (z, y, x) runs toward {known}, the volume or you say "
                f"{space.toward}, which is kept."
            )
            where = [axis.toward.where for axis in asset.axes if axis.toward is not None]
            problems.append(Problem("warning", where[0], text))
    elif any(toward):
        taken["toward"] = list(toward)
        space = replace(space, toward=toward)
    _compare_expansion(pyramid, asset, problems)
    levels = tuple(level.with_space(space) for level in pyramid)
    metadata = {**pyramid.metadata, "asset": _shown(asset, taken)}
    return replace(
        pyramid, levels=levels, problems=tuple(dict.fromkeys(problems)), metadata=metadata
    )


def _shown(asset: AssetMetadata, taken: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts as plain data; of the tiles, which may be thousands, the number."""
    facts = asset.facts()
    return {
        "url": facts.pop("url"),
        "files": facts.pop("files"),
        "taken": dict(taken),
        "tiles": len(facts.pop("tiles")),
        **{name: value for name, value in facts.items() if name not in ("problems", "readings")},
    }


def _fitting(pyramid: Pyramid, asset: AssetMetadata, problems: list[Problem]) -> Towards:
    """Return the directions of the axes, after the grid was held against that of the asset."""
    unknown: Towards = (None, None, None)
    if not asset.readings:
        return unknown
    if asset.voxel_size_um is None:
        return asset.toward
    size, stated = pyramid[0].voxel_size, asset.voxel_size_um.value
    first = asset.readings[0]
    fitting = []
    for reading in asset.readings:
        # Which axis of the first reading lies where in this one.
        z, y, x = (stated[first.index(way)] if way in first else math.nan for way in reading)
        if _is_multiple(size, (z, y, x)) or _is_same_shape(size, (z, y, x)):
            fitting.append(reading)
    if len(fitting) == 1 or (fitting and len(asset.readings) == 1):
        _compare_sizes(size, stated, asset, problems)
        if _is_turned(pyramid, asset, problems):
            return unknown
        return fitting[0]
    if fitting:
        return asset.toward
    said = f"Its voxels are {_text(size)} um, those of the recording {_text(stated)} um"
    if any(_is_multiple(size, (z, y, x)) for z, y, x in permutations(stated)):
        text = f"{said} (z, y, x): the axes lie in another order, so the orientation is not taken."
    else:
        text = (
            f"{said} (z, y, x), no whole multiple: it was resampled, perhaps into another space, "
            "or one of the two is wrong. The orientation is not taken."
        )
    text += " State it with --orientation CODE --meaning toward|from."
    problems.append(Problem("warning", asset.voxel_size_um.where, text))
    return unknown


def _text(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)


def _is_multiple(size: Sizes, of: Sizes) -> bool:
    """Say whether voxels are others halved in number any number of times along each axis."""
    ratios = [a / b for a, b in zip(size, of, strict=True)]
    steps = [max(0, round(math.log2(r))) if math.isfinite(r) and r > 0 else -1 for r in ratios]
    return all(
        step >= 0 and abs(r / 2**step - 1) <= CLOSE for r, step in zip(ratios, steps, strict=True)
    )


def _is_same_shape(size: Sizes, other: Sizes) -> bool:
    """Say whether voxels differ by one factor, as units do, and are no cubes."""
    ratios = [a / b for a, b in zip(size, other, strict=True)]
    anisotropic = max(other) > (1 + 2 * CLOSE) * min(other)
    return anisotropic and max(ratios) <= (1 + CLOSE) * min(ratios)


def _compare_sizes(
    size: Sizes, stated: Sizes, asset: AssetMetadata, problems: list[Problem]
) -> None:
    """Say where voxels have the shape of the recorded ones and another size."""
    if asset.voxel_size_um is None or _is_multiple(size, stated):
        return
    ratio = size[0] / stated[0]
    text = (
        f"The voxels of the volume are {_text(size)} um, those of the recording {_text(stated)} um "
        f"(z, y, x), {ratio:.4g} times: another unit or expansion. Those of the volume are kept; "
        "correct them with --voxel-size or --expansion."
    )
    problems.append(Problem("warning", asset.voxel_size_um.where, text))


def _is_turned(pyramid: Pyramid, asset: AssetMetadata, problems: list[Problem]) -> bool:
    """Say whether the volume has the voxels of a tile in another order of the axes."""
    nz, ny, nx = map(float, pyramid[0].shape)
    shape = (nz, ny, nx)
    shapes = {tile.shape.value: tile.shape for tile in asset.tiles if tile.shape is not None}
    if shape in shapes:
        return False
    turned = next((s for s in shapes.values() if sorted(s.value) == sorted(shape)), None)
    if turned is None:
        return False
    text = (
        f"The tile has {_text(turned.value)} voxels (z, y, x), the volume {_text(shape)}: its axes "
        "lie in another order, so the orientation is not taken. State it with --orientation CODE "
        "--meaning toward|from."
    )
    problems.append(Problem("warning", turned.where, text))
    return True


def _compare_expansion(pyramid: Pyramid, asset: AssetMetadata, problems: list[Problem]) -> None:
    factor = pyramid.space.expansion
    if asset.expansion is not None and not math.isclose(
        asset.expansion.value, factor, rel_tol=CLOSE
    ):
        text = (
            f"The recording states an expansion of {asset.expansion.value:g}; the volume is read "
            f"with {factor:g}. If its micrometres are of the gel: --expansion "
            f"{asset.expansion.value:g}."
        )
        problems.append(Problem("warning", asset.expansion.where, text))
    elif asset.expansion is None and asset.expanded is not None and factor == 1:
        text = (
            "The tissue was expanded, by how much is not stated: micrometres may be of the gel. "
            "State the factor with --expansion."
        )
        problems.append(Problem("warning", asset.expanded.where, text))
