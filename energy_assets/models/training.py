"""Training of one registered model: the variants with and without weather, judged on issues that neither has seen.

The last issues are kept apart: the newest for the judgement, those before for calibration. What is registered is what
was judged; the model card says up to when it learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS
from energy_assets.features.lags import ANALOGUE_COLUMNS
from energy_assets.models.archive import FULL, WITHOUT_WEATHER, Model
from energy_assets.models.spec import ModelSpec
from energy_assets.models.trees import fit

UNSEEN_ISSUES = 14
_LEAST_TRAINING_ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Variants ready to register, their metrics on unseen issues, and predictions of those for plots."""

    variants: Mapping[str, Model]
    metrics: Mapping[str, Mapping[str, float]]
    unseen: pl.DataFrame
    training_rows: int
    training_starts_at_utc: datetime
    training_ends_at_utc: datetime
    unseen_starts_at_utc: datetime
    unseen_ends_at_utc: datetime


def train(features: pl.DataFrame, *, spec: ModelSpec, seed: int, threads: int) -> Trained | str:
    """Return the trained variants, or a sentence that says why there is too little to learn from.

    `features` are rows of `build_features` with targets, of one commodity and interval class, over many issues.
    """
    rows = features.filter(pl.col("energy_kwh").is_not_null(), pl.col("scale_kwh").is_finite(), pl.col("scale_kwh") > 0)
    issues = rows["issued_at_utc"].unique().sort()
    if rows.height < _LEAST_TRAINING_ROWS or issues.len() < 4:
        return f"{rows.height} rows of {issues.len()} issues are too few to train from"
    kept_apart = min(UNSEEN_ISSUES, max(1, issues.len() // 5))
    border = issues[-kept_apart]
    # A target is part of the training only if it was known before the first unseen issue.
    seen = rows.filter(pl.col("issued_at_utc") < border, pl.col("energy_known_at_utc") <= border)
    unseen = rows.filter(pl.col("issued_at_utc") >= border)
    variants: dict[str, Model] = {
        FULL: fit(seen, spec=spec, seed=seed, threads=threads),
        WITHOUT_WEATHER: fit(seen, spec=spec.without("weather"), seed=seed, threads=threads),
    }
    predicted = _beside_actual(unseen, variants[FULL])
    methods = {
        "model": predicted,
        "without_weather": _beside_actual(unseen, variants[WITHOUT_WEATHER]),
        "last_week": _points(unseen, "lag_7d_kwh"),
        "mean_4_weeks": _points(unseen, "weeks_4_mean_kwh"),
        "analogue": unseen.select(
            "meter_id", "energy_kwh", **dict(zip(QUANTILE_COLUMNS, map(pl.col, ANALOGUE_COLUMNS), strict=True))
        ),
    }
    return Trained(
        variants=variants,
        metrics={name: metrics_of(frame) for name, frame in methods.items()},
        unseen=predicted,
        training_rows=seen.height,
        training_starts_at_utc=issues[0],
        training_ends_at_utc=border,
        unseen_starts_at_utc=border,
        unseen_ends_at_utc=issues[-1],
    )


def metrics_of(rows: pl.DataFrame) -> dict[str, float]:
    """Return nmae and nrmse (median over meters), pinball and coverage_80 of quantiles beside `energy_kwh`.

    Errors of a meter are divided by its mean absolute energy; pinball is the mean over the contract's levels, pooled.
    Slots that a method cannot serve are left out of its figures.
    """
    rows = rows.filter(pl.all_horizontal(pl.col("q50", "energy_kwh").is_finite()))
    if rows.is_empty():
        return {}
    error = pl.col("q50") - pl.col("energy_kwh")
    level = pl.col("energy_kwh").abs().mean()
    per_meter = rows.group_by("meter_id").agg(
        nmae=error.abs().mean() / level, nrmse=(error**2).mean().sqrt() / level, level=level
    )
    per_meter = per_meter.filter(pl.col("level") > 0)
    actual = rows["energy_kwh"].to_numpy().astype(np.float64)
    scale = float(np.abs(actual).mean()) or 1.0
    losses = []
    for name, share in LEVELS.items():
        miss = actual - rows[name].to_numpy()
        losses.append(np.maximum(share * miss, (share - 1) * miss).mean() / scale)
    inside = rows.select(pl.col("energy_kwh").is_between("q10", "q90").mean()).item()
    return {
        "nmae": float(per_meter["nmae"].median() or 0.0),  # type: ignore[arg-type]
        "nrmse": float(per_meter["nrmse"].median() or 0.0),  # type: ignore[arg-type]
        "pinball": float(np.mean(losses)),
        "coverage_80": float(inside),
    }


def _beside_actual(features: pl.DataFrame, model: Model) -> pl.DataFrame:
    predicted = model.predict(features)
    return pl.concat([features.select("energy_kwh", "lead_hours"), predicted], how="horizontal")


def _points(features: pl.DataFrame, column: str) -> pl.DataFrame:
    return features.select("meter_id", "energy_kwh", **{name: pl.col(column) for name in QUANTILE_COLUMNS})
