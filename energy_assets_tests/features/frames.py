"""Small worlds of meters with known patterns, as frames of the contracts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import METERS, PREMISES, SITES, UTC_TIME

START = datetime(2023, 1, 2, tzinfo=UTC)  # a Monday


def sites(**overrides: object) -> pl.DataFrame:
    row = {
        "site_id": "s",
        "name": "S",
        "timezone": "UTC",
        "latitude": 52.0,
        "longitude": 0.0,
        "country_code": "GB",
        "subdivision_code": "ENG",
        "source": "test",
    }
    return SITES.conform(pl.DataFrame([row | overrides]))


def meters(*names: str, interval_minutes: int = 60, site_id: str = "s", **columns: object) -> pl.DataFrame:
    rows = [
        {
            "meter_id": name,
            "premise_id": f"p.{name}",
            "site_id": site_id,
            "commodity": "electricity",
            "direction": "consumption",
            "measure": "interval_energy",
            "unit": "kWh",
            "interval_minutes": interval_minutes,
            "source": "test",
            **columns,
        }
        for name in names
    ]
    return METERS.conform(pl.DataFrame(rows))


def premises(*names: str) -> pl.DataFrame:
    rows = [
        {"premise_id": f"p.{name}", "site_id": "s", "primary_use": "Office", "floor_area_m2": 1000.0, "source": "test"}
        for name in names
    ]
    return PREMISES.conform(pl.DataFrame(rows))


def readings_of(
    values: np.ndarray, *, meter_id: str, interval_minutes: int = 60, start: datetime = START
) -> pl.DataFrame:
    """One meter's readings, each available when its interval ends; NaN becomes null."""
    step = timedelta(minutes=interval_minutes)
    starts = [start + step * index for index in range(len(values))]
    return pl.DataFrame(
        {
            "meter_id": meter_id,
            "starts_at_utc": pl.Series(starts, dtype=UTC_TIME),
            "interval_minutes": pl.Series([interval_minutes] * len(values), dtype=pl.Int64),
            "energy_kwh": pl.Series(values, dtype=pl.Float64).fill_nan(None),
            "available_at_utc": pl.Series([each + step for each in starts], dtype=UTC_TIME),
        }
    )


def office_week(days: int, *, seed: int, level: float = 10.0, noise: float = 0.1, per_day: int = 24) -> np.ndarray:
    """Hourly or finer load of an office: high by day on workdays, with multiplicative noise."""
    slot = np.arange(days * per_day)
    hour, day = slot % per_day * 24 / per_day, slot // per_day
    shape = 0.4 + 0.6 * ((hour >= 8) & (hour < 18) & (day % 7 < 5))
    return level * shape * np.random.default_rng(seed).lognormal(0, noise, len(slot))


def sunny(days: int, *, seed: int) -> np.ndarray:
    """Hourly production of a roof at 52 degrees north in winter, brighter on some days than on others."""
    hour = np.arange(days * 24) % 24
    light = np.maximum(np.sin((hour - 7.5) / 9 * np.pi), 0) * ((hour > 7) & (hour < 17))
    return light * np.repeat(np.random.default_rng(seed).uniform(0.2, 1, days), 24)


def weather_of(days: int, *, seed: int, start: datetime = START) -> pl.DataFrame:
    hours = np.arange(days * 24)
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "site_id": "s",
            "starts_at_utc": pl.Series([start + timedelta(hours=int(hour)) for hour in hours], dtype=UTC_TIME),
            "temperature_c": 10 + 5 * np.sin(hours / 24 * 2 * np.pi) + random.normal(0, 2, len(hours)),
            "cloud_cover_fraction": random.uniform(0, 1, len(hours)),
            "wind_speed_ms": random.uniform(0, 9, len(hours)),
        }
    )
