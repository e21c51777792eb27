"""Registrations as they are found: folders of `register`, and assets with transforms of ANTs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from projectome.core.volume import Pyramid
from projectome.errors import FormatError, NotFoundError, Problem
from projectome.io import stores
from projectome.io.access import Access
from projectome.io.documents import parse_json
from projectome.io.open import open_volume
from projectome.registration.aind import exaspim_frame, published_transform, smartspim_frame
from projectome.registration.files import Saved, read_registration

SMARTSPIM_TEMPLATE = "s3://aind-open-data/SmartSPIM-template_2024-05-16_11-26-14"
SMARTSPIM = ("ls_to_template_SyN_0GenericAffine.mat", "ls_to_template_SyN_1InverseWarp.nii.gz")
ALIGNMENT, EXASPIM_ALIGNMENT = "image_atlas_alignment", "ccf_alignment"
EXASPIM_AFFINE = "_to_exaSPIM_SyN_0GenericAffine.mat"
FUSED = ("image_tile_fusing/OMEZarr", "processed/OMEZarr")
EXASPIM_FUSED = ("fusion/fused_ccf_ch.zarr", "fusion/fused.zarr", "fused.zarr")


def open_registration(
    place: str | Path, *, template: str = "", access: Access | None = None
) -> tuple[Saved, tuple[Problem, ...]]:
    """Read a registration: a folder that `register` wrote, or an asset with published transforms.

    Parameters
    ----------
    place
        The folder, or the address of a SmartSPIM or ExA-SPIM asset of the Allen Institute for
        Neural Dynamics: it holds ``image_atlas_alignment`` or ``ccf_alignment``.
    template
        Folder with the affine map and the inverse warp from the asset's template to the CCF; the
        public one of SmartSPIM if empty. ExA-SPIM assets do not contain theirs.
    access
        How to ask the store; by the settings if None.

    Returns
    -------
    Saved
        From the scan to the atlas; that of an asset to the CCF, without an uncertainty.
    tuple of Problem
        What is assumed, such as habits of the pipeline that are followed.

    Raises
    ------
    NotFoundError
        If there is neither.
    FormatError
        If a document does not say what is needed.
    """
    url = str(place).rstrip("/")
    local = stores.local_path(url)
    if local is not None and (local / "affine.json").is_file():
        return read_registration(local), ()
    try:
        names = {entry.name for entry in stores.list_folder(url, access=access)}
    except NotFoundError:
        names = set()
    if ALIGNMENT in names:
        return _smartspim(url, template or SMARTSPIM_TEMPLATE, access)
    if EXASPIM_ALIGNMENT in names:
        return _exaspim(url, template, access)
    if local is not None:
        return read_registration(local), ()  # raises with the way out
    raise NotFoundError(
        f"There is no registration at {url}: neither {ALIGNMENT} nor {EXASPIM_ALIGNMENT}. Copy the "
        "folder that register wrote to this machine, or name an asset with published transforms."
    )


def _smartspim(url: str, template: str, access: Access | None) -> tuple[Saved, tuple[Problem, ...]]:
    said = _document(f"{url}/processing.json", access)
    steps = _steps(said, f"{url}/processing.json")
    version = next((str(s.get("code_version")) for s in steps if _is(s, "Image importing")), "")
    aligned = next((s for s in steps if _is(s, "Image atlas alignment")), {})
    channel = Path(str(aligned.get("input_location", ""))).name.removesuffix(".zarr")
    known = [entry.name for entry in stores.list_folder(f"{url}/{ALIGNMENT}", access=access)]
    if channel not in known:
        if len(known) != 1:
            raise FormatError(
                f"{url}/processing.json does not say which channel was registered; "
                f"{ALIGNMENT} has {', '.join(sorted(known)) or 'none'}. Keep one of them there."
            )
        channel = known[0]
    image = _first_image([f"{url}/{folder}/{channel}.zarr" for folder in FUSED], access)
    frame, notes = smartspim_frame(image, version)
    own = [f"{url}/{ALIGNMENT}/{channel}/{name}" for name in SMARTSPIM]
    way, more = published_transform(image, frame, own, _template(template, access))
    document = {"asset": url, "template": template, "pipeline": version, "channel": channel}
    return Saved(way, None, document), (*notes, *more)


def _exaspim(url: str, template: str, access: Access | None) -> tuple[Saved, tuple[Problem, ...]]:
    if not template:
        raise FormatError(
            f"{url} was registered with a template whose transforms to the CCF are not in the "
            "asset (reg_exaspim_template_to_ccf_25um). Name their folder: --template DIR."
        )
    acquisition = _document(f"{url}/acquisition.json", access)
    tiles = acquisition.get("tiles")
    first = tiles[0] if isinstance(tiles, list) and tiles and isinstance(tiles[0], dict) else {}
    tile = first.get("file_name")
    if not isinstance(tile, str):
        raise FormatError(
            f"{url}/acquisition.json names no tile; its name tells the microscope, and that how "
            "the image was turned."
        )
    own: list[str] = []
    for folder in (
        f"{url}/{EXASPIM_ALIGNMENT}",
        f"{url}/{EXASPIM_ALIGNMENT}/registration_metadata",
    ):
        if own:
            break
        names = [entry.name for entry in stores.list_folder(folder, access=access)]
        found = sorted(n for n in names if n.endswith(EXASPIM_AFFINE))
        if found:
            stem = found[0].removesuffix("0GenericAffine.mat")
            own = [f"{folder}/{found[0]}", f"{folder}/{stem}1InverseWarp.nii.gz"]
    if not own:
        raise NotFoundError(f"{url}/{EXASPIM_ALIGNMENT} holds no *{EXASPIM_AFFINE}.")
    image = _first_image([f"{url}/{name}" for name in EXASPIM_FUSED], access)
    field = open_volume(own[1], asset=False)[0]
    level = _registered_level(url, access)
    frame = exaspim_frame(image, tile, field, level=level)
    way, notes = published_transform(image, frame, own, _template(template, access))
    kind = "beta" if "tile_000000_ch_" in tile else "alpha"
    text = (
        f"taken for a recording of the {kind} microscope by the name of its first tile, {tile!r}; "
        f"level {level} counts as 20.25, 20.25 and 27 um as in the pipeline"
    )
    problems = (Problem("warning", url, text), *notes)
    return Saved(way, None, {"asset": url, "template": template}), problems


def _registered_level(url: str, access: Access | None) -> int:
    """Return the level that was registered: the last part of the address that was imported."""
    for name in ("processing.json", f"{EXASPIM_ALIGNMENT}/processing.json"):
        try:
            said = _document(f"{url}/{name}", access)
        except NotFoundError:
            continue
        for step in _steps(said, f"{url}/{name}"):
            last = str(step.get("input_location", "")).rstrip("/").rsplit("/", 1)[-1]
            if _is(step, "Image atlas alignment") and last in ("3", "6"):
                return int(last)
    return 3


def _document(url: str, access: Access | None) -> dict[str, Any]:
    return dict(parse_json(stores.read_bytes(url, access=access), url=url))


def _steps(document: dict[str, Any], where: str) -> list[dict[str, Any]]:
    pipeline = document.get("processing_pipeline")
    found = pipeline.get("data_processes") if isinstance(pipeline, dict) else None
    found = document.get("data_processes") if found is None else found
    if not isinstance(found, list):
        raise FormatError(f"{where} lists no data_processes: the version is in them.")
    return [step for step in found if isinstance(step, dict)]


def _is(step: dict[str, Any], name: str) -> bool:
    return str(step.get("name", "")).strip().lower() == name.lower()


def _first_image(places: Sequence[str], access: Access | None) -> Pyramid:
    endpoint = None if access is None else access.endpoint
    anonymous = None if access is None else not access.signed
    for place in places:
        try:
            return open_volume(place, endpoint=endpoint, anonymous=anonymous)
        except NotFoundError:
            continue
    raise NotFoundError(f"None of these is there: {', '.join(places)}.")


def _template(folder: str, access: Access | None) -> list[str]:
    """Return the affine map and the inverse warp in a folder."""
    names = sorted(entry.name for entry in stores.list_folder(folder, access=access))
    found = []
    for part in ("GenericAffine", "InverseWarp"):
        fitting = [n for n in names if part in n and n.endswith((".mat", ".nii.gz"))]
        if len(fitting) != 1:
            raise NotFoundError(
                f"{folder} has {len(fitting)} files *{part}*; one is needed. It holds: "
                f"{', '.join(names[:12]) or 'nothing'}."
            )
        found.append(f"{folder.rstrip('/')}/{fitting[0]}")
    return found
