"""Names of assets: the patterns of the specification, real names that leave them, and noise."""

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.io.metadata.asset_names import LONGEST, AssetName, parse_asset_name

STAMP = "2023-08-23_14-58-20"
ISO = "2023-08-23T14:58:20"


@pytest.mark.parametrize(
    ("name", "platform", "subject", "steps"),
    [
        (f"exaSPIM_516429_{STAMP}", "exaSPIM", "516429", ()),
        (f"exaspim_m12_{STAMP}", "exaspim", "m12", ()),
        (f"652506_{STAMP}", None, "652506", ()),
        (f"SmartSPIM_test_{STAMP}", "SmartSPIM", "test", ()),
        (f"exaSPIM_516429_{STAMP}_fusion_2023-09-18", "exaSPIM", "516429", "fusion 2023-09-18"),
        (
            f"SmartSPIM_652506_{STAMP}_stitched_2023-10-30_05-53-31",
            "SmartSPIM",
            "652506",
            "stitched 2023-10-30T05:53:31",
        ),
        (
            f"exaSPIM_1_{STAMP}_flatfield-correction_2024-01-02_03-04-05_fusion_2024-02-03_04-05-06",
            "exaSPIM",
            "1",
            "flatfield-correction 2024-01-02T03:04:05 fusion 2024-02-03T04:05:06",
        ),
        (
            f"exaSPIM_1_{STAMP}_processed_2025-11-01_00-00-00_reconstruction-N024_2026-01-01_00-00-01",
            "exaSPIM",
            "1",
            "processed 2025-11-01T00:00:00 reconstruction-N024 2026-01-01T00:00:01",
        ),
        (f"exaSPIM_1_{STAMP}_some_long_step", "exaSPIM", "1", (("some_long_step", None),)),
    ],
)
def test_patterns_and_real_names(name, platform, subject, steps):
    if isinstance(steps, str):
        words = steps.split(" ")
        steps = tuple(zip(words[::2], words[1::2], strict=True))
    expected = AssetName(platform, subject, ISO, steps, name[: name.index(STAMP) + len(STAMP)])
    assert parse_asset_name(name) == expected
    assert parse_asset_name(name + "/") == expected
    assert expected.is_derived == bool(steps)


def test_time_without_separators_and_no_time():
    assert parse_asset_name("12345_2022-02-21T163001").acquired == "2022-02-21T16:30:01"
    assert parse_asset_name("exaSPIM_12345_2022-02-21").acquired == "2022-02-21"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "fused.zarr",
        "exaSPIM_516429",
        f"_{STAMP}",
        f"SmartSPIM-template_{STAMP}",
        f"project_analysis_{STAMP}",
        f"exaSPIM_1_{STAMP}_{STAMP}",
        "exaSPIM_1_2023-13-23_14-58-20",
        "exaSPIM_1_2023-08-23_25-58-20",
        f"exaSPIM_1_{STAMP}_fusion_2023-02-30",
        f"folder/exaSPIM_1_{STAMP}",
        "x" * LONGEST + f"1_{STAMP}",
    ],
)
def test_names_that_do_not_say_who_and_when(name):
    assert parse_asset_name(name) is None


word = st.from_regex(re.compile(r"[A-Za-z][A-Za-z-]{0,8}", re.ASCII), fullmatch=True)
time = st.datetimes(min_value=datetime(1990, 1, 1)).map(lambda t: t.strftime("%Y-%m-%d_%H-%M-%S"))


@given(word, st.integers(1, 10**7), time, st.lists(st.tuples(word, time), max_size=4))
def test_what_is_put_together_is_taken_apart(platform, subject, acquired, steps):
    recording = f"{platform}_{subject}_{acquired}"
    found = parse_asset_name("_".join([recording, *(part for step in steps for part in step)]))

    def iso(text):
        day, clock = text.split("_")
        return f"{day}T{clock.replace('-', ':')}"

    assert found == AssetName(
        platform,
        str(subject),
        iso(acquired),
        tuple((step, iso(at)) for step, at in steps),
        recording,
    )


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_none(text):
    found = parse_asset_name(text)
    assert found is None or text.strip("/").startswith(found.recording)
