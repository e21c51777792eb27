"""Verbs about the installation: bench, config, cache, version."""

from __future__ import annotations

import contextlib
import platform
import runpy
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from projectome.cli.console import answer, note, table
from projectome.cli.options import TalkOptions, verb
from projectome.core.provenance import software_version
from projectome.errors import NotFoundError, ParameterError, UnknownNameError
from projectome.settings import format_bytes, resolve, settings_file, store

app = typer.Typer(rich_markup_mode=None)
RESTS_ON = ("numpy", "numba", "tensorstore", "obstore", "bioimage-cpp", "tifffile", "pyarrow")
MEANING = {
    "workers": "one a core",
    "memory": "three quarters of what is free",
    "disk_cache": "none",
}
"""What 0 stands for."""
SIZES = ("memory", "disk_cache")
CACHES = ("logs", "chunks")
"""Folders of ours in the cache."""


@verb(app, "version")
def version_(talk: TalkOptions) -> None:
    """Print the versions of projectome, Python and the libraries that decide results."""
    found = {"projectome": software_version(), "python": platform.python_version()}
    for name in RESTS_ON:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    answer(talk, found, "\n".join(f"{name:14}{text}" for name, text in found.items()))


@verb(app)
def config(
    talk: TalkOptions,
    action: Annotated[
        str, typer.Argument(metavar="show|set", help="Show all, or set one.", show_default=False)
    ] = "show",
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="Which one; show lists them.")
    ] = None,
    value: Annotated[str | None, typer.Argument(metavar="VALUE", help="Its new value.")] = None,
) -> None:
    """Show what holds on this machine and where it comes from, or set it for this user."""
    if action not in ("show", "set"):
        raise UnknownNameError("action", action, ("show", "set"))
    if action == "set":
        if key is None or value is None:
            raise ParameterError("Give a key and a value: projectome config set memory 8GB")
        path = store(key, value)
        note(talk, f"{key} = {value} written to {path}")
    settings, sources = resolve()
    document: dict[str, Any] = {
        name: {"value": getattr(settings, name), "source": where} for name, where in sources.items()
    }
    rows = [(name, _shown(name, getattr(settings, name)), sources[name]) for name in sources]
    answer(
        talk,
        {**document, "file": settings_file()},
        table(("setting", "value", "from"), rows) + f"\n\nkept in {settings_file()}",
    )


def _shown(name: str, value: object) -> str:
    """Return the value of a setting for people."""
    if value == 0 and name in MEANING:
        return MEANING[name]
    return format_bytes(float(str(value))) if name in SIZES else str(value) or "-"


@verb(app)
def cache(
    talk: TalkOptions,
    action: Annotated[
        str, typer.Argument(metavar="info|clear", help="Look, or drop it.", show_default=False)
    ] = "info",
) -> None:
    """Say what is kept for later and how large it is, or drop it."""
    if action not in ("info", "clear"):
        raise UnknownNameError("action", action, ("info", "clear"))
    folder = resolve()[0].cache
    kept: dict[str, dict[str, int]] = {}
    for name in CACHES:
        files = [path for path in (folder / name).rglob("*") if path.is_file()]
        kept[name] = {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}
        if action == "clear":
            shutil.rmtree(folder / name, ignore_errors=True)
    rows = [(name, f"{n['files']:,}", format_bytes(n["bytes"])) for name, n in kept.items()]
    done = "removed from" if action == "clear" else "in"
    text = f"{table(('kept', 'files', 'size'), rows)}\n\n{done} {folder}"
    answer(talk, {"folder": folder, "action": action, **kept}, text)


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


@verb(app)
def bench(
    talk: TalkOptions,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One benchmark; all if left out.")
    ] = None,
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
        # A script prints its table; with --json the document alone goes to standard output.
        with contextlib.redirect_stdout(sys.stderr) if talk.json else contextlib.nullcontext():
            results[chosen] = runpy.run_path(str(folder / f"{chosen}.py"))["main"]([])
    answer(talk, results)
