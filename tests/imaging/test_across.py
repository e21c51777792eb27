"""Statistics of voxels gathered by where they lie."""

import numpy as np
import pandas as pd
import pytest

from projectome.core.volume import Volume
from projectome.errors import ParameterError
from projectome.imaging import across
from projectome.imaging.across import gather


def test_bins_hold_what_numpy_says():
    rng = np.random.default_rng(4)
    grey = rng.normal(50, 20, (9, 8, 7)).astype(np.float32)
    grey[2, 3, 4] = np.nan
    place = rng.integers(-1, 5, grey.shape)
    keep = rng.random(grey.shape) < 0.7
    volume = Volume.from_array(grey, voxel_size=(1, 1, 1))
    found = gather(
        volume,
        lambda box: place[box.slices],
        6,
        inside=lambda box: keep[box.slices],
        percentiles=(10, 90),
    )
    frame = pd.DataFrame({"k": place.ravel(), "v": grey.ravel()})[keep.ravel()].dropna()
    groups = frame[frame["k"] >= 0].groupby("k")["v"]
    assert found["voxels"].tolist() == [*groups.size(), 0]
    assert np.allclose(found["mean"][:5], groups.mean(), rtol=1e-5)
    assert np.allclose(found["p90"][:5], groups.quantile(0.9), rtol=1e-5)
    assert found["max"][:5].tolist() == groups.max().tolist()
    assert np.isnan(found["mean"][5])  # nothing lies there


def test_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(across, "LARGEST", 10)
    volume = Volume.from_array(np.zeros((3, 3, 3)), voxel_size=(1, 1, 1))
    with pytest.raises(ParameterError, match="coarser --level"):
        gather(volume, lambda box: np.zeros((1, 1, 1), np.int64), 1)
    with pytest.raises(ParameterError, match="between 0 and 100"):
        gather(volume, lambda box: np.zeros((1, 1, 1), np.int64), 1, percentiles=(101,))
