"""Neurons with protein barcodes: dense expanded neuropil in 18 channels, and synaptic markers.

A neuron expresses a few of the epitopes, or most of them, and how much varies so that a third of
all entries is neither clearly on nor off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from projectome.core.affine import Affine
from projectome.core.box import Box, Triple
from projectome.core.provenance import plain
from projectome.core.space import Space
from projectome.datasets.phantom_fibres import Bed, Fibre, Habit
from projectome.datasets.phantom_field import fill
from projectome.datasets.phantom_kernels import REACH, add_spots, blur, expose, near
from projectome.datasets.phantom_specimen import (
    Specimen,
    checked,
    fibre_table,
    places_of,
    soma_table,
)
from projectome.datasets.phantom_threads import Threads, texture_of, threads_of
from projectome.datasets.phantom_volume import rendered, rendered_channels
from projectome.errors import ParameterError

Floats = NDArray[np.float64]
EPITOPES = (
    *("E2", "S1", "ALFA", "Ty1", "HA", "T7", "VSVG", "AU5", "NWS"),
    *("SunTag", "ETAG", "SPOT", "HSV", "ProteinC", "Tag100", "CMyc", "OLLAS", "MoonTag"),
)
MARKERS = ("Bassoon", "PSD95", "Gephyrin", "VGLUT1", "VGAT", "Synaptophysin", "MAP2")
SEEN_IN = {True: (0, 1, 3, 5), False: (0, 2, 4, 5)}
"""Markers of excitatory synapses, and of others."""
POST = (1, 2)
"""Markers that lie on the far side of the cleft."""
HABIT = Habit(
    step=0.5, radius=(0.8, 0.35), bend=(0.3, 0.4), varicose=0.0, branches=8.0, dim=0.0, gaps=0.0
)
SWELL = 1.9
"""How much wider than its radius a neurite becomes where it has no neighbour."""
STAIN = ((6.0, 12.0, 0.05), (16.0, 40.0, 0.06))


@dataclass(frozen=True, slots=True)
class Barcoding:
    """Statistics of the barcodes; the defaults are those published for mouse hippocampus.

    Attributes
    ----------
    prevalence
        Share of the neurons that express the rarest and the most frequent epitope.
    over
        Share of the neurons that express most epitopes, and the chance of each in them.
    ratio
        Median brightness of on over off, in the worst and in the best channel.
    spread
        Standard deviation of the logarithm of the brightness of neurons, on or off.
    base
        Median brightness of off [grey values].
    noise
        Grey values a photo-electron.
    labelled
        Share of the neurons that carry a barcode at all.
    """

    prevalence: tuple[float, float] = (0.14, 0.36)
    over: tuple[float, float] = (0.2, 0.6)
    ratio: tuple[float, float] = (1.2, 2.6)
    spread: float = 0.28
    base: float = 42.0
    noise: float = 1.6
    labelled: float = 0.8

    def __post_init__(self) -> None:
        shares = (*self.prevalence, *self.over, self.labelled)
        if not all(0 <= share <= 1 for share in shares) or self.over[0] == 1:
            raise ParameterError(f"Shares of neurons and chances lie between 0 and 1: {shares}.")
        if not (min(self.ratio) > 0 and self.spread >= 0 and self.base > 0 and self.noise > 0):
            raise ParameterError(
                f"Ratios, base and noise are above 0 and the spread is not below: {self}."
            )


@dataclass(frozen=True, slots=True, eq=False)
class NeuropilScene:
    """All that is drawn once for a whole volume.

    Attributes
    ----------
    shape, seed, coding, threads
        What is imaged.
    light
        Shape (C, N + 1): brightness of each neurite in each channel; row 0 is background.
    spots
        Shape (M, 6): Gaussians of the synapses, see `phantom_kernels.add_spots`.
    marker
        Shape (M,): which marker each belongs to.
    dendrites
        Shape (N + 1,): whether a neurite is a dendrite.
    """

    shape: Triple
    seed: int
    coding: Barcoding
    threads: Threads
    light: NDArray[np.float32]
    spots: Floats
    marker: NDArray[np.int64]
    dendrites: NDArray[np.bool_]


def make_barcoded_neuropil(
    *,
    seed: int = 0,
    size: ArrayLike = (64, 256, 256),
    voxel_size: ArrayLike = (0.4, 0.168, 0.168),
    arbors: str | None = None,
    arbor_scale: float | None = None,
    filling: float = 0.5,
    coding: Barcoding | None = None,
) -> Specimen:
    """Draw expanded neuropil whose neurons carry barcodes.

    Parameters
    ----------
    seed
        Which specimen.
    size
        Voxels (z, y, x).
    voxel_size
        Micrometres of gel, which is expanded fivefold.
    arbors, arbor_scale
        As for `projectome.datasets.phantom_field.make_axon_field`.
    filling
        Share of the volume inside the plain radius of neurites; they swell into what is left until
        they touch each other: 0.5 fills four fifths.
    coding
        Statistics of the barcodes.

    Returns
    -------
    Specimen
        Image of 18 channels, uint8; labels of all neurites, with a barcode or without. Tables
        ``neurites`` (with the ``neuron`` of each), ``codes`` (neuron and channel: expressed, and
        the grey value it has there) and ``synapses``. Volumes ``markers`` (7 channels) and
        ``barcode_mask``.

    Raises
    ------
    ParameterError
        If such a volume cannot be made.
    """
    shape, voxel = checked(seed, size, voxel_size, smallest=(8, 32, 32))
    if not 0 < filling <= 1:
        raise ParameterError(f"A share of the volume lies between 0 and 1, not {filling}.")
    coding = coding or Barcoding()
    # What lies at half a voxel in nanometres has its corner at 0, as the format counts.
    half = np.asarray(voxel) / 2
    space = Space("prism", expansion=5.0)
    bed = Bed((np.asarray(shape) - 1) * voxel, space, HABIT, np.random.default_rng([seed, 21]))
    section = np.pi * HABIT.radius[0] ** 2 * np.exp(2 * HABIT.radius[1] ** 2)
    wanted = filling * float(np.prod(bed.extent)) / section
    fill(bed, wanted, cells=0, arbors=arbors, arbor_scale=arbor_scale, uneven=0.0)
    rng = np.random.default_rng([seed, 22])
    neuron = _neurons(len(bed.fibres), rng)
    codes, levels = draw_codes(int(neuron.max(initial=0)), coding, rng)
    labelled = np.isfinite(levels[:, 0])
    # Without a barcode a neurite is as dark as what lies between neurites.
    dark = np.full((1, len(EPITOPES)), 0.85 * coding.base)
    levels = np.where(labelled[:, None], levels, dark)
    light = np.concatenate([dark, levels[neuron - 1]]).T.astype(np.float32)
    threads = threads_of(bed.fibres, voxel, soma_light=0.0)
    synapses, spots, marker = _synapses(bed, voxel, neuron, rng)
    widths = [0.0, *(_width(fibre) for fibre in bed.fibres)]
    scene = NeuropilScene(
        shape, seed, coding, threads, light, spots, marker, np.asarray(widths) > HABIT.radius[0]
    )
    grid = Affine.from_scale(voxel, half, target=space)
    neurites = fibre_table(bed.fibres).drop(columns="level")
    neurites["neuron"], neurites["labelled"] = neuron, labelled[neuron - 1]
    shown = np.concatenate([[False], labelled[neuron - 1]])
    making = {"seed": seed, "shape": shape, "voxel_size_um": voxel, "filling": filling}
    making |= {"arbors": arbors, "arbor_scale": arbor_scale, "coding": plain(coding)}
    return Specimen(
        "barcodes",
        making,
        rendered_channels(
            partial(render_barcodes, scene), shape, np.uint8, grid, channels=EPITOPES, name="raw"
        ),
        rendered(
            partial(threads.labels, swell=SWELL),
            shape,
            np.uint32,
            grid,
            kind="labels",
            name="neurites",
        ),
        [
            replace(fibre.skeleton, coordinates=fibre.skeleton.coordinates + half)
            for fibre in bed.fibres
        ],
        soma_table(bed.fibres, space),
        {
            "neurites": neurites,
            "codes": _code_table(codes[labelled], levels[labelled], np.flatnonzero(labelled) + 1),
            "synapses": synapses,
        },
        {
            "markers": rendered_channels(
                partial(render_markers, scene),
                shape,
                np.uint16,
                grid,
                channels=MARKERS,
                name="markers",
            ),
            "barcode_mask": rendered(
                partial(_mask, threads, shown),
                shape,
                np.uint8,
                grid,
                kind="labels",
                name="barcode_mask",
            ),
        },
    )


def draw_codes(
    neurons: int, coding: Barcoding, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Floats]:
    """Draw the barcodes of N neurons.

    Parameters
    ----------
    neurons
        N.
    coding
        Their statistics.
    rng
        Where chance comes from.

    Returns
    -------
    codes
        Shape (N, 18): which epitopes a neuron expresses.
    levels
        Shape (N, 18): grey value of the neuron in each channel; NaN for one without a barcode.
    """
    count = len(EPITOPES)
    low, high = coding.prevalence
    # Most epitopes are near the rare end.
    prevalence = low + (high - low) * np.linspace(0, 1, count) ** 1.9
    share, chance = coding.over
    rest = np.clip((prevalence - share * chance) / (1 - share), 0.01, 1)
    over = rng.random(neurons) < share
    codes = rng.random((neurons, count)) < np.where(over[:, None], chance, rest)
    ratio = np.geomspace(*coding.ratio, count)[rng.permutation(count)]
    spread = np.exp(coding.spread * rng.standard_normal((neurons, count)))
    levels = coding.base * np.where(codes, ratio, 1.0) * spread
    levels[rng.random(neurons) >= coding.labelled] = np.nan
    return codes, levels


def render_barcodes(scene: NeuropilScene, box: Box, channels: slice) -> NDArray[np.uint8]:
    """Return some channels of a box; the same voxels in whatever box they are rendered."""
    wide = box.grow(2)
    labels = scene.threads.labels(wide, swell=SWELL)
    out = np.empty((channels.stop - channels.start, *box.shape), np.uint8)
    for row, channel in enumerate(range(channels.start, channels.stop)):
        light = scene.light[channel][labels]
        for share in (0.25, 0.2):
            for axis in range(3):
                light = blur(light, share if axis else 0.1, axis)
        light *= texture_of(box, STAIN, seed=100 * scene.seed + channel)
        out[row] = np.rint(_exposed(scene, light, box, channel, 255.0))
    return out


def render_markers(scene: NeuropilScene, box: Box, channels: slice) -> NDArray[np.uint16]:
    """Return some synaptic markers of a box."""
    labels = scene.threads.labels(box, swell=SWELL)
    out = np.empty((channels.stop - channels.start, *box.shape), np.uint16)
    for row, channel in enumerate(range(channels.start, channels.stop)):
        light = 30 * texture_of(box, STAIN, seed=100 * scene.seed + 50 + channel)
        if MARKERS[channel] == "MAP2":
            light += 60 * scene.dendrites[labels]
        spots = scene.spots[scene.marker == channel]
        start = np.asarray(box.start, np.float64)
        add_spots(light, start, near(spots, box, REACH * spots[:, 3]))
        out[row] = np.rint(_exposed(scene, light, box, 50 + channel, 65535.0))
    return out


def _exposed(
    scene: NeuropilScene, light: NDArray[np.float32], box: Box, stream: int, most: float
) -> NDArray[np.float32]:
    """Add the noise of a camera to a box, in place."""
    expose(
        light,
        np.asarray(box.start),
        np.asarray(scene.shape),
        np.ones(scene.shape[1:], np.float32),
        np.ones((2, *scene.shape[:2]), np.float32),
        (np.uint64(100 * scene.seed + stream), scene.coding.noise, 1.0, 0.0),
        most,
    )
    return light


def _mask(threads: Threads, shown: NDArray[np.bool_], box: Box) -> NDArray[np.uint8]:
    """Return where neurites with a barcode are."""
    return shown[threads.labels(box, swell=SWELL)].astype(np.uint8)


def _neurons(neurites: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the neuron of each neurite; a quarter belong to one that has come before."""
    own = np.zeros(neurites, np.int64)
    count = 0
    for k in range(neurites):
        if count and rng.random() < 0.25:
            own[k] = rng.integers(1, count + 1)
        else:
            count += 1
            own[k] = count
    return own


def _width(fibre: Fibre) -> float:
    """Return the median radius of a neurite [um]."""
    radius = fibre.skeleton.radius
    return 0.0 if radius is None else float(np.median(radius))


def _code_table(
    codes: NDArray[np.bool_], levels: Floats, neurons: NDArray[np.int64]
) -> pd.DataFrame:
    """Return one row a neuron and channel."""
    count = len(EPITOPES)
    return pd.DataFrame(
        {
            "neuron": np.repeat(neurons, count),
            "channel": np.tile(np.arange(count), len(neurons)),
            "epitope": list(EPITOPES) * len(neurons),
            "expressed": codes.ravel(),
            "level": levels.ravel(),
        }
    )


def _synapses(
    bed: Bed,
    voxel: tuple[float, float, float],
    neuron: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, Floats, NDArray[np.int64]]:
    """Put synapses where neurites of two neurons meet: table, Gaussians, and their markers."""
    xyz = np.concatenate([np.empty((0, 3)), *(f.skeleton.coordinates for f in bed.fibres)])
    owner = np.repeat(np.arange(len(bed.fibres)), [len(f.skeleton) for f in bed.fibres])
    width = np.asarray([_width(f) for f in bed.fibres])
    # About one in a cubic micrometre of tissue, as in real neuropil.
    wanted = int(np.prod(bed.extent) / bed.space.expansion**3)
    chosen = rng.permutation(len(xyz))[:wanted]
    found_near = cKDTree(xyz).query(xyz[chosen], k=min(48, max(2, len(xyz))))
    gaps, others = (np.asarray(part) for part in found_near)
    rows: list[tuple[float, ...]] = []
    spots: list[tuple[float, ...]] = []
    marker: list[int] = []
    sigma = 0.35 / np.asarray(voxel)
    for node, far, ids in zip(chosen.tolist(), gaps, others, strict=True):
        near_by = (ids < len(xyz)) & (far < 2.5)
        near_by[near_by] = neuron[owner[ids[near_by]]] != neuron[owner[node]]
        if not near_by.any():
            continue
        a, b = node, int(ids[near_by.argmax()])
        # Axons are the thinner ones; they are presynaptic.
        pre, post = (a, b) if width[owner[a]] <= width[owner[b]] else (b, a)
        excitatory = bool(rng.random() < 0.8)
        way = xyz[post] - xyz[pre]
        length = max(float(np.linalg.norm(way)), 1e-6)
        place = (xyz[pre] * width[owner[post]] + xyz[post] * width[owner[pre]]) / (
            width[owner[pre]] + width[owner[post]]
        )
        rows.append((*place, owner[pre] + 1, owner[post] + 1, excitatory))
        for kind in SEEN_IN[excitatory]:
            side = 0.35 if kind in POST else -0.35
            at = (place + side * way / length) / voxel
            bright = 220.0 * float(np.exp(rng.normal(0, 0.35)))
            spots.append((*at, max(sigma[0], 0.7), sigma[2], bright))
            marker.append(kind)
    found = np.asarray(rows).reshape(-1, 6)
    table = pd.DataFrame(
        {
            "id": np.arange(1, len(found) + 1),
            **places_of(found[:, :3] + np.asarray(voxel) / 2),
            "pre": found[:, 3].astype(np.int64),
            "post": found[:, 4].astype(np.int64),
            "excitatory": found[:, 5].astype(bool),
        }
    )
    return table, np.asarray(spots).reshape(-1, 6), np.asarray(marker, np.int64)
