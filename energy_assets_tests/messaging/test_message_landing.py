"""Segments are landed once each, whatever is redelivered, sent again, late, damaged or landed twice at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import (
    METERS,
    READINGS_LANDINGS,
    READINGS_QUARANTINE,
    READINGS_RAW,
    READINGS_SEGMENTS,
)
from energy_assets.errors import SourceError
from energy_assets.ingestion import land, register
from energy_assets.lake import Lake
from energy_assets.message_landing import expire_segments, land_segments, pending_segments
from energy_assets.messaging.segments import Record
from energy_assets.readings.source import Counts, Source
from energy_assets_tests.messaging.spooling import START, record, spool_source, write_segment

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
REGISTER = """[[messages]]
topic = "m/{meter}"
meter = "{source}.{meter}"
value = "$"
measure = "register"
unit = "Wh"
interval_minutes = 15
"""
CLOCKED = """[[messages]]
topic = "m/{meter}"
meter = "{source}.{meter}"
value = "$.v"
time = "$.t"
measure = "register"
unit = "Wh"
interval_minutes = 15
"""


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "register.toml").write_text(REGISTER)
    (tmp_path / "clocked.toml").write_text(CLOCKED)
    return tmp_path / "spool"


def source_of(spool: Path, mapping: str = "register") -> Source:
    return spool_source(spool, spool.parent / f"{mapping}.toml")


def figures(counts: Counts) -> tuple[int, int, int, int]:
    return counts.stored, counts.duplicate, counts.quarantined, counts.ignored


def assert_accounted(lake: Lake, source: str = "s") -> None:
    """The accounts balance, by segment and by day, and the tables hold what they say."""
    where = {"source": source}
    segments = lake.read(READINGS_SEGMENTS, where=where)
    parts = segments.select(pl.col("rows_in", "stored", "duplicate", "quarantined", "ignored").sum()).row(0)
    assert parts[0] == sum(parts[1:])
    days = (
        lake.read(READINGS_LANDINGS, where=where)
        .select(pl.col("rows_in", "stored", "duplicate", "quarantined").sum())
        .row(0)
    )
    assert days == (parts[0] - parts[4], *parts[1:4])
    assert lake.count(READINGS_RAW, where=where) == parts[1]
    assert lake.count(READINGS_QUARANTINE, where=where) == parts[3]
    assert lake.read(READINGS_RAW).select(READINGS_RAW.key).is_duplicated().sum() == 0
    assert lake.read(READINGS_QUARANTINE).select(READINGS_QUARANTINE.key).is_duplicated().sum() == 0


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(
            [record(0, "m/a", "5", packet_id=7)],
            [record(1, "m/a", "5", packet_id=7, at_s=7200, duplicate=True)],
            (0, 1, 0, 0),
            id="redelivered two hours later",
        ),
        pytest.param(
            [record(0, "m/a", "5", packet_id=7)],
            [record(1, "m/a", "5", packet_id=8, at_s=2, duplicate=True)],
            (1, 0, 0, 0),
            id="flagged, but of another delivery: its first copy never came",
        ),
        pytest.param(
            [record(0, "m/a", "5", packet_id=7)],
            [record(1, "m/a", "5", packet_id=7, at_s=2)],
            (1, 0, 0, 0),
            id="the same value with the identifier used again",
        ),
        pytest.param(
            [record(0, "m/a", "5", packet_id=7), record(1, "m/a", "5", packet_id=8)],
            [
                record(2, "m/a", "5", packet_id=7, at_s=300, duplicate=True),
                record(3, "m/a", "5", packet_id=8, at_s=300, duplicate=True),
                record(4, "m/a", "5", packet_id=7, at_s=600, duplicate=True),
            ],
            (0, 3, 0, 0),
            id="two equal messages, redelivered, one of them twice",
        ),
        pytest.param(
            [record(0, "m/a", "5", packet_id=7)],
            [record(1, "m/a", "x", packet_id=7, at_s=300, duplicate=True)],
            (0, 0, 1, 0),
            id="another payload is another message",
        ),
        pytest.param(
            [record(0, "m/a", "5")],
            [record(1, "m/a", "5", at_s=4000, retained=True), record(2, "m/b", "5", at_s=4000, retained=True)],
            (1, 1, 0, 0),
            id="retained: known of one meter, news of the other",
        ),
        pytest.param(
            [record(0, "m/a", "5"), record(1, "m/a", "6")],
            [record(2, "m/a", "5", at_s=4000, retained=True)],
            (1, 0, 0, 0),
            id="retained: an older value is not the last that was known",
        ),
        pytest.param(
            [record(0, "m/a", "5", retained=True)],
            [record(1, "m/a", "5", at_s=4000, retained=True), record(2, "m/a", "5", at_s=8000, retained=True)],
            (0, 2, 0, 0),
            id="retained: sent again at each subscription",
        ),
        pytest.param(
            [record(0, "m/a", "5")],
            [record(1, "m/a", "5", at_s=4000)],
            (1, 0, 0, 0),
            id="a register that stands still is read again",
        ),
    ],
)
def test_what_comes_again_without_a_clock_of_the_device(
    spool: Path, shared_lake: Lake, before: Sequence[Record], after: Sequence[Record], expected: tuple[int, ...]
) -> None:
    source = source_of(spool).model_copy(update={"name": f"s{abs(hash(str(spool)))}"})
    write_segment(spool, before)
    assert land_segments(shared_lake, source, now=NOW).stored == len(before)
    write_segment(spool, after)
    assert figures(land_segments(shared_lake, source, now=NOW)) == expected
    assert_accounted(shared_lake, source.name)


@pytest.mark.parametrize("together", [True, False], ids=["in one landing", "in two"])
def test_with_a_clock_of_the_device_meter_time_and_value_are_the_key(spool: Path, lake: Lake, together: bool) -> None:
    reading = {"v": 5, "t": "2026-11-21T05:00:00Z"}
    write_segment(spool, [record(0, "m/a", reading), record(1, "m/b", reading), record(2, "m/a", reading)])
    if not together:
        assert figures(land_segments(lake, source_of(spool, "clocked"), now=NOW)) == (2, 1, 0, 0)
    again = [record(3, "m/a", reading), record(4, "m/a", reading | {"v": 6}), record(5, "m/a", reading, retained=True)]
    write_segment(spool, again)
    counts = land_segments(lake, source_of(spool, "clocked"), now=NOW)
    assert figures(counts) == ((3, 3, 0, 0) if together else (1, 2, 0, 0))
    assert_accounted(lake)


def test_a_segment_is_landed_once_and_only_when_it_is_sealed(spool: Path, lake: Lake) -> None:
    source = source_of(spool)
    path = write_segment(spool, [record(0, "m/a", "5")])
    path.rename(f"{path}.open")
    assert land_segments(lake, source, now=NOW).rows_in == 0
    Path(f"{path}.open").rename(path)
    assert [each.path for each in pending_segments(lake, source)] == [path]
    assert land_segments(lake, source, now=NOW).rows_in == 1
    assert pending_segments(lake, source) == []
    assert land_segments(lake, source, now=NOW).rows_in == 0
    assert land(lake, source, window=None, now=NOW).rows_in == 0
    assert_accounted(lake)


def test_two_landings_at_once_land_each_segment_once(spool: Path, any_lake: Lake) -> None:
    for number in range(6):
        write_segment(spool, [record(number * 10 + each, f"m/{each}", f"{number}") for each in range(10)])
    found: list[Counts] = []
    threads = [
        threading.Thread(target=lambda: found.append(land_segments(any_lake, source_of(spool), now=NOW)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(each.stored for each in found) == 60
    assert_accounted(any_lake)


def test_a_damaged_segment_is_named_and_its_neighbours_are_landed(spool: Path, lake: Lake) -> None:
    paths = [write_segment(spool, [record(number, "m/a", f"{number}")]) for number in range(3)]
    sound = paths[1].read_bytes()
    paths[1].write_bytes(sound[:-3] + b"xxx")
    with pytest.raises(SourceError, match=paths[1].name):
        land_segments(lake, source_of(spool), now=NOW)
    assert lake.count(READINGS_RAW) == 2
    paths[1].write_bytes(sound)
    assert land_segments(lake, source_of(spool), now=NOW).stored == 1
    assert_accounted(lake)


def test_a_payload_beyond_measure_is_refused_and_its_neighbours_are_read(spool: Path, lake: Lake) -> None:
    huge = b"9" * (40 * 1024 * 1024)
    write_segment(
        spool, [record(0, "m/a", "5"), record(1, "m/a", huge), record(2, "m/a", b"\xff\x00"), record(3, "m/a", "6")]
    )
    assert figures(land_segments(lake, source_of(spool), now=NOW)) == (2, 0, 2, 0)
    assert sorted(lake.read(READINGS_QUARANTINE)["reason"]) == ["not_text", "too_large"]
    assert_accounted(lake)


def test_afresh_reads_again_with_the_mapping_as_it_is_now(spool: Path, lake: Lake) -> None:
    write_segment(spool, [record(0, "m/a", "5"), record(1, "m/b", "x"), record(2, "n/a", "7")])
    source = source_of(spool)
    assert figures(land_segments(lake, source, now=NOW)) == (1, 0, 2, 0)
    (spool.parent / "register.toml").write_text(REGISTER.replace('"Wh"', '"kWh"') + '[[ignored]]\ntopic = "n/#"\n')
    assert figures(land_segments(lake, source, now=NOW, afresh=True)) == (1, 0, 1, 1)
    assert lake.read(READINGS_RAW)["unit"].to_list() == ["kWh"]
    assert lake.read(METERS)["unit"].to_list() == ["kWh"]
    assert_accounted(lake)


def test_meters_are_kept_when_files_are_registered(spool: Path, lake: Lake) -> None:
    write_segment(spool, [record(0, "m/a", "5")])
    source = source_of(spool)
    land_segments(lake, source, now=NOW)
    write_segment(spool, [record(1, "m/b", "5"), record(2, "m/a", "6")])
    land_segments(lake, source, now=NOW)
    register(lake, [source], now=NOW)
    meters = lake.read(METERS).sort("meter_id")
    assert meters["meter_id"].to_list() == ["s.a", "s.b"]
    assert meters["valid_from_utc"].to_list() == [START, START + timedelta(seconds=1)]


def test_only_what_every_reader_landed_is_deleted(spool: Path, lake: Lake) -> None:
    one, other = source_of(spool), source_of(spool).model_copy(update={"name": "other"})
    paths = [write_segment(spool, [record(number * 70_000, "m/a", "5", at_s=number)]) for number in range(3)]
    land_segments(lake, one, now=NOW)
    later = NOW + timedelta(days=20)
    assert expire_segments(lake, spool, [one, other], keep_days=14, now=later) == []
    land_segments(lake, other, now=NOW)
    assert expire_segments(lake, spool, [one, other], keep_days=30, now=later) == []
    assert expire_segments(lake, spool, [one, other], keep_days=14, now=later) == paths[:2]
    assert land_segments(lake, one, now=NOW).rows_in == 0
    assert lake.count(READINGS_RAW, where={"source": "s"}) == 3


KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from energy_assets.lake import Lake, store
from energy_assets.message_landing import land_segments
from energy_assets.readings.source import Source
point, home, spool, mapping = sys.argv[1:]
lake = Lake(catalog=f"sqlite:{home}/catalog.sqlite", data_path=f"{home}/data", work_folder=Path(home) / "work")
commit = Lake.commit
def killed(self, changes, **more):
    if point == "before": os.kill(os.getpid(), 9)
    done = commit(self, changes, **more)
    os.kill(os.getpid(), 9)
insert = store._insert
def halfway(session, change):
    insert(session, change)
    os.kill(os.getpid(), 9)
if point == "within": store._insert = halfway
else: Lake.commit = killed
land_segments(lake, Source(name="s", kind="mqtt", path=spool, mapping=mapping), now=datetime.now(UTC))
"""


@pytest.mark.parametrize("point", ["before", "within", "after"])
def test_a_landing_that_is_killed_is_repeated_exactly(tmp_path: Path, spool: Path, lake: Lake, point: str) -> None:
    numbers = range(400)
    write_segment(spool, [record(number, f"m/{number % 7}", f"{number}") for number in numbers[:200]])
    write_segment(spool, [record(number, f"m/{number % 7}", f"{number}") for number in numbers[200:]])
    command = [sys.executable, "-c", KILLED, point, str(tmp_path), str(spool), str(spool.parent / "register.toml")]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert lake.count(READINGS_RAW) == (400 if point == "after" else 0)
    land_segments(lake, source_of(spool), now=NOW)
    assert lake.read(READINGS_RAW)["value"].sort().to_list() == [float(number) for number in numbers]
    assert_accounted(lake)
