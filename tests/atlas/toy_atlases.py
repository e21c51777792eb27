"""A small atlas whose every figure can be counted by hand, and its copy in the public layout."""

import json

import numpy as np
import zarr

from projectome.core.atlas import Atlas, Plane, Terminology
from projectome.core.space import Space
from projectome.core.volume import Volume

SPACE = Space("toy", toward=("posterior", "inferior", "left"))
# root 997 (with voxels of its own) holds CTX 688 and TH 549; CTX holds RSP 312782546, whose id is
# wider than 16 bits, and MO 500, whose acronym is the beginning of MOB's; MOB 507 is in TH.
REGIONS = [
    (997, None, "root"),
    (688, 997, "CTX"),
    (312782546, 688, "RSP"),
    (500, 688, "MO"),
    (549, 997, "TH"),
    (507, 549, "MOB"),
]
IDS = [region[0] for region in REGIONS]


def toy_tree():
    place = {region[0]: row for row, region in enumerate(REGIONS)}
    return Terminology(
        np.array(IDS),
        tuple(r[2] for r in REGIONS),
        tuple(f"the {r[2]}" for r in REGIONS),
        np.array([-1 if r[1] is None else place[r[1]] for r in REGIONS]),
        np.full((len(REGIONS), 3), 90),
    )


def toy_labels(shape=(20, 16, 18), seed=0, dtype="uint32"):
    """Blobs of all regions, in coarse cells so that there are runs, with some outside."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 0, *IDS], [-(-n // 3) for n in shape])
    labels = np.kron(coarse, np.ones((3, 3, 3), np.int64))[tuple(slice(n) for n in shape)]
    single = rng.random(shape) < 0.05
    labels[single] = rng.choice([0, *IDS], single.sum())
    return labels.astype(dtype)


def toy_atlas(labels=None, *, voxel_size=(25.0, 20.0, 10.0), midline="middle", **more):
    labels = toy_labels() if labels is None else labels
    volume = Volume.from_array(
        labels, voxel_size=voxel_size, translation=(5.0, 0.0, -3.0), space=SPACE, kind="labels"
    )
    plane = None
    if midline == "middle":
        x = volume.affine([(np.asarray(labels.shape) - 1) / 2])[0]
        plane = Plane(x, np.array([0.0, 0.0, -1.0]), SPACE)
    return Atlas("toy", toy_tree(), volume, midline=plane, **more)


AXES = [
    ("z", "anterior-to-posterior"),
    ("y", "superior-to-inferior"),
    ("x", "right-to-left"),
]


def write_image(folder, levels, *, size=0.1, key="value", names=("s0", "s1"), translated=True):
    """Write an OME-Zarr 0.5 image with zarr-python, as BrainGlobe's packager lays it out."""
    group = zarr.create_group(folder, zarr_format=3)
    datasets = []
    for k, (name, values) in enumerate(zip(names, levels, strict=False)):
        array = group.create_array(
            name, shape=values.shape, chunks=(8,) * values.ndim, dtype=values.dtype,
            compressors=zarr.codecs.ZstdCodec(level=0), config={"write_empty_chunks": False},
        )  # fmt: skip
        array[...] = values
        scale = size * 2**k
        transforms = [{"type": "scale", "scale": [1.0] * (values.ndim - 3) + [scale] * 3}]
        if translated:
            shift = [0.0] * (values.ndim - 3) + [(scale - size) / 2] * 3
            transforms.append({"type": "translation", "translation": shift})
        datasets.append({"path": name, "coordinateTransformations": transforms})
    axes = [
        {
            "name": name, "type": "space", "unit": "millimeter",
            "orientation": {"type": "anatomical", key: way},
        }
        for name, way in AXES
    ]  # fmt: skip
    if levels[0].ndim == 4:
        axes.insert(0, {"name": "region", "type": "custom"})
    scales = [{"name": "/", "axes": axes, "datasets": datasets}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": scales}


def coarser(labels):
    return labels[::2, ::2, ::2]


def write_tree(
    root, *, name="toy_mouse_100um", labels=None, symmetric=True, key="value", old=False, **manifest
):
    """Write an atlas in the layout of BrainGlobe 3; the older generation of its paths if `old`."""
    labels = toy_labels() if labels is None else labels
    version = "2017" if old else "3_0"
    parts = {
        "coordinate_space": ("coordinate-spaces", "toy-space"),
        "terminology": ("terminologies", "toy-terminology"),
        "annotation_set": ("annotation-sets", "toy-annotation"),
        "template": ("templates", "toy-template"),
    }
    stated = {
        kind: {"name": part, "version": "3.0", "location": f"/{place}/{part}/{version}"}
        for kind, (place, part) in parts.items()
    }
    stated["annotation_set"]["template"] = dict(stated["template"])
    document = {
        "name": "toy_mouse", "version": "3.0", "orientation": "asr", "symmetric": symmetric,
        "resolution": [100.0, 100.0, 100.0], "shape": list(labels.shape), "species": "Mus",
        **stated, **manifest,
    }  # fmt: skip
    home = root / "atlases" / name / "3_0"
    home.mkdir(parents=True)
    (home / "manifest.json").write_text(json.dumps(document))
    (root / "atlases" / "last_versions.conf").write_text(f"[atlases]\n{name} = 3.0\n")
    terms = root / "terminologies" / "toy-terminology" / version
    terms.mkdir(parents=True)
    (terms / "terminology.csv").write_text(terminology())
    sets = root / "annotation-sets" / "toy-annotation" / version
    file = "annotation.ome.zarr" if old else "annotations_compressed.ome.zarr"
    names = ("0", "1") if old else ("s0", "s1")
    options = {"key": key, "names": names, "translated": not old}
    write_image(sets / file, [labels, coarser(labels)], **options)
    if not old:  # the stack of masks, which is never the annotation
        masks = np.stack([(labels == i).astype(np.uint8) for i in IDS])
        write_image(sets / "annotations.ome.zarr", [masks], names=names)
    halves = np.full(labels.shape, 2, np.uint8)
    halves[:, :, labels.shape[2] // 2 :] = 1
    write_image(sets / "hemispheres.ome.zarr", [halves, coarser(halves)], **options)
    image = "anatomical_template.ome.zarr" if old else "template.ome.zarr"
    picture = (labels > 0).astype(np.uint16) * 300
    pictures = root / "templates" / "toy-template" / version
    write_image(pictures / image, [picture, coarser(picture)], **options)
    return root


def terminology():
    """The table, columns in another order than usual; paths as BrainGlobe writes them."""
    parents = {region[0]: region[1] for region in REGIONS}
    lines = ["abbreviation,identifier,name,parent_identifier,root_identifier_path,annotation_value"]
    for identifier, parent, acronym in REGIONS:
        path, at = [identifier], parent
        while at is not None:
            path.insert(0, at)
            at = parents[at]
        line = [acronym, identifier, f"the {acronym}", parent or "", f'"{path}"', identifier]
        lines.append(",".join(map(str, line)))
    return "\n".join(lines) + "\n"
