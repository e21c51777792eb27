import dataclasses

import numpy as np
import pytest
import toys

from projectome.engine.sinks import ArraySink, GraphSink
from projectome.engine.step import BlockStep
from projectome.testing.steps import ArrayFile, StepContract


class TestArrays(StepContract):
    def grid(self):
        return toys.grid(halo=(2, 2, 2), block=(11, 15, 13))

    def step(self, grid):
        return toys.Mean()

    def sink(self, folder, grid):
        return ArraySink(ArrayFile.create(folder, grid.domain.shape, np.int32))


class TestTables(StepContract):
    def grid(self):
        return toys.grid(halo=(1, 1, 1), block=(11, 15, 13))

    def step(self, grid):
        return toys.Peaks()

    def merged(self, sink):
        return sink.read().sort_values(["z", "y", "x"], ignore_index=True)


class TestGraphs(StepContract):
    def grid(self):
        return toys.grid(halo=(0, 0, 1), block=(11, 15, 13))

    def step(self, grid):
        return toys.Contacts()

    def sink(self, folder, grid):
        return GraphSink(str(folder))

    def merged(self, sink):
        graph = sink.read()
        order = np.lexsort((graph.edges[:, 1], graph.edges[:, 0]))
        return {"fragments": graph.fragments, "edges": graph.edges[order]}


@dataclasses.dataclass(frozen=True)
class Without(BlockStep):
    """Peaks that look at the core alone."""

    name = "without"
    seed: int = 1

    def __call__(self, block):
        return toys.Peaks(self.seed)(dataclasses.replace(block, read=block.core))


class TestPlantedDefects:
    """Each defect is found by the test that is meant for it."""

    def contract(self, step, **methods):
        methods = {"grid": lambda self: toys.grid(), "step": lambda self, grid: step, **methods}
        return type("Contract", (TestTables,), methods)()

    def test_a_missing_halo(self, tmp_path):
        with pytest.raises(AssertionError):
            self.contract(Without()).test_blocks_make_the_whole(tmp_path)

    def test_a_state(self, tmp_path):
        calls = []

        class Counting(Without):
            def __call__(self, block):
                calls.append(block)
                return {"n": [len(calls)]}

        with pytest.raises(AssertionError):
            self.contract(Counting()).test_order_and_repetition_change_nothing(tmp_path)

    def test_too_small_a_bound(self):
        class Greedy(Without):
            def __call__(self, block):
                return np.ones((2**22,))

        with pytest.raises(AssertionError, match="took 33"):
            self.contract(Greedy()).test_memory_is_an_upper_bound()

    def test_a_parameter_that_does_not_count(self):
        step = dataclasses.make_dataclass(
            "Sly",
            [("seed", int, dataclasses.field(default=1))],
            bases=(Without,),
            frozen=True,
            namespace={"__reduce__": lambda self: (Without, (1,))},
        )()
        with pytest.raises(AssertionError):
            self.contract(step).test_it_travels()
