from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest
import toys

from projectome.core.box import Box
from projectome.engine import step as module
from projectome.engine.step import BlockStep, Input, Step, describe, parameters, step_key
from projectome.errors import ParameterError


@dataclass(frozen=True)
class Source:
    url: str
    content: str

    def fingerprint(self):
        return f"sha:{self.content}"


@dataclass(frozen=True)
class Sum(BlockStep):
    name: ClassVar[str] = "sum"

    image: Source
    masks: tuple[Source, ...] = ()
    scales: tuple[float, ...] = (1.0, 2.0)
    label: str = field(default="", compare=False)


STEP = Sum(Source("/here", "abc"), (Source("/there", "m"),))
GRID = toys.grid()


def test_defaults():
    block = GRID[0, 0, 0]
    assert isinstance(STEP, Step)
    assert isinstance(STEP.image, Input)
    assert STEP.halo() == (0, 0, 0)
    assert STEP.memory(block) == 16 * 8**3
    assert STEP.fingerprints() == ("sha:abc", "sha:m")
    with pytest.raises(NotImplementedError, match="Sum"):
        STEP(block)


def test_parameters_are_the_fields_that_decide():
    assert parameters(STEP) == {"scales": [1.0, 2.0]}
    assert describe(STEP, GRID)["inputs"] == ["sha:abc", "sha:m"]


def test_only_frozen_dataclasses_have_parameters():
    class Loose(BlockStep):
        name = "loose"

    with pytest.raises(ParameterError, match=r"@dataclass\(frozen=True\)"):
        parameters(Loose())


def test_what_cannot_be_written_down_is_refused():
    with pytest.raises(ParameterError, match="plain finite values"):
        parameters(replace(STEP, scales=(float("nan"),)))


def test_key_changes_with_everything_that_decides(monkeypatch):
    class Newer(Sum):
        version = 2

    keys = {
        step_key(STEP, GRID),
        step_key(replace(STEP, scales=(1.0,)), GRID),
        step_key(replace(STEP, image=Source("/here", "abd")), GRID),
        step_key(replace(STEP, masks=()), GRID),
        step_key(STEP, toys.grid(halo=(1, 0, 0))),
        step_key(STEP, toys.grid(block=(8, 8, 4))),
        step_key(STEP, replace(GRID, domain=Box.from_shape((22, 30, 25)))),
        step_key(Newer(STEP.image, STEP.masks), GRID),
    }
    monkeypatch.setattr(module, "software_version", lambda: "99")
    keys.add(step_key(STEP, GRID))
    assert len(keys) == 9


def test_key_does_not_change_with_what_does_not_decide():
    moved = replace(STEP, image=Source("/elsewhere", "abc"), label="mine")
    assert step_key(moved, GRID) == step_key(STEP, GRID)
