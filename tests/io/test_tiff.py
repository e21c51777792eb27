"""TIFF files as microscopes and programs write them, and broken ones."""

import os
import re
import struct
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from projectome.core.box import Box
from projectome.errors import FormatError, ParameterError, ProjectomeError
from projectome.io.access import Access
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.io.volumes.tiff_pages import Cache, TiffPages

SIZE = (2.0, 0.5, 0.25)


@pytest.fixture
def voxels(make):
    return make.noise((6, 40, 50))


def plain(path, array, **options):
    tifffile.imwrite(path, array, photometric="minisblack", **options)
    return str(path)


def warnings(pyramid):
    return " ".join(problem.message for problem in pyramid.problems)


# What the file says


def test_a_missing_voxel_size_is_asked_for(tmp_path, voxels):
    path = plain(tmp_path / "a.tif", voxels)
    with pytest.raises(ParameterError, match=r"does not state its voxel size.*--voxel-size Z,Y,X"):
        open_volume(path)
    assert open_volume(path, voxel_size=SIZE)[0].voxel_size == SIZE


def test_the_resolution_of_print_is_no_voxel_size(tmp_path, voxels):
    path = plain(tmp_path / "a.tif", voxels, resolution=(300, 300), resolutionunit="INCH")
    with pytest.raises(ParameterError, match="--voxel-size"):
        open_volume(path)


def test_what_is_known_is_told(tmp_path, voxels):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    path = plain(tmp_path / "a.ome.tif", voxels, metadata=metadata)
    with pytest.raises(ParameterError, match=r"only y 0\.5, x 0\.25 um.*--voxel-size"):
        open_volume(path)


@pytest.mark.parametrize(("unit", "factor"), [("nm", 1e-3), ("mm", 1e3), ("µm", 1), ("Å", 1e-4)])
def test_ome_units(unit, factor, tmp_path, voxels):
    axes = {f"PhysicalSize{a}": s / factor for a, s in zip("ZYX", SIZE, strict=True)}
    units = {f"PhysicalSize{a}Unit": unit for a in "ZYX"}
    path = plain(tmp_path / "a.ome.tif", voxels, metadata={"axes": "ZYX", **axes, **units})
    assert open_volume(path)[0].voxel_size == pytest.approx(SIZE)


def test_an_ome_unit_that_is_no_length_is_not_taken(tmp_path, voxels):
    metadata = {
        "axes": "ZYX",
        **{f"PhysicalSize{a}": 1 for a in "ZYX"},
        "PhysicalSizeZUnit": "pixel",
    }
    path = plain(tmp_path / "a.ome.tif", voxels, metadata=metadata)
    with pytest.raises(ParameterError, match="only y 1, x 1 um"):
        open_volume(path)
    assert "'pixel' is no length" in warnings(open_volume(path, voxel_size=SIZE))


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m", "microns"])
def test_imagej_units(unit, tmp_path, voxels):
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": unit}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels, imagej=True, resolution=(4, 2), metadata=metadata)
    assert open_volume(str(path))[0].voxel_size == SIZE


@pytest.mark.parametrize("metadata", [{"unit": "pixel", "spacing": 1.0}, {}, {"unit": "um"}])
def test_imagej_without_lengths(metadata, tmp_path, voxels):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, voxels, imagej=True, resolution=(4, 2), metadata={"axes": "ZYX", **metadata}
    )
    with pytest.raises(ParameterError, match="--voxel-size"):
        open_volume(str(path))


def test_a_single_plane_is_one_um_thick(tmp_path, voxels):
    metadata = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    pyramid = open_volume(plain(tmp_path / "a.ome.tif", voxels[0], metadata=metadata))
    assert pyramid[0].voxel_size == (1.0, 0.5, 0.25)
    assert pyramid[0].shape == (1, 40, 50)
    assert "1 um thick" in warnings(pyramid)


def test_what_ome_xml_says_of_instrument_and_channels_is_kept(tmp_path, voxels):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, voxels[:2, None], ome=True, metadata={"axes": "CZYX"})
    with tifffile.TiffFile(path) as written:
        xml = written.ome_metadata
    image = """<AcquisitionDate>2026-05-01T14:30:00</AcquisitionDate>
        <InstrumentRef ID="Instrument:1"/><ObjectiveSettings ID="Objective:1:1"/>"""
    instrument = """<Instrument ID="Instrument:0"><Microscope Model="other"/></Instrument>
        <Instrument ID="Instrument:1"><Microscope Manufacturer="Zeiss" Model="LSM 880"/>
        <Objective ID="Objective:1:0" Model="other"/>
        <Objective ID="Objective:1:1" Model="Plan 20x" NominalMagnification="20" LensNA="0.8"
        Immersion="Air"/></Instrument>"""
    xml = re.sub(r"(<Image [^>]*>)", rf"{instrument}\1{image}", xml)
    first, second = re.findall(r"<Channel [^>]*?(?=/?>)", xml)
    more = ' Fluor="EGFP" ExcitationWavelength="488" EmissionWavelength="0.51" '
    xml = xml.replace(first, first + more + 'EmissionWavelengthUnit="\u00b5m"', 1)
    xml = xml.replace(second, second + ' ExcitationWavelength="-3" EmissionWavelength="x"')
    tifffile.imwrite(path, voxels[:2, None], description=xml.encode(), metadata=None)
    told = open_volume(str(path), voxel_size=(1, 1, 1)).metadata
    wanted = {
        "microscope": "Zeiss LSM 880",
        "objective": "Plan 20x",
        "magnification": 20,
        "numerical_aperture": 0.8,
        "immersion": "Air",
        "acquired": "2026-05-01T14:30:00",
    }
    assert {key: told[key] for key in wanted} == wanted
    assert told["channels"] == [
        {
            "name": "channel 0",
            "excitation_nm": 488,
            "emission_nm": pytest.approx(510),
            "dye": "EGFP",
        },
        {"name": "channel 1"},
    ]


def test_what_projectome_writes_into_ome_tiff_is_read(tmp_path, voxels):
    notes = {
        "translation_um": "10.0 20.0 30.0",
        "toward": "anterior ? right",
        "expansion": "4.0",
        "space": "gel",
        "kind": "labels",
    }
    metadata = {
        "axes": "ZYX",
        "MapAnnotation": {f"projectome:{k}": v for k, v in notes.items()},
        **{f"PhysicalSize{a}": s for a, s in zip("ZYX", SIZE, strict=True)},
    }
    volume = open_volume(plain(tmp_path / "a.ome.tif", voxels, metadata=metadata))[0]
    assert volume.affine.translation == (10.0, 20.0, 30.0)
    assert volume.space.toward == ("anterior", None, "right")
    assert (volume.space.name, volume.space.expansion, volume.kind) == ("gel", 4.0, "labels")


# Axes


def test_time_has_to_be_chosen(tmp_path, make):
    voxels = make.noise((3, 4, 2, 10, 12))
    path = str(tmp_path / "a.tif")
    metadata = {"axes": "TZCYX", "spacing": 1.0, "unit": "um"}
    tifffile.imwrite(path, voxels, imagej=True, resolution=(1, 1), metadata=metadata)
    with pytest.raises(ParameterError, match="--time N, 0 to 2"):
        open_volume(path)
    for time in range(3):
        volume = open_volume(path, time=time)[0]
        np.testing.assert_array_equal(volume.read(), voxels[time].transpose(1, 0, 2, 3))


def test_pages_of_unknown_meaning_are_planes(tmp_path, voxels):
    pyramid = open_volume(plain(tmp_path / "a.tif", voxels, metadata=None), voxel_size=SIZE)
    np.testing.assert_array_equal(pyramid[0].read(), voxels)
    assert "read as z" in warnings(pyramid)


def test_samples_are_channels(tmp_path, make):
    voxels = make.noise((5, 20, 30, 3), "uint8")
    path = str(tmp_path / "rgb.tif")
    tifffile.imwrite(path, voxels, photometric="rgb", compression="zlib")
    volume = open_volume(path, voxel_size=SIZE)[0]
    np.testing.assert_array_equal(volume.read(), np.moveaxis(voxels, -1, 0))
    np.testing.assert_array_equal(volume.read(channel=2), voxels[..., 2])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
def test_separate_samples_are_channels_unless_told(options, tmp_path, make):
    voxels = make.noise((4, 40, 50))
    path = str(tmp_path / "a.tif")
    tifffile.imwrite(path, voxels, photometric="rgb", planarconfig="separate", **options)
    pyramid = open_volume(path, voxel_size=SIZE)
    assert pyramid[0].array.shape == (4, 1, 40, 50)
    assert "--axes zyx" in warnings(pyramid)
    volume = open_volume(path, voxel_size=SIZE, axes="zyx")[0]
    np.testing.assert_array_equal(volume.read(), voxels)
    box = Box((1, 5, 6), (3, 20, 33))
    np.testing.assert_array_equal(volume.read(box), voxels[box.slices])


def test_axes_of_the_user(tmp_path, make):
    voxels = make.noise((2, 3, 20, 30))
    path = plain(tmp_path / "a.tif", voxels, metadata={"axes": "QIYX"})
    volume = open_volume(path, voxel_size=SIZE, axes="czyx")[0]
    np.testing.assert_array_equal(volume.read(), voxels)
    assert volume.channels == ("channel 0", "channel 1")
    with pytest.raises(ParameterError, match=r"names 3 axes.*has 4"):
        open_volume(path, voxel_size=SIZE, axes="zyx")


def test_the_largest_of_several_images_unless_told(tmp_path, make):
    small, large = make.noise((2, 10, 10)), make.noise((4, 20, 20))
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(small, photometric="minisblack")
        writer.write(large, photometric="minisblack")
    pyramid = open_volume(str(path), voxel_size=SIZE)
    np.testing.assert_array_equal(pyramid[0].read(), large)
    assert "#N" in warnings(pyramid)
    np.testing.assert_array_equal(open_volume(f"{path}#0", voxel_size=SIZE)[0].read(), small)
    with pytest.raises(FormatError, match=r"no image #2.*#0 to #1"):
        open_volume(f"{path}#2", voxel_size=SIZE)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint32", "float32", "float64", "bool"]
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_element_types(dtype, byteorder, tmp_path, make):
    voxels = (make.noise((3, 20, 30)) % 2).astype(dtype)
    for name, options in {"raw": {}, "packed": {"compression": "zlib"}}.items():
        path = plain(tmp_path / f"{name}.tif", voxels, byteorder=byteorder, **options)
        found = open_volume(path, voxel_size=SIZE)[0].read()
        assert found.dtype == voxels.dtype
        np.testing.assert_array_equal(found, voxels)


# Laziness


def test_only_what_a_box_needs_is_decoded(tmp_path, make, monkeypatch):
    """Of 4 x 16 tiles a box of one tile on two planes decodes two."""
    voxels = make.noise((4, 64, 64))
    path = plain(tmp_path / "a.tif", voxels, tile=(16, 16), compression="zlib")
    volume = open_volume(path, voxel_size=SIZE)[0]
    decoded = []
    pages = volume.array.pages
    monkeypatch.setattr(
        pages, "_decode", lambda f, n: decoded.append(n) or TiffPages._decode(pages, f, n)
    )
    box = Box((1, 17, 18), (3, 30, 32))
    np.testing.assert_array_equal(volume.read(box), voxels[box.slices])
    assert decoded == [5, 5]
    volume.read(box)
    assert decoded == [5, 5]


def test_the_cache_keeps_its_size():
    cache = Cache(limit=100)
    for i in range(10):
        cache.get(i, lambda: np.zeros(30, "uint8"))
    made = []
    for i in range(10):
        cache.get(i, lambda i=i: made.append(i) or np.zeros(30, "uint8"))
    assert 0 in made
    assert cache._size <= 100
    assert cache.get("large", lambda: np.zeros(1000)).size == 1000
    assert cache._size <= 100


def test_reading_from_many_threads(tmp_path, voxels):
    from concurrent.futures import ThreadPoolExecutor

    path = plain(tmp_path / "a.tif", voxels, compression="zlib", rowsperstrip=8)
    volume = open_volume(path, voxel_size=SIZE)[0]
    boxes = [Box((z, y, 0), (z + 1, y + 10, 50)) for z in range(6) for y in range(0, 40, 10)] * 5
    with ThreadPoolExecutor(8) as pool:
        for box, found in zip(boxes, pool.map(volume.read, boxes), strict=True):
            np.testing.assert_array_equal(found, voxels[box.slices])


def test_no_file_stays_open(tmp_path, voxels):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    path = plain(tmp_path / "a.tif", voxels)

    def opened():
        links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
        return sum(os.path.exists(link) and os.path.realpath(link) == path for link in links)

    volume = open_volume(path, voxel_size=SIZE)[0]
    assert opened() == 1
    del volume
    assert opened() == 0


# Folders of planes


def planes(folder, arrays, name="p{}.tif"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, array in enumerate(arrays):
        tifffile.imwrite(folder / name.format(i), array, photometric="minisblack")
    return str(folder)


def test_planes_sort_as_people_count(tmp_path, make):
    voxels = make.noise((12, 10, 12))
    folder = planes(tmp_path / "stack", voxels, name="slice{}_z.TIF")
    (tmp_path / "stack" / "notes.txt").write_text("not a plane")
    (tmp_path / "stack" / ".hidden.tif").write_text("not a plane")
    volume = open_volume(folder, voxel_size=SIZE)[0]
    np.testing.assert_array_equal(volume.read(), voxels)
    assert volume.name == "stack"


@pytest.mark.parametrize("odd", [np.zeros((10, 13), "uint16"), np.zeros((10, 12), "uint8")])
def test_planes_have_to_agree(odd, tmp_path, make):
    arrays = [*make.noise((5, 10, 12)), odd]
    folder = planes(tmp_path / "stack", arrays)
    with pytest.raises(FormatError, match=r"p5\.tif is no plane like the first.*single file"):
        open_volume(folder, voxel_size=SIZE)


def test_stacks_in_a_folder_are_no_planes(tmp_path, make):
    folder = planes(tmp_path / "stack", [make.noise((3, 10, 12))] * 2)
    with pytest.raises(FormatError, match=r"one plane each.*Open a single file"):
        open_volume(folder, voxel_size=SIZE)


def test_many_planes_keep_few_files_open(tmp_path, make):
    voxels = make.noise((70, 4, 5))
    volume = open_volume(planes(tmp_path / "stack", voxels), voxel_size=SIZE)[0]
    np.testing.assert_array_equal(volume.read(), voxels)
    assert len(volume.array.pages._opened) <= 32


def test_a_plane_that_breaks_later_is_named(tmp_path, make):
    voxels = make.noise((5, 10, 12))
    folder = planes(tmp_path / "stack", voxels)
    (tmp_path / "stack" / "p3.tif").write_bytes(b"II*\0")
    with pytest.raises(FormatError, match=r"p3\.tif is broken"):
        open_volume(folder, voxel_size=SIZE)


# Broken files


@pytest.mark.parametrize(
    "content", [b"II*\0", b"II*\0\x08\0\0\0", b"MM\0*" + b"\xff" * 100, b"II+\0" + b"\0" * 60]
)
def test_no_tiff_behind_the_magic(content, tmp_path):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.tif is broken.*Restore"):
        open_volume(str(tmp_path / "a.tif"), voxel_size=SIZE)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.99])
def test_a_file_that_is_cut_off(options, share, tmp_path, make):
    """Cut anywhere, a file is refused, or reads what is whole of it; never wrong voxels."""
    voxels = make.noise((6, 40, 50))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels, **({"photometric": "minisblack"} | options))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    if "imagej" in options and share == 0.99:
        # Only descriptions of pages are gone, which ImageJ does not need.
        found = open_volume(str(path), voxel_size=SIZE)[0].read()
        np.testing.assert_array_equal(found.reshape(voxels.shape), voxels)
        return
    with pytest.raises(ProjectomeError, match=r"broken|unknown format") as caught:
        open_volume(str(path), voxel_size=SIZE)[0].read()
    assert str(path) in str(caught.value)


def test_a_broken_strip_names_its_page(tmp_path, voxels):
    path = plain(tmp_path / "a.tif", voxels, compression="zlib", rowsperstrip=40)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[3].dataoffsets[0]
    data = bytearray(Path(path).read_bytes())
    data[offset : offset + 200] = b"\xff" * 200
    Path(path).write_bytes(data)
    volume = open_volume(path, voxel_size=SIZE)[0]
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), (3, 40, 50))), voxels[:3])
    with pytest.raises(FormatError, match="page 3"):
        volume.read()


def change_tag(path, code, value):
    """Overwrite the value of a tag of the first page (little endian, classic TIFF)."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags[code]
        place, size = tag.valueoffset, {3: "H", 4: "I"}[int(tag.dtype)]
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(struct.pack(f"<{size}", value))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_page_that_declares_more_than_can_be(compression, tmp_path, make):
    """A bomb: a small file that declares 4 G x 50 voxels in one strip."""
    path = plain(tmp_path / "a.tif", make.noise((40, 50)), compression=compression, rowsperstrip=40)
    for code in ("ImageLength", "RowsPerStrip"):
        with tifffile.TiffFile(path) as tiff:
            wide = int(tiff.pages[0].tags[code].dtype) == 4
        change_tag(path, code, 2**32 - 1 if wide else 2**16 - 1)
    with pytest.raises(FormatError, match=r"not believed|declares pieces|broken|cut off"):
        open_volume(path, voxel_size=SIZE)[0].read()


def test_a_strip_that_unpacks_to_more_than_it_may(tmp_path, monkeypatch):
    """One strip of 2 GiB is refused before anything is decoded."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            iter([b"\0" * 20]), shape=(40_000, 60_000), dtype="uint8", rowsperstrip=40_000,
            compression="zlib", photometric="minisblack",
        )  # fmt: skip
    with pytest.raises(FormatError, match=r"declares pieces|not believed"):
        open_volume(str(path), voxel_size=SIZE)


def test_companion_files_stay_in_their_folder(tmp_path, voxels):
    """OME-XML may name other files; one outside the folder is not opened."""
    (tmp_path / "in").mkdir()
    plain(tmp_path / "secret.tif", voxels)
    path = plain(tmp_path / "in" / "a.ome.tif", voxels, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata
    start, stop = xml.index("<TiffData"), xml.index("</Pixels>")
    uuid = '<UUID FileName="../secret.tif">urn:uuid:1</UUID>'
    data = f'<TiffData IFD="0" PlaneCount="6">{uuid}</TiffData>'
    tifffile.tiffcomment(path, (xml[:start] + data + xml[stop:]).encode())
    with pytest.raises(FormatError, match=r"outside its folder.*secret"):
        open_volume(path, voxel_size=SIZE)


def test_ome_xml_that_is_no_xml(tmp_path, voxels):
    path = plain(tmp_path / "a.ome.tif", voxels, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata
    tifffile.tiffcomment(path, xml.replace("<Pixels", "<Pixels <<", 1).encode())
    with pytest.raises(FormatError, match=r"(OME-XML|broken).*([Ss]ave|Restore)"):
        open_volume(path, voxel_size=SIZE)


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE OME [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!-- x --><!DOCTYPE OME [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE OME SYSTEM "http://127.0.0.1:9/ome.dtd">',
    ],
)
def test_ome_xml_declares_no_document_type(tmp_path, voxels, declared):
    """Entities can make a small file enormous, or read other files."""
    path = plain(tmp_path / "a.ome.tif", voxels, metadata={"axes": "ZYX", "Name": "NAME"})
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata
    start = xml.index("<OME")
    spoiled = (xml[:start] + declared + xml[start:]).replace("NAME", "&a;")
    tifffile.tiffcomment(path, spoiled.encode())
    with pytest.raises(FormatError, match=r"OME-XML of .*a\.ome\.tif.*(document type|entity)"):
        open_volume(path, voxel_size=SIZE)


@pytest.mark.server
def test_the_fingerprint_of_a_remote_file_is_that_of_the_local_one(tmp_path, serving_buckets):
    """And takes its pieces several at a time: 64 of them, 50 ms away, within a second."""
    bucket = tmp_path / "buckets" / "data"
    bucket.mkdir(parents=True)
    path = plain(bucket / "large.tif", np.random.default_rng(0).integers(0, 9, (9, 800, 800), "u1"))
    local = VolumeSource(str(path), voxel_size=SIZE).fingerprint()
    with serving_buckets(bucket.parent, latency_ms=50) as server:
        array = open_volume("s3://data/large.tif", endpoint=server.endpoint, voxel_size=SIZE)[
            0
        ].array
        began = perf_counter()
        pieces = list(array.evidence())
        taken = perf_counter() - began
        source = VolumeSource("s3://data/large.tif", endpoint=server.endpoint, voxel_size=SIZE)
        assert source.fingerprint() == local
    assert len(pieces) == 66
    assert taken < 64 * 0.05 / 2


def test_images_of_one_file_have_fingerprints_of_their_own(tmp_path, voxels):
    path = str(tmp_path / "two.ome.tif")
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for _ in range(2):
            tiff.write(voxels, metadata={"axes": "ZYX"}, photometric="minisblack")
    sources = [VolumeSource(f"{path}#{n}", voxel_size=SIZE) for n in (0, 1)]
    assert sources[0].fingerprint() != sources[1].fingerprint()
    assert sources[0].fingerprint() == VolumeSource(f"{path}#0", voxel_size=SIZE).fingerprint()


def test_an_ome_tiff_that_lacks_planes(tmp_path, voxels):
    """Planes that are promised and absent read as zeros, said; strictly they are an error."""
    path = plain(tmp_path / "a.ome.tif", voxels[:4], metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata
    tifffile.tiffcomment(path, xml.replace('SizeZ="4"', 'SizeZ="6"', 1).encode())
    pyramid = open_volume(path, voxel_size=SIZE)
    found = pyramid[0].read()
    if found.shape[0] == 6:
        np.testing.assert_array_equal(found[:4], voxels[:4])
        assert not found[4:].any()
        assert "missing" in warnings(pyramid)
        with pytest.raises(FormatError, match=r"lacks 2.*--strict"):
            open_volume(path, voxel_size=SIZE, strict=True)


def test_a_series_out_of_nothing(tmp_path):
    """An image of no pixels is refused."""
    path = tmp_path / "a.tif"
    with pytest.warns(UserWarning, match="zero-size"):
        tifffile.imwrite(path, np.zeros((0, 5), "uint8"))
    with pytest.raises(ProjectomeError):
        open_volume(str(path), voxel_size=SIZE)


def test_pages_close_their_file_after_an_error(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0\x08\0\0\0\0\0")
    with pytest.raises(FormatError):
        TiffPages(str(path), access=Access())


OPTIONS = [{}, {"compression": "zlib", "rowsperstrip": 7}, {"tile": (16, 16)}, {"imagej": True}]


@given(
    which=st.integers(0, len(OPTIONS) - 1),
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    header=st.booleans(),
)
def test_any_byte_may_be_wrong(make, tmp_path_factory, which, places, header):
    """Whatever bytes are wrong, a file is read or refused, and no memory is taken without need."""
    path = tmp_path_factory.getbasetemp() / f"fuzz{which}.tif"
    tifffile.imwrite(path, make.noise((3, 20, 24)), photometric="minisblack", **OPTIONS[which])
    data = bytearray(path.read_bytes())
    reach = min(len(data), 600) if header else len(data)
    for share, value in places:
        data[min(int(share * reach), len(data) - 1)] = value
    path.write_bytes(data)
    try:
        volume = open_volume(str(path), voxel_size=SIZE)[0]
        volume.read(Box((0, 0, 0), tuple(min(n, 30) for n in volume.shape)))
    except ProjectomeError as error:
        assert len(str(error)) > 20  # noqa: PT017 - some files are read, most refused
