"""The health file: replaced whole, overwritten in place when the disk is full, and readable by a person."""

from __future__ import annotations

import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from energy_assets.errors import SourceError
from energy_assets.messaging.health import Counters, Health, is_silent, is_well, read_health, rendered, write_health

NOW = datetime(2026, 11, 21, 4, 45, 30, tzinfo=UTC)


def _health(**fields: object) -> Health:
    defaults = {
        "client_id": "r",
        "broker": "mqtt://broker:1883",
        "filters": ("energy/#",),
        "process_id": 42,
        "started_at_utc": NOW.isoformat(),
        "written_at_utc": NOW.isoformat(),
        "since_utc": NOW.isoformat(),
        "state": "recording",
        "counters": Counters(received=1_234_567, stored=1_234_560, duplicates_flagged=3),
    }
    return Health(**(defaults | fields))  # type: ignore[arg-type]


def test_health_comes_back(tmp_path: Path) -> None:
    health = _health(trouble="é")
    write_health(tmp_path / "h.json", health)
    assert read_health(tmp_path / "h.json") == health
    assert [path.name for path in tmp_path.iterdir()] == ["h.json"]


def test_full_disk_does_not_silence_it(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    write_health(path, _health(trouble="x" * 200))
    (tmp_path / "h.tmp").mkdir()  # stands for a disk that takes no new file
    failing = _health(state="spool failing", trouble="No space left on device")
    write_health(path, failing)
    assert read_health(path) == failing
    longer = _health(state="spool failing", trouble="y" * 900)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            write_health(path, longer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("content", [None, "", "{}", '{"state": 1}', "[]"])
def test_what_is_no_health_file_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "h.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SourceError, match=r"h\.json"):
        read_health(path)


@pytest.mark.parametrize(
    ("fields", "age_s", "well", "silent"),
    [
        pytest.param({}, 2, True, False, id="recording"),
        pytest.param({}, 16, False, True, id="hung-or-killed"),
        pytest.param({"state": "spool failing", "trouble": "full"}, 1, False, False, id="failing"),
        pytest.param({"state": "recording", "trouble": "denied"}, 1, False, False, id="partly-denied"),
        pytest.param({"state": "stopped"}, 3_600, False, False, id="stopped-long-ago"),
    ],
)
def test_judgement_and_rendering(fields: dict[str, object], age_s: float, well: bool, silent: bool) -> None:
    health, now = _health(**fields), NOW + timedelta(seconds=age_s)
    assert (is_well(health, now=now), is_silent(health, now=now)) == (well, silent)
    text = rendered(health, now=now)
    assert "1,234,567 received, 1,234,560 stored" in text
    assert "3 flagged as redelivered" in text
    assert ("silent (process 42" in text) == silent
    assert str(fields.get("trouble", "")) in text
