"""OIF folders and OIB files: laid out by hand, read by a reference library too, and a real one."""

import io
import random
import struct

import numpy as np
import pytest
import tifffile

from projectome.errors import FormatError, NotFoundError, ParameterError, ProjectomeError
from projectome.io.open import open_volume
from projectome.testing.readers import Example, ReaderContract

oiffile = pytest.importorskip("oiffile")

FOLDER = "Storage00001"
FAR, LAST, FREE, TABLE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def noise(shape, dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def ini(sections):
    lines = []
    for name, pairs in sections.items():
        lines += [f"[{name}]", *(f"{key}={value}" for key, value in pairs.items())]
    return b"\xff\xfe" + "\r\n".join([*lines, ""]).encode("utf-16-le")


def axis(code, size, start, end, unit="um", **more):
    pairs = {"AxisCode": f'"{code}"', "MaxSize": size, "StartPosition": start, "EndPosition": end}
    return {**pairs, "UnitName": f'"{unit}"', "PixUnit": f'"{unit}"', **more}


def files_of(voxels, *, z=(10_000, 16_000, 2000), name="brain", **more):
    """Return the files of an image with the axes (t, c, z, y, x) by their paths."""
    times, channels, depth, height, width = voxels.shape
    order = "XYC" + "Z" * (depth > 1) + "T" * (times > 1)
    sections = {
        "Acquisition Parameters Common": {"ImageCaputreDate": "'2012-07-26 15:13:35'"},
        "Axis 0 Parameters Common": axis("X", width, 5.0, 5.0 + width / 4),
        "Axis 1 Parameters Common": axis("Y", height, 0.0, height / 2),
        "Axis 2 Parameters Common": axis("C", channels, 1.0, channels, "Ch"),
        "Axis 3 Parameters Common": axis("Z", depth, z[0], z[1], "nm", Interval=z[2]),
        "Axis 4 Parameters Common": axis("T", times, 0.0, 100.0, "ms"),
        "Axis Parameter Common": {"AxisCount": len(order), "AxisOrder": f'"{order}"'},
        "Channel 1 Parameters": {
            "CH Name": '"CH1"',
            "DyeName": '"EGFP"',
            "ExcitationWavelength": 488,
            "EmissionWavelength": 510,
        },
        "Channel 2 Parameters": {"CH Name": '"TD1"', "DyeName": '"None"'},
        "ProfileSaveInfo": {"Name": '"COFAImages"', "Version": '"2.0.0.0"'},
        "Reference Image Parameter": {"ValidBitCounts": 8 * voxels.itemsize},
        "Version Info": {"FileVersion": '"1.2.6.0"', "SystemName": '"FLUOVIEW FV1000"'},
        **more,
    }
    lens = {
        "ObjectiveLens Name": '"UPLFLN 40X"',
        "ObjectiveLens NAValue": 0.75,
        "Magnification": 40.0,
    }
    found = {f"{name}.oif": ini(sections)}
    for t, c, k in np.ndindex(voxels.shape[:3]):
        stem = f"s_C{c + 1:03d}" + f"Z{k + 1:03d}" * (depth > 1) + f"T{t + 1:03d}" * (times > 1)
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, voxels[t, c, k])
        found[f"{FOLDER}/{stem}.tif"] = buffer.getvalue()
        found[f"{FOLDER}/{stem}.pty"] = ini({"Acquisition Parameters Common": lens})
    return found


def write_oif(folder, voxels, **more):
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in files_of(voxels, **more).items():
        path = path.replace(FOLDER, "brain.oif.files")
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    return folder / "brain.oif"


def write_oib(path, voxels, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    files = files_of(voxels, **more)
    info = {"Name": '"COFAImages"', "Version": '"2.0.0.0"', "Compression": "None"}
    streams = {}
    for number, (name, data) in enumerate(files.items(), 1):
        info[f"Stream{number:05d}"] = name
        streams[f"Stream{number:05d}"] = data
    info["MainFileName"] = "Stream00001"
    path.write_bytes(compound({"OibInfo.txt": ini({"OibSaveInfo": info}), **streams}))
    return path


def compound(streams):
    """A compound file of version 3: small streams in the root's, the others in sectors."""
    sector, small, cutoff = 512, 64, 4096
    sectors, fat = bytearray(), []

    def store(data, size=sector):
        first = len(fat)
        count = -(-len(data) // size)
        sectors.extend(data.ljust(count * size, b"\0"))
        fat.extend([*range(first + 1, first + count), LAST] if count else [])
        return first if count else LAST

    tiny, minifat, entries = bytearray(), [], []
    for name, data in streams.items():
        if len(data) >= cutoff:
            start = store(data)
        else:
            start, count = len(minifat), -(-len(data) // small)
            tiny.extend(data.ljust(count * small, b"\0"))
            minifat.extend([*range(start + 1, start + count), LAST])
        entries.append((name, 2, start, len(data)))
    root = store(bytes(tiny))
    table = store(struct.pack(f"<{len(minifat)}I", *minifat).ljust(sector, b"\xff"))
    entries.insert(0, ("Root Entry", 5, root, len(tiny)))
    directory = b""
    for i, (name, kind, start, size) in enumerate(entries):
        text = (name + "\0").encode("utf-16-le")
        right = i + 1 if 0 < i < len(entries) - 1 else FAR
        child = 1 if i == 0 else FAR
        directory += struct.pack("<64sHBBIII", text, len(text), kind, 1, FAR, right, child)
        directory += struct.pack("<16xI8x8xIQ", 0, start, size)
    first = store(directory)
    per = sector // 4
    count = further = 0
    while count * per < len(fat) + count + further:
        count += 1
        further = max(0, -(-(count - 109) // (per - 1)))
    places = [*range(len(fat), len(fat) + count)]
    full = struct.pack(f"<{len(fat)}I", *fat) + struct.pack("<I", TABLE) * (count + further)
    sectors.extend(full.ljust(count * sector, b"\xff"))
    for i in range(further):
        part = places[109 + i * (per - 1) :][: per - 1]
        after = len(fat) + count + i + 1 if i + 1 < further else LAST
        sectors.extend(struct.pack(f"<{per}I", *part, *[FREE] * (per - 1 - len(part)), after))
    chain = len(fat) + count if further else LAST
    small_tables = -(-len(minifat) * 4 // sector)
    head = struct.pack("<8s16xHHHHH6x", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6)
    sizes = (0, count, first, 0, cutoff, table, small_tables, chain, further)
    head += struct.pack("<9I", *sizes)
    head += struct.pack("<109I", *places[:109], *[FREE] * (109 - min(109, count)))
    return head + bytes(sectors)


class Oib(ReaderContract):
    """Voxels of 2, 0.5 and 0.25 um; x begins at the corner 5 um, z at the centre 10 um."""

    dtype = "uint16"

    def save(self, folder, voxels):
        return write_oib(folder / "brain.oib", voxels)

    def write(self, folder):
        voxels = noise((1, 2, 4, 60, 50), self.dtype)
        path = self.save(folder, voxels)
        with oiffile.OifFile(path) as oracle:
            np.testing.assert_array_equal(oracle.asarray(), voxels[0])
        return Example(path, voxels[0], (2.0, 0.5, 0.25), (10.0, 0.25, 5.125), ("CH1", "TD1"))


class TestOib(Oib):
    pass


class TestOibBytes(Oib):
    dtype = "uint8"


class TestOif:
    """What `ReaderContract` asks for, of a file with a folder beside it."""

    @pytest.fixture
    def path(self, tmp_path):
        self.voxels = noise((1, 2, 4, 60, 50))
        return write_oif(tmp_path / "data", self.voxels)

    def test_says_and_reads_what_it_holds(self, path):
        volume = open_volume(str(path))[0]
        assert volume.channels == ("CH1", "TD1")
        assert volume.voxel_size == pytest.approx((2, 0.5, 0.25))
        assert volume.affine.translation == pytest.approx((10, 0.25, 5.125))
        np.testing.assert_array_equal(volume.read(), self.voxels[0], strict=True)
        box = (slice(1, 2), slice(1, 3), slice(7, 21), slice(0, 9))
        np.testing.assert_array_equal(volume.array.read(box), self.voxels[0][box])

    def test_fingerprint_follows_the_planes(self, path):
        from projectome.io.source import VolumeSource

        first = VolumeSource(str(path), channel=0).fingerprint()
        plane = path.parent / "brain.oif.files" / "s_C001Z002.tif"
        data = bytearray(plane.read_bytes())
        data[-1] ^= 1
        plane.write_bytes(data)
        assert VolumeSource(str(path), channel=0).fingerprint() != first

    def test_planes_that_are_gone(self, path):
        for plane in (path.parent / "brain.oif.files").glob("*Z003.*"):
            plane.unlink()
        pyramid = open_volume(str(path))
        assert "2 of 8 planes are missing" in str(pyramid.problems[0])
        assert not pyramid[0].read()[:, 2].any()
        with pytest.raises(FormatError, match="lacks 2 of its 8 planes"):
            open_volume(str(path), strict=True)

    def test_a_plane_cut_off_is_named(self, path):
        plane = path.parent / "brain.oif.files" / "s_C002Z004.tif"
        plane.write_bytes(plane.read_bytes()[:2000])
        volume = open_volume(str(path))[0]
        assert volume.read(channel=0).any()
        with pytest.raises(FormatError, match=r"s_C002Z004\.tif.*Restore"):
            volume.read()

    def test_without_its_folder(self, path):
        (path.parent / "brain.oif.files").rename(path.parent / "elsewhere")
        with pytest.raises(NotFoundError, match=r"brain\.oif\.files"):
            open_volume(str(path))


@pytest.mark.server
def test_over_s3(tmp_path):
    """Read piece by piece from a server that is 20 ms away."""
    hadro = pytest.importorskip("hadro")
    voxels = noise((1, 1, 3, 60, 50))
    write_oib(tmp_path / "bucket" / "a.oib", voxels)
    write_oif(tmp_path / "bucket" / "folder", voxels)
    with hadro.Server(data=str(tmp_path), region="us-east-1", latency_ms=20) as server:
        volume = open_volume("s3://bucket/a.oib", endpoint=server.endpoint)[0]
        np.testing.assert_array_equal(volume.read(), voxels[0, 0])
        url = "s3://bucket/folder/brain.oif"
        volume = open_volume(url, endpoint=server.endpoint)[0]
        np.testing.assert_array_equal(volume.read(), voxels[0, 0])


class TestFacts:
    def test_times_are_chosen(self, tmp_path):
        voxels = noise((2, 1, 3, 12, 10))
        path = write_oib(tmp_path / "a.oib", voxels)
        with pytest.raises(ParameterError, match="--time"):
            open_volume(str(path))
        for t in range(2):
            for pyramid in (open_volume(str(path), time=t), open_volume(f"{path}#t={t}")):
                np.testing.assert_array_equal(pyramid[0].read(), voxels[t, 0])

    def test_what_the_file_knows_of_the_instrument(self, tmp_path):
        path = write_oib(tmp_path / "a.oib", noise((1, 2, 3, 12, 10)))
        metadata = open_volume(str(path)).metadata
        wanted = {
            "format": "OIB",
            "version": "1.2.6.0",
            "objective": "UPLFLN 40X",
            "magnification": 40.0,
            "numerical_aperture": 0.75,
            "microscope": "FLUOVIEW FV1000",
            "acquired": "2012-07-26T15:13:35",
        }
        assert {key: metadata[key] for key in wanted} == wanted
        green = {"name": "CH1", "excitation_nm": 488, "emission_nm": 510, "dye": "EGFP"}
        assert metadata["channels"] == [green, {"name": "TD1"}]

    def test_a_stack_taken_downwards(self, tmp_path):
        path = write_oib(tmp_path / "a.oib", noise((1, 1, 4, 8, 8)), z=(16_000, 10_000, 2000))
        pyramid = open_volume(str(path))
        assert "downwards" in str(pyramid.problems[0])
        assert pyramid[0].affine([[0, 0, 0], [3, 0, 0]])[:, 0] == pytest.approx((-16, -10))

    def test_interval_against_range(self, tmp_path):
        path = write_oib(tmp_path / "a.oib", noise((1, 1, 4, 8, 8)), z=(0, 6000, 1000))
        pyramid = open_volume(str(path))
        assert pyramid[0].voxel_size[0] == 1
        assert "interval of z is 1 um, but the range of 4 planes means 2 um" in str(
            pyramid.problems[0]
        )

    def test_large_files_have_tables_of_tables(self, tmp_path):
        voxels = noise((1, 1, 4, 1100, 1024))
        path = write_oib(tmp_path / "a.oib", voxels)
        np.testing.assert_array_equal(open_volume(str(path))[0].read(), voxels[0, 0])
        np.testing.assert_array_equal(oiffile.imread(path)[0], voxels[0, 0])


class TestRefused:
    @pytest.fixture
    def path(self, tmp_path):
        return write_oib(tmp_path / "a.oib", noise((1, 1, 3, 60, 50)))

    def test_a_chain_in_a_circle(self, path):
        data = bytearray(path.read_bytes())
        (table,) = struct.unpack_from("<I", data, 76)
        (directory,) = struct.unpack_from("<I", data, 48)
        struct.pack_into("<I", data, (table + 1) * 512 + 4 * directory, directory)
        path.write_bytes(data)
        with pytest.raises(FormatError, match="circle"):
            open_volume(str(path))

    def test_tables_beyond_the_file(self, path):
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, 44, 2**31)
        path.write_bytes(data)
        with pytest.raises(FormatError, match="sectors of tables"):
            open_volume(str(path))

    def test_another_compound_file(self, tmp_path):
        path = tmp_path / "a.oib"
        path.write_bytes(compound({"WordDocument": b"text"}))
        with pytest.raises(FormatError, match=r"no OIB: it has no OibInfo\.txt"):
            open_volume(str(path))

    def test_lines_instead_of_planes(self, tmp_path):
        more = {"Axis Parameter Common": {"AxisOrder": '"XZ"'}}
        path = write_oib(tmp_path / "a.oib", noise((1, 1, 3, 8, 8)), **more)
        with pytest.raises(FormatError, match="read are images with X and Y"):
            open_volume(str(path))

    def test_sizes_that_cannot_be(self, tmp_path):
        for size in (0, 2**40, "many", 7):
            more = {"Axis 0 Parameters Common": axis("X", size, 0.0, 1.0)}
            path = write_oib(tmp_path / "a.oib", noise((1, 1, 3, 8, 8)), **more)
            with pytest.raises(FormatError, match=r"length|settings say"):
                open_volume(str(path))

    def test_number_of_planes_that_cannot_be(self, tmp_path):
        more = {"Axis 3 Parameters Common": axis("Z", 2**31 - 1, 0.0, 1.0, Interval=1.0)}
        path = write_oib(tmp_path / "a.oib", noise((1, 1, 3, 80, 80)), **more)
        with pytest.raises(FormatError, match="declares"):
            open_volume(str(path))


def outcome(path, **options):
    """Open, and read a part; any error but projectome's own is a failure."""
    try:
        array = open_volume(str(path), **options)[0].array
        array.read(tuple(slice(0, min(n, 40)) for n in array.shape))
    except ProjectomeError:
        return False
    return True


def mutations(data, count, seed):
    """Yield the file with a few bytes changed, many of them in its header, tables and texts."""
    rng = random.Random(seed)
    marks = (b"\xd0\xcf\x11", b"R\0o\0o\0t\0", b"S\0t\0r\0", b"A\0x\0i\0s\0", b"II*\0", b"\xfe\xff")
    heads = [i for mark in marks for i in range(len(data)) if data.startswith(mark, i)][:4000]
    for number in range(count):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            near = rng.choice(heads) + rng.randrange(128)
            at = min(len(data) - 1, near) if number % 4 else rng.randrange(len(data))
            changed[at] = rng.choice((0, 1, 48, 57, 254, 255, rng.randrange(256)))
        yield bytes(changed)


def test_damaged_files_end_in_a_value_or_an_error(tmp_path):
    path = tmp_path / "bad.oib"
    good = write_oib(tmp_path / "a.oib", noise((2, 1, 3, 50, 50))).read_bytes()
    for data in mutations(good, 200, seed=6):
        path.write_bytes(data)
        outcome(path, time=0)


@pytest.mark.realdata
class TestReal:
    @pytest.fixture
    def path(self, real):
        path = real / "microscope_samples" / "oib" / "test.oib"
        if not path.is_file():
            pytest.skip(f"no {path}")
        return path

    def test_facts(self, path):
        volume = open_volume(str(path))[0]
        assert volume.array.shape == (3, 1, 256, 256)
        assert volume.dtype == np.uint16
        assert volume.channels == ("CH1", "CH2", "TD1")
        assert volume.voxel_size[1:] == pytest.approx((45.135 / 256, 45.135 / 256), rel=1e-12)
        # The range of 45.135 um runs from corner to corner: the first centre is half a pixel in.
        assert volume.affine.translation[1:] == pytest.approx((45.135 / 512, 45.135 / 512))

    def test_pixels_are_those_of_the_reference_library(self, path, tmp_path):
        wanted = oiffile.imread(path)
        np.testing.assert_array_equal(open_volume(str(path))[0].read()[:, 0], wanted, strict=True)
        oiffile.oib2oif(path, str(tmp_path), verbose=0)
        (folder,) = tmp_path.glob("*.oif")
        np.testing.assert_array_equal(open_volume(str(folder))[0].read()[:, 0], wanted)

    def test_damaged_files_end_in_a_value_or_an_error(self, path, tmp_path):
        good = path.read_bytes()
        bad = tmp_path / "bad.oib"
        for tenth in range(10):
            bad.write_bytes(good[: len(good) * tenth // 10])
            assert not outcome(bad)
        for data in mutations(good, 60, seed=7):
            bad.write_bytes(data)
            outcome(bad)
