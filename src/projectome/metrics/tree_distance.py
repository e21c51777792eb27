"""How far apart two forests lie: ESA, DSA and PDS, in both directions and by length.

Every distance is that of a point on the cable of one forest to the nearest segment of the other,
and every mean is taken along the cable: how densely nodes are set changes nothing. (The tool that
made these figures known weighs points that it sets on each edge; see `compat.vaa3d`.)

References
----------
Peng H. et al. (2010), V3D enables real-time 3D visualization and quantitative analysis of
large-scale biological image data sets, Nature Biotechnology 28, 348-353 (there: spatial distance
SD, substantial spatial distance SSD, and its percentage).
Manubens-Gil L. et al. (2023), BigNeuron, Nature Methods 20, 824-835 (there: ESA, DSA, PDS).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from projectome.core.affine import read_only
from projectome.core.skeleton import Skeleton
from projectome.metrics.samples import Samples, check_distance, common_space, cut, share
from projectome.morphology.nearest import Cable


@dataclass(frozen=True, slots=True)
class OneWay:
    """Distances of the cable of one forest to the nearest cable of another.

    Attributes
    ----------
    esa_um
        Entire structure average: mean distance of all cable [um].
    dsa_um
        Different structure average: mean distance of the cable that lies at the threshold or
        farther [um]; 0 if none does.
    pds
        Percentage of different structure, as a share: cable at the threshold or farther over all
        cable.
    max_um
        Largest distance [um] (the directed Hausdorff distance).
    length_um
        Length of the cable [um].
    skeletons
        Shape (N, 4), what each skeleton of the forest adds: its length, the integral of the
        distance along it, and both of the part that lies apart [um, um2, um, um2]. Sums of the
        columns give the figures.
    """

    esa_um: float
    dsa_um: float
    pds: float
    max_um: float
    length_um: float
    skeletons: NDArray[np.float64] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class DistanceScores:
    """Distances of two forests.

    Attributes
    ----------
    truth_to_traced
        Of true cable to the nearest traced cable: what was missed lies far.
    traced_to_truth
        Of traced cable to the nearest true cable: what is false lies far.
    esa_um, pds
        Means of the two directions [um] and share.
    dsa_um
        Mean of the directions in which any cable lies apart; 0 if none does [um].
    threshold_um
        From which distance on cable lies apart [um].
    """

    truth_to_traced: OneWay
    traced_to_truth: OneWay
    esa_um: float
    dsa_um: float
    pds: float
    threshold_um: float


def distance_scores(
    truth: Sequence[Skeleton],
    traced: Sequence[Skeleton],
    *,
    threshold_um: float = 2.0,
    step_um: float = 1.0,
) -> DistanceScores:
    """Measure how far apart two forests lie.

    Parameters
    ----------
    truth, traced
        Trees, or forests, all in one space. Nodes without an edge have no length and do not count.
    threshold_um
        From which distance on cable lies apart [um of the space]; 2, the published threshold, was
        meant in voxels.
    step_um
        Length of the pieces whose middles are measured [um].

    Returns
    -------
    DistanceScores
        Where one forest is empty, the distances are NaN and all cable of the other lies apart
        (pds 1); where both are, everything is NaN.

    Raises
    ------
    ParameterError
        If a distance is not positive.
    SpaceMismatchError
        If the trees lie in different spaces.
    """
    check_distance(threshold_um, "threshold_um")
    common_space(truth, traced)
    a, b = (cut(forest, longest_um=step_um) for forest in (truth, traced))
    there = _one_way(a, len(truth), Cable.of(traced).nearest(a.points).distance, threshold_um)
    back = _one_way(b, len(traced), Cable.of(truth).nearest(b.points).distance, threshold_um)
    sums = np.stack([way.skeletons.sum(axis=0) for way in (there, back)])
    esa, dsa, pds = combined(sums)
    return DistanceScores(
        truth_to_traced=there,
        traced_to_truth=back,
        esa_um=esa,
        dsa_um=dsa,
        pds=pds,
        threshold_um=float(threshold_um),
    )


def combined(sums: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return ESA [um], DSA [um] and PDS of two forests from what their skeletons add up to.

    Parameters
    ----------
    sums
        Shape (2, 4): for both directions the sums of `OneWay.skeletons`.

    Returns
    -------
    tuple of float
        As in `DistanceScores`.
    """
    length, integral, far, apart = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        esa = integral / length
        shares = np.minimum(far / length, 1)
        dsa = np.where(far > 0, apart / far, 0.0)
    if not np.isfinite(esa).all():
        esa = dsa = np.full(2, math.nan)
    known = shares[length > 0]
    lying = dsa[dsa > 0]
    mean = math.nan if np.isnan(dsa).any() else float(lying.sum()) / max(1, len(lying))
    return float(esa.mean()), mean, float(known.mean()) if len(known) else math.nan


def _one_way(
    samples: Samples, skeletons: int, distance: NDArray[np.float64], threshold: float
) -> OneWay:
    apart = distance >= threshold
    weighted = samples.length * distance
    columns = (samples.length, weighted, samples.length * apart, np.where(apart, weighted, 0.0))
    table = np.stack(
        [np.bincount(samples.owner, each, minlength=skeletons) for each in columns], axis=1
    )
    length, integral, far, far_integral = (float(v) for v in table.sum(axis=0))
    if not len(distance) or not np.isfinite(distance).all():
        nan = math.nan
        return OneWay(nan, nan, share(far, length), nan, length, read_only(table))
    return OneWay(
        esa_um=integral / length,
        dsa_um=far_integral / far if far > 0 else 0.0,
        pds=share(far, length),
        max_um=float(distance.max()),
        length_um=length,
        skeletons=read_only(table),
    )
