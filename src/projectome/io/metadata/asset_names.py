"""Names of data assets: who was imaged, when, and what was done with the images since.

The names follow the patterns of the Allen Institute for Neural Dynamics, ``PLATFORM_SUBJECT_TIME``
of a recording and ``RECORDING_STEP_TIME`` of what was made from it, and the ways in which real
names leave them: a date without a time, several steps in a row, a step without a time, no platform.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

LONGEST = 512
STAMP = re.compile(
    r"_(\d{4}-\d{2}-\d{2})(?:[_T](\d{2})-?(\d{2})-?(\d{2}))?(?=_|$)", re.IGNORECASE | re.ASCII
)
"""A date, and mostly a time: ``_2023-08-23_14-58-20`` or ``_2022-02-21T163001``."""


@dataclass(frozen=True, slots=True)
class AssetName:
    """The name of a data asset, taken apart.

    Attributes
    ----------
    platform
        Microscope or kind of recording as written, for instance ``"exaSPIM"``; its case differs
        from asset to asset. None where the name has none.
    subject
        Animal, for instance ``"652506"``.
    acquired
        When it was recorded, ``"2023-08-23T14:58:20"`` or ``"2023-08-23"``; no time zone is stated.
    steps
        What was done since, in this order, each with its time or None:
        ``(("fusion", "2023-09-18"),)``. Empty for a recording.
    recording
        Name of the recording itself, without the steps.
    """

    platform: str | None
    subject: str
    acquired: str
    steps: tuple[tuple[str, str | None], ...]
    recording: str

    @property
    def is_derived(self) -> bool:
        """Whether it was made from a recording."""
        return bool(self.steps)


def parse_asset_name(name: str) -> AssetName | None:
    """Take the name of a data asset apart.

    Parameters
    ----------
    name
        Without the folder above it.

    Returns
    -------
    AssetName or None
        None if the name does not say who was imaged and when. A subject holds a digit, unless the
        platform before it ends in ``spim``.

    Examples
    --------
    >>> parse_asset_name("exaSPIM_516429_2023-08-23_14-58-20_fusion_2023-09-18").steps
    (('fusion', '2023-09-18'),)
    >>> parse_asset_name("SmartSPIM_652506_2023-01-06_17-24-02").subject
    '652506'
    """
    text = name.strip("/")
    stamps = list(STAMP.finditer(text)) if len(text) <= LONGEST else []
    times = [_time(*stamp.groups()) for stamp in stamps]
    if not stamps or None in times:
        return None
    head = text[: stamps[0].start()]
    platform, mark, subject = head.partition("_")
    if not mark:
        platform, subject = "", head
    known = re.search(r"\d", subject) or platform.lower().endswith("spim")
    if not subject or not known or "/" in text:
        return None
    ends = [*(stamp.start() for stamp in stamps[1:]), len(text)]
    names = [text[s.end() : end].strip("_") for s, end in zip(stamps, ends, strict=True)]
    if not all(names[:-1]):
        return None
    steps = zip(names, [*times[1:], None], strict=True)
    return AssetName(
        platform=platform or None,
        subject=subject,
        acquired=times[0] or "",
        steps=tuple((step, time) for step, time in steps if step),
        recording=text[: stamps[0].end()],
    )


def _time(date: str, *clock: str | None) -> str | None:
    """Return an ISO 8601 time, or None for one that the calendar does not have."""
    iso = date + "T" + ":".join(map(str, clock)) if clock[0] else date
    try:
        datetime.fromisoformat(iso)
    except ValueError:
        return None
    return iso
