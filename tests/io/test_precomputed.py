"""Neuroglancer precomputed volumes: read as their definition says, and never too much of them."""

import contextlib
import gzip
import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import FormatError, MetadataError, ParameterError, ProjectomeError
from projectome.io.open import open_volume
from projectome.io.volumes.precomputed_info import Scale, parse_info
from projectome.testing.readers import Example, ReaderContract


def save(folder, voxels, *, kind="image", encoding="raw", sharding=None, **more):
    """Write with tensorstore, two scales; voxels are (c, z, y, x) or (z, y, x)."""
    whole = voxels if voxels.ndim == 4 else voxels[None]
    for factor in (1, 2):
        part = whole[:, ::factor, ::factor, ::factor].transpose(3, 2, 1, 0)
        scale = {
            "key": f"{400 * factor}_{500 * factor}_{2000 * factor}",
            "size": part.shape[:3],
            "resolution": [400.0 * factor, 500.0 * factor, 2000.0 * factor],
            "voxel_offset": [30 // factor, 20 // factor, 10 // factor],
            "chunk_size": [8 // factor] * 3,
            "encoding": encoding,
            **({"sharding": sharding} if sharding else {}),
            **more,
        }
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{folder}/"},
            "multiscale_metadata": {
                "type": kind,
                "data_type": voxels.dtype.name,
                "num_channels": len(whole),
            },
            "scale_metadata": scale,
        }
        store = ts.open(spec, create=True, open=True).result()
        store[ts.d[:].translate_to[0]].write(part).result()
    return Path(folder)


SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 1,
    "hash": "murmurhash3_x86_128",
    "minishard_bits": 2,
    "shard_bits": 1,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}


RAW_INDEX = {"minishard_index_encoding": "raw"}


class Precomputed(ReaderContract):
    """Voxels of 2 x 0.5 x 0.4 um; the corner of the first is voxel 10, 20, 30."""

    shape, dtype, options = (16, 24, 20), "uint16", MappingProxyType({})

    def write(self, folder):
        rng = np.random.default_rng(0)
        voxels = rng.integers(0, np.iinfo(self.dtype).max, self.shape, dtype=self.dtype)
        save(folder / "brain", voxels, **self.options)
        names = tuple(f"channel {i}" for i in range(self.shape[0])) if len(self.shape) == 4 else ()
        # Half a voxel on from the corner.
        place = (10.5 * 2.0, 20.5 * 0.5, 30.5 * 0.4)
        return Example(folder / "brain", voxels, (2.0, 0.5, 0.4), place, names)


class TestRaw(Precomputed):
    pass


class TestChannels(Precomputed):
    shape = (3, 16, 24, 20)


class TestSharded(Precomputed):
    options = MappingProxyType({"sharding": SHARDING})


class TestShardedLabels(Precomputed):
    dtype = "uint64"
    options = MappingProxyType(
        {
            "kind": "segmentation",
            "encoding": "compressed_segmentation",
            "compressed_segmentation_block_size": [8, 8, 8],
            "sharding": {**SHARDING, "hash": "identity", "data_encoding": "raw", **RAW_INDEX},
        }
    )


class TestLabels(Precomputed):
    dtype = "uint32"
    options = MappingProxyType(
        {
            "kind": "segmentation",
            "encoding": "compressed_segmentation",
            "compressed_segmentation_block_size": [4, 4, 4],
        }
    )


class TestGzipFiles(Precomputed):
    """Chunks as cloud-volume writes them on a disk."""

    def write(self, folder):
        example = super().write(folder)
        for file in example.path.glob("*/*"):
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
        return example


class TestGzipLabels(TestGzipFiles):
    dtype = "uint64"
    options = TestLabels.options


class TestPng(Precomputed):
    options = MappingProxyType({"encoding": "png"})


SCALE = {
    "key": "4_4_40",
    "size": [20, 24, 16],
    "resolution": [4, 4, 40],
    "voxel_offset": [0, 0, 0],
    "chunk_sizes": [[8, 8, 8]],
    "encoding": "raw",
}
INFO = {
    "@type": "neuroglancer_multiscale_volume",
    "type": "image",
    "data_type": "uint8",
    "num_channels": 1,
    "scales": [SCALE],
}


def write_info(folder, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "info").write_text(json.dumps({**INFO, **changes}))
    return str(folder)


def test_scales_are_levels_finest_first(tmp_path):
    coarse = {**SCALE, "key": "8", "resolution": [8, 8, 80], "size": [10, 12, 8]}
    pyramid = open_volume(write_info(tmp_path / "v", scales=[coarse, SCALE]))
    assert [v.shape for v in pyramid] == [(16, 24, 20), (8, 12, 10)]
    assert [v.voxel_size for v in pyramid] == [(0.04, 0.004, 0.004), (0.08, 0.008, 0.008)]
    # A corner: the centres lie half a voxel of each level from it.
    np.testing.assert_allclose(pyramid[1].affine.translation, (0.04, 0.004, 0.004))
    assert "not in the order" in pyramid.problems[0].message


def test_segmentations_are_labels(tmp_path):
    url = write_info(tmp_path / "v", type="segmentation", data_type="UINT32")
    volume = open_volume(f"precomputed://{url}")[0]
    assert (volume.kind, volume.dtype) == ("labels", np.uint32)


def test_voxel_size_of_the_user_counts(tmp_path):
    volume = open_volume(write_info(tmp_path / "v"), voxel_size=(1, 0.1, 0.1), expansion=4)[0]
    np.testing.assert_allclose(volume.voxel_size, (1, 0.1, 0.1))
    np.testing.assert_allclose(volume.affine.translation, (0.5, 0.05, 0.05))
    assert volume.space.expansion == 4


@pytest.mark.parametrize("option", [{"axes": "zyx"}, {"time": 0}])
def test_axes_cannot_be_chosen(tmp_path, option):
    with pytest.raises(ParameterError, match="always x, y, z and channel"):
        open_volume(write_info(tmp_path / "v"), **option)


def test_a_petavoxel_opens_and_reads_a_corner(tmp_path):
    scale = {**SCALE, "size": [10**9] * 3, "chunk_sizes": [[64, 64, 64]]}
    volume = open_volume(write_info(tmp_path / "v", scales=[scale]))[0]
    assert volume.shape == (10**9,) * 3
    assert volume.read(volume.voxel_box((0, 0, 0), (0.1, 0.1, 0.1))).sum() == 0
    assert len(list(volume.array.evidence())) > 30


def test_missing_chunk_is_an_error_where_asked(tmp_path):
    url = write_info(tmp_path / "v")
    assert not open_volume(url)[0].read().any()
    with pytest.raises(FormatError, match=r"missing.*without --strict"):
        open_volume(url, strict=True)[0].read()


@pytest.mark.parametrize("kind", ["neuroglancer_skeletons", "neuroglancer_annotations_v1", 7])
def test_other_things_of_neuroglancer_are_named(tmp_path, kind):
    url = write_info(tmp_path / "v", **{"@type": kind})
    with pytest.raises(FormatError, match=rf"describes .?{kind}.*projectome ls"):
        open_volume(url)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"data_type": "float64"}, "data_type"),
        ({"data_type": ["uint8"]}, "data_type"),
        ({"type": "segmentation", "data_type": "float32"}, "data_type"),
        ({"num_channels": 0}, "num_channels"),
        ({"num_channels": 10**12}, "num_channels"),
        ({"scales": []}, "scales"),
        ({"scales": [SCALE] * 100}, "scales"),
        ({"scales": [7]}, "scales[0]"),
        ({"scales": [{**SCALE, "size": [0, 1, 1]}]}, "scales[0].size"),
        ({"scales": [{**SCALE, "size": [2**63, 1, 1]}]}, "scales[0].size"),
        ({"scales": [{**SCALE, "size": [1, 1]}]}, "scales[0].size"),
        ({"scales": [{**SCALE, "chunk_sizes": []}]}, "scales[0].chunk_sizes"),
        ({"scales": [{**SCALE, "resolution": [0, 4, 4]}]}, "scales[0].resolution"),
        ({"scales": [{**SCALE, "resolution": ["4", 4, 4]}]}, "scales[0].resolution"),
        ({"scales": [{**SCALE, "voxel_offset": [0.5, 0, 0]}]}, "scales[0].voxel_offset"),
        ({"scales": [{**SCALE, "encoding": "jxl"}]}, "scales[0].encoding"),
        ({"scales": [{**SCALE, "key": ""}]}, "scales[0].key"),
    ],
)
def test_problems_say_where(tmp_path, change, where):
    with pytest.raises(MetadataError, match="fetch it again") as caught:
        open_volume(write_info(tmp_path / "v", **change))
    assert where in {problem.where for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk_sizes": [[10**4] * 3], "size": [10**6] * 3}, "would not fit into memory"),
        ({"key": "../other"}, "leads out of it"),
        ({"key": "/etc"}, "leads out of it"),
        ({"sharding": {"@type": "neuroglancer_uint64_sharded_v1"}}, "cannot be opened"),
        ({"sharding": 7}, "cannot be opened"),
        ({"sharding": {**SHARDING, "minishard_bits": 60}}, "cannot be opened"),
        ({"encoding": "jpeg", "jpeg_quality": 1000}, "cannot be opened"),
        ({"encoding": "compressed_segmentation"}, "cannot be opened"),
    ],
)
def test_scales_that_cannot_be_opened(tmp_path, change, message):
    with pytest.raises(ProjectomeError, match=message) as caught:
        open_volume(write_info(tmp_path / "v", scales=[{**SCALE, **change}]))
    assert str(tmp_path) in str(caught.value)


def test_what_projectome_wrote_is_read_with_care(tmp_path):
    own = {"toward": ["left", "up"], "translation": [1e9, 0, 0], "expansion": "four", "space": 7}
    pyramid = open_volume(write_info(tmp_path / "v", projectome=own))
    assert {p.where for p in pyramid.problems} == {"projectome.toward", "projectome.translation"}
    assert pyramid.space.toward == (None, None, None)
    assert pyramid.space.expansion == 1


def test_numbers_of_chunks_are_compressed_morton_codes():
    """The specification: bits of x, y and z in turn, those left out that an axis has not."""
    scale = Scale("s", (8, 32, 64), (1, 1, 1), (0, 0, 0), (8, 8, 8), "raw", {})
    assert scale.grid == (1, 4, 8)
    # x = 0b101, y = 0b11: x0 y0 x1 y1 x2 from the lowest bit.
    assert scale.chunk_number((0, 3, 5)) == 0b11011
    numbers = {scale.chunk_number((0, y, x)) for y in range(4) for x in range(8)}
    assert numbers == set(range(32))


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
OWN = ("space", "expansion", "toward", "translation", "channels", "kind")


@given(st.data())
def test_an_info_is_read_or_refused(tmp_path_factory, data):
    def change(document, names):
        chosen = data.draw(st.lists(st.sampled_from(sorted(names)), max_size=2))
        return {**document, **{name: data.draw(values) for name in chosen}}

    scale = change(SCALE, [*SCALE, "sharding", "jpeg_quality", "png_level"])
    document = change({**INFO, "scales": [scale]}, INFO)
    document["projectome"] = change({}, OWN)
    with contextlib.suppress(MetadataError):
        assert parse_info(document, url="here").scales
    folder = tmp_path_factory.mktemp("fuzz") / "v"
    folder.mkdir()
    (folder / "info").write_text(json.dumps(document))
    with contextlib.suppress(ProjectomeError):
        volume = open_volume(f"precomputed://{folder}")[0]
        volume.read(volume.voxel_box((0, 0, 0), volume.voxel_size))


@given(st.binary(max_size=40), st.integers(0, 10**6))
def test_a_broken_info_is_refused(tmp_path_factory, data, place):
    good = json.dumps(INFO).encode()
    place %= len(good)
    folder = tmp_path_factory.mktemp("broken") / "v"
    folder.mkdir()
    for content in (data, good[:place], good[:place] + data + good[place:]):
        (folder / "info").write_bytes(content)
        with contextlib.suppress(ProjectomeError):
            open_volume(f"precomputed://{folder}")
