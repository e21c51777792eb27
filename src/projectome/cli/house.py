"""Verbs about the installation: bench, config, cache, version."""

from __future__ import annotations

import platform
import runpy
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from projectome.cli.console import answer, note, table
from projectome.cli.options import TalkOptions, flatten
from projectome.core.provenance import software_version
from projectome.errors import NotFoundError, ParameterError, UnknownNameError
from projectome.settings import format_bytes, resolve, settings_file, store

app = typer.Typer()
RESTS_ON = ("numpy", "numba", "tensorstore", "obstore", "bioimage-cpp", "tifffile", "pyarrow")


@app.command(name="version")
@flatten
def version_(talk: TalkOptions) -> None:
    """Print the versions of projectome, Python and the libraries that decide results."""
    found = {"projectome": software_version(), "python": platform.python_version()}
    for name in RESTS_ON:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    answer(talk, found, "\n".join(f"{name:14}{text}" for name, text in found.items()))


@app.command()
@flatten
def config(
    talk: TalkOptions,
    action: Annotated[str, typer.Argument(help="show, or set KEY VALUE.")] = "show",
    key: Annotated[str | None, typer.Argument()] = None,
    value: Annotated[str | None, typer.Argument()] = None,
) -> None:
    """Show what holds on this machine and where it comes from, or set it for this user."""
    if action == "set":
        if key is None or value is None:
            raise ParameterError("Give a key and a value: projectome config set memory 8GB")
        path = store(key, value)
        note(talk, f"{key} = {value} written to {path}")
    elif action != "show":
        raise UnknownNameError("action", action, ("show", "set"))
    settings, sources = resolve()
    rows = [(name, str(getattr(settings, name)), where) for name, where in sources.items()]
    document: dict[str, Any] = {
        name: {"value": text, "source": where} for name, text, where in rows
    }
    document["file"] = str(settings_file())
    answer(talk, document, table("Settings", ("setting", "value", "from"), rows))


@app.command()
@flatten
def cache(
    talk: TalkOptions,
    action: Annotated[str, typer.Argument(help="info or clear.")] = "info",
) -> None:
    """Say what is kept for later and how large it is, or drop it."""
    if action not in ("info", "clear"):
        raise UnknownNameError("action", action, ("info", "clear"))
    folder = resolve()[0].cache
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    size = sum(path.stat().st_size for path in files)
    if action == "clear" and folder.exists():
        shutil.rmtree(folder)
    verb = "removed from" if action == "clear" else "in"
    document = {"folder": str(folder), "files": len(files), "bytes": size, "action": action}
    answer(talk, document, f"{len(files)} files, {format_bytes(size)}, {verb} {folder}")


def bench_folder() -> Path:
    """Return the folder of the benchmark scripts, which live in the source tree.

    Raises
    ------
    NotFoundError
        If projectome was installed without its sources.
    """
    folder = Path(__file__).resolve().parents[3] / "bench"
    if not folder.is_dir():
        raise NotFoundError(
            "The benchmarks are part of the source tree, not of the installed package. Get the "
            "sources, then: make bench"
        )
    return folder


@app.command()
@flatten
def bench(
    talk: TalkOptions,
    name: Annotated[str | None, typer.Argument(help="One benchmark; all if left out.")] = None,
) -> None:
    """Measure speed and memory beside other tools, as ratios in one run."""
    folder = bench_folder()
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    if name is not None and name not in known:
        raise UnknownNameError("benchmark", name, known)
    results: dict[str, Any] = {}
    sys.path.insert(0, str(folder))
    for chosen in [name] if name else known:
        note(talk, f"{chosen}: running")
        results[chosen] = runpy.run_path(str(folder / f"{chosen}.py"))["main"]([])
    answer(talk, results)
