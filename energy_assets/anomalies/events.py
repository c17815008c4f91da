"""Merges flags into events with a stable id, a cause, an energy and cost, a severity and a state.

Flags of one meter and family (data fault, above, below) that follow within a gap are one event; it is an alert once
one of its slots is strong enough. Rebuilding from the same flags gives the same events, whatever the order or batch.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import polars as pl

from energy_assets.anomalies.causes import score_of
from energy_assets.anomalies.feedback import with_states
from energy_assets.anomalies.incidents import with_incidents
from energy_assets.anomalies.limits import DEFAULT_LIMITS, Limits
from energy_assets.anomalies.moved import without_moved_load
from energy_assets.anomalies.vocabulary import RULES
from energy_assets.contracts import ANOMALIES_EVENTS, ANOMALIES_FEEDBACK

Z_90 = 1.645
COST_STEPS = (5.0, 50.0, 500.0)
DAYS_OF_USE_STEPS = (0.25, 1.0, 5.0)
HOURS_STEPS = (3.0, 24.0, 168.0)
SEVERITY_TYPE = pl.Enum(["low", "medium", "high", "critical"])
_RULES = pl.DataFrame(
    {
        "rule": list(RULES),
        "rule_family": [rule.family for rule in RULES.values()],
        "rank": [rule.rank for rule in RULES.values()],
    }
)


def merge_flags(
    flags: pl.DataFrame,
    *,
    meters: pl.DataFrame,
    as_of_utc: datetime,
    prices: pl.DataFrame | None = None,
    earlier: pl.DataFrame | None = None,
    feedback: pl.DataFrame | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> pl.DataFrame:
    """Return the events that `flags` (rows of `anomalies.flags`) make, as rows of `anomalies.events`.

    `meters` are rows of `metering.meters` (interval_minutes, site_id). `as_of_utc` is the end of the last judged day:
    an event that could still grow is open, others are closed. `prices` has starts_at_utc, price_per_kwh and, where
    known, site_id and greenhouse_gas_kg_per_kwh. Give the flags from the start of the oldest open event of `earlier`
    on: an event that continues one of those keeps its id. `feedback` are rows of `anomalies.feedback`.
    """
    slots = _slots(flags, meters=meters, prices=prices)
    events = _aggregate(_grouped(slots, limits=limits), limits=limits, as_of_utc=as_of_utc)
    events = _with_ids(events, earlier=ANOMALIES_EVENTS.empty() if earlier is None else earlier, limits=limits)
    events = with_incidents(events, meters=meters, limits=limits)
    events = with_states(events, feedback=ANOMALIES_FEEDBACK.empty() if feedback is None else feedback, limits=limits)
    events = _within_budget(events, meters=meters, limits=limits)
    return ANOMALIES_EVENTS.conform(events.select(ANOMALIES_EVENTS.column_names)).sort("starts_at_utc", "event_id")


def event_id(*parts: str) -> str:
    """Return a stable identifier of 16 hexadecimal digits."""
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _slots(flags: pl.DataFrame, *, meters: pl.DataFrame, prices: pl.DataFrame | None) -> pl.DataFrame:
    """Return one row a meter and slot: of several rules the one that ranks first; notices make no event."""
    declared = [
        pl.col(name) if name in meters.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in {"site_id": pl.String, "interval_minutes": pl.Int64}.items()
    ]
    slots = (
        flags.lazy()
        .join(_RULES.lazy(), on="rule", how="left", validate="m:1")
        .filter(pl.col("rule_family") != "notice", pl.col("rule") != "iqr_fence")
        .sort("meter_id", "starts_at_utc", "rank")
        .unique(["meter_id", "starts_at_utc"], keep="first", maintain_order=True)
        .join(meters.lazy().select("meter_id", *declared).unique("meter_id"), on="meter_id", how="left", validate="m:1")
        .with_columns(
            interval_minutes=pl.col("interval_minutes").fill_null(60),
            excess_kwh=pl.when(pl.col("rule_family") == "consumption").then(
                pl.col("actual_kwh") - pl.col("expected_kwh")
            ),
        )
        .with_columns(
            family=pl.when(pl.col("rule_family") == "data_fault")
            .then(pl.lit("data_fault"))
            .when(pl.col("excess_kwh") >= 0)
            .then(pl.lit("over"))
            .otherwise(pl.lit("under"))
        )
        .with_columns(lane=_lane(pl.col("rule")))
    )
    priced = _priced(slots, prices=prices)
    return (priced if prices is None else without_moved_load(priced)).collect()


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
    return slots.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in columns.items() if name not in present
    ).with_columns(
        cost=pl.col("excess_kwh") * pl.col("price_per_kwh"),
        greenhouse_gas_kg=pl.col("excess_kwh") * pl.col("greenhouse_gas_kg_per_kwh"),
    )


def _lane(cause: pl.Expr) -> pl.Expr:
    """Return what merges with what: families, but a moved clock, which lasts for days, apart from other data faults."""
    return pl.when(cause == "clock_shift").then(pl.lit("clock")).otherwise(pl.col("family"))


def _gap_hours(limits: Limits) -> pl.Expr:
    """Return the widest gap within an event of each lane."""
    gaps = {"data_fault": limits.fault_gap_hours, "clock": 2 * limits.consumption_gap_hours}
    return pl.col("lane").replace_strict(gaps, default=limits.consumption_gap_hours, return_dtype=pl.Float64)


def _grouped(slots: pl.DataFrame, *, limits: Limits) -> pl.DataFrame:
    """Return the slots with the number of their event: a new one where the gap to the last slot is too wide."""
    allowed = _gap_hours(limits)
    gap_hours = pl.col("starts_at_utc").diff().over("meter_id", "lane").dt.total_minutes() / 60
    return slots.sort("meter_id", "lane", "starts_at_utc").with_columns(
        number=(gap_hours.is_null() | (gap_hours > allowed)).cum_sum()
    )


def _aggregate(slots: pl.DataFrame, *, limits: Limits, as_of_utc: datetime) -> pl.DataFrame:
    by_cause = (
        slots.group_by("number", "rule")
        .agg(pl.col("score").sum().alias("weight"), pl.col("rank").first())
        .sort("number", "weight", "rank", descending=[False, True, False])
        .group_by("number", maintain_order=True)
        .agg(cause=pl.col("rule").first(), confidence=pl.col("weight").first() / pl.col("weight").sum())
    )
    is_fault = pl.col("family").first() == "data_fault"
    spread = pl.col("noise_kwh")
    # Errors of one event are partly shared: half of them add up, half cancel.
    half_width = Z_90 * (0.5 * spread.sum() + 0.5 * (spread**2).sum().sqrt())
    strongest = pl.col("score").arg_max()
    usual = pl.col("expected_kwh").abs().mean() * 1440 / pl.col("interval_minutes").first()
    events = slots.group_by("number", maintain_order=True).agg(
        pl.col("meter_id", "site_id", "family", "lane", "interval_minutes").first(),
        starts_at_utc=pl.col("starts_at_utc").min(),
        ends_at_utc=pl.col("starts_at_utc").max() + pl.duration(minutes=pl.col("interval_minutes").first()),
        slots=pl.len().cast(pl.Int64),
        score=pl.col("score").max(),
        actual_kwh=pl.when(pl.col("actual_kwh").count() > 0).then(pl.col("actual_kwh").sum()),
        expected_kwh=pl.when(is_fault.not_()).then(pl.col("expected_kwh").sum()),
        excess_kwh=pl.when(is_fault.not_()).then(pl.col("excess_kwh").sum()),
        half_width=half_width,
        cost=pl.when(pl.col("cost").count() > 0).then(pl.col("cost").sum()),
        greenhouse_gas_kg=pl.when(pl.col("greenhouse_gas_kg").count() > 0).then(pl.col("greenhouse_gas_kg").sum()),
        usual_kwh_per_day=usual,
        evidence=pl.col("reason").gather(strongest).first(),
        is_exact=((pl.col("rule_family") == "data_fault") & pl.col("expected_kwh").is_null()).any(),
    )
    grows_until = pl.col("ends_at_utc") + pl.duration(minutes=(_gap_hours(limits) * 60).round().cast(pl.Int64))
    named, unnamed = (
        float(score_of(strength, limits=limits)) for strength in (limits.alert_strength, limits.unnamed_strength)
    )
    least = pl.when(pl.col("cause").is_in(["residual_high", "residual_low"])).then(unnamed).otherwise(named)
    return events.join(by_cause, on="number", validate="1:1").with_columns(
        excess_low_kwh=pl.col("excess_kwh") - pl.col("half_width"),
        excess_high_kwh=pl.col("excess_kwh") + pl.col("half_width"),
        severity=_severity(),
        is_alert=pl.col("is_exact") | (pl.col("score") >= least),
        state=pl.when(grows_until >= as_of_utc).then(pl.lit("open")).otherwise(pl.lit("closed")),
        meters=pl.lit(1, dtype=pl.Int64),
    )


def _severity() -> pl.Expr:
    hours = (pl.col("ends_at_utc") - pl.col("starts_at_utc")).dt.total_minutes() / 60
    of_fault = _step(hours, HOURS_STEPS)
    of_energy = _step(pl.col("excess_kwh").abs() / pl.col("usual_kwh_per_day"), DAYS_OF_USE_STEPS)
    of_cost = _step(pl.col("cost").abs(), COST_STEPS)
    return (
        pl.when(pl.col("family") == "data_fault")
        .then(of_fault)
        .when(pl.col("cost").is_not_null())
        .then(of_cost)
        .otherwise(of_energy)
    )


def _step(value: pl.Expr, steps: tuple[float, float, float]) -> pl.Expr:
    return (
        pl.when(value >= steps[2]).then(pl.lit("critical"))
        .when(value >= steps[1]).then(pl.lit("high"))
        .when(value >= steps[0]).then(pl.lit("medium"))
        .otherwise(pl.lit("low"))
    )  # fmt: skip


def _with_ids(events: pl.DataFrame, *, earlier: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Return the events with an id of their first slot, or the id and start of the earlier event they continue."""
    reach = timedelta(hours=max(limits.fault_gap_hours, limits.consumption_gap_hours))
    known = earlier.filter(pl.col("meter_id").is_not_null()).select(
        "meter_id",
        lane=_lane(pl.col("cause")),
        earlier_id="event_id",
        earlier_start="starts_at_utc",
        earlier_end="ends_at_utc",
    )
    continued = (
        events.select("number", "meter_id", "lane", "starts_at_utc", "ends_at_utc")
        .join(known, on=["meter_id", "lane"])
        .filter(
            pl.col("starts_at_utc") < pl.col("earlier_end") + reach, pl.col("ends_at_utc") > pl.col("earlier_start")
        )
        .sort("number", "earlier_start")
        .unique("earlier_id", keep="first", maintain_order=True)
        .unique("number", keep="first", maintain_order=True)
        .select("number", "earlier_id", "earlier_start")
    )
    own = [
        event_id(meter, lane, start.isoformat())
        for meter, lane, start in events.select("meter_id", "lane", "starts_at_utc").iter_rows()
    ]
    return (
        events.with_columns(own_id=pl.Series(own, dtype=pl.String))
        .join(continued, on="number", how="left", validate="1:1")
        .with_columns(
            event_id=pl.coalesce("earlier_id", "own_id"),
            starts_at_utc=pl.min_horizontal("starts_at_utc", "earlier_start"),
        )
    )


def _within_budget(events: pl.DataFrame, *, meters: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Return the events with the consumption alerts of a day cut to the budget, strongest first."""
    budget = max(
        limits.least_alerts_a_day,
        round(limits.alerts_per_meter_month * max(meters.height, events["meter_id"].n_unique()) / 30),
    )
    rank = (
        pl.when(pl.col("is_alert") & (pl.col("family") != "data_fault") & pl.col("meter_id").is_not_null())
        .then(pl.col("score"))
        .rank("ordinal", descending=True)
        .over(pl.col("starts_at_utc").dt.truncate("1d"))
    )
    ordered = events.sort("starts_at_utc", "event_id")
    return ordered.with_columns(is_alert=pl.col("is_alert") & (rank.is_null() | (rank <= budget)))
