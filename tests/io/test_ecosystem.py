"""Volumes as numpy, dask and xarray see them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
import tifffile
import xarray
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import projectome
from projectome.core.adapters import adapted
from projectome.core.affine import Affine
from projectome.core.space import Space
from projectome.core.volume import ArrayInMemory, Pyramid, Volume
from projectome.errors import MemoryBudgetError, MissingExtraError, ParameterError, UnknownNameError
from projectome.io.ecosystem import Indexable, chunks_of

GREY = np.random.default_rng(0).integers(0, 4000, (2, 20, 30, 40)).astype(np.uint16)


class Watched:
    """A lazy array that counts what is read, and claims any shape."""

    def __init__(self, array, chunks, shape=None):
        self.array, self.chunks, self.reads = array, chunks, []
        self.shape, self.dtype = shape or array.shape, array.dtype

    def read(self, index):
        self.reads.append(index)
        found = self.array[index].view()
        found.flags.writeable = False
        return found


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory) -> Pyramid:
    """Return an image of two channels as OME-Zarr, oriented, its first voxel at (3, 4, 5) um."""
    space = Space.from_code("PIR", meaning="toward", name="brain", expansion=4)
    volume = Volume.from_array(
        GREY, voxel_size=(4, 2, 1), translation=(3, 4, 5), space=space, channels=["GFP", "RFP"]
    )
    path = tmp_path_factory.mktemp("eco") / "image.ome.zarr"
    return projectome.write_volume(volume, str(path), chunks=(8, 16, 16), levels=2)


def lazy(array=GREY, chunks=(1, 8, 16, 16), shape=None) -> tuple[Volume, Watched]:
    watched = Watched(array, chunks, shape)
    channels = tuple("ab"[: array.shape[0]]) if array.ndim == 4 else ()
    return Volume(watched, Affine.from_scale((4, 2, 1)), channels), watched


class TestNumpy:
    def test_asarray_reads_the_volume(self, pyramid):
        assert np.array_equal(np.asarray(pyramid[0]), GREY)
        assert np.asarray(pyramid).dtype == np.uint16
        assert np.asarray(pyramid[1], dtype=np.float32).dtype == np.float32
        assert float(np.mean(pyramid)) == GREY.mean()

    def test_a_copy_can_be_written_to(self, pyramid):
        values = np.array(pyramid[0])
        values[...] = 0
        assert np.asarray(pyramid[0]).any()

    def test_an_array_in_memory_is_not_copied(self):
        volume = Volume.from_array(GREY[0], voxel_size=(1, 1, 1))
        assert np.shares_memory(np.asarray(volume), GREY)
        assert np.asarray(volume, copy=False) is not None
        assert not np.shares_memory(np.array(volume, copy=True), GREY)

    def test_what_cannot_be_done_without_a_copy_is_refused(self, pyramid):
        with pytest.raises(ParameterError, match="Leave out copy=False"):
            np.asarray(pyramid[0], copy=False)

    def test_more_than_the_memory_allowed_is_refused(self, monkeypatch):
        volume, watched = lazy(shape=(2, 10**4, 10**4, 10**4))
        monkeypatch.setenv("PROJECTOME_MEMORY", "1GB")
        with pytest.raises(MemoryBudgetError) as caught:
            np.asarray(volume)
        assert "takes 4 TB of memory, 1 GB are allowed" in str(caught.value)
        assert "to_dask()" in str(caught.value)
        assert watched.reads == []


class TestDask:
    def test_nothing_is_read_before_it_is_computed(self):
        volume, watched = lazy()
        array = volume.to_dask()
        part = array[1, 3:5, ::2, -1]
        assert watched.reads == []
        assert np.array_equal(part.compute(scheduler="sync"), GREY[1, 3:5, ::2, -1])
        assert all(index[0] == slice(1, 2) for index in watched.reads)

    def test_chunks_type_and_voxels_are_those_of_the_volume(self, pyramid):
        array = pyramid.to_dask()
        assert isinstance(array, da.Array)
        assert array.chunksize == pyramid[0].array.chunks
        assert (array.shape, array.dtype) == (GREY.shape, GREY.dtype)
        assert np.array_equal(array.compute(), GREY)
        assert np.array_equal(pyramid.to_dask(1).compute(), pyramid[1].read())

    def test_blocks_can_be_written_to(self):
        volume, _ = lazy()
        block = volume.to_dask()[:, :4, :4, :4].compute(scheduler="sync")
        block[...] = 0

    def test_it_can_be_sent_to_another_process(self, pyramid):
        array = pickle.loads(pickle.dumps(pyramid.to_dask()))  # noqa: S301 - our own
        assert np.array_equal(array.compute(), GREY)

    def test_a_tiff_can_be_sent_too(self, tmp_path):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, GREY[0])
        array = projectome.open_volume(str(path), voxel_size=(1, 1, 1)).to_dask()
        again = pickle.loads(pickle.dumps(array))  # noqa: S301 - our own
        assert np.array_equal(again.compute(), GREY[0])

    def test_very_many_chunks_are_taken_together(self):
        _, watched = lazy(GREY[0], (1, 1, 1), (4000, 5000, 6000))
        sizes = chunks_of(watched)
        counts = [-(-n // c) for n, c in zip(watched.shape, sizes, strict=True)]
        assert 1000 < np.prod(counts) <= 100_000
        _, few = lazy(GREY[0], (8, 16, 64))
        assert chunks_of(few) == (8, 16, 40)

    def test_without_dask_the_error_says_what_to_install(self, monkeypatch, pyramid):
        monkeypatch.setitem(sys.modules, "dask.array", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'projectome\[ecosystem\]'"):
            pyramid.to_dask()

    @given(index=hnp.basic_indices((2, 5, 4, 3), allow_newaxis=False, allow_ellipsis=False))
    def test_indexing_is_that_of_numpy(self, index):
        values = np.arange(120).reshape(2, 5, 4, 3)
        index = index if isinstance(index, tuple) else (index,)
        whole = (*index, *[slice(None)] * (4 - len(index)))
        found = Indexable(Watched(values, (1, 2, 2, 2)))[whole]
        assert np.array_equal(found, values[whole])


class TestXarray:
    def test_coordinates_are_the_centres_in_micrometres(self, pyramid):
        array = pyramid.to_xarray()
        assert isinstance(array, xarray.DataArray)
        assert array.dims == ("c", "z", "y", "x")
        assert array.chunks is not None
        assert array.z.values.tolist() == [3 + 4 * i for i in range(20)]
        assert float(array.x[-1]) == 5 + 39
        assert array.c.values.tolist() == ["GFP", "RFP"]
        assert array.y.attrs["units"] == "micrometer"
        assert [array[a].attrs["toward"] for a in "zyx"] == ["posterior", "inferior", "right"]
        assert array.attrs["expansion"] == 4
        assert array.attrs["voxel_size_um"] == [4, 2, 1]
        assert np.array_equal(array.sel(c="RFP", z=11).values, GREY[1, 2])

    def test_the_centre_of_a_coarser_voxel_lies_between_finer_ones(self, pyramid):
        fine, coarse = pyramid.to_xarray(0), pyramid.to_xarray(1)
        assert float(coarse.x[0]) == float(fine.x[:2].mean())

    def test_nothing_is_read(self):
        volume, watched = lazy(GREY[0], (8, 16, 16))
        array = volume.to_xarray()
        assert array.dims == ("z", "y", "x")
        assert "toward" not in array.z.attrs
        assert watched.reads == []

    def test_a_turned_grid_has_a_matrix_instead(self):
        turn = np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        affine = Affine(turn, Space.voxels(), Space())
        array = Volume(ArrayInMemory(GREY[0]), affine).to_xarray()
        assert not array.coords
        assert array.attrs["affine"] == turn.ravel().tolist()

    def test_without_xarray_the_error_says_what_to_install(self, monkeypatch, pyramid):
        monkeypatch.setitem(sys.modules, "xarray", None)
        with pytest.raises(MissingExtraError, match=r"needs the package 'xarray': pip install"):
            pyramid.to_xarray()


def test_it_works_whatever_is_imported_first():
    code = (
        "from projectome.core.volume import Volume; import numpy as np;"
        "print(Volume.from_array(np.zeros((2, 3, 4)), voxel_size=(1, 1, 1)).to_dask().shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 3, 4)"


def test_an_adapter_that_nobody_registered_is_named():
    with pytest.raises(UnknownNameError, match=r"Unknown adapter 'daks'.*'dask'"):
        adapted("daks", None)


@given(sizes=st.lists(st.integers(1, 2000), min_size=3, max_size=3), data=st.data())
def test_chunks_stay_multiples(sizes, data):
    chunks = tuple(data.draw(st.integers(1, n)) for n in sizes)
    found = chunks_of(Watched(GREY[0], chunks, tuple(sizes)))
    for n, c, m in zip(sizes, chunks, found, strict=True):
        assert m == n or (m % c == 0 and m <= n)
    assert np.prod([-(-n // m) for n, m in zip(sizes, found, strict=True)]) <= 100_000
