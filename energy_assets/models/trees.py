"""Linear and trees: a robust linear part, trees on what it leaves over, and quantiles of what both leave over.

Either part also stands alone, as the families `linear` and `trees_only`, with the same band. Location and spread are
separate because a few hundred trees for each of seven quantiles cost seven times as much and give a worse median. All
parts are global across meters, in multiples of each meter's scale. The spread is learned from residuals out of fold,
and corrected on a later stretch of time that no part has learned from.
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
from energy_assets.models.calibration import Calibration, band, calibrate, from_rows
from energy_assets.models.design import (
    TARGET,
    alternating,
    at_most,
    learnable,
    learned_target,
    scaled,
    split_tail,
    unit_kwh,
)
from energy_assets.models.experts import Recipe, recipe_for
from energy_assets.models.linear import Linear, fit_linear
from energy_assets.models.quantiles import quantile_frame
from energy_assets.models.shape import Shape, belief_in_trees, fit_shape, load_shape
from energy_assets.models.spec import ModelSpec, read_json, write_json

_LOCATION: dict[str, object] = {
    "objective": "reg:pseudohubererror",
    "huber_slope": 0.1,
    "eval_metric": "mae",
    "base_score": 0.0,
    "min_child_weight": 5.0,
    "subsample": 0.7,
    "colsample_bytree": 0.5,
    "reg_lambda": 5.0,
}
_WITHOUT_LINE: dict[str, object] = {**_LOCATION, "objective": "reg:absoluteerror"}
"""Without a line to start from, residuals are far beyond Huber's slope at first."""
_WATCHED_ROWS = 15_000
_MORE_ROUNDS = 1.1
"""More rows bear a little more learning than the halves did."""


@dataclass(frozen=True, kw_only=True)
class _Location:
    """Linear part plus trees on its residual, in multiples of the scale; one of the two may be None."""

    linear: Linear | None
    booster: Any | None
    columns: tuple[str, ...]
    rounds: int

    def predict(self, rows: pl.DataFrame) -> Floats:
        line = np.zeros(rows.height, np.float32) if self.linear is None else self.linear.predict(rows)
        return line if self.booster is None else line + boosting.predict(self.booster, rows, columns=self.columns)


@dataclass(frozen=True, kw_only=True)
class TreeModel:
    """A fitted model of this family; predicts every row with a scale, zero where all known readings are zero."""

    spec: ModelSpec
    location: _Location
    spread: Shape
    calibration: Calibration

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return KEY and q05 .. q95 in kWh for every row; null where the meter has no scale."""
        unit = unit_kwh(features)
        values = np.full((features.height, len(LEVELS)), np.nan, dtype=np.float32)
        values[unit == 0] = 0
        usable = unit > 0
        rows = features.filter(usable)
        centre = self.location.predict(rows)
        raw = self.spread.around(centre, rows=rows, columns=self.location.columns)
        corrected = self.calibration.apply(raw, unit=band(raw), lead_day=_lead_day(rows))
        values[usable] = corrected * unit[usable, None]
        return quantile_frame(features, values)

    def save(self, folder: Path) -> None:
        """Write `model.json` and the boosters into the folder."""
        location = self.location
        if location.booster is not None:
            boosting.save_booster(location.booster, folder / "location.ubj")
        content: dict[str, object] = {
            "spec": self.spec.model_dump(),
            "columns": location.columns,
            "rounds": location.rounds,
            "linear": location.linear and location.linear.coefficients,
            "has_weather": location.linear is not None and location.linear.has_weather,
            "calibration": self.calibration.corrections,
            "spread": self.spread.save(folder / "spread.ubj"),
        }
        write_json(folder, content)


def load(folder: Path) -> TreeModel:
    """Return the model that `save` wrote into the folder.

    Raises:
        ModelError: a file is missing or torn.
    """
    content: dict[str, Any] = read_json(folder)
    spec = ModelSpec.model_validate(content["spec"])
    has_line, has_trees = content["linear"] is not None, content["rounds"] > 0
    linear = Linear(coefficients=tuple(content["linear"]), has_weather=content["has_weather"]) if has_line else None
    return TreeModel(
        spec=spec,
        location=_Location(
            linear=linear,
            booster=boosting.load_booster(folder / "location.ubj") if has_trees else None,
            columns=tuple(content["columns"]),
            rounds=content["rounds"],
        ),
        spread=load_shape(folder / "spread.ubj", content.get("spread")),
        calibration=from_rows(content["calibration"]),
    )


def fit(training: pl.DataFrame, *, spec: ModelSpec, seed: int, threads: int = 2) -> TreeModel:
    """Return a model of the training rows, which are of one commodity and interval class.

    Two locations learn from alternating fortnights before the held-out tail; each predicts the other's fortnights for
    the spread, and their mean predicts the tail for the calibration. The location that is kept then learns from all
    rows for the number of rounds that served the tail best.

    Raises:
        ModelError: there are too few rows or issues.
    """
    rows = learnable(training)
    recipe = recipe_for(rows, spec=spec, seed=seed, threads=threads)
    head, tail = split_tail(rows, share=spec.calibration_share)
    head = at_most(head, count=spec.training_rows, seed=seed)
    tail = at_most(tail, count=spec.spread_rows, seed=seed)
    odd, watch = alternating(head), at_most(tail, count=_WATCHED_ROWS, seed=seed)
    first, second = (_fit_location(head.filter(side), recipe=recipe, watch=watch) for side in (odd, ~odd))
    unseen = np.empty(head.height, dtype=np.float32)
    unseen[~odd], unseen[odd] = first.predict(head.filter(~odd)), second.predict(head.filter(odd))
    spread = _fit_spread(head, centre=unseen, recipe=recipe)
    centre = np.float32(0.5) * (first.predict(tail) + second.predict(tail))
    quantiles = spread.around(centre, rows=tail, columns=recipe.columns)
    kept = at_most(rows, count=spec.training_rows, seed=seed)
    rounds = max(1, round(_MORE_ROUNDS * (first.rounds + second.rounds) / 2))
    calibration = calibrate(
        quantiles,
        target=scaled(tail, (TARGET,))[:, 0],
        unit=band(quantiles),
        lead_day=_lead_day(tail),
        issues=tail["issued_at_utc"].n_unique(),
    )
    location = _fit_location(kept, recipe=recipe, rounds=rounds)
    return TreeModel(spec=spec, location=location, spread=spread, calibration=calibration)


def _fit_location(
    rows: pl.DataFrame, *, recipe: Recipe, watch: pl.DataFrame | None = None, rounds: int | None = None
) -> _Location:
    spec, linear = recipe.spec, None
    if spec.family != "trees_only":
        linear = fit_linear(rows, has_weather=recipe.has_weather, seed=recipe.seed)
    if spec.family == "linear":
        return _Location(linear=linear, booster=None, columns=recipe.columns, rounds=0)
    matrix = _residual_matrix(rows, linear, recipe=recipe)
    watched = None if watch is None else _residual_matrix(watch, linear, recipe=recipe, reference=matrix)
    booster, best = boosting.train(
        {
            **(_WITHOUT_LINE if linear is None else _LOCATION),
            "learning_rate": spec.learning_rate,
            "max_leaves": spec.leaves,
            "device": spec.device,
        },
        matrix,
        rounds=rounds or spec.rounds,
        threads=recipe.threads,
        seed=recipe.seed,
        watch=watched,
    )
    return _Location(linear=linear, booster=booster, columns=recipe.columns, rounds=best)


def _residual_matrix(rows: pl.DataFrame, linear: Linear | None, *, recipe: Recipe, reference: Any = None) -> Any:
    target = learned_target(rows)
    return boosting.streamed_matrix(
        rows,
        columns=recipe.columns,
        label=target if linear is None else target - linear.predict(rows),
        threads=recipe.threads,
        reference=reference,
        memory_gb=recipe.spec.matrix_gb,
    )


def _fit_spread(rows: pl.DataFrame, *, centre: Floats, recipe: Recipe) -> Shape:
    marked = rows.with_columns(pl.Series("error", scaled(rows, (TARGET,))[:, 0] - centre))
    chosen = at_most(marked, count=recipe.spec.spread_rows, seed=recipe.seed + 1)
    return fit_shape(
        chosen,
        error=chosen["error"].to_numpy(),
        belief=belief_in_trees(chosen),
        columns=recipe.columns,
        rounds=recipe.spec.spread_rounds,
        threads=recipe.threads,
        seed=recipe.seed,
    )


def _lead_day(rows: pl.DataFrame) -> Ints:
    return (rows["lead_hours"].to_numpy() // 24).astype(np.int64)
