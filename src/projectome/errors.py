"""All errors that projectome raises, one tree with one root.

::

    ProjectomeError
    ├── DataError                   the input is not what it should be
    │   ├── FormatError             not a known format, or broken inside (also a ValueError)
    │   ├── MetadataError           carries every problem found, as data (also a ValueError)
    │   ├── OrientationUnknownError an anatomical direction is needed and not stated
    │   ├── SpaceMismatchError      coordinates of two different spaces meet
    │   └── ShapeError              shapes or sizes do not fit together (also a ValueError)
    ├── StoreError                  a file or object store did not answer as hoped
    │   ├── NotFoundError           nothing at that address (also a FileNotFoundError)
    │   ├── AccessDeniedError       the store refuses (also a PermissionError)
    │   ├── StorageFullError        no space left where the output goes
    │   └── TransferError           broken on the way; worth another try
    ├── ParameterError              a call with wrong parameters (also a ValueError); exit status 2
    │   └── UnknownNameError        no such name; suggests near ones (also a KeyError)
    ├── RunError                    a block-wise run failed
    │   ├── BlockFailedError        some blocks failed; the others are kept
    │   ├── WorkerLostError         the process that worked on a block died
    │   ├── MemoryBudgetError       the job cannot fit into the memory given
    │   ├── OutputExistsError       the output holds something else (exit status 2)
    │   ├── OutputBusyError         another run writes to the same output
    │   └── CancelledError          stopped by the user; says how to resume
    └── MissingExtraError           an optional dependency is not installed (also an ImportError)

Every message says what, the value, where, and the way out. ``exit_code`` is what the command
line returns and ``problem()`` what the web application answers: one text serves all faces.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal


class ProjectomeError(Exception):
    """Root of every error that projectome raises on purpose."""

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500

    def problem(self) -> dict[str, object]:
        """Return the error as an RFC 9457 problem document.

        Returns
        -------
        dict
            Keys ``type``, ``title``, ``status`` and ``detail``.
        """
        name = type(self).__name__
        return {
            "type": f"urn:projectome:{name}",
            "title": name,
            "status": self.status,
            "detail": str(self),
        }

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes send errors home; their text is made, so the constructor is not called.
        return _restored, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        # KeyError would show the repr of its argument.
        return str(self.args[0]) if self.args else type(self).__name__


def _restored(
    kind: type[ProjectomeError], args: tuple[object, ...], state: dict[str, object]
) -> ProjectomeError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class DataError(ProjectomeError):
    """The input is not what it should be."""

    status = 422


class FormatError(DataError, ValueError):
    """Not a known format, or broken inside."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing found wrong, or doubtful, in metadata.

    Attributes
    ----------
    severity
        ``"error"`` where reading cannot go on, ``"warning"`` where a documented reading was taken.
    where
        File and key, for instance ``".zattrs: multiscales[0].axes[2].unit"``.
    message
        What is wrong and what was assumed or what to do.
    """

    severity: Literal["error", "warning"]
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.message}"


class MetadataError(DataError, ValueError):
    """Metadata that cannot be used; carries every problem found.

    Parameters
    ----------
    message
        What was read, where, and the way out.
    problems
        Everything found wrong, as data.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        lines = [message, *(f"  - {problem}" for problem in problems)]
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)

    def problem(self) -> dict[str, object]:
        """Return the problem document with the list of problems added."""
        listed = [
            {"severity": p.severity, "where": p.where, "message": p.message} for p in self.problems
        ]
        return {**super().problem(), "problems": listed}


class OrientationUnknownError(DataError):
    """An anatomical direction is needed and the data does not state it."""


class SpaceMismatchError(DataError):
    """Coordinates of two different spaces meet."""


class ShapeError(DataError, ValueError):
    """Shapes or sizes do not fit together."""


class StoreError(ProjectomeError):
    """A file or object store did not answer as hoped."""

    status = 502


class NotFoundError(StoreError, FileNotFoundError):
    """Nothing at that address."""

    status = 404


class AccessDeniedError(StoreError, PermissionError):
    """The store refuses access."""

    status = 403


class StorageFullError(StoreError):
    """No space is left where the output goes."""

    status = 507


class TransferError(StoreError):
    """A transfer broke on the way; worth another try."""

    status = 504


class ParameterError(ProjectomeError, ValueError):
    """A call with wrong parameters."""

    exit_code = 2
    status = 400


class UnknownNameError(ParameterError, KeyError):
    """No such name.

    Parameters
    ----------
    kind
        What was looked up, for instance ``"region"``.
    name
        What was asked for.
    known
        The names there are; close ones are suggested.
    where
        Where it was looked up, for instance ``"allen_mouse_25um"``.
    list_with
        A command that lists the names.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        where: str = "",
        list_with: str = "",
    ) -> None:
        known = list(known)
        close = did_you_mean(name, known)
        text = f"Unknown {kind} {name!r}" + (f" in {where}" if where else "") + "."
        if close:
            text += " Did you mean " + ", ".join(map(repr, close)) + "?"
        elif 0 < len(known) <= 12:
            text += " Known: " + ", ".join(map(repr, sorted(known))) + "."
        if list_with:
            text += f" List all with: {list_with}"
        super().__init__(text)
        self.name = name
        self.suggestions = tuple(close)


class RunError(ProjectomeError):
    """A block-wise run failed."""


class BlockFailedError(RunError):
    """Some blocks failed; the finished ones are kept."""


class WorkerLostError(RunError):
    """The process that worked on a block died."""


class MemoryBudgetError(RunError):
    """The job cannot fit into the memory given."""


class OutputExistsError(RunError, FileExistsError):
    """The output holds something that this call would not have made."""

    exit_code = 2
    status = 409


class OutputBusyError(RunError):
    """Another run is writing to the same output."""

    status = 409


class CancelledError(RunError):
    """Stopped by the user."""


class MissingExtraError(ProjectomeError, ImportError):
    """An optional dependency is not installed.

    Parameters
    ----------
    what
        What the user wanted to do, for instance ``"Running on a dask cluster"``.
    package
        The package that is missing.
    extra
        The extra of projectome that brings it.
    """

    exit_code = 2
    status = 501

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the package {package!r}: pip install 'projectome[{extra}]'",
        )


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return the known names closest to a misspelt one.

    Parameters
    ----------
    name
        What was asked for.
    known
        The names there are.
    limit
        At most so many suggestions.

    Returns
    -------
    list of str
        Close names, best first; case is not looked at.

    Examples
    --------
    >>> did_you_mean("rsp", ["RSP", "RSPd", "VISp"])
    ['RSP', 'RSPd']
    """
    folded = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), folded, n=limit, cutoff=0.6)
    return [folded[key] for key in found]
