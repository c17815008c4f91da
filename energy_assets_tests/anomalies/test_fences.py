"""The interquartile fences of clusters: bounds worked by hand, all seven days, and no look into the window."""

from datetime import timedelta

import polars as pl
import pytest

from energy_assets.anomalies.fences import fence_flags
from energy_assets.contracts import PROFILES_METERS, READINGS_INTERVAL, Window
from energy_assets.defs.anomaly_days import fences
from energy_assets.lake import Lake
from energy_assets_tests.anomalies.meters import MONDAY, days_from, readings

# Five flat meters; relative to their own means each is 1 but on the days below.
DAYS = 28


def peers() -> pl.DataFrame:
    # Hour by hour the meters alternate week by week around 1: 0.9, 1.0, 1.0, 1.1 -> quartiles 0.975 and 1.025.
    weeks = [0.9, 1.0, 1.0, 1.1]
    values = [weeks[day // 7] for day in range(DAYS) for _ in range(24)]
    kwh = {f"m{n}": pl.Series([*(v * (n + 1) for v in values), *[float(n + 1)] * 24 * 7]).to_numpy() for n in range(5)}
    return readings({name: row.copy() for name, row in kwh.items()})


CLUSTERS = pl.DataFrame({"meter_id": [f"m{n}" for n in range(5)], "cluster_id": ["office"] * 5})


@pytest.mark.parametrize("day", range(DAYS, DAYS + 7))
def test_a_slot_outside_the_fence_is_flagged_on_every_weekday(day: int) -> None:
    # m2 has mean 3: fences 3 * (0.975 - 0.025) = 2.85 and 3 * (1.025 + 0.025) = 3.15; 1.1 is 0.075 / 0.05 = 1.5 out.
    at = MONDAY + pl.duration(days=day, hours=12)
    rows = peers().with_columns(
        energy_kwh=pl.when((pl.col("meter_id") == "m2") & (pl.col("starts_at_utc") == at))
        .then(3.3)
        .otherwise("energy_kwh")
    )
    flags = fence_flags(rows, clusters=CLUSTERS, window=days_from(day))
    assert flags.select("meter_id", "rule").rows() == [("m2", "iqr_fence")]
    assert flags["score"].item() == pytest.approx(1.5 / 2.5)
    assert "2.85 .. 3.15 kWh" in flags["reason"].item()


def test_a_wider_factor_and_a_small_cluster_flag_nothing() -> None:
    at = MONDAY + pl.duration(days=DAYS, hours=12)
    rows = peers().with_columns(
        energy_kwh=pl.when((pl.col("meter_id") == "m2") & (pl.col("starts_at_utc") == at))
        .then(3.3)
        .otherwise("energy_kwh")
    )
    assert fence_flags(rows, clusters=CLUSTERS, window=days_from(DAYS), factor=3).is_empty()
    assert fence_flags(rows, clusters=CLUSTERS.head(4), window=days_from(DAYS)).is_empty()


def test_the_hour_is_that_of_the_meters_clock() -> None:
    # At 12 UTC it is 14 o'clock in Berlin in April; another hour of the day is another fence.
    busy = pl.col("starts_at_utc").dt.hour().is_in([12, 13])
    rows = peers().with_columns(starts_at_utc=pl.col("starts_at_utc") + pl.duration(days=84))
    rows = rows.with_columns(energy_kwh=pl.when(busy).then(pl.col("energy_kwh") * 2).otherwise("energy_kwh"))
    window = Window.of_days((MONDAY + timedelta(days=84 + DAYS)).date())
    clocks = pl.DataFrame({"meter_id": ["m0"], "timezone": ["Europe/Berlin"]})
    late = fence_flags(rows, clusters=CLUSTERS, window=window, clocks=clocks, factor=3)
    assert fence_flags(rows, clusters=CLUSTERS, window=window, factor=3).is_empty()
    # m0's hours 12 and 13 UTC are 14 and 15 o'clock, where four of five meters are at half of that.
    assert set(late["meter_id"]) == {"m0"}
    assert set(late["starts_at_utc"].dt.hour()) >= {12, 13}


def test_the_lake_gives_fences_once_profiles_have_clusters(lake: Lake) -> None:
    at = MONDAY + pl.duration(days=DAYS, hours=12)
    is_odd = (pl.col("meter_id") == "m2") & (pl.col("starts_at_utc") == at)
    lake.replace(READINGS_INTERVAL, peers().with_columns(energy_kwh=pl.when(is_odd).then(3.3).otherwise("energy_kwh")))
    assert fences(lake, window=days_from(DAYS), factor=0.5).is_empty()
    members = CLUSTERS.with_columns(
        cluster_id=pl.lit("electricity.consumption.1"), site_id=pl.lit("s"), as_of_utc=pl.lit(MONDAY)
    )
    absent = [name for name in PROFILES_METERS.column_names if name not in members.columns]
    lake.replace(
        PROFILES_METERS, PROFILES_METERS.conform(members.with_columns(pl.lit(None).alias(name) for name in absent))
    )
    assert fences(lake, window=days_from(DAYS), factor=0.5).select("meter_id", "rule").rows() == [("m2", "iqr_fence")]
    assert fences(lake, window=days_from(DAYS), factor=3.0).is_empty()
