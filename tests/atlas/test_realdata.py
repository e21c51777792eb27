"""Published figures from published atlases and neurons."""

from dataclasses import replace

import numpy as np
import pytest

from projectome.atlas.kept import kept_region_table
from projectome.atlas.lengths import measure_lengths
from projectome.atlas.lookup import region_at
from projectome.atlas.regions import region_table
from projectome.atlas.sides import Sides
from projectome.core.skeleton import Skeleton
from projectome.core.volume import ArrayInMemory
from projectome.io.open import open_volume
from projectome.io.skeletons import read_skeletons
from projectome.workflows.atlas import open_atlas

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def ccf(real, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROJECTOME_CACHE", str(tmp_path_factory.mktemp("cache")))
        atlas = open_atlas(str(real / "allen_ccf"))
        table = kept_region_table(atlas)
        held = ArrayInMemory(atlas.annotation.read())
        yield replace(atlas, annotation=replace(atlas.annotation, array=held)), table


def test_volumes_of_the_common_coordinate_framework(ccf):
    atlas, table = ccf
    assert atlas.annotation.shape == (528, 320, 456)
    assert len(atlas.terminology) == 1327
    assert round(table.volume_mm3("RSP"), 2) == 10.50
    assert round(table.volume_mm3("root"), 2) == 506.05
    assert not [p for p in table.problems if p.where == "annotation"]
    assert table.volume_mm3("root", 1) + table.volume_mm3("root", 2) == pytest.approx(506.052890625)
    everything = np.count_nonzero(atlas.annotation.read())
    assert table.voxels[atlas.terminology.row("root")].sum() == everything
    with_prefix = sum(a.startswith("VISp") for a in atlas.terminology)
    assert len(atlas.terminology.descendants("VISp")) == with_prefix - 21


def test_the_template_was_turned_round(ccf):
    problem = next(p for p in ccf[0].problems if p.where == "template")
    assert "turned front to back (overlap 0.94 instead of 0.75)" in problem.message


def test_published_neurons_lie_where_their_authors_say(ccf, real):
    """Somata in MOs and VISp of the left; 7.9 and 11.5 mm of their axons on the right."""
    atlas, _ = ccf
    said = {
        "car/18453_2428_x13810_y8197_mos.swc": ("MOs", 81.7, 7.9),
        "seu/2_18453_6756_x7677_y5336.swc": ("VISp", 41.4, 11.5),
    }
    for name, (area, axon, far) in said.items():
        found = next(iter(read_skeletons(str(real / "neurons_ccf" / name), scale=25))).skeleton
        # Columns x, y, z of the file are the axes 0, 1, 2 of the labels.
        placed = Skeleton(found.coordinates[:, ::-1], found.parent, atlas.space, kind=found.kind)
        soma = int(region_at(atlas, placed.coordinates[:1])[0])
        assert area in atlas.terminology.ancestors(soma)
        table = measure_lengths(atlas, {"n": placed})
        axons = table[(table["kind"] == "axon") & table["region_id"].isin((0, 997))]
        sums = axons.groupby("hemisphere")["length_um"].sum() / 1000
        assert sums[3] == pytest.approx(axon, abs=0.06)
        assert sums[2] == pytest.approx(far, abs=0.06)
        own = table[table["hemisphere"] == 3]["own_length_um"].sum()
        assert own == pytest.approx(placed.cable_length, rel=1e-9)


def test_an_atlas_as_the_packager_writes_it(real):
    atlas = open_atlas(str(real / "brainglobe_v3"))
    assert atlas.annotation.shape == (132, 80, 114)
    assert not atlas.problems
    table = region_table(atlas)
    assert round(table.volume_mm3("RSP"), 3) == 10.466
    assert len(atlas.terminology.descendants("RSP")) == 19
    assert table.voxels[0].sum() == 506934
    assert region_table(atlas.at(voxel_size=200)).voxels[0].sum() == 63240
    assert {182305689, 312782546, 312782574, 312782628} <= set(atlas.terminology.ids.tolist())
    halves = next((real / "brainglobe_v3").rglob("hemispheres.ome.zarr"))
    stated = replace(open_volume(str(halves))[0].with_space(atlas.space), kind="labels")
    by_file = region_table(replace(atlas, midline=None, hemispheres=stated))
    assert (by_file.voxels == table.voxels).all()
    assert Sides.of(atlas).has_plane
