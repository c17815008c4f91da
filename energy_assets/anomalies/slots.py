"""Flags as the slots that events are made of: one rule a slot, its family, what it cost, and load that only moved."""

from __future__ import annotations

import polars as pl

from energy_assets.anomalies.causes import NOTHING
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.moved import without_moved_load
from energy_assets.anomalies.vocabulary import RULES, TELLING

_RULES = pl.DataFrame(
    {
        "rule": list(RULES),
        "rule_family": [rule.family for rule in RULES.values()],
        "rank": [rule.rank for rule in RULES.values()],
    }
)
_METER_COLUMNS = {"site_id": pl.String, "interval_minutes": pl.Int64, "commodity": pl.String, "direction": pl.String}
_EXPORTS = ("production", "grid_export")


def flagged_slots(flags: pl.DataFrame, *, meters: pl.DataFrame, prices: pl.DataFrame | None) -> pl.DataFrame:
    """Return one row a meter and slot: of several rules the one that ranks first; notices make no event.

    Adds `family` (data_fault, over, under), `lane` (what may merge), `off_kwh` (reported minus expected, of any
    family), `cost` and `greenhouse_gas_kg` of it where `prices` has the slot. A price is one of electricity; what is
    produced less costs, too.
    """
    present = [
        pl.col(name).cast(dtype) if name in meters.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in _METER_COLUMNS.items()
    ]
    slots = (
        flags.lazy()
        .join(_RULES.lazy(), on="rule", how="left", validate="m:1")
        .filter(pl.col("rule_family") != "notice", ~pl.col("rule").is_in(TELLING))
        .sort("meter_id", "starts_at_utc", "rank")
        .unique(["meter_id", "starts_at_utc"], keep="first", maintain_order=True)
        .join(meters.lazy().select("meter_id", *present).unique("meter_id"), on="meter_id", how="left", validate="m:1")
        .with_columns(
            interval_minutes=pl.col("interval_minutes").fill_null(60),
            off_kwh=pl.col("actual_kwh") - pl.col("expected_kwh"),
        )
        .with_columns(is_nothing=pl.col("off_kwh").abs() < NOTHING * pl.col("noise_kwh"))
        .with_columns(
            family=pl.when(pl.col("rule_family") == "data_fault")
            .then(pl.lit("data_fault"))
            .when(pl.when("is_nothing").then(pl.col("rule") != "residual_low").otherwise(pl.col("off_kwh") >= 0))
            .then(pl.lit("over"))
            .otherwise(pl.lit("under"))
        )
        .with_columns(lane=lane_of(pl.col("rule"), family=pl.col("family")))
    )
    priced = _priced(slots, prices=prices)
    return (priced if prices is None else without_moved_load(priced)).collect()


def lane_of(cause: pl.Expr, *, family: pl.Expr) -> pl.Expr:
    """Return what merges with what: families, but a moved clock, which lasts for days, apart from other data faults."""
    return pl.when(cause == "clock_shift").then(pl.lit("clock")).otherwise(family)


def gap_hours(lane: pl.Expr, *, limits: Limits) -> pl.Expr:
    """Return the widest gap within an event of each lane, in hours."""
    gaps = {"data_fault": limits.fault_gap_hours, "clock": 2 * limits.consumption_gap_hours}
    return lane.replace_strict(gaps, default=limits.consumption_gap_hours, return_dtype=pl.Float64)


def widest_gap_hours(limits: Limits) -> float:
    """Return the widest gap that any event may have, in hours."""
    return max(limits.fault_gap_hours, 2 * limits.consumption_gap_hours)


def _priced(slots: pl.LazyFrame, *, prices: pl.DataFrame | None) -> pl.LazyFrame:
    columns = {"price_per_kwh": pl.Float64, "greenhouse_gas_kg_per_kwh": pl.Float64}
    if prices is not None:
        on = ["starts_at_utc", *({"site_id"} & set(prices.columns))]
        given = [name for name in columns if name in prices.columns]
        # A price may hold longer than a meter's interval: the one in force at the slot's start.
        ordered = prices.lazy().select(*on, *given).unique(on).sort("starts_at_utc")
        slots = slots.sort("starts_at_utc").join_asof(
            ordered, on="starts_at_utc", by=on[1:] or None, strategy="backward", tolerance="1h", check_sortedness=False
        )
    present = slots.collect_schema().names()
    is_priced = pl.col("commodity").fill_null("electricity") == "electricity"
    sign = pl.when(pl.col("direction").is_in(_EXPORTS)).then(-1.0).otherwise(1.0)
    return (
        slots.with_columns(
            pl.lit(None, dtype=dtype).alias(name) for name, dtype in columns.items() if name not in present
        )
        .with_columns(pl.when(is_priced).then(pl.col(name)).alias(name) for name in columns)
        .with_columns(
            cost=sign * pl.col("off_kwh") * pl.col("price_per_kwh"),
            greenhouse_gas_kg=sign * pl.col("off_kwh") * pl.col("greenhouse_gas_kg_per_kwh"),
        )
    )
