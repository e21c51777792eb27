"""Morphology of skeletons of every format, file by file."""

import pytest

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import NotFoundError
from projectome.io.skeletons import write_skeletons
from projectome.workflows.measure import measure_files, neuron_files

STICK = Skeleton([[0, 0, 0], [0, 0, 10]], [-1, 0], Space(expansion=2.0))


@pytest.mark.parametrize("name", ["a.nml", "a.zip", "folder", "precomputed://p"])
def test_any_format_is_measured(tmp_path, name):
    prefix = "precomputed://" if "://" in name else ""
    url = prefix + str(tmp_path / name.removeprefix(prefix))
    write_skeletons([STICK, STICK], url)
    for place in (url, url.removeprefix(prefix)):
        rows, _ = measure_files(neuron_files(place))
        assert rows["file"].tolist() == ["1", "2"]
        assert rows["length_tissue_um"].tolist() == [5, 5]


def test_the_files_of_a_folder_are_read_one_by_one(tmp_path):
    for name in ("10", "9", "b"):
        write_skeletons(STICK, tmp_path / "study/neurons" / f"{name}.swc")
    files = neuron_files(str(tmp_path / "study"))
    assert [file.rpartition("/")[2] for file in files] == ["b.swc", "9.swc", "10.swc"]
    assert neuron_files("s3://bucket/neurons") == ["s3://bucket/neurons"]
    with pytest.raises(NotFoundError, match="holds no file of skeletons"):
        neuron_files(str(tmp_path))
