"""Evaluations from end to end, each with one planted defect."""

import json
import math
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

import projectome
from projectome.core.points import Points
from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import (
    FormatError,
    OutputExistsError,
    ParameterError,
    ShapeError,
    SpaceMismatchError,
    UnknownNameError,
)
from projectome.io.source import VolumeSource
from projectome.workflows import evaluate_volumes
from projectome.workflows.evaluate import Comparison, evaluate
from projectome.workflows.evaluate_report import mip_command, neuroglancer_state, write_evaluation
from projectome.workflows.evaluation import same_space
from projectome.workflows.job import Job

SERIAL = Job(executor="serial")
SIZE = (2.0, 1.0, 1.0)


@pytest.fixture
def save(tmp_path):
    """Function that writes an array as a volume and returns its address."""

    def write(name, array, **more):
        volume = projectome.Volume.from_array(array, voxel_size=SIZE, **more)
        address = str(tmp_path / f"{name}.ome.zarr")
        projectome.write_volume(volume, address, overwrite=True)
        return address

    return write


def rods():
    labels = np.zeros((16, 48, 40), np.uint32)
    for k in range(8):
        z, y = divmod(k, 4)
        labels[8 * z + 2 : 8 * z + 6, 12 * y + 2 : 12 * y + 8, 4:36] = k + 1
    return labels


def by_name(found):
    return {figure.name: figure for figure in found.figures}


def score(kind, *files, like=None, **how):
    return evaluate(kind, *map(str, files), how=Comparison(**how), like=like, job=SERIAL)


def test_a_split_label_is_scored_listed_and_shown(save, tmp_path):
    truth, found = rods(), rods()
    found[(truth == 3) & (np.arange(40) >= 20)] = 99
    files = save("truth", truth, kind="labels"), save("found", found, kind="labels")
    scores = score("labels", *files)
    figures = by_name(scores)
    split = figures["VOI split [bits]"]
    assert split.value == pytest.approx(1 / 8)
    assert split.low <= split.value <= split.high
    assert (split.n, split.of) == (8, "true objects")
    assert figures["VOI merge [bits]"].value == figures["VOI merge [bits]"].high == 0
    assert scores.counts["true_objects"] == 8
    assert scores.counts["found_objects"] == 9
    assert (scores.errors[0].what, scores.errors[0].name) == ("split", "label 3")
    z, y, x = (round(v / s) for v, s in zip(scores.errors[0].point_um, SIZE, strict=True))
    assert truth[z, y, x] == 3
    assert scores.errors_in_all == 1

    page = write_evaluation(scores, tmp_path / "page")
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 2  # curves, and one error
    assert not re.search(r"(src|href)='(?!data:|https://neuroglancer)", text)
    command = mip_command(scores.scene, scores.errors[0], 1)
    assert command in text.replace("&#x27;", "'")
    assert command.startswith(f"projectome mip {files[0]} --box=")
    document = json.loads((tmp_path / "page" / "evaluation.json").read_text())
    assert document["counts"]["true_objects"] == 8
    state = json.loads((tmp_path / "page" / "neuroglancer.json").read_text())
    assert state == json.loads(json.dumps(neuroglancer_state(scores)))
    assert [layer["type"] for layer in state["layers"]] == ["segmentation"] * 2 + ["annotation"]
    assert state["layers"][2]["annotations"][0]["point"] == list(scores.errors[0].point_um)
    with pytest.raises(OutputExistsError, match="add --overwrite"):
        write_evaluation(scores, tmp_path / "page")
    write_evaluation(scores, tmp_path / "page", overwrite=True)


def test_blocks_do_not_matter(save, monkeypatch):
    truth, found = rods(), np.roll(rods(), (1, 2, 3), (0, 1, 2))
    files = save("truth", truth, kind="labels"), save("found", found, kind="labels")
    whole = json.dumps(score("labels", *files).document())
    for size in (5, 13):
        monkeypatch.setattr(evaluate_volumes, "SMALLEST_BLOCK", size)
        monkeypatch.setattr(evaluate_volumes, "LARGEST_BLOCK", size)
        assert json.dumps(score("labels", *files).document()) == whole


def test_labels_as_another_program_scores_them(save):
    truth, found = rods(), rods()
    found[truth == 2] = 0
    files = save("truth", truth, kind="labels"), save("found", found, kind="labels")
    own, cremi = score("labels", *files), score("labels", *files, compat="cremi")
    assert own["ARAND (squares: CREMI, elf, funlib)"] == 0
    assert cremi["adapted_rand"] > 0.05
    with pytest.raises(ParameterError, match=r"skimage, cremi, funlib, elf.*not as 'cremi2'"):
        score("labels", *files, compat="cremi2")
    with pytest.raises(ParameterError, match="not voxels"):
        score("voxels", *files, compat="cremi")


def test_a_mask_with_a_hole(save):
    truth = (rods() > 0).astype(np.uint8)
    found = truth.copy()
    found[2:6, 2:8, 10:20] = 0
    scores = score("voxels", save("truth", truth), save("found", found))
    lost = 4 * 6 * 10
    assert scores["recall"] == pytest.approx(1 - lost / truth.sum())
    assert scores["precision"] == scores["specificity"] == 1
    assert scores["IoU"] == pytest.approx(1 - lost / truth.sum())
    assert 0 < scores["centre line recall"] < 1
    assert scores["centre line precision"] == 1
    assert scores.errors_in_all == 1
    assert (scores.errors[0].what, scores.errors[0].size) == ("missed", lost)
    figure = by_name(scores)["recall"]
    assert figure.low < figure.value < figure.high


def test_sparse_annotation_and_a_probability(save):
    rng = np.random.default_rng(3)
    truth = np.zeros((16, 40, 40), np.uint8)
    truth[::5] = 1
    truth[::5, 10:20, 5:35] = 2
    truth[::5, 9] = truth[::5, 20] = 4
    chance = np.clip((truth == 2) * 0.5 + rng.random(truth.shape) * 0.6, 0, 1).astype(np.float32)
    files = save("truth", truth), save("chance", chance)
    scores = score("voxels", *files, positive=(2,), ignored=(0, 4))
    assert scores.counts["voxels"] == np.isin(truth, (1, 2)).sum()
    assert 0.8 < scores["average precision"] < 1
    assert "a choice made on this truth" in scores.settings["threshold"]
    assert scores.notes == (
        "centre lines and surfaces: some voxels are not scored, which would cut them",
    )
    cut = float(scores.settings["threshold"].split(",")[0])
    best = scores["dice"]
    for threshold in (cut - 0.2, cut, cut + 0.2):
        fixed = score("voxels", *files, positive=(2,), ignored=(0, 4), threshold=threshold)
        assert fixed["dice"] <= best + 1e-3
    with pytest.raises(ParameterError, match="0, 1, 2, 4: say which are positive, --positive N"):
        score("voxels", *files)


def test_classes_of_voxels_give_a_dice_each(save):
    truth = np.zeros((8, 16, 16), np.uint16)
    truth[:, :8], truth[:, 8:] = 10, 20
    found = np.roll(truth, 2, axis=1)
    scores = score("voxels", save("truth", truth), save("found", found))
    assert [row["class"] for row in scores.table] == [10, 20]
    assert all(row["dice"] == pytest.approx(0.75) for row in scores.table)
    assert scores["accuracy"] == 0.75
    assert {error.name for error in scores.errors} == {"10 as 20", "20 as 10"}
    mask = save("mask", (truth > 10).astype(np.uint8))
    with pytest.raises(ParameterError, match=r"holds the values 10, 20, 30.*--threshold X"):
        score("voxels", mask, save("three", truth + 10 * (truth == found)))


def test_what_cannot_be_compared_is_refused(save):
    labels = rods()
    truth = save("truth", labels, kind="labels")
    with pytest.raises(ShapeError, match="compared voxel by voxel"):
        score("labels", truth, save("small", labels[1:], kind="labels"))
    with pytest.raises(FormatError, match=r"prediction floats holds float32.*projectome segment"):
        score("labels", truth, save("floats", labels.astype(np.float32)))
    gel = save("gel", labels, kind="labels", space=Space(expansion=4.0))
    with pytest.raises(SpaceMismatchError, match=r"expansion is 1\.0 in one and 4\.0"):
        score("labels", truth, gel)
    with pytest.raises(UnknownNameError, match="Did you mean 'labels'"):
        score("label", truth, truth)


def test_empty_truth_or_prediction_is_never_a_success(save):
    labels, nothing = rods(), np.zeros_like(rods())
    files = save("truth", labels, kind="labels"), save("none", nothing, kind="labels")
    missed = score("labels", *files)
    assert missed["F1 of instances at 0.5"] == missed["panoptic quality"] == 0
    assert missed.errors_in_all == 8
    assert math.isnan(score("labels", *files[::-1])["VOI split [bits]"])
    assert math.isnan(score("labels", files[1], files[1])["F1 of instances at 0.5"])
    masks = save("mask", (labels > 0).astype(np.uint8)), save("zero", nothing.astype(np.uint8))
    assert score("voxels", *masks)["recall"] == 0
    assert math.isnan(score("voxels", *masks)["precision"])
    assert math.isnan(score("voxels", *masks[::-1])["recall"])
    assert math.isnan(score("voxels", masks[1], masks[1])["IoU"])


def test_spaces_are_compared_by_what_both_state():
    oriented = Space(toward=("posterior", "inferior", "right"))
    same_space(oriented, Space())
    same_space(oriented, oriented.renamed("brain 7"))
    for other, fact in (
        (Space(toward=("anterior", "inferior", "right")), "toward"),
        (Space(expansion=4), "expansion"),
        (Space.voxels(), "unit"),
        (Space(axes=("a", "b", "c")), "axes"),
    ):
        with pytest.raises(SpaceMismatchError, match=f"different spaces: {fact} is"):
            same_space(oriented, other)
    with pytest.raises(SpaceMismatchError, match="name is brain 7 in one and allen in the other"):
        same_space(Space("brain 7"), Space("allen"))


@pytest.fixture
def cells(tmp_path):
    """Forty true cells, and those found: one missed, two false, one displaced by 3 um."""
    rng = np.random.default_rng(8)
    truth = np.stack(np.meshgrid(*[np.arange(k) * 50.0 for k in (2, 4, 5)]), -1).reshape(-1, 3)
    found = np.concatenate([truth[1:], [[25, 25, 25], [75, 25, 25]]])
    found[6, 2] += 3
    scores = np.concatenate([rng.uniform(0.5, 1, 39), [0.1, 0.2]])
    for name, points, columns in (("truth", truth, {}), ("found", found, {"score": scores})):
        projectome.write_points(Points(points, Space(), columns), tmp_path / f"{name}.parquet")
    return tmp_path / "truth.parquet", tmp_path / "found.parquet"


def test_points(cells, tmp_path):
    scores = score("points", *cells, distance=10)
    assert scores["recall"] == 39 / 40
    assert scores["precision"] == 39 / 41
    assert scores["F1"] == 2 * 39 / 81
    assert scores["average precision"] == pytest.approx(39 / 40)  # both false ones come last
    assert scores["mean distance of matches [um]"] == pytest.approx(3 / 39)
    assert [error.what for error in scores.errors] == ["missed", "false", "false", "displaced"]
    assert scores.errors[3].size == pytest.approx(3)
    assert scores.counts == {"true": 40, "found": 41, "matched": 39, "missed": 1, "false": 2}
    figure = by_name(scores)["F1"]
    assert (figure.n, figure.of) == (42, "points")
    assert figure.low < figure.value < figure.high
    assert "data:image/png" in write_evaluation(scores, tmp_path / "page").read_text()
    assert mip_command(scores.scene, scores.errors[0], 1) is None
    with pytest.raises(ParameterError, match="needs --distance UM"):
        score("points", *cells)
    gel = tmp_path / "gel.parquet"
    projectome.write_points(Points(np.ones((2, 3)), Space(expansion=4.0)), gel)
    with pytest.raises(SpaceMismatchError, match=r"expansion is 4\.0 in one"):
        score("points", gel, cells[1], distance=10)


def test_boxes(tmp_path):
    names = [f"{part}_{axis}_um" for part in ("start", "end") for axis in "zyx"]
    rows = np.asarray(
        [[0, 0, 0, 10, 10, 10], [20, 20, 20, 30, 30, 30], [50, 0, 0, 60, 9, 9]], float
    )
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "truth.csv", index=False)
    found = pd.DataFrame(rows[:2] + np.array([0, 0, 0, 0, 0, 2]), columns=names).assign(
        score=[0.9, 0.8]
    )
    found.to_csv(tmp_path / "found.csv", index=False)
    files = tmp_path / "truth.csv", tmp_path / "found.csv"
    scores = score("boxes", *files)
    assert (scores["recall"], scores["precision"]) == (pytest.approx(2 / 3), 1)
    assert scores["mean overlap of matches"] == pytest.approx(10 / 12)
    assert scores["average precision at 0.5"] == pytest.approx(2 / 3)
    assert scores.errors[0].what == "missed"
    assert score("boxes", *files, threshold=0.9)["recall"] == 0
    found.drop(columns="end_x_um").to_csv(files[1], index=False)
    with pytest.raises(
        FormatError, match=r"no column 'end_x_um'\. A table of boxes has start_z_um"
    ):
        score("boxes", *files)


def test_classes(tmp_path):
    files = tmp_path / "truth.csv", tmp_path / "found.csv"
    truth = pd.DataFrame({"id": range(10), "z_um": 1.0, "y_um": 2.0, "x_um": 3.0, "class": "cell"})
    truth.to_csv(files[0], index=False)
    found = truth[::-1].assign(**{"class": ["artefact"] + ["cell"] * 9})
    found.to_csv(files[1], index=False)
    scores = score("classes", *files)
    assert scores["accuracy"] == 0.9
    assert scores.errors[0].name == "id 9: cell as artefact"
    assert scores.errors[0].point_um == (1, 2, 3)
    assert scores.table[1]["given artefact"] == 1
    for changed, message in (
        (found[1:], r"1 items are in .*truth.csv alone, for instance id 9"),
        (pd.concat([found, found[:1]]), "has id '9' twice"),
        (found.drop(columns="class"), "no column 'class'.*--column"),
        (found.drop(columns="id"), "no column 'id' or 'name' in common"),
    ):
        changed.to_csv(files[1], index=False)
        with pytest.raises(FormatError, match=message):
            score("classes", *files)


def test_landmarks(tmp_path):
    truth = np.arange(60.0).reshape(20, 3)
    found = truth + np.array([0, 3, 4])
    order = np.random.default_rng(0).permutation(20)
    for name, points, ids in (("a", truth, np.arange(20)), ("b", found[order], order)):
        projectome.write_points(Points(points, Space(), {"id": ids}), tmp_path / f"{name}.parquet")
    scores = score("landmarks", tmp_path / "a.parquet", tmp_path / "b.parquet")
    for name in ("mean error [um]", "median error [um]", "largest error [um]"):
        assert scores[name] == pytest.approx(5)
    assert [scores[f"mean shift in {axis} [um]"] for axis in "zyx"] == pytest.approx([0, 3, 4])
    assert by_name(scores)["mean error [um]"].n == 20


def test_trees_and_skeletons(tmp_path, save):
    x = np.arange(4.0, 36.0)
    lines = [np.stack([0 * x + 8, 0 * x + y, x], axis=1) for y in (5, 17, 29, 41)]
    skeletons = [Skeleton(c, np.arange(-1, len(c) - 1), Space()) for c in lines]
    for name, chosen in (("truth", skeletons), ("found", skeletons[1:])):
        (tmp_path / name).mkdir()
        for k, one in enumerate(chosen):
            projectome.write_swc(one, tmp_path / name / f"{k}.swc")
    trees = score("trees", tmp_path / "truth", tmp_path / "found", distance=2)
    assert trees["length recall"] == pytest.approx(0.75)
    assert trees["length precision"] == pytest.approx(1)
    assert trees["omitted"] == pytest.approx(0.25)
    figure = by_name(trees)["length recall"]
    assert (figure.n, figure.of) == (4, "neurons")
    assert "data:image/png" in write_evaluation(trees, tmp_path / "page").read_text()
    with pytest.raises(ParameterError, match="Matching trees needs --distance UM"):
        score("trees", tmp_path / "truth", tmp_path / "found")
    labels = rods()
    labels[labels == 2] = 1
    along = score("skeletons", tmp_path / "truth", save("labels", labels, kind="labels"))
    assert along["merged"] == pytest.approx(0.5)
    assert along["edge accuracy"] == pytest.approx(0.5)
    assert along.counts["merges"] == 1
    assert along.errors[0].what == "merge"


def test_what_the_user_says_of_both_files(tmp_path):
    import tifffile

    labels = rods().astype(np.uint16)
    for name in ("truth", "found"):
        tifffile.imwrite(tmp_path / f"{name}.tif", labels, photometric="minisblack")
    files = tmp_path / "truth.tif", tmp_path / "found.tif"
    scores = score("labels", *files, like=VolumeSource("", voxel_size=(1.0, 1.0, 1.0)))
    assert scores["CREMI score"] == 0
    assert scores["panoptic quality"] == 1
    assert scores.errors == ()


def test_neurons_come_in_one_file_a_folder_or_an_archive(tmp_path, save):
    x = np.arange(4.0, 36.0)
    one = Skeleton(np.stack([0 * x + 8, 0 * x + 5, x], axis=1), np.arange(-1, 31), Space())
    (tmp_path / "several").mkdir()
    projectome.write_swc(one, tmp_path / "several" / "0.swc")
    with zipfile.ZipFile(tmp_path / "several.zip", "w") as archive:
        archive.write(tmp_path / "several" / "0.swc", "0.swc")
    labels = save("labels", rods(), kind="labels")
    found = [
        score("skeletons", tmp_path / name, labels).figures
        for name in ("several/0.swc", "several", "several.zip")
    ]
    assert found[0] == found[1] == found[2]
    assert found[0][0].value == 1


def bare(scores):
    """Names of figures without an interval."""
    return [f.name for f in scores.figures if not (math.isfinite(f.low) and f.low <= f.high)]


def test_every_figure_of_volumes_has_an_interval(save):
    truth, found = rods(), np.roll(rods(), 1, axis=2)
    found[found == 3] = 0
    files = save("truth", truth, kind="labels"), save("found", found, kind="labels")
    assert bare(score("labels", *files)) == []
    masks = save("m", (truth > 0).astype(np.uint8)), save("n", (found > 0).astype(np.uint8))
    assert bare(score("voxels", *masks)) == []
    chance = save("chance", (0.7 * (found > 0) + 0.1).astype(np.float32))
    ranked = score("voxels", masks[0], chance)
    assert bare(ranked) == []
    assert by_name(ranked)["average precision"].of == "blocks"
    classes = score("voxels", save("c", truth.astype(np.uint16)), save("d", found))
    assert bare(classes) == []
    assert classes["smallest Dice"] == 0


def test_every_figure_of_tables_has_an_interval(cells, tmp_path):
    assert bare(score("points", *cells, distance=10)) == []
    names = [f"{part}_{axis}_um" for part in ("start", "end") for axis in "zyx"]
    low = np.arange(30.0).reshape(10, 3) * 20
    table = pd.DataFrame(np.hstack([low, low + 10]), columns=names)
    table.assign(id=range(10), **{"class": ["a", "b"] * 5}).to_csv(tmp_path / "t.csv", index=False)
    table["end_x_um"] += np.arange(10) / 2
    score_of = np.linspace(0.9, 0.1, 9)
    kept = table[1:].assign(score=score_of, id=range(1, 10), **{"class": ["a", "b", "b"] * 3})
    kept.to_csv(tmp_path / "f.csv", index=False)
    boxes = score("boxes", tmp_path / "t.csv", tmp_path / "f.csv")
    assert bare(boxes) == []
    # All found are true, the surest nearest to the truth: precision 1 up to the recall reached.
    # The k-th of nine is 10 + k / 2 long where 10 is right: IoU 10 / (10 + k / 2), and k misses it.
    overlap = 10 / (10 + np.arange(1, 10) / 2)
    assert boxes["mean overlap of matches"] == pytest.approx(overlap.mean())
    expected = np.mean([(overlap >= t).sum() / 10 for t in np.arange(0.5, 0.96, 0.05).round(2)])
    assert boxes["average precision, mean of 0.5 to 0.95"] == pytest.approx(expected)
    items = pd.read_csv(tmp_path / "t.csv")[1:]
    items.to_csv(tmp_path / "t.csv", index=False)
    classes = score("classes", tmp_path / "t.csv", tmp_path / "f.csv")
    assert bare(classes) == []
    places = np.random.default_rng(2).uniform(0, 90, (12, 3))
    for name, points in (("a", places), ("b", places + np.arange(12)[:, None] / 9)):
        path = tmp_path / f"{name}.parquet"
        projectome.write_points(Points(points, Space(), {"id": np.arange(12)}), path)
    marks = score("landmarks", tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert bare(marks) == ["largest error [um]"]
    assert all(figure.n == 12 for figure in marks.figures)


def test_every_figure_of_trees_has_an_interval(tmp_path, save):
    rng = np.random.default_rng(0)
    for side, step in (("truth", 0.0), ("found", 1.0)):
        (tmp_path / side).mkdir()
        for k, y in enumerate((5, 17, 29, 41)):
            if side == "found" and k == 3:
                continue
            trunk = np.stack([np.full(32, 8.0), np.full(32, y + step * k), np.arange(4.0, 36)], 1)
            twig = np.stack([np.arange(9.0, 15), np.full(6, y + step * k), np.full(6, 20.0)], 1)
            parent = np.concatenate([np.arange(-1, 31), [16], np.arange(32, 37)])
            one = Skeleton(np.concatenate([trunk, twig]), parent, Space())
            projectome.write_swc(one, tmp_path / side / f"n{k}.swc")
    trees = score("trees", tmp_path / "truth", tmp_path / "found", distance=1.5)
    assert bare(trees) == []
    figures = by_name(trees)
    assert (figures["length F1"].n, figures["length F1"].of) == (7, "neurons and trees")
    # The last neuron is missed, the third lies 2 um aside: two of four branchings are found.
    assert trees["bifurcation recall"] == 0.5
    assert trees["bifurcation precision"] == pytest.approx(2 / 3)
    assert trees["bifurcation F1"] == pytest.approx(4 / 7)
    assert trees["optimal path recall"] == pytest.approx(0.5)
    assert trees["branching with path (like DIADEM) recall"] == pytest.approx(0.5)
    assert [row["neuron"] for row in trees.table] == ["n0", "n1", "n2", "n3"]
    assert [row["bifurcations_missed"] for row in trees.table] == [0, 0, 1, 1]
    labels = (rng.random((20, 48, 40)) > 0.3).astype(np.uint8)
    along = save("noise", labels, kind="labels")
    skeletons = score("skeletons", tmp_path / "truth", along)
    assert bare(skeletons) == []
    program = score(
        "skeletons", tmp_path / "truth", along, compat="segmentation-skeleton-metrics-5.9.14"
    )
    assert [row["neuron"] for row in program.table] == ["n0", "n1", "n2", "n3"]
    assert by_name(program)["Edge Accuracy"].n == 4
    named = score("trees", tmp_path / "truth", tmp_path / "found", distance=1.5, compat="vaa3d")
    assert [row["neuron"] for row in named.table] == ["n0", "n1", "n2"]
    assert by_name(named)["dist_allnodes, mean of neurons"].value == pytest.approx(
        np.mean([row["dist_allnodes"] for row in named.table])
    )
    assert by_name(named)["dist_allnodes, mean of neurons"].n == 3


def test_a_tracing_beside_three_annotators(tmp_path):
    def line(stop, name):
        x = np.arange(0.0, stop + 1)
        one = Skeleton(np.stack([0 * x, 0 * x, x], axis=1), np.arange(-1, len(x) - 1), Space())
        projectome.write_swc(one, tmp_path / name)

    (tmp_path / "several").mkdir()
    for stop, name in ((100, "ann"), (100, "bob"), (60, "cy")):
        line(stop, f"several/{name}.swc")
    line(80, "mine.swc")
    scores = score("annotators", tmp_path / "several", tmp_path / "mine.swc", distance=2)
    short = 2 * 0.62 / 1.62
    assert scores["annotators agree, length: F1"] == pytest.approx((1 + 2 * short) / 3, abs=0.005)
    figure = by_name(scores)["annotators agree, length: F1"]
    assert (figure.n, figure.of) == (3, "annotators")
    assert figure.low < figure.value < figure.high
    mine = [2 * 0.82 / 1.82] * 2 + [2 * 0.775 / 1.775]
    assert scores["prediction, length: F1"] == pytest.approx(np.mean(mine), abs=0.005)
    assert scores["prediction over annotators, length"] == pytest.approx(
        np.mean(mine) / ((1 + 2 * short) / 3), abs=0.01
    )
    # Of the two ends each has one at the same place, but for the first two, which share both.
    assert scores["annotators agree, branchings and ends: F1"] == pytest.approx(2 / 3)
    assert scores["prediction, branchings and ends: F1"] == 0.5
    assert [row["annotator"] for row in scores.table] == ["ann", "bob", "cy"]
    assert scores.table[0]["length: others"] == pytest.approx((1 + short) / 2, abs=0.005)
    with pytest.raises(ParameterError, match="two tracings of one neuron or more, not 1"):
        score("annotators", tmp_path / "mine.swc", tmp_path / "mine.swc", distance=2)
    with pytest.raises(ParameterError, match="Matching tracings needs --distance UM"):
        score("annotators", tmp_path / "several", tmp_path / "mine.swc")


def test_trees_and_skeletons_as_other_programs_score_them(tmp_path):
    whole = np.stack([np.full(41, 5.0), np.full(41, 5.0), np.arange(41.0)], axis=1)
    for name, line in (("truth", whole), ("found", whole[:21])):
        one = Skeleton(line, np.arange(-1, len(line) - 1), Space())
        projectome.write_swc(one, tmp_path / f"{name}.swc")
    files = tmp_path / "truth.swc", tmp_path / "found.swc"
    assert score("trees", *files, distance=2, compat="vaa3d")["percent_21_apartnodes"] == 0
    assert score("trees", *files, distance=2, compat="pyneval-1.1")["cn recall"] == 0.5
    labels = np.zeros((10, 10, 41), np.uint16)
    labels[..., :21] = 1
    volume = projectome.Volume.from_array(labels, voxel_size=(1, 1, 1), kind="labels")
    projectome.write_volume(volume, tmp_path / "labels.ome.zarr")
    along = files[0], tmp_path / "labels.ome.zarr"
    blind = score("skeletons", *along, compat="segmentation-skeleton-metrics-5.9.14")
    assert blind["Edge Accuracy"] == 100
    assert score("skeletons", *along)["edge accuracy"] == pytest.approx(20.5 / 40)
    assert score("skeletons", *along, compat="funlib")["expected_run_length"] == pytest.approx(10)
    with pytest.raises(ParameterError, match=r"pyneval-1\.1, vaa3d score them, not as 'funlib'"):
        score("trees", *files, distance=2, compat="funlib")
    with pytest.raises(ParameterError, match="not as 'vaa3d'"):
        score("skeletons", *along, compat="vaa3d")
