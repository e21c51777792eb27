"""From a volume and an atlas to a registration with its quality: the verb register."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from projectome.core.affine import Affine
from projectome.core.atlas import Atlas
from projectome.core.points import Points
from projectome.core.provenance import plain
from projectome.core.space import Space, Towards
from projectome.core.transform import DisplacementField
from projectome.core.volume import ArrayInMemory, Volume
from projectome.errors import DataError, OutputExistsError, ParameterError, Problem, ShapeError
from projectome.imaging.resample import resample
from projectome.io.source import VolumeSource
from projectome.io.writing import write_bytes
from projectome.plots.registration import (
    Look,
    checkerboard_figure,
    map_figure,
    outline_figure,
    pair_figure,
)
from projectome.plots.style import save
from projectome.registration.align import (
    Pair,
    Recipe,
    Registration,
    align,
    check_stated,
    make_pair,
    size_problem,
    working_size,
)
from projectome.registration.files import write_registration
from projectome.registration.fit import require_elastix
from projectome.registration.orient import Handedness, Orientation, find_orientation, handedness_of
from projectome.registration.prepare import prepare
from projectome.registration.quality import (
    Quality,
    measure,
    stated_uncertainty,
    warped_template,
)

Say = Callable[[str], None]
SIDE = {"left": 1, "right": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """What `register` did.

    Attributes
    ----------
    registration, quality
        The result and its figures.
    problems
        What was doubtful.
    document
        What ``quality.json`` says.
    """

    registration: Registration
    quality: Quality
    problems: tuple[Problem, ...]
    document: dict[str, Any]


def orient_volume(
    source: VolumeSource, atlas: Atlas, *, handedness: Handedness | None = None, size: float = 0.0
) -> tuple[Orientation, Towards]:
    """Test which way a volume lies, whatever its metadata say.

    Parameters
    ----------
    source
        The volume.
    atlas
        With a template.
    handedness
        Of the volume's axes (x, y, z); that of its stated orientation if None.
    size
        Voxels to work with [um of tissue]; about 132 along the atlas if 0.

    Returns
    -------
    Orientation
        All ways, ranked.
    tuple
        Where the axes run by the metadata; None where they do not say.

    Raises
    ------
    ParameterError
        If the atlas has no template.
    OrientationUnknownError
        If neither the metadata nor the caller say the handedness.
    """
    template = _template(atlas)
    extent = max(n * s for n, s in zip(template.shape, template.voxel_size, strict=True))
    step = size or max(extent / 132, max(template.voxel_size))
    scan = _at_size(source, step)
    toward = scan.space.toward
    if handedness is None and scan.space.oriented:
        handedness = handedness_of(scan.space.require_orientation("Testing an orientation"))
    ready = prepare(scan.read(), name=scan.name)
    target = prepare(resample(template, step).read(), name="template")
    found = find_orientation(
        ready.image * ready.tissue,
        step,
        target.image * target.tissue,
        step,
        space=template.space,
        handedness=handedness,
    )
    return found, toward


def register(
    source: VolumeSource,
    atlas: Atlas,
    out: str | Path,
    *,
    recipe: Recipe | None = None,
    atlas_address: str = "",
    handedness: Handedness | None = None,
    check_orientation: bool = True,
    side: str | None = None,
    landmarks: tuple[Points, Points] | None = None,
    overwrite: bool = False,
    say: Say = lambda text: None,
) -> Registered:
    """Register a volume with an atlas and write transforms, quality and figures.

    Parameters
    ----------
    source
        The volume; a level about twice as fine as the working voxels is read.
    atlas
        With a template.
    out
        Folder to write.
    recipe
        How.
    atlas_address
        What opens the atlas again; its name if empty.
    handedness
        Needed where the orientation is not stated, which is then found by a test.
    check_orientation
        Test the stated orientation too, and refuse one that is surely wrong.
    side
        ``"left"`` or ``"right"`` where the volume is one hemisphere: only that half of the
        template is registered with.
    landmarks
        Corresponding points in the scan and in the atlas.
    overwrite
        Replace a registration that is there.
    say
        Told what is being done.

    Returns
    -------
    Registered
        The same for the same inputs, recipe and number of threads.

    Raises
    ------
    DataError
        If there is no tissue, the size cannot be that of a brain, or the orientation is wrong.
    MissingExtraError
        If elastix is not installed.
    OrientationUnknownError
        If neither orientation nor handedness are known, or the test is not sure.
    OutputExistsError
        If something is at `out`.
    RunError
        If the fit fails.
    """
    how = recipe or Recipe()
    begun = time.perf_counter()
    require_elastix()
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise OutputExistsError(f"{out} exists. Choose another output, or add --overwrite.")
    template = _template(atlas)
    size = working_size(template, how)
    say(f"reading both at {size:g} um")
    doubts = _size_doubts(source, template, 2 * size)
    finest = replace(source, level=0).open()
    scan = _at_size(source, size)
    orientation = None
    if not scan.space.oriented:
        say("testing the orientation, which is not stated")
        orientation, _ = orient_volume(source, atlas, handedness=handedness)
        if not orientation.sure:
            raise DataError(
                f"The orientation of {scan.name} is not stated, and the test is not sure: "
                f"{orientation.summary()}. State it: --orientation CODE --meaning toward|from."
            )
        space = replace(scan.space, toward=orientation.best.toward)
        scan, finest = scan.with_space(space), finest.with_space(space)
    target = resample(template, size)
    target = _volume(target.read(), target.affine, "template")
    if side is not None:
        target = _half(atlas, target, side)
    pair = make_pair(scan, target, size)
    problems = [*pair.scan.problems, *doubts]
    say("testing the orientation")
    check = check_orientation and orientation is None
    tested = check_stated(pair, scan.space, all_ways=check)
    if check:
        problems += _checked(tested, pair, scan, folder)
    start = next(c.matrix for c in tested.ranked if c.toward == scan.space.toward)
    say("fitting")
    points = None if landmarks is None else _corresponding(landmarks, scan.space, atlas.space)
    found = align(pair, how, scan_space=scan.space, start=start, landmarks=points)
    say("measuring")
    uncertainty = None if found.spread is None else stated_uncertainty(found.spread, size)
    volume = None if uncertainty is None else _volume(uncertainty, found.scan_grid, "uncertainty")
    warped = warped_template(pair, found)
    quality = measure(pair, found, warped, volume)
    problems += _doubts(quality, size)
    declared = handedness_of(scan.space.require_orientation("Registering"))
    document = {
        "volume": source.url,
        "atlas": atlas_address or atlas.name,
        "scan_orientation": {
            "toward": scan.space.code(meaning="toward"),
            "origin": "stated" if orientation is None else "found by the test",
            "handedness": f"{declared}, as declared",
            "test": (orientation or tested).summary() if check_orientation else "not asked for",
        },
        "working_voxel_um": size,
        "recipe": plain(how),
        "seconds": round(time.perf_counter() - begun, 1),
        **plain_quality(quality),
        "problems": [asdict(problem) for problem in problems],
    }
    write_registration(
        found,
        folder,
        scan=finest,
        atlas=atlas.annotation,
        uncertainty=uncertainty,
        facts={"atlas": atlas_address or atlas.name, "volume": source.url},
    )
    text = json.dumps(plain(document), indent=1, allow_nan=False) + "\n"
    write_bytes(str(folder / "quality.json"), text.encode())
    say("drawing")
    _figures(folder / "figures", pair, found, atlas, warped, volume, declared)
    return Registered(found, quality, tuple(problems), document)


def plain_quality(quality: Quality) -> dict[str, float | None]:
    """Return the figures of quality; what was not measured is None."""
    return {k: v if np.isfinite(v) else None for k, v in asdict(quality).items()}


def _volume(values: NDArray[Any], grid: Affine, name: str) -> Volume:
    return Volume(ArrayInMemory(values), grid, name=name)


def _size_doubts(source: VolumeSource, template: Volume, size: float) -> list[Problem]:
    """Hold the size of the tissue against the atlas's brain, coarsely, before much is read."""
    scan = _at_size(source, size)
    ready = prepare(scan.read(), name=scan.name)
    doubt = size_problem(ready, prepare(resample(template, size).read()), scan.name)
    return [] if doubt is None else [doubt]


def _template(atlas: Atlas) -> Volume:
    if atlas.template is None:
        raise ParameterError(
            f"{atlas.name} has no template, and a scan cannot be registered with labels alone. "
            "Take an atlas with one: projectome atlas ls."
        )
    return atlas.template


def _at_size(source: VolumeSource, size: float) -> Volume:
    """Return a volume at voxels of `size` um of tissue, read from a level about as fine as half."""
    pyramid = source.pyramid()
    gel = size * pyramid.space.expansion
    chosen = pyramid.at(voxel_size=gel / 2)
    level = next(i for i, v in enumerate(pyramid.levels) if v is chosen)
    volume = replace(source, level=max(level, source.level)).open()
    if len(volume.channels) > 1:
        raise ParameterError(
            f"{volume.name} has the channels {', '.join(map(repr, volume.channels))}. Pick the one "
            "that shows the tissue itself (autofluorescence): --channel."
        )
    if not volume.affine.is_grid:
        raise ShapeError(
            f"{volume.name} is turned against its axes by its header. Resample it to a plain grid."
        )
    shrunk = resample(volume, gel)
    values = np.asarray(shrunk.read(channel=0 if shrunk.channels else None))
    return Volume(ArrayInMemory(values), shrunk.affine, name=volume.name)


def _half(atlas: Atlas, template: Volume, side: str) -> Volume:
    """Return the template with the other hemisphere blanked."""
    if side not in SIDE or atlas.midline is None:
        raise ParameterError(
            f"A side is left or right, of an atlas with a midline; not {side!r} of {atlas.name}."
        )
    values = np.array(template.read())
    for z in range(template.shape[0]):
        index = np.indices((1, *template.shape[1:])).reshape(3, -1).T
        index[:, 0] = z
        other = atlas.midline.hemisphere(template.affine(index)) != SIDE[side]
        values[z].reshape(-1)[other] = 0
    return Volume(ArrayInMemory(values), template.affine, name=template.name)


def _checked(tested: Orientation, pair: Pair, scan: Volume, folder: Path) -> list[Problem]:
    """Refuse an orientation that the image surely contradicts, with a picture."""
    best = tested.best
    if best.toward == scan.space.toward:
        if tested.sure:
            return []
        text = f"the test of the orientation is not sure of it: {tested.summary()}"
        return [Problem("warning", scan.name, text)]
    code = tested.code
    picture = folder / "orientation.png"
    look = Look(pair.space, pair.size, f"stated {scan.space.code(meaning='toward')}, seen {code}")
    small = _fitted_shape(pair.scan.image, pair.template.image.shape)
    save(
        pair_figure(small, pair.template.image, look, "Scan as stated, above the template"), picture
    )
    text = (
        f"the image of {scan.name} lies as {code} (toward), not as "
        f"{scan.space.code(meaning='toward')} as stated: mutual information {best.score:.3f} "
        f"against {_score(tested, scan.space.toward):.3f}; see {picture}"
    )
    if tested.sure:
        raise DataError(
            f"Wrong orientation: {text}. State it: --orientation {code} --meaning toward; or add "
            "--no-check-orientation to believe what is stated."
        )
    return [Problem("warning", scan.name, text)]


def _score(tested: Orientation, toward: Towards) -> float:
    return next(c.score for c in tested.ranked if c.toward == toward)


def _fitted_shape(image: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an image cut or padded to a shape."""
    out = np.zeros(shape, np.float32)
    part = tuple(slice(0, min(a, b)) for a, b in zip(image.shape, shape, strict=True))
    out[part] = image[part]
    return out


def _corresponding(
    landmarks: tuple[Points, Points], scan: Space, atlas: Space
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ours, theirs = landmarks
    if len(ours) != len(theirs) or len(ours) < 1:
        raise ParameterError(
            f"Landmarks come in pairs; there are {len(ours)} in the scan and {len(theirs)} in the "
            "atlas."
        )
    return np.asarray(ours.coordinates), np.asarray(theirs.coordinates)


def _doubts(quality: Quality, size: float) -> list[Problem]:
    """Return what the figures of quality say against the result."""
    found = []
    if quality.folded > 0:
        text = f"the map folds in {quality.folded:.2%} of the tissue; points there are not reliable"
        found.append(Problem("warning", "registration", text))
    if quality.correlation < 0.2:
        text = (
            f"local contrast of scan and template correlates by {quality.correlation:.2f} only: "
            "look at figures/outlines.png before you use it"
        )
        found.append(Problem("warning", "registration", text))
    if quality.overlap < 0.6:
        text = f"tissue and template overlap by {quality.overlap:.2f} only"
        found.append(Problem("warning", "registration", text))
    return found


def _figures(
    folder: Path,
    pair: Pair,
    found: Registration,
    atlas: Atlas,
    warped: NDArray[np.float32],
    uncertainty: Volume | None,
    handedness: str,
) -> None:
    caption = f"{handedness}-handed axes as declared (a mirror cannot be seen in the image)"
    look = Look(pair.space, pair.size, caption)
    scan = np.clip(pair.scan.image, 0, 1)
    labels = annotation_on_scan(pair, found, atlas)
    start = _onto_scan_start(pair, found)
    grid = found.scan_grid
    field = found.transform.links[-1]
    assert isinstance(field, DisplacementField)
    bend = np.linalg.norm(field.displacement, axis=3).astype(np.float32)
    amount = _turned_map(pair, bend, grid)
    tissue = pair.scan.tissue
    pictures = {
        "before": pair_figure(scan, start, look, "Scan, above the template moved affinely"),
        "after": pair_figure(scan, warped, look, "Scan, above the template as registered"),
        "checkerboard": checkerboard_figure(scan, warped, look, "Scan and template in turn"),
        "outlines": outline_figure(scan, labels, look, "Regions of the atlas over the scan"),
        "field": map_figure(amount, tissue, look, "Displacement beyond the affine map [um]"),
    }
    if uncertainty is not None:
        sure = _turned_map(pair, np.asarray(uncertainty.read(), np.float32), grid)
        title = "Uncertainty: standard deviation a coordinate [um]"
        pictures["uncertainty"] = map_figure(sure, tissue, look, title, colours="magma")
    for name, figure in pictures.items():
        save(figure, folder / f"{name}.png")


def _planes(pair: Pair) -> Any:
    plane = np.indices((1, *pair.scan.image.shape[1:])).reshape(3, -1).T.astype(np.float64)
    for z in range(len(pair.scan.image)):
        plane[:, 0] = z
        yield z, pair.turned.inverse()(plane * pair.size)


def annotation_on_scan(pair: Pair, found: Registration, atlas: Atlas) -> NDArray[np.int64]:
    """Return the rows of regions as they lie on the turned scan, -1 outside, shape (Z, Y, X)."""
    level = atlas.at(voxel_size=pair.size) if atlas.hemispheres is None else atlas
    labels = np.asarray(level.annotation.read())
    ids, rows = np.unique(labels, return_inverse=True)
    numbered = rows.reshape(labels.shape).astype(np.int32)
    inverse = level.annotation.affine.inverse()
    out = np.zeros(pair.scan.image.shape, np.int32)
    zero = int(np.searchsorted(ids, 0)) if 0 in ids else 0
    for z, places in _planes(pair):
        at = inverse(found.transform(places)).T
        seen = ndimage.map_coordinates(numbered, at, order=0, mode="constant", cval=zero)
        out[z] = seen.reshape(out.shape[1:])
    return out.astype(np.int64)


def _onto_scan_start(pair: Pair, found: Registration) -> NDArray[np.float32]:
    linear = found.transform.links[0]
    out = np.empty(pair.scan.image.shape, np.float32)
    for z, places in _planes(pair):
        at = (linear(places) - pair.place) / pair.size
        seen = ndimage.map_coordinates(pair.template.image, at.T, order=1)
        out[z] = seen.reshape(out.shape[1:])
    return out


def _turned_map(pair: Pair, values: NDArray[np.float32], grid: Affine) -> NDArray[np.float32]:
    """Return values on the grid of the forward field as they lie on the turned scan."""
    out = np.empty(pair.scan.image.shape, np.float32)
    inverse = grid.inverse()
    for z, places in _planes(pair):
        seen = ndimage.map_coordinates(values, inverse(places).T, order=1, mode="nearest")
        out[z] = seen.reshape(out.shape[1:])
    return out


__all__ = ["Registered", "orient_volume", "register"]
