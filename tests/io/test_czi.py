"""CZI files: written with ZEISS' own library, laid out by hand, and real ones."""

import random
import struct

import numpy as np
import pytest

from projectome.errors import FormatError, ParameterError, ProjectomeError
from projectome.io.open import open_volume
from projectome.testing.readers import Example, ReaderContract

pylibczi = pytest.importorskip("pylibCZIrw.czi")

SIZE = (0.5, 0.25, 0.125)


def noise(shape, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write_czi(path, voxels, *, at=(0, 0), compression=None, names=("signal", "reference"), t=0):
    """Write voxels (c, z, y, x) as two tiles a plane, one beside the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = voxels.shape[3] // 2
    y, x = at
    with pylibczi.create_czi(str(path), compression_options=compression) as czi:
        for time in range(t + 1):
            for c, channel in enumerate(voxels):
                for z, plane in enumerate(channel):
                    where = {"C": c, "Z": z, **({"T": time} if t else {})}
                    plane = plane[..., None] if plane.ndim == 2 else plane
                    czi.write(plane[:, :half], location=(x, y), plane=where)
                    czi.write(plane[:, half:], location=(x + half, y), plane=where)
        czi.write_metadata(
            "brain",
            channel_names=dict(enumerate(names[: len(voxels)])),
            scale_z=SIZE[0] * 1e-6,
            scale_y=SIZE[1] * 1e-6,
            scale_x=SIZE[2] * 1e-6,
        )
    return path


class Czi(ReaderContract):
    """Voxels of 0.5, 0.25 and 0.125 um; pixel 0 of the picture is pixel (40, 100) of the file."""

    dtype, compression = "uint16", None

    def write(self, folder):
        voxels = noise((2, 5, 32, 48), self.dtype)
        path = write_czi(folder / "brain.czi", voxels, at=(40, 100), compression=self.compression)
        translation = (0.0, 40 * SIZE[1], 100 * SIZE[2])
        return Example(path, voxels, SIZE, translation, ("signal", "reference"))


class TestCzi(Czi):
    pass


class TestCziBytes(Czi):
    dtype = "uint8"


class TestCziFloat(Czi):
    dtype = "float32"


class TestCziZstd(Czi):
    compression = "zstd0:ExplicitLevel=3"


class TestCziZstdHighAndLowBytesApart(Czi):
    compression = "zstd1:ExplicitLevel=3;PreProcess=HiLoByteUnpack"


class TestCziOneChannel(ReaderContract):
    def write(self, folder):
        voxels = noise((1, 4, 20, 30))
        return Example(write_czi(folder / "brain.czi", voxels), voxels[0], SIZE)


class TestCziColour(ReaderContract):
    """Blue, green and red of a pixel are channels red, green and blue."""

    def write(self, folder):
        pixels = noise((1, 3, 20, 30, 3), "uint8")
        path = write_czi(folder / "brain.czi", pixels)
        voxels = np.moveaxis(pixels[0, ..., ::-1], -1, 0)
        return Example(path, voxels, SIZE, channels=("red", "green", "blue"))


# A file laid out by hand, for what the library does not write.


def segment(name, content):
    used = len(content)
    content = content.ljust(-(-used // 32) * 32, b"\0")
    return struct.pack("<16sqq", name, len(content), used) + content


def entry(position, dims, *, pixel=1, compression=0):
    """One entry of a directory; dims are (letter, start, size, stored)."""
    out = struct.pack("<2siqiiB5xi", b"DV", pixel, position, 0, compression, 0, len(dims))
    for letter, start, size, stored in dims:
        out += struct.pack("<4siifi", letter.encode(), start, size, float(start), stored)
    return out


XML = """<?xml version="1.0"?><ImageDocument><Metadata><Information><Image>
<AcquisitionDateAndTime>2024-05-06T07:08:09Z</AcquisitionDateAndTime>
<Dimensions><Channels><Channel Id="Channel:0" Name="green"><Fluor>EGFP</Fluor>
<ExcitationWavelength>488</ExcitationWavelength><EmissionWavelength>509</EmissionWavelength>
</Channel></Channels></Dimensions>
<ObjectiveSettings><ObjectiveRef Id="Objective:1"/></ObjectiveSettings></Image>
<Instrument><Microscopes><Microscope Id="m" Name="Z.1"/></Microscopes><Objectives>
<Objective Id="Objective:0" Name="other"/>
<Objective Id="Objective:1" Name="Plan 20x"><LensNA>1.0</LensNA><Immersion>Water</Immersion>
<NominalMagnification>20</NominalMagnification></Objective></Objectives></Instrument></Information>
<Scaling><Items><Distance Id="X"><Value>1e-6</Value></Distance>
<Distance Id="Y"><Value>2e-6</Value></Distance><Distance Id="Z"><Value>4e-6</Value></Distance>
</Items></Scaling></Metadata></ImageDocument>"""


def lay_out(path, tiles, xml=XML, **more):
    """Write tiles: pairs of dims and pixels (y, x), one a subblock."""
    out = bytearray(segment(b"ZISRAWFILE", bytes(512)))
    entries = b""
    for dims, pixels, *special in tiles:
        options = {**more, **(special[0] if special else {})}
        record = entry(len(out), dims, **options)
        data = pixels if isinstance(pixels, bytes) else pixels.tobytes()
        entries += record
        head = struct.pack("<iiq", 0, 0, len(data)) + record
        out += segment(b"ZISRAWSUBBLOCK", head.ljust(256, b"\0") + data)
    directory = len(out)
    out += segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(tiles)) + entries)
    metadata = len(out)
    text = xml.encode()
    out += segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(text), 0) + text)
    head = struct.pack("<ii8x32xiqqi", 1, 0, 0, directory, metadata, 0)
    out[32 : 32 + len(head)] = head
    path.write_bytes(out)
    return path


def dims(y, x, shape, *, stored=None, m=None, **places):
    """Axes of a tile; y and x in pixels of the finest level."""
    stored = stored or shape
    found = [("X", x, shape[1], stored[1]), ("Y", y, shape[0], stored[0])]
    found += [(k.upper(), v, 1, 1) for k, v in places.items()]
    return [*found, ("M", m, 1, 1)] if m is not None else found


class TestPyramid:
    @pytest.fixture
    def path(self, tmp_path):
        """Two tiles of 16 x 16 that overlap by 4, two planes, and a level of half the size."""
        self.tiles = noise((2, 2, 16, 16))
        self.half = noise((2, 8, 14), seed=1)
        found = []
        for z in range(2):
            found.append((dims(10, 32, (16, 16), C=0, Z=z, m=1), self.tiles[z, 1]))
            found.append((dims(10, 20, (16, 16), C=0, Z=z, m=0), self.tiles[z, 0]))
            found.append((dims(10, 20, (16, 28), stored=(8, 14), C=0, Z=z), self.half[z]))
        return lay_out(tmp_path / "mosaic.czi", found)

    def test_later_tiles_lie_over_earlier_ones(self, path):
        wanted = np.zeros((2, 16, 28), "uint16")
        wanted[:, :, :16] = self.tiles[:, 0]
        wanted[:, :, 12:] = self.tiles[:, 1]
        np.testing.assert_array_equal(open_volume(str(path))[0].read(), wanted, strict=True)
        with pylibczi.open_czi(str(path)) as czi:
            box = (20, 10, 28, 16)
            oracle = [czi.read(plane={"Z": z}, roi=box)[..., 0] for z in range(2)]
        np.testing.assert_array_equal(oracle, wanted)

    def test_coarser_level_is_the_stored_one_centred_on_its_pixels(self, path):
        pyramid = open_volume(str(path))
        assert len(pyramid) == 2
        np.testing.assert_array_equal(pyramid[1].read(), self.half)
        assert pyramid[0].voxel_size == (4.0, 2.0, 1.0)  # from metres, without 3.9999999999999996
        assert pyramid[1].voxel_size == pytest.approx((4, 4, 2))
        # The centre of a pixel of the level is the centre of 2 x 2 pixels of the finest.
        assert pyramid[0].affine.translation == pytest.approx((0, 20, 20))
        assert pyramid[1].affine.translation == pytest.approx((0, 21, 20.5))

    def test_pixels_without_a_tile_are_zero(self, tmp_path):
        tile = noise((8, 8)) | 1
        found = [(dims(0, 0, (8, 8), m=0), tile), (dims(8, 8, (8, 8), m=1), tile)]
        voxels = open_volume(str(lay_out(tmp_path / "a.czi", found)))[0].read()
        wanted = np.kron(np.eye(2, dtype="uint16"), tile)
        np.testing.assert_array_equal(voxels[0], wanted)

    def test_what_the_file_knows_of_the_instrument(self, path):
        metadata = open_volume(str(path)).metadata
        wanted = {
            "objective": "Plan 20x",
            "magnification": 20.0,
            "numerical_aperture": 1.0,
            "immersion": "Water",
            "microscope": "Z.1",
            "acquired": "2024-05-06T07:08:09Z",
        }
        assert {key: metadata[key] for key in wanted} == wanted
        channel = {"name": "green", "excitation_nm": 488, "emission_nm": 509, "dye": "EGFP"}
        assert metadata["channels"] == [channel]


class TestPlaces:
    def test_scenes_are_images_of_their_own(self, tmp_path):
        small, large = noise((8, 8)), noise((8, 12), seed=1)
        found = [(dims(0, 0, (8, 8), S=0), small), (dims(4, 30, (8, 12), S=1), large)]
        path = lay_out(tmp_path / "scenes.czi", found)
        pyramid = open_volume(str(path))
        np.testing.assert_array_equal(pyramid[0].read()[0], large)
        assert "Of 2 scenes, #1 is read" in str(pyramid.problems[0])
        first, second = open_volume(f"{path}#0"), open_volume(f"{path}#s=1")
        np.testing.assert_array_equal(first[0].read()[0], small)
        np.testing.assert_array_equal(second[0].read()[0], large)
        assert not first.problems
        # They lie beside one another as in the file.
        assert first[0].affine.translation == pytest.approx((0, 0, 0))
        assert second[0].affine.translation == pytest.approx((0, 8, 30))
        with pytest.raises(FormatError, match="no image #2; it has 2 scenes: #0 to #1"):
            open_volume(f"{path}#2")

    def test_several_axes_are_chosen_behind_the_address(self, tmp_path):
        planes = noise((2, 3, 8, 8))
        found = [
            (dims(0, 0, (8, 8), T=t, H=h + 5), planes[t, h]) for t in range(2) for h in range(3)
        ]
        path = lay_out(tmp_path / "phases.czi", found)
        with pytest.raises(ParameterError, match=r"t \(0 to 1\), h \(0 to 2\).*#t=0,h=0"):
            open_volume(str(path))
        for t in range(2):
            for h in range(3):
                for url, time in ((f"{path}#t={t},h={h}", None), (f"{path}#h={h}", t)):
                    voxels = open_volume(url, time=time)[0].read()
                    np.testing.assert_array_equal(voxels[0], planes[t, h])
        with pytest.raises(ParameterError, match=r"No place 3 along the axis 'h'.*0 to 2"):
            open_volume(f"{path}#h=3,t=0")
        with pytest.raises(ParameterError, match=r"no axis 'v'.*t \(2\), h \(3\)"):
            open_volume(f"{path}#v=0")
        with pytest.raises(ParameterError, match="twice"):
            open_volume(f"{path}#h=0,h=1")

    def test_time_by_option(self, tmp_path):
        path = write_czi(tmp_path / "time.czi", noise((1, 2, 8, 8)), t=1)
        with pytest.raises(ParameterError, match="--time"):
            open_volume(str(path))
        assert open_volume(str(path), time=1)[0].shape == (2, 8, 8)

    def test_missing_planes_are_zeros_with_a_problem_or_refused(self, tmp_path):
        tile = noise((8, 8)) | 1
        found = [(dims(0, 0, (8, 8), Z=z), tile) for z in (0, 2)]
        path = lay_out(tmp_path / "gap.czi", found)
        pyramid = open_volume(str(path))
        assert pyramid[0].read()[:, 0, 0].astype(bool).tolist() == [True, False, True]
        assert "1 of 3 planes" in str(pyramid.problems[0])
        with pytest.raises(FormatError, match="lacks 1 of its 3 planes"):
            open_volume(str(path), strict=True)

    def test_channels_of_different_types_one_by_one(self, tmp_path):
        wide, narrow = noise((8, 8)), noise((8, 8), "uint8")
        found = [(dims(0, 0, (8, 8), C=0), wide), (dims(0, 0, (8, 8), C=1), narrow, {"pixel": 0})]
        path = lay_out(tmp_path / "mixed.czi", found)
        with pytest.raises(FormatError, match=r"different element types.*#c=0"):
            open_volume(str(path))
        for number, plane in enumerate((wide, narrow)):
            voxels = open_volume(f"{path}#c={number}")[0].read()
            np.testing.assert_array_equal(voxels[0], plane, strict=True)


@pytest.mark.server
def test_over_s3(tmp_path):
    """Read piece by piece from a server that is 20 ms away."""
    hadro = pytest.importorskip("hadro")
    voxels = noise((1, 3, 16, 24))
    write_czi(tmp_path / "bucket" / "a.czi", voxels)
    with hadro.Server(data=str(tmp_path), region="us-east-1", latency_ms=20) as server:
        volume = open_volume("s3://bucket/a.czi", endpoint=server.endpoint)[0]
        np.testing.assert_array_equal(volume.read(), voxels[0])


RGB = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc90d")
BGR = RGB[:-1] + b"\x0c"
"""Pixel formats of JPEG XR; ZEISS' files have the second."""


class TestJpegXr:
    """The library reads it and does not write it: it is the oracle."""

    def write(self, path, pixels, number):
        imagecodecs = pytest.importorskip("imagecodecs")
        packed = imagecodecs.jpegxr_encode(pixels).replace(RGB, BGR)
        return lay_out(path, [(dims(0, 0, (40, 48)), packed)], pixel=number, compression=4)

    @pytest.mark.parametrize(("dtype", "number"), [("uint8", 0), ("uint16", 1)])
    def test_gray(self, tmp_path, dtype, number):
        pixels = (np.add.outer(np.arange(40), np.arange(48)) * 2).astype(dtype)
        path = self.write(tmp_path / "a.czi", pixels, number)
        voxels = open_volume(str(path))[0].read()
        np.testing.assert_array_equal(voxels[0], pixels, strict=True)
        with pylibczi.open_czi(str(path)) as czi:
            np.testing.assert_array_equal(czi.read()[..., 0], pixels)

    def test_colour(self, tmp_path):
        pixels = noise((40, 48, 3), "uint8")
        path = self.write(tmp_path / "a.czi", pixels, 3)
        voxels = open_volume(str(path))[0].read()[:, 0]
        with pylibczi.open_czi(str(path)) as czi:
            oracle = np.moveaxis(czi.read()[..., ::-1], -1, 0)
        np.testing.assert_array_equal(voxels, oracle)

    def test_size_other_than_its_tile(self, tmp_path):
        path = self.write(tmp_path / "a.czi", noise((41, 48)), 1)
        with pytest.raises(FormatError, match="another size"):
            open_volume(str(path))[0].read()


class TestRefused:
    def tile(self, **more):
        return [(dims(0, 0, (8, 8)), noise((8, 8)), more)]

    def test_unknown_compression_is_named(self, tmp_path):
        path = lay_out(tmp_path / "a.czi", self.tile(compression=2))
        with pytest.raises(FormatError, match="compressed with LZW"):
            open_volume(str(path))
        path = lay_out(tmp_path / "a.czi", self.tile(compression=104))
        with pytest.raises(FormatError, match="number 104, a camera's own"):
            open_volume(str(path))

    def test_unknown_pixels_are_named(self, tmp_path):
        with pytest.raises(FormatError, match="pixels of type 10"):
            open_volume(str(lay_out(tmp_path / "a.czi", self.tile(pixel=10))))

    def test_xml_with_entities_is_not_read(self, tmp_path):
        xml = '<!DOCTYPE a [<!ENTITY b "c">]><ImageDocument>&b;</ImageDocument>'
        with pytest.raises(FormatError, match="document type"):
            open_volume(str(lay_out(tmp_path / "a.czi", self.tile(), xml=xml)))

    def test_without_voxel_size_it_is_asked_for(self, tmp_path):
        path = lay_out(tmp_path / "a.czi", self.tile(), xml="<ImageDocument/>")
        with pytest.raises(ParameterError, match="--voxel-size"):
            open_volume(str(path))
        assert open_volume(str(path), voxel_size=(3, 2, 1))[0].voxel_size == (3, 2, 1)

    def test_absurd_sizes_are_not_believed(self, tmp_path):
        for found in (
            [(dims(0, 0, (2**31 - 1, 2**31 - 1)), b"")],
            [(dims(0, 0, (8, 8)), noise((8, 8))), (dims(2**30, 2**30, (8, 8)), noise((8, 8)))],
            [(dims(0, 0, (8, 8), Z=z), noise((8, 8))) for z in (0, 2**31 - 1)],
            [(dims(0, 0, (8, 8), C=c, Z=c), noise((8, 8))) for c in (-(2**31), 2**31 - 1)],
        ):
            path = lay_out(tmp_path / "a.czi", found)
            with pytest.raises(FormatError, match="declares"):
                open_volume(str(path))

    def test_zstd_that_unpacks_to_more_stays_within_its_tile(self, tmp_path):
        imagecodecs = pytest.importorskip("imagecodecs")
        bomb = imagecodecs.zstd_encode(bytes(2**26))
        path = lay_out(tmp_path / "a.czi", [(dims(0, 0, (8, 8)), bomb)], compression=5)
        with pytest.raises(FormatError, match="tile at byte"):
            open_volume(str(path))[0].read()

    def test_part_of_several_files(self, tmp_path):
        path = lay_out(tmp_path / "a.czi", self.tile())
        data = bytearray(path.read_bytes())
        data[32 + 48] = 1
        path.write_bytes(data)
        with pytest.raises(FormatError, match="part 1 of a file in several parts"):
            open_volume(str(path))


def outcome(path, **options):
    """Open, and read the corner of each level; any error but projectome's own is a failure."""
    try:
        pyramid = open_volume(str(path), **options)
        for volume in pyramid:
            box = tuple(slice(0, min(n, 40)) for n in volume.array.shape)
            volume.array.read(box)
    except ProjectomeError:
        return False
    return True


def mutations(data, count, seed):
    """Yield the file with a few bytes changed, most of them where the headers are."""
    rng = random.Random(seed)
    heads = [i for i in range(0, len(data), 32) if data[i : i + 6] == b"ZISRAW"]
    for number in range(count):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            near = rng.choice(heads) + rng.randrange(320)
            at = min(len(data) - 1, near) if number % 3 else rng.randrange(len(data))
            changed[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        yield bytes(changed)


def test_damaged_files_end_in_a_value_or_an_error(tmp_path):
    voxels = noise((2, 2, 16, 16)) >> 8
    for compression in (None, TestCziZstdHighAndLowBytesApart.compression):
        good = write_czi(tmp_path / "good.czi", voxels, compression=compression).read_bytes()
        path = tmp_path / "bad.czi"
        for data in mutations(good, 150, seed=2):
            path.write_bytes(data)
            outcome(path)
        (tmp_path / "good.czi").unlink()


SAMPLES = {
    "czi_constructed/constructed_t2_c2_z3_64x48.czi": {"T": 2},
    "czi_from_gpl_repository/celldivision_t3_z6_ch1_x300_y200_dcv_zstd.czi": {"T": 3},
    "czi_from_gpl_repository/lls7_small.czi": {"T": 2},
    "czi_from_gpl_repository/lsm880_airyscan.czi": {"H": 32},
}
FACTS = {
    "constructed": ((2, 3, 48, 64), (0.5, 0.2, 0.2), ("ch0", "ch1")),
    "celldivision": ((6, 200, 300), (0.32, 0.0905767, 0.0905767), ()),
    "lls7": (
        (2, 3, 64, 64),
        (0.144992, 0.144992, 0.144992),
        ("LatticeLightsheet 1-T1", "LatticeLightsheet 2-T2"),
    ),
    "lsm880": (
        (8, 1, 36, 38),
        (0.1594518, 0.0352980, 0.0352980),
        tuple(f"ChA-T{n}{mark}" for mark in ("", "#") for n in range(1, 5)),
    ),
}


@pytest.mark.realdata
class TestReal:
    @pytest.fixture(params=SAMPLES)
    def sample(self, request, real):
        path = real / "microscope_samples" / request.param
        if not path.is_file():
            pytest.skip(f"no {path}")
        return path, SAMPLES[request.param]

    def test_facts(self, sample):
        path, _ = sample
        shape, size, channels = FACTS[path.name.split("_")[0]]
        volume = open_volume(str(path), time=0)[0]
        assert volume.array.shape == shape
        assert volume.dtype == np.uint16
        assert volume.voxel_size == pytest.approx(size, rel=1e-5)
        assert volume.channels == channels

    def test_pixels_are_those_of_the_reference_library(self, sample):
        path, further = sample
        (letter, count) = next(iter(further.items()))
        for place in {0, count // 2, count - 1}:
            voxels = open_volume(f"{path}#{letter.lower()}={place}")[0].read()
            voxels = voxels if voxels.ndim == 4 else voxels[None]
            with pylibczi.open_czi(str(path)) as czi:
                for c, channel in enumerate(voxels):
                    for z, plane in enumerate(channel):
                        wanted = czi.read(plane={letter: place, "C": c, "Z": z})[..., 0]
                        np.testing.assert_array_equal(plane, wanted, strict=True)

    def test_damaged_files_end_in_a_value_or_an_error(self, sample, tmp_path):
        good = sample[0].read_bytes()
        wanted = open_volume(str(sample[0]), time=0)[0].read()
        path = tmp_path / "bad.czi"
        for tenth in range(10):
            path.write_bytes(good[: len(good) * tenth // 10])
            # The last tenth of one file is an attachment: its pixels are all there.
            if outcome(path, time=0):
                voxels = open_volume(str(path), time=0)[0].read()
                np.testing.assert_array_equal(voxels, wanted)
        for data in mutations(good, 40, seed=3):
            path.write_bytes(data)
            outcome(path, time=0)
