"""Documents of a small recording that tests change at will."""

import copy
import json

import pytest

RECORDING = {
    "schema_version": "1.0.4",
    "subject_id": "652506",
    "instrument_id": "SmartSPIM1-1",
    "session_start_time": "2023-01-06T17:24:02-08:00",
    "session_end_time": "2023-01-06T19:24:02-08:00",
    "tiles": [
        {
            "file_name": "Ex_561_Em_593/1/1_1/",
            "channel": {"channel_name": "561", "excitation_wavelength": "561"},
            "coordinate_transformations": [
                {"type": "translation", "translation": ["100.5", "2000", "-3e3"]},
                {"type": "scale", "scale": ["1.8", "1.8", "2.0"]},
            ],
        }
    ],
    "axes": [
        {"name": "X", "dimension": 2, "direction": "Left_to_right", "unit": "micrometer"},
        {"name": "Y", "dimension": 1, "direction": "Posterior_to_anterior", "unit": "micrometer"},
        {"name": "Z", "dimension": 0, "direction": "Superior_to_inferior", "unit": "micrometer"},
    ],
}
SYSTEM = {
    "name": "SPIM_RPI",
    "axes": [
        {"name": "X", "direction": "Left_to_right"},
        {"name": "Y", "direction": "Anterior_to_posterior"},
        {"name": "Z", "direction": "Superior_to_inferior"},
    ],
    "axis_unit": "micrometer",
}


def newest(transform, system=SYSTEM, **image):
    """An acquisition of the generation 2.x with one image."""
    channel = {
        "channel_name": "561",
        "light_sources": [{"wavelength": 561, "wavelength_unit": "nanometer"}],
        "emission_wavelength": 0.6,
        "emission_wavelength_unit": "micrometer",
    }
    picture = {
        "channel_name": "561",
        "file_name": "a.zarr",
        "image_to_acquisition_transform": transform,
        **image,
    }
    config = {"local_coordinate_system": system, "channels": [channel], "images": [picture]}
    return {
        "schema_version": "2.5.4",
        "subject_id": "1",
        "acquisition_start_time": "2025-01-01T00:00:00Z",
        "data_streams": [{"configurations": [{"device_name": "chamber"}, config]}],
    }


@pytest.fixture
def recording():
    """An acquisition document of the generation 1.x, numbers as texts, position before scale."""
    return copy.deepcopy(RECORDING)


@pytest.fixture
def modern():
    """Function that makes a document of the generation 2.x."""
    return lambda *given, **more: copy.deepcopy(newest(*given, **more))


@pytest.fixture
def put():
    """Function that writes JSON documents, ``{path: document}``, below a folder."""

    def write(folder, documents):
        for name, document in documents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(document if isinstance(document, str) else json.dumps(document))
        return folder

    return write
