"""One value a region out of a table, whoever wrote it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from projectome.atlas.regions import BOTH, find_region
from projectome.core.atlas import LEFT, RIGHT, Atlas
from projectome.errors import FormatError, ParameterError
from projectome.io.tables import numeric

How = Literal["sum", "mean", "max"]
ID_COLUMNS = ("region_id", "id", "structure_id")
NAME_COLUMNS = ("acronym", "structure_name", "region", "name")


def region_values(
    table: pd.DataFrame,
    column: str,
    atlas: Atlas,
    *,
    how: How | None = None,
    sides: bool = False,
    where: str = "The table",
) -> tuple[dict[int, float], dict[int, float]]:
    """Return the values of a column by region id.

    Parameters
    ----------
    table
        With a column of ids (``region_id``), acronyms or names; perhaps with ``hemisphere`` (1
        left, 2 right, 3 both).
    column
        Of numbers.
    atlas
        Whose regions they are.
    how
        What several rows of one region (and hemisphere) give.
    sides
        Left and right apart, from the rows of 1 and 2; else from those of 3, or 0.
    where
        The table, for messages.

    Returns
    -------
    tuple of dict
        Of the left and the right; the same twice if not `sides`. Region 0 and NaN are left out.

    Raises
    ------
    FormatError
        If the table has no such columns.
    UnknownNameError
        If the atlas has no such region.
    ParameterError
        If several rows are about one region and `how` is None, or sides are not told.
    """
    if not len(table):
        raise FormatError(f"{where} has no rows: there is nothing to draw.")
    if column not in table:
        raise FormatError(
            f"{where} has no column {column!r}; it has {', '.join(map(str, table.columns))}."
        )
    key = next((name for name in (*ID_COLUMNS, *NAME_COLUMNS) if name in table), None)
    if key is None:
        raise FormatError(
            f"{where} does not name regions: it needs a column region_id or acronym, and has "
            f"{', '.join(map(str, table.columns))}."
        )
    rows = pd.DataFrame(
        {
            "region": _ids(table[key], key, atlas, where),
            "value": numeric(table[column], where),
            "side": table.get("hemisphere", pd.Series(BOTH, index=table.index)),
        }
    )
    rows = rows[(rows["region"] != 0) & rows["value"].notna()]
    if not sides:
        both = _by_region(rows[rows["side"].isin((0, BOTH))], how, where)
        return both, both
    left, right = (_by_region(rows[rows["side"] == s], how, where) for s in (LEFT, RIGHT))
    if not (left or right):
        raise ParameterError(
            f"{where} has no rows of hemisphere 1 (left) or 2 (right). Leave --sides out."
        )
    return left, right


def _ids(keys: pd.Series, name: str, atlas: Atlas, where: str) -> list[int]:
    """Return the region id of each row, 0 for outside."""
    if name in ID_COLUMNS:
        if keys.dtype.kind == "f" and not (keys == np.floor(keys)).all():
            raise FormatError(f"{where}: column {name!r} holds {keys.dtype}; ids are integers.")
        if keys.dtype.kind not in "iuf":
            raise FormatError(f"{where}: column {name!r} holds texts; ids are integers.")
        if keys.dtype.kind == "f" and keys.abs().max() > 2**53:
            raise FormatError(
                f"{where}: column {name!r} holds {keys.dtype}, which does not keep ids above 2^53."
            )
    tree = atlas.terminology
    known: dict[object, int] = {}
    for key in keys.unique():
        text = str(key).strip()
        if name in ID_COLUMNS:
            number = int(key)
            known[key] = number and int(tree.ids[find_region(tree, number, where=atlas.name)])
        else:
            empty = text in ("", "nan", "outside")
            row = -1 if empty else find_region(tree, text, where=atlas.name)
            known[key] = 0 if empty else int(tree.ids[row])
    return [known[key] for key in keys]


def _by_region(rows: pd.DataFrame, how: How | None, where: str) -> dict[int, float]:
    groups = rows.groupby("region")["value"]
    if how is None and len(rows) and int(groups.size().max()) > 1:
        raise ParameterError(
            f"{where} has {int(groups.size().max())} rows of region {groups.size().idxmax()} and "
            "one hemisphere. Say what to draw of them: --of sum, mean or max."
        )
    found = groups.agg(how or "max")
    return dict(zip(found.index.astype(int).tolist(), found.tolist(), strict=True))
