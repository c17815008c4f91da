"""Readings of made-up meters for the tests of this folder: a clean profile, and frames in the lake's shape."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import METERS, READINGS_INTERVAL, UTC_TIME, Window

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
METERS_EMPTY = METERS.empty()


def clean_kwh(*, days: int, seed: int = 0, scale: float = 1.0, interval_minutes: int = 60) -> np.ndarray:
    """Return an office: 2 kWh an hour by night and weekend, 10 by working day, with 5 % noise to three decimals."""
    per_day = 1440 // interval_minutes
    slot = np.arange(days * per_day)
    hour = (slot % per_day) * interval_minutes / 60
    works = (slot // per_day % 7 < 5) & (hour >= 8) & (hour < 18)
    noise = np.random.default_rng(seed).normal(0, 0.05, len(slot))
    return np.round(scale * np.where(works, 10.0, 2.0) * (1 + noise) * interval_minutes / 60, 3)


def readings(
    kwh: dict[str, np.ndarray], *, starts_at_utc: datetime = MONDAY, interval_minutes: int = 60
) -> pl.DataFrame:
    """Return rows of `readings.interval` as measured; NaN becomes a row without a value and without a mark."""
    frames = []
    for meter_id, values in kwh.items():
        starts = pl.Series(
            [starts_at_utc + timedelta(minutes=interval_minutes) * slot for slot in range(len(values))], dtype=UTC_TIME
        )
        rows = pl.DataFrame({"starts_at_utc": starts, "reported_kwh": pl.Series(values, nan_to_null=True)})
        frames.append(
            rows.with_columns(
                meter_id=pl.lit(meter_id),
                interval_minutes=pl.lit(interval_minutes, dtype=pl.Int64),
                energy_kwh=pl.col("reported_kwh"),
                quality=pl.lit("measured"),
                reason=pl.lit(None, dtype=pl.String),
                available_at_utc=pl.col("starts_at_utc") + timedelta(minutes=interval_minutes),
            )
        )
    return READINGS_INTERVAL.conform(pl.concat(frames))


def days_from(first: int, last: int | None = None) -> Window:
    """Return the window of days by their number from MONDAY, both included."""
    return Window.of_days((MONDAY + timedelta(first)).date(), (MONDAY + timedelta(last or first)).date())


def slots_of(flags: pl.DataFrame, rule: str) -> list[int]:
    """Return the hours since MONDAY that a rule flagged."""
    hours = (pl.col("starts_at_utc") - MONDAY).dt.total_hours()
    return flags.filter(pl.col("rule") == rule).select(hours.alias("hours"))["hours"].sort().to_list()
