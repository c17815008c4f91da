"""The rung below the models: the same clock time on past days of the same kind, which needs no training.

The median is the weighted mean of those days, drawn to the latest one; the band comes from how much they differ among
themselves, and, where they are few, from how much the meter's days differ at all its clock times. Tests on real sets
hold the band to what it claims.
"""

from __future__ import annotations

import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.features.calendar import WORKDAY
from energy_assets.forecasts.ladder import KEY
from energy_assets.forecasts.scenarios import LEVEL_SCORES

USED = (
    *("kind_mean_kwh", "kind_latest_kwh", "kind_std_kwh", "days_7_mean_kwh", "days_28_std_kwh", "day_kind"),
    *("analogue_q10_kwh", "analogue_q50_kwh", "analogue_q90_kwh"),
    *("latest_1_kwh", "latest_2_kwh", "latest_3_kwh", "lag_7d_kwh", "lag_14d_kwh", "lag_21d_kwh", "lag_28d_kwh"),
    "days_since_reading",
)
"""Feature columns that this rung reads, and how long the meter is silent; one that is absent counts as unknown."""
_PULL_OF_LATEST = 0.25
_DAYS_OF_POOL = 1.0
_FEW_DAYS = 4
_WIDER_WITH_FEW_DAYS = 1.2
_WIDER_FOR_ANOTHER_KIND = 1.5
_WIDER_AFTER_A_WEEK, _WIDER_AFTER_FOUR_WEEKS = 1.05, 1.2
"""Without readings for that long; meters drift."""
_OLD_DAYS, _DRIFT_OF_OLD = 34.0, 0.3
"""After so many days a week of days at most is left to compare: how far the level went since is a guess."""
_WORKDAYS_PER_WEEK = 5
_ROUNDING = 1e-4
_ISSUE_OF_METER = ["meter_id", "issued_at_utc"]


def analogue_quantiles(features: pl.DataFrame) -> pl.DataFrame:
    """Return KEY and quantiles in kWh of every feature row; null where no day is known at its clock time."""
    known = features.select(
        *KEY,
        *(
            pl.col(name).cast(pl.Float64).fill_nan(None)
            if name in features.columns
            else pl.lit(None, pl.Float64).alias(name)
            for name in USED
        ),
    )
    days = known.with_columns(_counts(), median=_median()).with_columns(spread=_spread())
    return days.select(
        *KEY,
        **{
            name: pl.col("median") + score * pl.col("spread")
            for name, score in zip(QUANTILE_COLUMNS, LEVEL_SCORES.astype(float).tolist(), strict=True)
        },
    )


def _counts() -> list[pl.Expr]:
    """Return about how many days are known at the row's clock time, and how many of them are of its kind."""
    weeks = pl.sum_horizontal(pl.col(f"lag_{7 * week}d_kwh").is_not_null() for week in range(1, 5))
    latest = pl.sum_horizontal(pl.col(f"latest_{rank}_kwh").is_not_null() for rank in (1, 2, 3))
    on_workday = pl.col("day_kind") == WORKDAY
    of_kind = pl.max_horizontal(
        weeks * pl.when(on_workday).then(_WORKDAYS_PER_WEEK).otherwise(1),
        pl.min_horizontal(latest, pl.when(on_workday).then(3).otherwise(1)),
    )
    # Days that are older than four weeks are in the mean and in neither count; two that differ are two at least.
    older = pl.when(_differ("kind_std_kwh", "kind_mean_kwh")).then(2).otherwise(1)
    of_kind = pl.max_horizontal(of_kind, older)
    return [
        pl.when(pl.col("kind_mean_kwh").is_not_null()).then(of_kind).otherwise(0).cast(pl.Float64).alias("of_kind"),
        pl.max_horizontal(latest, 7 * weeks, pl.when(_differ("days_28_std_kwh", "days_7_mean_kwh")).then(2))
        .cast(pl.Float64)
        .alias("of_any_kind"),
    ]


def _differ(deviation: str, mean: str) -> pl.Expr:
    """Return whether days differ at all; one day alone differs from itself by no more than rounding."""
    return pl.col(deviation) > _ROUNDING * pl.col(mean).abs().fill_null(0)


def _median() -> pl.Expr:
    of_kind = pl.col("kind_mean_kwh") + _PULL_OF_LATEST * (pl.col("kind_latest_kwh") - pl.col("kind_mean_kwh"))
    return pl.coalesce(of_kind, "kind_mean_kwh", "days_7_mean_kwh", "analogue_q50_kwh")


def _spread() -> pl.Expr:
    """Return the standard deviation of what may come: of the days, pooled over the meter's slots where they are few."""
    pooled_of_kind = _pooled("kind_std_kwh", "of_kind")
    pooled_of_any = _pooled("days_28_std_kwh", "of_any_kind")
    # With one day alone there is nothing to compare; from slot to slot a meter changes about as from day to day.
    steps = (pl.col("latest_1_kwh") - pl.col("latest_1_kwh").shift(1)) ** 2
    from_slot_to_slot = steps.mean().over(_ISSUE_OF_METER, order_by="starts_at_utc")
    pool = pl.coalesce(
        pl.when(pl.col("of_kind") >= _FEW_DAYS).then(pooled_of_kind), pooled_of_any, pooled_of_kind, from_slot_to_slot
    )
    days = pl.col("of_kind")
    own = pl.coalesce(_unbiased("kind_std_kwh", "of_kind"), pl.col("kind_std_kwh") ** 2, pl.lit(0.0))
    variance = (days * own + _DAYS_OF_POOL * pool) / (days + _DAYS_OF_POOL) * (1 + 1 / (days + 1))
    a_year_ago = ((pl.col("analogue_q90_kwh") - pl.col("analogue_q10_kwh")) / (2 * LEVEL_SCORES[5])) ** 2
    variance = pl.coalesce(variance, a_year_ago)
    wider = pl.when(days == 0).then(_WIDER_FOR_ANOTHER_KIND).when(days < _FEW_DAYS).then(_WIDER_WITH_FEW_DAYS)
    unknown = pl.all_horizontal(pl.col(f"lag_{7 * week}d_kwh").is_null() for week in range(1, 5))
    stale = pl.when(pl.col("latest_1_kwh").is_not_null()).then(1.0).when(~unknown).then(_WIDER_AFTER_A_WEEK)
    drift = pl.when(pl.col("days_since_reading") >= _OLD_DAYS).then(_DRIFT_OF_OLD * pl.col("median")).otherwise(0.0)
    return (variance + drift**2).sqrt() * wider.otherwise(1.0) * stale.otherwise(_WIDER_AFTER_FOUR_WEEKS)


def _pooled(deviation: str, count: str) -> pl.Expr:
    """Return the mean variance over the slots of a meter and issue."""
    return _unbiased(deviation, count).mean().over(_ISSUE_OF_METER, order_by="starts_at_utc")


def _unbiased(deviation: str, count: str) -> pl.Expr:
    """Return the variance of a slot corrected for the few days behind it; null where one day says nothing of it."""
    days = pl.col(count)
    return pl.when(days >= 2).then(pl.col(deviation) ** 2 * days / (days - 1))
