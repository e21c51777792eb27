"""Neuroglancer precomputed volumes: read as their definition says, and never too much of them."""

from pathlib import Path
from types import MappingProxyType

import numpy as np
import tensorstore as ts

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


class TestPng(Precomputed):
    options = MappingProxyType({"encoding": "png"})
