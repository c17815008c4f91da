"""Gradient-boosted trees that learn seven quantiles of a meter's energy in units of its own scale, across all meters.

XGBoost with the quantile loss; the bands are set by conformal correction on later issues than those that were learned
from (Romano, Patterson and Candès 2019, one shift per quantile and day ahead). Quantiles are sorted: none cross.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS
from energy_assets.errors import ModelError
from energy_assets.features.matrix import KEY
from energy_assets.models.spec import ModelSpec

Floats = npt.NDArray[np.float32]

_LEAST_ROWS_TO_SHIFT = 200


@dataclass(frozen=True, kw_only=True)
class QuantileTrees:
    """A trained booster, the features that it takes, and the shift of every quantile by day ahead, in scales."""

    booster: Any
    features: tuple[str, ...]
    shifts: Mapping[int, tuple[float, ...]]
    threads: int = 2

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return key columns and q05 to q95 in kWh; null where a meter has no scale."""
        scale = features["scale_kwh"].to_numpy().astype(np.float64)
        unit = _raw(self.booster, design(features, self.features), threads=self.threads)
        unit = unit + _shift_rows(self.shifts, features["lead_hours"].to_numpy())
        values = np.sort(unit, axis=1) * scale[:, None]
        columns = {
            name: pl.Series(name, values[:, index]).fill_nan(None) for index, name in enumerate(QUANTILE_COLUMNS)
        }
        return features.select(KEY).with_columns(**columns)

    def save(self, folder: Path) -> None:
        """Write the booster as UBJSON and the rest as JSON."""
        self.booster.save_model(folder / "trees.ubj")
        facts = {"features": self.features, "shifts": {str(day): shifts for day, shifts in self.shifts.items()}}
        (folder / "trees.json").write_text(json.dumps(facts), encoding="utf-8")


def load(folder: Path) -> QuantileTrees:
    """Return the model that `save` wrote into a folder.

    Raises:
        ModelError: a file is missing or torn.
    """
    import xgboost

    try:
        facts = json.loads((folder / "trees.json").read_text(encoding="utf-8"))
        booster = xgboost.Booster()
        booster.load_model(folder / "trees.ubj")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"The model in {folder} cannot be loaded: {error}; register it again.") from error
    return QuantileTrees(
        booster=booster,
        features=tuple(facts["features"]),
        shifts={int(day): tuple(shifts) for day, shifts in facts["shifts"].items()},
    )


def fit(training: pl.DataFrame, *, spec: ModelSpec, seed: int, threads: int = 2) -> QuantileTrees:
    """Return trees that learned from feature rows with known targets and scales.

    The newest issues (`spec.calibration_share` of them) are not learned from: they stop the boosting and shift the
    quantiles. The same rows, specification, seed and threads give the same model.

    Raises:
        ModelError: there are fewer than three issues, or no row with target and scale.
    """
    import xgboost

    rows = training.filter(pl.col("energy_kwh").is_not_null(), pl.col("scale_kwh") > 0)
    issues = rows["issued_at_utc"].unique().sort()
    if issues.len() < 3:
        raise ModelError(f"{issues.len()} issues with targets are too few to learn from; add history.")
    border = issues[-max(1, round(issues.len() * spec.calibration_share))]
    learn, check = rows.filter(pl.col("issued_at_utc") < border), rows.filter(pl.col("issued_at_utc") >= border)
    names = spec.features
    matrix = xgboost.QuantileDMatrix(design(learn, names), label=_target(learn), nthread=threads)
    later = design(check, names)
    judge = xgboost.QuantileDMatrix(later, label=_target(check), ref=matrix, nthread=threads)
    booster = xgboost.train(
        {
            "objective": "reg:quantileerror",
            "quantile_alpha": list(LEVELS.values()),
            "tree_method": "hist",
            "max_depth": spec.depth,
            "learning_rate": spec.learning_rate,
            "subsample": spec.row_share,
            "nthread": threads,
            "seed": seed,
        },
        matrix,
        num_boost_round=spec.rounds,
        evals=[(judge, "later")],
        early_stopping_rounds=spec.patience,
        verbose_eval=False,
    )
    booster = booster[: booster.best_iteration + 1]
    unit = _raw(booster, later, threads=threads)
    return QuantileTrees(
        booster=booster,
        features=names,
        shifts=_shifts(unit, _target(check), days=_days_ahead(check["lead_hours"].to_numpy())),
        threads=threads,
    )


def design(features: pl.DataFrame, names: tuple[str, ...]) -> Floats:
    """Return the matrix that trees see: columns in kWh are divided by the meter's scale, the others are as they are."""
    scaled = {name: pl.col(name) / pl.col("scale_kwh") if name.endswith("_kwh") else pl.col(name) for name in names}
    matrix = features.select(**{name: value.cast(pl.Float32) for name, value in scaled.items()}).to_numpy()
    return np.where(np.isfinite(matrix), matrix, np.float32(np.nan)).astype(np.float32, copy=False)


def _target(rows: pl.DataFrame) -> Floats:
    return (rows["energy_kwh"] / rows["scale_kwh"]).cast(pl.Float32).to_numpy()


def _raw(booster: Any, matrix: Floats, *, threads: int) -> npt.NDArray[np.float64]:
    booster.set_param({"nthread": threads})
    predicted = np.asarray(booster.inplace_predict(matrix), dtype=np.float64)
    return predicted.reshape(len(matrix), len(LEVELS))


def _days_ahead(lead_hours: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    return np.clip(np.floor(np.nan_to_num(lead_hours) / 24), 0, 2).astype(np.int64)


def _shifts(
    unit: npt.NDArray[np.float64], target: Floats, *, days: npt.NDArray[np.int64]
) -> dict[int, tuple[float, ...]]:
    """Return per day ahead the shift of every quantile with which it would have held on the later issues."""
    found: dict[int, tuple[float, ...]] = {}
    for day in range(3):
        rows = days == day
        if rows.sum() < _LEAST_ROWS_TO_SHIFT:
            rows = np.ones(len(days), dtype=bool)
        misses = target[rows, None] - unit[rows]
        found[day] = tuple(float(np.quantile(misses[:, index], level)) for index, level in enumerate(LEVELS.values()))
    return found


def _shift_rows(
    shifts: Mapping[int, tuple[float, ...]], lead_hours: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    table = np.array([shifts.get(day, (0.0,) * len(LEVELS)) for day in range(3)])
    rows: npt.NDArray[np.float64] = table[_days_ahead(lead_hours)]
    return rows
