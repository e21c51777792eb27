"""The public names: all there, sorted, the same in the stub, and imported only when used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import projectome


def test_every_name_can_be_had():
    for name in projectome.__all__:
        value = getattr(projectome, name)
        assert value.__doc__, f"{name} has no docstring"
        assert value.__name__ == name
    assert projectome.__version__.count(".") >= 2
    assert set(projectome.__all__) <= set(dir(projectome))


def test_the_stub_names_the_same():
    stub = ast.parse(Path(projectome.__file__).with_suffix(".pyi").read_text())
    names = [a.asname for n in ast.walk(stub) if isinstance(n, ast.ImportFrom) for a in n.names]
    assert sorted(names) == projectome.__all__


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'tracify'"):
        _ = projectome.tracify


def test_importing_costs_nothing():
    code = "import sys, projectome; print(sorted({'numpy', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
