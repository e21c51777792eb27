"""Replicas of the buckets with atlases and with confocal stacks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from projectome.datasets.phantom import make_phantom
from projectome.errors import MissingExtraError
from projectome.testing.replica_parts import (
    BRAIN,
    Array,
    phantom_brain,
    tiff,
    write,
    write_ome_zarr3,
    write_precomputed,
)

ATLAS = "phantom_mouse"
SIGNATURES = {
    "nd2": b"\xda\xce\xbe\x0a",
    "oib": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "czi": b"ZISRAWFILE",
}


def brainglobe(folder: Path, seed: int) -> None:
    """Write the bucket of BrainGlobe with one atlas, in the layout of version 3."""
    atlas = make_phantom(seed=seed, size=BRAIN, neurons=1).atlas
    home, version = folder / "atlas", "3_0"
    size = [float(v) for v in atlas.annotation.voxel_size]
    parts = {
        "coordinate_space": ("coordinate-spaces", f"{ATLAS}-space"),
        "terminology": ("terminologies", f"{ATLAS}-terminology"),
        "annotation_set": ("annotation-sets", f"{ATLAS}-annotation"),
        "template": ("templates", f"{ATLAS}-template"),
    }
    manifest: dict[str, object] = {
        "name": f"{ATLAS}_25um",
        "version": "3.0",
        "species": "Mus musculus",
        "orientation": "asr",
        "resolution": [[25.0, 25.0, 25.0]],
        "symmetric": True,
    }
    for key, (place, name) in parts.items():
        location = f"/{place}/{name}/{version}"
        manifest[key] = {"name": name, "version": "3.0", "location": location}
    write(home / "atlases" / "last_versions.conf", f"[atlases]\n{ATLAS}_25um = 3.0\n")
    write(home / "atlases" / f"{ATLAS}_25um" / version / "manifest.json", manifest)
    space = {"name": f"{ATLAS}-space", "version": "3.0", "template": manifest["template"]}
    write(home / "coordinate-spaces" / f"{ATLAS}-space" / version / "manifest.json", space)
    rows = ["identifier,parent_identifier,annotation_value,name,abbreviation,root_identifier_path"]
    rows.append("997,,997,root,root,/997/")
    terms = home / "terminologies" / f"{ATLAS}-terminology" / version
    write(terms / "terminology.csv", "\n".join(rows) + "\n")
    labels = atlas.annotation.read().astype(np.uint32)
    sets = home / "annotation-sets" / f"{ATLAS}-annotation" / version
    write_ome_zarr3(sets / "annotations_compressed.ome.zarr", labels, voxel_size=size, levels=2)
    halves = np.ones(labels.shape, np.uint8)
    halves[:, :, : labels.shape[2] // 2] = 2
    write_ome_zarr3(sets / "hemispheres.ome.zarr", halves, voxel_size=size, levels=2)
    write_precomputed(
        sets / "annotations.precomputed",
        labels,
        resolution_nm=(25_000,) * 3,
        levels=1,
        kind="segmentation",
    )
    if atlas.template is not None:
        image = atlas.template.read()
        average = home / "templates" / f"{ATLAS}-template" / version / "template.ome.zarr"
        write_ome_zarr3(average, image, voxel_size=size, levels=2)


def mayo(folder: Path, seed: int) -> None:
    """Write a bucket of confocal stacks: raw by microscope, processed, annotations, metadata.

    No layout is public; the folders are those of the dataset's description. The TIFF, HDF5 and NPY
    files are whole; of the microscopes' own formats there is the signature alone, which is enough
    to list them.
    """
    light, _ = phantom_brain(seed)
    stack = light[50:58, 20:60, 20:68]
    colours = np.stack([np.roll(stack, 5 * n, axis=2) for n in range(3)])
    axes: dict[str, object] = {
        "axes": "ZCYX",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeY": 0.2,
        "PhysicalSizeZ": 1.0,
    }
    axes["UUID"] = "urn:uuid:00000000-0000-4000-8000-000000000000"
    write(
        folder / "raw" / "brainbow_01.ome.tif",
        tiff(colours.swapaxes(0, 1), metadata=axes, ome=True),
    )
    for ending, signature in SIGNATURES.items():
        write(folder / "raw" / f"confocal_01.{ending}", signature)
    write(folder / "processed" / "brainbow_01.h5", _hdf5(colours))
    write(folder / "annotations" / "brainbow_01.npy", _npy((stack > 900).astype(np.uint8)))
    about = {"file": "brainbow_01.ome.tif", "species": "Mus musculus", "labelling": "Brainbow"}
    write(folder / "metadata" / "brainbow_01.json", about)


def _hdf5(array: Array) -> bytes:
    try:
        import h5py
    except ImportError:
        raise MissingExtraError("Writing an HDF5 file", "h5py", "microscope") from None
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.create_dataset("image", data=array, chunks=(1, 4, 20, 24), compression="gzip")
    return file.getvalue()


def _npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
