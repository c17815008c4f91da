"""Messages through the graph: the sensor asks for waiting segments, the asset lands them, late days are cleaned."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from energy_assets.contracts import READINGS_INTERVAL, READINGS_RAW, READINGS_SEGMENTS
from energy_assets.defs import message_sensor
from energy_assets.defs.jobs import PARTITION_RANGE_END, PARTITION_RANGE_START, changed_readings
from energy_assets.defs.message_sensor import SECOND_TRY_AFTER_S, new_segments
from energy_assets.defs.readings import interval_readings, landed_segments
from energy_assets.lake import Lake
from energy_assets.message_landing import land_segments, pending_segments
from energy_assets.messaging.health import Counters, Health, health_path, write_health
from energy_assets.messaging.segments import Record
from energy_assets.readings.source import Source, save_source
from energy_assets.settings import Settings
from energy_assets_tests.messaging.brokers import Mosquitto, needs_mosquitto
from energy_assets_tests.messaging.publishing import Publisher
from energy_assets_tests.messaging.recording import RecorderProcess, await_numbers
from energy_assets_tests.messaging.spooling import record, write_segment
from energy_assets_tests.messaging.test_message_landing import KILLED, assert_accounted

DAY = date(2026, 11, 18)
MAPPING = """[[messages]]
topic = "m/{meter}"
meter = "{source}.{meter}.electricity"
value = "$.v"
time = "$.t"
measure = "interval_energy"
unit = "kWh"
interval_minutes = 15
"""


class Platform:
    """A home with a spool and a source that reads it."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.lake = Lake.from_settings(self.settings)
        self.spool = home / "spool"
        self.spool.mkdir()
        (home / "m.toml").write_text(MAPPING)
        self.source = Source(name="s", kind="mqtt", path=self.spool, mapping=home / "m.toml")
        save_source(self.settings.sources_folder, self.source)
        self.cursors: dict[str, str | None] = {}

    def ask(self, sensor: dg.SensorDefinition) -> dg.SensorExecutionData:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(
                instance=instance,
                cursor=self.cursors.get(sensor.name),
                resources={"lake": self.lake, "settings": self.settings},
            )
            asked = sensor.evaluate_tick(context)
        self.cursors[sensor.name] = asked.cursor
        return asked

    def materialize(self, asset: dg.AssetsDefinition, *days: date) -> dg.ExecuteInProcessResult:
        tags = {PARTITION_RANGE_START: str(days[0]), PARTITION_RANGE_END: str(days[-1])} if days else {}
        return dg.materialize([asset], tags=tags, resources={"lake": self.lake, "settings": self.settings})


def day_of(day: date, *, first: int, slots: range, kwh: float = 0.25) -> list[Record]:
    """Return a message for each quarter of an hour of a day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return [
        record(first + number, "m/home", {"v": kwh, "t": (start + timedelta(minutes=15 * slot)).isoformat()})
        for number, slot in enumerate(slots)
    ]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


def test_waiting_segments_are_landed_and_late_ones_clean_just_their_day(platform: Platform) -> None:
    assert "no segment waits" in str(platform.ask(new_segments).skip_message)
    days = [DAY + timedelta(number) for number in range(3)]
    for number, day in enumerate(days):
        slots = range(96) if number else range(90)
        write_segment(platform.spool, day_of(day, first=number * 1000, slots=slots))
    asked = platform.ask(new_segments)
    assert not asked.run_requests
    landed, checked = asked.asset_events
    assert isinstance(landed, dg.AssetMaterialization)
    assert isinstance(checked, dg.AssetCheckEvaluation)
    assert landed.metadata["dagster/row_count"].value == 90 + 96 + 96
    assert (checked.asset_key, checked.passed) == (dg.AssetKey(READINGS_SEGMENTS.asset_key), True)
    assert "no segment waits" in str(platform.ask(new_segments).skip_message)

    platform.materialize(interval_readings, days[0], days[-1])
    assert platform.ask(changed_readings).run_requests == []
    write_segment(platform.spool, day_of(DAY, first=5000, slots=range(90, 96)))
    platform.materialize(landed_segments)
    spans = [dict(request.tags) for request in platform.ask(changed_readings).run_requests or []]
    assert [(span[PARTITION_RANGE_START], span[PARTITION_RANGE_END]) for span in spans] == [(str(DAY), str(DAY))]
    platform.materialize(interval_readings, DAY)
    assert platform.lake.read(READINGS_INTERVAL)["energy_kwh"].sum() == pytest.approx(3 * 96 * 0.25)


@pytest.mark.parametrize("limit", ["LANDED_HERE_BYTES", "LANDED_HERE_SEGMENTS"])
def test_many_segments_are_landed_by_a_run(platform: Platform, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(message_sensor, limit, 1)
    for number in range(2):
        write_segment(platform.spool, day_of(DAY, first=number * 1000, slots=range(4)))
    asked = platform.ask(new_segments)
    assert (len(asked.run_requests or []), asked.asset_events) == (1, [])
    assert "second try" in str(platform.ask(new_segments).skip_message)
    landed = platform.materialize(landed_segments).asset_materializations_for_node("readings__segments")[0].metadata
    assert landed["rows_in"].value == 8
    assert "no segment waits" in str(platform.ask(new_segments).skip_message)


def test_what_recorders_count_is_metadata_of_a_landing(platform: Platform) -> None:
    write_segment(platform.spool, day_of(DAY, first=0, slots=range(4)))
    for name, lag_ms in (("one", 2.5), ("two", 4.0)):
        counters = Counters(received=9, stored=8, batches=3, duplicates_flagged=2, payload_bytes=700, stored_bytes=300)
        health = Health(
            client_id=name, broker="b", filters=("#",), process_id=1, started_at_utc="", counters=counters, pending=1
        )
        health.lag_ms, health.lag_max_ms = lag_ms, 2 * lag_ms
        write_health(health_path(platform.spool, name), health)
    expected = {"received": 18, "stored": 16, "batches": 6, "duplicates_flagged": 4, "pending": 2}
    expected |= {"payload_bytes": 1400, "stored_bytes": 600, "lag_ms": 4.0, "lag_max_ms": 8.0}
    by_sensor = platform.ask(new_segments).asset_events[0].metadata
    by_run = platform.materialize(landed_segments).asset_materializations_for_node("readings__segments")[0].metadata
    for told in (by_sensor, by_run):
        figures = {name.removeprefix("recorder_"): told[name].value for name in told if name.startswith("recorder_")}
        assert figures == expected
        assert [each["client_id"] for each in told["recorders"].data] == ["one", "two"]
    assert (by_sensor["rows_in"].value, by_run["rows_in"].value) == (4, 0)


@pytest.mark.parametrize("damage", [lambda content: b"no zstd" + content, lambda content: content[:-2]])
def test_a_landing_that_left_segments_is_tried_again_after_a_while(
    platform: Platform, damage: Callable[[bytes], bytes]
) -> None:
    path = write_segment(platform.spool, day_of(DAY, first=0, slots=range(4)))
    path.write_bytes(damage(path.read_bytes()))
    assert platform.ask(new_segments).run_requests
    assert not platform.ask(new_segments).run_requests
    cursor = str(platform.cursors["new_segments"])
    at_s = float(cursor.split('"at_s": ')[1].rstrip("}"))
    platform.cursors["new_segments"] = cursor.replace(str(at_s), str(at_s - SECOND_TRY_AFTER_S))
    assert platform.ask(new_segments).run_requests


def test_today_waits_for_its_partition(platform: Platform) -> None:
    today = datetime.now(UTC).date()
    write_segment(platform.spool, day_of(DAY, first=0, slots=range(4)))
    platform.materialize(landed_segments)
    platform.ask(changed_readings)
    write_segment(platform.spool, day_of(today, first=1000, slots=range(1)))
    platform.materialize(landed_segments)
    assert platform.ask(changed_readings).run_requests == []


def quarter_message(number: int) -> tuple[str, bytes]:
    """Return the message of a meter's quarter of an hour; each number is another one."""
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=15 * (number // 7))
    return f"m/home{number % 7}", b'{"v":%d,"t":"%s","number":%d}' % (number % 5 + 1, at.isoformat().encode(), number)


@needs_mosquitto
def test_energy_is_exact_after_the_recorder_and_the_landing_were_killed(platform: Platform, tmp_path: Path) -> None:
    """Published = stored = measured, through kills of the recorder and of the landing at each of its points."""
    messages = 7 * 96 * 10
    with Mosquitto(tmp_path / "broker") as broker, RecorderProcess(platform.spool, broker.port) as recorder:
        recorder.await_recording()
        publisher = Publisher(broker.port, per_s=2_000, message=quarter_message)
        thread = threading.Thread(target=publisher.run, args=(0, messages - 1), kwargs={"within_s": 60})
        thread.start()
        while thread.is_alive() and recorder.health() is not None:
            thread.join(1.2)
            recorder.stop(signal.SIGKILL)
            recorder.start()
            recorder.await_recording()
        thread.join()
        found = await_numbers(platform.spool, set(range(messages)), within_s=30)
        recorder.stop(signal.SIGTERM)
    assert set(found) == set(range(messages))
    arguments = [str(tmp_path), str(platform.spool), str(tmp_path / "m.toml")]
    script = KILLED.replace("sqlite:{home}/catalog.sqlite", "sqlite:{home}/lake/catalog.sqlite").replace(
        "{home}/data", "{home}/lake/data"
    )
    for point in ("before", "within", "after"):
        done = subprocess.run(
            [sys.executable, "-c", script, point, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL or point == "after", done.stderr
    land_segments(platform.lake, platform.source, now=datetime.now(UTC))
    assert pending_segments(platform.lake, platform.source) == []
    assert_accounted(platform.lake)
    account = platform.lake.read(READINGS_SEGMENTS).select(pl.col("messages", "stored", "duplicate").sum()).row(0)
    assert account == (found.total(), messages, found.total() - messages)
    assert platform.lake.count(READINGS_RAW) == messages
    platform.materialize(interval_readings, date(2026, 11, 1), date(2026, 11, 10))
    measured = platform.lake.read(READINGS_INTERVAL).filter(pl.col("reported_kwh").is_not_null())
    assert measured.height == messages
    assert measured["reported_kwh"].sum() == pytest.approx(sum(number % 5 + 1 for number in range(messages)))
