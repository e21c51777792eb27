import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import FormatError, NotFoundError, ParameterError
from projectome.io.tables import (
    read_cell_counter,
    read_points,
    read_table,
    read_with_metadata,
    write_points,
    write_table,
)
from projectome.testing import strategies as draws

DATA = Path(os.environ.get("PROJECTOME_TEST_DATA") or Path(__file__).parents[3] / "shared/data")

TABLE = pd.DataFrame(
    {
        "id": np.array([1, 2, 2**63 + 1], np.uint64),
        "acronym": ["NA", "None", 'a,"b"'],
        "length_um": [0.1 + 0.2, np.nan, 1e-300],
        "left": [True, False, True],
    }
)


def same(a: Points, b: Points) -> None:
    assert a.space == b.space
    np.testing.assert_array_equal(a.coordinates, b.coordinates)
    assert set(a.columns) == set(b.columns)
    for name in a.columns:
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype == b[name].dtype, name


# --- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_tables_round_trip(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    write_table(TABLE, path)
    pd.testing.assert_frame_equal(read_table(path), TABLE)
    pd.testing.assert_frame_equal(read_table(path, columns=["left", "id"]), TABLE[["left", "id"]])


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_the_same_table_gives_the_same_bytes(tmp_path, ending):
    shuffled = TABLE.sample(frac=1, random_state=0)
    paths = [tmp_path / f"{i}.{ending}" for i in range(2)]
    write_table(TABLE, paths[0])
    write_table(shuffled.loc[TABLE.index], paths[1])  # another index in memory, the same rows
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [p.name for p in paths]


def test_other_programs_read_our_files(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet", metadata={"step": "x", "n": 1})
    arrow = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert arrow.column_names == list(TABLE.columns)
    assert arrow.schema.metadata == {b"projectome": b'{"n": 1, "step": "x"}'}
    write_table(TABLE, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes().splitlines()[1] == b"1,NA,0.30000000000000004,True"


def test_we_read_files_of_other_programs(tmp_path):
    TABLE.to_parquet(tmp_path / "pandas.parquet", index=False)
    frame, metadata = read_with_metadata(tmp_path / "pandas.parquet")
    pd.testing.assert_frame_equal(frame, TABLE)
    assert metadata == {}
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbfid,value\r\n1,2.5\r\n")
    assert read_table(tmp_path / "excel.csv")["id"].tolist() == [1]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_tables_without_rows(tmp_path, ending):
    write_table(TABLE.iloc[:0], tmp_path / f"t.{ending}")
    empty = read_table(tmp_path / f"t.{ending}")
    assert list(empty.columns) == list(TABLE.columns)
    assert len(empty) == 0


def test_wrong_tables_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"\.parquet or \.csv"):
        write_table(TABLE, tmp_path / "t.xlsx")
    with pytest.raises(ParameterError, match=r"write .* as \.parquet"):
        write_table(TABLE, tmp_path / "t.csv", metadata={"a": 1})
    with pytest.raises(ParameterError, match="different texts"):
        write_table(pd.DataFrame([[1, 2]], columns=["a", "a"]), tmp_path / "t.csv")
    with pytest.raises(ParameterError, match="different texts"):
        write_table(pd.DataFrame([[1, 2]]), tmp_path / "t.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.parquet", b"id\n1\n"),
        ("t.parquet", b""),
        ("t.csv", b""),
        ("t.csv", b"a,b\n1,2,3,4\n1\n1,2,3,4,5\n"),
        ("t.csv", b"a\n\xff\xfe\x00\n"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=r"t\.(parquet|csv) is not a (parquet|csv) table"):
        read_table(tmp_path / name)


def test_truncated_parquet(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet")
    data = (tmp_path / "t.parquet").read_bytes()
    for size in (4, len(data) // 2, len(data) - 1):
        (tmp_path / "t.parquet").write_bytes(data[:size])
        with pytest.raises(FormatError, match="is not a parquet table"):
            read_table(tmp_path / "t.parquet")


def test_missing_files_and_columns(tmp_path):
    with pytest.raises(NotFoundError, match=r"none\.csv"):
        read_table(tmp_path / "none.csv")
    write_table(TABLE, tmp_path / "t.csv")
    with pytest.raises(FormatError, match="no column 'z_um'; it has 'id', 'acronym'"):
        read_table(tmp_path / "t.csv", columns=["id", "z_um"])


# --- points --------------------------------------------------------------------------------------


@given(draws.points())
def test_points_round_trip_through_parquet_with_their_space(points):
    write_points(points, "memory://tables/p.parquet")
    found = read_points("memory://tables/p.parquet")
    same(found, points.with_columns(id=np.arange(1, len(points) + 1)))


@given(draws.points())
def test_points_round_trip_through_csv_given_the_space(points):
    write_points(points, "memory://tables/p.csv")
    found = read_points("memory://tables/p.csv", space=points.space)
    if len(points):
        same(found, points.with_columns(id=np.arange(1, len(points) + 1)))
    assert len(found) == len(points)


def test_the_header_of_points(tmp_path):
    points = Points([[3, 2, 1]], Space(), {"score": np.array([0.5]), "id": np.array([7])})
    write_points(points, tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == "id,z_um,y_um,x_um,score\n7,3.0,2.0,1.0,0.5\n"


@given(st.sampled_from([("mm", 1000.0), ("nm", 1e-3), ("um", 1.0), ("micrometer", 1.0)]))
def test_the_unit_stands_in_the_name(pair):
    unit, factor = pair
    table = pd.DataFrame({f"x_{unit}": [1.0], f"y_{unit}": [2.0], f"z_{unit}": [3.0]})
    write_table(table, "memory://tables/u.csv")
    found = read_points("memory://tables/u.csv")
    np.testing.assert_allclose(found.coordinates, [[3 * factor, 2 * factor, factor]])
    assert found.columns == {}


def test_voxels_are_not_micrometres(tmp_path):
    voxels = Points([[3, 2, 1]], Space.voxels())
    write_points(voxels, tmp_path / "p.csv")
    assert read_points(tmp_path / "p.csv").space.unit == "voxel"
    with pytest.raises(FormatError, match="Convert them with the grid"):
        read_points(tmp_path / "p.csv", space=Space())


def test_points_that_cannot_be_read(tmp_path):
    path = tmp_path / "p.csv"
    for text, message in (
        ("z,y,x\n1,2,3\n", "Name the coordinates with their unit"),
        ("z_um,y_um,x_um\n1,2,\n", "point 1 has a coordinate that is missing"),
        ("z_um,y_um,x_um\n1,2,3\n1,inf,3\n", "point 2"),
        ("z_um,y_um,x_um\n1,a,3\n", "'y_um' is not all numbers"),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=message):
            read_points(path)
    with pytest.raises(ParameterError, match="'z_um' has the name of a coordinate"):
        write_points(Points([[0, 0, 0]], Space(), {"z_um": np.zeros(1)}), path)


def test_a_space_that_is_not_understood(tmp_path):
    frame = pd.DataFrame({"z_um": [0.0], "y_um": [0.0], "x_um": [0.0]})
    for said in ({"name": "a"}, {"name": "a", "axes": 5}, "scan"):
        write_table(frame, tmp_path / "p.parquet", metadata={"space": said})
        with pytest.raises(FormatError, match="describes its space"):
            read_points(tmp_path / "p.parquet")


# --- cell counter --------------------------------------------------------------------------------

XML = """<?xml version="1.0" encoding="UTF-8"?>
<CellCounter_Marker_File><Image_Properties/><Marker_Data><Current_Type>1</Current_Type>
<Marker_Type><Type>1</Type></Marker_Type>
<Marker_Type><Type>2</Type>
<Marker><MarkerX>10</MarkerX><MarkerY>20</MarkerY><MarkerZ>3</MarkerZ></Marker>
</Marker_Type></Marker_Data></CellCounter_Marker_File>"""


def test_markers_are_voxels(tmp_path):
    (tmp_path / "c.xml").write_text(XML)
    found = read_cell_counter(tmp_path / "c.xml", voxel_size=(5, 2, 1), translation=(100, 0, 0))
    np.testing.assert_array_equal(found.coordinates, [[115, 40, 10]])
    assert found["type"].tolist() == [2]
    counted_from_one = read_cell_counter(tmp_path / "c.xml", voxel_size=(5, 2, 1), first_plane=1)
    assert counted_from_one.coordinates[0, 0] == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("<MarkerY>20</MarkerY>", ""), "marker 1 of type 2"),
        (lambda t: t.replace("20", "nan"), "marker 1 of type 2"),
        (lambda t: t.replace("<Type>2</Type>", ""), "no number"),
        (lambda t: t.replace("CellCounter_Marker_File", "svg"), "holds 'svg'"),
        (lambda t: t[:100], "is not XML"),
        (lambda t: "", "is not XML"),
    ],
)
def test_broken_marker_files(tmp_path, change, message):
    (tmp_path / "c.xml").write_text(change(XML))
    with pytest.raises(FormatError, match=message):
        read_cell_counter(tmp_path / "c.xml", voxel_size=(1, 1, 1))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_not_expanded(tmp_path, encoding):
    bomb = '<!DOCTYPE a [<!ENTITY b "bbb"><!ENTITY c "&b;&b;">]><CellCounter_Marker_File>&c;'
    (tmp_path / "c.xml").write_text(bomb + "</CellCounter_Marker_File>", encoding=encoding)
    with pytest.raises(FormatError, match="document type"):
        read_cell_counter(tmp_path / "c.xml", voxel_size=(1, 1, 1))


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data in {DATA}")
def test_published_markers():
    """56 cells of type 2 in planes 10 to 19 of a stack of 30 x 510 x 667 voxels of 5 x 2 x 2 um."""
    found = read_cell_counter(DATA / "cellfinder/cell_classification.xml", voxel_size=(5, 2, 2))
    assert len(found) == 56
    assert set(found["type"].tolist()) == {2}
    voxels = found.coordinates / (5, 2, 2)
    assert (voxels[:, 0].min(), voxels[:, 0].max()) == (10, 19)
    assert (voxels < (30, 510, 667)).all()


def test_parquet_is_written_without_pandas_metadata():
    write_table(TABLE, "memory://tables/m.parquet")
    from projectome.io.stores import read_bytes

    arrow = pyarrow.parquet.read_table(io.BytesIO(read_bytes("memory://tables/m.parquet")))
    assert arrow.schema.metadata == {b"projectome": b"{}"}
