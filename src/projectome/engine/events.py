"""What a run tells while it goes on; for progress bars, the web application and the run log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from projectome.core.box import Block


@dataclass(frozen=True, slots=True)
class RunReport:
    """What came of a run.

    Attributes
    ----------
    total
        Blocks of the grid.
    done
        Blocks finished by this run.
    skipped
        Blocks that an earlier run had finished.
    failed
        Blocks given up after all retries.
    seconds
        How long it took.
    peak_rss
        Largest resident memory that any process that worked on it has ever had [bytes].
    """

    total: int
    done: int
    skipped: int
    failed: int
    seconds: float
    peak_rss: int


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run is about to work.

    Attributes
    ----------
    step
        Name of the step.
    total, skipped
        Blocks of the grid, and how many of them an earlier run finished.
    workers
        How many blocks are worked on at a time.
    """

    step: str
    total: int
    skipped: int
    workers: int


@dataclass(frozen=True, slots=True)
class BlockDone:
    """A block is written and marked.

    Attributes
    ----------
    step
        Name of the step.
    block
        Which one.
    seconds
        How long it took.
    """

    step: str
    block: Block
    seconds: float


@dataclass(frozen=True, slots=True)
class BlockFailed:
    """A block raised, or its worker was lost.

    Attributes
    ----------
    step
        Name of the step.
    block
        Which one.
    error
        Why.
    attempt
        How often it was tried, this time included.
    final
        Whether it is given up.
    """

    step: str
    block: Block
    error: Exception
    attempt: int
    final: bool


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run ended, with or without failed blocks.

    Attributes
    ----------
    step
        Name of the step.
    report
        The figures.
    """

    step: str
    report: RunReport


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A workflow begins one of its stages.

    Attributes
    ----------
    name
        Of the stage.
    number, count
        Which stage of how many, from 1.
    """

    name: str
    number: int
    count: int


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A workflow ended one of its stages.

    Attributes
    ----------
    name
        Of the stage.
    seconds
        How long it took.
    """

    name: str
    seconds: float


Event: TypeAlias = RunStarted | BlockDone | BlockFailed | RunFinished | StageStarted | StageFinished
OnEvent: TypeAlias = Callable[[Event], None]
