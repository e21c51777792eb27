import numpy as np
import pytest
import toys
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.box import BlockGrid, Box
from projectome.engine.grid import (
    FEWEST,
    LARGEST,
    PROCESS,
    block_memory,
    plan_grid,
    room,
    worker_count,
)
from projectome.engine.run import run
from projectome.engine.sinks import NullSink
from projectome.errors import MemoryBudgetError, ShapeError

GB = 10**9
edges = st.tuples(*3 * [st.integers(1, 3000)])
chunk_edges = st.tuples(*3 * [st.sampled_from([16, 32, 64, 100, 128])])
halos = st.tuples(*3 * [st.integers(0, 20)])


@given(edges, chunk_edges, halos, st.sampled_from([2, 16, 100]), st.sampled_from([4, 8, 64]))
def test_blocks_are_whole_chunks_that_fit(shape, chunk, halo, bytes_per_voxel, gigabytes):
    grid = plan_grid(
        shape, chunks=chunk, halo=halo, bytes_per_voxel=bytes_per_voxel, memory=gigabytes * GB,
        workers=2,
    )  # fmt: skip
    assert grid.domain == Box.from_shape(shape)
    assert grid.halo == halo
    factors = np.asarray(grid.block_shape) // chunk
    assert (factors * chunk == grid.block_shape).all()
    assert ((factors & (factors - 1)) == 0).all()  # powers of two
    largest = max(grid[0, 0, 0].read.size, grid[tuple(n // 2 for n in grid.shape)].read.size)
    assert largest * bytes_per_voxel <= room(gigabytes * GB, 2)
    if factors.max() > 1:
        assert grid[0, 0, 0].core.size <= LARGEST
        assert len(grid) >= FEWEST


def test_blocks_grow_with_the_memory_up_to_a_bound():
    def blocks(memory):
        return len(plan_grid((4096,) * 3, chunks=64, halo=8, memory=memory, workers=2))

    counts = [blocks(m) for m in ("2GB", "8GB", "32GB", "1TB")]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 512  # blocks of 512^3


def test_blocks_are_nearly_cubes():
    shape = plan_grid((4096,) * 3, chunks=(16, 64, 64), memory="4GB").block_shape
    assert max(shape) / min(shape) <= 2


def test_the_plan_is_the_same_for_one_to_eight_workers():
    plans = {
        plan_grid((2000,) * 3, chunks=64, halo=8, memory="20GB", workers=n) for n in range(1, 9)
    }
    assert len(plans) == 1


def test_many_workers_are_occupied():
    grid = plan_grid((640,) * 3, chunks=64, memory="1TB", workers=100)
    assert len(grid) >= 200


def test_a_channel_axis_is_not_cut():
    assert plan_grid((2, 100, 100, 100), chunks=50, memory="4GB").domain.shape == (100, 100, 100)


def test_the_refusal_names_the_memory_that_would_do():
    ask = {"chunks": 512, "halo": 16, "bytes_per_voxel": 100, "workers": 4}
    with pytest.raises(MemoryBudgetError) as caught:
        plan_grid((2048,) * 3, memory="8GB", **ask)
    text = str(caught.value)
    assert "4 at a time" in text
    assert "but 8 GB may be used" in text
    named = text.split("--memory ")[1].split()[0]
    assert plan_grid((2048,) * 3, memory=named, **ask).block_shape == (512,) * 3
    less = int(named.removesuffix("MB")) - 2
    with pytest.raises(MemoryBudgetError):
        plan_grid((2048,) * 3, memory=f"{less}MB", **ask)


@pytest.mark.parametrize(("shape", "chunks"), [((0, 5, 5), 8), ((5, 5, 5), 0)])
def test_nothing_to_cut(shape, chunks):
    with pytest.raises(ShapeError, match="Cannot cut"):
        plan_grid(shape, chunks=chunks)


def test_an_interrupted_run_keeps_its_grid(tmp_path):
    ledger = str(tmp_path / "ledger")
    ask = {"chunks": 2, "halo": 1, "bytes_per_voxel": 2000}
    small = plan_grid(toys.SHAPE, memory="4GB", ledger=ledger, **ask)
    earlier = BlockGrid(small.domain, (22, 8, 8), (1, 1, 1))
    run(toys.Mean(), earlier, sink=NullSink(), ledger=ledger, memory="4GB")
    assert plan_grid(toys.SHAPE, memory="4GB", ledger=ledger, **ask) == earlier
    other_halo = ask | {"halo": 2}
    assert plan_grid(toys.SHAPE, memory="4GB", ledger=ledger, **other_halo) != earlier
    other_chunks = ask | {"chunks": 5}
    assert plan_grid(toys.SHAPE, memory="4GB", ledger=ledger, **other_chunks) != earlier


def test_block_memory_is_that_of_the_largest_block():
    step = toys.Mean()
    grid = toys.grid(halo=(2, 2, 2))
    assert block_memory(step, grid) == max(step.memory(block) for block in grid) == 24 * 12**3


def test_worker_count(monkeypatch, tmp_path):
    monkeypatch.setenv("PROJECTOME_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.delenv("PROJECTOME_WORKERS", raising=False)
    assert worker_count(3) == 3
    assert worker_count() >= 1
    monkeypatch.setenv("PROJECTOME_WORKERS", "5")
    assert worker_count() == 5


def test_room_counts_every_process():
    assert room(10 * PROCESS, 3) == 2 * PROCESS
