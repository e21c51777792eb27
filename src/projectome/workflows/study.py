"""The folder that a reconstruction writes: names, study.toml, provenance, readiness of stages."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from projectome.core.provenance import Record, plain, software_version
from projectome.errors import FormatError, NotFoundError, OutputExistsError
from projectome.io.stores import atomic_write

FORMAT = 1
"""Version of the layout of a study folder."""
STAGES = ("normalise", "detect", "segment", "trace", "report")


@dataclass(frozen=True, slots=True)
class Study:
    """Paths in a study folder.

    Attributes
    ----------
    folder
        The folder itself.
    """

    folder: Path

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
        return sorted(self.swc_folder.glob("*.swc"), key=lambda path: int(path.stem))

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
            found = tomllib.loads(self.toml.read_text(encoding="utf-8"))
        except FileNotFoundError:
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

    def begin(self, document: Mapping[str, Any], *, overwrite: bool) -> None:
        """Write study.toml, or find that the folder holds the same study.

        Parameters
        ----------
        document
            Everything that decides the result, as plain data.
        overwrite
            Replace a study with other parameters. Blocks that did not change are kept.

        Raises
        ------
        OutputExistsError
            If the folder holds another study, or files that are no study.
        """
        wanted = {"format": FORMAT, **as_plain(document)}
        if self.toml.exists():
            changed = ", ".join(sorted(differences(self.read(), wanted)))
            if not changed:
                return
            if not overwrite:
                raise OutputExistsError(
                    f"{self.folder} holds a study with other inputs or parameters ({changed}). "
                    "Choose another folder, or add --overwrite to replace it."
                )
        elif self.folder.exists() and any(self.folder.iterdir()) and not overwrite:
            names = sorted(p.name for p in self.folder.iterdir())
            if set(names) - {"run.log", ".ledger", ".work"}:
                raise OutputExistsError(
                    f"{self.folder} is not empty and no study (it holds {', '.join(names[:4])}). "
                    "Choose another folder, or add --overwrite."
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.toml) as partial:
            partial.write_text(to_toml(wanted), encoding="utf-8")

    def record(self, files: Mapping[str, Record]) -> None:
        """Write what made each file into provenance.json, beside what is already there.

        Parameters
        ----------
        files
            Records by the name of the file in the study.
        """
        try:
            known = json.loads(self.provenance.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            known = {}
        entries = dict(known.get("files", {}))
        for name, made in files.items():
            entry = {**as_plain(made), "key": made.key}
            if entries.get(name, {}).get("key") != made.key:
                entries[name] = {**entry, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        document = {
            "format": FORMAT,
            "software": f"projectome {software_version()}",
            "files": dict(sorted(entries.items())),
        }
        with atomic_write(self.provenance) as partial:
            text = json.dumps(document, indent=2, ensure_ascii=False)
            partial.write_text(text + "\n", encoding="utf-8")


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
