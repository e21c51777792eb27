"""What a contest is made of: tasks, datasets, methods, and the environments that these run in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class Value(NamedTuple):
    """A figure, with the ends of its 95 % interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Case:
    """An input and what is true of it.

    Attributes
    ----------
    arrays, facts
        What methods get: arrays, and numbers that go with them.
    truth
        What they do not get.
    """

    arrays: Arrays
    facts: dict[str, Any]
    truth: Any


@dataclass(frozen=True)
class Dataset:
    """An input of a task.

    Attributes
    ----------
    name, task
        Unique together.
    what
        A sentence.
    make
        Returns the case; None where files that it needs are absent.
    seed
        Of what is drawn; None of real data.
    """

    name: str
    task: str
    what: str
    make: Callable[[], Case | None]
    seed: int | None = None


@dataclass(frozen=True)
class Figure:
    """A figure of a task.

    Attributes
    ----------
    name
        As in the table.
    high
        Whether more is better; None where neither is.
    digits
        Decimals shown.
    """

    name: str
    high: bool | None = True
    digits: int = 3


@dataclass(frozen=True)
class Task:
    """A question to methods.

    Attributes
    ----------
    name
        Short, for the command line.
    title, question
        For the page.
    given, wanted
        Arrays that a method gets, and those that it returns, by name.
    figures
        How answers are judged; the first one ranks.
    score
        From case and answer to the figures by name.
    remarks
        What one has to know to read the figures.
    """

    name: str
    title: str
    question: str
    given: Mapping[str, str]
    wanted: Mapping[str, str]
    figures: tuple[Figure, ...]
    score: Callable[[Case, Arrays], dict[str, Value]]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Environment:
    """A Python of its own for methods of others.

    Attributes
    ----------
    name
        Of its folder.
    packages
        What pip installs, in so many steps: words of the command line.
    shown
        Distributions whose versions are recorded; the first names the environment.
    note
        What is special about the installation.
    """

    name: str
    packages: tuple[tuple[str, ...], ...]
    shown: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Method:
    """Something that answers a task.

    Attributes
    ----------
    name, task
        Unique together.
    environment
        Name of an `Environment`; empty for the Python that runs the contest.
    file, function
        Where it is: a file in `contest/methods`, and a function of arrays and facts.
    what
        What is done, with the parameters that are not the defaults.
    only
        Datasets that it is made for; all if empty.
    """

    name: str
    task: str
    environment: str
    file: str
    function: str
    what: str
    only: tuple[str, ...] = field(default=())

    @property
    def ours(self) -> bool:
        """Whether it belongs to this project."""
        return self.name.startswith("projectome")


def shown_dtype(array: np.ndarray[Any, Any]) -> str:
    """Return shape and type of an array as text."""
    return f"{' x '.join(map(str, array.shape))} {array.dtype}"
