"""Phantoms that several tests look at; both are the smallest preset."""

import os
from pathlib import Path

import pytest

from projectome.datasets.phantom import Phantom, make_phantom
from projectome.datasets.phantom_barcodes import make_barcoded_neuropil
from projectome.datasets.phantom_brain import make_whole_brain
from projectome.datasets.phantom_brainbow import make_brainbow
from projectome.datasets.phantom_field import make_axon_field
from projectome.datasets.phantom_specimen import Specimen


@pytest.fixture(scope="session")
def tiny() -> Phantom:
    return make_phantom(size="tiny", seed=3)


@pytest.fixture(scope="session")
def small() -> Phantom:
    """Large enough for every projection class (8 neurons)."""
    return make_phantom(size="small", seed=1, neurons=8)


@pytest.fixture(scope="session")
def tiny_image(tiny):
    return tiny.image.read()


@pytest.fixture(scope="session")
def axons() -> Specimen:
    """A field with one soma."""
    return make_axon_field(seed=5, size=(48, 128, 128), cells=1)


@pytest.fixture(scope="session")
def neuropil() -> Specimen:
    return make_barcoded_neuropil(seed=4, size=(20, 96, 96))


@pytest.fixture(scope="session")
def brain() -> Specimen:
    return make_whole_brain(seed=2, size=(80, 132, 114), voxel_size=100.0, neurons=2, cells=400)


@pytest.fixture(scope="session")
def brainbow() -> Specimen:
    return make_brainbow(seed=3, size=(24, 128, 128), cells=1)


@pytest.fixture(scope="session")
def test_data():
    """The developers' folder of real data."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("PROJECTOME_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set PROJECTOME_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def trailmap_stack(test_data):
    """Real axons of a cleared brain, (303, 303, 303) uint16."""
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    return tifffile.imread(test_data / "trailmap" / "example_chunk_303x303x303.tif")
