"""What made a result: step, parameters, inputs, versions; and the hash of all that."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from types import MappingProxyType

import numpy as np

from projectome.errors import ParameterError


def plain(value: object) -> object:
    """Return `value` as plain JSON data: the canonical form that is hashed and written.

    Parameters
    ----------
    value
        Numbers, texts, None, sequences, mappings with text keys, dataclasses, numpy arrays,
        enumerations and paths. Fields of dataclasses that do not take part in comparison are left
        out: they do not change what is computed.

    Raises
    ------
    ParameterError
        If there is something else in it, or a number that is not finite.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if f.compare]
        return {f.name: plain(getattr(value, f.name)) for f in fields}
    if isinstance(value, Mapping):
        return {
            str(key): plain(item) for key, item in sorted(value.items(), key=lambda p: str(p[0]))
        }
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    raise ParameterError(f"{value!r} cannot be recorded as a parameter; use plain finite values.")


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of plain data, in hexadecimal."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def software_version() -> str:
    """Return the version of projectome that is installed."""
    try:
        return version("projectome")
    except PackageNotFoundError:
        return "0+unknown"


@dataclass(frozen=True, slots=True)
class Record:
    """What made a result; independent of host, user and path.

    Attributes
    ----------
    step
        Name and version of the step, for instance ``"tubeness/1"``.
    parameters
        Resolved parameters as plain data.
    inputs
        Fingerprint of each input by role.
    software
        Version of projectome.
    """

    step: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    software: str = field(default_factory=software_version)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))

    def __reduce__(self) -> tuple[object, ...]:
        return Record, (self.step, dict(self.parameters), dict(self.inputs), self.software)

    @property
    def key(self) -> str:
        """Hash of everything in the record."""
        return digest(self)
