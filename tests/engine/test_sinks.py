import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import toys

from projectome.core.box import BlockGrid, Box
from projectome.core.region_graph import RegionGraph
from projectome.engine.sinks import ArraySink, GraphSink, NullSink, Sink, Sinks, TableSink
from projectome.errors import FormatError, NotFoundError, ParameterError, ShapeError
from projectome.testing.steps import ArrayFile

GRID = BlockGrid(Box.from_shape((4, 2, 12)), (2, 2, 1))  # 2 x 1 x 12 blocks
KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture(params=["file", "memory"])
def folder(request, tmp_path):
    return str(tmp_path / "table") if request.param == "file" else f"memory://{tmp_path}/table"


def fill(sink, key=KEY, grid=GRID, table=None, backwards=False):
    table = table or (lambda block: {"n": [block.index[2]], "z": [block.index[0]]})
    bound = sink.begin(key, grid)
    for block in reversed(list(grid)) if backwards else grid:
        bound.write(block, table(block))
    bound.end()


def test_all_are_sinks(tmp_path):
    array = ArraySink(ArrayFile(str(tmp_path)))
    for sink in (NullSink(), array, TableSink("t"), GraphSink("g"), Sinks({"a": NullSink()})):
        assert isinstance(sink, Sink)


def test_tables_come_back_in_the_order_of_the_grid(folder):
    sink = TableSink(folder)
    fill(sink, backwards=True)
    table = sink.read()
    assert table["n"].tolist() == [*range(12), *range(12)]  # 10 and 11 behind 9, not behind 1
    assert table["z"].tolist() == [0] * 12 + [1] * 12
    assert table.index.tolist() == list(range(24))


def test_frames_and_mappings_are_the_same(tmp_path):
    columns = {
        "id": np.arange(3, dtype=np.uint64),
        "x_um": np.ones(3, np.float32),
        "name": list("abc"),
    }
    for name, table in (("frame", pd.DataFrame(columns)), ("columns", columns)):
        fill(TableSink(str(tmp_path / name)), table=lambda block, table=table: table)
    frame, mapping = (TableSink(str(tmp_path / n)).read() for n in ("frame", "columns"))
    pd.testing.assert_frame_equal(frame, mapping)
    assert frame.dtypes["id"] == np.uint64
    assert frame.dtypes["x_um"] == np.float32


def test_the_index_of_a_frame_is_not_kept(tmp_path):
    sink = TableSink(str(tmp_path))
    fill(sink, table=lambda block: pd.DataFrame({"a": [1, 2]}, index=[7, 9]))
    assert list(sink.read().columns) == ["a"]


def test_empty_blocks_keep_the_types(tmp_path):
    def table(block):
        rows = 3 if block.index == (1, 0, 0) else 0
        names = np.array(["x"] * rows, dtype=object)
        return {"id": np.zeros(rows, np.uint64), "name": names}

    sink = TableSink(str(tmp_path))
    fill(sink, table=table)
    assert sink.read()["id"].dtype == np.uint64
    assert sink.read()["name"].tolist() == ["x"] * 3


def test_files_can_be_read_by_others(tmp_path):
    fill(TableSink(str(tmp_path)))
    table = pq.read_table(tmp_path / KEY[:16] / "1.0.11.parquet")
    assert table.to_pydict() == {"n": [11], "z": [1]}


def test_writing_again_leaves_the_same_bytes(tmp_path):
    fill(TableSink(str(tmp_path)))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    fill(TableSink(str(tmp_path)), backwards=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before


def test_tables_of_another_run_are_not_mixed_in(folder):
    sink = TableSink(folder)
    fill(sink)
    fill(sink, OTHER, BlockGrid(GRID.domain, (4, 2, 12)), lambda block: {"n": [-1], "z": [-1]})
    assert sink.read()["n"].tolist() == [-1]
    sink.begin(KEY, GRID)
    with pytest.raises(NotFoundError, match=r"block \(0, 0, 0\) is missing"):
        sink.read()  # what the first run wrote is gone


def test_nothing_else_in_the_folder_is_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / ".ledger").mkdir()
    (tmp_path / "notes.txt").write_text("important")
    fill(TableSink(str(tmp_path)))
    fill(TableSink(str(tmp_path)), OTHER)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".ledger", OTHER[:16], "mine", "notes.txt", "table.json"]


def test_holding(folder):
    sink = TableSink(folder)
    assert not sink.holds(KEY)
    sink.begin(KEY, GRID)
    assert sink.holds(KEY)
    assert not sink.holds(OTHER)


def test_half_written_files_are_removed(tmp_path):
    sink = TableSink(str(tmp_path))
    fill(sink)
    half = tmp_path / KEY[:16] / ".0.0.0.parquet.123.partial"
    half.write_bytes(b"PAR1")
    fill(sink)
    assert not half.exists()


def test_reading_what_is_not_there(folder):
    with pytest.raises(NotFoundError, match="Run the step that makes it"):
        TableSink(folder).read()
    bound = TableSink(folder).begin(KEY, GRID)
    bound.write(GRID[0, 0, 0], {"n": [1]})
    with pytest.raises(NotFoundError, match=r"block \(0, 0, 1\) is missing.*Run the step again"):
        TableSink(folder).read()


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        ({"n": [1]}, r"has the columns \['n'\], others have \['n', 'z'\]"),
        ({"n": ["one"], "z": [1]}, "columns of different types"),
    ],
)
def test_blocks_that_do_not_fit_together(tmp_path, odd, text):
    sink = TableSink(str(tmp_path))
    fill(sink, table=lambda b: odd if b.index == (1, 0, 3) else {"n": [1], "z": [2]})
    with pytest.raises(FormatError, match=text):
        sink.read()


def test_broken_files(tmp_path):
    sink = TableSink(str(tmp_path))
    fill(sink)
    (tmp_path / KEY[:16] / "0.0.2.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(FormatError, match=r"0.0.2.parquet is no parquet file.*--overwrite"):
        sink.read()
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(FormatError, match=r"table.json is broken.*Remove the folder"):
        sink.read()


@pytest.mark.parametrize("result", [3, None, {"a": [1], "b": [1, 2]}, [1, 2]])
def test_what_is_no_table(tmp_path, result):
    with pytest.raises(
        ParameterError, match=r"block \(0, 0, 0\).*is no table.*Return a data frame"
    ):
        fill(TableSink(str(tmp_path)), table=lambda block: result)


class TestArrays:
    def test_voxels_go_to_their_place(self, tmp_path):
        file = ArrayFile.create(tmp_path, (2, *toys.SHAPE), np.uint16)
        expected = np.stack([toys.volume(1), toys.volume(2)])
        fill(ArraySink(file), grid=toys.grid(), table=lambda b: expected[(..., *b.core.slices)])
        np.testing.assert_array_equal(file.read(), expected)

    def test_the_halo_has_to_be_cut_off(self, tmp_path):
        file = ArrayFile.create(tmp_path, toys.SHAPE, np.uint16)
        with pytest.raises(ShapeError, match=r"shape \(9, 9, 9\); .*\(8, 8, 8\).*block.inner"):
            fill(
                ArraySink(file),
                grid=toys.grid(halo=(1, 1, 1)),
                table=lambda b: toys.volume(1)[b.read.slices],
            )

    @pytest.mark.parametrize(
        ("grid", "fits"),
        [
            (toys.grid(block=(8, 8, 8)), True),
            (toys.grid(block=(16, 8, 32)), True),
            (toys.grid(block=toys.SHAPE), True),  # one block: its far end is that of the volume
            (toys.grid(block=(8, 8, 4)), False),
            (toys.grid(block=(8, 12, 8)), False),
            (BlockGrid(Box((4, 0, 0), toys.SHAPE), (8, 8, 8)), False),
            (BlockGrid(Box((8, 0, 16), toys.SHAPE), (8, 8, 8)), True),
        ],
    )
    def test_blocks_have_to_be_whole_chunks(self, tmp_path, grid, fits):
        sink = ArraySink(ArrayFile(str(tmp_path), block_multiple=(8, 8, 8)))
        if fits:
            assert sink.begin(KEY, grid) == sink
        else:
            with pytest.raises(ParameterError, match=r"Plan the grid with chunks=\(8, 8, 8\)"):
                sink.begin(KEY, grid)


class TestGraphs:
    def graph(self, block):
        n = block.index[2] + 1
        edges = [(n, n + 1)] if n < 12 else []
        ids = np.unique([n, *np.ravel(edges)]).astype(np.uint64)
        extra = {"size": np.full(len(edges), n, np.int32)}
        return RegionGraph(ids, np.array(edges, np.uint64), np.full(len(edges), n / 2), extra)

    def test_one_graph_comes_back(self, folder):
        sink = GraphSink(folder)
        fill(sink, table=self.graph, backwards=True)
        graph = sink.read()
        assert graph.fragments.tolist() == list(range(1, 13))
        assert graph.edges.tolist() == 2 * [[n, n + 1] for n in range(1, 12)]  # two layers saw each
        assert graph.score.dtype == np.float32
        assert graph.columns["size"].dtype == np.int32
        assert graph.columns["size"].tolist() == 2 * list(range(1, 12))

    def test_large_ids_stay_exact(self, tmp_path):
        top = 2**64 - 1
        graph = RegionGraph(np.array([1, top], np.uint64), [[1, top]], [1.0])
        fill(GraphSink(str(tmp_path)), table=lambda block: graph)
        assert GraphSink(str(tmp_path)).read().edges[0].tolist() == [1, top]

    def test_no_edges_at_all(self, tmp_path):
        empty = RegionGraph(np.array([5], np.uint64), np.empty((0, 2)), np.empty(0))
        fill(GraphSink(str(tmp_path)), table=lambda block: empty)
        assert len(GraphSink(str(tmp_path)).read()) == 0

    def test_what_is_no_graph(self, tmp_path):
        with pytest.raises(ParameterError, match="is a dict, not a RegionGraph"):
            fill(GraphSink(str(tmp_path)))


class TestSeveral:
    def test_each_result_goes_to_its_sink(self, tmp_path):
        names = ("points", "edges")
        sinks = Sinks({name: TableSink(str(tmp_path / name)) for name in names})
        fill(sinks, table=lambda b: {"edges": {"e": [2]}, "points": {"p": [1]}})
        assert sinks["points"].read()["p"].tolist() == [1] * 24
        assert sinks["edges"].read()["e"].tolist() == [2] * 24
        assert sinks.holds(KEY)
        (tmp_path / "edges" / "table.json").unlink()
        assert not sinks.holds(KEY)

    @pytest.mark.parametrize("result", [{"points": {"p": [1]}}, {"p": 1, "points": 2}, 3])
    def test_names_have_to_be_those_of_the_sinks(self, tmp_path, result):
        sinks = Sinks({"points": TableSink(str(tmp_path)), "none": NullSink()})
        with pytest.raises(
            ParameterError, match=r"with the names \['none', 'points'\], one a sink"
        ):
            fill(sinks, table=lambda block: result)
