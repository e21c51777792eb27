import numpy as np
import pytest

from projectome.datasets.phantom_regions import (
    DEEP,
    LAYERS,
    SHEET,
    area_codes,
    flatmap,
    region_ids,
    terminology,
)
from projectome.errors import UnknownNameError


def test_tree_has_one_root_and_the_field_s_hierarchy():
    tree = terminology()
    assert (tree.parents < 0).sum() == 1
    assert tree.acronyms[0] == "root"
    assert tree.ancestors("MOs2/3") == ("MOs", "MO", "Isocortex", "CTX", "CH", "grey", "root")
    assert tree.ancestors("ccb") == ("cc", "fiber tracts", "root")
    assert tree.ancestors("VL") == ("VS", "root")
    assert len(set(tree.acronyms)) == len(tree)


def test_isocortex_holds_all_areas_but_piriform_and_entorhinal():
    tree = terminology()
    below = {tree.acronyms[row] for row in tree.rows_below("Isocortex")}
    assert set(SHEET) - below == {"PIR", "ENT"}


def test_ids_need_more_than_16_bits():
    # Software that squeezes identifiers into uint16 has to fail on the phantom.
    assert terminology().ids.max() > 2**16


def test_every_code_is_a_region_of_the_tree():
    ids = region_ids()
    tree = terminology()
    assert ids[0] == 0
    assert set(ids[1:].tolist()) <= set(tree.ids.tolist())
    assert len(ids) == 1 + len(DEEP) + len(SHEET) * len(LAYERS)


@pytest.mark.parametrize("area", SHEET)
def test_codes_of_an_area_are_its_own_layers(area):
    tree = terminology()
    found = set(region_ids()[list(area_codes(area))].tolist())
    below = set(tree.descendants(area).tolist())
    leaves = below - {int(tree.ids[tree.row(area)])} or below
    assert found == leaves


def test_granular_areas_alone_have_layer_4():
    tree = terminology()
    assert "SSp4" in tree.acronyms
    assert "MOs4" not in tree.acronyms


def test_flatmap_shows_every_area_and_the_order_of_the_brain():
    areas = flatmap()
    assert set(np.unique(areas)) == set(range(len(SHEET)))

    def centre(area):
        return np.argwhere(areas == SHEET.index(area)).mean(axis=0)

    assert centre("ACA")[1] < centre("RSP")[1]  # in front of
    assert centre("MOs")[1] < centre("SSp")[1] < centre("VISp")[1]
    assert centre("RSP")[0] < centre("VISp")[0] < centre("AUD")[0]  # medial to


def test_unknown_area_names_near_ones():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'SSp'"):
        area_codes("SSP")
