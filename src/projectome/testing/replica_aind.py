"""Replicas of the buckets with ExA-SPIM and SmartSPIM brains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from projectome.core.skeleton import Skeleton
from projectome.testing.replica_parts import (
    Array,
    Brain,
    ants_affine,
    halved,
    nifti,
    phantom_brain,
    swc,
    tiff,
    write,
    write_ome_zarr,
    write_zarr3,
)

SMART_RAW = "SmartSPIM_652506_2023-01-06_10-22-14"
SMART_STITCHED = f"{SMART_RAW}_stitched_2023-01-13_18-20-51"
SMART_NEW_RAW = "SmartSPIM_786846_2025-05-01_13-11-05"
SMART_NEW = f"{SMART_NEW_RAW}_stitched_2025-05-03_02-40-33"
EXA_RAW = "exaSPIM_653980_2023-08-10_20-08-29"
EXA_FUSED = f"{EXA_RAW}_fusion_2023-08-24"
EXA_CHAIN = (
    "exaSPIM_653158_2023-06-01_20-41-38_flatfield-correction_2023-11-17_12-54-40"
    "_fusion_2023-12-12_11-50-08"
)
EXA_NEW = "exaSPIM_841260_2025-09-02_15-40-10"
EXA_PROCESSED = f"{EXA_NEW}_processed_2025-11-20_08-31-02"
EXA_NEURONS = {
    name: f"{EXA_PROCESSED}_reconstruction-{name}_2026-02-03_10-00-00"
    for name in ("N018", "N024", "N031")
}
"""Assets of traced neurons, one a neuron."""
CCF_UM = (13200.0, 8000.0, 11400.0)
"""Extent of the Allen CCF from anterior, superior and left [um]."""
ODD = ("SmartSPIM_template_final", "exaspim brain 7", "README")
"""Names that break the conventions."""
PASTEUR = "exaspim_0417_2026-02-11_09-30-00"
PASTEUR_RAW = "exaspim_0417_2026-02-10_17-05-44"
TILE_UM = 9023.272
"""From tile to tile of a real ExA-SPIM: 14192 pixels of 0.748 um less 15 % of overlap."""
CHANNELS = ("Ex_445_Em_469", "Ex_561_Em_593")


def aind_open_data(folder: Path, seed: int, zoom: int) -> None:
    """Write the bucket of the Allen Institute for Neural Dynamics."""
    brain = phantom_brain(seed, zoom)
    smartspim(folder, brain)
    exaspim(folder, brain)
    write(folder / "ecephys_661398_2023-03-31_17-01-09" / "subject.json", {"subject_id": "661398"})
    write(folder / "behavior_700001_2024-02-02_10-00-00" / "subject.json", {})
    for name in ODD:
        write(folder / name / "notes.txt", "nobody knows\n")


# SmartSPIM


def smartspim(folder: Path, brain: Brain) -> None:
    """Write two brains: one in the layout of 2023, one in that of 2025."""
    # Axes of the image: Z from superior to inferior, Y from posterior to anterior, X to the right.
    seen = [np.ascontiguousarray(v.transpose(1, 0, 2)[:, ::-1]) for v in brain[1::-1]]
    somata = np.array([tree.coordinates[0] for tree in brain.neurons])[:, [1, 0, 2]]
    somata[:, 1] = seen[0].shape[1] - 1 - somata[:, 1]
    raw = folder / SMART_RAW
    _smartspim_raw(raw, seen[0], "652506", "2023-01-06T10:22:14")
    stitched = folder / SMART_STITCHED
    for channel, image in zip(CHANNELS, seen, strict=True):
        path = stitched / "processed" / "OMEZarr" / f"{channel}.zarr"
        write_ome_zarr(path, image, voxel_size=(2.0, 1.8, 1.8), levels=5, channel=channel)
    _derived(stitched, "652506", SMART_RAW, "Image tile fusing")
    _smartspim_results(stitched, "Ex_561_Em_593", seen[1], somata.round().astype(int))
    _smartspim_raw(folder / SMART_NEW_RAW, seen[0], "786846", "2025-05-01T13:11:05")
    newer = folder / SMART_NEW
    path = newer / "image_tile_fusing" / "OMEZarr" / "Ex_639_Em_680.zarr"
    coarse = halved(seen[1])
    write_ome_zarr(path, coarse, voxel_size=(2.0, 1.8, 1.8), levels=4, channel="Ex_639_Em_680")
    _derived(newer, "786846", SMART_NEW_RAW, "Image tile fusing")
    _smartspim_results(newer, "Ex_639_Em_680", coarse, somata.astype(int) // 2)


def _smartspim_raw(raw: Path, image: Array, subject: str, start: str) -> None:
    columns = {"471320": (0, 56), "500920": (56, 112)}
    for channel in CHANNELS:
        for column, (low, high) in columns.items():
            tile = image[40:42, :, low:high]
            for plane, voxels in enumerate(tile):
                name = f"{plane * 20:06d}.tiff"
                write(
                    raw / "SmartSPIM" / channel / column / f"{column}_487960" / name, tiff(voxels)
                )
    write(raw / "derivatives" / "metadata.json", {"session_config": {"um/pix": "1.8"}})
    write(raw / "derivatives" / "processing_manifest.json", {"pipeline_processing": {}})
    write(raw / "derivatives" / "TileSettings.ini", "[Tile Settings]\nt_V_Overlap = 10\n")
    axes = [
        ("X", 2, "Left_to_right"),
        ("Y", 1, "Posterior_to_anterior"),
        ("Z", 0, "Superior_to_inferior"),
    ]
    tiles = [
        {
            "coordinate_transformations": [
                {"type": "scale", "scale": ["1.800", "1.800", "2.000"]},
                {"type": "translation", "translation": [str(100.8 * number), "0", "0"]},
            ],
            "file_name": f"{channel}/{column}/{column}_487960/",
            "channel": {
                "channel_name": channel.split("_")[1],
                "laser_wavelength": int(channel.split("_")[1]),
                "laser_power": 20.0,
                "filter_wheel_index": 0,
            },
            "notes": None,
            "imaging_angle": 0,
        }
        for channel in CHANNELS
        for number, column in enumerate(columns)
    ]
    acquisition = _acquisition("0.4.3", subject, start, axes, tiles)
    acquisition |= {"instrument_id": "SmartSPIM1-1", "active_objectives": None}
    write(raw / "acquisition.json", acquisition)
    _core_files(raw, subject, "SmartSPIM")


def _smartspim_results(asset: Path, channel: str, image: Array, cells: Array) -> None:
    """Write registration, cells and counts of one channel."""
    small = halved(halved(image)).transpose(2, 1, 0)
    spacing = (0.025, 0.025, 0.025)
    aligned = asset / "image_atlas_alignment" / channel
    write(aligned / "moved_ls_to_ccf.nii.gz", nifti(small, spacing))
    write(aligned / "ls_to_template_SyN_0GenericAffine.mat", ants_affine())
    for name in ("1Warp", "1InverseWarp"):
        warp = np.zeros(small.shape, np.float32)
        write(aligned / f"ls_to_template_SyN_{name}.nii.gz", nifti(warp, spacing))
    metadata = aligned / "metadata" / "registration_metadata"
    for name in ("prep_percNorm", "moved_rigid", "moved_ls_to_template", "moved_ccf_anno_to_ls"):
        write(metadata / f"{name}.nii.gz", nifti(small, spacing))
    found = asset / "image_cell_segmentation" / f"cell_{channel}"
    rows = ["Z,Y,X,Z_center,Y_center,X_center,dist,r,fg,bg"]
    rows += [f"{z},{y},{x},{z}.0,{y}.0,{x}.0,0.5,3.0,900.0,120.0" for z, y, x in cells]
    write(found / "cell_likelihoods.csv", "\n".join(rows) + "\n")
    write(found / "detected_cells.xml", cell_counter(cells))
    quantified = asset / "image_cell_quantification" / f"quant_{channel}"
    columns = "ID,Acronym,Name,Struct_Info,Struct_area_um3,Left,Right,Total"
    write(
        quantified / "cell_count_by_region.csv",
        f"{columns}\n315,Isocortex,Isocortex,hemi,120000,11,12,23\n",
    )
    write(quantified / "transformed_cells.xml", cell_counter(cells))
    write(asset / "neuroglancer_config.json", {"ng_link": "", "layers": [{"name": channel}]})


def cell_counter(points: Array) -> str:
    """Return points (z, y, x) as the XML of the ImageJ plugin CellCounter."""
    markers = "".join(
        f"<Marker><MarkerX>{x}</MarkerX><MarkerY>{y}</MarkerY><MarkerZ>{z}</MarkerZ></Marker>"
        for z, y, x in points
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CellCounter_Marker_File>'
        "<Image_Properties><Image_Filename>placeholder.tif</Image_Filename></Image_Properties>"
        "<Marker_Data><Current_Type>1</Current_Type><Marker_Type><Type>1</Type>"
        f"{markers}</Marker_Type></Marker_Data></CellCounter_Marker_File>\n"
    )


# ExA-SPIM


def sagittal(brain: Brain) -> Array:
    """Return the picture as an ExA-SPIM sees it: right, superior, posterior."""
    return np.ascontiguousarray(brain.light.transpose(2, 1, 0)[:, ::-1])


def exaspim(folder: Path, brain: Brain) -> None:
    """Write brains in the layouts of 2023-24 and 2025-26, and traced neurons."""
    size = (1.0, 0.748, 0.748)
    fine = sagittal(brain)
    coarse = halved(fine)
    for name, levels in ((EXA_FUSED, 5), (EXA_CHAIN, 4)):
        write_ome_zarr(folder / name / "fused.zarr", coarse, voxel_size=size, levels=levels)
        _derived(folder / name, name.split("_")[1], name.split("_fusion")[0], "Image tile fusing")
    n5 = {"n5": "2.5.1", "Bigstitcher-Spark": {"FusionFormat": "BDV/N5"}}
    write(folder / EXA_FUSED / "fused.n5" / "attributes.json", n5)
    write(folder / EXA_FUSED / "fused.xml", "<SpimData version='0.2'></SpimData>\n")
    for asset, subject in ((EXA_RAW, "653980"), (EXA_NEW, "841260")):
        start = asset.split("_", 2)[2]
        raw = folder / asset
        inner = "SPIM/SPIM.ome.zarr" if asset == EXA_NEW else "exaSPIM"
        _tiles(raw / inner, coarse)
        write(raw / "acquisition.json", _exaspim_acquisition(subject, start))
        _core_files(raw, subject, "ExASPIM")
    processed = folder / EXA_PROCESSED
    for stage in ("denoised", "flatfield_correction"):
        _tiles(processed / stage / "SPIM.ome.zarr", coarse)
    fused = processed / "fusion" / "fused_ccf_ch.zarr"
    write_ome_zarr(fused, fine, voxel_size=size, levels=4)
    small = halved(halved(coarse)).transpose(2, 1, 0)
    aligned = processed / "ccf_alignment"
    for what in ("loaded", "resampled"):
        name = f"841260_10um_{what}_zarr_img.nii.gz"
        write(aligned / "registration_metadata" / name, nifti(small, (0.01, 0.01, 0.01)))
    write(aligned / "841260_to_exaSPIM_SyN_0GenericAffine.mat", ants_affine())
    for name in ("1Warp", "1InverseWarp"):
        warp = nifti(np.zeros(small.shape, np.float32), (0.025, 0.025, 0.025))
        write(aligned / f"841260_to_exaSPIM_SyN_{name}.nii.gz", warp)
    image = halved(coarse)
    write_ome_zarr(aligned / "ccf_aligned.zarr", image, voxel_size=(25.0,) * 3, levels=2)
    write(aligned / "processing.json", {"schema_version": "1.1.4"})
    write(processed / "acquisition.json", _exaspim_acquisition("841260", "2025-09-02_15-40-10"))
    _derived(processed, "841260", EXA_NEW, "Image tile fusing")
    for (name, asset), neuron in zip(EXA_NEURONS.items(), brain.neurons[1:], strict=False):
        _reconstruction(folder / asset, f"{name}-841260-DR.swc", neuron, brain.light.shape)
        _derived(folder / asset, "841260", EXA_PROCESSED, "Manual annotation")


def _reconstruction(asset: Path, name: str, neuron: Skeleton, shape: tuple[int, ...]) -> None:
    """Write a neuron as voxels of the fused volume, and as micrometres of the CCF."""
    posterior, inferior, right = neuron.coordinates.T
    voxels = np.stack([posterior, shape[1] - 1 - inferior, right], axis=1)
    for space in ("refined", "resampled"):
        write(asset / "specimen_space_reconstructions" / space / name, swc(neuron, voxels))
    ccf = neuron.coordinates / shape * CCF_UM
    write(asset / "ccf_space_reconstructions" / name, swc(neuron, ccf))


def _tiles(folder: Path, image: Array) -> None:
    """Write two tiles that overlap."""
    write(folder / ".zgroup", {"zarr_format": 2})
    half = image.shape[2] // 2
    for number, columns in enumerate((slice(0, half + 4), slice(half - 4, None))):
        path = folder / f"tile_{number:06d}_ch_488.zarr"
        write_ome_zarr(path, image[:, :, columns], voxel_size=(1.0, 0.748, 0.748), levels=2)


def _exaspim_acquisition(subject: str, start: str) -> dict[str, Any]:
    axes = [
        ("X", 2, "Anterior_to_posterior"),
        ("Y", 1, "Inferior_to_superior"),
        ("Z", 0, "Left_to_right"),
    ]
    tiles = [
        {
            "coordinate_transformations": [
                {"type": "scale", "scale": ["0.748", "0.748", "1"]},
                {"type": "translation", "translation": [f"{TILE_UM * number:.3f}", "0", "0"]},
            ],
            "file_name": f"tile_{number:06d}_ch_488.zarr",
            "channel": {"channel_name": "488", "light_source_name": "488 nm laser"},
        }
        for number in range(2)
    ]
    date, _, clock = start.partition("_")
    return _acquisition("1.0.4", subject, f"{date}T{clock.replace('-', ':')}Z", axes, tiles)


# What all of them have


def _acquisition(
    version: str, subject: str, start: str, axes: list[tuple[str, int, str]], tiles: list[Any]
) -> dict[str, Any]:
    """Return an acquisition.json of the generations before 2."""
    return {
        "describedBy": "https://raw.githubusercontent.com/AllenNeuralDynamics/aind-data-schema",
        "schema_version": version,
        "subject_id": subject,
        "specimen_id": subject,
        "experimenter_full_name": ["###"],
        "session_start_time": start,
        "session_end_time": start,
        "chamber_immersion": {"medium": "other", "refractive_index": "1.33"},
        "axes": [
            {"name": name, "dimension": dimension, "direction": way, "unit": "micrometer"}
            for name, dimension, way in axes
        ],
        "tiles": tiles,
        "external_storage_directory": "",
    }


def _core_files(asset: Path, subject: str, platform: str) -> None:
    """Write the metadata of a recording that stand beside the acquisition."""
    description = {
        "schema_version": "0.10.1",
        "data_level": "raw",
        "name": asset.name,
        "subject_id": subject,
        "platform": {"name": platform, "abbreviation": asset.name.split("_")[0]},
        "institution": {"name": "Allen Institute for Neural Dynamics", "abbreviation": "AIND"},
        "license": "CC-BY-4.0",
    }
    write(asset / "data_description.json", description)
    write(asset / "subject.json", _subject(subject))
    write(asset / "procedures.json", {"schema_version": "0.11.2", "subject_id": subject})


def _subject(subject: str) -> Mapping[str, Any]:
    return {
        "schema_version": "0.5.6",
        "subject_id": subject,
        "species": {"name": "Mus musculus", "registry_identifier": "10090"},
        "sex": "Female",
        "date_of_birth": "2022-10-01",
        "genotype": "wt/wt",
    }


def _derived(asset: Path, subject: str, source: str, process: str) -> None:
    """Write the metadata of what was made from a recording."""
    description = {
        "schema_version": "0.10.1",
        "data_level": "derived",
        "name": asset.name,
        "input_data_name": source,
        "subject_id": subject,
    }
    data = [{"name": process, "software_version": "1.0.0", "parameters": {}}]
    pipeline = {"processing_pipeline": {"data_processes": data, "processor_full_name": "###"}}
    write(asset / "data_description.json", description)
    write(asset / "subject.json", _subject(subject))
    write(asset / "processing.json", {"schema_version": "0.4.4", **pipeline})
    write(asset / "metadata.nd.json", {"name": asset.name, "subject": _subject(subject)})


# Institut Pasteur


def pasteur(folder: Path, seed: int, zoom: int) -> None:
    """Write the bucket of the Institut Pasteur: a brain as published, and as recorded."""
    light = sagittal(phantom_brain(seed, zoom))
    asset = folder / PASTEUR
    image = asset / "exaspim" / "image.ome.zarr"
    write_ome_zarr(image, light, voxel_size=(1.0, 0.748, 0.748), levels=5, channel="488")
    write(asset / "acquisition.json", _exaspim_acquisition("0417", "2026-02-11_09-30-00"))
    _core_files(asset, "0417", "ExASPIM")
    write(asset / "processing.json", {"schema_version": "1.1.4", "processing_pipeline": {}})
    raw = folder / PASTEUR_RAW
    coarse = halved(light)
    half = coarse.shape[2] // 2
    tiles = []
    for number, columns in enumerate((slice(0, half + 4), slice(half - 4, None))):
        tile = coarse[:, :, columns]
        stem = f"tile_{number:06d}_ch_488"
        write_zarr3(raw / "exaSPIM" / f"{stem}.zarr", tile, chunks=(32, 64, 64))
        # Millimetres, and turned like the camera: -y, x, z of the stage.
        stage_mm = (-0.0, TILE_UM * number / 1000, 0.0)
        tiles.append(
            {
                "coordinate_transformations": [
                    {"type": "scale", "scale": ["0.748", "0.748", "1.0"]},
                    {"type": "translation", "translation": [f"{v:.6f}" for v in stage_mm]},
                ],
                "file_name": f"{stem}.ims",
                "channel": {"channel_name": "488", "light_source_name": "488 nm"},
            }
        )
    acquisition = _exaspim_acquisition("0417", "2026-02-10_17-05-44") | {"tiles": tiles}
    for axis in acquisition["axes"]:
        del axis["unit"]
    write(raw / "exaspim_acquisition.json", acquisition)
    write(raw / "derivatives" / "acquisition.yaml", "tiles: 2\n")
    write(raw / "derivatives" / "exaspim.log", "started\nstopped\n")
