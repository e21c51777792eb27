"""Fits by elastix, in a process of their own: a crash or a leak there does not reach the caller.

Notation: `fixed` and `moving` are (Z, Y, X) images of isotropic voxels, `h` micrometres wide, whose
voxel 0 lies at 0. A fit maps points of `fixed` to points of `moving`, both (z, y, x) [um]:
``T(p) = A p + u(A p)`` with an affine map ``A`` and cubic B-splines ``u``.

References
----------
Klein S. et al. (2010), elastix: a toolbox for intensity-based medical image registration, IEEE
Transactions on Medical Imaging 29, 196-205.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from projectome.errors import MissingExtraError, RunError, WorkerLostError

Metric = Literal["mutual-information", "correlation"]
METRICS: dict[str, str] = {
    "mutual-information": "AdvancedMattesMutualInformation",
    "correlation": "AdvancedNormalizedCorrelation",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of map, fitted from coarse to fine.

    Attributes
    ----------
    kind
        ``"rigid"``, ``"affine"`` or ``"bspline"``.
    shrink
        Smoothing and sampling of the levels, coarse to fine [voxels].
    iterations, samples
        A level; samples an iteration.
    metric
        What is compared.
    spacing
        Distance of the control points of the finest level [um]; only of ``"bspline"``.
    widen
        How much wider the control points lie at each level, coarse to fine.
    """

    kind: Literal["rigid", "affine", "bspline"]
    shrink: tuple[int, ...]
    iterations: int
    samples: int
    metric: Metric = "mutual-information"
    spacing: float = 0.0
    widen: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What a fit found: ``T(p) = A p + u(A p)``.

    Attributes
    ----------
    matrix
        Shape (4, 4): A, (z, y, x) [um].
    knots
        Shape (3, K, L, M): B-spline coefficients of the displacement along z, y, x [um]; None
        where only a linear map was fitted.
    origin, spacing
        Of the control points, shape (3,) each, in the frame after A [um].
    """

    matrix: NDArray[np.float64]
    knots: NDArray[np.float64] | None = None
    origin: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    spacing: NDArray[np.float64] = field(default_factory=lambda: np.ones(3))

    def linear(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return A of points (N, 3)."""
        return points @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def bend(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return u [um] at points (N, 3) in the frame after A; 0 beyond the control points."""
        if self.knots is None:
            return np.zeros_like(points)
        place = ((points - self.origin) / self.spacing).T
        out = [
            ndimage.map_coordinates(k, place, order=3, prefilter=False, mode="constant")
            for k in self.knots
        ]
        return np.stack(out, axis=1)

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return T of points (N, 3)."""
        moved = self.linear(points)
        return moved + self.bend(moved)


def require_elastix() -> None:
    """Refuse to go on without elastix.

    Raises
    ------
    MissingExtraError
        With the line that installs it.
    """
    if importlib.util.find_spec("itk.ElastixRegistrationMethod") is None and (
        importlib.util.find_spec("itk") is None or not _has_elastix()
    ):
        raise MissingExtraError("Registration", "itk-elastix", "register")


def _has_elastix() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("itk-elastix")
    except PackageNotFoundError:
        return False
    return True


def fit(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    voxel_size: float,
    stages: Sequence[Stage],
    *,
    start: NDArray[np.float64] | None = None,
    fixed_mask: NDArray[np.bool_] | None = None,
    moving_mask: NDArray[np.bool_] | None = None,
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    seed: int = 1,
    threads: int = 2,
    timeout: float = 1800.0,
) -> Fit:
    """Fit a map from one image to another, in a process of its own.

    Parameters
    ----------
    fixed, moving
        Shape (Z, Y, X) each, of the same isotropic voxels.
    voxel_size
        Their edge [um].
    stages
        In order; B-splines last.
    start
        Shape (4, 4): map to begin with, (z, y, x) [um]; the identity if None.
    fixed_mask, moving_mask
        Where voxels may count; everywhere if None.
    landmarks
        Corresponding points of both, shape (L, 3) each [um], that pull beside the image.
    seed
        Of the random samples: the same seed and threads give the same fit.
    threads
        How many.
    timeout
        Longest time [s].

    Returns
    -------
    Fit
        With the start in its matrix.

    Raises
    ------
    MissingExtraError
        If elastix is not installed.
    RunError
        If the fit fails, or takes too long.
    WorkerLostError
        If its process dies.
    """
    require_elastix()
    arrays: dict[str, Any] = {"fixed": fixed, "moving": moving}
    arrays["start"] = np.eye(4) if start is None else start
    if fixed_mask is not None:
        arrays["fixed_mask"] = fixed_mask
    if moving_mask is not None:
        arrays["moving_mask"] = moving_mask
    if landmarks is not None:
        arrays["landmarks_fixed"], arrays["landmarks_moving"] = landmarks
    with tempfile.TemporaryDirectory(prefix="projectome-fit-") as folder:
        place = Path(folder)
        np.savez(place / "in.npz", **arrays)
        said = {"h": voxel_size, "seed": seed, "threads": threads}
        (place / "in.json").write_text(json.dumps(said | {"stages": [asdict(s) for s in stages]}))
        limit = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-W", "ignore", "-m", "projectome.registration.elastix", folder]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                timeout=timeout,
                env={**os.environ, **limit},
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RunError(
                f"The fit did not end within {timeout:g} s. Use a coarser --resolution."
            ) from None
        if done.returncode:
            said_last = (done.stderr or done.stdout).decode(errors="replace").strip()[-400:]
            kind = WorkerLostError if done.returncode < 0 else RunError
            raise kind(
                f"elastix failed (status {done.returncode}): {said_last or 'it said nothing'}. "
                "Check the orientation and the voxel size of the volume, and the memory."
            )
        with np.load(place / "out.npz", allow_pickle=False) as found:
            return _assembled(dict(found))


def _assembled(found: Mapping[str, NDArray[Any]]) -> Fit:
    knots = found.get("knots")
    if knots is None:
        return Fit(found["matrix"])
    return Fit(found["matrix"], knots, found["origin"], found["spacing"])
