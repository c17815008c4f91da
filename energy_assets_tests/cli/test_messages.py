"""Mappings tried and dumps ingested by somebody new: wrong files are named, those of Windows read, none half done."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.contracts import READINGS_QUARANTINE, READINGS_RAW
from energy_assets.errors import ConfigError, EnergyAssetsError, SourceError
from energy_assets.lake import Lake
from energy_assets.messaging.formats import FORMATS
from energy_assets.settings import load_settings

LINE = r'{"topic":"tele/p/SENSOR","payload":"{\"Time\":\"2026-11-21T07:00:05\",\"ENERGY\":{\"Total\":1.5}}"}'
READ = "tele/p/SENSOR  preview.p.1  2026-11-21 07:00:05Z  1.5 kWh\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()
    yield tmp_path / "home"
    load_settings.cache_clear()


def said(*words: str, given: bytes = b"") -> str:
    return CliRunner().invoke(app, list(words), input=given, catch_exceptions=False).output


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(f"{LINE}\n".encode(), id="plain"),
        pytest.param(LINE.encode(), id="without an end of line"),
        pytest.param(f"{LINE}\r\n\r\n".encode(), id="of Windows"),
        pytest.param(f"\ufeff{LINE}\n".encode(), id="with a byte order mark"),
        pytest.param(f"{LINE}\r\n".encode("utf-16"), id="UTF-16, as PowerShell writes"),
        pytest.param(gzip.compress(LINE.encode()), id="gzip"),
    ],
)
def test_samples_are_read_however_they_were_written(given: bytes) -> None:
    assert said("mapping", "test", "tasmota", given=given) == READ + "1 readings, 0 duplicate, 0 refused, 0 ignored\n"


def test_what_is_refused_is_shown_shortly() -> None:
    given = b'tele/p/SENSOR {"ENERGY":' + b"1" * 1_000_000
    first, account = said("mapping", "test", "tasmota", given=given).splitlines()
    assert first == 'tele/p/SENSOR  refused: not_json  {"ENERGY":' + "1" * 70
    assert account == "0 readings, 0 duplicate, 1 refused, 0 ignored"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param(b"", "There was no message on standard input", id="empty"),
        pytest.param(b"\n \r\n", "There was no message on standard input", id="blank"),
        pytest.param(b"id,kwh\n1,2\n", "standard input: none of its 2 lines is a message", id="a table"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00 \x00\rIHDR", "standard input: none of its 3 lines", id="a picture"),
        pytest.param(gzip.compress(LINE.encode())[:-12], "^standard input cannot be read to its end", id="cut gzip"),
    ],
)
def test_samples_that_are_none_are_named(given: bytes, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        said("mapping", "test", "tasmota", given=given)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(b"topic = [\n", "m.toml is not TOML", id="not TOML"),
        pytest.param(b"\x00\xff\xfe\x89", "m.toml is no text, so no mapping", id="binary"),
        pytest.param(b'[[messages]]\ntopik = "a"\n', "messages.0.topik.*energy mapping show tasmota", id="unknown key"),
    ],
)
def test_a_mapping_that_is_none_is_named(tmp_path: Path, text: bytes, says: str) -> None:
    (tmp_path / "m.toml").write_bytes(text)
    with pytest.raises(ConfigError, match=says):
        said("mapping", "test", "m.toml", given=LINE.encode())


def test_built_in_mappings_are_listed_and_shown_to_begin_with(tmp_path: Path) -> None:
    assert {line.split()[0] for line in said("mapping", "show").splitlines()} == set(FORMATS)
    (tmp_path / "mine.toml").write_text(said("mapping", "show", "tasmota"))
    assert said("mapping", "test", "mine.toml", given=LINE.encode()).startswith(READ)


def test_a_wrong_file_leaves_nothing_behind(tmp_path: Path, home: Path) -> None:
    (tmp_path / "table.csv").write_text("id,kwh\n1,2\n")
    (tmp_path / "dump").write_text(LINE.replace("{", '{"arrived_at_utc":"2026-11-21T06:00:00Z",', 1) + "\nbad\n")
    with pytest.raises(SourceError, match=r"table.csv: none of its 2 lines is a message.*Nothing of it was stored"):
        said("ingest", "mqtt-dump", "dump", "table.csv", "--mapping", "tasmota")
    with pytest.raises(EnergyAssetsError, match="cannot be named 'My home'"):
        said("ingest", "mqtt-dump", "dump", "--mapping", "tasmota", "--name", "My home")
    lake = Lake.from_settings(load_settings())
    assert (lake.count(READINGS_RAW), lake.count(READINGS_QUARANTINE)) == (1, 1)  # of the file before it
    lake.close()
    assert [file.name for file in (home / "sources").iterdir()] == ["mqtt.toml"]


def test_a_quarantine_says_what_was_asked_and_shows_lines_as_they_came(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text("tele/p/SENSOR x\nbad\n")
    assert "2 quarantined" in said("ingest", "mqtt-dump", "dump", "--mapping", "tasmota", "--name", "home")
    shown = said("quarantine", "list")
    assert "tele/p/SENSOR  x" in shown
    assert "│ bad " in shown
    assert said("quarantine", "list", "--reason", "odd") == "Nothing for odd is in quarantine.\n"
    assert said("quarantine", "replay", "--reason", "odd") == "home: nothing was refused for odd\n"
    assert "2 rows read again" in said("quarantine", "replay")
    assert "No segment is in . yet" in said("ingest", "mqtt", ".", "--mapping", "tasmota", "--name", "spool")
