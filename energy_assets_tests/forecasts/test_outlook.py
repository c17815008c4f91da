"""The outlook of 90 days: days and totals by hand, the season of a year ago, and intervals that hold."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.errors import ContractError
from energy_assets.forecasts.outlook import daily_energy, outlook
from energy_assets_tests.forecasts.own_files import inputs_of, wave

FIRST = date(2023, 1, 2)  # a Monday
REAL = "ENERGY_ASSETS_REAL_DATA"


def daily(values: np.ndarray, meter: str = "a") -> pl.DataFrame:
    days = [FIRST + timedelta(days=number) for number in range(len(values))]
    return pl.DataFrame({"meter_id": [meter] * len(values), "local_date": days, "energy_kwh": values})


def test_days_of_a_meter_are_sums_of_its_local_days(tmp_path: Path):
    """New York's 9 March 2025 has 23 hours; an unknown tenth of a day is scaled up, more leaves the day unknown."""
    start = datetime(2025, 3, 8, 5, tzinfo=UTC)
    hourly = wave("a", days=4, start=start).with_columns(energy_kwh=pl.lit(1.0))
    lost = hourly.filter(~pl.col("starts_at_utc").is_between(start + timedelta(hours=50), start + timedelta(hours=51)))
    lost = lost.filter(pl.col("starts_at_utc") < start + timedelta(hours=80))
    inputs = inputs_of(tmp_path, lost, meters=pl.DataFrame({"meter_id": ["a"], "timezone": ["America/New_York"]}))
    found = daily_energy(inputs.readings, meters=inputs.meters, sites=inputs.sites)
    assert found["local_date"].to_list() == [date(2025, 3, day) for day in (8, 9, 10, 11)]
    assert found["energy_kwh"].to_list() == [24.0, 23.0, pytest.approx(24.0), None]


def test_a_week_that_repeats_goes_on():
    """Workdays of 10 and weekends of 4 kWh without noise: the next days are those, the next 30 days their sum."""
    values = np.where(np.arange(140) % 7 < 5, 10.0, 4.0)
    found = outlook(daily(values), first_day=FIRST + timedelta(days=140), days=30)
    assert found.days["q50"].to_list()[:7] == pytest.approx([10, 10, 10, 10, 10, 4, 4], rel=0.08)
    # 30 days from a Monday are 22 workdays and 8 days of weekends.
    assert found.totals.filter(days=30)["q50"].item() == pytest.approx(22 * 10 + 8 * 4, rel=0.03)
    assert found.totals["days"].to_list() == [7, 30]


def test_the_season_of_a_year_ago_moves_the_level():
    """Energy rises by half from summer to winter; a meter that knows last winter foresees this one, and so its peer."""
    days = np.arange(640)
    season = 10 - 3 * np.cos((days - 15) / 365 * 2 * np.pi)
    own = daily(season)
    peer = daily(2 * season, meter="b").filter(pl.col("local_date") >= FIRST + timedelta(days=300))
    found = outlook(pl.concat([own, peer]), first_day=FIRST + timedelta(days=640))
    truth = 10 - 3 * np.cos((np.arange(640, 730) - 15) / 365 * 2 * np.pi)
    of_own = found.days.filter(meter_id="a")["q50"].to_numpy()
    assert np.abs(of_own / truth - 1).mean() < 0.13
    assert np.abs(season[639] / truth - 1).mean() > 0.25
    assert np.abs(found.days.filter(meter_id="b")["q50"].to_numpy() / (2 * truth) - 1).mean() < 0.13


def test_what_came_later_changes_nothing():
    values = np.random.default_rng(1).lognormal(2, 0.2, 200)
    first = FIRST + timedelta(days=150)
    changed = np.where(np.arange(200) >= 150, values * 9, values)
    assert outlook(daily(changed), first_day=first).days.equals(outlook(daily(values), first_day=first).days)


def test_intervals_hold_and_totals_are_narrower_than_their_days():
    random = np.random.default_rng(5)
    meters = [daily(10 * random.lognormal(0, 0.2, 500), meter=f"m{number}") for number in range(30)]
    rows, first = pl.concat(meters), FIRST + timedelta(days=410)
    found = outlook(rows, first_day=first)
    compared = found.days.join(rows, on=["meter_id", "local_date"])
    assert compared.height == 30 * 90
    assert compared.select(pl.col("energy_kwh").is_between("q10", "q90").mean()).item() == pytest.approx(0.82, abs=0.07)
    total = found.totals.filter(days=90).select(((pl.col("q90") - pl.col("q10")) / pl.col("q50")).mean()).item()
    day = found.days.select(((pl.col("q90") - pl.col("q10")) / pl.col("q50")).mean()).item()
    assert total < day / 2


def test_young_and_silent_meters_are_left_out_and_zeros_stay_zero():
    rows = pl.concat(
        [
            daily(np.full(60, 5.0), meter="a"),
            daily(np.full(60, 0.0), meter="zero"),
            daily(np.full(60, 5.0), meter="young").filter(pl.col("local_date") >= FIRST + timedelta(days=50)),
        ]
    )
    found = outlook(rows, first_day=FIRST + timedelta(days=60), days=10)
    assert set(found.days["meter_id"]) == {"a", "zero"}
    zeros = found.days.filter(meter_id="zero").select(QUANTILE_COLUMNS).to_numpy()
    assert (zeros == 0).all()
    assert (np.diff(found.days.select(QUANTILE_COLUMNS).to_numpy(), axis=1) >= 0).all()


@pytest.mark.parametrize("days", [0, 91])
def test_an_outlook_has_its_reach(days: int):
    with pytest.raises(ContractError, match="reaches 1 to 90 days"):
        outlook(daily(np.ones(60)), first_day=FIRST + timedelta(days=60), days=days)


@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no folder of real sets")
def test_on_real_buildings_it_beats_the_mean_of_four_weeks_and_its_intervals_hold():
    rows = pl.read_parquet(Path(os.environ[REAL]) / "cambridge_dev_meters.parquet").filter(meter="electricity")
    known = rows.filter(pl.col("kwh") > 0).with_columns(local_date=pl.col("ts_utc").dt.date())
    sums = known.group_by(meter_id=pl.col("building_id").cast(pl.String), local_date="local_date").agg(
        energy_kwh=pl.when(pl.len() >= 22).then(pl.col("kwh").sum().cast(pl.Float64))
    )
    first = date(2019, 9, 16)
    found = outlook(sums.sort("meter_id", "local_date"), first_day=first)
    before = sums.filter(pl.col("local_date").is_between(first - timedelta(days=28), first, closed="left"))
    level = before.group_by("meter_id").agg(level=pl.col("energy_kwh").mean())
    compared = found.days.join(sums.drop_nulls(), on=["meter_id", "local_date"]).join(level, on="meter_id")
    ours, theirs = (
        compared.select((pl.col(name) - pl.col("energy_kwh")).abs().sum()).item() for name in ("q50", "level")
    )
    assert ours < 0.8 * theirs
    assert compared.select(pl.col("energy_kwh").is_between("q10", "q90").mean()).item() == pytest.approx(0.8, abs=0.12)
