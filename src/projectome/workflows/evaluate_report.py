"""The page of an evaluation: figures, curves, and the worst errors, each with a way to look."""

from __future__ import annotations

import base64
import html
import json
import math
import shlex
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from projectome.core.box import Box
from projectome.core.skeleton import Skeleton
from projectome.core.volume import Volume
from projectome.errors import OutputExistsError
from projectome.io.source import VolumeSource
from projectome.io.stores import atomic_write
from projectome.plots.evaluation import Panel, curve_figure, error_figure
from projectome.plots.style import png_bytes
from projectome.workflows.evaluation import COUNTED, ErrorAt, Evaluation, Figure, Scene
from projectome.workflows.report import STYLE

PICTURES = 12
"""Errors with a picture; more are listed."""
PIXELS = 192
"""Voxels along a side of a picture, at most."""
NEUROGLANCER = "https://neuroglancer-demo.appspot.com/#!"
SOURCES = ("zarr://", "zarr2://", "zarr3://", "precomputed://", "n5://", "nifti://")


def write_evaluation(evaluation: Evaluation, folder: Path, *, overwrite: bool = False) -> Path:
    """Write a page that has everything in it, the figures as JSON, and a neuroglancer state.

    Parameters
    ----------
    evaluation
        What to show.
    folder
        Gets ``index.html``, ``evaluation.json`` and ``neuroglancer.json``.
    overwrite
        Replace a page that is there.

    Returns
    -------
    pathlib.Path
        Of the page.

    Raises
    ------
    OutputExistsError
        If there is a page and `overwrite` is not set.
    """
    page = folder / "index.html"
    check_page(folder, overwrite=overwrite)
    document = _plain(evaluation.document())
    parts = {
        "index.html": "".join(_page(evaluation)),
        "evaluation.json": json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False),
        "neuroglancer.json": json.dumps(neuroglancer_state(evaluation), indent=1),
    }
    for name, text in parts.items():
        with atomic_write(folder / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    return page


def check_page(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a page already.

    Raises
    ------
    OutputExistsError
        With the way out.
    """
    if (folder / "index.html").exists() and not overwrite:
        raise OutputExistsError(f"{folder} holds a page. Choose another, or add --overwrite.")


def neuroglancer_state(evaluation: Evaluation, only: ErrorAt | None = None) -> dict[str, object]:
    """Return a state of neuroglancer with the volumes, and the errors as points.

    Parameters
    ----------
    evaluation
        What to show.
    only
        The error to look at, listed alone; all, looking at the worst, if None.

    Returns
    -------
    dict
        Coordinates are micrometres. Volumes that neuroglancer cannot read are left out.
    """
    listed = evaluation.errors if only is None else (only,)
    placed = [e for e in listed if math.isfinite(e.point_um[0])]
    layers: list[dict[str, object]] = []
    for name, source in evaluation.scene.volumes.items():
        address = _source(source)
        if address is not None:
            kind = "segmentation" if name in evaluation.scene.labels else "image"
            layers.append({"type": kind, "name": name, "source": address})
    layers.append(
        {
            "type": "annotation",
            "name": "errors",
            "source": {"url": "local://annotations"},
            "annotations": [
                {
                    "type": "point",
                    "id": str(k),
                    "point": list(e.point_um),
                    "description": f"{e.what}: {e.name}",
                }
                for k, e in enumerate(placed, 1)
            ],
        }
    )
    where = placed[0].point_um if placed else (0.0, 0.0, 0.0)
    return {
        "dimensions": {axis: [1e-6, "m"] for axis in "zyx"},
        "position": list(where),
        "crossSectionScale": max(evaluation.scene.radius_um / 200, 1e-3),
        "layers": layers,
        "layout": "4panel",
    }


def mip_command(scene: Scene, error: ErrorAt, number: int) -> str | None:
    """Return the command that shows the surroundings of an error, if there is a volume."""
    source = next(iter(scene.volumes.values()), None)
    if source is None or not math.isfinite(error.point_um[0]):
        return None
    box = ",".join(f"{v - scene.radius_um:.6g}:{v + scene.radius_um:.6g}" for v in error.point_um)
    words = ["projectome", "mip", source.url, f"--box={box}", "--out", f"error-{number:02}.png"]
    if source.channel is not None:
        words += ["--channel", str(source.channel)]
    if source.voxel_size is not None:
        words += ["--voxel-size", ",".join(f"{v:g}" for v in source.voxel_size)]
    return shlex.join(words)


def _source(source: VolumeSource) -> str | None:
    url = source.url
    if url.startswith(SOURCES):
        return url
    if "://" not in url:
        url = Path(url).resolve().as_uri()
    if ".zarr" in url:
        return f"zarr://{url}"
    return f"n5://{url}" if ".n5" in url else None


def _plain(value: object) -> object:
    """Return what JSON can hold; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _page(evaluation: Evaluation) -> Iterable[str]:
    title = f"{evaluation.kind}: {Path(evaluation.prediction).name} against the truth"
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
    yield "<meta name=viewport content='width=device-width, initial-scale=1'>"
    yield f"<style>{STYLE}</style><h1>{html.escape(title)}</h1><p class=lead>truth "
    yield f"{html.escape(evaluation.truth)}<br>prediction {html.escape(evaluation.prediction)}</p>"
    yield "<h2>Figures</h2><div class=scroll><table><tr><th></th><th>value</th>"
    yield "<th>95 % from</th><th>to</th><th>of</th></tr>"
    yield from (_row(figure) for figure in evaluation.figures)
    yield "</table></div>"
    yield from (f"<p class=warn>Not computed: {html.escape(n)}.</p>" for n in evaluation.notes)
    yield "<h2>Counts and settings</h2><dl>"
    for name, value in {**evaluation.counts, **evaluation.settings}.items():
        text = f"{value:,.10g}" if isinstance(value, (int, float)) else str(value)
        yield f"<dt>{html.escape(name.replace('_', ' '))}</dt><dd>{html.escape(text)}</dd>"
    yield "</dl>"
    if evaluation.lines:
        drawn = [(n.name, n.x_name, n.y_name, n.x, n.y) for n in evaluation.lines]
        picture = _picture(png_bytes(curve_figure(drawn)), "curves")
        yield f"<h2>Curves</h2><figure>{picture}</figure>"
    if evaluation.table:
        yield from _table(evaluation)
    yield from _errors(evaluation)


def _row(figure: Figure) -> str:
    ends = "".join(f"<td>{_number(v)}</td>" for v in (figure.value, figure.low, figure.high))
    count = f"{figure.n:,} {figure.of}" if figure.n else ""
    return f"<tr><td>{html.escape(figure.name)}</td>{ends}<td>{html.escape(count)}</td></tr>"


def _number(value: object) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            return "–" if math.isnan(value) else "∞"
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))


def _table(evaluation: Evaluation) -> Iterable[str]:
    names = list(evaluation.table[0])
    yield "<h2>Details</h2><div class=scroll><table><tr>"
    yield from (f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in names)
    yield "</tr>"
    for row in evaluation.table[:200]:
        yield "<tr>" + "".join(f"<td>{_number(row[name])}</td>" for name in names) + "</tr>"
    yield "</table></div>"


def _errors(evaluation: Evaluation) -> Iterable[str]:
    errors, scene = evaluation.errors, evaluation.scene
    if not errors:
        yield "<h2>Errors</h2><p>None found.</p>"
        return
    yield f"<h2>Worst {len(errors):,} of {evaluation.errors_in_all:,} errors</h2><p class=lead>"
    yield "Pictures are projections along z, of dense labels one plane; a red cross marks the "
    yield "place, blue is the truth, amber the prediction. The links open neuroglancer; volumes on "
    yield "a local disk have to be served over HTTP for it, and their layers pointed there.</p>"
    for number, error in enumerate(errors, 1):
        place = ", ".join(f"{v:.6g}" for v in error.point_um)
        yield f"<h3>{number}. {html.escape(error.what)}: {html.escape(error.name)}</h3><p>"
        if error.unit not in COUNTED:
            yield f"{error.size:,.6g} {error.unit}, "
        if not math.isfinite(error.point_um[0]):
            yield "no place known.</p>"
            continue
        state = json.dumps(neuroglancer_state(evaluation, error), separators=(",", ":"))
        yield f"at ({place}) µm (z, y, x)"
        yield f" · <a href='{NEUROGLANCER}{quote(state)}'>neuroglancer</a></p>"
        command = mip_command(scene, error, number)
        if command is not None:
            yield f"<p><code>{html.escape(command)}</code></p>"
        if number <= PICTURES:
            panels = list(_panels(scene, error.point_um))
            if panels:
                picture = png_bytes(error_figure(panels, error.point_um[1:]), dpi=100)
                yield f"<figure>{_picture(picture, error.what)}</figure>"


def _picture(png: bytes, text: str) -> str:
    data = base64.b64encode(png).decode()
    return f"<img alt='{html.escape(text)}' src='data:image/png;base64,{data}'>"


def _panels(scene: Scene, at: tuple[float, float, float]) -> Iterable[Panel]:
    """Return what lies around a place: one picture a volume, or one of points and trees."""
    low, high = np.subtract(at, scene.radius_um), np.add(at, scene.radius_um)
    extent = (low[2], high[2], high[1], low[1])
    points = {
        name: own.coordinates[
            ((own.coordinates >= low) & (own.coordinates <= high)).all(axis=1), 1:
        ]
        for name, own in scene.points.items()
    }
    pieces = {
        name: np.concatenate([np.empty((0, 2, 2)), *(_near(s, low, high) for s in own)])
        for name, own in scene.skeletons.items()
    }
    if not scene.volumes:
        if points or pieces:
            yield Panel("truth and prediction", None, False, extent, points, pieces)
        return
    for name, source in scene.volumes.items():
        volume, box = _crop(source, low, high)
        if not box.size:
            continue
        corners = volume.affine([np.subtract(box.start, 0.5), np.subtract(box.stop, 0.5)])
        values = volume.read(box)
        shown = name in scene.labels
        dense = shown and np.count_nonzero(values) > values.size / 2
        if dense:  # what is in front would hide the place
            voxel = float(volume.affine.inverse()([at])[0, 0])
            plane = int(np.clip(round(voxel) - box.start[0], 0, len(values) - 1))
            image = values[plane]
        else:
            image = _front(values) if shown else values.max(axis=0)
        around = (corners[0, 2], corners[1, 2], corners[1, 1], corners[0, 1])
        yield Panel(f"{name}, one plane" if dense else name, image, shown, around, points, pieces)


def _near(
    skeleton: Skeleton, low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the edges of a skeleton that touch a box, seen along z."""
    ends = skeleton.coordinates[skeleton.edges]
    inside = ((ends.max(axis=1) >= low) & (ends.min(axis=1) <= high)).all(axis=1)
    return ends[inside][:, :, 1:]


def _front(labels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the first label along z that is not background."""
    first = np.argmax(labels != 0, axis=0)
    return np.take_along_axis(labels, first[None], axis=0)[0]


def _crop(
    source: VolumeSource, low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[Volume, Box]:
    """Return a level that is not too fine for a picture, and the voxels of a box."""
    volume = source.open()
    box = volume.voxel_box(low, high)
    if max(box.shape) <= PIXELS:
        return volume, box
    size = float(np.max(high - low)) / PIXELS
    levels = source.pyramid().levels
    coarse = next((v for v in levels if max(v.voxel_size) >= size), levels[-1])
    if coarse.channels:
        return volume, volume.voxel_box((low + high) / 2 - size * 32, (low + high) / 2 + size * 32)
    return coarse, coarse.voxel_box(low, high)
