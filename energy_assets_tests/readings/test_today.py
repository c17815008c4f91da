"""The day that has not ended: by what was known at an instant, as the night has it, and stored nowhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import READINGS_INTERVAL, Window
from energy_assets.lake import Lake
from energy_assets.message_landing import land_segments
from energy_assets.publishing import publications
from energy_assets.readings.cleaning import interval_query
from energy_assets.readings.today import heard_query, today_query
from energy_assets.settings import Settings
from energy_assets_tests.messaging.spooling import record, spool_source, write_segment

DAY = datetime(2026, 11, 21, tzinfo=UTC)
START_S = -6 * 3600
"""Seconds from the recorder's first instant (06:00) to midnight."""

MAPPING = """[[messages]]
topic = "power/{meter}"
meter = "{source}.{meter}.consumption"
value = "$.kw"
time = "$.at"
measure = "power"
unit = "kW"
interval_minutes = 15
[[messages]]
topic = "register/{meter}"
meter = "{source}.{meter}.grid_import"
value = "$.kwh"
time = "$.at"
measure = "register"
unit = "kWh"
interval_minutes = 15
direction = "grid_import"
[[messages]]
topic = "daily/{meter}"
meter = "{source}.{meter}.consumption"
value = "$.kwh"
time = "$.at"
measure = "interval_energy"
unit = "kWh"
interval_minutes = 1440
"""


class Landed:
    """A lake that is told messages: topic, payload without its time, quarter of the day, and the second of arrival."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake.from_settings(Settings(home=folder / "home"))
        (folder / "m.toml").write_text(MAPPING)
        self._source = spool_source(folder / "spool", folder / "m.toml")
        self._sequence = 0

    def tell(self, messages: Sequence[tuple[str, dict[str, float], int]], *, at: datetime, again: bool = False) -> None:
        records = []
        for topic, content, quarter in messages:
            payload = json.dumps(content | {"at": (DAY + quarter * timedelta(minutes=15)).isoformat()})
            arrived_s = (at - DAY) / timedelta(seconds=1) + START_S
            records.append(record(self._sequence, topic, payload, at_s=arrived_s, duplicate=again))
            self._sequence += 1
        write_segment(self._source.path, records)
        land_segments(self.lake, self._source, now=at)

    def today(self, now: datetime) -> dict[tuple[str, str], tuple[float, str, float]]:
        heard = self.lake.query(heard_query(now))["meter_id"].to_list()
        rows = self.lake.query(today_query(now, meters=heard)).iter_rows(named=True)
        return {
            (row["premise_id"], row["flow"]): (
                pytest.approx(row["energy_kwh"]),
                f"{row['until_utc']:%H:%M}",
                pytest.approx(row["coverage_fraction"]),
            )
            for row in rows
        }


def quarters(
    topic: str, key: str, values: Sequence[float], *, first: int = 0
) -> list[tuple[str, dict[str, float], int]]:
    return [(topic, {key: value}, first + place) for place, value in enumerate(values)]


def test_only_ended_intervals_count_and_a_register_knows_the_last_when_it_speaks_again(tmp_path: Path) -> None:
    landed = Landed(tmp_path)
    noon = DAY + timedelta(hours=12, minutes=5)
    landed.tell(quarters("power/a", "kw", [2.0] * 49), at=noon)  # the 49th quarter, from 12:00, has not ended
    landed.tell(quarters("register/b", "kwh", [100 + 0.5 * quarter for quarter in range(48)]), at=noon)  # till 11:45
    landed.tell(quarters("daily/c", "kwh", [9.0]), at=noon)
    assert landed.today(noon) == {
        ("s.a", "consumption"): (24.0, "12:00", 1.0),  # 48 quarters of 2 kW
        ("s.b", "consumption"): (23.5, "11:45", 47 / 48),
    }
    landed.lake.close()


def test_late_messages_count_at_once_and_repeated_ones_never(tmp_path: Path) -> None:
    landed = Landed(tmp_path)
    morning, later = DAY + timedelta(hours=3, minutes=1), DAY + timedelta(hours=3, minutes=20)
    first = quarters("power/a", "kw", [4.0] * 6) + quarters("power/a", "kw", [4.0] * 4, first=8)
    landed.tell(first, at=morning)
    assert landed.today(morning) == {("s.a", "consumption"): (10.0, "03:00", 10 / 12)}
    landed.tell(first, at=morning, again=True)
    assert landed.today(morning) == {("s.a", "consumption"): (10.0, "03:00", 10 / 12)}
    landed.tell(quarters("power/a", "kw", [4.0] * 2, first=6), at=later)
    assert landed.today(later) == {("s.a", "consumption"): (12.0, "03:00", 12 / 13)}
    # By what was known in the morning it is what it was then.
    assert landed.today(morning) == {("s.a", "consumption"): (10.0, "03:00", 10 / 12)}
    landed.lake.close()


def test_what_was_said_of_today_is_what_the_night_says_of_it(tmp_path: Path) -> None:
    landed = Landed(tmp_path)
    evening = DAY + timedelta(hours=20)
    landed.tell(quarters("power/a", "kw", [1 + quarter / 7 for quarter in range(80)]), at=evening)
    landed.tell(quarters("register/b", "kwh", [50 + quarter * quarter / 99 for quarter in range(81)]), at=evening)
    said = landed.today(evening)
    night, whole = DAY + timedelta(days=1, hours=1), Window(starts_at_utc=DAY, ends_at_utc=DAY + timedelta(days=1))
    landed.tell(quarters("power/a", "kw", [3.0] * 16, first=80), at=night)
    landed.tell(quarters("register/b", "kwh", [130.0] * 17, first=81), at=night)
    landed.lake.replace(READINGS_INTERVAL, interval_query(whole), window=whole)
    alone = landed.lake.query(interval_query(whole, meters=["s.b.grid_import"]))
    among_others = landed.lake.read(READINGS_INTERVAL, where={"meter_id": "s.b.grid_import"})
    assert READINGS_INTERVAL.conform(alone).sort("starts_at_utc").equals(among_others.sort("starts_at_utc"))
    until_evening = Window(starts_at_utc=DAY, ends_at_utc=evening)
    cleaned = landed.lake.read(READINGS_INTERVAL, until_evening).group_by("meter_id").agg(pl.col("energy_kwh").sum())
    energy = dict(cleaned.iter_rows())
    assert said[("s.a", "consumption")][0] == energy["s.a.consumption"]
    assert said[("s.b", "consumption")][0] == energy["s.b.grid_import"]
    landed.lake.close()


def test_it_is_published_beside_the_whole_days_and_stored_nowhere(tmp_path: Path) -> None:
    landed = Landed(tmp_path)
    at = DAY + timedelta(hours=1, seconds=30)
    assert list(publications(landed.lake, now=at)) == []
    landed.tell(quarters("power/a", "kw", [1.0, 3.0]), at=at)
    (one,) = publications(landed.lake, now=at)
    assert one.topic == "energy/s.a/consumption/today"
    assert json.loads(one.payload) == {
        "day": "2026-11-21T00:00:00Z",
        "until": "2026-11-21T00:30:00Z",
        "unit": "kWh",
        "consumption": 1.0,
        "coverage": 0.5,
    }
    assert landed.lake.count(READINGS_INTERVAL) == 0
    assert list(publications(landed.lake, now=at + timedelta(days=1))) == []
    landed.lake.close()
