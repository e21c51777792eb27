"""Affine maps between named spaces, and the geometry that ITK and NIfTI want."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from projectome.core.space import Space, lps_directions
from projectome.errors import ParameterError, ShapeError, SpaceMismatchError

VOXELS = Space.voxels()
FARTHEST = 1e18
"""No place lies farther off; products of three such numbers are finite."""


def read_only(array: ArrayLike, dtype: object = None) -> NDArray:  # type: ignore[type-arg]
    """Return the array, copied only if needed, such that it cannot be written through.

    Parameters
    ----------
    array
        Anything numpy understands.
    dtype
        Element type wanted; the array's own if None.

    Returns
    -------
    numpy.ndarray
        A C-ordered view (or copy) with the write flag off; the caller's array stays as it was.
    """
    view = np.ascontiguousarray(array, dtype=dtype).view()  # type: ignore[call-overload]
    view.flags.writeable = False
    return view


def are_places(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which points (N, 3) are somewhere: three finite numbers, none beyond `FARTHEST`."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(points) <= FARTHEST).all(axis=1))


def coordinates(points: ArrayLike) -> NDArray[np.float64]:
    """Return points as a float64 array of shape (N, 3).

    Raises
    ------
    ShapeError
        If the last axis does not hold three coordinates.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, 3))
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 3:
        raise ShapeError(f"Points have the shape (N, 3), order (z, y, x); not {array.shape}.")
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """An affine map from one space to another.

    Attributes
    ----------
    matrix
        Shape (4, 4), float64; acts on columns (c0, c1, c2, 1) in the axis order of the spaces.
    source, target
        What goes in and what comes out.
    """

    matrix: NDArray[np.float64]
    source: Space
    target: Space

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ParameterError(f"An affine needs a finite 4 x 4 matrix, not {self.matrix!r}.")
        if not np.array_equal(matrix[3], (0, 0, 0, 1)):
            raise ParameterError(f"The last row of an affine is 0 0 0 1, not {matrix[3]}.")
        if np.linalg.matrix_rank(matrix[:3, :3] / np.abs(matrix[:3, :3]).max(initial=1e-300)) < 3:
            raise ParameterError("An affine must be invertible; this one maps space onto a plane.")
        object.__setattr__(self, "matrix", read_only(matrix))

    @classmethod
    def from_scale(
        cls,
        scale: ArrayLike,
        translation: ArrayLike = (0.0, 0.0, 0.0),
        *,
        source: Space = VOXELS,
        target: Space | None = None,
    ) -> Affine:
        """Return the map of a grid: voxel size and position of the CENTRE of voxel 0.

        Parameters
        ----------
        scale
            Size of a voxel an axis [um], positive.
        translation
            Position of the centre of voxel 0 [um].
        source, target
            The spaces; voxels to an unnamed scan by default.

        Raises
        ------
        ParameterError
            If a scale is not positive and finite.
        """
        s = np.asarray(scale, dtype=np.float64)
        t = np.asarray(translation, dtype=np.float64)
        if s.shape != (3,) or t.shape != (3,):
            raise ParameterError(f"Scale and translation have three entries, not {s} and {t}.")
        if not (np.isfinite(s).all() and (s > 0).all()):
            raise ParameterError(f"A voxel size is positive and finite, not {s.tolist()} um.")
        matrix = np.eye(4)
        matrix[:3, :3] = np.diag(s)
        matrix[:3, 3] = t
        return cls(matrix, source, Space() if target is None else target)

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape (N, 3) in the source space to (N, 3) in the target space."""
        return coordinates(points) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def __matmul__(self, other: Affine) -> Affine:
        """Return the map that applies `other` first.

        Raises
        ------
        SpaceMismatchError
            If `other` does not end in the space where this one starts.
        """
        if other.target != self.source:
            raise SpaceMismatchError(
                f"Cannot chain a map into {other.target.name!r} with one from {self.source.name!r}:"
                f" {other.target} is not {self.source}."
            )
        return Affine(self.matrix @ other.matrix, other.source, self.target)

    def inverse(self) -> Affine:
        """Return the map back."""
        inverse = np.eye(4)
        inverse[:3, :3] = np.linalg.inv(self.matrix[:3, :3])
        inverse[:3, 3] = -inverse[:3, :3] @ self.matrix[:3, 3]
        return Affine(inverse, self.target, self.source)

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Length of a step of one along each source axis: the norms of the columns."""
        z, y, x = (float(v) for v in np.sqrt((self.matrix[:3, :3] ** 2).sum(axis=0)))
        return z, y, x

    @property
    def translation(self) -> tuple[float, float, float]:
        """Where the source origin (the centre of voxel 0) lies."""
        z, y, x = (float(v) for v in self.matrix[:3, 3])
        return z, y, x

    @property
    def is_grid(self) -> bool:
        """Whether each source axis runs along the target axis of the same place, forwards."""
        linear = self.matrix[:3, :3]
        return bool((linear == np.diag(np.diag(linear))).all() and (np.diag(linear) > 0).all())

    def with_target(self, target: Space) -> Affine:
        """Return the same map into a space with another description."""
        return Affine(self.matrix, self.source, target)

    def isclose(self, other: Affine, *, tolerance: float = 1e-9) -> bool:
        """Say whether both join the same spaces and agree within a relative tolerance."""
        same = self.source == other.source and self.target == other.target
        return same and bool(np.allclose(self.matrix, other.matrix, rtol=tolerance, atol=tolerance))


@dataclass(frozen=True, slots=True, eq=False)
class ItkGeometry:
    """How ITK and NIfTI place an image: all in the order (x, y, z), LPS, millimetres.

    Attributes
    ----------
    size
        Voxels an axis.
    spacing
        Voxel size [mm].
    origin
        Position of the centre of voxel 0 [mm].
    direction
        Shape (3, 3); column k is a unit step along image axis k.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: NDArray[np.float64]


def itk_geometry(affine: Affine, shape: ArrayLike) -> ItkGeometry:
    """Return where ITK should place an array so that no voxel has to move.

    Parameters
    ----------
    affine
        Grid of the array, voxels (z, y, x) to an oriented space in micrometres.
    shape
        Voxels an axis, (z, y, x).

    Returns
    -------
    ItkGeometry
        The array in the order (x, y, z). Where an axis runs against LPS, the image is placed so
        that its last voxel lies at the zero of that axis: the origin of an untranslated image is
        ``(N - 1) * spacing`` there, and 0 elsewhere. A translation is added along the direction.
        A part of a volume lies where it does in the whole: there the last voxel of the whole
        counts (`Space.span`).

    Raises
    ------
    OrientationUnknownError
        If an axis has no known direction.
    ShapeError
        If the affine is not a plain grid.

    Examples
    --------
    >>> space = Space(toward=("inferior", "anterior", "right"))
    >>> grid = Affine.from_scale((16.0, 14.4, 14.4), target=space)
    >>> placed = itk_geometry(grid, (464, 1280, 925))
    >>> [round(v, 4) for v in placed.origin]
    [13.3056, 18.4176, 7.408]
    """
    if not affine.is_grid:
        raise ShapeError(
            "This image is rotated or sheared against its space; export the array and its affine "
            "separately, or resample it to a plain grid first."
        )
    toward = affine.target.require_orientation("Placing an image for ITK or NIfTI")
    z, y, x = (int(n) for n in np.asarray(shape))
    size = (x, y, z)
    spacing = np.asarray(affine.voxel_size[::-1]) / 1000
    direction = lps_directions(toward[::-1])
    step = direction.sum(axis=0)  # the sign of each image axis
    span = affine.target.span
    reach = (np.asarray(size) - 1) * spacing if span is None else np.asarray(span[::-1]) / 1000
    corner = np.where(step < 0, reach, 0.0)
    along = corner + step * np.asarray(affine.translation[::-1]) / 1000
    origin = np.abs(direction) @ along
    return ItkGeometry(
        size,
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        read_only(direction),
    )
