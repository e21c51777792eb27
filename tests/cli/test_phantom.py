"""The verb that makes specimens."""

import json

import pytest

from projectome.cli.main import main
from projectome.io.open import open_volume


def run(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main(list(map(str, words)))
    return left.value.code, capsys.readouterr()


def test_it_names_the_image_and_the_truth(tmp_path, capsys):
    words = ("phantom", "axons", "--out", tmp_path / "a", "--size", "24,48,40", "--seed", 2)
    status, said = run(capsys, *words, "--json", "--quiet")
    assert status == 0
    document = json.loads(said.out)
    assert open_volume(document["image"])[0].shape == (24, 48, 40)
    assert (tmp_path / "a" / "truth" / "labels.ome.zarr").is_dir()
    assert document["voxels"] == [24, 48, 40]
    status, said = run(capsys, *words[:-1], 3, "--quiet")
    assert status != 0
    assert "--overwrite" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("axons", "--size", "24,48"), "3 numbers"),
        (("axons", "--arbor-scale", "25"), "give both"),
        (("brain", "--voxel-size", "25,20,20"), "one number"),
        (("spines",), "spines"),
    ],
)
def test_wrong_calls_say_why(tmp_path, capsys, words, message):
    status, said = run(capsys, "phantom", *words, "--out", tmp_path / "a")
    assert status == 2
    assert message in said.err
