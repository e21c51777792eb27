"""How good a registration is, in micrometres, and how sure each place of it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.stats import qmc

from projectome.core.transform import DisplacementField, Transform
from projectome.core.volume import Volume
from projectome.errors import ShapeError
from projectome.registration.align import Pair, Registration

FACTOR, FLOOR = 0.8, 0.05
"""Spread of repeated fits to standard deviation of the error a coordinate, and the least of it in
working voxels: measured on known warps (seeds 100 to 102 of ``bench/registration.py``). The spread
is that of B-splines about a fit made better than they are, so that it is larger than the error."""
SMOOTHED = 3.0
"""Width over which the spread is averaged [field voxels]: two fits alike by chance are not sure."""
POINTS = 20_000
EDGES = 90.0
"""Percentile of the gradient in tissue above which a voxel is an edge."""
DRAWS = 128


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of a registration.

    Attributes
    ----------
    inverse_median_um, inverse_p95_um, inverse_max_um
        How far points of tissue come back from where they were, there and back.
    jacobian_min, jacobian_max
        Range of the local change of volume by the bend alone, in tissue.
    folded
        Share of tissue where the map folds.
    edge_median_um, edge_p95_um
        Distance of edges of the template, carried to the scan, from the nearest edge of the scan.
    correlation
        Of local contrast in tissue.
    overlap
        Dice of tissue masks: says little, for a bad registration has a good one too.
    uncertainty_median_um, uncertainty_p95_um
        Stated standard deviation a coordinate in tissue; NaN without repeats.
    """

    inverse_median_um: float
    inverse_p95_um: float
    inverse_max_um: float
    jacobian_min: float
    jacobian_max: float
    folded: float
    edge_median_um: float
    edge_p95_um: float
    correlation: float
    overlap: float
    uncertainty_median_um: float
    uncertainty_p95_um: float


def jacobian(field: DisplacementField) -> NDArray[np.float32]:
    """Return the local change of volume by a displacement field, shape (Z, Y, X).

    Notes
    -----
    The determinant of ``I + du/dp`` by central differences on the grid of the field.
    """
    along = np.stack(
        [np.gradient(field.displacement.astype(np.float64), axis=a) for a in range(3)], axis=-1
    )
    matrix = along @ np.linalg.inv(field.grid.matrix[:3, :3]) + np.eye(3)
    return np.asarray(np.linalg.det(matrix), np.float32)


def stated_uncertainty(spread: NDArray[np.float32], size: float) -> NDArray[np.float32]:
    """Return the standard deviation of the error a coordinate [um] from the spread of fits.

    Parameters
    ----------
    spread
        See `projectome.registration.align.Registration.spread`.
    size
        Working voxel [um].
    """
    mean = ndimage.gaussian_filter(np.square(spread, dtype=np.float64), SMOOTHED, mode="nearest")
    return np.sqrt(FACTOR**2 * mean + (FLOOR * size) ** 2).astype(np.float32)


def at_points(volume: Volume, points: ArrayLike) -> NDArray[np.float64]:
    """Return the values of a volume at points (N, 3) of its space, interpolated; ends go on."""
    index = volume.affine.inverse()(points)
    values = np.asarray(volume.read(), np.float64)
    return np.asarray(ndimage.map_coordinates(values, index.T, order=1, mode="nearest"))


def region_probabilities(
    annotation: Volume, points: ArrayLike, deviation: ArrayLike
) -> list[dict[int, float]]:
    """Return in which regions points may lie, given how unsure they are.

    Parameters
    ----------
    annotation
        Labels.
    points
        Shape (N, 3), in its space [um].
    deviation
        Shape (N,): standard deviation a coordinate [um].

    Returns
    -------
    list of dict
        A point: probability by region id, most likely first; 0 is outside the brain. The same for
        the same input: `DRAWS` fixed, evenly spread draws of a normal distribution.

    Raises
    ------
    ShapeError
        If there is not one deviation a point.
    """
    places = np.asarray(points, np.float64).reshape(-1, 3)
    sigma = np.asarray(deviation, np.float64)
    if sigma.shape != (len(places),):
        raise ShapeError(f"{len(places)} points need a deviation each, not {sigma.shape}.")
    draws = qmc.MultivariateNormalQMC(np.zeros(3), rng=np.random.default_rng(0)).random(DRAWS)
    labels = np.asarray(annotation.read())
    inverse, limit = annotation.affine.inverse(), np.asarray(labels.shape)
    found: list[dict[int, float]] = []
    for place, width in zip(places, sigma, strict=True):
        index = np.floor(inverse(place + draws * width) + 0.5).astype(np.int64)
        inside = ((index >= 0) & (index < limit)).all(axis=1)
        regions = np.zeros(DRAWS, labels.dtype)
        regions[inside] = labels[tuple(index[inside].T)]
        ids, counts = np.unique(regions, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        found.append({int(ids[i]): float(counts[i] / DRAWS) for i in order})
    return found


def warped_template(pair: Pair, found: Registration) -> NDArray[np.float32]:
    """Return the template as it lies on the turned scan, shape of the scan (Z, Y, X)."""
    return _onto_scan(pair, found.transform, pair.template.image)


def _onto_scan(pair: Pair, transform: Transform, image: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.empty(pair.scan.image.shape, np.float32)
    back = pair.turned.inverse()
    plane = np.indices((1, *out.shape[1:])).reshape(3, -1).T.astype(np.float64)
    for z in range(len(out)):
        plane[:, 0] = z
        goal = transform(back(plane * pair.size))
        at = (goal - pair.place) / pair.size
        out[z] = ndimage.map_coordinates(image, at.T, order=1).reshape(out.shape[1:])
    return out


def measure(
    pair: Pair, found: Registration, warped: NDArray[np.float32], uncertainty: Volume | None
) -> Quality:
    """Return the figures of a registration.

    Parameters
    ----------
    pair, found
        What was registered, and the result.
    warped
        From `warped_template`.
    uncertainty
        Standard deviation a coordinate, in the space of the scan; None without repeats.
    """
    tissue = pair.scan.tissue
    voxels = np.argwhere(tissue)
    rng = np.random.default_rng(0)
    chosen = voxels[rng.choice(len(voxels), min(POINTS, len(voxels)), replace=False)]
    places = pair.turned.inverse()(chosen * pair.size)
    tissue_um = 1 / found.transform.source.expansion
    goal = found.transform(places)
    inner = _inside(goal, pair)
    apart = np.linalg.norm(found.transform.inverse()(goal) - places, axis=1)[inner] * tissue_um
    apart = apart if len(apart) else np.array([np.nan])
    forward = found.transform.links[-1]
    assert isinstance(forward, DisplacementField)
    change = jacobian(forward)
    local = ndimage.map_coordinates(
        change, found.scan_grid.inverse()(places).T, order=1, mode="nearest"
    )
    edges = _edge_distance(pair, warped)
    sigma = np.array([np.nan]) if uncertainty is None else at_points(uncertainty, places)
    seen = warped > 0.1
    back = [float(v) for v in (*np.percentile(apart, (50, 95)), apart.max())]
    rim = [float(v) for v in np.percentile(edges, (50, 95))]
    unsure = [float(v) for v in np.percentile(sigma, (50, 95))]
    return Quality(
        inverse_median_um=back[0],
        inverse_p95_um=back[1],
        inverse_max_um=back[2],
        jacobian_min=float(local.min()),
        jacobian_max=float(local.max()),
        folded=float((local <= 0).mean()),
        edge_median_um=rim[0],
        edge_p95_um=rim[1],
        correlation=_correlation(pair.scan.image, warped, tissue & seen),
        overlap=float(2 * (tissue & seen).sum() / max(1, tissue.sum() + seen.sum())),
        uncertainty_median_um=unsure[0],
        uncertainty_p95_um=unsure[1],
    )


def _inside(points: NDArray[np.float64], pair: Pair) -> NDArray[np.bool_]:
    """Say which points of the atlas lie on the grid of the template."""
    index = (points - pair.place) / pair.size
    return np.asarray(((index >= 0) & (index <= np.array(pair.template.image.shape) - 1)).all(1))


def _edge_distance(pair: Pair, warped: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how far edges of the template lie from the nearest edge of the scan [um]."""
    masks = []
    for image in (pair.scan.image, warped):
        steep = ndimage.gaussian_gradient_magnitude(image, 1.5)
        inside = pair.scan.tissue & (warped > 0)
        if not inside.any():
            return np.array([np.nan])
        masks.append((steep >= np.percentile(steep[inside], EDGES)) & inside)
    distance = ndimage.distance_transform_edt(~masks[0]) * pair.size
    return np.asarray(distance[masks[1]])


def _correlation(
    first: NDArray[np.float32], second: NDArray[np.float32], inside: NDArray[np.bool_]
) -> float:
    from projectome.registration.prepare import local_contrast

    if inside.sum() < 10:
        return float("nan")
    a, b = (local_contrast(image, inside)[inside] for image in (first, second))
    return float(np.corrcoef(a, b)[0, 1])
