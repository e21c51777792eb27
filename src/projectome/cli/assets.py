"""The facts of a data asset, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from projectome.cli.console import table

SHOWN = 6
"""Channels that get a row; --json has all."""


def asset_table(facts: Mapping[str, Any]) -> str:
    """Return the facts that matter of ``metadata["asset"]``, each with the document that states it.

    Parameters
    ----------
    facts
        As `projectome.io.metadata.beside.with_asset` leaves them.
    """
    subject, description = facts["subject"], facts["description"]
    rows = [
        ("subject", subject["id"]),
        ("species", subject["species"]),
        ("genotype", subject["genotype"]),
        ("recorded", facts["started"]),
        ("microscope", facts["instrument"]["id"]),
        ("voxel size [um]", facts["voxel_size_um"]),
        ("expansion", facts["expansion"]),
        ("licence", description["licence"]),
        ("schema", facts["schema"]),
    ]
    taken = facts["taken"].get("toward")
    for axis in facts["axes"]:
        label = f"axis {axis['name']['value'] if axis['name'] else '?'} toward"
        rows.append((label if taken else f"{label} (not taken)", axis["toward"]))
    rows += [
        (f"channel {channel['name']['value']} [nm]", channel["excitation_nm"])
        for channel in facts["channels"][:SHOWN]
    ]
    shown = [
        (_clean(name), _clean(_text(stated["value"])), f"{stated['source']}: {stated['key']}")
        for name, stated in rows
        if stated is not None
    ]
    return f"asset        {facts['url']}\n\n" + table(("fact", "value", "stated in"), shown)


def _text(value: object) -> str:
    if isinstance(value, list):
        return " x ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _clean(text: str) -> str:
    """Return a text of a file without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
