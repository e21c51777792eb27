"""What becomes of the cable of true neurons under labels: omitted, merged, split, and run lengths.

Notation: the cable of each neuron is cut into pieces, each with one label; 0 is background. A run
is a maximal connected stretch of one label, a gap a maximal connected stretch of background. Labels
come from a volume (`metrics.skeletons`) or from a traced forest (`metrics.forests`); the figures
are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from projectome.core.affine import read_only
from projectome.core.skeleton import Skeleton
from projectome.metrics.bootstrap import Interval, interval, ratio
from projectome.metrics.run_graph import Cut, changes, joints, runs
from projectome.metrics.samples import share
from projectome.morphology.measure import tissue


@dataclass(frozen=True, slots=True)
class RunScores:
    """What became of the cable of one neuron, or of several together.

    All cable that is scored is one of three: omitted, merged, or correct. Lengths are micrometres
    of tissue; their sum is called L. Sums over runs do not include runs that are merged.

    Attributes
    ----------
    length_um
        Cable scored, L [um of tissue].
    omitted_um
        Cable in background [um of tissue].
    merged_um
        Cable under a label that holds more than the threshold of this neuron and of another [um of
        tissue].
    split_um
        Correct cable outside the one label that holds most of it [um of tissue].
    outside_um
        Cable outside the volume of labels, not scored and part of no other figure [um of tissue].
    runs, gaps, truncations
        Numbers of runs, merged ones included; of gaps inside a neuron; of gaps at its ends.
    splits
        Places where cable passes from one label to another, directly or through a gap: at each the
        number of labels that meet, less one. A label that comes back after a gap is no split.
    merges
        Number of labels under which cable is merged; of several neurons the number of joins, one
        less than the neurons that a label joins.
    run_squares_um2
        Sum of the squared lengths of the runs.
    segment_squares_um2
        Sum of the squared lengths of all runs of each label in a neuron together.
    perfect_squares_um2
        Sum of the squared lengths of the neurons.
    """

    length_um: float
    omitted_um: float
    merged_um: float
    split_um: float
    outside_um: float
    runs: int
    gaps: int
    truncations: int
    splits: int
    merges: int
    run_squares_um2: float
    segment_squares_um2: float
    perfect_squares_um2: float

    @property
    def omitted(self) -> float:
        """Omitted over all cable; NaN without cable."""
        return share(self.omitted_um, self.length_um)

    @property
    def merged(self) -> float:
        """Merged over all cable; NaN without cable."""
        return share(self.merged_um, self.length_um)

    @property
    def split(self) -> float:
        """Split over all cable; NaN without cable."""
        return share(self.split_um, self.length_um)

    @property
    def accuracy(self) -> float:
        """Edge accuracy by length, 1 - omitted - merged, between 0 and 1; NaN without cable."""
        return max(0.0, 1 - self.omitted - self.merged) if self.length_um > 0 else math.nan

    @property
    def erl_um(self) -> float:
        """Expected run length: sum of squared run lengths over L [um of tissue].

        The expected length of the run around a random place on the cable, 0 where that is omitted
        or merged. Every run counts, and so does omitted cable in L. NaN without cable.

        References
        ----------
        Januszewski M. et al. (2018), High-precision automated reconstruction of neurons with
        flood-filling networks, Nature Methods 15, 605-610.
        """
        return _over(self.run_squares_um2, self.length_um)

    @property
    def erl_per_segment_um(self) -> float:
        """Expected run length, a label that is left and comes back being one run [um of tissue].

        Never less than `erl_um`. This is what funlib.evaluate computes, apart from its merges.
        """
        return _over(self.segment_squares_um2, self.length_um)

    @property
    def normalised_erl(self) -> float:
        """`erl_um` over that of a perfect result, between 0 and 1; NaN without cable."""
        return share(self.run_squares_um2, self.perfect_squares_um2)

    @property
    def normalised_erl_per_segment(self) -> float:
        """`erl_per_segment_um` over that of a perfect result; NaN without cable."""
        return share(self.segment_squares_um2, self.perfect_squares_um2)


@dataclass(frozen=True, slots=True, eq=False)
class MergeSite:
    """Where one label joins two neurons.

    Attributes
    ----------
    label
        The label.
    neurons
        Indices of the two.
    point
        Shape (3,): half-way between their nearest pieces of that label, (z, y, x) [um].
    gap_um
        Distance of those pieces [um of the space].
    """

    label: int
    neurons: tuple[int, int]
    point: NDArray[np.float64]
    gap_um: float


@dataclass(frozen=True, slots=True, eq=False)
class SkeletonScores:
    """Agreement of true neurons with labels.

    Attributes
    ----------
    total
        All neurons together: sums.
    neurons
        One a neuron, in their order.
    split_points
        Shape (S, 3): where labels change, (z, y, x) [um].
    gap_points
        Shape (G, 3): the middles of gaps and truncations, the longest first [um].
    gap_um
        Shape (G,): their lengths [um of the space].
    merge_sites
        For each merged label the joins that connect its neurons by the shortest ways.
    merge_um
        The threshold: cable of a neuron beyond which a label counts [um of the space].
    """

    total: RunScores
    neurons: tuple[RunScores, ...]
    split_points: NDArray[np.float64]
    gap_points: NDArray[np.float64]
    gap_um: NDArray[np.float64]
    merge_sites: tuple[MergeSite, ...]
    merge_um: float

    def intervals(
        self, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
    ) -> dict[str, Interval]:
        """Return shares and run lengths of all cable with bootstrap intervals over neurons.

        Parameters
        ----------
        level, resamples, seed
            As in `bootstrap.interval`.

        Returns
        -------
        dict
            By the name of the figure: ``omitted``, ``merged``, ``split``, ``accuracy``, ``erl_um``,
            ``erl_per_segment_um``, ``normalised_erl`` and ``normalised_erl_per_segment``. Neurons
            without cable are not counted.
        """
        columns = {
            "omitted": ("omitted_um", "length_um"),
            "merged": ("merged_um", "length_um"),
            "split": ("split_um", "length_um"),
            "erl_um": ("run_squares_um2", "length_um"),
            "erl_per_segment_um": ("segment_squares_um2", "length_um"),
            "normalised_erl": ("run_squares_um2", "perfect_squares_um2"),
            "normalised_erl_per_segment": ("segment_squares_um2", "perfect_squares_um2"),
        }
        cable = [one for one in self.neurons if one.length_um > 0]
        rows = {
            name: np.array([[getattr(one, part), getattr(one, whole)] for one in cable])
            for name, (part, whole) in columns.items()
        }
        right = [[one.accuracy * one.length_um, one.length_um] for one in cable]
        rows["accuracy"] = np.array(right)
        return {
            name: interval(pairs.reshape(-1, 2), ratio, level=level, resamples=resamples, seed=seed)
            for name, pairs in rows.items()
        }


def score_runs(truth: Sequence[Skeleton], cut: Cut, *, merge_um: float) -> SkeletonScores:
    """Compute all figures from labelled pieces.

    Parameters
    ----------
    truth
        The neurons, in one space.
    cut
        Their cable, cut into labelled pieces.
    merge_um
        A label is merged if it holds more than this length of two neurons or more; the cable of
        each of them under it is merged then [um of the space].

    Returns
    -------
    SkeletonScores
        The same however the cable was cut, as long as the labels along it are the same.
    """
    where = joints(truth, cut)
    neuron = np.repeat(np.arange(len(truth)), [len(one) for one in truth])[cut.edge]
    kept = np.flatnonzero(cut.scored)
    # Background is label 0 here whatever the other labels are.
    names = np.unique(cut.label[kept])
    names = np.concatenate([np.zeros(1, names.dtype), names[names != 0]])
    order = np.argsort(names, kind="stable")
    label = order[np.searchsorted(names, cut.label[kept], sorter=order)]
    owner, length = neuron[kept], cut.length[kept]
    segments, segment = np.unique(owner * len(names) + label, return_inverse=True)
    held = _sums(segment, length, len(segments))
    merged = _merged(segments % len(names), held, merge_um)
    run = runs(where.ends[kept], label)
    table = _Tables(
        neurons=len(truth),
        scale=tissue(1.0, truth[0].space) if truth else 1.0,
        segment_neuron=segments // len(names),
        segment_label=segments % len(names),
        segment_length=held,
        segment_merged=merged,
        run_segment=_first(run, segment),
        run_length=_sums(run, length),
        run_at_end=_sums(run, where.tip[where.ends[kept]].max(axis=1)) > 0,
        outside=_sums(neuron, cut.length * ~cut.scored, len(truth)),
    )
    changed = changes(where, kept, label)
    splits = _sums(neuron[changed.piece], changed.count, len(truth))
    sites = _merge_sites(names, table, segment, cut.middle[kept])
    neurons = table.scores(splits.astype(np.int64))
    gap_points, gap_um = _gap_points(table, run, cut.middle[kept], length)
    return SkeletonScores(
        total=_total(neurons, len(sites)),
        neurons=neurons,
        split_points=read_only(np.repeat(changed.place, changed.count, axis=0)),
        gap_points=read_only(gap_points),
        gap_um=read_only(gap_um),
        merge_sites=sites,
        merge_um=float(merge_um),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """What is known of each label in each neuron (a segment), and of each run."""

    neurons: int
    scale: float
    segment_neuron: NDArray[np.int64]
    segment_label: NDArray[np.int64]
    segment_length: NDArray[np.float64]
    segment_merged: NDArray[np.bool_]
    run_segment: NDArray[np.int64]
    run_length: NDArray[np.float64]
    run_at_end: NDArray[np.bool_]
    outside: NDArray[np.float64]

    @property
    def run_is_gap(self) -> NDArray[np.bool_]:
        return self.segment_label[self.run_segment] == 0

    def scores(self, splits: NDArray[np.int64]) -> tuple[RunScores, ...]:
        """Return the figures of each neuron."""
        of, length = self.segment_neuron, self.segment_length * self.scale
        gap, merged = self.segment_label == 0, self.segment_merged
        correct = ~gap & ~merged
        run_of, run_length = of[self.run_segment], self.run_length * self.scale
        right = correct[self.run_segment]
        most = np.zeros(self.neurons)
        np.maximum.at(most, of[correct], length[correct])

        def total(which: NDArray[np.int64], values: NDArray[np.generic]) -> NDArray[np.float64]:
            return _sums(which, values, self.neurons)

        cable = total(of, length)
        gaps = self.run_is_gap
        columns = (
            cable,
            total(of, length * gap),
            total(of, length * merged),
            np.maximum(total(of, length * correct) - most, 0),
            self.outside * self.scale,
            total(run_of, ~gaps).astype(np.int64),
            total(run_of, gaps & ~self.run_at_end).astype(np.int64),
            total(run_of, gaps & self.run_at_end).astype(np.int64),
            splits,
            total(of, merged).astype(np.int64),
            total(run_of, run_length**2 * right),
            total(of, length**2 * correct),
            cable**2,
        )
        return tuple(RunScores(*row) for row in zip(*(c.tolist() for c in columns), strict=True))


def _merged(
    label: NDArray[np.int64], held: NDArray[np.float64], threshold: float
) -> NDArray[np.bool_]:
    """Say which segments are merged, given the label and the length of each."""
    large = (label != 0) & (held > threshold)
    neurons = np.bincount(label[large], minlength=int(label.max(initial=0)) + 1)
    return large & (neurons[label] > 1)


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def _sums(group: NDArray[np.int64], values: ArrayLike, groups: int = 0) -> NDArray[np.float64]:
    """Return the sum of the values of each group."""
    weights = np.asarray(values, np.float64)
    return np.asarray(np.bincount(group, weights, minlength=groups), np.float64)


def _first(group: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the value of each group, which all of its members share."""
    out = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    out[group] = values
    return out


def _total(neurons: Sequence[RunScores], joins: int) -> RunScores:
    names = [name for name in RunScores.__dataclass_fields__ if name != "merges"]
    sums = {name: sum(getattr(one, name) for one in neurons) for name in names}
    lengths = {name: float(total) for name, total in sums.items() if "_um" in name}
    return RunScores(**{**sums, **lengths}, merges=joins)


def _gap_points(
    table: _Tables,
    run: NDArray[np.int64],
    middle: NDArray[np.float64],
    length: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centre of the cable of each gap, the longest first, and their lengths."""
    centre = (
        np.stack([np.bincount(run, middle[:, axis] * length) for axis in range(3)], axis=1)
        / np.maximum(table.run_length, np.finfo(np.float64).tiny)[:, None]
    )
    gaps = np.flatnonzero(table.run_is_gap)
    ordered = gaps[np.argsort(-table.run_length[gaps], kind="stable")]
    return centre[ordered], table.run_length[ordered]


def _merge_sites(
    names: NDArray[np.generic],
    table: _Tables,
    segment: NDArray[np.int64],
    middle: NDArray[np.float64],
) -> tuple[MergeSite, ...]:
    """Join the neurons of each merged label by the shortest ways (Prim)."""
    sites = []
    held = table.segment_merged[segment]
    kept = np.flatnonzero(held)[np.argsort(segment[held], kind="stable")]
    label = table.segment_label[segment[kept]]
    for one in np.unique(label).tolist():
        points, owner = middle[kept[label == one]], segment[kept[label == one]]
        left = owner != owner[0]
        newest = np.flatnonzero(~left)
        gap, nearest = np.full(len(points), np.inf), np.zeros(len(points), np.int64)
        while left.any():
            rest = np.flatnonzero(left)
            found = cKDTree(points[newest]).query(points[rest])
            far, which = np.asarray(found[0]), np.asarray(found[1])
            closer = far < gap[rest]
            gap[rest[closer]] = far[closer]
            nearest[rest[closer]] = newest[which[closer]]
            mine = int(rest[gap[rest].argmin()])
            theirs = int(nearest[mine])
            sites.append(
                MergeSite(
                    label=int(names[one]),
                    neurons=_pair(table, int(owner[theirs]), int(owner[mine])),
                    point=read_only((points[mine] + points[theirs]) / 2),
                    gap_um=float(gap[mine]),
                )
            )
            newest = np.flatnonzero(owner == owner[mine])
            left[newest] = False
    return tuple(sites)


def _pair(table: _Tables, one: int, two: int) -> tuple[int, int]:
    low, high = sorted((int(table.segment_neuron[one]), int(table.segment_neuron[two])))
    return low, high
