"""The rung without a model: worked by hand where few days are known, and held to its band on real meters."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import QUANTILE_COLUMNS, READINGS_INTERVAL
from energy_assets.features.matrix import Horizon, build_features
from energy_assets.forecasts.analogues import USED, analogue_quantiles
from energy_assets_tests.features.frames import START, meters, premises, readings_of, sites

REAL = "ENERGY_ASSETS_REAL_DATA"


def rows_of(**known: float) -> pl.DataFrame:
    """One slot of one meter on a workday; what is not given is unknown."""
    values = {name: [known.get(name, float("nan"))] for name in USED} | {"day_kind": [known.get("day_kind", 0.0)]}
    return pl.DataFrame({"meter_id": ["a"], "issued_at_utc": [START], "starts_at_utc": [START], **values}).with_columns(
        pl.col(USED).cast(pl.Float32)
    )


@pytest.mark.parametrize(
    ("known", "median"),
    [
        # Three quarters of the mean of such days and one of the latest of them.
        pytest.param({"kind_mean_kwh": 8.0, "kind_latest_kwh": 12.0, "kind_std_kwh": 1.0}, 9.0, id="days-of-its-kind"),
        pytest.param({"days_7_mean_kwh": 5.0, "days_28_std_kwh": 1.0, "latest_1_kwh": 4.0}, 5.0, id="other-days-only"),
        pytest.param({"analogue_q50_kwh": 7.0, "analogue_q10_kwh": 6.0, "analogue_q90_kwh": 9.0}, 7.0, id="a-year-ago"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_median_comes_from_the_nearest_days_there_are(known: dict[str, float], median: float | None):
    found = analogue_quantiles(rows_of(**known))["q50"].item()
    assert found == (None if median is None else pytest.approx(median))


def test_spread_by_hand():
    """Four weeks are 20 workdays: their variance by 20/19, the same in the pool, by 22/21 for the mean."""
    lags = {f"lag_{7 * week}d_kwh": 10.0 for week in range(1, 5)} | {f"latest_{n}_kwh": 10.0 for n in (1, 2, 3)}
    found = analogue_quantiles(rows_of(kind_mean_kwh=10.0, kind_latest_kwh=10.0, kind_std_kwh=2.0, **lags))
    variance = 4 * 20 / 19 * (1 + 1 / 21)
    assert found["q90"].item() - 10 == pytest.approx(1.2815516 * variance**0.5, rel=1e-5)


def test_the_fewer_and_the_older_the_days_the_wider_the_band():
    """The same meter with four weeks, one week, three days, and with readings that ended four weeks ago."""
    names = [f"m{number}" for number in range(12)]
    noisy = {name: 10 * np.random.default_rng(seed).lognormal(0, 0.2, 24 * 60) for seed, name in enumerate(names)}
    issue = START + timedelta(days=59)

    def width(first: int, last: int) -> float:
        known = pl.concat(
            readings_of(values[24 * first : 24 * last], meter_id=name, start=START + timedelta(days=first))
            for name, values in noisy.items()
        )
        features = build_features(
            known, meters=meters(*names), sites=sites(), premises=premises(*names), weather=None,
            issues=[issue], horizon=Horizon.of_hours(24),
        )  # fmt: skip
        found = analogue_quantiles(features)
        return float(found.select((pl.col("q90") - pl.col("q10")).mean()).item())

    long, week, days, stale = width(17, 59), width(52, 59), width(56, 59), width(17, 31)
    assert long < week < days
    assert long < stale
    # 20 % of lognormal noise on 10 kWh: a band of 2 x 1.28 x 2 kWh.
    assert long == pytest.approx(5.1, rel=0.2)


def test_a_meter_that_never_changes_has_no_band():
    features = build_features(
        readings_of(np.full(24 * 40, 3.0), meter_id="a"), meters=meters("a"), sites=sites(), premises=premises("a"),
        weather=None, issues=[START + timedelta(days=39)], horizon=Horizon.of_hours(24),
    )  # fmt: skip
    assert analogue_quantiles(features).select(QUANTILE_COLUMNS).to_numpy() == pytest.approx(3.0, abs=1e-5)


@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no folder of real sets")
@pytest.mark.parametrize(
    ("silent_days", "tolerance"),
    [
        pytest.param(0, 0.05, id="fresh"),
        pytest.param(8, 0.05, id="silent for eight days"),
        pytest.param(30, 0.05, id="silent for thirty days"),
        pytest.param(38, 0.15, id="four days left of six weeks"),
    ],
)
def test_on_real_buildings_it_holds_its_band_and_beats_the_median_of_same_weekdays(
    *, silent_days: int, tolerance: float
):
    rows = pl.read_parquet(Path(os.environ[REAL]) / "cambridge_dev_meters.parquet")
    rows = rows.with_columns(pl.col("building_id").cast(pl.String), pl.col("kwh").cast(pl.Float64)).filter(
        pl.col("meter") == "electricity", pl.col("kwh") > 0, pl.col("ts_utc") > pl.datetime(2019, 1, 1)
    )
    names = rows["building_id"].unique().sort().to_list()
    starts = pl.col("ts_utc").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    readings = READINGS_INTERVAL.conform(
        rows.select(
            meter_id="building_id", starts_at_utc=starts, interval_minutes=60, quality=pl.lit("measured"),
            energy_kwh="kwh", available_at_utc=starts + timedelta(days=silent_days, hours=1),
        )
    )  # fmt: skip
    issues = [datetime(2019, 3, 1, tzinfo=UTC) + timedelta(days=11 * number) for number in range(20)]
    features = build_features(
        readings, meters=meters(*names), sites=sites(), premises=premises(*names), weather=None, issues=issues,
        horizon=Horizon.of_hours(24),
    ).filter(pl.col("energy_kwh").is_finite())  # fmt: skip
    beside = features.select("energy_kwh", "analogue_q50_kwh")
    told = features.with_columns(days_since_reading=pl.lit(silent_days))
    found = analogue_quantiles(told).hstack(beside).drop_nulls()
    assert found.height > 0.95 * features.height
    covered = found.select(pl.col("energy_kwh").is_between("q10", "q90").mean()).item()
    assert covered == pytest.approx(0.8, abs=tolerance)
    ours, theirs = (
        found.select((pl.col(name) - pl.col("energy_kwh")).abs().sum()).item() for name in ("q50", "analogue_q50_kwh")
    )
    if silent_days == 0:
        assert ours < 0.85 * theirs
