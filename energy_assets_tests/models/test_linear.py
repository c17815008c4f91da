"""The regression: when it tells hours apart, nonsense weather, and models and rows of before a regressor was known."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from energy_assets.models.design import learnable
from energy_assets.models.linear import fit_linear
from energy_assets_tests.models.worlds import office_features

LATER = ("pv_clear_sky_kwh", "pv_expected_kwh", "pv_shift_kwh", "degree_shift_kwh")


def test_older_models_and_older_rows_go_with_newer_ones():
    rows = learnable(office_features(days=18)).with_columns(degree_shift_kwh=pl.col("scale_kwh") * 0.3)
    newer = fit_linear(rows, has_weather=True, seed=1)
    assert newer.extent == "plain"  # nine issues are too few to tell
    older = dataclasses.replace(newer, coefficients=newer.coefficients[: -len(LATER)])
    stored_before = rows.drop(LATER)
    assert np.array_equal(older.predict(stored_before), older.predict(rows))
    nothing_said = rows.with_columns(pl.lit(np.nan, pl.Float32).alias(name) for name in LATER)
    assert np.array_equal(newer.predict(stored_before), newer.predict(nothing_said))
    assert not np.array_equal(newer.predict(rows), newer.predict(nothing_said))


NOON = pl.col("local_hour").is_between(11, 16)
CHANCE = pl.col("chance")
AS_BEFORE = pl.col("kind_mean_kwh") / pl.col("scale_kwh") - 1
WIND = pl.col("wind_speed_ms").pow(2) / 25
WARM = (pl.col("temperature_c") - 5).clip(0)
AT_NOON = pl.when(NOON).then(WARM * 0.1).otherwise(0)


def rows_with(*answers: pl.Expr) -> pl.DataFrame:
    """Forty days of a meter per answer in kWh, each row one unit of the meter without it."""
    rows = learnable(office_features(days=40, meter_count=len(answers)))
    chance, wind = np.random.default_rng(3).random((2, rows.height), dtype=np.float32)
    rows = rows.with_columns(chance=pl.Series(chance), wind_speed_ms=pl.Series(10 * wind))
    parts = [
        rows.filter(meter_id=f"m{index}").with_columns(energy_kwh=pl.col("scale_kwh") * (1 + answer))
        for index, answer in enumerate(answers)
    ]
    return learnable(pl.concat(parts))


@pytest.mark.parametrize(
    ("answers", "extent"),
    [
        pytest.param([AT_NOON], "hours", id="one meter, warm at noon"),
        pytest.param([pl.when(NOON).then(0.5).otherwise(0)] * 2, "hours", id="alike at noon"),
        pytest.param([AS_BEFORE + CHANCE - WIND], "sky", id="a turbine behind the meter"),
        pytest.param([AT_NOON + CHANCE - WIND], "hours_and_sky", id="a turbine, and warm at noon"),
        pytest.param([CHANCE], "plain", id="chance at all hours"),
    ],
)
def test_sky_and_hours_are_told_where_they_matter(answers, extent):
    assert fit_linear(rows_with(*answers), has_weather=True, seed=1).extent == extent


def test_weather_beyond_any_counts_as_the_hottest():
    rows = rows_with(AT_NOON)
    line = fit_linear(rows, has_weather=True, seed=1)
    hot, absurd = (rows.with_columns(temperature_c=pl.lit(value, pl.Float32)) for value in (58.0, 5000.0))
    assert np.array_equal(line.predict(hot), line.predict(absurd))
    assert not np.array_equal(line.predict(hot), line.predict(rows))
