"""Where a verb writes: refused before any work if something is there or the name is no good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from projectome.errors import OutputExistsError, ParameterError
from projectome.io.volumes.options import UNFINISHED


def work_folder(out: Path) -> Path:
    """Return the folder beside an output that holds marks and intermediate results."""
    return out.with_name(f".{out.name}.work")


def check_free(out: Path, overwrite: bool, endings: Sequence[str] = ()) -> None:
    """Refuse an output that exists already, or whose ending is not that of its format.

    A volume that is not finished yet is no obstacle: the same command goes on with it.

    Raises
    ------
    OutputExistsError
        With the way out.
    ParameterError
        If the name has another ending.
    """
    if endings and not out.name.lower().endswith(tuple(endings)):
        raise ParameterError(f"{out} has to end in {' or '.join(endings)}.")
    if out.exists() and not overwrite and not (out / UNFINISHED).exists():
        raise OutputExistsError(f"{out} exists. Choose another output, or add --overwrite.")
