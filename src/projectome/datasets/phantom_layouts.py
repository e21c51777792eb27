"""Specimens on disk, each in the layout of the public bucket of its modality.

::

    FOLDER/
      phantom.json                 what it was made from; says when it is complete
      truth/neurites/ID.swc        one neurite a file
      truth/labels.ome.zarr        number of the neurite at each voxel
      truth/somata.parquet
      truth/NAME.parquet           `Specimen.tables`
      truth/NAME.ome.zarr          `Specimen.volumes`, where the layout has no place for them

and the image with its documents: of axons ``exaSPIM_*_fusion_*/fused.zarr``, of brains
``SmartSPIM_*_stitched_*/image_tile_fusing/OMEZarr/CHANNEL.zarr``, of barcodes
``ls/images/full_dataset.zarr``, of Brainbow ``raw/*.ome.tif``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from projectome.core.box import BlockGrid
from projectome.core.provenance import plain, software_version
from projectome.core.space import OPPOSITE
from projectome.core.volume import Volume
from projectome.datasets.phantom_files import FORMAT, is_there, write_json
from projectome.datasets.phantom_specimen import Specimen
from projectome.io import stores
from projectome.io.points import write_points
from projectome.io.skeletons.swc import write_swc
from projectome.io.tables import write_table
from projectome.io.volumes.ngff_write import encode
from projectome.io.volumes.npy_write import write_npy
from projectome.io.volumes.pyramid import plan_levels
from projectome.io.volumes.pyramid_writer import PyramidWriter
from projectome.io.volumes.tiff_write import write_tiff
from projectome.io.volumes.write import copy_block, write_volume
from projectome.io.volumes.zarr_write import ArrayPlan

TIME = "2026-01-01_00-00-00"
"""When every specimen was imaged: a time of day would make other bytes each time."""


def write_specimen(specimen: Specimen, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a specimen into a folder, in pieces of bounded size.

    Parameters
    ----------
    specimen
        What to write.
    folder
        Made if it is not there. A complete specimen of the same making is left as it is; one that
        was interrupted is made anew.
    overwrite
        Write even if something else is there.

    Returns
    -------
    pathlib.Path
        The image.

    Raises
    ------
    OutputExistsError
        If the folder holds something else.
    StoreError
        If it cannot be written.
    """
    home = Path(folder)
    making = {
        "format": FORMAT,
        "software": software_version(),
        "kind": specimen.kind,
        **{name: plain(value) for name, value in specimen.making.items()},
    }
    making = json.loads(json.dumps(making))
    place, write = LAYOUTS[specimen.kind]
    image = home / place(specimen)
    if is_there(home, making, overwrite):
        return image
    note = home / "phantom.json"
    write_json(note, {**making, "complete": False})
    shown = write(specimen, image)
    truth = home / "truth"
    for old in (truth / "neurites").glob("*.swc"):
        old.unlink()
    for number, skeleton in enumerate(specimen.skeletons, start=1):
        write_swc(skeleton, truth / "neurites" / f"{number}.swc")
    write_volume(specimen.labels, str(truth / "labels.ome.zarr"), overwrite=True)
    write_points(specimen.somata, truth / "somata.parquet")
    for name, table in specimen.tables.items():
        write_table(table, truth / f"{name}.parquet")
    for name in specimen.volumes.keys() - shown:
        write_volume(specimen.volumes[name], str(truth / f"{name}.ome.zarr"), overwrite=True)
    write_json(note, {**making, "complete": True})
    return image


# ExA-SPIM and SmartSPIM


def _subject(specimen: Specimen) -> str:
    """Return the number of the animal, which no real one has."""
    return f"9{int(str(specimen.making['seed'])) % 10**5:05d}"


def _exaspim_place(specimen: Specimen) -> str:
    return f"exaSPIM_{_subject(specimen)}_{TIME}_fusion_{TIME}/fused.zarr"


def _exaspim(specimen: Specimen, image: Path) -> set[str]:
    _write_fused(specimen.image, image)
    _documents(specimen, image.parent, "exaSPIM", "1.0.4")
    return set()


def _smartspim_place(specimen: Specimen) -> str:
    asset = f"SmartSPIM_{_subject(specimen)}_{TIME}_stitched_{TIME}"
    return f"{asset}/image_tile_fusing/OMEZarr/{specimen.image.name}.zarr"


def _smartspim(specimen: Specimen, image: Path) -> set[str]:
    _write_fused(specimen.image, image)
    others = {name for name in specimen.volumes if name.startswith("Ex_")}
    for name in sorted(others):
        _write_fused(specimen.volumes[name], image.with_name(f"{name}.zarr"))
    _documents(specimen, image.parents[2], "SmartSPIM", "0.4.3")
    return others


def _write_fused(volume: Volume, path: Path) -> None:
    """Write OME-Zarr 0.4 of five axes without an orientation, as fusion programs do."""
    write_volume(volume, str(path), overwrite=True)
    document = json.loads((path / ".zattrs").read_text(encoding="utf-8"))
    image = document["multiscales"][0]
    leading = [
        {"name": "t", "type": "time", "unit": "millisecond"},
        {"name": "c", "type": "channel"},
    ]
    space = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    for dataset in image["datasets"]:
        for transform in dataset["coordinateTransformations"]:
            kind = transform["type"]
            transform[kind] = [1.0 if kind == "scale" else 0.0] * 2 + transform[kind]
        level = path / dataset["path"]
        array = json.loads((level / ".zarray").read_text(encoding="utf-8"))
        for name in ("shape", "chunks"):
            array[name] = [1, 1, *array[name]]
        # Chunks z/y/x become 0/0/z/y/x.
        aside = path / f".{dataset['path']}"
        level.rename(aside)
        (level / "0").mkdir(parents=True)
        (aside / ".zarray").unlink()
        aside.rename(level / "0" / "0")
        write_json(level / ".zarray", array)
    content = {
        "name": f"/{path.name}",
        "version": "0.4",
        "axes": leading + space,
        "datasets": image["datasets"],
    }
    write_json(path / ".zattrs", {"multiscales": [content], "omero": document.get("omero", {})})


def _documents(specimen: Specimen, asset: Path, platform: str, version: str) -> None:
    """Write the metadata of the Allen Institute that stand beside an image."""
    subject = _subject(specimen)
    size = specimen.image.voxel_size
    start = TIME[:10] + "T" + TIME[11:].replace("-", ":")
    axes: list[dict[str, object]] = []
    for dimension, (name, toward) in enumerate(zip("ZYX", specimen.space.toward, strict=True)):
        if toward is not None:
            words = f"{OPPOSITE[toward].capitalize()}_to_{toward}"
            axis = {"name": name, "dimension": dimension, "direction": words}
            axes.insert(0, {**axis, "unit": "micrometer"})
    tile = {
        "coordinate_transformations": [
            {"type": "scale", "scale": [f"{v:g}" for v in reversed(size)]},
            {"type": "translation", "translation": ["0", "0", "0"]},
        ],
        "file_name": "tile_000000_ch_488.zarr" if platform == "exaSPIM" else specimen.image.name,
        "channel": {"channel_name": "488"},
    }
    write_json(
        asset / "acquisition.json",
        {
            "schema_version": version,
            "subject_id": subject,
            "specimen_id": subject,
            "session_start_time": start,
            "session_end_time": start,
            "axes": axes,
            "tiles": [tile],
        },
    )
    write_json(
        asset / "data_description.json",
        {
            "schema_version": "0.10.1",
            "data_level": "derived",
            "name": asset.name,
            "subject_id": subject,
            "institution": {"name": "projectome phantom"},
        },
    )
    write_json(asset / "subject.json", {"schema_version": "0.5.6", "subject_id": subject})


# Neurons with barcodes


@dataclass(frozen=True, slots=True, eq=False)
class AttributedWriter(PyramidWriter):
    """Zarr arrays ``s0``, ``s1`` ... with ``offset`` and ``resolution`` [nm], as of E11 Bio."""

    def array(self, level: int) -> ArrayPlan:
        """Return how a level is stored."""
        shape = self.levels[level].shape
        channel = bool(self.channels)
        return ArrayPlan(
            url=stores.join(self.url, f"s{level}"),
            shape=(len(self.channels),) * channel + shape,
            chunks=(1,) * channel + self.chunks,
            shards=None,
            dtype=self.dtype.name,
            axes=("c",) * channel + ("z", "y", "x"),
            zarr=2,
            compression=1,
            separator=".",
        )

    def layout(self) -> dict[str, object]:
        """Return what else tells it from other formats."""
        return {"format": "offset and resolution"}

    def seal(self) -> None:
        """Write the metadata of all levels, then that of the group."""
        for level, array in enumerate(map(self.array, range(len(self.levels)))):
            grid = self.levels[level].affine
            size = 1000 * np.asarray(grid.voxel_size)
            # An offset is that of the corner of the first voxel.
            corner = 1000 * np.asarray(grid.translation) - size / 2
            where = {
                "offset": np.rint(corner).astype(int).tolist(),
                "resolution": np.rint(size).astype(int).tolist(),
            }
            documents = {array.document: array.metadata, ".zattrs": where}
            for name, content in documents.items():
                stores.write_bytes(
                    stores.join(array.url, name), encode(content), access=self.access
                )
        group = stores.join(self.url, ".zgroup")
        stores.write_bytes(group, encode({"zarr_format": 2}), access=self.access)


def _prism_place(specimen: Specimen) -> str:
    return "ls/images/full_dataset.zarr/raw"


def _prism(specimen: Specimen, image: Path) -> set[str]:
    whole = image.parent
    write_json(whole / ".zgroup", {"zarr_format": 2})
    volumes = {"raw": specimen.image, "dense_segmentation": specimen.labels, **specimen.volumes}
    for name, volume in volumes.items():
        writer = AttributedWriter(
            url=str(stores.parse(str(whole / name))),
            dtype=volume.dtype,
            levels=tuple(plan_levels(volume.shape, volume.affine, levels=3)),
            chunks=(32, 64, 64),
            kind=volume.kind,
            channels=tuple(volume.channels),
            provenance="",
            access=stores.Access.of(),
        )
        writer.claim(overwrite=True)
        for block in BlockGrid(volume.box, copy_block(volume, writer.block_multiple)):
            writer.write(block.core, volume.read(block.core))
        writer.finish()
    return set(specimen.volumes)


# Brainbow


def _brainbow_place(specimen: Specimen) -> str:
    return f"raw/{_stack(specimen)}.ome.tif"


def _stack(specimen: Specimen) -> str:
    return f"brainbow_{_subject(specimen)}"


def _brainbow(specimen: Specimen, image: Path) -> set[str]:
    home, name = image.parents[1], _stack(specimen)
    image.parent.mkdir(parents=True, exist_ok=True)
    write_tiff(specimen.image, str(image), overwrite=True)
    annotations = home / "annotations" / f"{name}.npy"
    annotations.parent.mkdir(parents=True, exist_ok=True)
    write_npy(specimen.labels, str(annotations), overwrite=True)
    about = {"file": image.name, "species": "Mus musculus", "labelling": "Brainbow"}
    write_json(home / "metadata" / f"{name}.json", about)
    return set()


LAYOUTS: dict[str, tuple[Callable[[Specimen], str], Callable[[Specimen, Path], set[str]]]] = {
    "axons": (_exaspim_place, _exaspim),
    "barcodes": (_prism_place, _prism),
    "brain": (_smartspim_place, _smartspim),
    "brainbow": (_brainbow_place, _brainbow),
}
"""Where the image of each kind lies, and what writes it; it returns which volumes it wrote."""
