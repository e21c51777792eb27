"""Figures of quality, and what they are good for."""

import numpy as np
import pytest

from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.transform import DisplacementField
from projectome.core.volume import Volume
from projectome.errors import ShapeError
from projectome.registration.quality import (
    jacobian,
    measure,
    region_probabilities,
    stated_uncertainty,
    warped_template,
)


def test_the_jacobian_of_a_stretch_is_its_volume():
    grid = Affine.from_scale((10, 20, 5), target=Space("a"))
    nodes = grid(np.indices((5, 6, 7)).reshape(3, -1).T).reshape(5, 6, 7, 3)
    field = DisplacementField((nodes * (0.1, -0.2, 0.3)).astype(np.float32), grid, Space("b"))
    assert np.allclose(jacobian(field), 1.1 * 0.8 * 1.3, atol=1e-4)


def test_figures_tell_a_good_registration_from_its_start(registered, pair):
    from dataclasses import replace

    from projectome.core.transform import Transform

    good = measure(pair, registered, warped_template(pair, registered), None)
    linear, field = registered.transform.links
    grid = field.grid
    shape = (*field.displacement.shape[:3], 3)
    off = np.zeros(shape, np.float32) + np.float32(40)
    poor = Transform((linear, DisplacementField(off, grid, field.target)))
    worse = replace(registered, transform=poor)
    bad = measure(pair, worse, warped_template(pair, worse), None)
    assert good.inverse_p95_um < 1
    assert good.folded == 0
    assert 0 < good.jacobian_min < 1 < good.jacobian_max
    assert good.edge_median_um < bad.edge_median_um
    assert good.correlation > 0.8 > bad.correlation
    assert good.overlap > bad.overlap
    assert np.isnan(good.uncertainty_median_um)


def test_where_fits_differ_more_less_is_sure():
    spread = np.zeros((10, 10, 40), np.float32)
    spread[..., 20:] = 30
    sure = stated_uncertainty(spread, 50.0)
    assert sure.min() > 0
    assert sure[..., 35:].min() > 2 * sure[..., :5].max()


def test_a_point_at_a_border_lies_in_both_regions():
    labels = np.full((40, 40, 40), 7, np.uint32)
    labels[..., 20:] = 9
    annotation = Volume.from_array(labels, voxel_size=(10, 10, 10), kind="labels")
    border, inner, outside = region_probabilities(
        annotation, [(200, 200, 195), (200, 200, 300), (200, 200, 410)], [20, 20, 20]
    )
    assert border[7] == pytest.approx(0.5, abs=0.06)
    assert sum(border.values()) == pytest.approx(1)
    assert inner == {9: 1.0}
    assert outside[0] > outside[9] > 0
    with pytest.raises(ShapeError, match="deviation each"):
        region_probabilities(annotation, [(0, 0, 0)], [1, 2])
