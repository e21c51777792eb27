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

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

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
    pins, pulls, width
        Gaussians of that width, centred on pins (L, 3) in the frame after A, that are added to the
        bend with the weights ``pulls`` (L, 3) [um]; see `pinned`.
    """

    matrix: NDArray[np.float64]
    knots: NDArray[np.float64] | None = None
    origin: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    spacing: NDArray[np.float64] = field(default_factory=lambda: np.ones(3))
    pins: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    pulls: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    width: float = 1.0

    def linear(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return A of points (N, 3)."""
        return points @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def bend(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return u [um] at points (N, 3) in the frame after A; 0 beyond the control points."""
        out = np.zeros_like(points, dtype=np.float64)
        if self.knots is not None:
            place = ((points - self.origin) / self.spacing).T
            for axis, knots in enumerate(self.knots):
                out[:, axis] = ndimage.map_coordinates(
                    knots, place, order=3, prefilter=False, mode="constant"
                )
        for pin, pull in zip(self.pins, self.pulls, strict=True):
            out += np.exp(-((points - pin) ** 2).sum(axis=1) / (2 * self.width**2))[:, None] * pull
        return out

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return T of points (N, 3)."""
        moved = self.linear(points)
        return moved + self.bend(moved)


def pinned(
    found: Fit, points: NDArray[np.float64], goals: NDArray[np.float64], width: float
) -> Fit:
    """Return a fit bent further, so that landmarks come to where they belong.

    Parameters
    ----------
    found
        The fit of the images.
    points, goals
        Shape (L, 3) each: landmarks and their goals [um].
    width
        How far a landmark reaches, as the standard deviation of a Gaussian [um].

    Returns
    -------
    Fit
        Landmarks are met but for a tenth; where they contradict one another, on the average.
    """
    pins = found.linear(points)
    missed = goals - found(points)
    apart = ((pins[:, None] - pins) ** 2).sum(axis=2)
    kernel = np.exp(-apart / (2 * width**2)) + 0.1 * np.eye(len(pins))
    return replace(found, pins=pins, pulls=np.linalg.solve(kernel, missed), width=width)


def require_elastix() -> None:
    """Refuse to go on without elastix.

    Raises
    ------
    MissingExtraError
        With the line that installs it.
    """
    try:
        version("itk-elastix")
    except PackageNotFoundError:
        raise MissingExtraError("Registration", "itk-elastix", "register") from None


class Fitter:
    """A process that fits; loading elastix takes it seconds, so that one serves several fits.

    Use it as a context: the process ends with it. The fits of one `Fitter` run one by one.

    Parameters
    ----------
    threads
        Threads of a fit.
    timeout
        Longest time of a fit [s].

    Raises
    ------
    MissingExtraError
        If elastix is not installed.
    """

    def __init__(self, *, threads: int = 2, timeout: float = 1800.0) -> None:
        require_elastix()
        self._threads, self._timeout = threads, timeout
        self._folder = tempfile.TemporaryDirectory(prefix="projectome-fit-")
        self._log = Path(self._folder.name) / "log.txt"
        self._count = 0
        limit = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads), "OMP_NUM_THREADS": "1"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "projectome.registration.elastix"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **limit},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove its files."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._folder.cleanup()

    def fit(
        self,
        fixed: NDArray[np.float32],
        moving: NDArray[np.float32],
        voxel_size: float,
        stages: Sequence[Stage],
        *,
        start: NDArray[np.float64] | None = None,
        fixed_mask: NDArray[np.bool_] | None = None,
        moving_mask: NDArray[np.bool_] | None = None,
        seed: int = 1,
    ) -> Fit:
        """Fit a map from one image to another.

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
        seed
            Of the random samples: the same seed and threads give the same fit.

        Returns
        -------
        Fit
            With the start in its matrix.

        Raises
        ------
        RunError
            If the fit fails, or takes too long.
        WorkerLostError
            If the process dies.
        """
        arrays: dict[str, Any] = {"fixed": fixed, "moving": moving}
        arrays["start"] = np.eye(4) if start is None else start
        if fixed_mask is not None:
            arrays["fixed_mask"] = fixed_mask
        if moving_mask is not None:
            arrays["moving_mask"] = moving_mask
        self._count += 1
        place = Path(self._folder.name) / str(self._count)
        place.mkdir()
        np.savez(place / "in.npz", **arrays)
        said = {"h": voxel_size, "seed": seed, "threads": self._threads}
        (place / "in.json").write_text(json.dumps(said | {"stages": [asdict(s) for s in stages]}))
        self._ask(place)
        with np.load(place / "out.npz", allow_pickle=False) as found:
            made = _assembled(dict(found))
        shutil.rmtree(place, ignore_errors=True)
        return made

    def _ask(self, place: Path) -> None:
        """Have a folder worked on, and wait."""
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        late = threading.Timer(self._timeout, self._process.kill)
        late.start()
        try:
            asked.write(f"{place}\n".encode())
            asked.flush()
            answer = answers.readline().decode(errors="replace").strip()
        except OSError:
            answer = ""
        finally:
            in_time = late.is_alive()
            late.cancel()
        if answer == "done":
            return
        if not in_time:
            raise RunError(
                f"The fit did not end within {self._timeout:g} s. Use a coarser --resolution."
            )
        kind = RunError if answer else WorkerLostError
        why = answer or self._log.read_text(errors="replace").strip()[-400:] or "its process died"
        raise kind(
            f"elastix failed: {why}. Check the orientation and the voxel size of the volume, and "
            "that there is memory."
        )


def _assembled(found: Mapping[str, NDArray[Any]]) -> Fit:
    knots = found.get("knots")
    if knots is None:
        return Fit(found["matrix"])
    return Fit(found["matrix"], knots, found["origin"], found["spacing"])
