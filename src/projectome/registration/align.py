"""A scan carried into an atlas: rigid, affine and bent, and back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from projectome.core.affine import VOXELS, Affine
from projectome.core.box import triple
from projectome.core.space import OPPOSITE, Direction, Space, signed_permutation
from projectome.core.transform import DisplacementField, Transform
from projectome.core.volume import Volume
from projectome.errors import DataError, ParameterError, Problem
from projectome.registration.fit import Fit, Fitter, Stage, pinned
from projectome.registration.orient import Orientation, find_orientation, handedness_of, turn
from projectome.registration.prepare import Prepared, local_contrast, prepare
from projectome.registration.refine import refined

Landmarks: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Corresponding points of two spaces, shape (L, 3) each [um]."""
PINNED = 12.0
"""How far a landmark reaches [working voxels]."""
MARGIN = 6
"""Voxels around tissue that count as well: the rim of the brain is seen from both sides."""
TOO_LARGE, TOO_SMALL = 1.3, 0.7
"""Size of the scan's tissue against the atlas, as a length, that is no brain of that voxel size."""
SOLVER_STEPS = 60


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a registration is done; lengths are in voxels of the working resolution.

    Attributes
    ----------
    resolution
        Working voxels [um of tissue]; about 264 along the atlas if 0, which is 50 um for a mouse.
    spacing
        Distance of the control points of the B-splines that begin [voxels].
    iterations
        Of each level of the B-splines.
    samples
        Of each iteration.
    contrast
        Width of the local contrast that is compared [voxels]; half of it at the end.
    stiffness
        Of the bend, see `projectome.registration.refine.refined`.
    repeats
        Further, cheaper fits that tell how sure each place is.
    seed
        Of the random samples.
    threads
        Threads of the fit.
    """

    resolution: float = 0.0
    spacing: float = 8.0
    iterations: int = 350
    samples: int = 10000
    contrast: float = 5.0
    stiffness: float = 8.0
    repeats: int = 2
    seed: int = 1
    threads: int = 2

    def __post_init__(self) -> None:
        if not (self.resolution >= 0 and self.spacing >= 3 and self.contrast >= 2):
            raise ParameterError(
                "A registration needs a resolution of 0 or more, a spacing of at least 3 voxels "
                f"and a contrast of at least 2: {self.resolution}, {self.spacing}, {self.contrast}."
            )
        if not 0 < self.stiffness < np.inf:
            raise ParameterError(f"A bend needs a stiffness above 0, not {self.stiffness}.")
        if min(self.iterations, self.samples, self.threads) < 1 or min(self.repeats, self.seed) < 0:
            raise ParameterError(
                "iterations, samples and threads are 1 or more, repeats and seed 0 or more: "
                f"{self.iterations}, {self.samples}, {self.threads}, {self.repeats}, {self.seed}."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A scan and a template on one scale, both turned to the axes of the atlas.

    Attributes
    ----------
    scan, template
        Prepared; the scan is turned.
    size
        Edge of the voxels of both [um of tissue].
    turned
        Points of the scan's space to points of the turned scan, counted from the centre of its
        voxel 0 [um of tissue].
    place
        Position of the template's voxel 0 in the atlas [um].
    space
        Of the atlas.
    """

    scan: Prepared
    template: Prepared
    size: float
    turned: Affine
    place: NDArray[np.float64]
    space: Space


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """What a registration found.

    Attributes
    ----------
    transform
        From the space of the scan to that of the atlas, with the way back.
    scan_grid, atlas_grid
        Voxels of the forward field to the scan's micrometres, and of the inverse to the atlas's.
    spread
        Shape of the forward field without its last axis, float32: how far repeated fits lie apart
        at each voxel, root mean square a coordinate [um]; None without repeats.
    problems
        What was doubtful.
    orientation
        The test of the orientation; None where it was not asked for.
    """

    transform: Transform
    scan_grid: Affine
    atlas_grid: Affine
    spread: NDArray[np.float32] | None
    problems: tuple[Problem, ...] = ()
    orientation: Orientation | None = None
    fits: tuple[Fit, ...] = field(default_factory=tuple)


def working_size(template: Volume, recipe: Recipe) -> float:
    """Return the edge of the working voxels [um of tissue]."""
    extent = max(n * s for n, s in zip(template.shape, template.voxel_size, strict=True))
    return recipe.resolution or max(max(template.voxel_size), extent / 264)


def make_pair(scan: Volume, template: Volume, size: float) -> Pair:
    """Prepare a scan and a template that lie on voxels of one size.

    Parameters
    ----------
    scan
        In memory or lazy, with voxels of `size` micrometres of tissue; its orientation is known.
    template
        With voxels of `size`; its axes are those of the atlas.
    size
        Edge of the voxels [um of tissue].

    Raises
    ------
    OrientationUnknownError
        If the orientation of the scan is not known.
    DataError
        If there is no tissue, or it is not of the size of a brain.
    """
    ready = prepare(scan.read(), name=scan.name)
    target = prepare(template.read(), name=template.name)
    steps = signed_permutation(scan.space, template.space)
    shape = np.asarray(scan.shape)
    matrix = np.eye(4)
    matrix[:3, :3] = steps * size
    # Axes that are turned round start at their last voxel.
    matrix[:3, 3] = np.where(steps.sum(axis=1) < 0, np.abs(steps) @ (shape - 1), 0) * size
    space = template.space.renamed("turned scan")
    turned = Affine(matrix, VOXELS, space) @ scan.affine.inverse()
    toward = scan.space.toward
    whole = Prepared(
        np.ascontiguousarray(turn(ready.image, toward, template.space)),
        np.ascontiguousarray(turn(ready.tissue, toward, template.space)),
        np.ascontiguousarray(turn(ready.trusted, toward, template.space)),
        ready.problems,
    )
    place = np.asarray(template.affine.translation)
    return Pair(whole, target, size, turned, place, template.space)


def size_problem(scan: Prepared, template: Prepared, name: str) -> Problem | None:
    """Say whether the tissue of a scan is of the size of the atlas's brain.

    Raises
    ------
    DataError
        If it is so much larger that the voxel size must be wrong.
    """
    ratio = float(np.cbrt(scan.tissue.sum() / max(1, template.tissue.sum())))
    if ratio > TOO_LARGE:
        raise DataError(
            f"The tissue in {name} is {ratio:.2f} times as long as the atlas's brain. If it "
            f"was expanded, say so: --expansion {ratio:.2f}; else check --voxel-size."
        )
    if ratio < TOO_SMALL:
        return Problem(
            "warning",
            name,
            f"the tissue is {ratio:.2f} times as long as the atlas's brain: it is taken for a part "
            "of a brain. If it is a whole one, check the voxel size and the expansion",
        )
    return None


def check_stated(pair: Pair, stated: Space, *, all_ways: bool = True) -> Orientation:
    """Test the stated orientation of a scan against the 24 of its handedness.

    Parameters
    ----------
    pair
        Whose scan was turned as stated.
    stated
        Space of the scan.
    all_ways
        Try all; else only the one stated, for its map.

    Returns
    -------
    Orientation
        In terms of the scan's own axes.
    """
    turned = pair.space.require_orientation("Testing an orientation")
    found = find_orientation(
        pair.scan.image * pair.scan.tissue,
        pair.size,
        pair.template.image * pair.template.tissue,
        pair.size,
        space=pair.space,
        handedness=handedness_of(turned),
        ways=None if all_ways else [turned],
    )
    own = tuple(
        replace(c, toward=true_directions(stated, c.toward, pair.space)) for c in found.ranked
    )
    known = stated.require_orientation("Testing an orientation")
    return replace(found, ranked=own, handedness=handedness_of(known))


def true_directions(
    stated: Space, seen: tuple[Direction, Direction, Direction], atlas: Space
) -> tuple[Direction, Direction, Direction]:
    """Return where the axes of a scan run, given where those of the turned scan were seen to run.

    Parameters
    ----------
    stated
        Space of the scan, by which it was turned to the axes of the atlas.
    seen
        Where the axes of the turned scan run by the test.
    atlas
        Its space.
    """
    means = dict(zip(atlas.require_orientation("Naming directions"), seen, strict=True))
    means |= {OPPOSITE[key]: OPPOSITE[value] for key, value in means.items()}
    z, y, x = (means[way] for way in stated.require_orientation("Naming directions"))
    return z, y, x


def align(
    pair: Pair,
    recipe: Recipe,
    *,
    scan_space: Space,
    start: NDArray[np.float64],
    landmarks: Landmarks | None = None,
    fitter: Fitter | None = None,
) -> Registration:
    """Fit a pair and return the transform between the spaces of the scan and of the atlas.

    Parameters
    ----------
    pair
        From `make_pair`.
    recipe
        How.
    scan_space
        Of the scan.
    start
        Shape (4, 4): rigid map to begin with, of the turned scan to the template, as
        `projectome.registration.orient.Candidate.matrix`.
    landmarks
        Corresponding points (L, 3) in the spaces of the scan and of the atlas [um], to which the
        map is bent after the images are fitted.
    fitter
        The process that fits; one of its own, for this call, if None.

    Returns
    -------
    Registration
        The same for the same recipe.

    Raises
    ------
    MissingExtraError
        If elastix is not installed.
    RunError
        If a fit fails.
    """
    given = None
    if landmarks is not None:
        given = pair.turned(landmarks[0]), np.asarray(landmarks[1]) - pair.place
    own = Fitter(threads=recipe.threads) if fitter is None else nullcontext(fitter)
    with own as process:
        linear = _linear(process, pair, recipe, start)
        others = [cheaper(recipe, number) for number in range(recipe.repeats)]
        begun, *repeated = (_bent(process, pair, one, linear) for one in (recipe, *others))
    fits = [_refined(pair, recipe, begun), *repeated]
    if given is not None:
        fits = [pinned(one, *given, PINNED * pair.size) for one in fits]
    return _assembled(pair, fits, scan_space)


def cheaper(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe of a repeated fit: other samples, control points and contrast."""
    return replace(
        recipe,
        seed=recipe.seed + 101 * (number + 1),
        iterations=max(1, recipe.iterations // 2),
        samples=max(1, recipe.samples // 2),
        spacing=recipe.spacing * (1.2 if number % 2 == 0 else 1.4),
        contrast=recipe.contrast * (1.5 if number % 2 == 0 else 0.75),
    )


def _linear(
    process: Fitter,
    pair: Pair,
    recipe: Recipe,
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    stages = [Stage("affine", (4, 2), recipe.iterations, 4000)]
    found = process.fit(
        pair.scan.image,
        pair.template.image,
        pair.size,
        stages,
        start=start,
        fixed_mask=_around(pair.scan),
        seed=recipe.seed,
    )
    return found.matrix


def _around(image: Prepared, margin: int = MARGIN) -> NDArray[np.bool_]:
    """Return tissue and its rim, without planes that are not to be trusted."""
    return np.asarray(ndimage.binary_dilation(image.tissue, iterations=margin) & image.trusted)


def _bent(
    process: Fitter,
    pair: Pair,
    recipe: Recipe,
    linear: NDArray[np.float64],
) -> Fit:
    scan, template = pair.scan, pair.template
    inside = _around(scan), _around(template)
    stage = Stage(
        "bspline",
        (4, 2, 2),
        recipe.iterations,
        recipe.samples,
        "correlation",
        recipe.spacing * pair.size,
        (3.0, 1.5, 1.0),
    )
    return process.fit(
        local_contrast(scan.image, inside[0], width=recipe.contrast),
        local_contrast(template.image, inside[1], width=recipe.contrast),
        pair.size,
        [stage],
        start=linear,
        fixed_mask=inside[0],
        seed=recipe.seed,
    )


def _refined(pair: Pair, recipe: Recipe, begun: Fit) -> Fit:
    inside, width = _around(pair.scan), recipe.contrast / 2
    return refined(
        begun,
        local_contrast(pair.scan.image, inside, width=width),
        local_contrast(pair.template.image, _around(pair.template), width=width),
        pair.size,
        counts=inside,
        stiffness=recipe.stiffness,
        threads=recipe.threads,
    )


def _assembled(pair: Pair, fits: Sequence[Fit], scan_space: Space) -> Registration:
    """Return fields on grids of two working voxels."""
    space = pair.space
    between = space.renamed(f"{space.name} (affine)")
    main = fits[0]
    shift = np.eye(4)
    shift[:3, 3] = pair.place
    whole = Affine(shift @ main.matrix @ pair.turned.matrix, scan_space, between)
    scan_grid, shape = _grid_of_scan(pair, scan_space)
    inside = (whole @ scan_grid)(np.indices(shape).reshape(3, -1).T)
    inside -= pair.place
    bends = [one.bend(inside).reshape(*shape, 3) for one in fits]
    forward = DisplacementField(bends[0].astype(np.float32), whole @ scan_grid, space)
    spread = None
    if len(fits) > 1:
        # The repeats are compared with the main fit, which was made better than they are.
        apart = np.mean([(b - bends[0]) ** 2 for b in bends[1:]], axis=(0, 4))
        spread = np.sqrt(apart).astype(np.float32)
    atlas_shape = triple(-(-np.asarray(pair.template.image.shape) // 2))
    grid = Affine.from_scale([2 * pair.size] * 3, pair.place, target=space)
    back = inverse_field(main, atlas_shape, 2 * pair.size)
    inverse = DisplacementField(back, grid, between)
    transform = Transform((whole, forward), (inverse, whole.inverse()))
    return Registration(transform, scan_grid, grid, spread, pair.scan.problems, None, tuple(fits))


def _grid_of_scan(pair: Pair, scan_space: Space) -> tuple[Affine, tuple[int, int, int]]:
    """Return a plain grid of the scan's axes, two working voxels wide, over the whole scan."""
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(pair.scan.image.shape) - 1)
    ends = pair.turned.inverse()(corners * pair.size)
    low, high = ends.min(axis=0), ends.max(axis=0)
    step = 2 * np.asarray(pair.turned.inverse().voxel_size) * pair.size
    # One working voxel in the scan's own micrometres is the same along all axes.
    step = np.full(3, float(step.mean()))
    shape = triple(np.maximum(2, np.floor((high - low) / step + 1.5).astype(int)))
    return Affine.from_scale(step, low, target=scan_space), shape


def inverse_field(found: Fit, shape: tuple[int, int, int], size: float) -> NDArray[np.float32]:
    """Return the displacement that undoes a fit's bend, sampled on a grid from 0.

    Parameters
    ----------
    found
        The fit.
    shape, size
        Of the grid: voxels, and their edge [um].

    Returns
    -------
    numpy.ndarray of float32
        Shape (*shape, 3) [um]: ``q + v(q)`` is the point whose bend leads to ``q``.

    References
    ----------
    Chen M. et al. (2008), A simple fixed-point approach to invert a deformation field, Medical
    Physics 35, 81-88.
    """
    goal = np.indices(shape).reshape(3, -1).T * float(size)
    # A table of the bend that reaches beyond the grid, where points may come from.
    pad = 8
    table_shape = tuple(n + 2 * pad for n in shape)
    nodes = (np.indices(table_shape).reshape(3, -1).T - pad).astype(np.float64) * size
    table = found.bend(nodes).reshape(*table_shape, 3)
    guess = goal.copy()
    for number in range(SOLVER_STEPS):
        at = (guess / size + pad).T
        bend = np.stack(
            [ndimage.map_coordinates(table[..., a], at, order=1, mode="nearest") for a in range(3)],
            axis=1,
        )
        residual = guess + bend - goal
        if np.abs(residual).max() < 0.02 * size / 2:
            break
        guess -= residual * (1.0 if number < 10 else 0.6)
    return (guess - goal).reshape(*shape, 3).astype(np.float32)
