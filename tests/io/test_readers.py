"""The contract of readers, kept by every format that is read."""

import numpy as np
import pytest
import tifffile

from projectome.testing.readers import Example, ReaderContract


class OmeZarr(ReaderContract):
    """Two levels of 2 x 1 x 1 um and 4 x 2 x 2 um; level 0 lies 10, 20, 30 um off the origin."""

    version = "0.4"
    shards = None
    shape = (16, 24, 20)
    names = "zyx"

    @pytest.fixture(autouse=True)
    def _make(self, make):
        self.make = make

    def write(self, folder):
        names = self.names
        voxels = self.make.noise(self.shape)
        size, shift = dict(zip("zyx", (2.0, 1.0, 1.0), strict=True)), {"z": 10, "y": 20, "x": 30}
        scale = [size.get(n, 1.0) for n in names]
        coarse = [2 * size[n] if n in size else 1.0 for n in names]
        first = [float(shift.get(n, 0)) for n in names]
        second = [first[i] + (size[n] / 2 if n in size else 0) for i, n in enumerate(names)]
        omero = {"channels": [{"label": "signal"}, {"label": "reference"}]}
        attributes = self.make.metadata(
            self.version,
            [self.make.axis(n) for n in names],
            [scale, coarse],
            [first, second],
            omero=omero if "c" in names else None,
        )
        path = folder / "brain.ome.zarr"
        levels = [voxels, self.make.mean2(voxels)]
        self.make.group(path, self.version, levels, attributes, shards=self.shards)
        return Example(
            path,
            voxels[0] if "t" in names else voxels,
            (2.0, 1.0, 1.0),
            (10.0, 20.0, 30.0),
            ("signal", "reference") if "c" in names else (),
        )


class TestOmeZarr04(OmeZarr):
    pass


class TestOmeZarr04FiveAxes(OmeZarr):
    shape, names = (1, 2, 8, 12, 10), "tczyx"


class TestOmeZarr05(OmeZarr):
    version = "0.5"


class TestOmeZarr05Sharded(OmeZarr):
    version, shards = "0.5", (16, 16, 16)


class TestOmeZarr05ShardedChannels(OmeZarr):
    version, shards, shape, names = "0.5", (16, 16, 16), (2, 16, 24, 20), "czyx"


class TestOmeZarr06(OmeZarr):
    version = "0.6"


class TestZarrArray(ReaderContract):
    """A plain array: the centre of its voxel 0 is the origin."""

    def write(self, folder):
        import zarr

        voxels = np.arange(16 * 24 * 20, dtype="float32").reshape(16, 24, 20)
        zarr.create_array(str(folder / "array"), data=voxels, chunks=(8, 8, 8))
        return Example(
            folder / "array", voxels, (3.0, 0.5, 0.25), options={"voxel_size": (3.0, 0.5, 0.25)}
        )


class Tiff(ReaderContract):
    """Voxels of 2, 0.5 and 0.25 um; the centre of voxel 0 is the origin."""

    name = "brain.tif"
    said = False

    def voxels(self):
        return np.random.default_rng(0).integers(0, 2**16, (6, 40, 50), dtype="uint16")

    def save(self, path, voxels):
        raise AssertionError

    def write(self, folder):
        folder.mkdir()
        voxels = self.voxels()
        channels = self.save(folder / self.name, voxels) or ()
        size = (2.0, 0.5, 0.25)
        options = {"voxel_size": size} if self.said else {}
        return Example(folder / self.name, voxels, size, channels=channels, options=options)


class TestOmeTiff(Tiff):
    name = "brain.ome.tif"

    def voxels(self):
        return np.random.default_rng(0).integers(0, 2**16, (2, 6, 40, 50), dtype="uint16")

    def save(self, path, voxels):
        sizes = {"PhysicalSizeZ": 2000, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
        more = {"axes": "CZYX", "PhysicalSizeZUnit": "nm", "Channel": {"Name": ["red", "green"]}}
        tifffile.imwrite(path, voxels, metadata={**sizes, **more}, photometric="minisblack")
        return ("red", "green")


class TestImageJ(Tiff):
    def save(self, path, voxels):
        metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
        tifffile.imwrite(path, voxels, imagej=True, resolution=(4.0, 2.0), metadata=metadata)


class TestImageJBigEndianChannels(Tiff):
    def voxels(self):
        return np.random.default_rng(0).integers(0, 2**16, (3, 6, 40, 50), dtype="uint16")

    def save(self, path, voxels):
        metadata = {"axes": "ZCYX", "spacing": 0.002, "unit": "mm"}
        tifffile.imwrite(
            path,
            voxels.transpose(1, 0, 2, 3),
            imagej=True,
            byteorder=">",
            resolution=(4000.0, 2000.0),
            metadata=metadata,
        )
        return ("channel 0", "channel 1", "channel 2")


class TestBigTiffTiles(Tiff):
    said = True

    def save(self, path, voxels):
        options = {"tile": (16, 32), "compression": "zlib", "predictor": True}
        tifffile.imwrite(
            path,
            voxels,
            bigtiff=True,
            photometric="minisblack",
            metadata={"axes": "ZYX"},
            **options,
        )


class TestTiffStrips(Tiff):
    said = True

    def save(self, path, voxels):
        with tifffile.TiffWriter(path) as writer:
            for plane in voxels:
                writer.write(plane, contiguous=False, compression="zstd", rowsperstrip=7)


class TestVolumetricTiles(Tiff):
    said = True

    def save(self, path, voxels):
        tifffile.imwrite(path, voxels, tile=(16, 16, 16), volumetric=True, photometric="minisblack")


class TestJpegXl(Tiff):
    said = True

    def save(self, path, voxels):
        options = {"compression": "jpegxl", "compressionargs": {"lossless": True}}
        tifffile.imwrite(
            path, voxels, photometric="minisblack", metadata={"axes": "ZYX"}, **options
        )


class TestFolderOfPlanes(Tiff):
    """Names sort as people count: plane 2 before plane 10."""

    name = "planes"
    said = True

    def voxels(self):
        return np.random.default_rng(0).integers(0, 2**16, (12, 40, 50), dtype="uint16")

    def save(self, path, voxels):
        path.mkdir()
        for z, plane in enumerate(voxels):
            options = {"compression": "zlib"} if z % 2 else {}
            tifffile.imwrite(path / f"plane_{z}.tif", plane, **options)
