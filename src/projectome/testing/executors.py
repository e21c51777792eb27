"""What every executor has to do, as tests to subclass."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import ClassVar

import pytest

from projectome.engine.executors import Executor
from projectome.errors import ParameterError, WorkerLostError


class StubbornError(Exception):
    """An exception that cannot be pickled, nor made from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")
        self.handle = lambda: None


def square(task: int) -> int:
    """Return the square, late for some so that the order changes."""
    time.sleep(0.002 * (task % 3))
    return task * task


def fail_on_odd(task: int) -> int:
    """Fail in different ways."""
    if task % 4 == 1:
        raise ValueError(f"odd: {task}")
    if task % 4 == 3:
        raise StubbornError("this", str(task))
    return task


def refuse(task: int) -> object:
    """Return something that cannot travel."""
    return lambda: task


def die_on_seven(task: int) -> int:
    """Kill the process that works on task 7."""
    if task == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


class ExecutorContract:
    """What every executor has to do.

    Subclass it with a name that pytest collects, and give an `executor` fixture.

    Attributes
    ----------
    remote
        Whether tasks leave this process.
    ahead
        How many tasks it may take before it needs them.
    """

    remote: ClassVar[bool] = True
    ahead: ClassVar[int] = 16

    def test_is_an_executor(self, executor: Executor) -> None:
        """It has the members of the protocol."""
        assert isinstance(executor, Executor)
        assert executor.workers >= 1

    def test_every_task_comes_back_once(self, executor: Executor) -> None:
        """No task is lost, none comes twice, each has its own result."""
        assert sorted(executor.map(square, range(50))) == [(n, n * n) for n in range(50)]

    def test_nothing_to_do(self, executor: Executor) -> None:
        """No tasks, no results."""
        assert list(executor.map(square, [])) == []

    def test_it_can_be_used_again(self, executor: Executor) -> None:
        """Another function takes the place of the last one."""
        assert dict(executor.map(square, [2, 3])) == {2: 4, 3: 9}
        assert dict(executor.map(fail_on_odd, [2, 4])) == {2: 2, 4: 4}

    def test_exceptions_are_values(self, executor: Executor) -> None:
        """A failure keeps its type and text, and does not end the others."""
        results = dict(executor.map(fail_on_odd, range(8)))
        assert [results[n] for n in (0, 2, 4, 6)] == [0, 2, 4, 6]
        assert type(results[1]) is ValueError
        assert str(results[5]) == "odd: 5"

    def test_unpicklable_exceptions_survive(self, executor: Executor) -> None:
        """What cannot be pickled comes home in words."""
        error = dict(executor.map(fail_on_odd, [3]))[3]
        assert isinstance(error, Exception)
        assert "this and 3" in str(error)

    def test_unpicklable_results_are_failures(self, executor: Executor) -> None:
        """They do not end the others."""
        if not self.remote:
            pytest.skip("nothing travels")
        assert isinstance(dict(executor.map(refuse, [1, 2]))[2], Exception)

    def test_unpicklable_functions_are_refused(self, executor: Executor) -> None:
        """The message names the way out."""
        if not self.remote:
            pytest.skip("nothing travels")
        with pytest.raises(ParameterError, match="top level of a module"):
            list(executor.map(lambda task: task, [1]))

    def test_tasks_are_taken_as_they_are_needed(self, executor: Executor) -> None:
        """A million tasks take no more memory than a few."""
        taken = 0

        def tasks() -> Iterator[int]:
            nonlocal taken
            while taken < 200:
                taken += 1
                yield taken

        for returned, _ in enumerate(executor.map(square, tasks()), start=1):
            assert taken - returned <= self.ahead
        assert taken == 200

    def test_stopping_in_the_middle(self, executor: Executor) -> None:
        """What is under way is given up; the executor stays usable."""
        results = executor.map(square, range(100))
        next(results)
        results.close()
        assert dict(executor.map(square, [5])) == {5: 25}

    def test_a_lost_worker_costs_its_own_task(self, executor: Executor) -> None:
        """The others come back; the error says what happened and what to do."""
        if not self.remote:
            pytest.skip("the worker is this process")
        results = dict(executor.map(die_on_seven, range(20)))
        assert sorted(results) == list(range(20))
        lost = results.pop(7)
        assert isinstance(lost, WorkerLostError)
        assert "memory" in str(lost)
        assert all(results[n] == n for n in results)
