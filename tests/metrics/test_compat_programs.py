"""Programs by name, on forests and volumes."""

import numpy as np
import pytest
from neurites import SPACE, grown_tree, moved, straight

from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.metrics.compat.programs import LABEL_PROGRAMS, TREE_PROGRAMS

LINE, HALF = straight(0, 40, step=1.0), straight(0, 20, step=1.0)


def test_forests_are_scored_as_one_file():
    apart = TREE_PROGRAMS["vaa3d"]([LINE], [HALF], 2.0)
    # Two points on each of 40 edges; of those on the 20 missing all but the first three are apart.
    assert apart["percent_12_apartnodes"] == pytest.approx(37 / 80)
    both = TREE_PROGRAMS["vaa3d"]([LINE, straight(0, 40, y=20.0, step=1.0)], [HALF], 2.0)
    assert both["percent_12_apartnodes"] == pytest.approx((37 + 80) / 160)
    found = TREE_PROGRAMS["pyneval-1.1"]([LINE], [HALF], 2.0)
    assert found["cn recall"] == 0.5
    assert found["length precision"] == 1
    with pytest.raises(ParameterError, match="no skeleton on either side"):
        TREE_PROGRAMS["vaa3d"]([], [], 2.0)


def test_labels_along_skeletons():
    labels = np.zeros((10, 40, 41), np.uint16)
    labels[..., :21] = 1
    volume = Volume.from_array(labels, voxel_size=(1, 1, 1), space=SPACE)
    neurons = [LINE, straight(0, 20, y=25.0, step=1.0)]
    found = LABEL_PROGRAMS["segmentation-skeleton-metrics-5.9.14"](neurons, volume)
    summary = found.figures
    assert summary["Edge Accuracy"] == 100  # half of the first is omitted: filled, and not seen
    assert summary["SWC Run Length"] == pytest.approx((40**2 + 20**2) / 60)
    assert [row["SWC Run Length"] for row in found.rows] == [40, 20]
    run = LABEL_PROGRAMS["funlib"]([LINE], volume).figures
    assert run == pytest.approx(
        {"expected_run_length": 10, "merging_segments": 0, "split_edges": 0}
    )
    both = LABEL_PROGRAMS["funlib"](neurons, volume)
    assert both.figures["merging_segments"] == 1
    assert LABEL_PROGRAMS["segmentation-skeleton-metrics-5.9.14"]([], volume).figures == {}
    with pytest.raises(ParameterError, match=r"outside of.*crop"):
        LABEL_PROGRAMS["funlib"]([straight(0, 50, step=1.0)], volume)


def test_rows_of_funlib_add_up_to_its_figure():
    rng = np.random.default_rng(0)
    neurons = [grown_tree(seed, 80) for seed in range(4)]
    low = np.concatenate([n.coordinates for n in neurons]).min(axis=0) - 1
    neurons = [moved(neuron, -low) for neuron in neurons]
    size = np.ceil(np.concatenate([n.coordinates for n in neurons]).max(axis=0) / 8).astype(int) + 1
    labels = np.kron(rng.integers(0, 40, size), np.ones((8, 8, 8), int)).astype(np.uint16)
    found = LABEL_PROGRAMS["funlib"](
        neurons, Volume.from_array(labels, voxel_size=(1, 1, 1), space=SPACE)
    )
    runs = [row["expected_run_length"] for row in found.rows]
    assert 0 < found.figures["expected_run_length"] < 160
    assert np.average(runs, weights=found.weights) == pytest.approx(
        found.figures["expected_run_length"], rel=1e-5
    )
    assert sum(row["split_edges"] for row in found.rows) == found.figures["split_edges"]
