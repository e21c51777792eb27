"""Vesselness filters of ITK (Apache-2.0)."""

import itk
import numpy as np


def image_of(arrays, facts):
    """Return an ITK image with the size of its voxels."""
    image = itk.image_from_array(np.ascontiguousarray(arrays["image"], np.float32))
    image.SetSpacing([float(v) for v in facts["voxel_size_um"][::-1]])
    return image


def vesselness(arrays, facts):
    """Sato's vesselness, the largest over scales."""
    image, best = image_of(arrays, facts), None
    for sigma in facts["sigmas_um"]:
        hessian = itk.hessian_recursive_gaussian_image_filter(
            image, sigma=sigma, normalize_across_scale=True
        )
        made = itk.Hessian3DToVesselnessMeasureImageFilter[itk.F].New(hessian)
        made.Update()
        response = itk.array_from_image(made.GetOutput())
        best = response if best is None else np.maximum(best, response)
    return {"score": best}


def objectness(arrays, facts):
    """Antiga's objectness of lines, the largest over scales."""
    image, best = image_of(arrays, facts), None
    for sigma in facts["sigmas_um"]:
        hessian = itk.hessian_recursive_gaussian_image_filter(
            image, sigma=sigma, normalize_across_scale=True
        )
        kinds = [type(hessian), itk.Image[itk.F, 3]]
        made = itk.HessianToObjectnessMeasureImageFilter[kinds].New(hessian)
        made.SetObjectDimension(1)
        made.SetBrightObject(True)
        made.SetScaleObjectnessMeasure(True)
        made.Update()
        response = itk.array_from_image(made.GetOutput())
        best = response if best is None else np.maximum(best, response)
    return {"score": best}
