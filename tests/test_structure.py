"""Sizes, imports and docstrings of the source, so that it stays easy to live in."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from projectome import errors

SOURCE = Path(errors.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE = 480
LONGEST_FUNCTION = 90  # without its docstring
MOST_POSITIONAL = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text()) for path in FILES}


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield the dotted name and the definition of each function and method."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield f"{prefix}{node.name}", node
            yield from functions(node, f"{prefix}{node.name}.<inner>.")
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")


def names(*nodes: ast.AST) -> set[str]:
    """Return every name in some expressions."""
    inside = [part for node in nodes for part in ast.walk(node)]
    return {n.id if isinstance(n, ast.Name) else getattr(n, "attr", "") for n in inside}


def imports(name: str, tree: ast.Module) -> set[str]:
    """Return the modules of projectome that one imports, deferred and typing imports included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {i if i in MODULES else node.module for i in inner}
    return (found & MODULES.keys()) - {name}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_files_are_short(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_FILE, f"{lines} lines: split it by what it knows"


@pytest.mark.parametrize("name", MODULES)
def test_functions_are_short_and_take_few_positional_parameters(name):
    tree = MODULES[name]
    kernels = {"njit"}
    for node in (n for n in tree.body if isinstance(n, ast.Assign)):
        kernels |= names(*node.targets) if names(node.value) & kernels else set()
    for function, node in functions(tree):
        doc = ast.get_docstring(node, clean=False)
        lines = node.end_lineno - node.lineno + 1 - (len(doc.splitlines()) if doc else 0)
        assert lines <= LONGEST_FUNCTION, f"{name}.{function} has {lines} lines"
        taken = [a for a in node.args.posonlyargs + node.args.args if a.arg not in ("self", "cls")]
        private = any(part.startswith("_") for part in function.split("."))
        kernel = any(names(d) & kernels for d in node.decorator_list)  # numba takes no keywords
        if not (private or kernel or name.startswith("projectome.cli")):
            assert len(taken) <= MOST_POSITIONAL, f"{name}.{function}: make some keyword-only"


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name):
    tree = MODULES[name]
    assert ast.get_docstring(tree), f"{name} does not say what it is for"
    classes = [(node.name, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for public, node in (*functions(tree), *classes):
        if not any(part.startswith(("_", "<")) for part in public.split(".")):
            assert ast.get_docstring(node), f"{name}.{public} does not say what it does"


def test_no_module_imports_itself_by_a_detour():
    graph = {name: imports(name, tree) for name, tree in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(error.args[1]))
