"""A run to be killed: python kill_me.py FOLDER EXECUTOR OUTPUT; says "go" when it is to begin."""

import signal
import sys
from pathlib import Path

import toys

from projectome.engine.run import run

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which jobs in the background ignore
    folder, executor, output = Path(sys.argv[1]), *sys.argv[2:]
    step = toys.Written(str(folder / "diary"), seconds=0.003, output=output)
    grid = toys.grid(block=(6, 6, 6))
    sink = step.sink(folder / "out")
    print("go", flush=True)
    run(step, grid, sink=sink, ledger=str(folder / "ledger"), executor=executor, workers=2)
    print("done", flush=True)
