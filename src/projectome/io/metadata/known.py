"""What the catalog of datasets knows of volumes and skeletons, and their files do not say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from projectome.core.volume import Pyramid
from projectome.errors import DataError, ParameterError, Problem
from projectome.io.records import Dataset, Expansion, place_of


def with_catalog(pyramid: Pyramid, url: str, *, expansion_said: bool = False) -> Pyramid:
    """Return a volume with what the catalog knows of the dataset that it lies in.

    Only gaps are filled: names of channels where all of them are numbers, and the expansion where
    neither the user, nor the file, nor the metadata beside it state one.

    Parameters
    ----------
    pyramid
        As its file, the metadata beside it and the user describe it.
    url
        Its address.
    expansion_said
        Whether the user states the expansion.

    Returns
    -------
    Pyramid
        With ``metadata["catalog"]``: the dataset, and what was taken from its record with the
        source that it names. An expansion is a problem too, whether it was taken or not.
    """
    try:
        found = place_of(url)
    except (DataError, ParameterError) as error:
        problem = Problem("warning", "catalog", f"No record of a dataset was used: {error}")
        return replace(pyramid, problems=(*pyramid.problems, problem))
    if found is None:
        return pyramid
    record, place = found
    taken: dict[str, Any] = {"dataset": record.name}
    pyramid = _named(pyramid, record, place, taken)
    if not expansion_said:
        pyramid = _expanded(pyramid, record, taken)
    return replace(pyramid, metadata={**pyramid.metadata, "catalog": taken})


def _named(pyramid: Pyramid, record: Dataset, place: str, taken: dict[str, Any]) -> Pyramid:
    """Name the channels of a volume whose files do not."""
    count = len(pyramid[0].channels)
    known = next((table for table in record.channel_names if table.covers(place)), None)
    if known is None or pyramid[0].channels != tuple(f"channel {i}" for i in range(count)):
        return pyramid
    if len(known.names) != count:
        text = (
            f"The catalog on {record.name} names {len(known.names)} channels, the volume has "
            f"{count}: none is named."
        )
        problem = Problem("warning", "channels", text)
        return replace(pyramid, problems=(*pyramid.problems, problem))
    taken["channels"] = {"source": known.source}
    levels = tuple(replace(level, channels=known.names) for level in pyramid)
    return replace(pyramid, levels=levels)


def _expanded(pyramid: Pyramid, record: Dataset, taken: dict[str, Any]) -> Pyramid:
    """Take the expansion of the dataset, or say what is known of it."""
    told = any("expansion" in problem.where.lower() for problem in pyramid.problems)
    known = record.expansion
    if told or known is None or known.factor == 1 or pyramid.space.expansion != 1:
        return pyramid
    levels = pyramid.levels
    if known.factor is None:
        text = (
            "No file states it: micrometres are those of the specimen as it lies. The catalog on "
            f"{record.name}: {known.source}. For micrometres of tissue: --expansion X."
        )
    else:
        text = _taken(record, known)
        taken["expansion"] = {"factor": known.factor, "source": known.source}
        space = replace(pyramid.space, expansion=known.factor)
        levels = tuple(level.with_space(space) for level in levels)
    problem = Problem("warning", "expansion", text)
    return replace(pyramid, levels=levels, problems=(*pyramid.problems, problem))


def _taken(record: Dataset, known: Expansion) -> str:
    return (
        f"No file states it: {known.factor:g} is taken from the catalog on {record.name} "
        f"({known.source}). State another with --expansion, 1 for none."
    )


def known_expansion(url: str) -> tuple[float, str] | None:
    """Return the expansion that the catalog knows of a dataset, for what no file states.

    Parameters
    ----------
    url
        Address of something in the dataset.

    Returns
    -------
    tuple or None
        The factor, and a sentence on where it is from; None where there is none, or it is 1.
    """
    try:
        found = place_of(url)
    except (DataError, ParameterError):  # a broken record of the user, which volumes tell of
        found = None
    known = None if found is None else found[0].expansion
    if found is None or known is None or known.factor is None or known.factor == 1:
        return None
    return known.factor, _taken(found[0], known)
