"""The Allen's files and labels of one's own: nothing believed unseen."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from toy_atlases import SPACE, terminology, toy_atlas, toy_labels

from projectome.atlas.allen import check_anatomy, match_template, open_allen
from projectome.atlas.labels import open_labels
from projectome.atlas.regions import region_table
from projectome.core.volume import ArrayInMemory, Pyramid, Volume
from projectome.errors import (
    FormatError,
    MetadataError,
    NotFoundError,
    OrientationUnknownError,
    ParameterError,
)
from projectome.io.volumes.nrrd_write import write_nrrd
from projectome.workflows.atlas import open_atlas

# A framework of 200 um voxels: 66 x 40 x 57, the olfactory bulb in front, the cerebellum behind,
# cortex above, hypothalamus below.
SHAPE = (66, 40, 57)
TREE = [
    {"id": 997, "acronym": "root", "name": "root", "structure_id_path": [997]},
    {"id": 507, "acronym": "MOB", "name": "Main olfactory bulb", "structure_id_path": [997, 507]},
    {"id": 512, "acronym": "CB", "name": "Cerebellum", "structure_id_path": [997, 512]},
    {"id": 688, "acronym": "CTX", "name": "Cerebral cortex", "structure_id_path": [997, 688]},
    {"id": 1097, "acronym": "HY", "name": "Hypothalamus", "structure_id_path": [997, 1097]},
]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECTOME_CACHE", str(tmp_path / "cache"))


def brain():
    labels = np.zeros(SHAPE, np.uint32)
    labels[3:12, 12:24, 18:38] = 507
    labels[12:45, 5:18, 6:50] = 688
    labels[20:36, 18:34, 20:36] = 1097
    labels[48:62, 8:30, 10:46] = 512
    return labels


def native(folder, labels=None, *, template=None):
    """Write files as the Allen has them: the fastest axis of the labels runs to the back."""
    folder.mkdir()
    stored = np.ascontiguousarray((brain() if labels is None else labels).T)
    volume = Volume.from_array(stored, voxel_size=(200.0,) * 3, kind="labels")
    write_nrrd(volume, str(folder / "annotation_200.nrrd"))
    (folder / "tree.json").write_text(json.dumps(TREE))
    if template is not None:
        tifffile.imwrite(folder / "average_template_200.tif", template)
    return folder


def test_axes_follow_from_the_extent_of_the_framework(tmp_path):
    atlas = open_atlas(str(native(tmp_path / "ccf")))
    assert atlas.space.toward == ("posterior", "inferior", "right")
    assert (atlas.annotation.read() == brain()).all()
    assert atlas.annotation.affine.translation == (0, 0, 0)
    assert atlas.midline.point[2] == 28 * 200
    left = region_table(atlas).volume_mm3("MOB", 1)
    assert left == pytest.approx((brain()[..., :28] == 507).sum() * 0.008)


@pytest.mark.parametrize(
    ("flip", "told"),
    [((0,), "front to back"), ((1,), "top to bottom"), ((0, 1), "and top"), ((), "")],
)
def test_a_template_that_lies_the_other_way_round_is_turned_and_told(tmp_path, flip, told):
    image = (brain() > 0).astype(np.uint16) * 200
    atlas = open_atlas(str(native(tmp_path / "ccf", template=np.flip(image, flip))))
    assert (atlas.template.read() == image).all()
    texts = [p.message for p in atlas.problems if p.where == "template"]
    assert len(texts) == bool(flip)
    assert all(told in text for text in texts)


@pytest.mark.parametrize("axis", [0, 1])
def test_labels_that_lie_the_other_way_round_are_refused(tmp_path, axis):
    folder = native(tmp_path / "ccf", np.flip(brain(), axis))
    with pytest.raises(
        MetadataError, match="lie the other way round than stated: axis " + "zy"[axis]
    ):
        open_atlas(str(folder))
    code = {0: "RIA", 1: "RSP"}[axis]  # fastest axis last
    atlas = open_atlas(str(folder), orientation=code, meaning="toward")
    assert (atlas.annotation.read() == brain()).all()


def test_another_extent_needs_an_orientation(tmp_path):
    folder = native(tmp_path / "ccf", brain()[:50])
    with pytest.raises(ParameterError, match="not the extent of the Allen mouse framework"):
        open_allen(str(folder))
    atlas = open_allen(str(folder), orientation="RIP")
    assert atlas.annotation.shape == (50, 40, 57)


def test_missing_and_several_files(tmp_path):
    folder = native(tmp_path / "ccf")
    (folder / "annotation_25.nrrd").write_bytes(b"")
    with pytest.raises(ParameterError, match="has 2 files that may be the label volume"):
        open_allen(str(folder))
    (folder / "annotation_25.nrrd").unlink()
    (folder / "tree.json").unlink()
    with pytest.raises(NotFoundError, match=r"has no ontology \(JSON or CSV\)"):
        open_allen(str(folder))


def test_anatomy_is_not_asked_of_other_brains():
    check_anatomy(region_table(toy_atlas()))
    plain = toy_atlas()
    assert match_template(plain) is plain


def own(labels, **more):
    volume = Volume.from_array(labels, voxel_size=(25, 20, 10), space=SPACE, name="mine")
    return Pyramid((volume,))


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "regions.csv"
    file.write_text(terminology())
    return str(file)


def test_labels_and_a_table_of_your_own(table):
    labels = toy_labels()
    atlas = open_labels(own(labels), table, midline_um=85.0)
    assert region_table(atlas).volume_mm3("CTX") == region_table(toy_atlas()).volume_mm3("CTX")
    assert atlas.midline.normal.tolist() == [0, 0, -1]
    unsure = open_labels(own(labels), table)
    assert "left and right are not told apart" in unsure.problems[0].message
    volume = Volume.from_array(labels, voxel_size=(25, 20, 10))
    with pytest.raises(OrientationUnknownError, match="--orientation CODE --meaning"):
        open_labels(Pyramid((volume,)), table, midline_um=85.0)


def test_labels_as_floating_point(tmp_path, table):
    """float32 keeps whole numbers up to 2^24 only; RSP is 312782546 in this tree."""
    labels = toy_labels()
    with pytest.raises(FormatError, match="up to 16777216, and the table has ids up to 312782546"):
        open_labels(own(labels.astype(np.float32)), table)
    atlas = open_labels(own(labels.astype(np.float64)), table)
    assert atlas.annotation.dtype == np.int64
    assert (atlas.annotation.read() == labels).all()
    broken = labels.astype(np.float64)
    broken[1, 2, 3] = 7.5
    with pytest.raises(FormatError, match=r"7.5.*which is no label"):
        open_labels(own(broken), table).annotation.read()
    small = tmp_path / "small.csv"
    small.write_text("id,parent,acronym\n1,,a\n2,1,b\n")
    atlas = open_labels(own((labels % 3).astype(np.float32)), str(small))
    assert (atlas.annotation.read() == labels % 3).all()


def test_labels_above_2_to_the_53(tmp_path):
    big = 2**53 + 1
    small = tmp_path / "big.csv"
    small.write_text(f"id,parent,acronym\n1,,a\n{big},1,b\n{big + 1},1,c\n")
    labels = np.where(toy_labels() > 600, big, big + 1).astype(np.uint64)
    atlas = open_labels(own(labels), str(small))
    assert region_table(atlas).volume_mm3(big) * 1e9 / 5000 == pytest.approx((labels == big).sum())
    with pytest.raises(FormatError, match="regions would be confused"):
        open_labels(own(labels.astype(np.float64)), str(small))


def test_an_empty_table(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(FormatError, match="lists no region"):
        open_labels(own(toy_labels()), str(tmp_path / "empty.csv"))


def test_channels_are_no_labels(table):
    volume = Volume.from_array(np.zeros((2, 4, 4, 4), np.uint8), voxel_size=(1, 1, 1))
    with pytest.raises(FormatError, match="has the channels"):
        open_labels(Pyramid((volume,)), table)


def test_the_phantom_is_always_there():
    atlas = open_atlas("phantom")
    assert atlas.terminology.row("RSP")
    assert atlas.midline is not None
    coarse = replace(atlas.annotation, array=ArrayInMemory(atlas.annotation.read()[::2, ::2, ::2]))
    grid = coarse.affine.from_scale((16, 16, 16), target=atlas.space)
    both = replace(atlas, coarser=(replace(coarse, affine=grid),))
    assert both.at(voxel_size=20).annotation.voxel_size == (16, 16, 16)
    assert both.at(voxel_size=10).annotation.voxel_size == (8, 8, 8)
