"""Tables: parquet and CSV.

The same table gives the same bytes: no times, no index, one way to write a number.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from projectome.core.provenance import plain
from projectome.errors import FormatError, ParameterError
from projectome.io.access import Access
from projectome.io.stores import read_bytes, write_bytes

MAX_BYTES = 2**31
"""Size of the largest table that is read [bytes]."""
MAX_CELLS = 2**30
"""Most values in a table: a small file can stand for very many equal ones."""
KEY = b"projectome"
"""Name under which a parquet file keeps what projectome has to say about it."""
# Before 3.1, pandas rounded the last digit of numbers unless told otherwise.
NEW_PANDAS = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
EXACT: dict[str, Any] = {} if NEW_PANDAS else {"float_precision": "round_trip"}


def write_table(
    table: pd.DataFrame,
    url: str | Path,
    *,
    metadata: Mapping[str, object] | None = None,
    access: Access | None = None,
) -> None:
    """Write a table as parquet or CSV, by the ending of its name.

    Parameters
    ----------
    table
        Columns with texts for names. The index is not written.
    url
        Path or address ending in ``.parquet`` or ``.csv``; replaced in one step.
    metadata
        Plain data kept in the file; parquet only.
    access
        How to ask the store; by the settings if None.

    Raises
    ------
    ParameterError
        If the ending is another, a column has no text for a name or the name of another, or
        metadata should go into CSV.
    """
    ending = ending_of(url)
    names = list(table.columns)
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise ParameterError(f"The columns of a table need different texts for names, not {names}.")
    if ending == ".csv":
        if metadata:
            raise ParameterError(f"CSV cannot keep metadata; write {url} as .parquet.")
        text = table.to_csv(index=False, lineterminator="\n")
        write_bytes(str(url), text.encode(), access=access)
        return
    arrow = pyarrow.Table.from_pandas(table, preserve_index=False)
    note = json.dumps(plain(metadata or {}), sort_keys=True).encode()
    target = io.BytesIO()
    pyarrow.parquet.write_table(
        arrow.replace_schema_metadata({KEY: note}), target, compression="zstd"
    )
    write_bytes(str(url), target.getvalue(), access=access)


def read_table(url: str | Path, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table from parquet or CSV, by the ending of its name.

    Parameters
    ----------
    url
        Path or address ending in ``.parquet`` or ``.csv``.
    columns
        Which to read; all by default.

    Returns
    -------
    pandas.DataFrame
        With a plain index.

    Raises
    ------
    FormatError
        If the file is not what its ending says, or lacks one of the columns.
    NotFoundError
        If there is no such file.
    """
    return read_with_metadata(url, columns=columns)[0]


def read_with_metadata(
    url: str | Path, *, columns: Sequence[str] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table and the metadata written with it; none where another program wrote it.

    Raises
    ------
    FormatError
        As `read_table`.
    """
    data = read_bytes(str(url), limit=MAX_BYTES)
    table, metadata = parse_table(data, ending_of(url), where=str(url))
    missing = [name for name in columns or () if name not in table.columns]
    if missing:
        raise FormatError(
            f"{url} has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, table.columns))}."
        )
    return (table if columns is None else table[list(columns)]), metadata


def parse_table(data: bytes, ending: str, *, where: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the table that a file holds, and the metadata written with it.

    Parameters
    ----------
    data
        The content.
    ending
        ``.csv`` or ``.parquet``.
    where
        Where it came from, for messages.

    Raises
    ------
    FormatError
        If it is not what the ending says.
    """
    metadata: dict[str, Any] = {}
    try:
        if ending == ".csv":
            # Texts such as NA and None are texts: regions have such names.
            table = pd.read_csv(
                io.BytesIO(data),
                encoding="utf-8-sig",
                keep_default_na=False,
                na_values=["", "nan", "NaN"],
                **EXACT,
            )
        else:
            table, metadata = _parquet(data, where)
    except FormatError:
        raise
    # pyarrow has no one root of its errors: broken pages are an OSError, broken schemas others.
    except (pyarrow.ArrowException, ValueError, OSError, LookupError, TypeError) as error:
        raise FormatError(
            f"{where} is not a {ending[1:]} table: {error}. Check the file, or name it by what it "
            "is."
        ) from None
    return table, metadata


def _parquet(data: bytes, where: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    about = pyarrow.parquet.read_metadata(io.BytesIO(data))
    if about.num_rows * about.num_columns > MAX_CELLS:
        raise FormatError(
            f"{where} says that it has {about.num_rows} rows of {about.num_columns} columns, more "
            "than is read. Check the file, or split it."
        )
    arrow = pyarrow.parquet.read_table(io.BytesIO(data))
    found = json.loads((arrow.schema.metadata or {}).get(KEY, b"{}"))
    return arrow.to_pandas(), found if isinstance(found, dict) else {}


def ending_of(url: str | Path) -> str:
    """Return ``.parquet`` or ``.csv``.

    Raises
    ------
    ParameterError
        If the name ends otherwise.
    """
    ending = PurePosixPath(str(url)).suffix.lower()
    if ending not in (".parquet", ".csv"):
        raise ParameterError(f"A table is named .parquet or .csv, not {str(url)!r}.")
    return ending


def numeric(series: pd.Series[Any], where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a column as float64.

    Raises
    ------
    FormatError
        If it holds something else.
    """
    try:
        return np.asarray(series, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{where}: column {series.name!r} is not all numbers: {error}.") from None


def column(series: pd.Series[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return a column as numpy has it: texts as objects."""
    return series.to_numpy() if series.dtype.kind in "biuf" else series.to_numpy(dtype=object)
