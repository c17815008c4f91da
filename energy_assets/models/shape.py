"""The shape of a point forecast's errors: how far each quantile lies from it, before any correction.

Quantile trees know what sets rows apart, but take the errors of single days for rules where they saw few. So they count
as far as days speak for them; the rest of the belief stays with the quantiles of all errors, in units of the meter's
own noise and of what the hour of the day makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from energy_assets.contracts import LEVELS
from energy_assets.features.history import Floats, Ints
from energy_assets.models import boosting
from energy_assets.models.design import ROWS_OF_A_DAY, noise_unit

_TREES: dict[str, object] = {
    "objective": "reg:quantileerror",
    "quantile_alpha": list(LEVELS.values()),
    "multi_strategy": "one_output_per_tree",
    "learning_rate": 0.12,
    "max_leaves": 12,
    "min_child_weight": 50.0,
    "subsample": 0.7,
    "colsample_bytree": 0.5,
}
_WIDEST = 50.0
_MIDDLE = 3
_HOURS = 24
_DAYS_FOR_HALF_BELIEF = 60.0
_DAYS_FOR_HOUR = 3.0
_LEAST_OF_HOUR = 0.02


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Trees of the quantiles of errors, and what holds for all rows.

    Attributes:
        belief: how much the trees count, 0 .. 1.
        of_hour: size of errors [hour of the local day] beside that of all.
        of_all: quantiles [level] of errors in units of the noise and of the hour.
    """

    trees: Any
    belief: float
    of_hour: Floats
    of_all: Floats

    def departures(self, rows: pl.DataFrame, *, columns: tuple[str, ...]) -> Floats:
        """Return how far each quantile [row, level] lies from the point forecast, in order, in multiples of the unit.

        The point forecast is the median: what trees say of its error is mostly chance, and cost up to four percent.
        """
        said = np.sort(_around_zero(boosting.predict(self.trees, rows, columns=columns, outputs=len(LEVELS))), axis=1)
        usual = self.of_hour[_hour(rows)][:, None] * self.of_all
        belief = np.float32(self.belief)
        departures: Floats = (belief * said + (1 - belief) * usual) * noise_unit(rows)[:, None]
        return departures

    def around(self, centre: Floats, *, rows: pl.DataFrame, columns: tuple[str, ...]) -> Floats:
        """Return quantiles [row, level] in order, in multiples of the unit, before any correction."""
        quantiles: Floats = centre[:, None] + self.departures(rows, columns=columns)
        return quantiles

    def save(self, path: Path) -> dict[str, object]:
        """Write the trees to a file and return the rest as content of a JSON file."""
        boosting.save_booster(self.trees, path)
        return {"belief": self.belief, "of_hour": self.of_hour.tolist(), "of_all": self.of_all.tolist()}


def load_shape(path: Path, content: dict[str, Any] | None) -> Shape:
    """Return the shape that `save` wrote; without content it is of a version whose trees counted alone.

    Raises:
        ModelError: the file is missing or torn.
    """
    trees = boosting.load_booster(path)
    if content is None:
        none = np.zeros(len(LEVELS), dtype=np.float32)
        return Shape(trees=trees, belief=1.0, of_hour=np.ones(_HOURS, dtype=np.float32), of_all=none)
    of_hour, of_all = (np.array(content[name], dtype=np.float32) for name in ("of_hour", "of_all"))
    return Shape(trees=trees, belief=float(content["belief"]), of_hour=of_hour, of_all=of_all)


def fit_shape(
    rows: pl.DataFrame, *, error: Floats, belief: float, columns: tuple[str, ...], rounds: int, threads: int, seed: int
) -> Shape:
    """Return the shape of errors [row], which are in multiples of the unit."""
    noises = np.clip(error / noise_unit(rows), -_WIDEST, _WIDEST)
    matrix = boosting.streamed_matrix(rows, columns=columns, label=noises, threads=threads)
    of_hour = _sizes_of_hours(np.abs(noises), hour=_hour(rows), days=_days(rows))
    usual = np.quantile(noises / of_hour[_hour(rows)], list(LEVELS.values()))
    return Shape(
        trees=boosting.train(_TREES, matrix, rounds=rounds, threads=threads, seed=seed)[0],
        belief=belief,
        of_hour=of_hour,
        of_all=_around_zero(usual[None].astype(np.float32))[0],
    )


def belief_in_trees(rows: pl.DataFrame) -> float:
    """Return how much trees count that learn from the rows: half where 60 days speak."""
    days = min(_days(rows), rows.height / ROWS_OF_A_DAY)
    return days / (days + _DAYS_FOR_HALF_BELIEF)


def _sizes_of_hours(size: Floats, *, hour: Ints, days: int) -> Floats:
    """Return the mean size of errors by hour [24] beside that of all; hours before and after count half.

    Three days of the mean of all are added, so that an hour differs as far as days speak for it.
    """
    total, count = np.bincount(hour, weights=size, minlength=_HOURS), np.bincount(hour, minlength=_HOURS)
    total, count = (each + 0.5 * (np.roll(each, 1) + np.roll(each, -1)) for each in (total, count))
    whole = max(float(size.mean()), 1e-9)
    added = _DAYS_FOR_HOUR * len(size) / _HOURS / days
    sizes = (total + added * whole) / (count + added) / whole
    return np.maximum(sizes, _LEAST_OF_HOUR).astype(np.float32)


def _around_zero(quantiles: Floats) -> Floats:
    """Return quantiles [row, level] of an error whose median is 0."""
    quantiles[:, _MIDDLE] = 0
    quantiles[:, :_MIDDLE] = np.minimum(quantiles[:, :_MIDDLE], 0)
    quantiles[:, _MIDDLE + 1 :] = np.maximum(quantiles[:, _MIDDLE + 1 :], 0)
    return quantiles


def _days(rows: pl.DataFrame) -> int:
    return rows["issued_at_utc"].dt.truncate("1d").n_unique()


def _hour(rows: pl.DataFrame) -> Ints:
    return rows["local_hour"].to_numpy().astype(np.int64) % _HOURS
