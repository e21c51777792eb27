"""Replica of the bucket with neurons that carry protein barcodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from projectome.testing.replica_parts import (
    Array,
    halved,
    write,
    write_precomputed,
    write_zarr2,
)

RESOLUTION = (400, 168, 168)
"""Of scale 0 (z, y, x) [nm], expanded tissue."""
BITS = (0, 1, 2, 3, 8, 16, 19, 24, 26, 27, 28, 29, 30, 32, 33, 34, 36, 37)
"""Channels of ``all`` that are barcodes."""
CROPS = {0: 18, 5: 12, 12: 10, 13: 11}
"""Training crops and their channels."""
SHAPE = (32, 64, 64)
NEURONS = 24
LABELS = (
    "dense_segmentation",
    "local_segmentation",
    "local_segmentation_spines",
    "proofread_segmentation",
    "barcode_relabeled_segmentation",
)


def prism(folder: Path, seed: int, zoom: int) -> None:
    """Write the bucket of E11 Bio; the zoom is that of y and x."""
    rng = np.random.default_rng(seed)
    labels = neurites((SHAPE[0], zoom * SHAPE[1], zoom * SHAPE[2]), NEURONS * zoom, rng)
    every = stained(labels, barcodes(labels, 40, rng), rng)
    home = folder / "ls"
    whole = home / "images" / "full_dataset.zarr"
    write(whole / ".zgroup", {"zarr_format": 2})
    raw = every[list(BITS)].astype(np.uint8)
    _levels(whole / "all", every.astype(np.uint8), "")
    _levels(whole / "raw", raw, "s")
    _levels(whole / "markers", every[:7].astype(np.uint16) * 16, "s")
    _levels(whole / "barcode_mask", (labels > 0).astype(np.uint8), "s")
    for number, name in enumerate(LABELS):
        kept = np.where(labels > number, labels, 0).astype(np.uint64)
        _levels(whole / name, kept, "s")
    _precomputed(home / "images" / "precomputed", raw, labels)
    _models(home / "models", zoom, rng)
    for kind in ("axons", "dendrites"):
        write(home / "skeletons" / f"{kind}.nml", nml())


def neurites(shape: tuple[int, int, int], count: int, rng: np.random.Generator) -> Array:
    """Return labels of wavy tubes, two thirds of them along x and one along y; uint64."""
    z, y, x = np.indices(shape)
    labels = np.zeros(shape, np.uint64)
    for label in range(1, count + 1):
        along, across, width = (x, y, shape[1]) if label % 3 else (y, x, shape[2])
        phase, turn = rng.uniform(0, 6.3, 2)
        at_z = rng.uniform(0, shape[0]) + 3 * np.sin(along / 9 + phase)
        middle = rng.uniform(0, width) + 5 * np.sin(along / 13 + turn)
        labels[(z - at_z) ** 2 * 4 + (across - middle) ** 2 < rng.uniform(4, 14)] = label
    return labels


def barcodes(labels: Array, channels: int, rng: np.random.Generator) -> Array:
    """Return which channels each neuron glows in, about a fifth; none for the background."""
    codes = rng.random((int(labels.max()) + 1, channels)) < 0.21
    codes[0] = False
    return codes


def stained(labels: Array, codes: Array, rng: np.random.Generator) -> Array:
    """Return the brightness of each channel; a neuron glows in the channels of its code."""
    seen = np.empty((codes.shape[1], *labels.shape), np.uint8)
    for channel, lit in enumerate(codes.T):
        glow = np.where(lit, 110.0, 0.0)[labels.astype(np.intp)]
        light = 30 + ndimage.gaussian_filter(glow, (0.4, 0.8, 0.8))
        seen[channel] = np.clip(light + rng.normal(0, 9, light.shape), 0, 255)
    return seen


def _levels(path: Path, array: Array, letter: str) -> None:
    """Write six scales, each an array with its place in nanometres."""
    write(path / ".zgroup", {"zarr_format": 2})
    for level in range(6):
        attributes: dict[str, Any] = {
            "offset": [0, 0, 0],
            "resolution": [r * 2**level for r in RESOLUTION],
        }
        chunks = (*(1,) * (array.ndim - 3), 32, 32, 32)
        place = path / f"{letter}{level}"
        write_zarr2(place, array, chunks=chunks, separator=".", attributes=attributes)
        array = halved(array)


def _precomputed(folder: Path, raw: Array, labels: Array) -> None:
    resolution = RESOLUTION[::-1]
    images = {"raw": raw[:3], "enhanced": raw[3:6], "markers_all": raw[6:9]}
    images["combined_affs"] = raw[:3]
    for name, array in images.items():
        write_precomputed(folder / name, array, resolution_nm=resolution, levels=2, kind="image")
    for name in (
        "dense_seg",
        "local_seg_full",
        "local_seg_spines",
        "pre_mask_dense_seg",
        "post_mask_dense_seg",
        "pre_mask_local_seg_spines",
        "post_mask_local_seg_spines",
        "proofed_cells",
        "segments_relabeled",
    ):
        place = folder / name
        write_precomputed(place, labels, resolution_nm=resolution, levels=2, kind="segmentation")
        write(place / "mesh" / "info", {"@type": "neuroglancer_legacy_mesh"})


def _models(folder: Path, zoom: int, rng: np.random.Generator) -> None:
    """Write crops whose raw reaches further than their labels, and checkpoints."""
    margin = (5, 8, 8)
    for number, channels in CROPS.items():
        labels = neurites((30, 40 * zoom, 40 * zoom), NEURONS, rng)
        raw = stained(labels, barcodes(labels, channels, rng), rng)
        inner = labels[5:-5, 8:-8, 8:-8]
        corner = [4000 * number, 8400, 8400]
        shift = [m * r for m, r in zip(margin, RESOLUTION, strict=True)]
        crop = folder / "training_data" / "instance" / f"crop_{number}.zarr"
        write(crop / ".zgroup", {"zarr_format": 2})
        about = {"resolution": list(RESOLUTION)}
        places: tuple[tuple[str, Array, list[int]], ...] = (
            ("raw", raw, corner),
            ("labels", inner, [c + s for c, s in zip(corner, shift, strict=True)]),
        )
        for name, array, offset in places:
            chunks = (*(channels,) * (array.ndim - 3), 16, 32, 32)
            write_zarr2(
                crop / name,
                array,
                chunks=chunks,
                separator=".",
                attributes={"offset": offset, **about},
            )
    semantic = folder / "training_data" / "semantic" / "crop_0.zarr"
    classes = np.minimum(neurites((16, 32, 32), NEURONS, rng), 11).astype(np.uint64)
    write(semantic / ".zgroup", {"zarr_format": 2})
    about = {"offset": [0, 0, 0], "resolution": list(RESOLUTION)}
    write_zarr2(semantic / "labels", classes, chunks=(16, 32, 32), separator=".", attributes=about)
    for name in ("affs", "binary_channel_agnostic", "enhanced", "uniform"):
        write(folder / "checkpoints" / name / "model_checkpoint_60000", b"weights\n")


def nml() -> str:
    """Return one traced neurite as webKnossos writes it."""
    nodes = "".join(f'<node id="{n}" radius="1" x="{8 * n}" y="20" z="9"/>' for n in range(1, 6))
    edges = "".join(f'<edge source="{n}" target="{n + 1}"/>' for n in range(1, 5))
    scale = '<scale x="168" y="168" z="400"/>'
    return (
        f"<things><parameters>{scale}</parameters>"
        f'<thing id="1" name="neurite 1"><nodes>{nodes}</nodes><edges>{edges}</edges></thing>'
        "</things>\n"
    )
