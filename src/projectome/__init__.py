"""projectome: from the address of a brain volume to neurons and their projections.

The names below are the public face; each is imported when it is first used, so that
``import projectome`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

from projectome.core import adapters

_WHERE = {
    "Affine": "core.affine",
    "Atlas": "core.atlas",
    "Block": "core.box",
    "BlockGrid": "core.box",
    "Box": "core.box",
    "Codes": "core.codes",
    "Job": "workflows.job",
    "Phantom": "datasets.phantom",
    "Points": "core.points",
    "ProjectomeError": "errors",
    "Pyramid": "core.volume",
    "Recipe": "workflows.reconstruct",
    "RegionGraph": "core.region_graph",
    "Skeleton": "core.skeleton",
    "Space": "core.space",
    "Study": "workflows.study",
    "Terminology": "core.atlas",
    "Transform": "core.transform",
    "Volume": "core.volume",
    "VolumeSource": "io.source",
    "convert": "workflows.convert",
    "count_points": "atlas.contents",
    "create_volume": "io.volumes.write",
    "download": "workflows.download",
    "find": "datasets.find",
    "describe": "workflows.describe",
    "evaluate": "workflows.evaluate",
    "list_folder": "io.stores",
    "make_axon_field": "datasets.phantom_field",
    "make_barcoded_neuropil": "datasets.phantom_barcodes",
    "make_brainbow": "datasets.phantom_brainbow",
    "make_phantom": "datasets.phantom",
    "make_whole_brain": "datasets.phantom_brain",
    "measure": "morphology.measure",
    "measure_image": "atlas.contents",
    "measure_lengths": "atlas.lengths",
    "minimal_path": "tracing.path",
    "mip": "imaging.projection",
    "open_atlas": "workflows.atlas",
    "open_labels": "atlas.labels",
    "open_volume": "io.open",
    "profile": "imaging.projection",
    "read_asset": "io.metadata.aind",
    "read_metadata": "io.metadata.ensp",
    "read_points": "io.points.read",
    "read_skeletons": "io.skeletons.read",
    "read_swc": "io.skeletons.swc",
    "reconstruct": "workflows.reconstruct",
    "region_at": "atlas.lookup",
    "region_table": "atlas.regions",
    "run": "engine.run",
    "trace_path": "tracing.path",
    "tubeness": "filters.tubeness",
    "write_metadata": "io.metadata.ensp",
    "write_phantom": "datasets.phantom_files",
    "write_points": "io.points.read",
    "write_report": "workflows.report",
    "write_skeletons": "io.skeletons.write",
    "write_specimen": "datasets.phantom_layouts",
    "write_swc": "io.skeletons.swc",
    "write_volume": "io.volumes.write",
}

__all__ = sorted(_WHERE)

adapters.register(
    array="projectome.io.ecosystem:to_numpy",
    dask="projectome.io.ecosystem:to_dask",
    xarray="projectome.io.ecosystem:to_xarray",
    html="projectome.io.notebook:to_html",
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("projectome.core.provenance").software_version()
    if name not in _WHERE:
        raise AttributeError(f"module 'projectome' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"projectome.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
