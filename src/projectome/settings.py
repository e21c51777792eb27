"""Settings of the machine and the user: cache, credentials, workers, memory.

They never change a result, only where and how fast it is made; what changes results are the
parameters of steps. An argument wins over the settings file, the file over the environment, the
environment over the default.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from projectome.errors import ParameterError, UnknownNameError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
CGROUP = Path("/sys/fs/cgroup")
BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str | int) -> int:
    """Return a number of bytes from ``8GB``, ``512MiB`` or a plain number.

    Raises
    ------
    ParameterError
        If it is not a positive size.

    Examples
    --------
    >>> parse_bytes("1.5GB"), parse_bytes("4 KiB")
    (1500000000, 4096)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", str(text), re.IGNORECASE)
    unit = match[2].lower() if match else "?"
    factor = (UNITS | BINARY_UNITS).get(unit, 0)
    count = int(float(match[1]) * factor) if match else 0
    if count < 1:
        raise ParameterError(f"Not a size in bytes: {text!r}. Write for instance 8GB or 512MiB.")
    return count


def format_bytes(count: float) -> str:
    """Return a size for people: ``1.5 GB``."""
    if count < 999.5:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:.3g} TB"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings in force.

    Attributes
    ----------
    cache
        Folder for things that can be made or fetched again.
    disk_cache
        Bytes of decoded chunks of remote volumes to keep there; 0 keeps none.
    workers
        Local worker processes; 0 means one a core.
    memory
        Bytes that all workers together may use; 0 means three quarters of what is free.
    endpoint
        Address of an S3 service other than AWS.
    region
        S3 region.
    signed
        Sign S3 requests with the usual AWS credentials instead of asking anonymously.
    bucket
        Bucket of a dataset whose address is not public.
    """

    cache: Path = Path("~/.cache/projectome")
    disk_cache: int = 0
    workers: int = 0
    memory: int = 0
    endpoint: str = ""
    region: str = "us-east-1"
    signed: bool = False
    bucket: str = ""


def settings_file() -> Path:
    """Return where the settings of this user live; ``PROJECTOME_CONFIG`` names another file."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    named = os.environ.get("PROJECTOME_CONFIG")
    return Path(named or f"{base}/projectome/config.toml").expanduser()


def resolve(arguments: Mapping[str, object] | None = None) -> tuple[Settings, dict[str, str]]:
    """Return the settings in force and where each comes from.

    Parameters
    ----------
    arguments
        Settings given by the caller; None stands for not given.

    Returns
    -------
    Settings
        Resolved values.
    dict
        For each setting ``"argument"``, the path of the file, the name of the variable, or
        ``"default"``.

    Raises
    ------
    ParameterError
        If a value cannot be understood, or the file is not TOML.
    UnknownNameError
        If there is no such setting.
    """
    path = settings_file()
    stored = read_file(path)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    given = {k: v for k, v in (arguments or {}).items() if v is not None}
    for name in [*given, *stored]:
        check_name(name)
    for item in fields(Settings):
        variable = f"PROJECTOME_{item.name.upper()}"
        for source, where in ((given, "argument"), (stored, str(path)), (os.environ, variable)):
            key = variable if source is os.environ else item.name
            if key in source:
                values[item.name] = convert(item.name, source[key], where)
                sources[item.name] = where
                break
        else:
            values[item.name] = convert(item.name, item.default, "default")
            sources[item.name] = "default"
    return Settings(**values), sources


def available_memory() -> int:
    """Return the memory that can be had now [bytes], inside the limit of a container."""
    import psutil  # not needed to show help

    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / f"memory.{n}").read_text().strip() for n in ("max", "current"))
    except OSError:
        return free
    return free if limit == "max" else min(free, max(0, int(limit) - int(used)))


def memory_budget(memory: int | str | None = None) -> int:
    """Return the bytes that all processes of a run together may use.

    Parameters
    ----------
    memory
        ``8GB`` or a number of bytes; the settings decide if None, and three quarters of what is
        available if they do not.
    """
    if memory is not None:
        return parse_bytes(memory)
    return resolve()[0].memory or available_memory() * 3 // 4


def check_name(name: str) -> None:
    """Refuse a name that is no setting.

    Raises
    ------
    UnknownNameError
        With the names there are.
    """
    names = [item.name for item in fields(Settings)]
    if name not in names:
        raise UnknownNameError("setting", name, names, list_with="projectome config show")


def convert(name: str, value: object, where: str) -> object:
    """Return the value of a setting in its own type.

    Raises
    ------
    ParameterError
        If it cannot be understood.
    """
    text = str(value).strip()
    if name == "cache":
        return Path(text).expanduser()
    if name in ("memory", "disk_cache"):
        return 0 if text == "0" else parse_bytes(text)
    if name == "workers":
        if not text.isdecimal():
            raise ParameterError(f"workers is a whole number, not {value!r} (from {where}).")
        return int(text)
    if name == "signed":
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ParameterError(f"signed is true or false, not {value!r} (from {where}).")
        return text.lower() in ("true", "1", "yes")
    return text


def read_file(path: Path) -> dict[str, object]:
    """Return what a settings file holds; nothing if there is none.

    Raises
    ------
    ParameterError
        If it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ParameterError(
            f"Cannot read the settings in {path}: {error}. Correct or remove the file."
        ) from None


def store(name: str, value: str) -> Path:
    """Write one setting into the settings file and return its path.

    Raises
    ------
    ParameterError
        If the value cannot be understood, or the file not be written.
    """
    check_name(name)
    path = settings_file()
    current = read_file(path) | {name: str(convert(name, value, "argument"))}
    # A JSON text is a TOML basic string.
    lines = [f"{k} = {json.dumps(str(v), ensure_ascii=False)}\n" for k, v in current.items()]
    text = "".join(sorted(lines))
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except (OSError, UnicodeEncodeError) as error:
        raise ParameterError(
            f"Cannot write the settings to {path}: {error}. Check your rights to it, or name "
            "another file in PROJECTOME_CONFIG."
        ) from None
    return path
