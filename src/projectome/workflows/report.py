"""The report of a study: one HTML file with everything inside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from projectome.errors import NotFoundError
from projectome.io.stores import atomic_write
from projectome.workflows.study import Study

ROWS = 40
STYLE = """
:root { color-scheme: dark; }
body { background: #101418; color: #e8ecf0; font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
       max-width: 1080px; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .6rem; }
.lead { color: #9fb0bf; margin: .2rem 0 1.5rem; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; }
.tile { background: #1a2129; border-radius: 8px; padding: .7rem 1rem; min-width: 7.5rem; }
.tile b { display: block; font-size: 1.4rem; color: #f2b134; }
.tile span { color: #9fb0bf; font-size: .85rem; }
figure { margin: 1rem 0; } figure img { width: 100%; border-radius: 8px; display: block; }
figcaption { color: #9fb0bf; font-size: .88rem; margin-top: .4rem; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #26303a; }
th:first-child, td:first-child { text-align: left; }
th { color: #9fb0bf; font-weight: 500; position: sticky; top: 0; background: #101418; }
.scroll { overflow-x: auto; } .warn { border-left: 3px solid #f2b134; padding-left: .8rem; }
code { background: #1a2129; border-radius: 4px; padding: .05rem .3rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; font-size: .88rem; }
dt { color: #9fb0bf; } dd { margin: 0; overflow-wrap: anywhere; }
"""
CAPTIONS = {
    "mip.png": "Maximum intensity projections along the three axes.",
    "traces.png": "Traces over the same projections, one colour a neuron or fragment; rings are "
    "somata. A projection shows neurons on top of one another: crossings here need not touch.",
    "neurons.png": "Neurons with a soma only.",
    "lengths.png": "Cable lengths, and the share of all cable that the longest hold.",
}


def write_report(study: Study) -> Path:
    """Write ``report.html`` from what lies in the study, and return its path.

    Parameters
    ----------
    study
        A study whose tables and figures are there.

    Raises
    ------
    NotFoundError
        If the study has no table of neurons yet.
    """
    document = study.read()
    if not study.neurons.exists():
        raise NotFoundError(
            f"{study.folder} has no neurons.parquet yet. Finish it: projectome reconstruct "
            f"{document['input']['url']} --out {study.folder}"
        )
    neurons = pd.read_parquet(study.neurons)
    somata = pd.read_parquet(study.somata)
    text = "".join(_page(study, document, neurons, somata))
    with atomic_write(study.report) as partial:
        partial.write_text(text, encoding="utf-8")
    return study.report


def _page(
    study: Study, document: Mapping[str, Any], neurons: pd.DataFrame, somata: pd.DataFrame
) -> Iterable[str]:
    name = html.escape(study.folder.name)
    volume = document["volume"]
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{name} · projectome</title>"
    yield "<meta name=viewport content='width=device-width, initial-scale=1'>"
    yield f"<style>{STYLE}</style><h1>{name}</h1>"
    yield f"<p class=lead>{html.escape(str(document['input']['url']))}</p>"
    owned = neurons[neurons["soma_id"] >= 0]
    cable = neurons["length_tissue_um"]
    yield _tiles(
        {
            "neurons with soma": f"{len(owned):,}",
            "fragments": f"{len(neurons) - len(owned):,}",
            "mm of cable (tissue)": f"{cable.sum() / 1000:,.1f}",
            "mm in neurons": f"{owned['length_tissue_um'].sum() / 1000:,.1f}",
            "somata": f"{len(somata):,}",
            "volume (mm, z × y × x)": " × ".join(
                f"{n * s / 1000:.2g}"
                for n, s in zip(volume["shape"], volume["voxel_size_um"], strict=True)
            ),
        }
    )
    yield from _said(document)
    yield "<h2>Image and traces</h2>"
    for file, caption in CAPTIONS.items():
        path = study.figures / file
        if path.exists():
            data = base64.b64encode(path.read_bytes()).decode()
            yield f"<figure><img alt='{caption}' src='data:image/png;base64,{data}'>"
            yield f"<figcaption>{caption}</figcaption></figure>"
    yield from _tables(neurons, somata)
    yield "<h2>Parameters</h2>"
    for section in ("volume", *(k for k in document if k not in ("volume", "format", "noise"))):
        if isinstance(document[section], Mapping):
            yield f"<h3>{html.escape(section)}</h3>{_listing(document[section])}"


def _said(document: Mapping[str, Any]) -> Iterable[str]:
    """Show what the user said and what was doubtful in the file."""
    said = document["input"].get("said", {})
    problems = document["input"].get("problems", [])
    space = document["volume"]
    lines = [
        f"Stated by the user, not by the file: {key.replace('_', ' ')} = {value}"
        for key, value in said.items()
    ]
    lines += problems
    if "?" in space["orientation"]:
        lines.append("The anatomical orientation is not known: left and right are not named.")
    if space["expansion"] != 1:
        lines.append(
            f"Expanded {space['expansion']:g} times: coordinates are micrometres of gel, lengths "
            "named tissue are divided by it."
        )
    if lines:
        yield "<h2>Taken as given</h2>"
        yield from (f"<p class=warn>{html.escape(str(line))}</p>" for line in lines)


def _tables(neurons: pd.DataFrame, somata: pd.DataFrame) -> Iterable[str]:
    columns = ["id", "soma_id", "length_tissue_um", "length_um", "ends", "branches", "nodes"]
    if (neurons["length_um"] == neurons["length_tissue_um"]).all():
        columns.remove("length_um")
    ranked = neurons.sort_values(["length_um", "id"], ascending=[False, True])
    yield f"<h2>Longest {min(ROWS, len(ranked))} of {len(ranked):,} neurons and fragments</h2>"
    yield _table(ranked.head(ROWS), [c for c in columns if c in ranked])
    counts = ranked.assign(
        kind=(ranked["soma_id"] >= 0).map({True: "neuron with soma", False: "fragment"})
    ).groupby("kind")["length_tissue_um"]
    summary = counts.agg(["count", "sum", "median", "max"]).reset_index()
    summary.columns = pd.Index(
        ["kind", "count", "all_tissue_um", "median_tissue_um", "longest_tissue_um"]
    )
    yield "<h2>Counts and lengths</h2>"
    yield _table(summary, list(summary.columns))
    if len(somata):
        best = somata.sort_values("score", ascending=False) if "score" in somata else somata
        first = "Best" if "score" in somata else "First"
        yield f"<h2>{first} {min(ROWS, len(somata))} of {len(somata):,} somata</h2>"
        shown = [c for c in ("id", "z_um", "y_um", "x_um", "radius_um", "score") if c in somata]
        yield _table(best.head(ROWS), shown)


def _tiles(values: Mapping[str, str]) -> str:
    tiles = (
        f"<div class=tile><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>"
        for name, value in values.items()
    )
    return f"<div class=tiles>{''.join(tiles)}</div>"


def _table(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    head = "".join(f"<th>{html.escape(_heading(name))}</th>" for name in columns)
    rows = (
        "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>"
        for row in frame[list(columns)].itertuples(index=False)
    )
    return f"<div class=scroll><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def _heading(column: str) -> str:
    """Return the name of a column for people: ``length_tissue_um`` is length [µm of tissue]."""
    name, tissue, _ = column.partition("_tissue_um")
    unit = " [µm of tissue]" if tissue else " [µm]" * column.endswith("_um")
    return name.removesuffix("_um").removesuffix("_id").replace("_", " ") + unit


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
    if value == -1:  # no soma
        return "–"
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))


def _listing(section: Mapping[str, Any]) -> str:
    items = (
        f"<dt>{html.escape(str(key))}</dt><dd><code>{html.escape(str(value))}</code></dd>"
        for key, value in section.items()
    )
    return f"<dl>{''.join(items)}</dl>"
