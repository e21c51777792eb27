"""Published reconstructions, read as they ship and carried through every format."""

import numpy as np
import pytest

from projectome.io.skeletons import convert_skeletons, read_skeletons

pytestmark = pytest.mark.realdata


def test_fragments_as_the_exaspim_pipeline_ships_them(real):
    """146 fragments of 26153 nodes in a ZIP, one of them empty, with a stray folder beside them."""
    found = read_skeletons(real / "exaspim_fragments/swcs.zip", radius_scale=1e-3)
    assert len(found) == 146
    assert sum(len(s) for s in found.skeletons) == 26153
    assert sum(len(s) == 0 for s in found.skeletons) == 1
    assert "825364285.0" in found.names
    radius = np.concatenate([s.radius for s in found.skeletons if s.radius is not None])
    assert 0.7 < np.nanmin(radius) < np.nanmax(radius) < 15
    assert "names the columns z y x" in str(found.all_problems)


def test_a_folder_of_neurons(real):
    found = read_skeletons(real / "neurons_ccf/seu", scale=25)
    assert len(found) == 10
    assert len(found["1_18465_00082"].skeleton) == 1682
    assert all(len(s.roots) == 1 for s in found.skeletons)


def test_trees_of_any_order_and_type(real):
    found = read_skeletons(real / "bigneuron_parity/1")
    assert len(found) == 10
    assert len(found["gold"].skeleton) == 912


@pytest.mark.parametrize("target", ["n.nml", "n.zip", "folder", "precomputed://p", "sharded"])
def test_neurons_go_through_every_format(real, tmp_path, target):
    """157053 nodes keep their places to a nanometre, their shape, and their types and radii."""
    sharded = {"kind": "precomputed", "sharded": True} if target == "sharded" else {}
    prefix = "precomputed://" if "://" in target else ""
    url = prefix + str(tmp_path / target.removeprefix(prefix))
    archive = real / "neurons_ccf/car/car_more.zip"
    one = convert_skeletons(archive, url, scale=25, radius_scale=1, **sharded)
    two = read_skeletons(url)
    assert two.names == one.names
    assert sum(len(s) for s in one.skeletons) == 157_053
    for a, b in zip(one.skeletons, two.skeletons, strict=True):
        np.testing.assert_array_equal(b.parent, a.parent)
        np.testing.assert_allclose(b.coordinates, a.coordinates, atol=1e-3)
        np.testing.assert_allclose(b.radius, a.radius, rtol=1e-6)
        if target != "n.nml":  # which has no types
            np.testing.assert_array_equal(b.kind, a.kind)
