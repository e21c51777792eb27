"""A run to be killed: python kill_me.py FOLDER EXECUTOR; says "go" when it is about to begin."""

import sys
from pathlib import Path

import toys

from projectome.engine.run import run

if __name__ == "__main__":
    folder, executor = Path(sys.argv[1]), sys.argv[2]
    step = toys.Written(str(folder / "diary"), seconds=0.003)
    grid = toys.grid(block=(6, 6, 6))
    sink = toys.both(folder / "out")
    print("go", flush=True)
    run(step, grid, sink=sink, ledger=str(folder / "ledger"), executor=executor, workers=2)
    print("done", flush=True)
