"""Skeletons in neuroglancer's format: bytes by hand after the specification, and round trips."""

import gzip
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.skeleton import Skeleton
from projectome.core.space import Space
from projectome.errors import (
    FormatError,
    NotFoundError,
    ParameterError,
    ProjectomeError,
    StoreError,
)
from projectome.io.sharded import Sharding, write_sharded
from projectome.io.skeletons import NamedSkeleton, read_skeletons, write_skeletons
from projectome.io.skeletons.model import Given
from projectome.io.skeletons.precomputed import Info, decode
from projectome.testing import strategies as draws

RADIUS = {"id": "radius", "data_type": "float32", "num_components": 1}
KIND = {"id": "vertex_types", "data_type": "uint8", "num_components": 1}
NORMAL = {"id": "normal", "data_type": "int16", "num_components": 2}
# Stored units of 4 nm, moved by 100, 200, 300 nm in x, y, z.
TRANSFORM = [4, 0, 0, 100, 0, 4, 0, 200, 0, 0, 4, 300]
VERTICES = [[0, 0, 0], [1000, 0, 0], [1000, 500, 0], [1000, 500, 250]]
EDGES = [[0, 1], [2, 1], [2, 3]]


def body(vertices, edges, *attributes):
    """One skeleton in bytes, from the specification."""
    parts = [struct.pack("<II", len(vertices), len(edges))]
    parts += [struct.pack("<fff", *vertex) for vertex in vertices]
    parts += [struct.pack("<II", *edge) for edge in edges]
    return b"".join([*parts, *attributes])


BODY = body(
    VERTICES,
    EDGES,
    struct.pack("<4f", 250, 500, 0, -1),
    bytes([2, 2, 1, 2]),
    struct.pack("<8h", *range(-4, 4)),
)


def info(**more):
    return {
        "@type": "neuroglancer_skeletons",
        "transform": TRANSFORM,
        "vertex_attributes": [RADIUS, KIND, NORMAL],
        **more,
    }


def folder(path, document=None, **bodies):
    path.mkdir(parents=True, exist_ok=True)
    (path / "info").write_text(json.dumps(info() if document is None else document))
    for name, data in bodies.items():
        (path / name.removeprefix("s")).write_bytes(data)
    return path


def test_bytes_by_hand(tmp_path):
    folder(tmp_path / "skeletons", s7=BODY, s10=BODY, manifest=b"junk")
    found = read_skeletons(tmp_path / "skeletons")
    assert (found.format, found.names, found.all_problems) == ("precomputed", ["7", "10"], ())
    one = found["7"]
    places = {node: row for row, node in enumerate(one.ids.tolist())}
    order = [places[i] for i in range(4)]
    np.testing.assert_allclose(
        one.skeleton.coordinates[order],
        [[0.3, 0.2, 0.1], [0.3, 0.2, 4.1], [0.3, 2.2, 4.1], [1.3, 2.2, 4.1]],
    )
    np.testing.assert_allclose(one.skeleton.radius[order], [1, 2, np.nan, np.nan])
    assert one.skeleton.kind[order].tolist() == [2, 2, 1, 2]
    assert one.columns["normal_0"][order].tolist() == [-4, -2, 0, 2]
    assert one.columns["normal_1"].dtype == np.int16
    assert one.ids[0] == 2  # rooted at the soma
    assert one.skeleton.cable_length == pytest.approx(4 + 2 + 1)


def test_values_that_cloud_volume_packed(tmp_path):
    """On a disk their names end in .gz; behind an object store's header they do not."""
    folder(tmp_path, s7=gzip.compress(BODY), s8=BODY)
    (tmp_path / "9.gz").write_bytes(gzip.compress(BODY))
    found = read_skeletons(tmp_path)
    assert found.names == ["7", "8", "9"]
    assert {round(s.cable_length, 3) for s in found.skeletons} == {7.0}
    (tmp_path / "7").write_bytes(gzip.compress(gzip.compress(BODY)))
    with pytest.raises(FormatError, match=r"bytes; .* vertices"):
        read_skeletons(tmp_path)


def test_a_physical_position_is_no_voxel_corner(tmp_path):
    """The centre of voxel 0 of 8 nm lies at 4 nm, in the skeleton as in the volume."""
    document = {"@type": "neuroglancer_skeletons"}
    folder(tmp_path, document, s1=body([[4, 4, 4]], []))
    found = read_skeletons(tmp_path)
    np.testing.assert_allclose(found[0].skeleton.coordinates, [[0.004] * 3], rtol=1e-6)
    assert "no transform; positions read as nanometres" in str(found.problems)


def test_a_segmentation_names_its_skeletons(tmp_path):
    folder(tmp_path / "skel", s7=BODY)
    volume = {"@type": "neuroglancer_multiscale_volume", "skeletons": "skel"}
    (tmp_path / "info").write_text(json.dumps(volume))
    for url in (tmp_path, f"precomputed://{tmp_path}", tmp_path / "skel" / "info"):
        assert read_skeletons(url).names == ["7"]
    volume["skeletons"] = "../outside"
    (tmp_path / "info").write_text(json.dumps(volume))
    with pytest.raises(StoreError, match="leads out of it"):
        read_skeletons(tmp_path)


def test_the_names_of_segments(tmp_path):
    folder(tmp_path, info(segment_properties="props"), s7=BODY, s8=BODY)
    label = {"id": "label", "type": "label", "values": ["N024"]}
    document = {
        "@type": "neuroglancer_segment_properties",
        "inline": {"ids": ["7"], "properties": [label]},
    }
    (tmp_path / "props").mkdir()
    (tmp_path / "props/info").write_text(json.dumps(document))
    found = read_skeletons(tmp_path)
    assert found.names == ["N024", "8"]
    assert read_skeletons(tmp_path, only=["N024"])[0].facts["id"] == 7
    assert read_skeletons(tmp_path, only=[8]).names == ["8"]
    with pytest.raises(NotFoundError, match="has no skeleton 9"):
        read_skeletons(tmp_path, only=[9])
    with pytest.raises(ParameterError, match="whole numbers for names, not 'N025'"):
        read_skeletons(tmp_path, only=["N025"])
    with pytest.raises(ParameterError, match="64 bits"):
        read_skeletons(tmp_path, only=[2**64])
    (tmp_path / "props/info").write_text('{"inline": {"ids": ["a"]}}')
    found = read_skeletons(tmp_path)
    assert found.names == ["7", "8"]
    assert "segment properties cannot be read" in str(found.problems)


def test_a_graph_with_loops(tmp_path):
    """A square with sides 10, 10, 10 and 9 and a tail: one of the longest sides is dropped."""
    square = [[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 9, 0], [50, 0, 0], [60, 0, 0]]
    edges = [[0, 1], [1, 2], [2, 3], [3, 0], [0, 0], [4, 5], [5, 4]]
    document = info(transform=[1000, 0, 0, 0, 0, 1000, 0, 0, 0, 0, 1000, 0], vertex_attributes=[])
    folder(tmp_path, document, s1=body(square, edges))
    found = read_skeletons(tmp_path)[0]
    assert len(found.skeleton.roots) == 2
    assert found.skeleton.cable_length == pytest.approx(10 + 10 + 9 + 10)
    (problem,) = found.problems
    assert "1 edges close loops" in problem.message
    assert problem.message.endswith("of each loop: 2-3.")


def test_the_callers_word(tmp_path):
    folder(tmp_path, s7=BODY)
    space = Space("gel", expansion=4.2)
    found = read_skeletons(tmp_path, space=space, scale=(3, 2, 1), radius_scale=0.5)[0]
    assert found.skeleton.space == space
    assert found.skeleton.coordinates.max(axis=0).tolist() == [750, 1000, 1000]
    assert np.nanmax(found.skeleton.radius) == 250
    assert read_skeletons(tmp_path, expansion=2)[0].skeleton.space.expansion == 2


# --- broken --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes, too few"),
        (BODY[:-1], "bytes; 4 vertices and 3 edges"),
        (BODY + b"0", "bytes; 4 vertices and 3 edges"),
        (struct.pack("<II", 2**32 - 1, 2**32 - 1), "8 bytes; 4294967295 vertices"),
        (body(VERTICES, [[0, 4], *EDGES[1:]], BODY[-36:]), "an edge to vertex 4 of 4"),
        (body([[0, 0, np.inf], *VERTICES[1:]], EDGES, BODY[-36:]), "not finite"),
    ],
)
def test_broken_bodies(tmp_path, data, message):
    folder(tmp_path, s7=data)
    with pytest.raises(FormatError, match=message):
        read_skeletons(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"@type": "neuroglancer_mesh"}, "is of the type 'neuroglancer_mesh'"),
        ({"transform": [1, 2, 3]}, "12 numbers of an invertible map"),
        ({"transform": [0] * 12}, "12 numbers of an invertible map"),
        ({"transform": "no"}, "12 numbers of an invertible map"),
        ({"vertex_attributes": [{"id": "a"}]}, "'vertex_attributes' is not as"),
        ({"vertex_attributes": [{**RADIUS, "data_type": "float64"}]}, "Known data types"),
        ({"vertex_attributes": [{**RADIUS, "num_components": 10**9}]}, "is not as the format"),
        ({"vertex_attributes": 3}, "is not as the format"),
        ({"sharding": {"@type": "x"}}, "'sharding' is not as"),
        ({"segment_properties": "../up"}, "leads out of it"),
        ({"projectome_space": 3}, "'projectome_space' is broken"),
    ],
)
def test_broken_info(tmp_path, change, message):
    folder(tmp_path, info(**change), s7=BODY)
    with pytest.raises(ProjectomeError, match=message):
        read_skeletons(tmp_path)


@given(st.data())
def test_mutated_bodies(data):
    broken = bytearray(BODY)
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    document = Info.parse(info(), url="info")
    try:
        found = decode(bytes(broken), document, segment=1, url="hostile", given=Given())
    except FormatError:
        return
    assert np.isfinite(found.skeleton.coordinates).all()


# --- writing -------------------------------------------------------------------------------------


@given(
    draws.skeletons(smallest=1),
    st.booleans(),
    st.sampled_from(["N1", "77", "18446744073709551615"]),
)
def test_round_trip(skeleton, sharded, name):
    """The space, the shape and the order of nodes are kept; numbers to 32 bits."""
    n = len(skeleton)
    columns = {"allen_id": np.arange(n) * 1000, "score": np.linspace(0, 1, n, dtype=np.float32)}
    item = NamedSkeleton(skeleton, name, np.arange(n), columns)
    url = "memory://skeletons/round"
    write_skeletons([item], url, kind="precomputed", sharded=sharded, overwrite=True)
    found = read_skeletons(f"precomputed://{url}", only=[name])
    assert found.names == [name]
    other = found[0].skeleton
    assert other.space == skeleton.space
    np.testing.assert_allclose(other.coordinates, skeleton.coordinates, rtol=1e-6, atol=1e-4)
    np.testing.assert_array_equal(other.parent, skeleton.parent)
    if skeleton.kind is not None and skeleton.kind.any():
        np.testing.assert_array_equal(other.kind, skeleton.kind)
    if skeleton.radius is not None:
        np.testing.assert_allclose(other.radius, skeleton.radius, rtol=1e-6)
    for key, values in columns.items():
        np.testing.assert_array_equal(found[0].columns[key], values)


def test_sharded_in_many_files(tmp_path):
    skeleton = Skeleton([[0, 0, 0], [3, 4, 12]], [-1, 0], Space())
    items = [NamedSkeleton(skeleton, str(i * 7), np.arange(2)) for i in range(1, 200)]
    from projectome.io.skeletons.precomputed_write import write_precomputed

    write_precomputed(items, str(tmp_path), sharded=Sharding(shard_bits=3, minishard_bits=2))
    assert len(list(tmp_path.glob("*.shard"))) == 8
    assert not (tmp_path / "segment_properties").exists()
    found = read_skeletons(tmp_path)
    assert found.names == [item.name for item in items]
    assert {s.cable_length for s in found.skeletons} == {13}


def test_ids_of_segments():
    from projectome.io.skeletons.precomputed_write import segment_ids

    skeleton = Skeleton([[0, 0, 0]], [-1], Space())

    def item(name, **facts):
        return NamedSkeleton(skeleton, name, np.zeros(1), {}, facts)

    assert segment_ids([item("a", id=9), item("b", id="12")]) == [9, 12]
    assert segment_ids([item("9"), item("12")]) == [9, 12]
    assert segment_ids([item("9"), item("9")]) == [1, 2]
    assert segment_ids([item("-1"), item(str(2**64))]) == [1, 2]


def test_skeletons_of_one_folder_lie_in_one_space(tmp_path):
    a, b = (Skeleton([[0, 0, 0]], [-1], Space(name)) for name in "ab")
    with pytest.raises(ParameterError, match="lie in one space"):
        write_skeletons([a, b], tmp_path / "p", kind="precomputed")


def test_shards_by_hand(tmp_path):
    """The value in a shard is the same as the file."""
    how = Sharding(shard_bits=1, data_encoding="raw")
    folder(tmp_path, info(sharding=how.document()))
    write_sharded({7: BODY, 2**63: BODY}, str(tmp_path), how)
    assert read_skeletons(tmp_path).names == ["7", str(2**63)]
    assert read_skeletons(tmp_path, only=[2**63]).names == [str(2**63)]
