"""Derived quantities against published values, and clocks that fit their weather or do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.weather.alignment import LARGEST_FIT_H, clock_fit
from energy_assets.weather.derived import dew_point, relative_humidity, wind_chill, with_humidity


def one(expression: pl.Expr, **values: float) -> float:
    return float(pl.DataFrame({name: [value] for name, value in values.items()}).select(expression).item())


@pytest.mark.parametrize(
    ("temperature_c", "humidity", "dew_point_c"),
    [
        pytest.param(25.0, 0.5, 13.85, id="a warm room"),
        pytest.param(20.0, 1.0, 20.0, id="saturated"),
        pytest.param(-10.0, 0.7, -14.44, id="frost"),
    ],
)
def test_dew_point(temperature_c: float, humidity: float, dew_point_c: float) -> None:
    assert one(dew_point(pl.col("t"), pl.col("h")), t=temperature_c, h=humidity) == pytest.approx(dew_point_c, abs=0.05)


@given(st.floats(-40, 50), st.floats(0.02, 1))
def test_dew_point_and_humidity_undo_each_other(temperature_c: float, humidity: float) -> None:
    dew_point_c = one(dew_point(pl.col("t"), pl.col("h")), t=temperature_c, h=humidity)
    assert dew_point_c <= temperature_c + 1e-9
    back = one(relative_humidity(pl.col("t"), pl.col("d")), t=temperature_c, d=dew_point_c)
    assert back == pytest.approx(humidity, rel=1e-6)


@pytest.mark.parametrize(
    ("temperature_c", "wind_speed_ms", "expected_c"),
    [
        pytest.param(-10.0, 20 / 3.6, -17.9, id="the service's table: -10 at 20 km/h"),
        pytest.param(0.0, 40 / 3.6, -7.4, id="0 at 40 km/h"),
        pytest.param(15.0, 10.0, 15.0, id="too warm"),
        pytest.param(-5.0, 1.0, -5.0, id="too calm"),
    ],
)
def test_wind_chill(temperature_c: float, wind_speed_ms: float, expected_c: float) -> None:
    assert one(wind_chill(pl.col("t"), pl.col("v")), t=temperature_c, v=wind_speed_ms) == pytest.approx(
        expected_c, abs=0.06
    )


def test_what_is_known_is_never_replaced() -> None:
    frame = pl.DataFrame(
        {
            "temperature_c": [20.0, 20.0, None],
            "dew_point_c": [None, 3.0, None],
            "relative_humidity_fraction": [1.0, None, 0.4],
        }
    )
    filled = with_humidity(frame)
    assert filled["dew_point_c"].to_list() == [pytest.approx(20.0), 3.0, None]
    assert filled["relative_humidity_fraction"].to_list() == [1.0, pytest.approx(0.3238, abs=1e-3), 0.4]


def weather_at(longitude: float, *, shifted_h: int = 0, days: int = 30) -> pl.DataFrame:
    """A site whose temperature peaks at 14:42 by its sun, written on a clock that is off by some hours."""
    import math

    start = datetime(2026, 5, 1, tzinfo=UTC)
    rows = []
    for hour in range(24 * days):
        solar = (hour + 0.5 + longitude / 15) % 24
        temperature = 12 + 6 * math.cos((solar - 14.7) / 24 * 2 * math.pi) + math.sin(hour / 90)
        rows.append(("s.main", start + timedelta(hours=hour + shifted_h), temperature))
    return pl.DataFrame(rows, schema=["site_id", "starts_at_utc", "temperature_c"], orient="row")


@pytest.mark.parametrize("shifted_h", [0, 5, -7, 12])
@pytest.mark.parametrize("longitude", [-122.0, 0.0, 7.85, 151.0])
def test_a_clock_that_is_off_shows_by_how_much(longitude: float, shifted_h: int) -> None:
    sites = pl.DataFrame({"site_id": ["s.main"], "timezone": ["UTC"], "longitude": [longitude]})
    fit = clock_fit(weather_at(longitude, shifted_h=shifted_h), sites).row(0, named=True)
    off = (fit["hours_off"] - shifted_h + 12) % 24 - 12
    assert abs(off) < 0.5
    assert (abs(fit["hours_off"]) > LARGEST_FIT_H) == (shifted_h != 0)


def test_without_coordinates_the_time_zone_stands_in_and_few_days_say_nothing() -> None:
    sites = pl.DataFrame(
        {"site_id": ["s.main"], "timezone": ["America/Los_Angeles"], "longitude": [None]},
        schema_overrides={"longitude": pl.Float64},
    )
    fit = clock_fit(weather_at(-120.0), sites).row(0, named=True)
    assert abs(fit["hours_off"]) < 0.5
    assert clock_fit(weather_at(-120.0, days=10), sites).is_empty()
