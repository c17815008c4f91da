"""Small files of readings, weather and meters as a person would bring them, for tests of the back-test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.forecasts.backtest_inputs import Inputs, read_inputs
from energy_assets.models.spec import ModelSpec

START = datetime(2025, 1, 6, tzinfo=UTC)  # a Monday
TINY = ModelSpec(family="trees", rounds=8, spread_rounds=4, training_rows=4000, spread_rows=4000)
"""Trees that take a fraction of a second: what is tested is the road, not the skill."""


def wave(meter: str, *, days: float, minutes: int = 60, start: datetime = START, level: float = 5.0) -> pl.DataFrame:
    """A daily wave of a meter with less at weekends and a tenth of seeded noise."""
    count = round(days * 1440 / minutes)
    hours = np.arange(count) * minutes / 60
    noise = np.random.default_rng(sum(meter.encode())).normal(1, 0.1, count)
    weekend = 1 - 0.3 * ((hours // 24) % 7 >= 5)
    energy = level * (1 + 0.5 * np.sin(hours * np.pi / 12)) * weekend * noise * minutes / 60
    times = [start + timedelta(minutes=minutes * number) for number in range(count)]
    return pl.DataFrame({"meter_id": [meter] * count, "starts_at_utc": times, "energy_kwh": energy})


def temperatures(days: float, *, start: datetime = START) -> pl.DataFrame:
    hours = np.arange(round(days * 24))
    times = [start + timedelta(hours=int(hour)) for hour in hours]
    return pl.DataFrame({"starts_at_utc": times, "temperature_c": 8 + 5 * np.sin(hours * np.pi / 12)})


def write(rows: pl.DataFrame, path: Path) -> Path:
    rows.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return path


def inputs_of(
    folder: Path, readings: pl.DataFrame, *, weather: pl.DataFrame | None = None, meters: pl.DataFrame | None = None
) -> Inputs:
    return read_inputs(
        write(readings, folder / "readings.csv"),
        weather_path=None if weather is None else write(weather, folder / "weather.csv"),
        meters_path=None if meters is None else write(meters, folder / "meters.csv"),
    )
