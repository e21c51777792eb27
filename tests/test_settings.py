from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome import settings
from projectome.errors import ParameterError, UnknownNameError
from projectome.settings import Settings, format_bytes, memory_budget, parse_bytes, resolve, store


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    """Settings of nobody: an empty environment and a file that is not there."""
    for name in Settings.__dataclass_fields__:
        monkeypatch.delenv(f"PROJECTOME_{name.upper()}", raising=False)
    monkeypatch.setenv("PROJECTOME_CONFIG", str(tmp_path / "own" / "config.toml"))
    return tmp_path / "own" / "config.toml"


def test_defaults():
    values, sources = resolve()
    assert values == Settings(cache=Path("~/.cache/projectome").expanduser())
    assert set(sources.values()) == {"default"}


def test_argument_beats_file_beats_environment(own_file, monkeypatch):
    monkeypatch.setenv("PROJECTOME_WORKERS", "2")
    monkeypatch.setenv("PROJECTOME_REGION", "eu-west-3")
    store("workers", "4")
    values, sources = resolve({"memory": "8GB", "workers": None})
    assert (values.workers, sources["workers"]) == (4, str(own_file))
    assert (values.region, sources["region"]) == ("eu-west-3", "PROJECTOME_REGION")
    assert (values.memory, sources["memory"]) == (8 * 10**9, "argument")
    assert resolve({"workers": 8})[0].workers == 8


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20))
def test_what_is_stored_is_read_back(text):
    store("bucket", text)
    assert resolve()[0].bucket == text.strip()


def test_storing_one_setting_keeps_the_others(own_file):
    store("workers", "4")
    store("memory", "2GiB")
    store("signed", "yes")
    assert own_file.read_text() == 'memory = "2147483648"\nsigned = "True"\nworkers = "4"\n'
    assert resolve()[0] == Settings(
        cache=Path("~/.cache/projectome").expanduser(), workers=4, memory=2**31, signed=True
    )


def test_where_settings_live(monkeypatch, tmp_path):
    monkeypatch.delenv("PROJECTOME_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings.settings_file() == tmp_path / "projectome/config.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert settings.settings_file() == Path("~/.config/projectome/config.toml").expanduser()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("workers", "two", "whole number"),
        ("workers", "-1", "whole number"),
        ("memory", "lots", "8GB or 512MiB"),
        ("signed", "maybe", "true or false"),
    ],
)
def test_values_that_cannot_be_understood(name, value, message, monkeypatch):
    with pytest.raises(ParameterError, match=message):
        store(name, value)
    monkeypatch.setenv(f"PROJECTOME_{name.upper()}", value)
    with pytest.raises(ParameterError, match=message):
        resolve()


def test_names_that_are_no_setting(own_file):
    with pytest.raises(UnknownNameError, match="Did you mean 'workers'"):
        store("worker", "1")
    with pytest.raises(UnknownNameError):
        resolve({"nonsense": 1})
    own_file.parent.mkdir()
    own_file.write_text("nonsense = 1\n")
    with pytest.raises(UnknownNameError, match="projectome config show"):
        resolve()


@pytest.mark.parametrize("content", [b"workers = \n", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(own_file, content):
    own_file.parent.mkdir()
    own_file.write_bytes(content)
    with pytest.raises(ParameterError, match=r"config\.toml.*Correct or remove the file"):
        resolve()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8GB", 8 * 10**9),
        ("512MiB", 2**29),
        ("1.5 k", 1500),
        (77, 77),
        ("4 KiB", 4096),
        ("2tb", 2 * 10**12),
    ],
)
def test_sizes_in_bytes(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "0", "0.2", "-1GB", "GB", "1i", "1XB", "1e9", "nan"])
def test_what_is_no_size(text):
    with pytest.raises(ParameterError, match="Not a size in bytes"):
        parse_bytes(text)


@given(st.integers(1, 9 * 10**14))
def test_sizes_are_shown_to_three_digits(count):
    shown = format_bytes(count)
    assert len(shown) <= 9
    assert parse_bytes(shown) == pytest.approx(count, rel=0.006)


def test_budget_comes_from_argument_settings_or_machine(monkeypatch):
    assert memory_budget("2GB") == 2 * 10**9
    free = psutil.virtual_memory().available
    assert 0 < memory_budget() <= 0.76 * max(free, psutil.virtual_memory().available) + 2**28
    monkeypatch.setenv("PROJECTOME_MEMORY", "3GB")
    assert memory_budget() == 3 * 10**9
    assert memory_budget("2GB") == 2 * 10**9
    with pytest.raises(ParameterError, match="8GB"):
        memory_budget("lots")


def test_a_container_bounds_the_memory(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    monkeypatch.setattr(settings, "CGROUP", tmp_path)
    assert settings.available_memory() == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert settings.available_memory() > 10**6
