"""The ladder: for every meter and slot the best method that works, and the reasons why no better one did.

Champion, the same model trained without weather, analogues, shape of peers, climatology. Each rung serves what it can
of what is left; the last one serves everything. Nothing here raises because of a model, a registry or a weather feed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import FORECASTS_LOAD, QUANTILE_COLUMNS, UTC_TIME, WEATHER_OBSERVED, WEATHER_QUANTITIES
from energy_assets.contracts.forecasts import METHODS
from energy_assets.errors import ModelError
from energy_assets.forecasts import shapes
from energy_assets.models.archive import FULL, WITHOUT_WEATHER, Model
from energy_assets.models.registry import LoadedModel, UnresolvedModelError, registered_name

Champion = LoadedModel | UnresolvedModelError
Predictor = Callable[[pl.DataFrame], pl.DataFrame]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

KEY = ("meter_id", "issued_at_utc", "starts_at_utc")
RUNGS = METHODS[:5]
_ABOUT = ("commodity", "direction", "known_days", "days_since_reading", "peak_kwh", "scale_kwh", "is_signed")

_DAYS_FOR_MODEL = 8.0  # one day that can be compared with a week before: without it a model knows no noise
_DAYS_UNTIL_STALE = 8.0  # beyond it the same weekday of last week, every model's strongest feature, is unknown
_TIMES_PEAK = 10.0  # weather can lift a heating meter several times above eight mild weeks; a unit error is 1000
_TIMES_PEAK_ON_AVERAGE = 2.0  # and yet all slots together stay below: a load that keeps to its peak is rare enough
_TIMES_SCALE_WITHOUT_PEAK = 30.0
# What a model may raise on rows that it cannot digest; XGBoost's error is a ValueError.
MODEL_FAILURES = (ModelError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError)

_NOTHING = pl.Schema(
    {"meter_id": pl.String(), "issued_at_utc": UTC_TIME, "starts_at_utc": UTC_TIME}
    | dict.fromkeys(QUANTILE_COLUMNS, pl.Float64())
).to_frame()
_NO_OBSTACLE = _NOTHING.select(*KEY, obstacle=pl.lit(None, pl.String))

_MEDIAN = list(QUANTILE_COLUMNS).index("q50")
_log = logging.getLogger(__name__)

Widening = Mapping[str, float]
"""Factor on the deviations from the median by rung; 1 where a rung is missing. `learning` measures it."""


def forecast_meters(
    features: pl.DataFrame,
    *,
    slots: pl.DataFrame,
    known: pl.DataFrame,
    champions: Mapping[str, Champion],
    analogue: Predictor,
    features_hash: str,
    widening: Widening,
    own_days: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the meter rows of `forecasts.load`: exactly one for every row of `slots`.

    Args:
        features: feature rows of the issue; rows may be missing, each missing one costs the rungs that need it.
        slots: what must be served, as `slots.delivery_slots` gives it.
        known: one row per meter, as `standing.standing` gives it, with `site_id`; `peer_group` where one is known.
        champions: what the registry answered, by registered name; a name that is missing counts as `registry_empty`.
        analogue: predictor of the analogue rung; rows that it cannot serve it leaves out or leaves null.
        features_hash: fingerprint of `features`.
        widening: factors on the bands of the rungs.
        own_days: what young meters showed of themselves, as `first_days.first_days` gives it.
    """
    about = slots.join(known.select("meter_id", *_ABOUT), on="meter_id", how="left", validate="m:1")
    left = _with_conditions(about.with_columns(reason=pl.lit(None, pl.String)), features)
    served: list[pl.DataFrame] = []
    for rung, variant in (("champion", FULL), ("without_weather", WITHOUT_WEATHER)):
        output, obstacles = _of_models(left, features, champions=champions, variant=variant)
        left = _serve(served, left, output, rung=rung, obstacles=obstacles, absent="model_broken")
    since = known.select("meter_id", "days_since_reading")
    silent = features.join(since, on="meter_id", how="left", validate="m:1", maintain_order="left")
    left = _serve(served, left, _attempt(analogue, left, silent), rung="analogue", absent="too_few_analogues")
    others = pl.concat(served).select(*slots.columns, *QUANTILE_COLUMNS)
    peers = partial(shapes.peers, own=own_days)
    for rung, shape in (("peers", peers), ("climatology", shapes.climatology)):
        if left.is_empty():
            break
        output = shape(left.select(slots.columns), served=others, known=known)
        left = _serve(served, left, output, rung=rung, absent="no_peers_or_scale")
    return _finished(
        pl.concat(served), known=known, champions=champions, widening=widening, features_hash=features_hash
    )


def _with_conditions(left: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Return rows with `history_obstacle` (no model can serve) and `weather_obstacle` (one with weather cannot)."""
    weather = [name for name in WEATHER_QUANTITIES if name in features.columns]
    nonsense = pl.any_horizontal(pl.lit(value=False), *(_is_nonsense(name) for name in weather))
    temperature = pl.col("temperature_c") if "temperature_c" in weather else pl.lit(None, pl.Float64)
    condition = (
        pl.when(nonsense)
        .then(pl.lit("weather_implausible"))
        .when(~temperature.is_finite().fill_null(value=False))
        .then(pl.lit("weather_missing"))
    )
    per_row = features.select(*KEY, weather_obstacle=condition, has_features=pl.lit(value=True))
    rows = left.join(per_row, on=KEY, how="left", validate="1:1", maintain_order="left")
    history = (
        pl.when(pl.col("has_features").is_null())
        .then(pl.lit("features_missing"))
        .when(pl.col("known_days").fill_null(0) < _DAYS_FOR_MODEL)
        .then(pl.lit("too_little_history"))
        .when(pl.col("days_since_reading").fill_null(_DAYS_UNTIL_STALE) >= _DAYS_UNTIL_STALE)
        .then(pl.lit("readings_stale"))
    )
    return rows.with_columns(history_obstacle=history).drop("has_features")


def _is_nonsense(name: str) -> pl.Expr:
    column = WEATHER_OBSERVED.column(name)
    value = pl.col(name).fill_nan(None)
    low = pl.lit(value=False) if column.minimum is None else value < column.minimum
    high = pl.lit(value=False) if column.maximum is None else value > column.maximum
    return (low | high | value.is_infinite()).fill_null(value=False)


def _of_models(
    left: pl.DataFrame, features: pl.DataFrame, *, champions: Mapping[str, Champion], variant: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what a variant of the champions predicts, and KEY with the obstacle of every row it was not asked for."""
    outputs, obstacles = [_NOTHING], [_NO_OBSTACLE]
    for (commodity, minutes), rows in left.partition_by("commodity", "interval_minutes", as_dict=True).items():
        champion = champions.get(registered_name(str(commodity), interval_minutes=int(minutes)))
        model = _variant_of(champion, variant)
        reason = pl.lit(model) if isinstance(model, str) else pl.lit(None, pl.String)
        weather = [pl.col("weather_obstacle")] if variant == FULL else []
        blocked = rows.with_columns(obstacle=pl.coalesce("history_obstacle", reason, *weather))
        obstacles.append(blocked.filter(pl.col("obstacle").is_not_null()).select(*KEY, "obstacle"))
        if not isinstance(model, str):
            outputs.append(_attempt(model.predict, blocked.filter(pl.col("obstacle").is_null()), features))
    return pl.concat(outputs), pl.concat(obstacles)


def _variant_of(champion: Champion | None, variant: str) -> Model | str:
    """Return the variant of a champion, or the reason why there is none."""
    if champion is None:
        return "registry_empty"
    if isinstance(champion, UnresolvedModelError):
        return champion.reason
    return champion.variants.get(variant, "no_such_variant")


def _attempt(predict: Predictor, rows: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Return KEY and quantiles that `predict` gives for the features of `rows`; nothing where it fails."""
    asked = features.join(rows.select(KEY), on=KEY, how="semi", maintain_order="left")
    if asked.is_empty():
        return _NOTHING
    try:
        return predict(asked).select(*KEY, pl.col(QUANTILE_COLUMNS).cast(pl.Float64).fill_nan(None))
    except MODEL_FAILURES:
        _log.exception("A model failed on %d rows; lower rungs serve them.", asked.height)
        return _NOTHING


def _serve(
    served: list[pl.DataFrame],
    left: pl.DataFrame,
    output: pl.DataFrame,
    *,
    rung: str,
    absent: str,
    obstacles: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Append to `served` what `output` serves wholly and plausibly; return the other rows of `left` with why not."""
    rows = left.join(output, on=KEY, how="left", validate="1:1", maintain_order="left")
    known = _NO_OBSTACLE if obstacles is None else obstacles
    rows = rows.join(known, on=KEY, how="left", validate="1:1", maintain_order="left")
    whole = pl.all_horizontal(pl.col(QUANTILE_COLUMNS).is_finite()).fill_null(value=False)
    rows = rows.with_columns(
        obstacle=pl.when(pl.col("obstacle").is_not_null())
        .then("obstacle")
        .when(~whole)
        .then(pl.lit(absent))
        .when(_is_implausible(rung))
        .then(pl.lit("implausible_output"))
    )
    good = pl.col("obstacle").is_null()
    served.append(
        rows.filter(good).drop("obstacle").with_columns(method=pl.lit(rung), rung=pl.lit(RUNGS.index(rung), pl.Int64))
    )
    told = pl.col("reason").str.split("+").list.contains(pl.col("obstacle")).fill_null(value=False)
    longer = pl.concat_str("reason", "obstacle", separator="+", ignore_nulls=True)
    return (
        rows.filter(~good)
        .select(
            pl.exclude("reason", "obstacle", *QUANTILE_COLUMNS), reason=pl.when(told).then("reason").otherwise(longer)
        )
        .select(left.columns)
    )


def _is_implausible(rung: str) -> pl.Expr:
    """Return whether a meter's output is far beyond what it ever carried; one such slot condemns the whole meter.

    The lower rungs are shapes times a scale that is itself known, so they are not judged.
    """
    if rung not in RUNGS[:3]:
        return pl.lit(value=False)
    largest = pl.max_horizontal(pl.col("q50").abs(), pl.col("q95").abs() / 3)
    beyond_peak, beyond_scale = pl.col("peak_kwh") * _TIMES_PEAK, pl.col("scale_kwh") * _TIMES_SCALE_WITHOUT_PEAK
    has_peak = pl.col("peak_kwh") > 0
    slot_is = largest > pl.when(has_peak).then(beyond_peak).otherwise(beyond_scale)
    average = pl.col("q50").abs().mean().over("meter_id")
    day_is = has_peak & (average > pl.col("peak_kwh") * _TIMES_PEAK_ON_AVERAGE)
    return (slot_is.any().over("meter_id") | day_is).fill_null(value=False)


def _finished(
    rows: pl.DataFrame,
    *,
    known: pl.DataFrame,
    champions: Mapping[str, Champion],
    widening: Widening,
    features_hash: str,
) -> pl.DataFrame:
    """Return the contract's rows: bands widened, quantiles in order, not below zero unless the meter's readings are."""
    factor = pl.col("method").replace_strict(dict(widening), default=1.0, return_dtype=pl.Float64)
    ordered = laddered(
        rows.select(QUANTILE_COLUMNS).to_numpy(),
        factor=rows.select(factor).to_series().to_numpy(),
        is_signed=rows["is_signed"].fill_null(value=False).to_numpy(),
    )
    rows = rows.with_columns(pl.Series(name, ordered[:, index]) for index, name in enumerate(QUANTILE_COLUMNS))
    rows = rows.join(_served_by(rows, champions), on=["commodity", "interval_minutes"], how="left", validate="m:1")
    by_model = pl.col("rung") <= 1
    reason = pl.concat_str(pl.when(by_model).then("notice"), "reason", separator="+", ignore_nulls=True)
    rows = rows.with_columns(
        model_version=pl.when(by_model).then("model_version"), reason=pl.when(reason != "").then(reason)
    )
    sites = known.select("meter_id", "site_id")
    rows = rows.join(sites, on="meter_id", how="left", validate="m:1").rename({"meter_id": "node_id"})
    rows = rows.with_columns(node_kind=pl.lit("meter"), features_hash=pl.lit(features_hash))
    return FORECASTS_LOAD.conform(rows.select(FORECASTS_LOAD.column_names).sort("node_id", "starts_at_utc"))


def laddered(quantiles: Doubles, *, factor: Doubles, is_signed: Bools) -> Doubles:
    """Return quantiles [row, level] with their bands widened by a factor per row, in order, and not below zero.

    Below zero is allowed where the meter's readings are.
    """
    median = quantiles[:, [_MEDIAN]]
    wide = (quantiles - median) * factor[:, None] + median
    ordered: Doubles = np.maximum(np.sort(wide, axis=1), np.where(is_signed, -np.inf, 0.0)[:, None])
    return ordered


def _served_by(rows: pl.DataFrame, champions: Mapping[str, Champion]) -> pl.DataFrame:
    """Return per commodity and interval class the model version that serves it and what was odd about it."""
    classes = rows.select("commodity", "interval_minutes").unique()
    answers = [
        champions.get(registered_name(commodity, interval_minutes=minutes))
        for commodity, minutes in classes.iter_rows()
    ]
    loaded = [answer if isinstance(answer, LoadedModel) else None for answer in answers]
    return classes.with_columns(
        pl.Series("model_version", [each and each.model_version for each in loaded], dtype=pl.String),
        pl.Series("notice", [each and each.notice for each in loaded], dtype=pl.String),
    )
