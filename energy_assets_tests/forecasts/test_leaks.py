"""No feature sees what became known after its issue; the search for such a feature finds every one that is planted."""

from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest

from energy_assets.contracts import WEATHER_FORECAST, WEATHER_OBSERVED
from energy_assets.features.matrix import FEATURES, Horizon, build_features
from energy_assets.weather.as_known import as_known
from energy_assets_tests.features.frames import START, meters, office_week, premises, readings_of, sites, weather_of

ISSUE = START + timedelta(days=45, hours=9)
DAYS = 50
Change = Callable[[pl.DataFrame], pl.DataFrame]
LATER = pl.col("available_at_utc") > ISSUE
WATCHED = (*FEATURES, "scale_kwh")


def known_worlds() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Readings of which some come late, weather as observed, and forecasts of two issues, one of them too late."""
    readings = pl.concat(
        readings_of(office_week(DAYS, seed=n, level=5.0 + n), meter_id=name) for n, name in enumerate("ab")
    )
    is_late = pl.col("starts_at_utc").dt.hour() == 5
    readings = readings.with_columns(
        available_at_utc=pl.when(is_late)
        .then(pl.col("available_at_utc") + timedelta(days=2))
        .otherwise("available_at_utc")
    )
    seen = weather_of(DAYS, seed=4).with_columns(source=pl.lit("t"))
    observed = WEATHER_OBSERVED.conform(
        seen.with_columns(available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1))
    )
    runs = [
        seen.filter(pl.col("starts_at_utc") >= at).with_columns(
            pl.col("temperature_c") + error, issued_at_utc=pl.lit(at), available_at_utc=pl.lit(at + timedelta(hours=2))
        )
        for at, error in ((ISSUE - timedelta(hours=9), 1.0), (ISSUE - timedelta(hours=1), 0.2))
    ]
    return readings, observed, WEATHER_FORECAST.conform(pl.concat(runs))


def features(later: Change) -> pl.DataFrame:
    """Features of the issue in a world in which `later` changes what became known after it."""
    readings, observed, forecast = (later(frame) for frame in known_worlds())
    weather = as_known(observed, forecast, issues=[ISSUE], horizon=timedelta(days=3))
    return build_features(
        readings, meters=meters("a", "b"), sites=sites(), premises=premises("a", "b"), weather=weather,
        issues=[ISSUE], horizon=Horizon.of_hours(24),
    )  # fmt: skip


def otherwise(frame: pl.DataFrame) -> pl.DataFrame:
    """Other energies and another sky in every row that was not yet known at the issue."""
    values = [name for name in ("energy_kwh", "temperature_c", "cloud_cover_fraction") if name in frame.columns]
    return frame.with_columns(
        pl.when(LATER).then(1.0 - 0.5 * pl.col(name)).otherwise(name).alias(name) for name in values
    )


def seers(build: Callable[[Change], pl.DataFrame]) -> set[str]:
    """Return the features that differ between two worlds that differ only in what became known later."""
    one, other = build(lambda frame: frame), build(otherwise)
    assert not one["energy_kwh"].equals(other["energy_kwh"])
    return {name for name in WATCHED if not one[name].fill_nan(None).equals(other[name].fill_nan(None))}


def test_no_feature_sees_what_became_known_later():
    assert seers(features) == set()


@pytest.mark.parametrize("name", WATCHED)
def test_a_leak_planted_into_any_feature_is_found(name: str):
    """A thousandth of the target in one feature, and the search names just that feature."""

    def leaky(later: Change) -> pl.DataFrame:
        rows = features(later)
        return rows.with_columns((pl.col(name).fill_nan(0) + pl.col("energy_kwh") / 1000).cast(pl.Float32).alias(name))

    assert seers(leaky) == {name}


def test_weather_that_is_its_own_forecast_is_found():
    """Where the observation may stand for a forecast, the features of the weather see the future, and are named."""

    def flattered(later: Change) -> pl.DataFrame:
        readings, observed, forecast = (later(frame) for frame in known_worlds())
        weather = as_known(
            observed, forecast.clear(), issues=[ISSUE], horizon=timedelta(days=3), is_actual_allowed=True
        )
        return build_features(
            readings, meters=meters("a", "b"), sites=sites(), premises=premises("a", "b"), weather=weather,
            issues=[ISSUE], horizon=Horizon.of_hours(24),
        )  # fmt: skip

    assert {"temperature_c", "temperature_24h_mean_c", "cloud_cover_fraction"} <= seers(flattered)
