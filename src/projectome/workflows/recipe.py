"""What a reconstruction does: what the user decides, and what follows from the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from projectome.core.points import Points
from projectome.core.provenance import Record, digest, plain
from projectome.detection.steps import DetectSomata
from projectome.engine.grid import worker_count
from projectome.errors import FormatError, NotFoundError, UnknownNameError
from projectome.imaging.normalise import Normalisation, estimate_normalisation, sample_boxes
from projectome.io.points import read_points
from projectome.io.source import VolumeSource
from projectome.segmentation.noise import NoiseMap, measure_noise
from projectome.segmentation.steps import NeuriteProbability, sigmas_of
from projectome.workflows.segment import Labelling
from projectome.workflows.study import ADDRESSES, Study, as_plain, differences
from projectome.workflows.trace import Tracing

NOISE_SAMPLES = 6
"""Boxes along each axis in which noise is measured."""
CONTRAST = 18.0
"""Tube response that gives a probability of one half, in levels of noise."""
UNIFORM = NoiseMap(((0.0,), (0.0,), (0.0,)), (1.0,))
"""Stands for the noise until it is measured."""


@dataclass(frozen=True)
class Recipe:
    """What the user decides of a reconstruction; the rest follows from the image.

    Attributes
    ----------
    detect
        Fields of `DetectSomata`.
    segment
        Fields of `NeuriteProbability` and `Labelling`.
    trace
        Fields of `Tracing`.
    seeds
        Table of somata to use instead of detecting them.
    """

    detect: Mapping[str, Any] = field(default_factory=dict)
    segment: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, Any] = field(default_factory=dict)
    seeds: str | None = None


@dataclass(frozen=True)
class Resolved:
    """A recipe with everything decided.

    Attributes
    ----------
    source
        The image.
    normalisation
        Its background and scale.
    detection, probability
        The steps of these names.
    labelling, tracing
        Parameters of these stages.
    seeds
        Table of somata to use.
    """

    source: VolumeSource
    normalisation: Normalisation
    detection: DetectSomata
    probability: NeuriteProbability
    labelling: Labelling
    tracing: Tracing
    seeds: str | None = None

    def document(self) -> dict[str, Any]:
        """Return what study.toml holds."""
        volume = self.source.open()
        space = volume.space
        seeds = None
        if self.seeds is not None:
            seeds = {"url": self.seeds, "fingerprint": seeds_record(self.read_seeds()).key}
        return {
            "input": describe_input(self.source),
            "volume": {
                "shape": volume.shape,
                "voxel_size_um": volume.voxel_size,
                "translation_um": volume.affine.translation,
                "space": space.name,
                "orientation": space.code(meaning="toward"),
                "orientation_meaning": "toward",
                "expansion": space.expansion,
            },
            "normalise": plain(self.normalisation),
            "detect": {**chosen(self.detection), "seeds": seeds},
            "segment": {**chosen(self.probability), **chosen(self.labelling)},
            "noise": plain(self.probability.noise),
            "trace": plain(self.tracing),
        }

    def read_seeds(self) -> Points:
        """Return the somata given.

        Raises
        ------
        FormatError
            If they have no radii, or their ids are not different numbers of 0 or more.
        """
        assert self.seeds is not None
        somata = read_points(self.seeds, space=self.source.open().space)
        if "radius_um" not in somata.columns:
            raise FormatError(
                f"The somata in {self.seeds} have no radii. Add a column radius_um [um]."
            )
        if "id" not in somata.columns:
            somata = somata.with_columns(id=np.arange(1, len(somata) + 1))
        ids, radii = np.asarray(somata["id"]), np.asarray(somata["radius_um"], dtype=float)
        if ids.dtype.kind not in "iu" or len(np.unique(ids)) < len(ids) or ids.min(initial=0) < 0:
            raise FormatError(
                f"The ids of the somata in {self.seeds} are not different whole numbers of 0 or "
                "more. Number them anew, or leave the column id out."
            )
        if not (radii > 0).all() or not np.isfinite(radii).all():
            raise FormatError(f"A soma in {self.seeds} has no positive radius. Correct radius_um.")
        return somata


def describe_input(source: VolumeSource) -> dict[str, Any]:
    """Return what study.toml says of the image."""
    pyramid = source.pyramid()
    return {
        "url": source.url,
        "level": source.level,
        "channel": source.channel,
        "fingerprint": source.fingerprint(),
        "said": dict(pyramid.metadata.get("user", {})),  # type: ignore[call-overload]
        "problems": [str(problem) for problem in pyramid.problems],
    }


def chosen(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name, without what is measured."""
    names = [item.name for item in fields(value)]
    measured = ("image", "background", "scale", "noise")
    return {name: getattr(value, name) for name in names if name not in measured}


def check_names(given: Iterable[str], known: Iterable[str], stage: str) -> None:
    """Refuse parameters that there are not.

    Raises
    ------
    UnknownNameError
        Naming the stage, and what is near.
    """
    names = list(known)
    for name in sorted(set(given) - set(names)):
        raise UnknownNameError(f"parameter of the stage {stage!r}", name, names)


def resolve_recipe(source: VolumeSource, recipe: Recipe, *, study: Study | None = None) -> Resolved:
    """Decide everything that a recipe leaves open, from a sample of the image.

    Parameters
    ----------
    source
        The image.
    recipe
        What the user decides.
    study
        Where an earlier run may have written what it measured in the same image.

    Returns
    -------
    Resolved
        The same for the same image and recipe.

    Raises
    ------
    DataError
        If the image is constant where it was sampled.
    UnknownNameError
        If a field does not exist.
    """
    volume = source.open()
    given = dict(recipe.segment)
    labelling = {f.name: given.pop(f.name) for f in fields(Labelling) if f.name in given}
    check_names(given, ("neurite_um", "contrast", *(f.name for f in fields(Labelling))), "segment")
    neurite_um = tuple(map(float, given.pop("neurite_um", ())))
    contrast = given.pop("contrast", CONTRAST)
    blank = NeuriteProbability(source, UNIFORM, contrast, neurite_um)
    check_names(recipe.detect, chosen(DetectSomata(source, 0, 1)), "detect")
    # Expansion makes somata larger, too.
    usual = {"radius_um": [r * volume.space.expansion for r in DetectSomata.radius_um]}
    detection = DetectSomata(source, 0, 1, **{**usual, **recipe.detect})
    check_names(recipe.trace, (f.name for f in fields(Tracing)), "trace")
    labels, tracing = Labelling(**labelling), Tracing(**recipe.trace).resolved(volume.voxel_size)
    grey, noise = remembered(study, source, blank) or (
        estimate_normalisation(volume),
        measure_noise(
            volume,
            sigmas_of(blank.neurite_um, volume.voxel_size),
            sample_boxes(volume, an_axis=NOISE_SAMPLES),
            threads=worker_count(),
        ),
    )
    return Resolved(
        source,
        grey,
        replace(detection, background=grey.background, scale=grey.scale),
        replace(blank, noise=noise),
        labels,
        tracing,
        recipe.seeds,
    )


def remembered(
    study: Study | None, source: VolumeSource, step: NeuriteProbability
) -> tuple[Normalisation, NoiseMap] | None:
    """Return what an earlier run measured in the same image; None if it cannot be had."""
    try:
        told = study.read() if study is not None else {}
    except (NotFoundError, FormatError):
        return None
    now = {"input": describe_input(source), "segment": {"neurite_um": step.neurite_um}}
    then = {
        "input": told.get("input", {}),
        "segment": {"neurite_um": told.get("segment", {}).get("neurite_um")},
    }
    if differences(then, as_plain(now)) - ADDRESSES or not {"normalise", "noise"} <= told.keys():
        return None
    z, y, x = map(tuple, told["noise"]["centres"])
    return Normalisation(**told["normalise"]), NoiseMap((z, y, x), tuple(told["noise"]["levels"]))


def seeds_record(somata: Points) -> Record:
    """Return the record of somata that were given."""
    values = {name: values.tolist() for name, values in somata.columns.items()}
    return Record("seeds/1", {}, {"somata": digest([somata.coordinates, values])})
