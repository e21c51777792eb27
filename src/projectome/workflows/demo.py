"""The demonstration: a phantom brain is made, reconstructed, and scored against its truth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from projectome.datasets.phantom import make_phantom
from projectome.datasets.phantom_files import PhantomFolder, write_phantom
from projectome.io.points import read_points
from projectome.io.skeletons.swc import read_swc
from projectome.io.source import VolumeSource
from projectome.metrics.detection import DetectionScores, match_points
from projectome.metrics.trees import LengthScores, NeuronScore, length_scores, neuron_scores
from projectome.workflows.job import Job
from projectome.workflows.reconstruct import Recipe, reconstruct
from projectome.workflows.study import Study

SOMA_DISTANCE = 15.0
"""Farthest that a found soma may lie from the true one [um]; about a radius and a half."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How a reconstruction agrees with the truth.

    Attributes
    ----------
    distance_um
        Farthest that cable may lie apart to agree: two voxels [um].
    cable
        All traced cable against all true cable.
    somata
        Found against true somata, within 15 um.
    neurons
        One entry a true neuron.
    """

    distance_um: float
    cable: LengthScores
    somata: DetectionScores
    neurons: tuple[NeuronScore, ...]

    def document(self) -> dict[str, object]:
        """Return the scores as plain data."""
        somata = {
            name: getattr(self.somata, name)
            for name in ("precision", "recall", "f1", "mean_error_um")
        }
        return {
            "distance_um": self.distance_um,
            "cable": asdict(self.cable),
            "soma_distance_um": SOMA_DISTANCE,
            "somata": {k: None if np.isnan(v) else v for k, v in somata.items()},
            "neurons": len(self.neurons),
            "median_best_covered": float(np.median([n.best_covered for n in self.neurons])),
        }


def run_demo(folder: Path, *, size: str = "demo", seed: int = 0, job: Job) -> tuple[Study, Scores]:
    """Make a phantom, reconstruct it, and score the result.

    Parameters
    ----------
    folder
        Gets a folder ``phantom`` with image and truth, and a folder ``study``.
    size
        Preset of `projectome.datasets.phantom.PRESETS`.
    seed
        Which phantom.
    job
        Where and how to run.

    Returns
    -------
    study, scores
        What was written, and how it agrees with the truth.
    """
    with job.stage("phantom", 0, 0):
        phantom = make_phantom(size=size, seed=seed)
        place = write_phantom(phantom, folder / "phantom", overwrite=job.overwrite)
    study = reconstruct(VolumeSource(place.image), folder / "study", recipe=Recipe(), job=job)
    return study, score(study, place, distance_um=2 * phantom.voxel_size)


def score(study: Study, truth: PhantomFolder, *, distance_um: float) -> Scores:
    """Compare a study with the truth of its phantom.

    Parameters
    ----------
    study
        A finished study.
    truth
        The phantom it was made from.
    distance_um
        Farthest that cable may lie apart to agree [um].
    """
    traced = [read_swc(file).skeleton for file in study.swc_files()]
    true = truth.skeletons()
    found = read_points(study.somata)
    return Scores(
        distance_um,
        length_scores(true, traced, distance_um=distance_um),
        match_points(truth.somata().coordinates, found.coordinates, distance_um=SOMA_DISTANCE),
        tuple(neuron_scores(true, traced, distance_um=distance_um)),
    )
