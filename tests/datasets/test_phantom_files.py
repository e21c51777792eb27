import hashlib
import json

import numpy as np
import pytest

from projectome.core.skeleton import SOMA
from projectome.datasets.phantom import make_phantom
from projectome.datasets.phantom_files import open_phantom, read_terminology, write_phantom
from projectome.errors import FormatError, NotFoundError, OutputExistsError
from projectome.io.open import open_volume


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    return write_phantom(tiny, tmp_path_factory.mktemp("phantom") / "tiny")


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_image_and_labels_are_what_the_phantom_computes(tiny, tiny_image, folder):
    image = open_volume(folder.image)
    assert image[0].space == tiny.space
    assert image[0].voxel_size == (4.0, 4.0, 4.0)
    assert np.array_equal(image[0].read(), tiny_image)
    labels = open_volume(folder.labels)[0]
    assert labels.kind == "labels"
    assert np.array_equal(labels.read(), tiny.labels.read())


def test_neurons_are_one_tree_a_file_in_micrometres(tiny, folder):
    found = folder.skeletons()
    assert len(found) == len(tiny.neurons)
    for skeleton, neuron in zip(found, tiny.neurons, strict=True):
        assert skeleton.space == tiny.space
        assert np.allclose(skeleton.coordinates, neuron.skeleton.coordinates, atol=1e-5)
        assert np.array_equal(skeleton.parent, neuron.skeleton.parent)
        assert np.array_equal(skeleton.kind, neuron.skeleton.kind)
        assert skeleton.kind[0] == SOMA
    text = (folder.path / "truth" / "neurons" / "1.swc").read_text()
    assert f"{tiny.neurons[0].projection}, {tiny.neurons[0].source} to" in text


def test_tables_come_back(tiny, folder):
    somata = folder.somata()
    assert np.array_equal(somata.coordinates, tiny.somata.coordinates)
    assert somata.space == tiny.space
    for name in ("id", "region_id", "hemisphere", "projection", "source", "target"):
        assert list(somata[name]) == list(tiny.somata[name])
    assert folder.projections().equals(tiny.projections)


def test_atlas_comes_back(tiny, folder):
    atlas = folder.atlas()
    assert atlas.name == tiny.atlas.name
    assert atlas.space == tiny.space
    assert np.array_equal(atlas.annotation.read(), tiny.atlas.annotation.read())
    assert np.array_equal(atlas.template.read(), tiny.atlas.template.read())
    assert np.allclose(atlas.annotation.affine.matrix, tiny.atlas.annotation.affine.matrix)
    assert np.array_equal(atlas.midline.point, tiny.atlas.midline.point)
    tree, truth = atlas.terminology, tiny.atlas.terminology
    assert (tree.acronyms, tree.names) == (truth.acronyms, truth.names)
    assert np.array_equal(tree.ids, truth.ids)
    assert np.array_equal(tree.parents, truth.parents)
    assert np.array_equal(tree.colours, truth.colours)


def test_same_bytes_on_disk_every_time(tiny, folder, tmp_path):
    again = write_phantom(make_phantom(size="tiny", seed=tiny.seed), tmp_path / "again")
    assert contents(again.path) == contents(folder.path)


def test_a_complete_phantom_is_left_and_an_interrupted_one_made_anew(tiny, folder):
    image = folder.path / "image.ome.zarr" / ".zattrs"
    before = image.stat().st_mtime_ns
    write_phantom(tiny, folder.path)
    assert image.stat().st_mtime_ns == before
    note = folder.path / "phantom.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "complete": False}))
    with pytest.raises(NotFoundError, match=r"No complete phantom in .*write_phantom"):
        open_phantom(folder.path)
    write_phantom(tiny, folder.path)
    assert image.stat().st_mtime_ns > before
    assert open_phantom(folder.path) == folder


def test_something_else_is_never_overwritten_unasked(tiny, folder, tmp_path):
    with pytest.raises(OutputExistsError, match="overwrite"):
        write_phantom(make_phantom(size="tiny", seed=tiny.seed + 1), folder.path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="something other"):
        write_phantom(tiny, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_broken_terminology_says_what_is_wrong(folder, tmp_path):
    text = (folder.path / "atlas" / "terminology.csv").read_text()
    broken = tmp_path / "terminology.csv"
    broken.write_text(text.replace("[1, 2]", "[1; 2]"))
    with pytest.raises(FormatError, match=r"not a region tree.*root_identifier_path is a list"):
        read_terminology(broken)
    broken.write_text("id,acronym\n1,root\n")
    with pytest.raises(FormatError, match=r"KeyError\('identifier'\).*columns are those of"):
        read_terminology(broken)
