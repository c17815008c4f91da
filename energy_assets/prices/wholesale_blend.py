"""One forecast with a band from several members, by how well each did lately. Nothing here knows how members are made.

Weights fall with the eighth power of a member's mean absolute error of the last 28 days. The band is conformal: errors
of the last half year, measured in a scale of their own hour and day, with levels that each hour adapts to its own
coverage (Gibbs and Candes 2021). A day's forecast uses days before it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_assets.prices.days import Floats

WEIGHT_DAYS = 28
WEIGHT_POWER = 8.0
SCALE_DAYS = 14
LEVEL_DAYS = 182
OUTSIDE = 0.1  # below q10, and above q90
ADAPTATION = 0.01
LEAST_DAYS = 7  # of errors before there is a band


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Forecasts (days, 24) with their band, and the weights (members, days); a band is NaN before 7 days of errors."""

    q10: Floats
    q50: Floats
    q90: Floats
    weights: Floats


def blend(members: Floats, *, price: Floats) -> Blend:
    """Return the weighted mean of members (members, days, 24) with its band; `price` (days, 24) is NaN when unknown."""
    count, days, hours = members.shape
    errors = np.abs(members - price).mean(axis=2)
    weights = np.full((count, days), 1.0 / count)
    for day in range(1, days):
        lately = errors[:, max(0, day - WEIGHT_DAYS) : day].mean(axis=1)
        # Members without any error share a perfect record; dividing by the least error keeps the power in range.
        scores = (np.maximum(lately, 1e-12) / max(float(lately.min()), 1e-12)) ** -WEIGHT_POWER
        weights[:, day] = scores / scores.sum()
    middle = np.einsum("md,mdh->dh", weights, members)
    dispersion = np.sqrt(np.einsum("md,mdh->dh", weights, (members - middle) ** 2))
    low, high = _band(middle, dispersion=dispersion, price=price)
    assert low.shape == (days, hours)
    return Blend(q10=low, q50=middle, q90=high, weights=weights)


def _band(middle: Floats, *, dispersion: Floats, price: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper end: quantiles of scaled past errors, at levels that follow each hour's coverage."""
    days, hours = middle.shape
    error = price - middle
    scale = _error_scale(error, dispersion=dispersion)
    low, high = np.full((days, hours), np.nan), np.full((days, hours), np.nan)
    levels = np.full((2, hours), OUTSIDE)
    for day in range(LEAST_DAYS, days):
        first = max(0, day - LEVEL_DAYS)
        scaled = (error[first:day] / scale[first:day]).ravel()
        below, above = np.clip(levels, 0.005, 0.4)
        low[day] = middle[day] + np.minimum(np.quantile(scaled, below) * scale[day], 0.0)
        high[day] = middle[day] + np.maximum(np.quantile(scaled, 1.0 - above) * scale[day], 0.0)
        levels[0] += ADAPTATION * (OUTSIDE - (price[day] < low[day]))
        levels[1] += ADAPTATION * (OUTSIDE - (price[day] > high[day]))
    return low, high


def _error_scale(error: Floats, *, dispersion: Floats) -> Floats:
    """Return (days, 24) what size of error to expect: that of the hour lately, and that on which members disagree."""
    days = len(error)
    size = np.ones_like(error)
    absolute = np.abs(error)
    for day in range(days):
        first = max(0, day - SCALE_DAYS) if day else 0
        lately = absolute[first : max(day, 1)].mean(axis=0)
        size[day] = np.sqrt(
            np.maximum(_with_neighbours(lately), 1e-9) * np.maximum(_with_neighbours(dispersion[day]), 1e-9)
        )
    return size


def _with_neighbours(by_hour: Floats) -> Floats:
    return np.asarray((np.roll(by_hour, 1) + by_hour + np.roll(by_hour, -1)) / 3.0, dtype=np.float64)
