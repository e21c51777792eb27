"""ND2 files: laid out by hand, read by the reference library too, and a real one."""

import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from projectome.errors import FormatError, MissingExtraError, ParameterError, ProjectomeError
from projectome.io.open import open_volume
from projectome.testing.readers import Example, ReaderContract

nd2 = pytest.importorskip("nd2")

PIXEL, STEP = 0.25, 1.5


def record(name, value):
    """One value of metadata as NIS-Elements writes it; names begin with their kind."""
    text = (name + "\0").encode("utf-16-le")
    head = bytes([len(name) + 1]) + text
    if isinstance(value, bool):
        return b"\x01" + head + bytes([value])
    if isinstance(value, int):
        return b"\x03" + head + struct.pack("<I", value & 0xFFFFFFFF)
    if isinstance(value, float):
        return b"\x06" + head + struct.pack("<d", value)
    if isinstance(value, str):
        return b"\x08" + head + (value + "\0").encode("utf-16-le")
    items = value if isinstance(value, list) else [record(k, v) for k, v in value.items()]
    inner = b"".join(items)
    length = 1 + len(head) + 12 + len(inner)
    table = bytes(8 * len(items))
    return b"\x0b" + head + struct.pack("<IQ", len(items), length) + inner + table


def listed(items):
    """A level without names, as lists are written."""
    return [record("", item) for item in items]


def loops(*wanted):
    """Nested loops, slowest first: pairs of type and parameters."""
    inner = {}
    for kind, parameters in reversed(wanted):
        inner = {
            "eType": kind,
            "uLoopPars": parameters,
            **({"ppNextLevelEx": listed([inner])} if inner else {}),
        }
    return inner


def time_loop(count):
    return 1, {"uiCount": count, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0}


def z_loop(count, *, downwards=False):
    span = {"dZLow": 0.0, "dZHigh": STEP * (count - 1), "dZStep": STEP, "dZHome": 0.0}
    return 4, {"uiCount": count, **span, "iType": 6 if downwards else 2}


def position_loop(*stage):
    points = [{"dPosX": x, "dPosY": y, "dPosZ": z} for z, y, x in stage]
    return 2, {"bUseZ": True, "Points": listed(points)}


def plane(name, components=1, excitation=488.0, emission=525.0):
    def peak(nm):
        return {"pPoint": {"Point0": {"dTValue": 1.0, "dWavelength": nm}}}

    probe = {"m_ExcitationSpectrum": peak(excitation), "m_EmissionSpectrum": peak(emission)}
    return {"sDescription": name, "uiCompCount": components, "pFluorescentProbe": probe}


def lay_out(path, frames, *, experiment, names=("green", "red"), **more):
    """Write frames (frame, y, x, component); None for one that was not taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    some = next(frame for frame in frames if frame is not None)
    height, width, components = some.shape
    row = width * components * some.itemsize
    padding = more.get("padding", 0)
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": row + padding,
        "uiHeight": height,
        "uiComp": components,
        "uiBpcInMemory": 8 * some.itemsize,
        "uiBpcSignificant": 8 * some.itemsize,
        "uiSequenceCount": len(frames),
        "eCompression": 0 if more.get("compressed") else 2,
        **more.get("attributes", {}),
    }
    settings = {}
    if more.get("mirrored"):  # -1 needs a signed type
        against = b"\x02" + record("m_iXOrientation0", 0)[1:-4] + struct.pack("<i", -1)
        used = [record("m_iXYUse0", 1), against, record("m_iYOrientation0", 1)]
        settings = {"a0": {"pDeviceSetting": used}}
    picture = {
        "bCalibrated": more.get("calibrated", True),
        "dCalibration": PIXEL,
        "dXPos": 100.0,
        "dYPos": 50.0,
        "dZPos": 7.0,
        "dTimeAbsolute": 2460437.25,
        "wsObjectiveName": "Plan Apo 20x",
        "dObjectiveMag": 20.0,
        "dObjectiveNA": 0.75,
        "dRefractIndex1": 1.0,
        "sPicturePlanes": {
            "uiCount": len(names),
            "sPlaneNew": {
                f"a{i}": plane(name, components // len(names)) for i, name in enumerate(names)
            },
            "sSampleSetting": settings,
        },
    }
    chunks = {
        b"ImageAttributesLV!": record("SLxImageAttributes", attributes),
        b"ImageMetadataSeqLV|0!": record("SLxPictureMetadata", picture),
        b"ImageTextInfoLV!": record("SLxImageTextInfo", {"TextInfoItem_6": "\r\nTi2-E\r\nmore"}),
        **({b"ImageMetadataLV!": record("SLxExperiment", experiment)} if experiment else {}),
        **more.get("chunks", {}),
    }
    for number, frame in enumerate(frames):
        if frame is None:
            continue
        rows = frame.reshape(height, -1).view("u1")
        data = np.pad(rows, ((0, 0), (0, padding))).tobytes()
        data = zlib.compress(data) if more.get("compressed") else data
        chunks[f"ImageDataSeq|{number}!".encode()] = struct.pack("<d", 1.0) + data
    path.write_bytes(container(chunks))
    return path


def container(chunks):
    """The file around chunks."""

    def chunk(name, content, reserve):
        head = struct.pack("<4sIQ", b"\xda\xce\xbe\n", reserve, len(content))
        return head + name.ljust(reserve, b"\0") + content

    out = chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
    table = b""
    for name, content in chunks.items():
        out = out.ljust(-(-len(out) // 4096) * 4096, b"\0")
        table += name + struct.pack("<QQ", len(out), len(content))
        out += chunk(name, content, 4072)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    table += end + struct.pack("<QQ", len(out), 0)
    position = len(out)
    out += chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", table, 32)
    return out + end + struct.pack("<Q", position)


def noise(shape, dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


class Nd2(ReaderContract):
    """Two channels; the centre of the picture is where the stage is: 50 and 100 um."""

    dtype, compressed, padding = "uint16", False, 0

    def write(self, folder):
        frames = noise((5, 20, 30, 2), self.dtype)
        path = folder / "brain.nd2"
        more = {"compressed": self.compressed, "padding": self.padding}
        lay_out(path, list(frames), experiment=loops(z_loop(5)), **more)
        translation = (7.0, 50 - 9.5 * PIXEL, 100 - 14.5 * PIXEL)
        voxels = frames.transpose(3, 0, 1, 2)
        with nd2.ND2File(path) as oracle:
            np.testing.assert_array_equal(oracle.asarray(), voxels.swapaxes(0, 1))
        return Example(path, voxels, (STEP, PIXEL, PIXEL), translation, ("green", "red"))


class TestNd2(Nd2):
    pass


class TestNd2Bytes(Nd2):
    dtype = "uint8"


class TestNd2Compressed(Nd2):
    compressed = True


class TestNd2PaddedRows(Nd2):
    padding = 4


class TestNd2OneChannel(ReaderContract):
    def write(self, folder):
        frames = noise((3, 20, 30, 1))
        path = lay_out(folder / "a.nd2", list(frames), experiment=loops(z_loop(3)), names=("a",))
        translation = (7.0, 50 - 9.5 * PIXEL, 100 - 14.5 * PIXEL)
        return Example(path, frames[..., 0], (STEP, PIXEL, PIXEL), translation)


@pytest.mark.server
def test_over_s3(tmp_path):
    """Read piece by piece from a server that is 20 ms away."""
    hadro = pytest.importorskip("hadro")
    voxels = noise((3, 20, 30, 1))
    path = tmp_path / "bucket" / "a.nd2"
    lay_out(path, list(voxels), experiment=loops(z_loop(3)), names=("a",))
    with hadro.Server(data=str(tmp_path), region="us-east-1", latency_ms=20) as server:
        volume = open_volume("s3://bucket/a.nd2", endpoint=server.endpoint)[0]
        np.testing.assert_array_equal(volume.read(), voxels[..., 0])


def test_float(tmp_path):
    frames = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    path = lay_out(tmp_path / "a.nd2", list(frames), experiment=loops(z_loop(2)), names=("a",))
    np.testing.assert_array_equal(open_volume(str(path))[0].read(), frames[..., 0], strict=True)


def test_colours_are_channels(tmp_path):
    """Blue is stored first."""
    frames = noise((2, 8, 8, 3), "uint8")
    path = lay_out(tmp_path / "a.nd2", list(frames), experiment=loops(z_loop(2)), names=("rgb",))
    volume = open_volume(str(path))[0]
    assert volume.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(volume.read(channel="blue"), frames[..., 0])


def test_what_the_file_knows_of_the_instrument(tmp_path):
    path = lay_out(tmp_path / "a.nd2", list(noise((2, 8, 8, 2))), experiment=loops(z_loop(2)))
    metadata = open_volume(str(path)).metadata
    wanted = {
        "objective": "Plan Apo 20x",
        "magnification": 20.0,
        "numerical_aperture": 0.75,
        "immersion": "refractive index 1",
        "microscope": "Ti2-E",
        "acquired": "2024-05-06T18:00:00.000Z",
        "stage_um": (7.0, 50.0, 100.0),
    }
    assert {key: metadata[key] for key in wanted} == wanted
    assert metadata["channels"][1] == {"name": "red", "excitation_nm": 488, "emission_nm": 525}


class TestPlaces:
    STAGE = ((1.0, 0.0, 0.0), (2.0, 30.0, 10.0))

    @pytest.fixture
    def path(self, tmp_path):
        """Two times, two positions, three planes."""
        self.frames = noise((12, 8, 10, 1))
        experiment = loops(time_loop(2), position_loop(*self.STAGE), z_loop(3))
        path = tmp_path / "a.nd2"
        return lay_out(path, list(self.frames), experiment=experiment, names=("a",))

    def test_frames_are_found(self, path):
        with nd2.ND2File(path) as oracle:
            wanted = oracle.asarray()  # t, p, z, y, x
        for t in range(2):
            for p in range(2):
                for url in (f"{path}#{p}", f"{path}#p={p}"):
                    voxels = open_volume(url, time=t)[0].read()
                    np.testing.assert_array_equal(voxels, wanted[t, p])
                voxels = open_volume(f"{path}#p={p},t={t}")[0].read()
                np.testing.assert_array_equal(voxels, wanted[t, p])

    def test_without_a_choice_the_first_position_is_read_and_said(self, path):
        pyramid = open_volume(str(path), time=0)
        assert "Of 2 positions, #0 is read" in str(pyramid.problems[0])
        assert not open_volume(f"{path}#0", time=0).problems
        with pytest.raises(ParameterError, match="--time"):
            open_volume(f"{path}#0")
        with pytest.raises(FormatError, match="no image #2; it has 2 positions"):
            open_volume(f"{path}#2", time=0)

    def test_positions_lie_where_the_stage_was(self, path):
        for number, (z, y, x) in enumerate(self.STAGE):
            affine = open_volume(f"{path}#{number}", time=0)[0].affine
            assert affine([[0, 3.5, 4.5]])[0] == pytest.approx((z, y, x))

    def test_a_mirrored_stage_is_turned_into_the_axes_of_the_image(self, tmp_path):
        path = tmp_path / "a.nd2"
        experiment = loops(position_loop(*self.STAGE))
        frames = list(noise((2, 8, 10, 1)))
        lay_out(path, frames, experiment=experiment, names=("a",), mirrored=True)
        with nd2.ND2File(path) as oracle:
            matrix = oracle.metadata.channels[0].volume.pixelToStageTransformationMatrix
        assert matrix[0] == -PIXEL
        for number, (z, y, x) in enumerate(self.STAGE):
            affine = open_volume(f"{path}#{number}")[0].affine
            assert affine([[0, 3.5, 4.5]])[0] == pytest.approx((z, y, -x))

    def test_a_stack_taken_downwards(self, tmp_path):
        frames = list(noise((3, 8, 10, 1)))
        experiment = loops(z_loop(3, downwards=True))
        path = lay_out(tmp_path / "a.nd2", frames, experiment=experiment, names=("a",))
        pyramid = open_volume(str(path))
        assert "from top to bottom" in str(pyramid.problems[0])
        first, last = pyramid[0].affine([[0, 0, 0], [2, 0, 0]])[:, 0]
        assert last - first == 2 * STEP

    def test_missing_frames_are_zeros_with_a_problem_or_refused(self, tmp_path):
        frames = [*noise((2, 8, 10, 1)), None]
        path = lay_out(tmp_path / "a.nd2", frames, experiment=loops(z_loop(3)), names=("a",))
        pyramid = open_volume(str(path))
        assert "1 of 3 planes" in str(pyramid.problems[0])
        assert not pyramid[0].read()[2].any()
        with pytest.raises(FormatError, match="lacks 1 of 3 planes"):
            open_volume(str(path), strict=True)

    def test_frames_without_a_loop_are_times(self, tmp_path):
        frames = noise((3, 8, 10, 1))
        path = lay_out(tmp_path / "a.nd2", list(frames), experiment=None, names=("a",))
        voxels = open_volume(str(path), time=2)[0].read()
        np.testing.assert_array_equal(voxels[0], frames[2, ..., 0])

    def test_not_calibrated_asks_for_the_voxel_size(self, tmp_path):
        frames = list(noise((3, 8, 10, 1)))
        path = tmp_path / "a.nd2"
        lay_out(path, frames, experiment=loops(z_loop(3)), names=("a",), calibrated=False)
        with pytest.raises(ParameterError, match=r"only z 1\.5 um.*--voxel-size"):
            open_volume(str(path))


class TestRefused:
    def path(self, tmp_path, **more):
        frames = list(noise((2, 8, 10, 2)))
        return lay_out(tmp_path / "a.nd2", frames, experiment=loops(z_loop(2)), **more)

    def test_metadata_that_unpacks_without_bound(self, tmp_path):
        bomb = bytes([76, 0]) + bytes(10) + zlib.compress(bytes(2**26))
        for content in (bomb, record("a", [b"\x09\x01\0\0" + struct.pack("<Q", len(bomb)) + bomb])):
            path = self.path(tmp_path, chunks={b"ImageTextInfoLV!": content})
            with pytest.raises(FormatError, match="unpacks to more"):
                open_volume(str(path))

    def test_metadata_without_end(self, tmp_path):
        deep = record("a", 1)
        for _ in range(60):
            deep = record("a", [deep])
        long = record("a", "b" * 2**18)
        many = record("a", [record("b", "c" * 2**16) for _ in range(9)])
        for content, why in ((deep, "nests deeper"), (long, "texts of"), (many, "texts of")):
            path = self.path(tmp_path, chunks={b"ImageTextInfoLV!": content})
            with pytest.raises(FormatError, match=why):
                open_volume(str(path))

    def test_xml_with_entities(self, tmp_path):
        xml = b'<!DOCTYPE a [<!ENTITY b "c">]><variant>&b;</variant>'
        path = self.path(tmp_path, chunks={b"ImageTextInfoLV!": xml})
        with pytest.raises(FormatError, match="document type"):
            open_volume(str(path))

    @pytest.mark.parametrize(
        ("attributes", "why"),
        [
            ({"uiWidth": 2**31, "uiWidthBytes": 2**32 - 4}, "rows of"),
            ({"uiHeight": 2**31}, "declares"),
            ({"uiComp": 0}, "0 values"),
            ({"uiBpcInMemory": 12}, "12 bits"),
            ({"eCompression": 1}, "compressed with loss"),
            ({"uiTileWidth": 4, "uiTileHeight": 4}, "in tiles"),
        ],
    )
    def test_frames_that_cannot_be(self, tmp_path, attributes, why):
        with pytest.raises(FormatError, match=why):
            open_volume(str(self.path(tmp_path, attributes=attributes)))

    def test_a_compressed_frame_stays_within_its_size(self, tmp_path):
        path = self.path(tmp_path, compressed=True)
        data = path.read_bytes()
        bomb = zlib.compress(bytes(2**26))
        frame = data.index(b"ImageDataSeq|0!") + 4072 + 8
        path.write_bytes(data[:frame] + bomb[:300] + data[frame + 300 :])
        assert not open_volume(str(path))[0].read()[:, 0].any()

    def test_files_before_nis_elements_3(self, tmp_path):
        path = tmp_path / "old.nd2"
        path.write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100))
        with pytest.raises(FormatError, match="before NIS-Elements 3"):
            open_volume(str(path))

    def test_without_the_library(self, tmp_path, monkeypatch):
        path = self.path(tmp_path)
        monkeypatch.setitem(sys.modules, "nd2", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'projectome\[microscope\]'"):
            open_volume(str(path))


def test_opening_something_else_does_not_load_the_library():
    code = "import sys, projectome.io.open; sys.exit('nd2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def outcome(path, **options):
    """Open, and read a part; any error but projectome's own is a failure."""
    try:
        array = open_volume(str(path), **options)[0].array
        array.read(tuple(slice(0, min(n, 40)) for n in array.shape))
    except ProjectomeError:
        return False
    return True


def mutations(data, count, seed):
    """Yield the file with a few bytes changed, most of them where the metadata is."""
    rng = random.Random(seed)
    heads = [i for i in range(0, len(data), 4096) if data[i : i + 3] == b"\xda\xce\xbe"]
    heads = [i + 4088 for i in heads if not data[i + 16 :].startswith(b"ImageDataSeq")]
    for number in range(count):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            near = rng.choice(heads) + rng.randrange(2000)
            at = min(len(data) - 1, near) if number % 4 else rng.randrange(len(data))
            changed[at] = rng.choice((0, 1, 11, 76, 127, 255, rng.randrange(256)))
        yield bytes(changed)


def test_damaged_files_end_in_a_value_or_an_error(tmp_path):
    path = tmp_path / "bad.nd2"
    frames = list(noise((6, 8, 10, 2)))
    experiment = loops(time_loop(2), z_loop(3))
    good = lay_out(tmp_path / "a.nd2", frames, experiment=experiment, mirrored=True).read_bytes()
    for data in mutations(good, 200, seed=4):
        path.write_bytes(data)
        outcome(path, time=0)


@pytest.mark.realdata
class TestReal:
    @pytest.fixture
    def path(self, real):
        path = real / "microscope_samples" / "nd2" / "cluster.nd2"
        if not path.is_file():
            pytest.skip(f"no {path}")
        return path

    def test_facts_and_pixels_are_those_of_the_reference_library(self, path):
        with nd2.ND2File(path) as oracle:
            wanted = oracle.asarray()  # t, z, c, y, x
            size = oracle.voxel_size()
            names = tuple(c.channel.name for c in oracle.metadata.channels)
            taken = oracle.experiment[0].count
        assert taken == 3
        for t in range(3):
            volume = open_volume(str(path), time=t)[0]
            np.testing.assert_array_equal(volume.read(), wanted[t].swapaxes(0, 1), strict=True)
        assert volume.array.shape == (2, 10, 31, 38)
        assert volume.voxel_size == pytest.approx((size.z, size.y, size.x), rel=1e-12)
        assert volume.channels == names == ("5-FAM/pH 9.0", "FM 4-64/2% CHAPS")

    def test_the_centre_of_the_picture_is_where_the_stage_was(self, path):
        with nd2.ND2File(path) as oracle:
            stage = oracle.frame_metadata(0).channels[0].position.stagePositionUm
            matrix = oracle.metadata.channels[0].volume.pixelToStageTransformationMatrix
        affine = open_volume(str(path), time=0)[0].affine
        centre = affine([[0, 15, 18.5]])[0]
        turn = np.array([matrix[0:2], matrix[3:5]]) / affine.voxel_size[1]
        assert centre[0] == pytest.approx(stage.z)
        assert turn @ centre[[2, 1]] == pytest.approx((stage.x, stage.y), rel=1e-9)

    def test_damaged_files_end_in_a_value_or_an_error(self, path, tmp_path):
        good = path.read_bytes()
        bad = tmp_path / "bad.nd2"
        for tenth in range(10):
            bad.write_bytes(good[: len(good) * tenth // 10])
            assert not outcome(bad, time=0)
        for data in mutations(good, 60, seed=5):
            bad.write_bytes(data)
            outcome(bad, time=0)
