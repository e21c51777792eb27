"""What this project does, by its public functions and with its defaults."""

import tempfile
from pathlib import Path

import numpy as np

from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.core.volume import Volume
from projectome.detection.blobs import find_blobs, merge_candidates
from projectome.engine.grid import worker_count
from projectome.filters.tubeness import multiscale_tubeness
from projectome.imaging.normalise import estimate_normalisation, sample_boxes
from projectome.io.skeletons.swc import read_swc
from projectome.io.source import VolumeSource
from projectome.io.volumes.write import write_volume
from projectome.segmentation.noise import measure_noise
from projectome.segmentation.steps import sigmas_of
from projectome.tracing.path import minimal_path
from projectome.tracing.skeletonise import teasar
from projectome.workflows.job import Job
from projectome.workflows.recipe import CONTRAST, NOISE_SAMPLES
from projectome.workflows.reconstruct import reconstruct


def tubeness(arrays, facts):
    """Mean of the two strong curvatures, the largest over scales."""
    sigmas = sigmas_of(facts["sigmas_um"], facts["voxel_size_um"])
    return {"score": multiscale_tubeness(arrays["image"], sigmas, threads=worker_count())}


def probability(arrays, facts):
    """The same relative to the noise around."""
    threads = worker_count()
    volume = Volume.from_array(arrays["image"], voxel_size=facts["voxel_size_um"])
    sigmas = sigmas_of(facts["sigmas_um"], facts["voxel_size_um"])
    boxes = sample_boxes(volume, an_axis=NOISE_SAMPLES)
    noise = measure_noise(volume, sigmas, boxes, threads=threads)
    response = multiscale_tubeness(arrays["image"], sigmas, threads=threads)
    return {"score": response / (response + CONTRAST * noise.at(volume.box))}


def somata(arrays, facts, **options):
    """Bright balls, one a cell."""
    voxel = facts["voxel_size_um"]
    volume = Volume.from_array(arrays["image"], voxel_size=voxel)
    grey = estimate_normalisation(volume)
    values = (arrays["image"].astype(np.float32) - grey.background) / grey.scale
    found = find_blobs(
        values, voxel, radius_um=tuple(facts["radius_um"]), threads=worker_count(), **options
    )
    points = Points(found.coordinates * voxel, Space("contest"), found.columns)
    return {"points": merge_candidates(points).coordinates}


def crowded_somata(arrays, facts):
    """The same with what the documentation says for crowded cells."""
    return somata(arrays, facts, threshold=0.3, min_contrast=0.0, min_roundness=0.0)


def skeletons(arrays, facts):
    """TEASAR of all labels; clears 1.5 radii and two voxels."""
    voxel = facts["voxel_size_um"]
    found = teasar(
        arrays["labels"],
        voxel_size=voxel,
        scale=1.5,
        constant_um=2 * float(np.prod(voxel)) ** (1 / 3),
        threads=worker_count(),
    )
    return joined([(nodes, edges) for nodes, edges, _ in found.values()])


def joined(graphs):
    """Return nodes and edges of several graphs as those of one."""
    sizes = [len(nodes) for nodes, _ in graphs]
    starts = np.cumsum(sizes) - sizes
    nodes = [np.empty((0, 3)), *(nodes for nodes, _ in graphs)]
    edges = [np.empty((0, 2), np.int64)]
    edges += [edges_ + start for (_, edges_), start in zip(graphs, starts, strict=True)]
    return {"nodes": np.concatenate(nodes), "edges": np.concatenate(edges)}


def paths(arrays, facts):
    """Bidirectional search that reads what it needs."""
    found = [
        minimal_path(arrays["costs"], a, b, voxel_size=facts["voxel_size_um"]).voxels
        for a, b in arrays["pairs"]
    ]
    return {"voxels": np.concatenate(found), "counts": [len(v) for v in found]}


def trees(arrays, facts):
    """The main job as the command line runs it, from a file to SWC, figures and report."""
    with tempfile.TemporaryDirectory() as folder:
        url = str(Path(folder) / "image.ome.zarr")
        volume = Volume.from_array(arrays["image"], voxel_size=facts["voxel_size_um"])
        write_volume(volume, url)
        study = reconstruct(VolumeSource(url), Path(folder) / "study", job=Job())
        traced: list[Skeleton] = [read_swc(path).skeleton for path in study.swc_files()]
    return joined([(s.coordinates, s.edges) for s in traced])
