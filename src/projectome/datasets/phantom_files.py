"""Phantoms on disk.

::

    FOLDER/
      phantom.json                 what it was made from; says when it is complete
      image.ome.zarr               what the microscope sees
      atlas/annotation.ome.zarr    region ids
      atlas/template.ome.zarr      autofluorescence without noise
      atlas/terminology.csv        the region tree, columns as in BrainGlobe's atlases
      atlas/atlas.json             name, orientation, midline
      truth/neurons/ID.swc         one neuron a file
      truth/labels.ome.zarr        number of the neuron at each voxel
      truth/somata.parquet         see `Phantom.somata`
      truth/projections.parquet    see `Phantom.projections`
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from projectome.core.atlas import Atlas, Plane, Terminology
from projectome.core.points import Points
from projectome.core.provenance import plain, software_version
from projectome.core.skeleton import Skeleton
from projectome.datasets.phantom import Phantom
from projectome.errors import FormatError, NotFoundError, OutputExistsError
from projectome.io.open import open_volume
from projectome.io.points import read_points, write_points
from projectome.io.skeletons.swc import read_swc, write_swc
from projectome.io.stores import atomic_write, read_bytes
from projectome.io.tables import read_table, write_table
from projectome.io.volumes.write import write_volume

FORMAT = 1


@dataclass(frozen=True, slots=True)
class PhantomFolder:
    """A phantom on disk; nothing is read before it is asked for.

    Attributes
    ----------
    path
        The folder.
    """

    path: Path

    @property
    def image(self) -> str:
        """Address of the image."""
        return str(self.path / "image.ome.zarr")

    @property
    def labels(self) -> str:
        """Address of the true neuron labels."""
        return str(self.path / "truth" / "labels.ome.zarr")

    def skeletons(self) -> list[Skeleton]:
        """Return the true neurons in the order of their ids."""
        files = sorted((self.path / "truth" / "neurons").glob("*.swc"), key=lambda f: int(f.stem))
        return [read_swc(file).skeleton for file in files]

    def somata(self) -> Points:
        """Return the true somata."""
        return read_points(self.path / "truth" / "somata.parquet")

    def projections(self) -> pd.DataFrame:
        """Return the true lengths and terminals by neuron and region."""
        return read_table(self.path / "truth" / "projections.parquet")

    def atlas(self) -> Atlas:
        """Return the atlas of the phantom; its volumes are lazy."""
        folder = self.path / "atlas"
        about = json.loads((folder / "atlas.json").read_text(encoding="utf-8"))
        annotation = open_volume(str(folder / "annotation.ome.zarr"))[0]
        plane = about["midline"]
        return Atlas(
            about["name"],
            read_terminology(folder / "terminology.csv"),
            annotation,
            open_volume(str(folder / "template.ome.zarr"))[0],
            Plane(np.asarray(plane["point_um"]), np.asarray(plane["normal"]), annotation.space),
        )


def write_phantom(
    phantom: Phantom, folder: str | Path, *, overwrite: bool = False
) -> PhantomFolder:
    """Write a phantom into a folder, in pieces of bounded size.

    Parameters
    ----------
    phantom
        What to write.
    folder
        Made if it is not there. A complete phantom of the same making is left as it is; one that
        was interrupted is made anew.
    overwrite
        Write even if something else is there.

    Returns
    -------
    PhantomFolder
        Where everything is.

    Raises
    ------
    OutputExistsError
        If the folder holds something else.
    StoreError
        If it cannot be written.
    """
    place = PhantomFolder(Path(folder))
    making = _making(phantom)
    if is_there(place.path, making, overwrite):
        return place
    note = place.path / "phantom.json"
    write_json(note, {**making, "complete": False})
    truth, atlas = place.path / "truth", place.path / "atlas"
    write_volume(phantom.image, place.image, overwrite=True)
    write_volume(phantom.labels, place.labels, overwrite=True)
    for old in (truth / "neurons").glob("*.swc"):
        old.unlink()
    for neuron in phantom.neurons:
        comments = [f"{neuron.projection}, {neuron.source} to {neuron.target}"]
        write_swc(neuron.skeleton, truth / "neurons" / f"{neuron.id}.swc", comments=comments)
    write_points(phantom.somata, truth / "somata.parquet")
    write_table(phantom.projections, truth / "projections.parquet")
    _write_atlas(phantom.atlas, atlas)
    write_json(note, {**making, "complete": True})
    return place


def open_phantom(folder: str | Path) -> PhantomFolder:
    """Return the phantom in a folder.

    Raises
    ------
    NotFoundError
        If there is none, or it was not finished.
    """
    path = Path(folder)
    if not read_note(path).get("complete"):
        raise NotFoundError(
            f"No complete phantom in {path}: its phantom.json is missing or says that writing was "
            "interrupted. Write it again with projectome.datasets.phantom_files.write_phantom."
        )
    return PhantomFolder(path)


def read_terminology(path: str | Path) -> Terminology:
    """Read a region tree from a table in the layout of BrainGlobe's atlases.

    Parents are taken from ``root_identifier_path``.

    Raises
    ------
    FormatError
        If the table has other columns, or a path that leads nowhere.
    """
    # All texts stay texts: a region may be called NA.
    rows = list(csv.DictReader(io.StringIO(read_bytes(str(path)).decode("utf-8-sig"))))
    try:
        ids = [int(row["identifier"]) for row in rows]
        place = {identifier: k for k, identifier in enumerate(ids)}
        paths = [json.loads(row["root_identifier_path"]) for row in rows]
        parents = [place[steps[-2]] if len(steps) > 1 else -1 for steps in paths]
        colours = [list(bytes.fromhex(row["color_hex_triplet"].lstrip("#"))) for row in rows]
        acronyms = tuple(row["abbreviation"] for row in rows)
        names = tuple(row["name"] for row in rows)
    except (KeyError, ValueError, TypeError) as error:
        raise FormatError(
            f"{path} is not a region tree: {error!r}. Its columns are those of BrainGlobe's "
            "terminology.csv; each root_identifier_path is a list of identifiers from the root, "
            "and each color_hex_triplet like #00FF00."
        ) from None
    return Terminology(
        np.asarray(ids, np.int64),
        acronyms,
        names,
        np.asarray(parents, np.int64),
        np.asarray(colours, np.uint8).reshape(-1, 3),
    )


def _write_atlas(atlas: Atlas, folder: Path) -> None:
    assert atlas.template is not None
    assert atlas.midline is not None
    write_volume(atlas.annotation, str(folder / "annotation.ome.zarr"), overwrite=True)
    write_volume(atlas.template, str(folder / "template.ome.zarr"), overwrite=True)
    tree = atlas.terminology
    ids = tree.ids.tolist()
    paths: list[list[int]] = []
    for row, parent in enumerate(tree.parents.tolist()):
        paths.append([*(paths[parent] if parent >= 0 else []), ids[row]])
    table = pd.DataFrame(
        {
            "identifier": ids,
            "parent_identifier": [str(p[-2]) if len(p) > 1 else "" for p in paths],
            "annotation_value": ids,
            "name": tree.names,
            "abbreviation": tree.acronyms,
            "color_hex_triplet": ["#" + bytes(c).hex().upper() for c in tree.colours.tolist()],
            "root_identifier_path": [json.dumps(p) for p in paths],
        }
    )
    write_table(table, folder / "terminology.csv")
    about: dict[str, object] = {
        "name": atlas.name,
        "orientation": atlas.space.code(meaning="toward"),
        "meaning": "toward",
        "resolution_um": atlas.annotation.voxel_size,
        "midline": {"point_um": atlas.midline.point, "normal": atlas.midline.normal},
        "hemispheres": {"left": 1, "right": 2},
    }
    write_json(folder / "atlas.json", about)


def _making(phantom: Phantom) -> dict[str, object]:
    """Return what a phantom was made from, as plain data."""
    return {
        "format": FORMAT,
        "software": software_version(),
        "seed": phantom.seed,
        "shape": list(phantom.shape),
        "voxel_size_um": phantom.voxel_size,
        "neurons": len(phantom.neurons),
        "microscope": plain(phantom.microscope),
    }


def is_there(folder: Path, making: dict[str, object], overwrite: bool) -> bool:
    """Say whether the phantom is there already; refuse if something else is."""
    found = read_note(folder)
    complete = bool(found.pop("complete", False))
    if found == making:
        return complete and not overwrite
    if not overwrite and folder.exists() and any(folder.iterdir()):
        raise OutputExistsError(
            f"{folder} holds something other than this phantom. Give another folder, or overwrite "
            "(--overwrite) what is there."
        )
    return False


def read_note(folder: Path) -> dict[str, object]:
    """Return the phantom.json of a folder; empty if there is none that can be read."""
    try:
        note = json.loads((folder / "phantom.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON document that is there whole or not at all."""
    with atomic_write(path) as partial:
        text = json.dumps(plain(content), indent=2)
        partial.write_text(text + "\n", encoding="utf-8")
