"""A robust ridge regression on lags, levels and degrees: the part of the load that goes straight, and may extrapolate.

Fitted by iteratively re-weighted least squares with Huber's weights, each row in units of its meter's own noise, so
that a few odd meters or days do not bend it. Where it pays on later days the line also knows sun and wind, as a net
load must, and tells hours apart: a system of many consumers answers to warmth otherwise at noon than at night; a few
buildings have no such curve in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.features.calendar import DAY_OF_REST, SATURDAY, WORKDAY
from energy_assets.features.history import Floats
from energy_assets.features.response import COOLING_BASE_C, HEATING_BASE_C
from energy_assets.models.design import at_most, learned_target, noise_unit, scaled

Doubles = npt.NDArray[np.float64]
Extent = Literal["plain", "sky", "hours", "hours_and_sky"]
_EXTENTS: tuple[Extent, ...] = ("plain", "sky", "hours", "hours_and_sky")
_WITH_SKY, _BY_THE_HOUR = ("sky", "hours_and_sky"), ("hours", "hours_and_sky")
_EXTENTS_WITHOUT_WEATHER: tuple[Extent, ...] = ("plain", "hours")

_LOAD = (
    "latest_1_kwh",
    "latest_2_kwh",
    "latest_3_kwh",
    "lag_7d_kwh",
    "lag_14d_kwh",
    "lag_21d_kwh",
    "lag_28d_kwh",
    "weeks_4_mean_kwh",
    "days_7_mean_kwh",
    "days_28_mean_kwh",
    "kind_latest_kwh",
    "kind_mean_kwh",
    "analogue_q50_kwh",
    "last_kwh",
    "day_mean_kwh",
    "week_mean_kwh",
    "month_mean_kwh",
    "day_shift_kwh",
    "week_shift_kwh",
)
_WEATHER = ("temperature_change_day_c", "temperature_change_week_c", "heating_degrees_c", "cooling_degrees_c")
_FITTED = ("pv_clear_sky_kwh",)
_FITTED_WEATHER = ("pv_expected_kwh", "pv_shift_kwh", "degree_shift_kwh")
"""What the meter's own answer to sun and weather, fitted before, says of the slot; none where nothing was fitted."""
_HOURS_PER_BLOCK = 6
_ROWS = 25_000
_RIDGE = 3e-3
_ROWS_OF_PRIOR = 10_000
_PRIOR = {"kind_mean_kwh": 0.5, "latest_1_kwh": 0.3, "lag_7d_kwh": 0.2}
"""What the regression is drawn to where rows are few: a plain mixture of recent days."""
_ITERATIONS = 4
_HUBER = 1.5
_CHUNK = 100_000
_KNOTS = 8
"""Times of the day, three hours apart, between which what differs by hour goes straight."""
_BY_HOUR = ("kind_mean_kwh", "latest_1_kwh", "lag_7d_kwh", "day_shift_kwh")
_SKY = (
    "global_horizontal_irradiance_w_m2",
    "irradiance_24h_mean_w_m2",
    "wind_speed_ms",
    "cloud_cover_fraction",
    "sun_elevation_sine",
)
_SKY_UNITS = np.array([500.0, 200.0, 10.0, 1.0, 1.0])
_MOST_SKY = np.array([3.0, 3.0, 2.5, 1.0, 1.0])
"""In these units; beyond is no weather."""
_SKY_COUNT = len(_SKY) + 2
_SINCE = ("temperature_since_yesterday_c", "temperature_since_last_week_c")
_MOST_DEGREES = 40.0
"""Beyond the balance point; what is farther is no weather."""
_SAID_BEFORE = 0.7
_ROWS_TO_CHOOSE = 8_000, 4_000
_LEAST_ISSUES = 10
_MUST_PAY_ALONE, _MUST_PAY = 0.98, 0.9
"""Below which multiple of the plain line's error the hours are told apart: for one meter, for several.

Several share one curve of the day, which is right for none of them; trees would have to undo it.
"""
_WORST_ERROR = 8.0


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Coefficients over the regressors; predicts in multiples of the scale."""

    coefficients: tuple[float, ...]
    has_weather: bool

    def predict(self, rows: pl.DataFrame) -> Floats:
        """Return the expected energy [row] in multiples of the scale."""
        weights = np.asarray(self.coefficients)
        shared: dict[str, Any] = {"has_weather": self.has_weather, "extent": self.extent}
        # Models of before know nothing of the last plain columns, so the others cannot follow them. Each row is summed
        # by itself: a matrix product may round a row otherwise alone than among many.
        parts = [
            np.einsum("rc,c->r", _regressors(part, **shared)[:, : len(weights)], weights)
            for part in rows.iter_slices(_CHUNK)
        ]
        return np.concatenate([np.empty(0), *parts]).astype(np.float32)

    @property
    def extent(self) -> Extent:
        """Return how much the line knows."""
        beyond = len(self.coefficients) - _plain_count(has_weather=self.has_weather)
        sky, hours = _SKY_COUNT, _hours_count(has_weather=self.has_weather)
        extents: dict[int, Extent] = {sky: "sky", hours: "hours", hours + sky: "hours_and_sky"}
        return extents.get(beyond, "plain")


def fit_linear(rows: pl.DataFrame, *, has_weather: bool, seed: int) -> Linear:
    """Return the regression of the rows, or of 25,000 of them; with the sky, and by hour, where that pays later.

    Each must err less than the best of those that know less, in units of the meter's noise, on the last three tenths of
    the issues, all learned from those before: by 2 % for one meter, by a tenth for several.
    """
    chosen = at_most(rows, count=_ROWS, seed=seed)
    return _fitted(
        chosen, has_weather=has_weather, extent=_extent_that_pays(chosen, has_weather=has_weather, seed=seed)
    )


def _extent_that_pays(rows: pl.DataFrame, *, has_weather: bool, seed: int) -> Extent:
    issues = rows["issued_at_utc"].unique().sort()
    if len(issues) < _LEAST_ISSUES:
        return "plain"
    is_earlier = pl.col("issued_at_utc") < issues[round(_SAID_BEFORE * len(issues))]
    learned = at_most(rows.filter(is_earlier), count=_ROWS_TO_CHOOSE[0], seed=seed)
    judged = at_most(rows.filter(~is_earlier), count=_ROWS_TO_CHOOSE[1], seed=seed)
    target, noise = learned_target(judged), np.maximum(noise_unit(judged), np.float32(0.05))
    errors: dict[Extent, float] = {}
    for extent in _EXTENTS if has_weather else _EXTENTS_WITHOUT_WEATHER:
        line = _fitted(learned, has_weather=has_weather, extent=extent)
        errors[extent] = float(np.minimum(np.abs(line.predict(judged) - target) / noise, _WORST_ERROR).mean())
    must_pay = _MUST_PAY_ALONE if rows["meter_id"].n_unique() == 1 else _MUST_PAY
    best: Extent = "plain"
    for extent, error in errors.items():
        best = extent if error < must_pay * errors[best] else best
    return best


def _fitted(chosen: pl.DataFrame, *, has_weather: bool, extent: Extent) -> Linear:
    x = _regressors(chosen, has_weather=has_weather, extent=extent)
    y = learned_target(chosen).astype(np.float64)
    per_noise: Doubles = 1 / np.maximum(noise_unit(chosen).astype(np.float64), 0.05)
    weight: npt.NDArray[np.floating] = per_noise
    prior = np.zeros(x.shape[1])
    prior[[_LOAD.index(name) for name in _PRIOR]] = list(_PRIOR.values())
    coefficients = prior
    ridge = _RIDGE * (1 + _ROWS_OF_PRIOR / chosen.height)
    for _ in range(_ITERATIONS):
        weighted = x * weight[:, None]
        normal = weighted.T @ weighted
        gradient = weighted.T @ ((y - x @ prior) * weight)
        normal[np.diag_indices_from(normal)] += ridge * np.trace(normal) / len(normal)
        coefficients = prior + np.linalg.solve(normal, gradient)
        residual = np.abs(per_noise * (y - x @ coefficients))
        typical = max(float(np.median(residual)), 1e-9)
        weight = per_noise * np.sqrt(np.minimum(1.0, _HUBER * typical / np.maximum(residual, 1e-12)))
    return Linear(coefficients=tuple(float(value) for value in coefficients), has_weather=has_weather)


def _plain_count(*, has_weather: bool) -> int:
    degrees = 24 // _HOURS_PER_BLOCK * len(_WEATHER) + len(_FITTED_WEATHER) if has_weather else 0
    return 3 * len(_LOAD) + len(_FITTED) + degrees


def _hours_count(*, has_weather: bool) -> int:
    return (2 + len(_BY_HOUR)) * _KNOTS + 7 + ((2 + len(_SINCE)) * _KNOTS + 5 if has_weather else 0)


def _regressors(rows: pl.DataFrame, *, has_weather: bool, extent: Extent) -> Doubles:
    parts = [_plain_regressors(rows, has_weather=has_weather)]
    if extent in _WITH_SKY:
        parts.append(_sky_regressors(rows))
    if extent in _BY_THE_HOUR:
        parts.append(_hourly_regressors(rows, has_weather=has_weather))
    return np.concatenate(parts, axis=1)


def _sky_regressors(rows: pl.DataFrame) -> Doubles:
    """Return sun, wind and its square, clouds and what they hide of the sun; nothing where they are not known."""
    known = np.clip(scaled(rows, _SKY).astype(np.float64) / _SKY_UNITS, 0, _MOST_SKY)
    sky = np.nan_to_num(known, nan=0.0)
    wind, clouds, sun = sky[:, 2:3], sky[:, 3:4], sky[:, 4:5]
    return np.concatenate([sky, wind**2, sun * clouds], axis=1)


def _hourly_regressors(rows: pl.DataFrame, *, has_weather: bool) -> Doubles:
    """Return the hour of work and of rest, recent load and degrees, each per time of the day, and the weekday."""
    apart = np.abs(scaled(rows, ("local_hour",)).astype(np.float64) - np.arange(_KNOTS) * 24 / _KNOTS)
    hour = np.maximum(0.0, 1 - np.minimum(apart, 24 - apart) * _KNOTS / 24)
    is_work = scaled(rows, ("day_kind",)) == WORKDAY
    load = scaled(rows, _BY_HOUR).astype(np.float64)
    load = np.where(np.isfinite(load), load, [0.0 if name.endswith("shift_kwh") else 1.0 for name in _BY_HOUR])
    parts = [hour * is_work, hour * ~is_work, (scaled(rows, ("weekday",)) == np.arange(7)).astype(np.float64)]
    varying = [load]
    if has_weather:
        air = scaled(rows, ("temperature_c", "temperature_24h_mean_c")).astype(np.float64)
        cold, warm = (
            np.nan_to_num(np.clip(degrees, 0, _MOST_DEGREES), nan=0.0) / 10
            for degrees in (HEATING_BASE_C - air, air - COOLING_BASE_C)
        )
        since = np.clip(scaled(rows, _SINCE).astype(np.float64), -_MOST_DEGREES, _MOST_DEGREES)
        varying += [cold[:, :1], warm[:, :1], np.nan_to_num(since, nan=0.0) / 10]
        parts += [cold[:, 1:], warm[:, 1:], cold[:, :1] ** 2, warm**2]
    by_hour = np.concatenate(varying, axis=1)
    parts.append((hour[:, :, None] * by_hour[:, None, :]).reshape(len(hour), _KNOTS * by_hour.shape[1]))
    return np.concatenate(parts, axis=1)


def _plain_regressors(rows: pl.DataFrame, *, has_weather: bool) -> Doubles:
    """Return load as multiples of the scale, per kind of day, and degrees per quarter of the local day.

    A value that is not known counts as the mean of the month, an unknown degree as none; both are far from exact, which
    is what the trees on top are for.
    """
    load = scaled(rows, _LOAD).astype(np.float64)
    month = load[:, _LOAD.index("month_mean_kwh")]
    month = np.where(np.isfinite(month), month, 1.0)
    shifts = np.array([name.endswith("shift_kwh") for name in _LOAD])
    load = np.where(np.isfinite(load), load, np.where(shifts[None, :], 0.0, month[:, None]))
    kind = scaled(rows, ("day_kind",))
    parts = [load, load * (kind == SATURDAY), load * (kind == DAY_OF_REST)]
    if has_weather:
        degrees = np.nan_to_num(scaled(rows, _WEATHER).astype(np.float64), nan=0.0) / 10
        block = scaled(rows, ("local_hour",)) // _HOURS_PER_BLOCK
        parts += [degrees * (block == index) for index in range(24 // _HOURS_PER_BLOCK)]
    fitted = (*_FITTED, *_FITTED_WEATHER) if has_weather else _FITTED
    # Rows that were stored before these were known do not have them.
    rows = rows.with_columns(pl.lit(np.nan, pl.Float32).alias(name) for name in fitted if name not in rows.columns)
    parts.append(np.nan_to_num(scaled(rows, fitted).astype(np.float64), nan=0.0))
    return np.concatenate(parts, axis=1)
