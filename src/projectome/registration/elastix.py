"""The process in which elastix fits: ``python -m projectome.registration.elastix``.

Each line of its input names a folder, in which it reads ``in.npz`` and ``in.json`` and writes
``out.npz``; it answers ``done`` or what went wrong. See `projectome.registration.fit`. ITK counts
axes (x, y, z) in millimetres.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projectome.errors import FormatError
from projectome.registration.fit import METRICS

KINDS = {"rigid": "EulerTransform", "affine": "AffineTransform", "bspline": "BSplineTransform"}
COMMON = {
    "FixedInternalImagePixelType": "float",
    "MovingInternalImagePixelType": "float",
    "UseDirectionCosines": "true",
    "Registration": "MultiResolutionRegistration",
    "Interpolator": "LinearInterpolator",
    "ResampleInterpolator": "FinalLinearInterpolator",
    "Resampler": "DefaultResampler",
    "FixedImagePyramid": "FixedSmoothingImagePyramid",
    "MovingImagePyramid": "MovingSmoothingImagePyramid",
    "Optimizer": "AdaptiveStochasticGradientDescent",
    "AutomaticParameterEstimation": "true",
    "AutomaticScalesEstimation": "true",
    "HowToCombineTransforms": "Compose",
    "NumberOfHistogramBins": "32",
    "ImageSampler": "RandomCoordinate",
    "NewSamplesEveryIteration": "true",
    "CheckNumberOfSamples": "false",
    "RequiredRatioOfValidSamples": "0.05",
    "ErodeMask": "false",
    "WriteResultImage": "false",
    "DefaultPixelValue": "0",
}


def parameters(stage: dict[str, Any], seed: int) -> dict[str, list[str]]:
    """Return the parameter map of a stage."""
    levels = len(stage["shrink"])
    said: dict[str, Any] = {
        **COMMON,
        "Transform": KINDS[stage["kind"]],
        "Metric": METRICS[stage["metric"]],
        "NumberOfResolutions": levels,
        "ImagePyramidSchedule": [s for s in stage["shrink"] for _ in range(3)],
        "MaximumNumberOfIterations": stage["iterations"],
        "NumberOfSpatialSamples": stage["samples"],
        "RandomSeed": seed,
    }
    if stage["kind"] == "bspline":
        said["FinalGridSpacingInPhysicalUnits"] = [stage["spacing"] / 1000] * 3
        said["GridSpacingSchedule"] = [w for w in stage["widen"] for _ in range(3)]
    return {
        key: [str(v) for v in value] if isinstance(value, list) else [str(value)]
        for key, value in said.items()
    }


def start_map(start: NDArray[np.float64]) -> dict[str, list[str]]:
    """Return the affine map to begin with as a parameter map."""
    matrix = start[:3, :3][::-1, ::-1]
    numbers = [*matrix.ravel().tolist(), *(start[:3, 3][::-1] / 1000).tolist()]
    said: dict[str, list[str]] = {
        "Transform": ["AffineTransform"],
        "NumberOfParameters": ["12"],
        "TransformParameters": [repr(v) for v in numbers],
        "CenterOfRotationPoint": ["0", "0", "0"],
        "HowToCombineTransforms": ["Compose"],
        "InitialTransformParameterFileName": ["NoInitialTransform"],
        "InitialTransformParametersFileName": ["NoInitialTransform"],
    }
    return said


def numbers(said: Any, key: str) -> NDArray[np.float64]:
    """Return the numbers of an entry of a parameter map."""
    return np.array([float(v) for v in said[key]])


def linear_of(said: Any) -> NDArray[np.float64]:
    """Return a linear parameter map as a matrix, (x, y, z) [mm].

    Raises
    ------
    FormatError
        If it is of another kind.
    """
    values, centre = numbers(said, "TransformParameters"), numbers(said, "CenterOfRotationPoint")
    if said["Transform"][0] == "AffineTransform":
        turn = values[:9].reshape(3, 3)
        shift = values[9:]
    elif said["Transform"][0] == "EulerTransform":
        (a, b, c), shift = values[:3], values[3:]
        x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        turn = z @ x @ y
    else:
        raise FormatError(
            f"A transform of kind {said['Transform'][0]} is no linear one; AffineTransform and "
            "EulerTransform are."
        )
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = shift + centre - turn @ centre
    return matrix


def collected(maps: list[Any], start: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return what the maps of all stages come to, (z, y, x) [um]."""
    flip = np.eye(4)[[2, 1, 0, 3]]
    scale = np.diag([1000.0, 1000.0, 1000.0, 1.0])
    total, out = start, {}
    for said in maps:
        if said["Transform"][0] in ("AffineTransform", "EulerTransform"):
            total = scale @ flip @ linear_of(said) @ flip @ np.linalg.inv(scale) @ total
        else:
            x, y, z = (int(v) for v in said["GridSize"])
            knots = numbers(said, "TransformParameters").reshape(3, z, y, x)[::-1] * 1000
            out["knots"] = np.ascontiguousarray(knots)
            out["origin"] = numbers(said, "GridOrigin")[::-1] * 1000
            out["spacing"] = numbers(said, "GridSpacing")[::-1] * 1000
    return {**out, "matrix": total}


def work(itk: Any, folder: str) -> None:
    """Fit what a folder asks for."""
    place = Path(folder)
    said = json.loads((place / "in.json").read_text())
    with np.load(place / "in.npz", allow_pickle=False) as data:
        arrays = dict(data)
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(said["threads"])

    def image(name: str, kind: type) -> Any:
        made = itk.image_from_array(np.ascontiguousarray(arrays[name].astype(kind)))
        made.SetSpacing([said["h"] / 1000] * 3)
        return made

    wanted = itk.ParameterObject.New()
    for stage in said["stages"]:
        wanted.AddParameterMap(parameters(stage, said["seed"]))
    method = itk.ElastixRegistrationMethod.New(
        image("fixed", np.float32), image("moving", np.float32)
    )
    method.SetParameterObject(wanted)
    first = itk.ParameterObject.New()
    first.AddParameterMap(start_map(arrays["start"]))
    method.SetInitialTransformParameterObject(first)
    method.SetLogToConsole(False)
    method.SetNumberOfThreads(said["threads"])
    method.SetOutputDirectory(folder)
    if "fixed_mask" in arrays:
        method.SetFixedMask(image("fixed_mask", np.uint8))
    if "moving_mask" in arrays:
        method.SetMovingMask(image("moving_mask", np.uint8))
    method.UpdateLargestPossibleRegion()
    result = method.GetTransformParameterObject()
    maps = [result.GetParameterMap(i) for i in range(result.GetNumberOfParameterMaps())]
    # The map to begin with may or may not be among them.
    fitted = maps[len(maps) - len(said["stages"]) :]
    np.savez(place / "out.npz", **collected(fitted, arrays["start"]))  # type: ignore[arg-type]


def main() -> None:
    """Answer until the input ends."""
    # Whatever elastix prints goes to the log; the answers have a channel of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import itk

    for line in sys.stdin:
        try:
            work(itk, line.strip())
        except Exception as error:  # noqa: BLE001 - of any kind, the caller has to hear of it
            text = " ".join(str(error).split())[-400:]
            print(text or type(error).__name__, file=answers, flush=True)
        else:
            print("done", file=answers, flush=True)


if __name__ == "__main__":
    main()
