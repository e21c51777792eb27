"""Types of the public names, for editors and type checkers."""

from projectome.atlas.contents import count_points as count_points
from projectome.atlas.contents import measure_image as measure_image
from projectome.atlas.labels import open_labels as open_labels
from projectome.atlas.lengths import measure_lengths as measure_lengths
from projectome.atlas.lookup import region_at as region_at
from projectome.atlas.regions import region_table as region_table
from projectome.core.affine import Affine as Affine
from projectome.core.atlas import Atlas as Atlas
from projectome.core.atlas import Terminology as Terminology
from projectome.core.box import Block as Block
from projectome.core.box import BlockGrid as BlockGrid
from projectome.core.box import Box as Box
from projectome.core.codes import Codes as Codes
from projectome.core.points import Points as Points
from projectome.core.region_graph import RegionGraph as RegionGraph
from projectome.core.skeleton import Skeleton as Skeleton
from projectome.core.space import Space as Space
from projectome.core.transform import Transform as Transform
from projectome.core.volume import Pyramid as Pyramid
from projectome.core.volume import Volume as Volume
from projectome.datasets.find import find as find
from projectome.datasets.phantom import Phantom as Phantom
from projectome.datasets.phantom import make_phantom as make_phantom
from projectome.datasets.phantom_barcodes import make_barcoded_neuropil as make_barcoded_neuropil
from projectome.datasets.phantom_brain import make_whole_brain as make_whole_brain
from projectome.datasets.phantom_brainbow import make_brainbow as make_brainbow
from projectome.datasets.phantom_field import make_axon_field as make_axon_field
from projectome.datasets.phantom_files import write_phantom as write_phantom
from projectome.datasets.phantom_layouts import write_specimen as write_specimen
from projectome.engine.run import run as run
from projectome.errors import ProjectomeError as ProjectomeError
from projectome.filters.tubeness import tubeness as tubeness
from projectome.imaging.projection import mip as mip
from projectome.imaging.projection import profile as profile
from projectome.io.metadata.aind import read_asset as read_asset
from projectome.io.metadata.ensp import read_metadata as read_metadata
from projectome.io.metadata.ensp import write_metadata as write_metadata
from projectome.io.open import open_volume as open_volume
from projectome.io.points.read import read_points as read_points
from projectome.io.points.read import write_points as write_points
from projectome.io.skeletons.read import read_skeletons as read_skeletons
from projectome.io.skeletons.swc import read_swc as read_swc
from projectome.io.skeletons.swc import write_swc as write_swc
from projectome.io.skeletons.write import write_skeletons as write_skeletons
from projectome.io.source import VolumeSource as VolumeSource
from projectome.io.stores import list_folder as list_folder
from projectome.io.volumes.write import create_volume as create_volume
from projectome.io.volumes.write import write_volume as write_volume
from projectome.morphology.measure import measure as measure
from projectome.tracing.path import minimal_path as minimal_path
from projectome.tracing.path import trace_path as trace_path
from projectome.workflows.atlas import open_atlas as open_atlas
from projectome.workflows.convert import convert as convert
from projectome.workflows.describe import describe as describe
from projectome.workflows.download import download as download
from projectome.workflows.evaluate import evaluate as evaluate
from projectome.workflows.job import Job as Job
from projectome.workflows.reconstruct import Recipe as Recipe
from projectome.workflows.reconstruct import reconstruct as reconstruct
from projectome.workflows.report import write_report as write_report
from projectome.workflows.study import Study as Study

__version__: str

__all__ = [
    "Affine",
    "Atlas",
    "Block",
    "BlockGrid",
    "Box",
    "Codes",
    "Job",
    "Phantom",
    "Points",
    "ProjectomeError",
    "Pyramid",
    "Recipe",
    "RegionGraph",
    "Skeleton",
    "Space",
    "Study",
    "Terminology",
    "Transform",
    "Volume",
    "VolumeSource",
    "convert",
    "count_points",
    "create_volume",
    "describe",
    "download",
    "evaluate",
    "find",
    "list_folder",
    "make_axon_field",
    "make_barcoded_neuropil",
    "make_brainbow",
    "make_phantom",
    "make_whole_brain",
    "measure",
    "measure_image",
    "measure_lengths",
    "minimal_path",
    "mip",
    "open_atlas",
    "open_labels",
    "open_volume",
    "profile",
    "read_asset",
    "read_metadata",
    "read_points",
    "read_skeletons",
    "read_swc",
    "reconstruct",
    "region_at",
    "region_table",
    "run",
    "trace_path",
    "tubeness",
    "write_metadata",
    "write_phantom",
    "write_points",
    "write_report",
    "write_skeletons",
    "write_specimen",
    "write_swc",
    "write_volume",
]
