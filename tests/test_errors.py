import ast
import copy
import inspect
import re
from pathlib import Path

import pytest

from projectome import errors
from projectome.errors import (
    AccessDeniedError,
    BlockFailedError,
    FormatError,
    MetadataError,
    MissingExtraError,
    NotFoundError,
    OutputExistsError,
    ParameterError,
    Problem,
    ProjectomeError,
    UnknownNameError,
    did_you_mean,
)

SOURCE = Path(errors.__file__).parent
CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Exception)]
EXAMPLES: dict[type, ProjectomeError] = {
    MetadataError: MetadataError("Cannot read x.", [Problem("error", ".zattrs", "no axes")]),
    UnknownNameError: UnknownNameError(
        "region", "RSPx", ["RSP", "TH"], where="toy", list_with="ls"
    ),
    MissingExtraError: MissingExtraError("Reading CZI", "pylibCZIrw", "microscope"),
}
BUILT_IN = {
    "ArithmeticError", "AssertionError", "BaseException", "EOFError", "Exception",
    "FileExistsError", "FileNotFoundError", "IOError", "ImportError", "IndexError", "KeyError",
    "LookupError", "MemoryError", "NotImplementedError", "OSError", "OverflowError",
    "PermissionError", "RuntimeError", "SystemError", "TimeoutError", "TypeError", "ValueError",
    "ZeroDivisionError",
}  # fmt: skip


def example(kind: type[ProjectomeError]) -> ProjectomeError:
    return EXAMPLES.get(kind) or kind("what, where and the way out")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_one_root_and_one_text(kind):
    error = example(kind)
    assert isinstance(error, ProjectomeError)
    assert str(error) == error.args[0] != ""
    problem = error.problem()
    assert problem["detail"] == str(error)
    assert problem["title"] == kind.__name__
    assert problem["type"] == f"urn:projectome:{kind.__name__}"
    assert 400 <= error.status < 600
    assert error.exit_code in (1, 2)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_come_home_from_worker_processes(kind):
    error = example(kind)
    error.add_note("in block (0, 0, 1)")
    twin = copy.deepcopy(error)  # by __reduce__, as pickling
    assert type(twin) is kind
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree():
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        if found := re.match(r"    ([│├└─ ]*)(\w+Error)\b", line):
            depth = len(found[1]) // 4
            path = [*path[:depth], found[2]]
            drawn[found[2]] = path[depth - 1] if depth else "Exception"
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES}


@pytest.mark.parametrize(
    ("kind", "built_in"),
    [
        (FormatError, ValueError),
        (MetadataError, ValueError),
        (ParameterError, ValueError),
        (UnknownNameError, KeyError),
        (NotFoundError, FileNotFoundError),
        (AccessDeniedError, PermissionError),
        (OutputExistsError, FileExistsError),
        (MissingExtraError, ImportError),
    ],
)
def test_errors_can_be_caught_as_what_python_users_expect(kind, built_in):
    assert issubclass(kind, built_in)


def test_wrong_calls_exit_with_2_and_failed_runs_with_1():
    assert {c.__name__ for c in CLASSES if c.exit_code == 2} == {
        "ParameterError",
        "UnknownNameError",
        "OutputExistsError",
        "MissingExtraError",
    }
    assert BlockFailedError.exit_code == 1


def test_metadata_errors_carry_every_problem_as_data():
    error = EXAMPLES[MetadataError]
    assert str(error) == "Cannot read x.\n  - error: .zattrs: no axes"
    assert error.problem()["problems"] == [
        {"severity": "error", "where": ".zattrs", "message": "no axes"}
    ]


def test_unknown_names_are_met_with_near_ones_or_all():
    assert str(EXAMPLES[UnknownNameError]) == (
        "Unknown region 'RSPx' in toy. Did you mean 'RSP'? List all with: ls"
    )
    assert str(UnknownNameError("level", "9", ["0", "1"])) == "Unknown level '9'. Known: '0', '1'."
    assert str(UnknownNameError("x", "q", map(str, range(99)))) == "Unknown x 'q'."
    assert did_you_mean("visp", ["VISp", "RSP"]) == ["VISp"]


def test_a_missing_extra_names_the_line_to_type():
    assert "pip install 'projectome[microscope]'" in str(EXAMPLES[MissingExtraError])


def modules() -> list[tuple[str, ast.Module]]:
    paths = [
        p for p in sorted(SOURCE.rglob("*.py")) if "testing" not in p.relative_to(SOURCE).parts
    ]
    return [(p.relative_to(SOURCE).as_posix(), ast.parse(p.read_text())) for p in paths]


def names_caught(node: ast.Try) -> set[str]:
    """Return the names of what the handlers of a try statement catch."""
    return {
        n.id for h in node.handlers if h.type for n in ast.walk(h.type) if isinstance(n, ast.Name)
    }


def is_abstract(function: ast.AST) -> bool:
    """Say whether a function does nothing but raise."""
    if not isinstance(function, ast.FunctionDef):
        return False
    body = [s for s in function.body if not isinstance(s, ast.Expr)]
    return len(body) == 1 and isinstance(body[0], ast.Raise)


def is_validator(function: ast.AST) -> bool:
    """Say whether pydantic calls a function, which takes a ValueError for an answer."""
    return isinstance(function, ast.FunctionDef) and any(
        isinstance(name, ast.Name) and name.id.endswith("_validator")
        for decorator in function.decorator_list
        for name in ast.walk(decorator)
    )


def is_private(node: ast.AST) -> bool:
    """Say whether only its own module calls a function or a class, and catches what it raises."""
    kinds = ast.FunctionDef | ast.ClassDef
    special = isinstance(node, kinds) and node.name.startswith("__")
    return isinstance(node, kinds) and node.name.startswith("_") and not special


def bare_raises(tree: ast.Module) -> list[tuple[int, str]]:
    """Return line and name of built-in errors that leave the module that raises them."""
    allowed: set[int] = set()
    for node in ast.walk(tree):
        if is_validator(node) or is_private(node):
            inside = [n for n in ast.walk(node) if isinstance(n, ast.Raise)]
            allowed |= {n.lineno for n in inside if is_private(node) or raised(n) == "ValueError"}
        if isinstance(node, ast.Try):
            caught = names_caught(node)
            for inner in (n for statement in node.body for n in ast.walk(statement)):
                if isinstance(inner, ast.Raise) and raised(inner) in caught:
                    allowed.add(inner.lineno)
        if is_abstract(node) and raised(node.body[-1]) == "NotImplementedError":
            allowed.add(node.body[-1].lineno)
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Raise) and n.lineno not in allowed]
    return [(n.lineno, raised(n)) for n in found if raised(n) in BUILT_IN]


def raised(node: ast.Raise) -> str:
    target = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return target.id if isinstance(target, ast.Name) else ""


def test_nothing_outside_the_tree_is_raised():
    """Only errors of the tree leave a module; a method that a subclass must write may say so."""
    found = {name: lines for name, tree in modules() if (lines := bare_raises(tree))}
    assert not found, f"raise an error of projectome.errors instead: {found}"


def test_other_modules_only_refine_errors_of_the_tree():
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and name != "errors.py":
                bases = {b.id for b in node.bases if isinstance(b, ast.Name)}
                if node.name.startswith("_"):
                    continue  # of its module alone
                assert not bases & BUILT_IN, f"{name}: {node.name} stands outside the tree"
