"""Quantities that follow from others: humidity from the dew point and back, and what wind makes of cold."""

from __future__ import annotations

import polars as pl

# Magnus' form with the coefficients of Alduchov and Eskridge (1996), within 0.4 % between -40 and 50 degrees.
_A, _B_C = 17.625, 243.04
_WIND_CHILL_UP_TO_C, _WIND_CHILL_FROM_MS = 10.0, 4.8 / 3.6


def relative_humidity(temperature_c: pl.Expr, dew_point_c: pl.Expr) -> pl.Expr:
    """Return the relative humidity (a share) of air with that temperature and dew point, by Magnus' formula."""
    return (_A * dew_point_c / (_B_C + dew_point_c) - _A * temperature_c / (_B_C + temperature_c)).exp()


def dew_point(temperature_c: pl.Expr, relative_humidity_fraction: pl.Expr) -> pl.Expr:
    """Return the dew point in degrees Celsius, by Magnus' formula; null where the air is quite dry."""
    share = pl.when(relative_humidity_fraction > 0).then(relative_humidity_fraction)
    gamma = share.log() + _A * temperature_c / (_B_C + temperature_c)
    return _B_C * gamma / (_A - gamma)


def wind_chill(temperature_c: pl.Expr, wind_speed_ms: pl.Expr) -> pl.Expr:
    """Return the wind chill in degrees Celsius (Osczevski and Bluestein 2005, as weather services publish it).

    Above 10 degrees or below 4.8 km/h it is the temperature itself.
    """
    power = (wind_speed_ms * 3.6).pow(0.16)
    chill = 13.12 + 0.6215 * temperature_c - 11.37 * power + 0.3965 * temperature_c * power
    is_defined = (temperature_c <= _WIND_CHILL_UP_TO_C) & (wind_speed_ms >= _WIND_CHILL_FROM_MS)
    return pl.when(is_defined).then(chill).otherwise(temperature_c)


def with_humidity(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with dew point and relative humidity each filled from the other where only one is known."""
    if "temperature_c" not in frame.columns:
        return frame
    names = ("dew_point_c", "relative_humidity_fraction")
    lacking = [pl.lit(None, pl.Float64).alias(name) for name in names if name not in frame.columns]
    temperature, dew, humidity = (pl.col(name) for name in ("temperature_c", *names))
    return frame.with_columns(lacking).with_columns(
        dew_point_c=dew.fill_null(dew_point(temperature, humidity)),
        relative_humidity_fraction=humidity.fill_null(relative_humidity(temperature, dew).clip(0, 1)),
    )
