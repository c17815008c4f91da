"""On real ASHRAE meters: injected faults are found and named, and months without them keep to the budget."""

import os
from pathlib import Path

import polars as pl
import pytest

from energy_assets.anomalies.detect import detect

FOLDER = os.environ.get("ENERGY_ASSETS_REAL_DATA")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="ENERGY_ASSETS_REAL_DATA does not name a folder of real data")
SITE_0 = (39, 56, 75, 77, 82)


def real() -> pl.DataFrame:
    rows = pl.read_parquet(Path(str(FOLDER)) / "ashrae_elec_2016.parquet").filter(pl.col("building_id").is_in(SITE_0))
    return rows.select(
        meter_id=pl.format("ashrae.{}.electricity", "building_id"),
        starts_at_utc=pl.col("ts_local").dt.replace_time_zone("UTC"),
        energy_kwh=pl.col("meter_reading") * 0.2931,
    )


def between(meter: int, first: str, hours: int) -> pl.Expr:
    start = pl.lit(first).str.to_datetime("%Y-%m-%dT%H:%M").dt.replace_time_zone("UTC")
    since = pl.col("starts_at_utc") - start
    return (pl.col("meter_id") == f"ashrae.{meter}.electricity") & (since >= pl.duration(hours=0)) & (
        since < pl.duration(hours=hours)
    )  # fmt: skip


def test_injected_faults_are_found_and_named() -> None:
    kwh = pl.col("energy_kwh")
    rows = real().with_columns(
        pl.when(between(39, "2016-11-08T10:00", 7)).then(0.0)
        .when(between(56, "2016-11-09T15:00", 1)).then(kwh * 9)
        .when(between(75, "2016-11-10T03:00", 30)).then(kwh.median())
        .when(between(77, "2016-11-15T00:00", 48)).then(kwh * 3.412)
        .when(between(82, "2016-11-07T00:00", 24 * 14)).then(kwh * 1.5)
        .otherwise(kwh).alias("energy_kwh")
    )  # fmt: skip
    found = detect(rows, country_code="US")
    alerts = found.events.filter("is_alert")
    named = {
        (row["meter_id"].split(".")[1], row["cause"]) for row in alerts.drop_nulls("meter_id").iter_rows(named=True)
    }
    assert {("39", "zero_run"), ("56", "spike"), ("75", "stuck"), ("77", "unit_shift"), ("82", "level_change")} <= named


def test_months_without_injected_faults_stay_within_the_budget() -> None:
    found = detect(real(), country_code="US")
    months = found.scores.height / 24 / 30
    assert found.events.filter("is_alert").height / months < 2
