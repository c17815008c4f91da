"""Seasonal baselines: what anybody would say without a model, with a band from how wrong it used to be.

Last week repeats the same weekday; the weekday mean averages the last four. Both read the same feature columns as every
other model, so they know exactly as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from energy_assets.contracts import LEVELS
from energy_assets.errors import ModelError
from energy_assets.features.history import Floats, Ints
from energy_assets.models.design import TARGET, learnable, noise_kwh
from energy_assets.models.quantiles import quantile_frame
from energy_assets.models.spec import read_json, write_json

POINT_COLUMNS: dict[str, tuple[str, ...]] = {
    "last_week": ("lag_7d_kwh", "lag_14d_kwh", "lag_21d_kwh", "lag_28d_kwh"),
    "weekday_mean": ("weeks_4_mean_kwh",),
}
_ROWS_PER_HOUR = 200


def point_kwh(features: pl.DataFrame, *, family: str) -> Floats:
    """Return the point forecast [row] of a baseline: its first column that is known, NaN where none is.

    Raises:
        ModelError: the family is not a baseline.
    """
    if family not in POINT_COLUMNS:
        raise ModelError(f"{family!r} is no baseline; choose from {sorted(POINT_COLUMNS)}.")
    known = [pl.col(name).cast(pl.Float32).fill_nan(None) for name in POINT_COLUMNS[family]]
    values: Floats = features.select(pl.coalesce(known).fill_null(np.nan)).to_series().to_numpy()
    return values


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A baseline with empirical quantiles of its error [local hour, level] in units of the meter's noise."""

    family: str
    errors: tuple[tuple[float, ...], ...]

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return KEY and q05 .. q95 in kWh for every row; null where the weeks before are unknown."""
        table = np.asarray(self.errors, dtype=np.float32)
        centre = point_kwh(features, family=self.family)
        return quantile_frame(features, centre[:, None] + table[_hour(features)] * noise_kwh(features)[:, None])

    def save(self, folder: Path) -> None:
        """Write `model.json` into the folder."""
        write_json(folder, {"family": self.family, "errors": self.errors})


def load(folder: Path) -> Baseline:
    """Return the baseline that `save` wrote into the folder."""
    content: dict[str, Any] = read_json(folder)
    return Baseline(family=content["family"], errors=tuple(tuple(row) for row in content["errors"]))


def fit_baseline(training: pl.DataFrame, *, family: str) -> Baseline:
    """Return a baseline with the quantiles of its errors in the training rows; hours with few rows share those of all.

    Raises:
        ModelError: there are too few rows, or the family is not a baseline.
    """
    rows = learnable(training)
    error = (rows[TARGET].to_numpy() - point_kwh(rows, family=family)) / noise_kwh(rows)
    known, hour = np.isfinite(error), _hour(rows)
    if not known.any():
        raise ModelError(f"The baseline {family} has no row with the weeks before it known; read more history.")
    levels = list(LEVELS.values())
    pooled = np.quantile(error[known], levels)
    table = []
    for index in range(24):
        of_hour = error[known & (hour == index)]
        chosen = np.quantile(of_hour, levels) if len(of_hour) >= _ROWS_PER_HOUR else pooled
        table.append(tuple(float(value) for value in chosen))
    return Baseline(family=family, errors=tuple(table))


def _hour(rows: pl.DataFrame) -> Ints:
    return rows["local_hour"].to_numpy().astype(np.int64)
