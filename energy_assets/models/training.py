"""Training of one registered model: the variants with and without weather, judged on issues that neither has seen.

The last issues are kept apart: the newest for the judgement, those before for calibration. What is registered is what
was judged; the model card says up to when it learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.features.lags import ANALOGUE_COLUMNS
from energy_assets.features.weather import WEATHER_FEATURES
from energy_assets.models.archive import FULL, WITHOUT_WEATHER, Model
from energy_assets.models.evaluation import summary_of
from energy_assets.models.fitting import fit
from energy_assets.models.row_store import RowStore, Shards
from energy_assets.models.spec import ModelSpec
from energy_assets.models.tuning import tune

UNSEEN_ISSUES = 14
_LEAST_TRAINING_ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Variants ready to register, their metrics on unseen issues, and what they and plain baselines said of these."""

    variants: Mapping[str, Model]
    spec: ModelSpec
    metrics: Mapping[str, Mapping[str, float]]
    unseen: pl.DataFrame
    training_rows: int
    training_starts_at_utc: datetime
    training_ends_at_utc: datetime
    unseen_starts_at_utc: datetime
    unseen_ends_at_utc: datetime


def train(
    features: pl.DataFrame,
    *,
    spec: ModelSpec,
    seed: int,
    threads: int,
    tuning_s: float = 0.0,
    store: RowStore | None = None,
) -> Trained | str:
    """Return the trained variants, or a sentence that says why there is too little to learn from.

    `features` are rows of `build_features` with targets, of one commodity and interval class, over many issues. With
    `tuning_s` the parameters are searched for that long first, on the seen issues only. A `store` holds more rows of
    the same issues, among them these: boosters of the variant that is asked first learn from all of them, while folds,
    shares, bands and metrics come from `features`.
    """
    is_usable = pl.col("energy_kwh").is_finite() & pl.col("scale_kwh").is_finite() & (pl.col("scale_kwh") > 0)
    rows = features.filter(is_usable)
    issues = rows["issued_at_utc"].unique().sort()
    if rows.height < _LEAST_TRAINING_ROWS or issues.len() < 4:
        return f"{rows.height} rows of {issues.len()} issues are too few to train from"
    kept_apart = min(UNSEEN_ISSUES, max(1, issues.len() // 5))
    border = issues[-kept_apart]
    # A target is part of the training only if it was known before the first unseen issue.
    is_seen = (pl.col("issued_at_utc") < border) & (pl.col("energy_known_at_utc") <= border)
    seen = rows.filter(is_seen)
    shards = None if store is None else Shards(store, seen=is_usable & is_seen)
    unseen = rows.filter(pl.col("issued_at_utc") >= border)
    if tuning_s:
        spec = tune(seen, spec=spec, seconds=tuning_s, seed=seed, threads=threads).spec
    has_weather = seen.select((pl.col(WEATHER_FEATURES).is_finite()).any()).transpose().to_series().any()
    spare = spec.without("weather")
    if has_weather and "weather" in spec.groups:
        full = fit(seen, spec=spec, seed=seed, threads=threads, shards=shards)
        # It serves the hours without weather only: the last fold alone says what its experts are worth.
        spare = spare.model_copy(update={"borders": spec.borders[-1:]})
        plain = fit(seen, spec=spare, seed=seed, threads=threads)
    else:
        full = plain = fit(seen, spec=spare, seed=seed, threads=threads, shards=shards)
    variants: dict[str, Model] = {FULL: full, WITHOUT_WEATHER: plain}
    rivals = unseen.select(last_week="lag_7d_kwh", mean_4_weeks="weeks_4_mean_kwh")
    predicted = _beside_actual(unseen, variants[FULL]).hstack(rivals)
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
        spec=spec,
        metrics={name: summary_of(frame) for name, frame in methods.items()},
        unseen=predicted,
        training_rows=max(seen.height, 0 if shards is None else shards.rows),
        training_starts_at_utc=issues[0],
        training_ends_at_utc=border,
        unseen_starts_at_utc=border,
        unseen_ends_at_utc=issues[-1],
    )


def _beside_actual(features: pl.DataFrame, model: Model) -> pl.DataFrame:
    predicted = model.predict(features)
    return pl.concat([features.select("energy_kwh", "lead_hours"), predicted], how="horizontal")


def _points(features: pl.DataFrame, column: str) -> pl.DataFrame:
    return features.select("meter_id", "energy_kwh", **{name: pl.col(column) for name in QUANTILE_COLUMNS})
