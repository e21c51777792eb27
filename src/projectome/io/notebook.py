"""What a notebook shows of a volume: its levels as a table, and a small picture."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from projectome.core.box import Box
from projectome.core.volume import Array, Pyramid, Volume
from projectome.settings import format_bytes

THUMBNAIL = 8 * 2**20
"""Most that is read for the picture [bytes]."""
EDGE = 192
"""Longest edge of the picture [pixels]."""
CONTRAST = (1.0, 99.8)
"""Percentiles of black and white."""
SHOWN = 12
"""Channels, or problems, that are named."""
LEVEL = ("level", "voxels (z, y, x)", "voxel size [um]", "chunks", "type", "size")


def to_html(pyramid: Pyramid) -> str:
    """Return a pyramid as HTML; whatever comes out of a file is escaped.

    Parameters
    ----------
    pyramid
        Its coarsest level is read for a picture, if it is no larger than 8 MiB.
    """
    first, space = pyramid[0], pyramid.space
    rows = [
        (
            str(number),
            _times(level.shape),
            _times(f"{v:.6g}" for v in level.voxel_size),
            _times(level.chunks),
            str(level.dtype),
            format_bytes(level.nbytes),
        )
        for number, level in enumerate(pyramid)
    ]
    words = zip(space.axes, space.toward, strict=True)
    ways = ", ".join(f"{name} toward {way or 'unknown'}" for name, way in words)
    facts = [
        ("space", space.name),
        ("orientation", ways if any(space.toward) else "unknown"),
        ("expansion", f"{space.expansion:g}"),
        ("channels", _first(first.channels)),
        ("problems", _first(map(str, pyramid.problems))),
    ]
    what = f"{pyramid.metadata.get('format', 'volume')}, {first.kind}"
    head = f"<p><strong>{escape(pyramid.name)}</strong> &middot; {escape(what)}</p>"
    body = "".join(_row("td", row) for row in rows)
    table = f"<table><thead>{_row('th', LEVEL)}</thead><tbody>{body}</tbody></table>"
    listed = "".join(_row("td", fact) for fact in facts if fact[1])
    return f"<div>{head}{thumbnail(pyramid)}{table}<table><tbody>{listed}</tbody></table></div>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _times(values: Iterable[object]) -> str:
    return " x ".join(map(str, values))


def _first(texts: Iterable[str]) -> str:
    """Return the first of some texts, and how many more there are."""
    found = list(texts)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def thumbnail(pyramid: Pyramid) -> str:
    """Return an image element with the coarsest level, seen along z; empty if there is none.

    The first channel is shown. Nothing is read of a level whose channel, or chunk, is larger than
    8 MiB, and whatever goes wrong leaves the picture out: the table has to be shown of a broken
    volume too.
    """
    level = pyramid[len(pyramid) - 1]
    voxels = max(level.box.size, math.prod(level.chunks))  # a chunk is decoded whole
    if level.box.size == 0 or voxels * level.dtype.itemsize > THUMBNAIL:
        return ""
    try:
        picture = _picture(level)
    except Exception:  # noqa: BLE001 - a picture is no reason to fail, whatever the store does
        return ""
    data = base64.b64encode(picture).decode()
    return f'<img alt="seen along z" src="data:image/png;base64,{data}"/>'


def _picture(level: Volume) -> bytes:
    """Return the brightest voxels along z of the first channel as PNG."""
    voxels = level.read(Box.from_shape(level.shape), channel=0 if level.channels else None)
    image = voxels.max(axis=0)
    grey = _colours(image) if level.kind == "labels" else _grey(image)
    _, y, x = level.voxel_size
    height, width = image.shape[0] * y, image.shape[1] * x
    scale = EDGE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    out = io.BytesIO()
    Image.fromarray(grey).resize(size, Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


def _grey(image: Array) -> NDArray[np.uint8]:
    values = np.nan_to_num(image.astype(np.float64), posinf=0, neginf=0)
    low, high = np.percentile(values, CONTRAST)
    span = (values - low) / max(float(high - low), 1e-300)
    return (255 * span.clip(0, 1)).astype(np.uint8)


def _colours(labels: Array) -> NDArray[np.uint8]:
    """Return a colour a label, the same one wherever it appears; background is black."""
    mixed = labels.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    shifts = np.array([24, 36, 48], dtype=np.uint64)
    colours = (mixed[..., None] >> shifts).astype(np.uint8) // 2 + 96
    return np.where(labels[..., None] == 0, 0, colours).astype(np.uint8)
