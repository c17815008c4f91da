"""Feature frames of small portfolios, built by the real matrix, for tests of models."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl

from energy_assets.features.matrix import build_features
from energy_assets.features.weather import as_its_own_forecast
from energy_assets_tests.features.frames import START, meters, office_week, premises, readings_of, sites, weather_of


@cache
def office_features(*, days: int, meter_count: int = 4, factor: float = 1.0, first_issue: int = 8) -> pl.DataFrame:
    """Features of offices of different size and noise that are heated below 13 degrees, with one issue a day."""
    names = [f"m{index}" for index in range(meter_count)]
    weather = weather_of(days + 3, seed=9)
    heating = 1 + 0.06 * np.maximum(13 - weather["temperature_c"].to_numpy()[: days * 24], 0)
    readings = pl.concat(
        readings_of(
            factor * heating * office_week(days, seed=index, level=5.0 * 2**index, noise=0.05 + 0.05 * (index % 3)),
            meter_id=name,
        )
        for index, name in enumerate(names)
    )
    issues = [START + timedelta(days=day) for day in range(first_issue, days - 1)]
    return build_features(
        readings,
        meters=meters(*names),
        sites=sites(),
        premises=premises(*names),
        weather=as_its_own_forecast(weather, issues=issues),
        issues=issues,
    )


def split(features: pl.DataFrame, *, test_days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows before and in the last issues."""
    border = features["issued_at_utc"].max() - timedelta(days=test_days)  # type: ignore[operator]
    return features.filter(pl.col("issued_at_utc") < border), features.filter(pl.col("issued_at_utc") >= border)


def values_of(predicted: pl.DataFrame) -> np.ndarray:
    return predicted.select(pl.col("^q\\d\\d$")).to_numpy()
