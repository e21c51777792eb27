"""Run the tutorials; as a script, write their output and pictures into the documentation."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

spec = importlib.util.spec_from_file_location("pages", Path(__file__).with_name("pages.py"))
pages = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = pages
spec.loader.exec_module(pages)

PAGES = sorted(p for p in (pages.ROOT / "docs/tutorials").glob("*.md") if p.stem != "index")
IMAGES = pages.ROOT / "docs" / "images" / "tutorials"
DATASETS = ("aind-open-data", "pasteur-exaspim", "e11-prism", "mayo-ensp")
ZOOM = 2
"""Replicas that tests look at are too coarse for pictures."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve replicas of the buckets over S3; give the address of the server."""
    import hadro

    from projectome.testing.replica import make_replica

    for dataset in DATASETS:
        make_replica(folder, dataset, zoom=ZOOM)
    with hadro.Server(data=str(folder), region="us-east-1") as server:
        yield server.endpoint


def settings_of(folder: Path, endpoint: str) -> dict[str, str]:
    """Return the environment in which the pages run: the real buckets are asked of `endpoint`."""
    own = pages.environment(folder)
    names = ("XDG_CONFIG_HOME", "PROJECTOME_CONFIG", "PROJECTOME_CACHE")
    return {**{name: own[name] for name in names}, "PROJECTOME_ENDPOINT": endpoint}


def outputs(text: str) -> dict[int, pages.Block]:
    """Return blocks of output by the line of the block that runs right above."""
    found, lines = {}, text.splitlines()
    every = pages.blocks(text)
    for above, below in itertools.pairwise(every):
        end = above.line + above.code.count("\n") + 1
        between = lines[end : below.line - 1]
        if above.language in pages.RUN and below.language == "text" and not any(between):
            found[above.line] = below
    return found


def pictures(text: str) -> list[str]:
    """Return the names of the pictures of a page."""
    return re.findall(r"!\[[^]]+\]\(\.\./images/tutorials/([\w.-]+)\)", text)


def same(shown: str, said: str) -> bool:
    """Return whether a page shows what was said; ``...`` stands for any lines."""
    wanted = [line.rstrip() for line in shown.strip("\n").splitlines()]
    lines = "".join(line.rstrip() + "\n" for line in said.strip("\n").splitlines())
    parts = (r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n" for line in wanted)
    return re.fullmatch("".join(parts), lines) is not None


def plain(said: str, folder: Path) -> str:
    """Return what was said without the folder in which the page runs."""
    return said.replace(f"{folder}/", "")


def refresh(page: Path, endpoint: str) -> None:
    """Run a page; write the output of its blocks into it, and keep its pictures."""
    text = page.read_text(encoding="utf-8")
    shown = outputs(text)
    lines = text.splitlines()
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder = Path(name)
        os.environ.update(settings_of(folder, endpoint))
        said = {block.line: plain(out, folder) for block, out in pages.run_page(page, folder)}
        for picture in pictures(text):
            shutil.copy(folder / picture, IMAGES / picture)
    for line, block in sorted(shown.items(), reverse=True):
        if not same(block.code, said[line]):
            out = [part.rstrip() for part in said[line].strip("\n").splitlines()]
            lines[block.line : lines.index("```", block.line)] = out
            print(f"{page.name}:{block.line} is written anew")
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    chosen = [page for page in PAGES if page.stem in sys.argv[1:]] or PAGES
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as buckets, serve(Path(buckets)) as address:
        for tutorial in chosen:
            refresh(tutorial, address)
