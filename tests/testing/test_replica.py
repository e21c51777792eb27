"""Replicas of buckets: the same every time, and what they claim to be."""

import hashlib
import json

import numpy as np
import pytest
import zarr

from projectome.errors import UnknownNameError
from projectome.io.open import open_volume
from projectome.io.records import load_catalog
from projectome.io.skeletons.swc import read_swc
from projectome.io.volumes.ome_zarr import OmeZarrReader
from projectome.testing import replica_aind as aind
from projectome.testing import replica_prism as prism
from projectome.testing.replica import BUCKETS, make_replica
from projectome.testing.replica_parts import nifti, phantom_brain


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).digest() for p in files}


def test_there_is_one_of_each_dataset_named_like_its_bucket(replicas):
    for name, record in load_catalog().items():
        bucket = BUCKETS[name][0]
        assert (replicas / bucket).is_dir()
        if record.url is not None:
            assert record.url.startswith(f"s3://{bucket}")
            assert (replicas / record.url.removeprefix("s3://")).is_dir()
    with pytest.raises(UnknownNameError, match="replica 'nowhere'"):
        make_replica(replicas, "nowhere")


@pytest.mark.parametrize(
    "dataset", ["aind-smartspim", "pasteur-exaspim", "brainglobe", "mayo-ensp", "e11-prism"]
)
def test_the_same_seed_gives_the_same_bytes(tmp_path, replicas, dataset):
    again = make_replica(tmp_path, dataset)
    assert digests(again) == digests(replicas / again.name)
    assert not list(tmp_path.glob(".*"))


def test_a_stitched_brain_has_five_levels_that_show_a_brain(replicas):
    asset = replicas / "aind-open-data" / aind.SMART_STITCHED / "processed" / "OMEZarr"
    for channel in aind.CHANNELS:
        path = asset / f"{channel}.zarr"
        pyramid = open_volume(str(path))
        assert len(pyramid) == 5
        assert pyramid[0].channels == (channel,)
        assert pyramid[0].voxel_size == (2.0, 1.8, 1.8)
        group = zarr.open_group(str(path), mode="r")
        for level in range(5):
            read = np.asarray(group[str(level)])
            assert read.shape[:2] == (1, 1)
            assert (read[0, 0] == pyramid[level].read(channel=0)).all()
        light = pyramid[2].read(channel=0)
        middle, rim = light[tuple(slice(n // 3, -n // 3) for n in light.shape)], light[0]
        assert np.median(middle) > 1.5 * np.median(rim)  # tissue inside, none at the edge


def test_the_axes_of_the_raw_brain_are_those_of_its_picture(replicas):
    """The phantom runs posterior, inferior, right; the picture inferior, anterior, right."""
    acquisition = json.loads(
        (replicas / "aind-open-data" / aind.SMART_RAW / "acquisition.json").read_text()
    )
    ways = {axis["name"]: (axis["dimension"], axis["direction"]) for axis in acquisition["axes"]}
    assert ways == {
        "X": (2, "Left_to_right"),
        "Y": (1, "Posterior_to_anterior"),
        "Z": (0, "Superior_to_inferior"),
    }
    tissue = phantom_brain(0).tissue
    path = f"{aind.SMART_STITCHED}/processed/OMEZarr/Ex_445_Em_469.zarr"
    seen = open_volume(str(replicas / "aind-open-data" / path))[0].read(channel=0)
    assert (seen.transpose(1, 0, 2)[::-1] == tissue).all()


def test_detected_cells_lie_on_somata(replicas):
    asset = replicas / "aind-open-data" / aind.SMART_STITCHED
    cells = np.loadtxt(
        asset / "image_cell_segmentation/cell_Ex_561_Em_593/cell_likelihoods.csv",
        delimiter=",",
        skiprows=1,
        usecols=(0, 1, 2),
        dtype=int,
    )
    seen = open_volume(str(asset / "processed/OMEZarr/Ex_561_Em_593.zarr"))[0].read(channel=0)
    assert len(cells) == len(phantom_brain(0).neurons)
    assert (seen[tuple(cells.T)] > np.percentile(seen, 99)).all()


def test_the_axes_of_expanded_brains_are_those_of_their_pictures(replicas):
    """The phantom runs posterior, inferior, right; the picture right, superior, posterior."""
    light = phantom_brain(0).light
    for bucket, asset, path in (
        ("pasteur-exaspim", aind.PASTEUR, "exaspim/image.ome.zarr"),
        ("aind-open-data", aind.EXA_PROCESSED, "fusion/fused_ccf_ch.zarr"),
    ):
        acquisition = json.loads((replicas / bucket / asset / "acquisition.json").read_text())
        ways = {axis["dimension"]: axis["direction"] for axis in acquisition["axes"]}
        assert ways == {
            0: "Left_to_right",
            1: "Inferior_to_superior",
            2: "Anterior_to_posterior",
        }
        seen = open_volume(str(replicas / bucket / asset / path))[0].read()
        assert (np.squeeze(seen)[:, ::-1].transpose(2, 1, 0) == light).all()


def test_traced_neurons_lie_on_their_brain_in_voxels(replicas):
    bucket = replicas / "aind-open-data"
    light = open_volume(str(bucket / aind.EXA_PROCESSED / "fusion/fused_ccf_ch.zarr"))[0]
    grey = np.squeeze(light.read())
    for name, asset in aind.EXA_NEURONS.items():
        file = f"specimen_space_reconstructions/refined/{name}-841260-DR.swc"
        neuron = read_swc(bucket / asset / file).skeleton
        assert neuron.kind is not None
        nodes = np.rint(neuron.coordinates).astype(int)
        assert np.median(grey[tuple(nodes.T)]) > 1.2 * np.median(grey[grey > 0])
        ccf = read_swc(bucket / asset / f"ccf_space_reconstructions/{name}-841260-DR.swc").skeleton
        assert (ccf.coordinates.max(0) < aind.CCF_UM[::-1]).all()


def test_the_microscope_of_the_institut_pasteur_mixes_units(replicas):
    raw = replicas / "pasteur-exaspim" / aind.PASTEUR_RAW
    acquisition = json.loads((raw / "exaspim_acquisition.json").read_text())
    assert not (raw / "acquisition.json").exists()
    tile = acquisition["tiles"][1]
    scale, shift = tile["coordinate_transformations"]
    assert scale["scale"] == ["0.748", "0.748", "1.0"]
    across = [float(v) for v in shift["translation"]]  # a real tile is about 10 mm wide
    assert (across[0], across[2]) == (0, 0)
    assert 5 < across[1] < 15
    first = zarr.open_array(str(raw / "exaSPIM" / "tile_000000_ch_488.zarr"), mode="r")
    second = zarr.open_array(str(raw / "exaSPIM" / "tile_000001_ch_488.zarr"), mode="r")
    assert (first[:, :, -8:] == second[:, :, :8]).all()
    assert tile["file_name"].endswith(".ims")


def test_crops_of_prism_have_labels_inside_their_raw(replicas):
    for number, channels in prism.CROPS.items():
        crop = replicas / "e11bio-prism/ls/models/training_data/instance" / f"crop_{number}.zarr"
        raw, labels = (zarr.open_array(str(crop / name), mode="r") for name in ("raw", "labels"))
        assert raw.shape[0] == channels
        assert labels.dtype == np.uint64
        step = np.array(raw.attrs["resolution"])
        start = (np.array(labels.attrs["offset"]) - raw.attrs["offset"]) / step
        assert (start == start.astype(int)).all()
        assert (start > 0).all()
        assert (start + labels.shape < raw.shape[1:]).all()
        inside = tuple(slice(int(a), int(a) + n) for a, n in zip(start, labels.shape, strict=True))
        lit = raw[:][(slice(None), *inside)].max(0)
        assert lit[labels[:] > 0].mean() > lit[labels[:] == 0].mean() + 20


def test_scales_of_prism_double(replicas):
    home = replicas / "e11bio-prism/ls/images/full_dataset.zarr"
    for name, first in (("raw", "s0"), ("all", "0")):
        array = zarr.open_array(str(home / name / first), mode="r")
        assert array.attrs["resolution"] == list(prism.RESOLUTION)
        coarse = zarr.open_array(str(home / name / first.replace("0", "5")), mode="r")
        assert coarse.attrs["resolution"] == [32 * r for r in prism.RESOLUTION]
    assert zarr.open_array(str(home / "all" / "0"), mode="r").shape[0] == 40


def test_atlases_and_stacks_open(replicas):
    sets = replicas / "brainglobe/atlas/annotation-sets/phantom_mouse-annotation/3_0"
    assert OmeZarrReader().name
    labels = open_volume(str(sets / "annotations_compressed.ome.zarr"))
    assert labels[0].dtype == np.uint32
    assert labels[0].read().max() > 0
    stack = open_volume(str(replicas / "mayo-ensp/raw/brainbow_01.ome.tif"))
    assert stack[0].voxel_size == pytest.approx((1.0, 0.2, 0.2))
    assert len(stack[0].channels) == 3
    confocal = open_volume(str(replicas / "mayo-ensp/raw/confocal_01.czi"))
    assert confocal[0].voxel_size == (0.4, 0.12, 0.12)
    assert confocal[0].channels == ("EGFP", "tdTomato")
    for channel in range(2):
        assert (confocal[0].read(channel=channel) == stack[0].read(channel=channel)).all()


def test_a_zoom_gives_more_voxels_of_the_same_kind(tmp_path, replicas):
    path = f"pasteur-exaspim/{aind.PASTEUR}/exaspim/image.ome.zarr"
    make_replica(tmp_path, "pasteur-exaspim", zoom=2)
    small, large = (open_volume(str(folder / path))[0] for folder in (replicas, tmp_path))
    assert large.shape == tuple(2 * n for n in small.shape)
    assert large.voxel_size == small.voxel_size


def test_the_nifti_header_is_one(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    (tmp_path / "a.nii.gz").write_bytes(nifti(array, (0.1, 0.2, 0.3)))
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert (np.asarray(image.dataobj) == array).all()
    assert image.header.get_zooms() == pytest.approx((0.1, 0.2, 0.3))
    assert image.header.get_xyzt_units()[0] == "mm"
