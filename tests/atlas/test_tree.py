"""Trees of regions: ids to the last digit, parents by two witnesses, and no tree that is none."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_atlases import IDS, terminology

from projectome.atlas.labels import flattened, read_regions
from projectome.atlas.tree import from_records, read_csv, whole
from projectome.errors import FormatError, MetadataError, ProjectomeError


def table(text):
    return read_csv(text.encode(), where="regions.csv")


def test_columns_go_by_their_names_and_ids_are_64_bit():
    tree, notes = table(terminology())
    assert tree.ids.tolist() == IDS
    assert tree.acronyms[:3] == ("root", "CTX", "RSP")
    assert tree.descendants("CTX").tolist() == [688, 312782546, 500]
    assert tree.descendants("MO").tolist() == [500]  # not MOB, whose acronym begins so
    assert notes == ()


@pytest.mark.parametrize("identifier", [2**31, 2**32 + 5, 2**53 + 1, 2**63 - 1])
def test_large_ids_keep_every_digit(identifier):
    tree, _ = table(f"id,parent,acronym\n1,,root\n{identifier},1,far\n")
    assert tree.ids.tolist() == [1, identifier]
    assert tree.row(identifier) == 1


def test_ids_as_floating_point():
    tree, _ = table("id,parent,acronym\n997.0,nan,root\n8.0,997.0,grey\n")
    assert tree.ids.tolist() == [997, 8]
    with pytest.raises(MetadataError, match=r"its last digits are lost. Write ids as integers"):
        table("id,acronym\n9007199254740994.0,x\n")
    for bad in ("7.5", "-3", "0", "1e3", "x", str(2**63)):
        with pytest.raises(MetadataError, match="id"):
            table(f"id,acronym\n{bad},x\n")
    assert whole(3.0) == 3
    with pytest.raises(ValueError, match="no whole number"):
        whole(3.5)


@pytest.mark.parametrize("acronym", ["na", "NA", "nan", "None", "null"])
def test_acronyms_that_look_like_nothing_are_texts(acronym):
    tree, _ = table(f"id,parent,acronym\n1,,root\n2,1,{acronym}\n")
    assert tree.acronyms == ("root", acronym)


def test_parents_come_from_paths_where_no_parent_is_stated():
    tree, _ = table(
        'id,acronym,structure_id_path\n8,grey,/997/8/\n997,root,/997/\n9,x,"[997, 8, 9]"\n'
    )
    assert tree.ids.tolist() == [997, 8, 9]
    assert tree.parents.tolist() == [-1, 0, 1]


def test_children_may_stand_before_their_parents():
    tree, _ = table("id,parent,acronym\n9,8,c\n8,997,b\n997,,a\n7,997,d\n")
    assert tree.acronyms == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,parent,acronym\n1,,a\n3,2,b\n", "Its parent 2 is not in the table: it is an orphan"),
        ("id,parent,acronym\n1,2,a\n2,1,b\n5,,c\n", "2 regions are their own ancestors.*: 1, 2"),
        ("id,parent,acronym\n1,1,a\n", "their own ancestors"),
        ("id,parent,acronym\n1,,a\n1,,b\n", "region 1: Its id is that of another region"),
        ('id,parent,acronym,root_identifier_path\n1,,a,[1]\n2,1,b,"[1, 2]"\n3,1,c,"[1, 2, 3]"\n',
         "region 3: It names the parent 1, and its path from the root the parent 2"),
        ('id,acronym,root_identifier_path\n1,a,"[1, 9]"\n', "Its path ends at 9 and not at itself"),
        ("id,acronym,color_hex_triplet\n1,a,#12\n", "Its colour is #RRGGBB"),
        ("id,acronym\n,a\n", "region 1: It has no id"),
    ],
)  # fmt: skip
def test_what_is_no_tree_is_refused(text, told):
    with pytest.raises(MetadataError, match=told) as caught:
        table(text)
    assert "regions.csv are no tree. Correct the table" in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "id,parent,acronym\n"])
def test_an_empty_table_is_refused(text):
    with pytest.raises(FormatError, match="lists no region"):
        table(text)


def test_a_table_without_ids_is_refused():
    with pytest.raises(FormatError, match="no column of ids; it has acronym, name"):
        table("acronym,name\na,b\n")


def test_all_problems_at_once():
    with pytest.raises(MetadataError) as caught:
        table("id,parent,acronym\n1,,a\n" + "".join(f"{i},{i + 100},x\n" for i in range(2, 30)))
    assert len(caught.value.problems) == 12
    assert "first 12 of 28" in str(caught.value)


def test_another_number_in_the_annotation_is_told():
    tree, notes = table("id,parent,acronym,annotation_value\n997,,root,1\n8,997,grey,2\n")
    assert tree.ids.tolist() == [1, 2]
    assert "go by that of the annotation" in notes[0].message


def test_acronyms_of_several_regions_need_an_id():
    tree, notes = table("id,parent,acronym\n1,,root\n2,1,x\n3,1,x\n")
    assert "acronyms are of several regions" in notes[0].message
    with pytest.raises(ProjectomeError, match=r"Give the id of one: 2, 3"):
        tree.row("x")


def test_nested_and_listed_json(tmp_path):
    grey = {"id": 8, "acronym": "grey", "rgb_triplet": [1, 2, 3]}
    root = {"id": 997, "acronym": "root"}
    nested = {"msg": [{**root, "children": [{**grey, "children": []}]}]}
    listed = [{**root, "structure_id_path": [997]}, {**grey, "structure_id_path": [997, 8]}]
    for document in (nested, listed):
        file = tmp_path / "tree.json"
        file.write_text(json.dumps(document))
        tree, _ = read_regions(str(file))
        assert tree.parents.tolist() == [-1, 0]
        assert tree.colours[1].tolist() == [1, 2, 3]


def test_json_that_is_none():
    for text in (b"[1, 2]", b"{]", b"[" * 5000, b'[{"id": 1e400}]'):
        with pytest.raises(ProjectomeError):
            from_records(flattened(text, where="x"), where="x")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_tree_or_an_error(data):
    try:
        tree, _ = read_csv(b"id,parent,acronym\n" + data, where="fuzz")
    except ProjectomeError:
        return
    assert len(tree)


@given(st.lists(st.integers(-1, 30), min_size=1, max_size=31))
def test_any_parents_are_a_tree_or_an_error(parents):
    records = [
        {"id": i + 1, "parent": None if p < 0 else p + 1, "acronym": f"r{i}"}
        for i, p in enumerate(parents)
    ]
    try:
        tree, _ = from_records(records, where="fuzz")
    except MetadataError:
        return
    assert (tree.parents < np.arange(len(tree))).all()
    back = {
        int(i): (0 if p < 0 else int(tree.ids[p]))
        for i, p in zip(tree.ids, tree.parents, strict=True)
    }
    assert back == {i + 1: 0 if p < 0 else p + 1 for i, p in enumerate(parents)}
