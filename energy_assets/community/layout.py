"""How generated series become files: Kaggle's CSV layout, tables of homes, weather and its forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.community.streams import Array, hour_of, stream
from energy_assets.community.weather import Weather, relative_humidity

FORECAST_HOURS = 72
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  clock time of a file without zone
# Error of a good public forecast (degrees, share, m/s): at the first hour, and what an hour of lead adds.
_ERRORS = {
    "temperature_c": (0.45, 0.022),
    "dew_point_c": (0.6, 0.024),
    "cloud_cover_fraction": (0.10, 0.0022),
    "wind_speed_ms": (0.45, 0.010),
}
_ERROR_MEMORY = 0.94
_MISSING_HOURS = 0.006

MAPPING = """\
# Homes of the generated community: every meter is declared in meters.csv. Format: energy_assets/readings/mapping.py.
layout = "long"
[time]
columns = ["timestamp"]
zone = "UTC"
[[values]]
column = "value"
meter = "{meter_id}"
[registry]
sites = "sites.csv"
premises = "premises.csv"
meters = "meters.csv"
"""


def stamps(first_hour: int, slots: int, *, minutes: int = 60) -> pl.Series:
    """Return `slots` clock times without zone, the first at `first_hour` hours since 1970."""
    start = _EPOCH + timedelta(hours=first_hour)
    return pl.datetime_range(
        start, start + timedelta(minutes=minutes) * slots, f"{minutes}m", closed="left", eager=True
    ).alias("timestamp")


def long_rows(meters: Sequence[tuple[int, int]], series: Array, *, first_hour: int) -> pl.DataFrame:
    """Return Kaggle's columns for series of shape (meters, hours); hours without a reading have no row."""
    hours = series.shape[1]
    clock = stamps(first_hour, hours)
    frame = pl.DataFrame(
        {
            "building_id": np.repeat(np.array([building for building, _ in meters], dtype=np.int32), hours),
            "meter": np.repeat(np.array([code for _, code in meters], dtype=np.int8), hours),
            "timestamp": pl.concat([clock] * len(meters)) if meters else clock.clear(),
            "meter_reading": np.round(series.reshape(-1).astype(np.float64), 4),
        }
    )
    return frame.filter(pl.col("meter_reading").is_not_nan())


def kaggle_weather(site: int, weather: Weather, *, seed: int) -> pl.DataFrame:
    """Return a site's rows of weather_train.csv on the UTC clock: oktas, whole degrees of wind, hours missing."""
    hours = len(weather.temperature_c)
    g = stream(seed, "kaggle_weather", site, block=weather.first_hour // 24)
    cloudy = np.where(g.random(hours) < 0.45, np.nan, np.round(weather.cloud_cover_fraction * 8))
    frame = pl.DataFrame(
        {
            "site_id": np.full(hours, site, dtype=np.int32),
            "timestamp": stamps(weather.first_hour, hours),
            "air_temperature": np.round(weather.temperature_c, 1),
            "cloud_coverage": cloudy,
            "dew_temperature": np.round(weather.dew_point_c, 1),
            "precip_depth_1_hr": np.where(
                (weather.precipitation_mm > 0) & (weather.precipitation_mm < 0.2),
                -1.0,
                np.round(weather.precipitation_mm),
            ),
            "sea_level_pressure": np.round(weather.sea_level_pressure_hpa, 1),
            "wind_direction": np.round(weather.wind_direction_deg, -1) % 360,
            "wind_speed": np.round(weather.wind_speed_ms, 1),
        }
    )
    return frame.filter(pl.Series(g.random(hours) >= _MISSING_HOURS)).with_columns(pl.selectors.float().fill_nan(None))


def observed_rows(site_id: str, weather: Weather) -> pl.DataFrame:
    """Return observations in the columns of weather.observed."""
    hours = len(weather.temperature_c)
    return pl.DataFrame(
        {
            "site_id": [site_id] * hours,
            "starts_at_utc": stamps(weather.first_hour, hours).dt.replace_time_zone("UTC"),
            **_quantities(weather),
        }
    )


def forecast_rows(site_id: str, weather: Weather, *, first: date, last: date, seed: int) -> pl.DataFrame:
    """Return the forecasts issued at each midnight from `first` to `last`, hourly to 72 h ahead: truth plus an error.

    The error is correlated from hour to hour, grows with the lead, and belongs to its issue alone.
    """
    from scipy.signal import lfilter

    days = (last - first).days + 1
    starts = hour_of(first) - weather.first_hour + 24 * np.arange(days)
    index = starts[:, None] + np.arange(FORECAST_HOURS)[None]
    truth = {name: values[index] for name, values in _quantities(weather).items()}
    lead = np.arange(FORECAST_HOURS)
    for position, (name, (base, growth)) in enumerate(_ERRORS.items()):
        noise = np.stack(
            [
                stream(seed, "forecast", site_id, name, block=hour_of(first) // 24 + day).standard_normal(
                    FORECAST_HOURS
                )
                for day in range(days)
            ]
        )
        smooth = lfilter([np.sqrt(1 - _ERROR_MEMORY**2)], [1, -_ERROR_MEMORY], noise, axis=1)
        truth[name] = truth[name] + smooth * (base + growth * lead)
        del position
    truth["wind_speed_ms"] = np.maximum(truth["wind_speed_ms"], 0)
    clearer = truth["cloud_cover_fraction"]
    truth["cloud_cover_fraction"] = np.clip(clearer, 0, 1)
    dimming = np.clip(1 - 0.55 * (truth["cloud_cover_fraction"] - weather.cloud_cover_fraction[index]), 0.3, 1.4)
    for name in ("global_horizontal_irradiance_w_m2", "direct_normal_irradiance_w_m2"):
        truth[name] = truth[name] * dimming
    truth["relative_humidity_fraction"] = np.clip(
        relative_humidity(truth["temperature_c"], np.minimum(truth["dew_point_c"], truth["temperature_c"])), 0, 1
    )
    issued = stamps(hour_of(first), days * 24).gather_every(24).dt.replace_time_zone("UTC")
    valid = pl.Series(weather.first_hour + index.reshape(-1)).cast(pl.Int64) * 3_600_000_000
    return pl.DataFrame(
        {
            "site_id": [site_id] * index.size,
            "issued_at_utc": issued.gather(np.repeat(np.arange(days), FORECAST_HOURS)),
            "starts_at_utc": valid.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            **{name: np.round(values.reshape(-1), 3) for name, values in truth.items()},
        }
    )


def replace_file(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet or CSV by the file's ending; the old file stays until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    if path.suffix == ".parquet":
        frame.write_parquet(draft, compression="zstd")
    else:
        frame.write_csv(draft, datetime_format="%Y-%m-%d %H:%M:%S")
    draft.replace(path)


def _quantities(weather: Weather) -> dict[str, Array]:
    return {
        "temperature_c": np.round(weather.temperature_c, 2),
        "dew_point_c": np.round(weather.dew_point_c, 2),
        "relative_humidity_fraction": np.round(
            np.clip(relative_humidity(weather.temperature_c, weather.dew_point_c), 0, 1), 3
        ),
        "wind_speed_ms": np.round(weather.wind_speed_ms, 2),
        "wind_direction_deg": np.round(weather.wind_direction_deg) % 360,
        "cloud_cover_fraction": np.round(weather.cloud_cover_fraction, 3),
        "precipitation_mm": np.round(weather.precipitation_mm, 2),
        "sea_level_pressure_hpa": np.round(weather.sea_level_pressure_hpa, 1),
        "global_horizontal_irradiance_w_m2": np.round(weather.global_horizontal_irradiance_w_m2, 1),
        "direct_normal_irradiance_w_m2": np.round(weather.direct_normal_irradiance_w_m2, 1),
        "diffuse_horizontal_irradiance_w_m2": np.round(weather.diffuse_horizontal_irradiance_w_m2, 1),
    }
