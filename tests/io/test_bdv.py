"""BigDataViewer files, written by hand: levels, setups, registrations, and XML of all kinds."""

import random

import h5py
import numpy as np
import pytest

from projectome.core.box import Box
from projectome.errors import FormatError, ParameterError, ProjectomeError, StoreError
from projectome.io.open import open_volume
from projectome.io.volumes.bdv_xml import parse_sequence
from projectome.testing.readers import Example, ReaderContract

SIZE = (2.0, 0.5, 0.5)
SHAPE = (6, 20, 24)


def save(path, setups, *, times=1, signed=True):
    """Write setups with two levels, the second half as large along y and x."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for s, voxels in enumerate(setups):
            file[f"s{s:02d}/resolutions"] = np.array([[1, 1, 1], [2, 2, 1]], "f8")
            file[f"s{s:02d}/subdivisions"] = np.array([[8, 8, 4], [8, 8, 4]], "i4")
            z, y, x = voxels.shape
            coarse = voxels.reshape(z, y // 2, 2, x // 2, 2).mean((2, 4)).astype(voxels.dtype)
            for t in range(times):
                for level, array in enumerate((voxels, coarse)):
                    stored = (array + t).view("i2") if signed else array + t
                    file.create_dataset(
                        f"t{t:05d}/s{s:02d}/{level}/cells",
                        data=stored,
                        chunks=(4, 8, 8),
                        compression="gzip",
                    )
    return str(path)


def affine(scale=(0.5, 0.5, 2.0), move=(0.0, 0.0, 0.0), turn=0.0):
    """Return the 12 numbers over (x, y, z)."""
    matrix = np.eye(4)[:3]
    matrix[:, :3] = np.diag(scale)
    matrix[:, 3], matrix[0, 1] = move, turn
    return " ".join(map(str, matrix.ravel()))


def xml(path, setups, *, loader="bdv.hdf5", file="brain.h5", unit="µm", size="0.5 0.5 2.0"):
    """Write an XML; a setup is its name, its attributes and its list of transforms."""
    views, places = [], []
    for number, (name, attributes, transforms) in enumerate(setups):
        kinds = "".join(f"<{k}>{v}</{k}>" for k, v in attributes.items())
        views.append(
            f"<ViewSetup><id>{number}</id><name>{name}</name><size>24 20 6</size><voxelSize>"
            f"<unit>{unit}</unit><size>{size}</size></voxelSize>"
            f"<attributes>{kinds}</attributes></ViewSetup>"
        )
        all_of_them = "".join(
            f'<ViewTransform type="affine"><Name>n</Name><affine>{t}</affine></ViewTransform>'
            for t in transforms
        )
        places.append(
            f'<ViewRegistration timepoint="0" setup="{number}">{all_of_them}</ViewRegistration>'
        )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<SpimData version="0.2">'
        '<BasePath type="relative">.</BasePath><SequenceDescription>'
        f'<ImageLoader format="{loader}"><hdf5 type="relative">{file}</hdf5></ImageLoader>'
        f"<ViewSetups>{''.join(views)}"
        '<Attributes name="channel"><Channel><id>1</id><name>GFP</name></Channel>'
        "<Channel><id>2</id><name>2</name></Channel></Attributes></ViewSetups>"
        "</SequenceDescription>"
        f"<ViewRegistrations>{''.join(places)}</ViewRegistrations></SpimData>",
        encoding="utf-8",
    )
    return str(path)


@pytest.fixture
def voxels(make):
    return make.noise((2, *SHAPE))


TWO = [("first", {"channel": 1}, [affine()]), ("second", {"channel": 2}, [affine()])]


class TestBdv(ReaderContract):
    """The centre of voxel 0 is where the registration moves it: no half voxel."""

    open_xml = False

    def write(self, folder):
        voxels = np.random.default_rng(0).integers(0, 2**16, (2, *SHAPE), dtype="uint16")
        path = save(folder / "brain.h5", voxels)
        move = affine(move=(100.0, -20.0, 7.0))
        setups = [(name, attributes, [move]) for name, attributes, _ in TWO]
        document = xml(folder / "brain.xml", setups)
        example = Example(
            folder / ("brain.xml" if self.open_xml else "brain.h5"),
            voxels,
            SIZE,
            (7.0, -20.0, 100.0),
            ("GFP", "second"),
        )
        assert str(example.path) in (path, document)
        return example

    def test_fingerprint_follows_the_content(self, example, tmp_path):
        """The copy of the contract has no XML beside it, and so another voxel size."""
        if not self.open_xml:
            first = example.source().fingerprint()
            xml(example.path.with_suffix(".xml"), TWO)
            assert example.source().fingerprint() != first
            example.path.with_suffix(".xml").unlink()
            second = source_of(example)
            assert second.fingerprint() == source_of(example).fingerprint()
            data = bytearray(example.path.read_bytes())
            data[len(data) // 2] ^= 1
            before = second.fingerprint()
            example.path.write_bytes(data)
            assert source_of(example).fingerprint() != before

    def test_cut_off_file_is_refused(self, example):
        """Half of the file with the voxels is an error, also by way of the XML."""
        file = example.path.with_suffix(".h5")
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(FormatError, match="Restore") as caught:
            example.open()[0].read()
        assert "brain.h5" in str(caught.value)


def source_of(example):
    from projectome.io.source import VolumeSource

    return VolumeSource(str(example.path), channel=0, voxel_size=SIZE)


class TestBdvXml(TestBdv):
    open_xml = True


def test_levels_lie_where_their_means_were_taken(tmp_path, voxels):
    save(tmp_path / "brain.h5", voxels)
    pyramid = open_volume(xml(tmp_path / "brain.xml", TWO))
    assert [v.voxel_size for v in pyramid] == [SIZE, (2.0, 1.0, 1.0)]
    assert pyramid[1].affine.translation == (0.0, 0.25, 0.25)
    assert pyramid.problems == ()
    assert pyramid.metadata["setups"] == ["s00", "s01"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_types_that_are_not_signed_stay(dtype, tmp_path, make):
    voxels = make.noise((1, *SHAPE), dtype)
    path = save(tmp_path / "brain.h5", voxels, signed=False)
    volume = open_volume(path, voxel_size=SIZE)[0]
    np.testing.assert_array_equal(volume.read(), voxels[0], strict=True)


def test_without_the_xml(tmp_path, voxels):
    path = save(tmp_path / "brain.h5", voxels)
    with pytest.raises(ParameterError, match=r"stands in its XML.*--voxel-size Z,Y,X"):
        open_volume(path)
    pyramid = open_volume(path, voxel_size=SIZE)
    assert pyramid[0].channels == ("channel 0", "channel 1")
    assert "nobody can tell whether they are tiles" in str(pyramid.problems)
    for inside in ("s01", "1"):
        volume = open_volume(f"{path}#{inside}", voxel_size=SIZE)[0]
        np.testing.assert_array_equal(volume.read(), voxels[1])
    with pytest.raises(ParameterError, match=r"no setup 's07'.*#s00, #s01"):
        open_volume(f"{path}#s07", voxel_size=SIZE)
    cells = open_volume(f"{path}#t00000/s01/0/cells", voxel_size=SIZE)[0]
    np.testing.assert_array_equal(cells.read(), voxels[1].view("i2"))
    with pytest.raises(ParameterError, match="leave out --axes"):
        open_volume(path, axes="zyx")


def test_time_has_to_be_chosen(tmp_path, voxels):
    path = save(tmp_path / "brain.h5", voxels // 2, times=2)
    with pytest.raises(ParameterError, match="--time N, 0 to 1"):
        open_volume(path, voxel_size=SIZE)
    volume = open_volume(path, voxel_size=SIZE, time=1)[0]
    np.testing.assert_array_equal(volume.read(), voxels // 2 + 1)


@pytest.mark.parametrize(
    "second",
    [
        ("other place", {"channel": 2}, [affine(move=(1, 0, 0))]),
        ("tile", {"channel": 1, "tile": 1}, [affine()]),
    ],
)
def test_setups_that_are_no_channels_are_chosen(second, tmp_path, voxels):
    save(tmp_path / "brain.h5", voxels)
    path = xml(tmp_path / "brain.xml", [("first", {"channel": 1, "tile": 0}, [affine()]), second])
    with pytest.raises(
        ParameterError, match=r"not channels of one volume.*#s00 GFP 6 x 20 x 24 int16.*#s00$"
    ):
        open_volume(path)
    np.testing.assert_array_equal(open_volume(f"{path}#s01")[0].read()[0], voxels[1])


def test_setups_of_different_size_are_chosen(tmp_path, voxels):
    path = save(tmp_path / "brain.h5", [voxels[0], voxels[1, :, :16]])
    with pytest.raises(ParameterError, match="differ in size or place"):
        open_volume(path, voxel_size=SIZE)


@pytest.mark.parametrize(
    ("transforms", "centre"),
    [
        # The last of the list is applied first: scaled, then moved.
        ([affine((1, 1, 1), (100, 10, 4)), affine()], (4.0, 10.0, 100.0)),
        # Moved by voxels, then scaled.
        ([affine(), affine((1, 1, 1), (100, 10, 4))], (8.0, 5.0, 50.0)),
        # Calibrated in pixels, as BigStitcher does: 1 is the finest voxel size.
        ([affine((1, 1, 4), (100, 10, 4))], (2.0, 5.0, 50.0)),
        ([], (0.0, 0.0, 0.0)),
        ([affine((1, 1, 1))], (0.0, 0.0, 0.0)),
    ],
)
def test_registrations_that_move_are_applied(transforms, centre, tmp_path, voxels):
    save(tmp_path / "brain.h5", voxels[:1])
    pyramid = open_volume(xml(tmp_path / "brain.xml", [("first", {"channel": 1}, transforms)]))
    np.testing.assert_allclose(pyramid[0].affine.translation, centre)
    assert pyramid.problems == ()


@pytest.mark.parametrize(
    "transform", [affine(turn=0.1), affine((0.5, 0.5, 1.0)), affine((-0.5, 0.5, 2.0))]
)
def test_registrations_that_turn_are_kept_and_told(transform, tmp_path, voxels):
    save(tmp_path / "brain.h5", voxels[:1])
    pyramid = open_volume(xml(tmp_path / "brain.xml", [("first", {"channel": 1}, [transform])]))
    assert pyramid[0].affine.translation == (0.0, 0.0, 0.0)
    assert "It is not applied" in str(pyramid.problems)
    kept = np.asarray(pyramid.metadata["registration_zyx"])
    given = np.array([float(v) for v in transform.split()]).reshape(3, 4)
    np.testing.assert_array_equal(kept[2::-1, 2::-1], given[:, :3])


def test_units_of_the_xml(tmp_path, voxels):
    save(tmp_path / "brain.h5", voxels[:1])
    move = affine((500, 500, 2000), (10**5, 0, 0))
    path = tmp_path / "brain.xml"
    xml(path, [("first", {"channel": 1}, [move])], unit="nm", size="500 500 2000")
    volume = open_volume(str(path))[0]
    np.testing.assert_allclose(volume.voxel_size, SIZE)
    np.testing.assert_allclose(volume.affine.translation, (0, 0, 100))
    xml(path, [("first", {"channel": 1}, [move])], unit="pixel", size="1 1 1")
    with pytest.raises(ParameterError, match="--voxel-size"):
        open_volume(str(path))
    assert "'pixel' is no length" in str(open_volume(str(path), voxel_size=SIZE).problems)


def test_an_xml_of_another_file_is_not_taken(tmp_path, voxels):
    path = save(tmp_path / "brain.h5", voxels)
    xml(tmp_path / "brain.xml", TWO, file="other.h5")
    pyramid = open_volume(path, voxel_size=SIZE)
    assert "It describes 'other.h5'" in str(pyramid.problems)
    (tmp_path / "brain.xml").write_text("<OME></OME>")
    assert open_volume(path, voxel_size=SIZE)[0].channels == ("channel 0", "channel 1")


@pytest.mark.parametrize("file", ["../secret.h5", "/etc/passwd", "http://host/a.h5"])
def test_an_xml_stays_in_its_folder(file, tmp_path, voxels):
    save(tmp_path / "secret.h5", voxels)
    (tmp_path / "in").mkdir()
    with pytest.raises(StoreError, match="leads out of it"):
        open_volume(xml(tmp_path / "in" / "brain.xml", TWO, file=file))


def test_other_loaders_are_named(tmp_path):
    path = xml(tmp_path / "brain.xml", TWO, loader="bdv.n5", file="dataset.n5")
    with pytest.raises(FormatError, match=r"'bdv\.n5', not of bdv\.hdf5.*Open dataset\.n5"):
        open_volume(path)


def test_partitions_are_links_to_other_files(tmp_path, voxels):
    path = save(tmp_path / "brain.h5", voxels[:1])
    with h5py.File(path, "a") as file:
        del file["t00000/s00"]
        file["t00000/s00"] = h5py.ExternalLink("brain-00-00.h5", "/t00000/s00")
    with pytest.raises(FormatError, match=r"link to another file, 'brain-00-00\.h5'"):
        open_volume(path, voxel_size=SIZE)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('<!DOCTYPE SpimData [<!ENTITY a "b">]><SpimData>&a;</SpimData>', "document type"),
        ("<SpimData>", "is not XML"),
        ("<SpimData>" + "<a>" * 100 + "</a>" * 100 + "</SpimData>", "deeper than"),
    ],
)
def test_xml_that_is_not_read(content, text):
    with pytest.raises(FormatError, match=text):
        parse_sequence(content.encode(), url="brain.xml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5 0.5 2.0</size>", "0.5 0.5</size>"),
        ("0.5 0.5 2.0</size>", "0.5 -1 2.0</size>"),
        ("<id>0</id>", "<id>zero</id>"),
        ('timepoint="0"', 'timepoint="now"'),
        ('timepoint="0"', ""),
        ("<affine>0.5", "<affine>nan"),
        ("<affine>0.5", "<affine>1e300"),
        ("<affine>0.5", "<affine>0.5 0.5"),
    ],
)
def test_an_xml_with_numbers_that_are_none(old, new, tmp_path):
    path = tmp_path / "brain.xml"
    xml(path, TWO)
    content = path.read_text(encoding="utf-8").replace(old, new, 1)
    with pytest.raises(FormatError, match="broken XML of BigDataViewer"):
        parse_sequence(content.encode(), url="brain.xml")


@pytest.mark.parametrize("seed", range(3))
def test_any_byte_may_be_wrong(seed, voxels, tmp_path):
    rng, read = random.Random(seed), 0
    paths = [tmp_path / "brain.h5", tmp_path / "brain.xml"]
    save(paths[0], voxels)
    xml(paths[1], TWO)
    wholes = [path.read_bytes() for path in paths]
    for number in range(40):
        which = number % 2
        data = bytearray(wholes[which])
        if number % 8 == 0:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.choice([1, 2, 4])):
            place = rng.randrange(min(len(data), 2**13) or 1)
            data[place : place + 1] = bytes([rng.choice([0, 255, rng.randrange(256)])])
        paths[1 - which].write_bytes(wholes[1 - which])
        paths[which].write_bytes(data)
        try:
            volume = open_volume(str(paths[1]), voxel_size=SIZE)[0]
            volume.read(Box((0, 0, 0), tuple(min(8, n) for n in volume.shape)))
            read += 1
        except ProjectomeError:
            continue
    assert read
