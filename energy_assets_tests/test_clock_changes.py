"""The days on which clocks change, through the whole graph: 23 or 25 slots, each forecast and priced once."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from energy_assets import contracts
from energy_assets.contracts import Window
from energy_assets.lake import Lake
from energy_assets.settings import Settings
from energy_assets_tests.test_end_to_end import energy

pytestmark = pytest.mark.slow

ZONE = ZoneInfo("Europe/Berlin")
_MAPPING = """
layout = "long"
[time]
columns = ["local_time"]
zone = "Europe/Berlin"
[[values]]
column = "kwh"
meter = "{source}.{meter}.electricity"
[meters]
unit = "kWh"
interval_minutes = 60
[site]
timezone = "Europe/Berlin"
country_code = "DE"
latitude = 52.5
longitude = 13.4
"""


def write_readings(folder: Path, *, first: date, last: date) -> int:
    """Write three meters that follow the local clock, with its offset in each stamp; return the hours of one."""
    start, end = (datetime.combine(day, datetime.min.time(), tzinfo=UTC) for day in (first, last + timedelta(days=1)))
    hours = [start + timedelta(hours=hour) for hour in range(int((end - start).total_seconds() // 3600))]
    lines = ["local_time,meter,kwh"]
    for at in hours:
        local = at.astimezone(ZONE)
        for meter in (1, 2, 3):
            kwh = meter * (2 + math.sin(2 * math.pi * local.hour / 24)) + 0.01 * local.day
            lines.append(f"{local.isoformat()},{meter},{kwh:.3f}")
    (folder / "readings.csv").write_text("\n".join(lines) + "\n")
    (folder / "mapping.toml").write_text(_MAPPING)
    return len(hours)


@pytest.mark.parametrize(
    ("delivery", "slots", "days"),
    [
        pytest.param(date(2026, 3, 29), 23, 35, id="an hour is skipped"),
        # Too few days for a model: the lower rungs count slots as well.
        pytest.param(date(2026, 10, 25), 25, 12, id="an hour is repeated"),
    ],
)
def test_a_delivery_day_has_its_own_number_of_slots(tmp_path: Path, delivery: date, slots: int, days: int) -> None:
    today = delivery - timedelta(days=1)
    # Readings go beyond the clock change, as a later night would have them.
    first, last = today - timedelta(days=days), delivery + timedelta(days=1)
    hours = write_readings(tmp_path, first=first, last=last)
    for words in (
        [
            "ingest",
            "table",
            str(tmp_path / "readings.csv"),
            "--mapping",
            str(tmp_path / "mapping.toml"),
            "--name",
            "de",
        ],
        ["backfill", first.isoformat(), "--today", today.isoformat()],
    ):
        done = energy(tmp_path, *words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lake = Lake.from_settings(Settings(home=tmp_path))
    try:
        account = lake.read(contracts.READINGS_LANDINGS)
        # Each stamp of the repeated hour carries its own offset: none is lost, none is doubled.
        assert account["stored"].sum() == account["rows_in"].sum() == 3 * hours
        issued = Window.of_days(today)
        rows = lake.read(contracts.FORECASTS_LOAD, issued).filter(pl.col("node_kind") == "meter")
        local = rows.with_columns(pl.col("starts_at_utc").dt.convert_time_zone("Europe/Berlin").dt.date().alias("day"))
        delivered = local.filter(pl.col("day") == delivery).group_by("node_id").agg(pl.col("starts_at_utc").n_unique())
        assert delivered["starts_at_utc"].to_list() == [slots] * 3
        curve = lake.read(contracts.PRICES_CURVES, where={"delivery_date": delivery})
        assert curve["starts_at_utc"].n_unique() == curve.height == slots
    finally:
        lake.close()
