"""Chunks whose codecs tensorstore does not know; numcodecs and zarr-python write them."""

import contextlib
import json
import lzma
import pickle
import struct
import time
import zlib

import hadro
import imagecodecs
import numcodecs
import numpy as np
import pytest
import tensorstore as ts
import zarr
import zarr.codecs
import zarr.codecs.numcodecs as v3
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import FormatError, ProjectomeError
from projectome.io.open import open_volume
from projectome.io.volumes.codecs import chain, lz4_blocks
from projectome.testing.readers import Example, ReaderContract

SIZE = {"voxel_size": (3, 2, 1)}


def noise(shape=(17, 20, 24), dtype="uint16"):
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def save_2(path, voxels, compressor=None, filters=None, **options):
    """Write version 2 with zarr-python."""
    options = {"chunks": (8, 8, 8), "fill_value": 0, **options}
    array = zarr.create_array(
        str(path),
        shape=voxels.shape,
        dtype=voxels.dtype,
        zarr_format=2,
        compressors=compressor,
        filters=filters,
        **options,
    )
    array[...] = voxels
    return path


COMPRESSORS = [
    numcodecs.LZ4(),
    numcodecs.LZMA(),
    numcodecs.LZMA(format=lzma.FORMAT_ALONE),
    numcodecs.LZMA(format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}]),
    numcodecs.Zstd(level=1),
    numcodecs.Zstd(level=1, checksum=True),
]
FILTERS = [
    [numcodecs.Delta("u2")],
    [numcodecs.Delta("<u2", astype="<i4")],
    [numcodecs.Shuffle(2)],
    [numcodecs.CRC32()],
    [numcodecs.CRC32C()],
    [numcodecs.Adler32()],
    [numcodecs.Fletcher32()],
    [numcodecs.Delta("u2"), numcodecs.Shuffle(2), numcodecs.CRC32()],
    [numcodecs.AsType("u4", "u2")],
    [numcodecs.FixedScaleOffset(offset=0, scale=1, dtype="u2", astype="u4")],
]


class TestLz4(ReaderContract):
    def write(self, folder):
        voxels = noise()
        save_2(folder / "a", voxels, numcodecs.LZ4())
        return Example(folder / "a", voxels, (3.0, 2.0, 1.0), options=SIZE)


class TestShardsOfUnknownCodecs(ReaderContract):
    def write(self, folder):
        voxels = noise((16, 24, 16))
        array = zarr.create_array(
            str(folder / "a"),
            shape=voxels.shape,
            dtype=voxels.dtype,
            chunks=(4, 8, 8),
            shards=(8, 24, 16),
            compressors=quiet(v3.LZ4),
        )
        array[...] = voxels
        return Example(folder / "a", voxels, (3.0, 2.0, 1.0), options=SIZE)


def quiet(make, **options):
    """Make a codec of zarr-python, which warns that it has no specification."""
    with pytest.warns(UserWarning, match="Numcodecs codecs are not in the Zarr version 3"):
        return make(**options)


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda c: str(c.get_config())[:60])
def test_compressors_of_version_2(tmp_path, compressor):
    voxels = noise()
    volume = open_volume(str(save_2(tmp_path / "a", voxels, compressor)), **SIZE)[0]
    np.testing.assert_array_equal(volume.read(), voxels, strict=True)


@pytest.mark.parametrize("filters", FILTERS, ids=lambda f: "-".join(c.codec_id for c in f))
@pytest.mark.parametrize("compressor", [None, numcodecs.Blosc(), numcodecs.Zlib(), numcodecs.BZ2()])
def test_filters_of_version_2(tmp_path, filters, compressor):
    voxels = noise()
    path = save_2(tmp_path / "a", voxels, compressor, filters)
    volume = open_volume(str(path), **SIZE)[0]
    np.testing.assert_array_equal(volume.read(), voxels, strict=True)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", ">i4", "<f4", ">f8", "|u1", "<u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_orders(tmp_path, dtype, order):
    voxels = noise(dtype=np.dtype(dtype).newbyteorder("=")).astype(dtype)
    path = save_2(tmp_path / "a", voxels, numcodecs.LZ4(), order=order)
    found = open_volume(str(path), **SIZE)[0].read()
    assert found.dtype == voxels.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, voxels)


def test_booleans_in_bits(tmp_path):
    voxels = noise(dtype="uint8") > 99
    path = save_2(tmp_path / "a", voxels, None, [numcodecs.PackBits()], fill_value=False)
    np.testing.assert_array_equal(open_volume(str(path), **SIZE)[0].read(), voxels, strict=True)


def test_scaled_real_numbers_are_what_numcodecs_says(tmp_path):
    voxels = np.round(noise(dtype="float32") * 20)
    filters = [numcodecs.FixedScaleOffset(offset=1.5, scale=3, dtype="<f4", astype="<i2")]
    path = save_2(tmp_path / "a", voxels, numcodecs.LZ4(), filters)
    expected = zarr.open_array(str(path), mode="r")[...]
    np.testing.assert_array_equal(open_volume(str(path), **SIZE)[0].read(), expected, strict=True)


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ({"id": "fixedscaleoffset", "dtype": "<u2", "scale": 0.3, "offset": 0}, "cut to integers"),
        ({"id": "fixedscaleoffset", "dtype": "<f4", "scale": 0, "offset": 0}, "scale is not 0"),
        ({"id": "fixedscaleoffset", "dtype": "<f4", "offset": 0}, "cannot be used"),
        ({"id": "pickle"}, "it is not known"),
        ({"id": "vlen-utf8"}, "it is not known"),
        ({"id": "delta", "dtype": "|O"}, "no type of a number"),
        ({"id": "shuffle", "elementsize": 0}, "elements of 0 bytes"),
        ({"id": "crc32", "location": "middle"}, "start or the end"),
        ({"id": 7}, "is no codec"),
        (7, "is no codec"),
    ],
)
def test_codecs_that_are_not_used_are_named(tmp_path, codec, message, edit_json):
    path = save_2(tmp_path / "a", noise())
    edit_json(path / ".zarray", lambda document: document.update(filters=[codec]))
    with pytest.raises(FormatError, match=message) as caught:
        open_volume(str(path), **SIZE)
    assert str(path) in str(caught.value)
    assert "blosc, zstd or gzip" in str(caught.value)


@pytest.mark.parametrize("name", ["LZ4", "LZMA", "BZ2", "Zlib", "Zstd", "GZip", "Blosc", "CRC32"])
def test_codecs_of_version_3(tmp_path, name):
    voxels = noise()
    array = zarr.create_array(
        str(tmp_path / "a"), data=voxels, chunks=(8, 8, 8), compressors=quiet(getattr(v3, name))
    )
    assert array.metadata.zarr_format == 3
    volume = open_volume(str(tmp_path / "a"), **SIZE)[0]
    np.testing.assert_array_equal(volume.read(), voxels, strict=True)


def test_filters_and_turned_axes_of_version_3(tmp_path):
    voxels = noise()
    filters = [zarr.codecs.TransposeCodec(order=(2, 0, 1)), quiet(v3.Delta, dtype="<u2")]
    compressors = [quiet(v3.LZ4), zarr.codecs.Crc32cCodec()]
    zarr.create_array(
        str(tmp_path / "a"), data=voxels, chunks=(8, 5, 3), filters=filters, compressors=compressors
    )
    volume = open_volume(str(tmp_path / "a"), **SIZE)[0]
    np.testing.assert_array_equal(volume.read(), voxels, strict=True)


def n5_lz4(data, size=1000):
    """What Java's LZ4BlockOutputStream writes."""
    out = b""
    for at in range(0, len(data), size):
        part = data[at : at + size]
        packed = imagecodecs.lz4_encode(part)
        token = 0x26
        if len(packed) >= len(part):
            packed, token = part, 0x16
        out += b"LZ4Block" + struct.pack("<BIII", token, len(packed), len(part), 0) + packed
    return out + b"LZ4Block" + struct.pack("<BIII", 0x16, 0, 0, 0)


class TestN5Lz4(ReaderContract):
    def write(self, folder):
        voxels = noise((10, 12, 8))
        path = folder / "a"
        spec = {
            "driver": "n5",
            "kvstore": {"driver": "file", "path": f"{path}/"},
            "metadata": {"compression": {"type": "raw"}, "blockSize": [8, 8, 8]},
        }
        store = ts.open(spec, create=True, shape=voxels.T.shape, dtype="uint16").result()
        store.write(voxels.T).result()
        for file in [p for p in path.rglob("*") if p.name.isdecimal() and p.is_file()]:
            data = file.read_bytes()
            file.write_bytes(data[:16] + n5_lz4(data[16:]))
        document = json.loads((path / "attributes.json").read_text())
        document["compression"] = {"type": "lz4", "blockSize": 65536}
        document["pixelResolution"] = [1.0, 2.0, 3.0]
        (path / "attributes.json").write_text(json.dumps(document))
        return Example(path, voxels, (3.0, 2.0, 1.0))


def test_what_does_not_fit_is_not_cut(tmp_path, edit_json):
    voxels = np.full((8, 8, 8), 70000, "uint32")
    path = save_2(tmp_path / "a", voxels)
    cast = {"id": "astype", "encode_dtype": "<u4", "decode_dtype": "<u2"}
    edit_json(path / ".zarray", lambda document: document.update(filters=[cast], dtype="<u2"))
    with pytest.raises(FormatError, match="do not fit into uint16"):
        open_volume(str(path), **SIZE)[0].read()


def test_missing_chunks_are_filled_or_an_error(tmp_path):
    voxels = noise((16, 16, 16))
    path = save_2(tmp_path / "a", voxels, numcodecs.LZ4(), fill_value=7)
    (path / "0.1.0").unlink()
    found = open_volume(str(path), **SIZE)[0].read()
    assert (found[:8, 8:, :8] == 7).all()
    np.testing.assert_array_equal(found[8:], voxels[8:])
    with pytest.raises(FormatError, match=r"missing.*without --strict"):
        open_volume(str(path), strict=True, **SIZE)[0].read()


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 40, struct.pack("<I", 2**31) + b"x" * 9])
def test_broken_chunks_are_told(tmp_path, data):
    path = save_2(tmp_path / "a", noise((16, 16, 16)), numcodecs.LZ4())
    (path / "1.0.0").write_bytes(data)
    volume = open_volume(str(path), **SIZE)[0]
    with pytest.raises(FormatError, match=r"chunk \(1, 0, 0\).*Restore"):
        volume.read()


def test_wrong_checksum_is_told(tmp_path):
    path = save_2(tmp_path / "a", noise((8, 8, 8)), None, [numcodecs.CRC32C()])
    data = bytearray((path / "0.0.0").read_bytes())
    data[100] ^= 1
    (path / "0.0.0").write_bytes(data)
    with pytest.raises(FormatError, match=r"checksum \(crc32c\) is wrong"):
        open_volume(str(path), **SIZE)[0].read()


def test_bombs_do_not_go_off(tmp_path, edit_json):
    path = save_2(tmp_path / "a", noise((8, 8, 8)), numcodecs.LZMA())
    (path / "0.0.0").write_bytes(lzma.compress(bytes(2**24)))
    with pytest.raises(FormatError, match="unpacks to more"):
        open_volume(str(path), **SIZE)[0].read()
    edit_json(path / ".zarray", lambda d: d.update(chunks=[10**4] * 3, shape=[10**6] * 3))
    with pytest.raises(FormatError, match="would not fit into memory"):
        open_volume(str(path), **SIZE)


def test_a_volume_travels(tmp_path):
    voxels = noise()
    volume = open_volume(str(save_2(tmp_path / "a", voxels, numcodecs.LZ4())), **SIZE)[0]
    copied = pickle.loads(pickle.dumps(volume))  # noqa: S301
    np.testing.assert_array_equal(copied.read(), voxels)


CHAINS = [
    ["zlib"], ["gzip"], ["bz2"], ["lzma"], ["lz4"], ["zstd"], ["blosc"], ["crc32"], ["crc32c"],
    ["adler32"], ["fletcher32"], ["shuffle"], ["crc32", "lz4"], ["lz4", "crc32"],
]  # fmt: skip


@given(st.sampled_from(CHAINS), st.binary(max_size=80), st.data())
def test_any_bytes_are_decoded_or_refused(names, data, draw):
    """Random bytes, and good ones with a byte changed."""
    plain = bytes(range(64))
    good = plain
    for name in names:
        good = bytes(numcodecs.get_codec({"id": name}).encode(good))
    decode = chain([(name, {}) for name in names], np.dtype("uint16"), 32, where="here")
    broken = bytearray(good)
    broken[draw.draw(st.integers(0, len(good) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    for stored in (data, bytes(broken), good[: draw.draw(st.integers(0, len(good)))], good):
        found = stored
        try:
            for step in decode:
                found = step(found)
        except ProjectomeError:
            assert stored != good
            continue
        assert len(found) <= 64 or names in (["shuffle"],)
        if stored == good:
            assert found == plain


@given(st.binary(max_size=60), st.integers(0, 200))
def test_blocks_of_n5_are_decoded_or_refused(data, limit):
    for stored in (data, b"LZ4Block" + data):
        with contextlib.suppress(ProjectomeError, RuntimeError):
            assert len(lz4_blocks(stored, limit)) <= limit + 1


def test_deflated_twice():
    twice = zlib.compress(zlib.compress(bytes(64)))
    first, second = chain([("zlib", {})] * 2, np.dtype("uint8"), 64, where="here")
    assert second(first(twice)) == bytes(64)


def test_chunks_come_from_afar_many_at_a_time(tmp_path):
    voxels = noise((32, 32, 64))
    (tmp_path / "bucket").mkdir()
    save_2(tmp_path / "bucket/a", voxels, numcodecs.LZ4(), fill_value=0)
    with hadro.Server(data=str(tmp_path), region="us-east-1", latency_ms=50) as server:
        volume = open_volume("s3://bucket/a", endpoint=server.endpoint, anonymous=True, **SIZE)[0]
        started = time.perf_counter()
        np.testing.assert_array_equal(volume.read(), voxels)
    # 128 chunks one by one would take 6.4 s.
    assert time.perf_counter() - started < 3.2
