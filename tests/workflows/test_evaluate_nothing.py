"""Input that is empty, tiny or broken: an error with the way out, or the documented limit value."""

import math

import numpy as np
import pytest

import projectome
from projectome.core.space import Space
from projectome.errors import (
    FormatError,
    ParameterError,
    ProjectomeError,
    ShapeError,
    SpaceMismatchError,
)
from projectome.workflows.evaluate import Comparison, evaluate
from projectome.workflows.evaluate_report import write_evaluation
from projectome.workflows.job import Job

SERIAL = Job(executor="serial")
GOOD = "".join(f"{k} 2 {k}.0 5 5 1 {k - 1 if k > 1 else -1}\n" for k in range(1, 31))
TREES = {
    "good": GOOD,
    "one": "1 2 5 5 5 1 -1\n",
    "stack": "1 2 5 5 5 1 -1\n2 2 5 5 5 1 1\n",
    "empty": "# nothing\n",
}
TABLES = {
    "none.csv": "id,z_um,y_um,x_um,class\n",
    "two.csv": "id,z_um,y_um,x_um,class\n1,1,2,3,a\n2,4,5,6,b\n",
}
CORNERS = ",".join(f"{part}_{axis}_um" for part in ("start", "end") for axis in "zyx")
BETTER_SMALL = ("omitted", "merged", "split", "VOI", "ARAND", "CREMI", "ESA", "DSA", "PDS", "95 %")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    for name, text in TREES.items():
        (folder / f"{name}.swc").write_text(text)
    for name, text in TABLES.items():
        (folder / name).write_text(text)
    (folder / "box.csv").write_text(f"{CORNERS}\n0,0,0,1,1,1\n")
    (folder / "nobox.csv").write_text(f"{CORNERS}\n")
    labels = np.zeros((10, 10, 32), np.uint16)
    labels[3:8, 3:8, :25] = 1
    broken = labels.astype(np.float32)
    broken[0, 0, 0] = np.nan
    volumes = {
        "labels": labels,
        "zero": 0 * labels,
        "floats": labels + np.float32(0.5),
        "nan": broken,
        "small": labels[1:],
        "minus": -labels.astype(np.int16),
    }
    for name, array in volumes.items():
        volume = projectome.Volume.from_array(array, voxel_size=(1, 1, 1))
        projectome.write_volume(volume, folder / f"{name}.ome.zarr")
    gel = projectome.Volume.from_array(labels, voxel_size=(1, 1, 1), space=Space(expansion=4.0))
    projectome.write_volume(gel, folder / "gel.ome.zarr")
    return folder


def score(files, kind, truth, found, **how):
    known = {path.name.split(".")[0]: path for path in files.iterdir()}
    pair = [str(known.get(name, files / name)) for name in (truth, found)]
    return evaluate(kind, *pair, how=Comparison(**how), job=SERIAL)


def qualities(scores):
    """Figures of which 1 is best."""
    return {
        f.name: f.value
        for f in scores.figures
        if not any(word in f.name for word in BETTER_SMALL) and "[um]" not in f.name
    }


NOTHING = [("good", name) for name in ("one", "stack", "empty")]
NOTHING += [(b, a) for a, b in NOTHING] + [("one", "empty"), ("empty", "empty")]


@pytest.mark.parametrize(("truth", "found"), NOTHING)
def test_trees_of_nothing_are_never_right(files, truth, found, tmp_path):
    scores = score(files, "trees", truth, found, distance=2.0)
    assert all(not value > 0 for value in qualities(scores).values())
    assert math.isnan(scores["entire structure average (ESA) [um]"])
    if truth == "good":
        assert scores["length recall"] == scores["length F1"] == 0
        assert scores["omitted"] == 1
        assert math.isnan(scores["length precision"])
    else:
        assert math.isnan(scores["length recall"])
    assert write_evaluation(scores, tmp_path / "page").exists()


@pytest.mark.parametrize("truth", ["one", "stack", "empty"])
def test_labels_along_nothing_are_undefined(files, truth):
    scores = score(files, "skeletons", truth, "labels")
    assert all(math.isnan(figure.value) for figure in scores.figures)
    assert scores.counts["true_um_tissue"] == 0


def test_no_labels_at_all_omit_everything(files):
    scores = score(files, "skeletons", "good", "zero")
    assert scores["omitted"] == 1
    assert scores["edge accuracy"] == scores["expected run length [um of tissue]"] == 0


@pytest.mark.parametrize("kind", ["labels", "voxels"])
def test_volumes_of_nothing_are_never_right(files, kind):
    missed = score(files, kind, "labels", "zero")
    assert all(value == 0 or math.isnan(value) or name in ("specificity", "accuracy")
               for name, value in qualities(missed).items())  # fmt: skip
    both = score(files, kind, "zero", "zero")
    assert all(math.isnan(v) for name, v in qualities(both).items() if "acy" not in name[-8:]
               and name != "specificity")  # fmt: skip
    if kind == "labels":
        # One object, whole, under another name: what was not found is told beside it.
        assert missed["VOI split [bits]"] == 0
        assert missed["omitted voxels"] == 1
        assert missed["F1 of instances at 0.5"] == missed["panoptic quality"] == 0
        assert math.isnan(both["CREMI score"])
        assert math.isnan(both["omitted voxels"])


@pytest.mark.parametrize(
    ("kind", "truth", "found", "how"),
    [
        ("points", "two.csv", "none.csv", {"distance": 3.0}),
        ("points", "none.csv", "two.csv", {"distance": 3.0}),
        ("points", "none.csv", "none.csv", {"distance": 3.0}),
        ("boxes", "box.csv", "nobox.csv", {}),
        ("boxes", "nobox.csv", "box.csv", {}),
        ("boxes", "nobox.csv", "nobox.csv", {}),
        ("classes", "none.csv", "none.csv", {}),
        ("landmarks", "none.csv", "none.csv", {}),
    ],
)
def test_tables_of_nothing_are_never_right(files, kind, truth, found, how):
    scores = score(files, kind, truth, found, **how)
    assert all(not figure.value > 0 for figure in scores.figures)
    if truth == found:
        assert all(math.isnan(figure.value) for figure in scores.figures if figure.n == 0)


@pytest.mark.parametrize(
    ("kind", "truth", "found", "error", "text"),
    [
        ("skeletons", "good", "floats", ShapeError, "Labels are integers.*integer type first"),
        ("skeletons", "good", "gel", SpaceMismatchError, r"expansion is 1\.0 in one and 4\.0"),
        ("labels", "labels", "floats", FormatError, "labels are whole numbers.*uint32"),
        ("labels", "nan", "labels", FormatError, "truth nan holds float32.*whole numbers"),
        ("labels", "labels", "small", ShapeError, "compared voxel by voxel.*projectome convert"),
        ("labels", "labels", "gel", SpaceMismatchError, "expansion"),
        ("labels", "labels", "minus", ProjectomeError, "holds the label -1"),
        ("voxels", "floats", "labels", FormatError, "truth floats holds float32"),
        ("voxels", "labels", "nan", ProjectomeError, "prediction nan holds NaN"),
        ("voxels", "labels", "small", ShapeError, "compared voxel by voxel"),
        ("classes", "two.csv", "none.csv", FormatError, "Both files need the same items"),
        ("landmarks", "two.csv", "none.csv", FormatError, "Both files need the same items"),
    ],
)
def test_what_cannot_be_scored_is_refused(files, kind, truth, found, error, text):
    with pytest.raises(error, match=text):
        score(files, kind, truth, found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 0 0 0 1 3\n2 2 5 0 0 1 1\n3 2 9 0 0 1 2\n", "its own ancestor.*Cut the loop"),
        ("1 2 0 0 0 1 -1\n2 2 nan 0 0 1 1\n", "coordinate that is not finite"),
    ],
)
@pytest.mark.parametrize("kind", ["trees", "skeletons", "annotators"])
def test_broken_trees_are_refused(files, tmp_path, kind, text, message):
    (tmp_path / "broken.swc").write_text(text)
    other = "labels" if kind == "skeletons" else "good"
    with pytest.raises(FormatError, match=message):
        score(files, kind, str(tmp_path / "broken.swc"), other, distance=2.0)


@pytest.mark.parametrize("distance", [0.0, -1.0, math.nan, math.inf])
def test_distances_that_are_none(files, distance):
    for kind in ("trees", "annotators", "points"):
        names = ("two.csv", "two.csv") if kind == "points" else ("good", "good")
        if kind == "points" and distance == 0:
            continue  # points at one place match
        with pytest.raises(ParameterError):
            score(files, kind, *names, distance=distance)


@pytest.mark.parametrize("program", ["pyneval-1.1", "vaa3d"])
@pytest.mark.parametrize(("truth", "found"), [("empty", "good"), ("good", "empty"), ("one", "one")])
def test_programs_do_not_stop_at_nothing(files, program, truth, found):
    scores = score(files, "trees", truth, found, distance=2.0, compat=program)
    assert len(scores.figures) >= 7
