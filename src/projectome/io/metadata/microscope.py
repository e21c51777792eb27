"""What the file of a microscope says beyond geometry, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from projectome.core.volume import Pyramid
from projectome.io.metadata.ensp_values import is_moment

Place = tuple[str | int, ...]
BOUNDS: dict[str, tuple[float, float]] = {
    "magnification": (0.01, 1000),
    "numerical_aperture": (0.01, 2),
    "excitation_nm": (100, 3000),
    "emission_nm": (100, 3000),
}
"""Beyond these a number is not what its key says."""
LONGEST = 4096
INSTRUMENT = ("microscope", "objective", "magnification", "numerical_aperture", "immersion")
CHANNEL = ("dye", "excitation_nm", "emission_nm")


def microscope_facts(pyramid: Pyramid) -> dict[Place, Any]:
    """Return what a file says of microscope, channels and date, by place in the standard JSON.

    Readers put it into ``pyramid.metadata``: ``microscope``, ``objective``, ``magnification``,
    ``numerical_aperture``, ``immersion``, ``acquired`` (ISO 8601), and under ``channels`` one
    mapping a channel with ``name``, ``dye``, ``excitation_nm`` and ``emission_nm``. What cannot be
    meant is passed over.
    """
    told, facts = pyramid.metadata, dict[Place, Any]()
    for key in INSTRUMENT:
        if (value := _value(key, told.get(key))) is not None:
            facts["instrument", key] = value
    acquired = told.get("acquired")
    if isinstance(acquired, str) and is_moment(acquired):
        facts["image", "acquired"] = acquired
    names, channels = pyramid[0].channels, told.get("channels")
    if not isinstance(channels, (list, tuple)) or len(channels) > max(1, len(names)):
        return facts
    for number, channel in enumerate(channels):
        if not isinstance(channel, Mapping):
            continue
        for key in CHANNEL if names else ("name", *CHANNEL):
            if (value := _value(key, channel.get(key))) is not None:
                facts["image", "channels", number, key] = value
    return facts


def _value(key: str, value: object) -> str | float | None:
    if key in BOUNDS:
        low, high = BOUNDS[key]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        return None
    text = value.strip() if isinstance(value, str) else ""
    return text if 0 < len(text) <= LONGEST else None
