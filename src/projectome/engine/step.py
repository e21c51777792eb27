"""What a block-wise step is, and the key under which its finished blocks are remembered.

A step is a frozen dataclass whose typed fields ARE its configuration. It is called with a `Block`
and returns what a sink can write. Written once, it runs in this process, in local processes, or
on a cluster, with the same bytes out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from projectome.core.box import Block, BlockGrid, Triple
from projectome.core.provenance import digest, plain, software_version
from projectome.errors import ParameterError


@runtime_checkable
class Step(Protocol):
    """Anything that turns a block into a result, and says what it needs for it.

    The call has to be a function of the block and of the fields alone: no state, no clock, no
    randomness without a seed from the fields. It may read `block.read` and owns `block.core`.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    def halo(self) -> Triple:
        """Return how many voxels it reads beyond the core on each side, (z, y, x)."""

    def memory(self, block: Block) -> int:
        """Return an upper bound of the memory that one call takes [bytes]."""

    def fingerprints(self) -> tuple[str, ...]:
        """Return what tells its inputs apart; it changes when an input changes."""

    def __call__(self, block: Block) -> Any:
        """Return the result of one block."""


@runtime_checkable
class Input(Protocol):
    """A value that stands for data elsewhere, for instance a `projectome.io.source.VolumeSource`.

    In a step it counts by its fingerprint and not by its address: a moved input stays the same.
    """

    def fingerprint(self) -> str:
        """Return a text that changes whenever what would be read changes."""


class BlockStep:
    """Base of steps: sensible answers for all but the work itself.

    Subclasses are frozen dataclasses; they set `name`, and override what they know better.

    Attributes
    ----------
    name
        Names the step in messages, ledgers and provenance.
    version
        Raised whenever the code gives other results for the same fields.
    bytes_per_voxel
        Peak memory of a call, per voxel read.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    bytes_per_voxel: ClassVar[int] = 16

    def halo(self) -> Triple:
        """Return how many voxels it reads beyond the core on each side: none."""
        return 0, 0, 0

    def memory(self, block: Block) -> int:
        """Return an upper bound of the memory that one call takes [bytes]."""
        return block.read.size * self.bytes_per_voxel

    def fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprints of all fields that stand for data, in the order of the fields."""
        return tuple(found.fingerprint() for _, found in _inputs(self))

    def __call__(self, block: Block) -> Any:
        """Return the result of one block."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it does to a block.")


def parameters(step: Step) -> dict[str, object]:
    """Return the configuration of a step as plain data.

    Returns
    -------
    dict
        Its fields by name, without those that stand for data and without those that do not take
        part in comparison.

    Raises
    ------
    ParameterError
        If it is no frozen dataclass, or if a field holds something that cannot be written down.
    """
    frozen = getattr(step, "__dataclass_params__", None)
    if frozen is None or not frozen.frozen:
        raise ParameterError(
            f"The step {type(step).__name__} is no frozen dataclass, so that its configuration "
            "cannot be recorded. Write @dataclass(frozen=True) above the class."
        )
    inputs = {name for name, _ in _inputs(step)}
    fields = dataclasses.fields(step)  # type: ignore[arg-type]
    values = {f.name: getattr(step, f.name) for f in fields if f.compare}
    return {name: plain(value) for name, value in values.items() if name not in inputs}


def _inputs(step: object) -> Iterator[tuple[str, Input]]:
    """Yield the fields that stand for data, also those inside sequences and mappings."""
    for field in dataclasses.fields(step):  # type: ignore[arg-type]
        value = getattr(step, field.name)
        items = value.values() if isinstance(value, Mapping) else value
        for item in items if isinstance(value, (tuple, list, Mapping)) else (value,):
            if isinstance(item, Input) and not isinstance(item, type):
                yield field.name, item


def describe(step: Step, grid: BlockGrid) -> dict[str, object]:
    """Return everything that decides what the blocks of a step hold, as plain data.

    Returns
    -------
    dict
        ``step``, ``version``, ``parameters``, ``inputs`` (fingerprints), ``grid`` and
        ``software``.
    """
    return {
        "step": step.name,
        "version": step.version,
        "parameters": parameters(step),
        "inputs": list(step.fingerprints()),
        "grid": plain(grid),
        "software": software_version(),
    }


def step_key(step: Step, grid: BlockGrid) -> str:
    """Return the key of a step on a grid: the hash of all that `describe` returns.

    Blocks that were finished under another key are never taken for finished.
    """
    return digest(describe(step, grid))
