"""No feature sees what became known after its issue; the search for such a feature finds every one that is planted."""

from collections.abc import Callable
from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import WEATHER_FORECAST, WEATHER_OBSERVED
from energy_assets.features.matrix import FEATURES, Horizon, build_features
from energy_assets.weather.as_known import as_known
from energy_assets_tests.features.frames import (
    START,
    meters,
    office_week,
    premises,
    readings_of,
    sites,
    sunny,
    weather_of,
)

ISSUE = START + timedelta(days=45, hours=9)
DAYS = 50
Change = Callable[[pl.DataFrame], pl.DataFrame]
LATER = pl.col("available_at_utc") > ISSUE
WATCHED = (*FEATURES, "scale_kwh")
AIR_C = np.repeat(np.random.default_rng(6).uniform(-3, 16, DAYS), 24) + np.tile(np.sin(np.arange(24) / 4), DAYS)
METERS = pl.concat([meters("a", "b"), meters("pv", direction="production")])
CHANGED = ("energy_kwh", "temperature_c", "cloud_cover_fraction", "wind_speed_ms", "global_horizontal_irradiance_w_m2")
NOT_IN_THIS_WORLD = {"dew_point_c", "relative_humidity_fraction", "is_school_holiday", "is_closed", "year_built"}


def known_worlds() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Readings and observed weather of which some come late, and forecasts of two issues, one of them too late."""
    readings = pl.concat(
        readings_of(values, meter_id=name)
        for name, values in {
            "a": office_week(DAYS, seed=0, level=5.0),
            "b": office_week(DAYS, seed=1, level=6.0) + 0.3 * np.maximum(13 - AIR_C, 0),
            "pv": sunny(DAYS, seed=2),
        }.items()
    )
    is_late = pl.col("starts_at_utc").dt.hour() == 5
    readings = readings.with_columns(
        available_at_utc=pl.when(is_late)
        .then(pl.col("available_at_utc") + timedelta(days=2))
        .otherwise("available_at_utc")
    )
    light = pl.Series(800 * sunny(DAYS, seed=2))
    seen = weather_of(DAYS, seed=4).with_columns(
        source=pl.lit("t"), temperature_c=pl.Series(AIR_C), global_horizontal_irradiance_w_m2=light
    )
    observed = WEATHER_OBSERVED.conform(
        seen.with_columns(
            available_at_utc=pl.col("starts_at_utc")
            + pl.when(is_late).then(timedelta(days=20)).otherwise(timedelta(hours=1))
        )
    )
    runs = [
        seen.filter(pl.col("starts_at_utc") >= at).with_columns(
            pl.col("temperature_c") + error, issued_at_utc=pl.lit(at), available_at_utc=pl.lit(at + timedelta(hours=2))
        )
        for at, error in ((ISSUE - timedelta(hours=9), 1.0), (ISSUE - timedelta(hours=1), 0.2))
    ]
    return readings, observed, WEATHER_FORECAST.conform(pl.concat(runs))


@cache
def features(later: Change) -> pl.DataFrame:
    """Features of the issue in a world in which `later` changes what became known after it."""
    readings, observed, forecast = (later(frame) for frame in known_worlds())
    weather = as_known(observed, forecast, issues=[ISSUE], horizon=timedelta(days=3))
    return built(readings, weather=weather, observed=observed)


def built(readings: pl.DataFrame, *, weather: pl.DataFrame, observed: pl.DataFrame) -> pl.DataFrame:
    return build_features(
        readings, meters=METERS, sites=sites(), premises=premises("a", "b", "pv"), weather=weather,
        issues=[ISSUE], horizon=Horizon.of_hours(24), observed=observed,
    )  # fmt: skip


def as_it_was(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def otherwise(frame: pl.DataFrame) -> pl.DataFrame:
    """Other energies and another sky in every row that was not yet known at the issue."""
    values = [name for name in CHANGED if name in frame.columns]
    return frame.with_columns(
        pl.when(LATER).then(1.0 - 0.5 * pl.col(name)).otherwise(name).alias(name) for name in values
    )


def seers(build: Callable[[Change], pl.DataFrame]) -> set[str]:
    """Return the features that differ between two worlds that differ only in what became known later."""
    one, other = build(as_it_was), build(otherwise)
    assert not one["energy_kwh"].equals(other["energy_kwh"])
    return {name for name in WATCHED if not one[name].fill_nan(None).equals(other[name].fill_nan(None))}


def test_no_feature_sees_what_became_known_later():
    rows = features(as_it_was)
    unknown = {name for name in WATCHED if not rows[name].is_finite().any()}
    assert unknown <= NOT_IN_THIS_WORLD | {name for name in WATCHED if name.startswith("analogue")}
    assert seers(features) == set()


@pytest.mark.parametrize(
    ("later", "seen_by"),
    [
        pytest.param(("energy_kwh",), {"degree_shift_kwh", "pv_expected_kwh", "pv_clear_sky_kwh"}, id="readings"),
        pytest.param(("temperature_c",), {"degree_shift_kwh", "pv_expected_kwh"}, id="temperature"),
        pytest.param(("global_horizontal_irradiance_w_m2",), {"pv_expected_kwh", "pv_shift_kwh"}, id="light"),
    ],
)
def test_what_is_fitted_answers_to_what_was_known(later: tuple[str, ...], seen_by: set[str]):
    """The search has teeth for fitted features too: other weeks before the fit, and they differ."""
    early = pl.col("starts_at_utc") < ISSUE - timedelta(days=9)

    def before(frame: pl.DataFrame) -> pl.DataFrame:
        names = [name for name in later if name in frame.columns]
        return frame.with_columns(
            pl.when(early).then(pl.col(name).shuffle(seed=1)).otherwise(name).alias(name) for name in names
        )

    one, other = features(as_it_was), features(before)
    assert seen_by <= {name for name in WATCHED if not one[name].fill_nan(None).equals(other[name].fill_nan(None))}


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
        return built(readings, weather=weather, observed=observed)

    assert {"temperature_c", "temperature_24h_mean_c", "cloud_cover_fraction"} <= seers(flattered)
