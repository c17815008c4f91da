"""The point forecasts that a blend mixes: seasonal values, a robust line, and boosters with different starts.

Boosters differ in what they are given to correct (the line, the mean of like days, nothing) and in how they count
errors, so that they are wrong at different times; their mean is better than the best of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.errors import ModelError
from energy_assets.features.history import Floats
from energy_assets.models import boosting
from energy_assets.models.design import learned_target, scaled
from energy_assets.models.linear import Linear, fit_linear
from energy_assets.models.spec import ModelSpec

_SEASON = ("year_sin", "year_cos", "day_length_hours")
_DAYS_FOR_SEASON = 330
SEASONAL = ("kind_mean_kwh", "weeks_4_mean_kwh", "latest_1_kwh", "lag_7d_kwh", "analogue_mean_kwh")
_INSTEAD = ("kind_mean_kwh", "weeks_4_mean_kwh", "days_7_mean_kwh", "days_28_mean_kwh", "month_mean_kwh")
"""What stands in for a seasonal value that is not known, in this order; one time the scale where nothing is."""
_SHARED: dict[str, object] = {
    "eval_metric": "mae",
    "base_score": 0.0,
    "min_child_weight": 5.0,
    "subsample": 0.7,
    "reg_lambda": 5.0,
}
_HUBER: dict[str, object] = {**_SHARED, "objective": "reg:pseudohubererror", "huber_slope": 0.1}
BOOSTED: dict[str, dict[str, object]] = {
    "on_linear": _HUBER,
    "on_like_days": _HUBER,
    "direct": {**_SHARED, "objective": "reg:absoluteerror"},
}
_ROWS_FOR_ONE_TREE, _MOST_TREES_AT_ONCE = 20_000, 4
"""From fewer rows a round grows several trees, whose mean depends less on chance."""
EXPERTS = (*BOOSTED, "linear", *SEASONAL)
_FIRST_GUESS = {"on_linear": 0.32, "on_like_days": 0.32, "direct": 0.26, "linear": 0.1}
PRIOR: npt.NDArray[np.float64] = np.array([_FIRST_GUESS.get(name, 0.0) for name in EXPERTS])
"""Shares of the experts before any evidence."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every fit of one training shares."""

    columns: tuple[str, ...]
    spec: ModelSpec
    seed: int
    threads: int

    @property
    def has_weather(self) -> bool:
        """Return whether the features of the weather may be used."""
        return "weather" in self.spec.groups


def recipe_for(rows: pl.DataFrame, *, spec: ModelSpec, seed: int, threads: int) -> Recipe:
    """Return the recipe for rows in order of issue: columns are those ever known, with less than a year none of season.

    Within a year the season cannot be told from a trend.
    """
    day = rows["issued_at_utc"].to_physical() // 86_400_000_000
    without = set() if day[-1] - day[0] >= _DAYS_FOR_SEASON else set(_SEASON)
    known = rows.select(pl.col(spec.features).is_finite().any()).row(0, named=True)
    columns = tuple(name for name in spec.features if known[name] and name not in without)
    return Recipe(columns=columns, spec=spec, seed=seed, threads=threads)


@dataclass(frozen=True, kw_only=True)
class Experts:
    """Fitted experts; predict in multiples of the scale."""

    linear: Linear
    boosters: Mapping[str, Any]
    columns: tuple[str, ...]
    rounds: Mapping[str, int] = field(default_factory=dict)

    def predict(self, rows: pl.DataFrame) -> Floats:
        """Return the expected energy [row, expert] in multiples of the scale, in the order of EXPERTS; all finite."""
        seasonal = seasonal_values(rows)
        line = self.linear.predict(rows)
        starts = _starts(seasonal, line)
        grown = boosting.predict_each(list(self.boosters.values()), rows, columns=self.columns)
        boosted = [starts[name] + grown[:, index] for index, name in enumerate(self.boosters)]
        return np.column_stack([*boosted, line, seasonal]).astype(np.float32)

    def save(self, folder: Path) -> dict[str, object]:
        """Write the boosters into the folder and return the rest as content of a JSON file."""
        for name, booster in self.boosters.items():
            boosting.save_booster(booster, folder / f"{name}.ubj")
        return {
            "columns": self.columns,
            "rounds": dict(self.rounds),
            "linear": self.linear.coefficients,
            "has_weather": self.linear.has_weather,
        }


def load_experts(folder: Path, content: Mapping[str, Any]) -> Experts:
    """Return the experts that `save` wrote.

    Raises:
        ModelError: a booster is missing or torn, or the experts are those of another version of this package.
    """
    if set(content["rounds"]) != set(BOOSTED):
        raise ModelError(f"{folder} holds experts {sorted(content['rounds'])}, not {sorted(BOOSTED)}; train it again.")
    return Experts(
        linear=Linear(coefficients=tuple(content["linear"]), has_weather=content["has_weather"]),
        boosters={name: boosting.load_booster(folder / f"{name}.ubj") for name in BOOSTED},
        columns=tuple(content["columns"]),
        rounds=content["rounds"],
    )


def fit_experts(
    rows: pl.DataFrame, *, recipe: Recipe, watch: pl.DataFrame | None = None, rounds: Mapping[str, int] | None = None
) -> Experts:
    """Return experts that learned from the rows; with `watch` each booster stops where it served those best."""
    spec = recipe.spec
    linear = fit_linear(rows, has_weather=recipe.has_weather, seed=recipe.seed)
    labels = labels_of(rows, linear)
    shared: dict[str, Any] = {"columns": recipe.columns, "threads": recipe.threads}
    watched: dict[str, Any] = {}
    if watch is not None:
        watched = {
            name: boosting.watched_matrix(watch, label=label, **shared)
            for name, label in labels_of(watch, linear).items()
        }
    tasks = [
        boosting.Task(
            parameters={
                **growth_of(parameters, spec=spec),
                "num_parallel_tree": min(_MOST_TREES_AT_ONCE, max(1, _ROWS_FOR_ONE_TREE // rows.height)),
            },
            label=labels[name],
            rounds=rounds[name] if rounds else spec.rounds,
            seed=recipe.seed + number,
            watch=watched.get(name),
        )
        for number, (name, parameters) in enumerate(BOOSTED.items())
    ]
    trained = boosting.train_each(tasks, rows=rows, memory_gb=spec.matrix_gb, **shared)
    grown = dict(zip(BOOSTED, trained, strict=True))
    return Experts(
        linear=linear,
        boosters={name: booster for name, (booster, _) in grown.items()},
        columns=recipe.columns,
        rounds={name: best for name, (_, best) in grown.items()},
    )


def seasonal_values(rows: pl.DataFrame) -> Floats:
    """Return the seasonal values [row, SEASONAL] in multiples of the scale, with stand-ins for what is not known."""
    instead = np.ones(rows.height, dtype=np.float32)
    for values in reversed(scaled(rows, _INSTEAD).T):
        instead = np.where(np.isfinite(values), values, instead)
    values = scaled(rows, SEASONAL)
    filled: Floats = np.where(np.isfinite(values), values, instead[:, None])
    return filled


def _starts(seasonal: Floats, line: Floats) -> dict[str, Floats]:
    return {"on_linear": line, "on_like_days": seasonal[:, 0], "direct": np.ones_like(line)}


def growth_of(parameters: Mapping[str, object], *, spec: ModelSpec) -> dict[str, object]:
    """Return the parameters of a booster with what a specification says of its growth."""
    return {
        **parameters,
        "learning_rate": spec.learning_rate,
        "colsample_bytree": spec.column_share,
        "device": spec.device,
        "max_leaves": spec.leaves,
    }


def labels_of(rows: pl.DataFrame, linear: Linear) -> dict[str, Floats]:
    """Return what each booster is given to correct [row]: the target less where it starts from."""
    target = learned_target(rows)
    starts = _starts(seasonal_values(rows), linear.predict(rows))
    return {name: target - start for name, start in starts.items()}
