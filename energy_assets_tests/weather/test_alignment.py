"""Whether readings follow their weather at once: planted shifts, real loads, and the check of the graph."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import METERS, READINGS_INTERVAL, UTC_TIME, WEATHER_OBSERVED
from energy_assets.defs.readings import interval_readings, reading_clocks_fit
from energy_assets.lake import Lake
from energy_assets.settings import Settings
from energy_assets.weather.alignment import LARGEST_LAG_H, response_fit

FIRST = datetime(2026, 1, 5, tzinfo=UTC)


def made(*, days: int, late_h: int, response: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A load with its own schedule that answers the temperature, on a clock that is some hours late; and weather."""
    g = np.random.default_rng(5)
    hours = np.arange(days * 24)
    walk = np.convolve(g.normal(size=hours.size + 5), np.ones(6) / 2, mode="valid")
    temperature = 10 + 5 * np.sin((hours - 9) / 24 * 2 * np.pi) + walk
    schedule = 20 + 10 * ((hours % 24 > 7) & (hours % 24 < 18) & (hours // 24 % 7 < 5))
    kwh = np.roll(schedule - response * temperature + g.normal(size=hours.size), late_h)
    stamps = pl.Series([FIRST + timedelta(hours=int(hour)) for hour in hours], dtype=UTC_TIME)
    load = pl.DataFrame({"starts_at_utc": stamps, "energy_kwh": kwh})
    weather = pl.DataFrame({"starts_at_utc": stamps, "temperature_c": temperature})
    named = load.with_columns(site_id=pl.lit("a"), commodity=pl.lit("electricity"))
    return named, weather.with_columns(site_id=pl.lit("a"))


@pytest.mark.parametrize("late_h", [-8, -5, 0, 1, 7])
def test_a_clock_that_is_off_shows_by_how_many_hours(late_h: int) -> None:
    fit = response_fit(*made(days=60, late_h=late_h, response=1.0)).row(0, named=True)
    assert fit["hours_off"] == late_h
    assert fit["correlation"] < -0.6
    assert fit["days"] == 60


def test_a_load_that_does_not_follow_the_weather_and_a_short_one_are_not_judged() -> None:
    assert response_fit(*made(days=60, late_h=5, response=0.0)).is_empty()
    assert response_fit(*made(days=30, late_h=5, response=1.0)).is_empty()


@pytest.mark.parametrize("late_h", [0, 6])
def test_gas_and_electricity_of_cambridge_and_victoria_tell_their_clocks(late_h: int) -> None:
    folder = os.environ.get("ENERGY_ASSETS_REAL_DATA")
    if not folder:
        pytest.skip("ENERGY_ASSETS_REAL_DATA names no folder: the real data sets are not part of the project")
    weather = pl.read_parquet(Path(folder) / "cambridge_dev_weather_carbon.parquet").select(
        site_id=pl.lit("cambridge"), starts_at_utc="ts_utc", temperature_c="temp_c"
    )
    late = pl.duration(hours=late_h)
    load = (
        pl.read_parquet(Path(folder) / "cambridge_dev_meters.parquet")
        .group_by(commodity="meter", starts_at_utc=pl.col("ts_utc") + late)
        .agg(energy_kwh=pl.col("kwh").cast(pl.Float64).mean())
        .with_columns(site_id=pl.lit("cambridge"))
    )
    state = (
        pl.read_parquet(Path(folder) / "vic_elec_half_hourly.parquet")
        .group_by(starts_at_utc=pl.col("ts_utc").dt.truncate("1h"))
        .agg(energy_kwh=pl.col("demand_mwh_per_half_hour").sum() * 1000, temperature_c=pl.col("temp_c").mean())
        .with_columns(site_id=pl.lit("victoria"), commodity=pl.lit("electricity"))
    )
    judged = []
    for first in range(0, 640, 80):
        for loads, observed in ((load, weather), (state.with_columns(pl.col("starts_at_utc") + late), state)):
            begins = observed["starts_at_utc"].min() + timedelta(days=first)  # type: ignore[operator]
            during = pl.col("starts_at_utc").is_between(begins, begins + timedelta(days=90))
            judged.append(response_fit(loads.filter(during), observed.filter(during)))
    fit = pl.concat(judged)
    assert fit.height > 10
    assert fit.filter((pl.col("hours_off") - late_h).abs() > LARGEST_LAG_H).is_empty()
    if late_h:
        assert fit.filter(pl.col("hours_off").abs() > LARGEST_LAG_H).height > 0.8 * fit.height


@pytest.mark.parametrize(
    ("late_h", "told"),
    [
        pytest.param(0, "1 loads follow the weather clearly, all of them at once", id="fits"),
        pytest.param(6, "off: electricity of a by +6 h", id="six hours late"),
    ],
)
def test_the_graph_warns_of_readings_on_another_clock(tmp_path: Path, late_h: int, told: str) -> None:
    load, weather = made(days=60, late_h=late_h, response=1.0)
    settings = Settings(home=tmp_path)
    lake = Lake.from_settings(settings)
    meter = {
        "meter_id": ["a.1.electricity"],
        "premise_id": ["a.1"],
        "site_id": ["a"],
        "commodity": ["electricity"],
        "direction": ["consumption"],
        "measure": ["interval_energy"],
        "unit": ["kWh"],
        "interval_minutes": [60],
        "valid_from_utc": [FIRST],
        "source": ["a"],
    }
    lake.replace(METERS, METERS.conform(pl.DataFrame(meter)))
    rows = load.select(
        "starts_at_utc",
        "energy_kwh",
        meter_id=pl.lit("a.1.electricity"),
        interval_minutes=pl.lit(60),
        reported_kwh="energy_kwh",
        quality=pl.lit("measured"),
        available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1),
    )
    lake.replace(READINGS_INTERVAL, READINGS_INTERVAL.conform(rows))
    seen = weather.with_columns(source=pl.lit("a"), available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1))
    lake.replace(WEATHER_OBSERVED, WEATHER_OBSERVED.conform(seen))
    job = dg.define_asset_job("clocks", selection=dg.AssetSelection.checks(reading_clocks_fit))
    definitions = dg.Definitions(
        assets=[interval_readings],
        asset_checks=[reading_clocks_fit],
        jobs=[job],
        resources={"lake": lake, "settings": settings},
    )
    (found,) = definitions.resolve_job_def("clocks").execute_in_process().get_asset_check_evaluations()
    assert (found.passed, found.description) == (late_h == 0, told)
    assert found.severity == dg.AssetCheckSeverity.WARN
    lake.close()
