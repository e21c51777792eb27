import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from projectome.errors import FormatError, NotFoundError, ParameterError
from projectome.io.tables import read_table, read_with_metadata, write_table

DATA = Path(os.environ.get("PROJECTOME_TEST_DATA") or Path(__file__).parents[3] / "shared/data")

TABLE = pd.DataFrame(
    {
        "id": np.array([1, 2, 2**63 + 1], np.uint64),
        "acronym": ["NA", "None", 'a,"b"'],
        "length_um": [0.1 + 0.2, np.nan, 1e-300],
        "left": [True, False, True],
    }
)


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


# --- bytes ---------------------------------------------------------------------------------------


def test_parquet_is_written_without_pandas_metadata():
    write_table(TABLE, "memory://tables/m.parquet")
    from projectome.io.stores import read_bytes

    arrow = pyarrow.parquet.read_table(io.BytesIO(read_bytes("memory://tables/m.parquet")))
    assert arrow.schema.metadata == {b"projectome": b"{}"}


def test_a_table_of_absurdly_many_rows(monkeypatch):
    write_table(TABLE, "memory://tables/many.parquet")
    monkeypatch.setattr("projectome.io.tables.MAX_CELLS", 11)
    with pytest.raises(FormatError, match="3 rows of 4 columns, more than is read"):
        read_table("memory://tables/many.parquet")
