"""Annotations of neuroglancer: bytes by hand after the specification, states, and round trips."""

import json
import struct

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from projectome.core.points import Points
from projectome.core.space import Space
from projectome.errors import (
    FormatError,
    OutputExistsError,
    ParameterError,
    ProjectomeError,
    ShapeError,
    StoreError,
    UnknownNameError,
)
from projectome.io.points import Annotations, read_annotations, read_points, write_points
from projectome.io.points.annotations import VECTORS
from projectome.io.points.layout import Layout, Property
from projectome.io.points.precomputed import Info, read_precomputed_annotations
from projectome.io.points.precomputed_write import write_precomputed_annotations
from projectome.io.points.spatial import morton_code, spatial_levels
from projectome.io.points.state import parse_state
from projectome.io.sharded import Sharding, write_sharded
from projectome.testing import strategies as draws

DIMENSIONS = {"x": [4e-9, "m"], "y": [8e-9, "m"], "z": [40, "nm"]}
PROPERTIES = [
    {"id": "small", "type": "uint8"},
    {"id": "size", "type": "float32"},
    {"id": "middle", "type": "int16"},
    {"id": "color", "type": "rgb"},
    {"id": "type", "type": "uint8", "enum_values": [0, 2], "enum_labels": ["cell", "no cell"]},
]
# Four bytes first, then two, then one, each in the order of the info; 4 + 2 + 1 + 3 + 1 = 11,
# padded to 12.
ONE = struct.pack("<3f f h B 3B B x", 10, 20, 30, 1.5, -7, 3, 255, 0, 16, 2)
TWO = struct.pack("<3f f h B 3B B x", 1, 2, 3, -0.5, 300, 4, 0, 1, 2, 0)


def listed(*pairs):
    """A list of annotations in bytes: count, annotations, ids."""
    records = b"".join(record for _, record in pairs)
    return (
        struct.pack("<Q", len(pairs)) + records + b"".join(struct.pack("<Q", i) for i, _ in pairs)
    )


def info(**more):
    return {
        "@type": "neuroglancer_annotations_v1",
        "dimensions": DIMENSIONS,
        "lower_bound": [0, 0, 0],
        "upper_bound": [100, 100, 100],
        "annotation_type": "point",
        "properties": PROPERTIES,
        "relationships": [{"id": "segments", "key": "rel"}],
        "by_id": {"key": "by_id"},
        "spatial": [
            {"key": "s0", "grid_shape": [1, 1, 1], "chunk_size": [100, 100, 100], "limit": 1},
            {"key": "s1", "grid_shape": [2, 1, 1], "chunk_size": [50, 100, 100], "limit": 1},
        ],
        **more,
    }


def folder(path, document=None):
    """Point 9 in the coarse level, point 5 in the fine one and, as if it met it too, again."""
    for name in ("by_id", "rel", "s0", "s1"):
        (path / name).mkdir(parents=True)
    (path / "info").write_text(json.dumps(info() if document is None else document))
    (path / "s0/0_0_0").write_bytes(listed((9, ONE)))
    (path / "s1/1_0_0").write_bytes(listed((5, TWO), (9, ONE)))
    (path / "by_id/9").write_bytes(ONE + struct.pack("<I2Q", 2, 77, 2**63))
    (path / "by_id/5").write_bytes(TWO + struct.pack("<I", 0))
    return path


def check(found):
    assert found.ids.tolist() == [5, 9]
    np.testing.assert_allclose(
        found.geometry[:, 0], [[0.12, 0.016, 0.004], [1.2, 0.16, 0.04]], rtol=1e-6
    )
    assert found.columns["size"].tolist() == [-0.5, 1.5]
    assert found.columns["middle"].tolist() == [300, -7]
    assert found.columns["middle"].dtype == np.int16
    assert found.columns["small"].tolist() == [4, 3]
    assert found.columns["color"].tolist() == ["#000102", "#ff0010"]
    assert found.columns["type"].tolist() == ["cell", "no cell"]


def test_bytes_by_hand(tmp_path):
    (found,) = read_annotations(folder(tmp_path))
    check(found)
    assert [ids.tolist() for ids in found.relationships["segments"]] == [[], [77, 2**63]]
    assert found.problems == ()


def test_annotations_are_points(tmp_path):
    folder(tmp_path)
    for url in (tmp_path, f"precomputed://{tmp_path}", tmp_path / "info"):
        points = read_points(url)
        assert points["id"].tolist() == [5, 9]
        assert points["segments"].tolist() == ["", "77 9223372036854775808"]
    space = Space("gel", expansion=4)
    points = read_points(tmp_path, space=space, voxel_size=(3, 2, 1))
    assert points.space == space
    assert points.coordinates.tolist() == [[9, 4, 1], [90, 40, 10]]


def test_a_physical_position_is_no_voxel_corner(tmp_path):
    """Coordinate 0.5 of a dimension of 8 nm is the centre of its first voxel: 4 nm."""
    eight = {name: [8e-9, "m"] for name in "xyz"}
    document = info(properties=[], relationships=[], dimensions=eight)
    folder(tmp_path, document)
    (tmp_path / "s0/0_0_0").write_bytes(listed((1, struct.pack("<3f", 0.5, 0.5, 0.5))))
    (tmp_path / "s1/1_0_0").unlink()
    np.testing.assert_allclose(read_points(tmp_path).coordinates, [[0.004] * 3])


def test_without_one_index_the_other(tmp_path):
    document = info(relationships=[])
    folder(tmp_path, document)
    (found,) = read_annotations(tmp_path)  # the spatial one
    check(found)
    document = info(spatial=[])
    (tmp_path / "info").write_text(json.dumps(document))
    (found,) = read_annotations(tmp_path)  # the one by id
    check(found)
    assert found.relationships["segments"][1].tolist() == [77, 2**63]


def test_relationships_cost_requests_and_can_be_left(tmp_path):
    folder(tmp_path)
    (tmp_path / "by_id/9").unlink()
    (found,) = read_annotations(tmp_path)
    check(found)
    assert "1 of 2 annotations are missing in the index by id" in str(found.problems)
    (found,) = read_annotations(tmp_path, relationships=False)
    check(found)
    assert found.problems == ()
    assert [len(ids) for ids in found.relationships["segments"]] == [0, 0]


def test_sharded_indices(tmp_path):
    """Written by tensorstore, with the compressed Morton code of the cell for a key."""
    how = Sharding(shard_bits=2, minishard_bits=1).document()
    document = info()
    document["by_id"]["sharding"] = how
    for level in document["spatial"]:
        level["sharding"] = how
    folder(tmp_path, document)
    values = {
        "s0": {morton_code((0, 0, 0), (1, 1, 1)): listed((9, ONE))},
        "s1": {morton_code((1, 0, 0), (2, 1, 1)): listed((5, TWO), (9, ONE))},
        "by_id": {5: TWO + struct.pack("<I", 0), 9: ONE + struct.pack("<I2Q", 2, 77, 2**63)},
    }
    for key, pairs in values.items():
        spec = {
            "driver": "neuroglancer_uint64_sharded",
            "base": f"file://{tmp_path}/{key}/",
            "metadata": how,
        }
        store = ts.KvStore.open(spec).result()
        for number, data in pairs.items():
            store.write(number.to_bytes(8, "big"), data).result()
    (found,) = read_annotations(tmp_path)
    check(found)
    assert found.relationships["segments"][1].tolist() == [77, 2**63]


def test_a_store_that_cannot_list_is_asked_for_each_cell(tmp_path, monkeypatch):
    folder(tmp_path)

    def refuse(url, access=None):
        raise StoreError("no listing")

    monkeypatch.setattr("projectome.io.points.precomputed.list_folder", refuse)
    check(read_annotations(tmp_path)[0])
    monkeypatch.setattr("projectome.io.points.precomputed.MOST_CELLS", 1)
    with pytest.raises(StoreError):
        read_annotations(tmp_path)


def test_more_dimensions_than_three(tmp_path):
    """Another dimension becomes a column, wherever it stands."""
    document = info(
        dimensions={"t": [1, "s"], "z": [1e-6, "m"], "y": [1e-6, "m"], "x": [1e-6, "m"]},
        properties=[],
        relationships=[],
    )
    folder(tmp_path, document)
    (tmp_path / "s0/0_0_0").write_bytes(listed((1, struct.pack("<4f", 7, 3, 2, 1))))
    (tmp_path / "s1/1_0_0").unlink()
    points = read_points(tmp_path)
    np.testing.assert_allclose(points.coordinates, [[3, 2, 1]])
    assert points["t"].tolist() == [7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"@type": "x"}, "is of the type 'x'"),
        ({"annotation_type": "star"}, "'annotation_type' is 'star'"),
        ({"dimensions": {"x": [1, "m"]}}, "x, y and z are needed"),
        ({"dimensions": {**DIMENSIONS, "z": [1, ""]}}, "dimension 'z'.*pass voxel_size="),
        ({"dimensions": {**DIMENSIONS, "z": [-1, "m"]}}, "dimension 'z'"),
        ({"dimensions": {**DIMENSIONS, "z": None}}, "dimension 'z'"),
        ({"properties": [{"id": "a", "type": "string"}]}, "one of the types"),
        ({"properties": [{**PROPERTIES[4], "enum_labels": ["a"]}]}, "a property is"),
        ({"properties": [PROPERTIES[0]] * 2}, "the same id"),
        ({"properties": 3}, "'properties' is 3, not a list"),
        ({"spatial": [{"grid_shape": [1, 1, 1]}]}, "it needs a key"),
        ({"spatial": [{"key": "../up", "grid_shape": [1, 1, 1]}]}, "leads out of it"),
        ({"spatial": [{"key": "s0", "grid_shape": [0, 1, 1]}]}, "not positive numbers"),
        ({"by_id": {"key": "b", "sharding": {}}}, "'sharding' is not as"),
        ({"projectome_space": "a"}, "'projectome_space' is broken"),
    ],
)
def test_broken_info(tmp_path, change, message):
    folder(tmp_path, info(**change))
    with pytest.raises(ProjectomeError, match=message):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("s0/0_0_0", b"123", "3 bytes, too few"),
        ("s0/0_0_0", listed((9, ONE))[:-1], "1 annotations of 24 bytes"),
        ("s0/0_0_0", struct.pack("<Q", 2**64 - 1), "18446744073709551615 annotations"),
        ("s0/0_0_0", listed((9, struct.pack("<f", np.nan) + ONE[4:])), "annotation 9 has"),
        ("by_id/9", ONE, "ends after 24 of 28 bytes"),
        ("by_id/9", ONE + struct.pack("<I", 2**32 - 1), "ends after"),
        ("by_id/9", ONE + struct.pack("<I", 0) + b"x", "29 bytes where 28 are expected"),
    ],
)
def test_broken_values(tmp_path, name, data, message):
    folder(tmp_path)
    (tmp_path / name).write_bytes(data)
    if message.startswith("annotation 9"):
        (tmp_path / "by_id/9").write_bytes(data[8:32] + struct.pack("<I", 0))
    with pytest.raises(FormatError, match=message):
        read_annotations(tmp_path)


def test_too_much_is_refused(tmp_path):
    folder(tmp_path)
    with pytest.raises(FormatError, match="more than 50 bytes of annotations"):
        read_precomputed_annotations(str(tmp_path), max_bytes=50)


@given(st.sampled_from(list(VECTORS)), st.binary(max_size=200), st.integers(0, 5))
def test_any_bytes(kind, data, count):
    """A value or our error; a count never makes more than there are bytes for."""
    layout = Layout(kind, 3, tuple(Property.parse(p, url="info") for p in PROPERTIES))
    for read in (
        lambda: layout.decode_list(struct.pack("<Q", count) + data, "hostile"),
        lambda: layout.decode_one(data, 1, 2, "hostile"),
    ):
        try:
            found = read()
        except FormatError:
            continue
        assert 12 * len(found.vectors) <= len(data)


# --- round trips ---------------------------------------------------------------------------------


@st.composite
def annotations(draw):
    """Annotations of any kind, with columns of every type and two relationships."""
    kind = draw(st.sampled_from(list(VECTORS)))
    count = draw(st.integers(0, 12))
    each = VECTORS[kind]
    counts = [each if each else draw(st.integers(2, 4)) for _ in range(count)]
    vectors = draw(draws.coordinates(sum(counts), reach=1e4))
    if kind == "ellipsoid":
        vectors[1::2] = np.abs(vectors[1::2])
    ids = draw(st.lists(st.integers(0, 2**64 - 1), min_size=count, max_size=count, unique=True))
    texts = st.sampled_from(["a", "b", "", "ü"])
    columns = {
        "score": draw(hnp.arrays(np.float32, count, elements=st.floats(-9, 9, width=32))),
        "n8": draw(hnp.arrays(np.uint8, count)),
        "i16": draw(hnp.arrays(np.int16, count)),
        "u32": draw(hnp.arrays(np.uint32, count)),
        "label": np.array(draw(st.lists(texts, min_size=count, max_size=count)), dtype=object),
    }
    objects = st.lists(st.integers(0, 9), max_size=3, unique=True)
    related = {
        name: [np.array(draw(objects), np.uint64) for _ in range(count)] for name in ("pre", "post")
    }
    space = draw(draws.spaces())
    ids = np.array(ids, np.uint64)
    return Annotations(kind, vectors, np.array(counts, np.int64), space, ids, columns, related)


@given(annotations(), st.booleans(), st.integers(1, 6))
def test_round_trip(one, sharded, limit):
    url = "memory://annotations/round"
    from projectome.io.stores import remove

    remove(url)
    write_precomputed_annotations(one, url, sharded=sharded, limit=limit)
    (two,) = read_annotations(f"precomputed://{url}")
    order = np.argsort(one.ids)
    assert (two.kind, two.space) == (one.kind, one.space)
    np.testing.assert_array_equal(two.ids, one.ids[order])
    np.testing.assert_array_equal(two.counts, one.counts[order])
    starts = np.cumsum(one.counts) - one.counts
    rows = [r for i in order for r in range(starts[i], starts[i] + one.counts[i])]
    np.testing.assert_allclose(two.vectors, one.vectors[rows], rtol=1e-6, atol=1e-3)
    for name, values in one.columns.items():
        np.testing.assert_array_equal(two.columns[name], values[order])
        assert two.columns[name].dtype == values.dtype or not len(one)
    for name, lists in one.relationships.items():
        assert [a.tolist() for a in two.relationships[name]] == [lists[i].tolist() for i in order]


def test_points_round_trip(tmp_path):
    space = Space("gel", expansion=4)
    columns = {
        "id": np.array([5, 3]),
        "left": np.array([True, False]),
        "color": np.array(["#ff0010"] * 2, dtype=object),
    }
    points = Points([[1, 2, 3], [4, 5, 6]], space, columns)
    url = f"precomputed://{tmp_path}/p"
    write_points(points, url, overwrite=False)
    with pytest.raises(OutputExistsError):
        write_points(points, url, overwrite=False)
    found = read_points(url)
    assert found.space == space
    assert found.coordinates.tolist() == [[4, 5, 6], [1, 2, 3]]
    assert found["id"].tolist() == [3, 5]
    assert found["left"].tolist() == [0, 1]
    assert found["color"].tolist() == ["#ff0010", "#ff0010"]
    (one,) = read_annotations(url)
    write_points(one, tmp_path / "p.csv")
    assert read_points(tmp_path / "p.csv").coordinates.tolist() == [[4, 5, 6], [1, 2, 3]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"Size": np.zeros(1)}, "begin with a small letter"),
        ({"a b": np.zeros(1)}, "begin with a small letter"),
        ({"big": np.array([2**40])}, "whole numbers of 32 bits"),
        ({"mixed": np.array([-1, 2**32 - 1])}, "whole numbers of 32 bits"),
    ],
)
def test_columns_that_have_no_place(tmp_path, column, message):
    count = len(next(iter(column.values())))
    points = Points(np.zeros((count, 3)), Space(), column)
    with pytest.raises(ParameterError, match=message):
        write_points(points, f"precomputed://{tmp_path}/p")


def test_what_cannot_be_written(tmp_path):
    url = f"precomputed://{tmp_path}/p"
    with pytest.raises(ParameterError, match="these are in voxels"):
        write_points(Points([[0, 0, 0]], Space.voxels()), url)
    with pytest.raises(ParameterError, match="ids that differ"):
        write_points(Points(np.zeros((2, 3)), Space(), {"id": np.array([1, 1])}), url)
    one = np.ones(1, np.int64)
    with pytest.raises(ShapeError):
        Annotations("line", np.zeros((1, 3)), one, Space(), one)
    with pytest.raises(ParameterError, match="not 'star'"):
        Annotations("star", np.zeros((1, 3)), one, Space(), one)
    with pytest.raises(ShapeError, match="one entry each of a, not 2"):
        Annotations("point", np.zeros((1, 3)), one, Space(), one, {"a": np.zeros(2)})


def test_many_are_sharded(tmp_path):
    points = Points(np.random.default_rng(0).uniform(0, 1e4, (5000, 3)), Space())
    write_points(points, f"precomputed://{tmp_path}")
    assert len(list(tmp_path.rglob("*"))) < 30
    found = read_points(tmp_path)
    np.testing.assert_allclose(found.coordinates, points.coordinates, rtol=1e-6)


# --- the spatial index ---------------------------------------------------------------------------


@given(
    st.integers(1, 60).flatmap(lambda n: draws.coordinates(n, reach=1000)),
    st.integers(1, 10),
    st.floats(0, 300),
)
def test_the_spatial_index(low, limit, size):
    """Each annotation stands in one level, in all cells there that it meets, and in no other."""
    high = low + size * np.random.default_rng(0).random(low.shape)
    ids = np.arange(len(low), dtype=np.uint64)
    start, extent = low.min(axis=0), np.maximum(high.max(axis=0) - low.min(axis=0), 1)
    levels = list(spatial_levels(low, high, ids, limit=limit, start=start, extent=extent))
    seen = {}
    for number, level in enumerate(levels):
        chunk = np.array(level.chunk)
        np.testing.assert_allclose(chunk * level.grid, extent)
        for cell, rows in level.cells.items():
            assert all(0 <= c < g for c, g in zip(cell, level.grid, strict=True))
            lower = start + chunk * cell
            touch = 1e-6 * extent
            assert (low[rows] <= lower + chunk + touch).all()
            assert (high[rows] >= lower - touch).all()
            for row in rows.tolist():
                assert seen.setdefault(row, number) == number
    assert set(seen) == set(range(len(low)))


def test_cells_hold_about_as_many_as_the_limit():
    rng = np.random.default_rng(1)
    places = rng.uniform(0, 1000, (20_000, 3)) * (1, 1, 0.1)
    ids = np.arange(len(places), dtype=np.uint64)
    levels = list(
        spatial_levels(
            places, places, ids, limit=500, start=np.zeros(3), extent=np.array([1000, 1000, 100.0])
        )
    )
    assert max(len(rows) for level in levels for rows in level.cells.values()) < 650
    assert levels[0].grid == (1, 1, 1)
    # The long axes are halved until the cells are nearly cubes.
    assert levels[1].grid == (2, 2, 1)
    sampled = places[levels[0].cells[0, 0, 0]]
    assert np.abs(sampled.mean(axis=0) - places.mean(axis=0)).max() < 50


def test_points_at_one_place_end():
    places = np.zeros((1000, 3))
    ids = np.arange(1000, dtype=np.uint64)
    levels = list(
        spatial_levels(places, places, ids, limit=1, start=np.zeros(3), extent=np.ones(3))
    )
    assert sum(len(rows) for level in levels for rows in level.cells.values()) == 1000


def test_morton_codes():
    """Bits are interleaved, and a dimension without more bits is passed over."""
    assert [morton_code(c, (2, 2, 2)) for c in ((1, 0, 0), (0, 1, 0), (0, 0, 1))] == [1, 2, 4]
    assert morton_code((5, 0, 0), (8, 1, 1)) == 5
    assert morton_code((3, 1, 0), (4, 2, 1)) == 0b111
    assert morton_code((2, 1, 0), (4, 2, 1)) == 0b110


# --- other kinds ---------------------------------------------------------------------------------


def make(kind, vectors, counts=None):
    counts = np.array(counts or [VECTORS[kind]] * (len(vectors) // VECTORS[kind]))
    ids = np.arange(1, len(counts) + 1)
    return Annotations(kind, np.array(vectors, float), counts, Space(), ids)


def test_tables_of_what_has_an_extent():
    line = make("line", [[0, 0, 0], [4, 2, 0]])
    assert line.points().coordinates.tolist() == [[2, 1, 0]]
    names = ["id", *(f"{p}_{a}_um" for p in ("start", "end") for a in "zyx")]
    assert list(line.table().columns) == names
    assert line.table().iloc[0].tolist() == [1, 0, 0, 0, 4, 2, 0]
    ball = make("ellipsoid", [[9, 9, 9], [1, 2, 3]])
    assert ball.points().coordinates.tolist() == [[9, 9, 9]]
    assert ball.table()["radius_x_um"].tolist() == [3]
    low, high = ball.bounds
    assert (low.tolist(), high.tolist()) == ([[8, 7, 6]], [[10, 11, 12]])
    way = make("polyline", [[0, 0, 0], [0, 0, 2], [0, 8, 2], [5, 5, 5]], [3, 1])
    assert way.points().coordinates.tolist() == [[0, 4, 1], [5, 5, 5]]
    assert list(way.table().columns) == ["id", "z_um", "y_um", "x_um"]
    with pytest.raises(ParameterError, match="no common shape"):
        _ = way.geometry
    assert len(make("line", []).table()) == 0


# --- states --------------------------------------------------------------------------------------


def state():
    cells = {
        "type": "annotation",
        "name": "cells",
        "source": {
            "url": "local://annotations",
            "transform": {"outputDimensions": {"x": [2e-6, "m"], "y": [2e-6, "m"], "z": [5, "um"]}},
        },
        "annotationProperties": [
            {"id": "score", "type": "float32", "default": 0},
            {"id": "kind", "type": "uint8", "enum_values": [0, 1], "enum_labels": ["a", "b"]},
        ],
        "annotationRelationships": ["neurons"],
        "annotations": [
            {"type": "point", "point": [1, 2, 3], "id": "ab", "props": [0.5, 1]},
            {
                "type": "point",
                "point": [4, 5, 6],
                "id": "cd",
                "description": "odd",
                "segments": [["12", "13"]],
            },
            {"type": "line", "pointA": [0, 0, 0], "pointB": [1, 1, 1], "id": "ef"},
        ],
    }
    remote = {"type": "annotation", "name": "far", "source": "precomputed://gs://bucket/far"}
    image = {"type": "image", "name": "raw", "source": "zarr://s3://bucket/raw"}
    return {"dimensions": DIMENSIONS, "layers": [image, cells, remote]}


def test_a_state(tmp_path):
    (tmp_path / "state.json").write_text(json.dumps(state()))
    points, lines = read_annotations(tmp_path / "state.json")
    assert (points.kind, lines.kind, points.name) == ("point", "line", "cells")
    assert points.geometry[:, 0].tolist() == [[15, 4, 2], [30, 10, 8]]
    assert points.columns["key"].tolist() == ["ab", "cd"]
    assert points.columns["description"].tolist() == ["", "odd"]
    assert points.columns["score"].tolist()[0] == 0.5
    assert np.isnan(points.columns["score"][1])
    assert [ids.tolist() for ids in points.relationships["neurons"]] == [[], [12, 13]]
    assert lines.geometry.tolist() == [[[0, 0, 0], [5, 2, 2]]]
    assert "not here but at precomputed://gs://bucket/far" in str(points.problems)
    with pytest.raises(ParameterError, match=r"several sets.*'cells' \(point\)"):
        read_points(tmp_path / "state.json")
    with pytest.raises(UnknownNameError, match=r"Unknown annotation layer 'cell'.*'cells'"):
        read_points(tmp_path / "state.json", layer="cell")


def test_enumerations_of_a_state():
    document = state()
    for annotation in document["layers"][1]["annotations"]:
        annotation["props"] = [1, 0]
    found = parse_state(json.dumps(document).encode(), url="s", layer="cells")
    assert found[0].columns["kind"].tolist() == ["a", "a"]


def test_older_states(tmp_path):
    layer = {
        "name": "a",
        "type": "annotation",
        "voxelSize": [400, 400, 4000],
        "annotations": [{"point": [1, 1, 1], "type": "point", "id": "x", "segments": ["7"]}],
    }
    (tmp_path / "s.json").write_text(json.dumps({"layers": [layer]}))
    points = read_points(tmp_path / "s.json")
    np.testing.assert_allclose(points.coordinates, [[4, 0.4, 0.4]])
    assert points["segments"].tolist() == ["7"]
    del layer["voxelSize"]
    (tmp_path / "s.json").write_text(json.dumps({"layers": [layer], "dimensions": DIMENSIONS}))
    np.testing.assert_allclose(read_points(tmp_path / "s.json").coordinates, [[0.04, 0.008, 0.004]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layers"), "not a neuroglancer state"),
        (lambda s: s["layers"].pop(1), "holds no annotations.*gs://bucket/far"),
        (lambda s: s["layers"][1]["annotations"][0].pop("point"), "annotation 1 has no coord"),
        (lambda s: s["layers"][1]["annotations"][0].update(point=[1, 2]), "annotation 1 has no"),
        (lambda s: s["layers"][1]["annotations"][0].update(point=[1, 2, "x"]), "annotation 1 has"),
        (lambda s: s["layers"][1]["annotations"][0].update(type="star"), "unknown type 'star'"),
        (lambda s: s["layers"][1]["annotations"][1].update(segments=[["x"]]), "are no ids"),
        (lambda s: s["layers"][1]["annotations"][1].update(segments=[[-1]]), "are no ids"),
        (lambda s: s["layers"][1].update(annotationProperties=3), "is not a list"),
        (
            lambda s: s["layers"][1]["source"]["transform"].update(matrix=[[2, 0, 0, 0]] * 3),
            "moved by a matrix",
        ),
    ],
)
def test_broken_states(change, message):
    document = state()
    change(document)
    with pytest.raises(FormatError, match=message):
        parse_state(json.dumps(document).encode(), url="s.json")


def test_a_matrix_that_moves_nothing():
    document = state()
    eye = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    document["layers"][1]["source"]["transform"]["matrix"] = eye
    assert len(parse_state(json.dumps(document).encode(), url="s.json")) == 2


@given(draws.spoilt(state()))
def test_states_with_anything_in_any_place(document):
    try:
        parse_state(json.dumps(document).encode(), url="hostile")
    except ProjectomeError:
        return


@given(draws.spoilt(info(projectome_space={"name": "a", "axes": ["z", "y", "x"]})))
def test_infos_with_anything_in_any_place(document):
    try:
        Info.parse(document, "memory://hostile")
    except ProjectomeError:
        return


def test_write_sharded_is_what_the_reader_expects(tmp_path):
    """A spatial level in shards has the code of the cell for a key; any key is read."""
    document = info(relationships=[])
    how = Sharding()
    for level in document["spatial"]:
        level["sharding"] = how.document()
    folder(tmp_path, document)
    write_sharded({0: listed((9, ONE))}, str(tmp_path / "s0"), how)
    write_sharded({1: listed((5, TWO))}, str(tmp_path / "s1"), how)
    check(read_annotations(tmp_path)[0])
