"""A robust ridge regression on lags, levels and degrees: the part of the load that goes straight, and may extrapolate.

Fitted by iteratively re-weighted least squares with Huber's weights, each row in units of its meter's own noise, so
that a few odd meters or days do not bend it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.features.calendar import DAY_OF_REST, SATURDAY
from energy_assets.features.history import Floats
from energy_assets.models.design import at_most, learned_target, noise_unit, scaled

Doubles = npt.NDArray[np.float64]

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


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Coefficients over the regressors; predicts in multiples of the scale."""

    coefficients: tuple[float, ...]
    has_weather: bool

    def predict(self, rows: pl.DataFrame) -> Floats:
        """Return the expected energy [row] in multiples of the scale."""
        weights = np.asarray(self.coefficients)
        # Models of before know nothing of the last columns.
        parts = [
            _regressors(part, has_weather=self.has_weather)[:, : len(weights)] @ weights
            for part in rows.iter_slices(_CHUNK)
        ]
        return np.concatenate([np.empty(0), *parts]).astype(np.float32)


def fit_linear(rows: pl.DataFrame, *, has_weather: bool, seed: int) -> Linear:
    """Return the regression of the rows, or of 25,000 of them."""
    chosen = at_most(rows, count=_ROWS, seed=seed)
    x = _regressors(chosen, has_weather=has_weather)
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


def _regressors(rows: pl.DataFrame, *, has_weather: bool) -> Doubles:
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
