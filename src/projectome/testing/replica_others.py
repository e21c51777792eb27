"""Replicas of the buckets with atlases and with confocal stacks."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from scipy import ndimage

from projectome.datasets.phantom import make_phantom
from projectome.errors import MissingExtraError
from projectome.testing.replica_parts import (
    BRAIN,
    Array,
    tiff,
    write,
    write_ome_zarr3,
    write_precomputed,
)
from projectome.testing.replica_prism import neurites

ATLAS = "phantom_mouse"
SIGNATURES = {
    "nd2": b"\xda\xce\xbe\x0a",
    "oib": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
}


def brainglobe(folder: Path, seed: int, zoom: int) -> None:
    """Write the bucket of BrainGlobe with one atlas, in the layout of version 3."""
    size_px = [zoom * n for n in BRAIN]
    atlas = make_phantom(seed=seed, size=size_px, neurons=1).atlas
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


def mayo(folder: Path, seed: int, zoom: int) -> None:
    """Write a bucket of confocal stacks: raw by microscope, processed, annotations, metadata.

    No layout is public; the folders are those of the dataset's description. The TIFF, CZI, HDF5 and
    NPY files are whole; of ND2 and OIB there is the signature alone, which is enough to list them.
    """
    rng = np.random.default_rng(seed)
    labels = neurites((12, 48 * zoom, 64 * zoom), 10 * zoom, rng)
    colours = brainbow(labels, rng)
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
    write(folder / "raw" / "confocal_01.czi", czi(colours[:2]))
    smooth = ndimage.gaussian_filter(colours, (0, 0, 1, 1))
    write(folder / "processed" / "brainbow_01.h5", _hdf5(smooth))
    write(folder / "annotations" / "brainbow_01.npy", _npy(labels.astype(np.uint16)))
    about = {"file": "brainbow_01.ome.tif", "species": "Mus musculus", "labelling": "Brainbow"}
    write(folder / "metadata" / "brainbow_01.json", about)


def brainbow(labels: Array, rng: np.random.Generator) -> Array:
    """Return three channels (c, z, y, x), uint16; every neuron has a hue of its own."""
    hues = rng.random((int(labels.max()) + 1, 3)) ** 2
    hues /= hues.max(axis=1, keepdims=True)
    hues[0] = 0
    seen = np.empty((3, *labels.shape), np.uint16)
    for channel, hue in enumerate(hues.T):
        light = ndimage.gaussian_filter(2000 * hue[labels.astype(np.intp)], (0.4, 1, 1))
        seen[channel] = rng.poisson(light + 120)
    return seen


CZI_XML = """<?xml version="1.0"?><ImageDocument><Metadata><Information><Image>
<AcquisitionDateAndTime>2024-05-06T07:08:09Z</AcquisitionDateAndTime>
<Dimensions><Channels>
<Channel Id="Channel:0" Name="EGFP"><Fluor>EGFP</Fluor>
<ExcitationWavelength>488</ExcitationWavelength><EmissionWavelength>509</EmissionWavelength></Channel>
<Channel Id="Channel:1" Name="tdTomato"><Fluor>tdTomato</Fluor>
<ExcitationWavelength>561</ExcitationWavelength><EmissionWavelength>581</EmissionWavelength></Channel>
</Channels></Dimensions><ObjectiveSettings><ObjectiveRef Id="Objective:0"/></ObjectiveSettings>
</Image><Instrument><Microscopes><Microscope Id="Microscope:0" Name="LSM 880"/></Microscopes>
<Objectives><Objective Id="Objective:0" Name="Plan-Apochromat 63x/1.4 Oil"><LensNA>1.4</LensNA>
<Immersion>Oil</Immersion><NominalMagnification>63</NominalMagnification></Objective></Objectives>
</Instrument></Information><Scaling><Items><Distance Id="X"><Value>1.2e-7</Value></Distance>
<Distance Id="Y"><Value>1.2e-7</Value></Distance><Distance Id="Z"><Value>4e-7</Value></Distance>
</Items></Scaling></Metadata></ImageDocument>"""


def czi(stack: Array) -> bytes:
    """Return two channels (c, z, y, x), uint16, as a CZI file: one uncompressed subblock a plane.

    References
    ----------
    ZEISS, ZISRAW (CZI) file format, design specification 1.2.2: segments of a name, two sizes and
    content; directory entries of the schema DV, one dimension in 20 bytes.
    """

    def segment(name: bytes, content: bytes) -> bytes:
        room = -(-len(content) // 32) * 32
        return struct.pack("<16sqq", name, room, len(content)) + content.ljust(room, b"\0")

    out = bytearray(segment(b"ZISRAWFILE", bytes(512)))
    entries = b""
    for c, z in np.ndindex(*stack.shape[:2]):
        plane = stack[c, z]
        entry = struct.pack("<2siqiiB5xi", b"DV", 1, len(out), 0, 0, 0, 4)
        sizes = {b"X": (0, plane.shape[1]), b"Y": (0, plane.shape[0]), b"C": (c, 1), b"Z": (z, 1)}
        for letter, (start, size) in sizes.items():
            entry += struct.pack("<4siifi", letter, start, size, float(start), size)
        entries += entry
        head = struct.pack("<iiq", 0, 0, plane.nbytes) + entry
        out += segment(b"ZISRAWSUBBLOCK", head.ljust(256, b"\0") + plane.astype("<u2").tobytes())
    directory, count = len(out), stack.shape[0] * stack.shape[1]
    out += segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", count) + entries)
    metadata, text = len(out), CZI_XML.encode()
    out += segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(text), 0) + text)
    head = struct.pack("<ii8x32xiqqi", 1, 0, 0, directory, metadata, 0)
    out[32 : 32 + len(head)] = head
    return bytes(out)


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
