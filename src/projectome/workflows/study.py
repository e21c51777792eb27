"""The folder that a reconstruction writes: names, study.toml, provenance, readiness of stages."""

from __future__ import annotations

import contextlib
import json
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from projectome.core.provenance import Record, plain, software_version
from projectome.engine.locks import locked
from projectome.errors import FormatError, NotFoundError, OutputExistsError
from projectome.io.documents import json_value
from projectome.io.stores import Access, atomic_write, mapped, read_bytes

FORMAT = 1
"""Version of the layout of a study folder."""
STAGES = ("normalise", "detect", "segment", "trace", "report")
ADDRESSES = {"input.url", "input.problems", "detect.seeds.url"}
"""Entries of study.toml that say where the inputs lie: what is moved stays the same."""
OURS = {"run.log", ".ledger", ".work"}
"""Names that may lie in a folder before it is a study."""


@dataclass(frozen=True, slots=True)
class Study:
    """Paths in a study folder.

    Attributes
    ----------
    folder
        The folder itself; a text is taken for its path.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    @property
    def toml(self) -> Path:
        """Inputs and resolved parameters."""
        return self.folder / "study.toml"

    @property
    def provenance(self) -> Path:
        """What made each file."""
        return self.folder / "provenance.json"

    @property
    def somata(self) -> Path:
        """Table of somata."""
        return self.folder / "somata.parquet"

    @property
    def probability(self) -> Path:
        """Neurite probability."""
        return self.folder / "probability.ome.zarr"

    @property
    def labels(self) -> Path:
        """Instance labels."""
        return self.folder / "labels.ome.zarr"

    @property
    def neurons(self) -> Path:
        """Table of neurons and fragments."""
        return self.folder / "neurons.parquet"

    @property
    def swc_folder(self) -> Path:
        """One SWC file a neuron or fragment."""
        return self.folder / "neurons"

    def swc_files(self) -> list[Path]:
        """Return the SWC files of all neurons and fragments, in the order of their ids."""
        found = [path for path in self.swc_folder.glob("*.swc") if path.stem.isdecimal()]
        return sorted(found, key=lambda path: int(path.stem))

    @property
    def audit(self) -> Path:
        """Table of joins and cuts."""
        return self.folder / "audit.parquet"

    @property
    def figures(self) -> Path:
        """Pictures of the report."""
        return self.folder / "figures"

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    @property
    def log(self) -> Path:
        """What was said while running."""
        return self.folder / "run.log"

    @property
    def ledger(self) -> Path:
        """What is done, block by block."""
        return self.folder / ".ledger"

    @property
    def work(self) -> Path:
        """Intermediate volumes; removed when they are no longer needed."""
        return self.folder / ".work"

    def read(self) -> dict[str, Any]:
        """Return the contents of study.toml.

        Raises
        ------
        NotFoundError
            If the folder is no study.
        FormatError
            If study.toml is broken or of another format version.
        """
        try:
            found = tomllib.loads(read_bytes(str(self.toml)).decode())
        except NotFoundError:
            raise NotFoundError(
                f"{self.folder} is no study: it has no study.toml. Make one with: projectome "
                f"reconstruct VOLUME --out {self.folder}"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{self.toml} is not TOML: {error}. Restore or delete it.") from None
        if found.get("format") != FORMAT:
            raise FormatError(
                f"{self.toml} has the format {found.get('format')!r}; this version reads {FORMAT}. "
                "Reconstruct again into a new folder, or use the version that wrote it."
            )
        return found

    def summary(self) -> dict[str, Any]:
        """Return the main figures of a finished study."""
        neurons, somata = pd.read_parquet(self.neurons), pd.read_parquet(self.somata)
        owned = neurons["soma_id"] >= 0
        length = neurons["length_tissue_um"] / 1000
        return {
            "somata": len(somata),
            "neurons_with_soma": int(owned.sum()),
            "fragments": int((~owned).sum()),
            "cable_mm": round(float(length.sum()), 3),
            "cable_in_neurons_mm": round(float(length[owned].sum()), 3),
        }

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse a folder that holds something else.

        Parameters
        ----------
        overwrite
            Write into a folder that is not empty and no study; files of other names stay.

        Raises
        ------
        OutputExistsError
            If there is a file of that name, or a folder of something else.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputExistsError(f"{self.folder} is a file. Choose another folder.")
        if overwrite or self.toml.exists() or not self.folder.exists():
            return
        names = sorted(p.name for p in self.folder.iterdir() if not p.match(".*.partial"))
        if set(names) - OURS:
            raise OutputExistsError(
                f"{self.folder} is not empty and no study (it holds {', '.join(names[:4])}). "
                "Choose another folder, or add --overwrite."
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Let nobody else work on the study.

        Raises
        ------
        OutputBusyError
            If somebody does.
        """
        with locked(str(self.ledger), Access.of()):
            yield

    def begin(self, document: Mapping[str, Any], *, overwrite: bool) -> None:
        """Write study.toml, or find that the folder holds the same study.

        Parameters
        ----------
        document
            Everything that decides the result, as plain data.
        overwrite
            Replace a study with other parameters. What did not change is kept.

        Raises
        ------
        OutputExistsError
            If the folder holds another study, or files that are no study.
        """
        self.check_free(overwrite=overwrite)
        wanted = {"format": FORMAT, **as_plain(document)}
        if self.toml.exists() and not overwrite:
            changed = ", ".join(sorted(differences(self.read(), wanted) - ADDRESSES))
            if changed:
                raise OutputExistsError(
                    f"{self.folder} holds a study with other inputs or parameters ({changed}). "
                    "Choose another folder, or add --overwrite to replace it."
                )
        _write(self.toml, to_toml(wanted))

    def holds(self, record: Record, *names: str) -> bool:
        """Say whether files are there, and were made as a record says."""
        known = self._entries()
        return all(
            known.get(name, {}).get("key") == record.key and (self.folder / name).exists()
            for name in names
        )

    def _entries(self) -> dict[str, Any]:
        try:
            return dict(json_value(read_bytes(str(self.provenance)))["files"])
        except (NotFoundError, ValueError, TypeError, KeyError):
            return {}

    def record(self, files: Mapping[str, Record]) -> None:
        """Write what made each file into provenance.json; files that are gone are left out.

        Parameters
        ----------
        files
            Records by the name of the file in the study.
        """
        entries = {k: v for k, v in self._entries().items() if (self.folder / k).exists()}
        for name, made in files.items():
            entry = {**as_plain(made), "key": made.key}
            if entries.get(name, {}).get("key") != made.key:
                entries[name] = {**entry, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        document = {
            "format": FORMAT,
            "software": f"projectome {software_version()}",
            "files": dict(sorted(entries.items())),
        }
        _write(self.provenance, json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def tidy(self) -> None:
        """Remove what only an unfinished study needs."""
        doomed = self.folder / ".removed"
        with mapped(str(self.folder), "tidy"):
            shutil.rmtree(doomed, ignore_errors=True)
            if self.work.exists():
                # In one step, so that nobody ever takes half of it for the whole.
                self.work.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
            for folder in (self.folder, self.swc_folder, self.figures):
                for half in folder.glob(".*.partial"):
                    half.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    """Write a document in one step, unless it says so already."""
    if path.exists() and path.read_bytes() == text.encode():
        return
    with atomic_write(path) as partial:
        partial.write_bytes(text.encode())


def as_plain(value: object) -> dict[str, Any]:
    """Return a mapping or dataclass as plain data."""
    result = plain(value)
    assert isinstance(result, dict)
    return result


def differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Return the dotted names of the entries in which two plain documents differ."""
    found: set[str] = set()
    for name in first.keys() | second.keys():
        a, b = first.get(name), second.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found |= differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.add(prefix + name)
    return found


def to_toml(document: Mapping[str, Any]) -> str:
    """Return plain data as TOML; entries that are None are left out.

    Parameters
    ----------
    document
        Texts, numbers, booleans, lists of those, and mappings of all that; keys are identifiers.
    """
    return "\n".join(_toml_lines(document, ())).lstrip("\n") + "\n"


def _toml_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = []
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            lines.append(f"{key} = {_toml_value(value)}")
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{'.'.join((*path, key))}]", *_toml_lines(value, (*path, key))]
    return lines


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
