"""Merges flags into events with a stable id, a cause, an energy and cost, a severity and a state.

Flags of one meter and family (data fault, above, below) that follow within a gap are one event. Rebuilding from the
same flags gives the same events, whatever the order, the batch, or the night on which each flag came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime

import polars as pl

from energy_assets.anomalies.alerts import event_days, with_alerts
from energy_assets.anomalies.causes import ODD_SHARE
from energy_assets.anomalies.feedback import with_states
from energy_assets.anomalies.incidents import with_incidents
from energy_assets.anomalies.limits import DEFAULT_LIMITS, Limits
from energy_assets.anomalies.slots import flagged_slots, gap_hours, lane_of
from energy_assets.contracts import ANOMALIES_EVENTS, ANOMALIES_FEEDBACK, Window

Z_90 = 1.645
COST_STEPS = (5.0, 50.0, 500.0)
DAYS_OF_USE_STEPS = (0.25, 1.0, 5.0)
HOURS_STEPS = (3.0, 24.0, 168.0)
# A reading that leaps is no small matter however short: it is in every sum and bill until somebody takes it out.
_NEVER_LOW = ("spike", "impossible", "unit_shift", "register_jump")
_MERELY_ODD = {"over": "residual_high", "under": "residual_low"}


def merged_events(
    flags: pl.DataFrame,
    *,
    meters: pl.DataFrame,
    as_of_utc: datetime,
    prices: pl.DataFrame | None = None,
    days: pl.DataFrame | None = None,
    feedback: pl.DataFrame | None = None,
    replaced: pl.DataFrame | None = None,
    kept: pl.DataFrame | None = None,
    window: Window | None = None,
    since_utc: datetime | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> pl.DataFrame:
    """Return the events that `flags` make, together with those that stay, as rows of `anomalies.events`.

    `flags` are rows of `anomalies.flags`, `meters` of `metering.meters` (interval_minutes, site_id). `as_of_utc` is the
    end of the last judged day: an event that could still grow is open, others are closed. `prices` has starts_at_utc,
    price_per_kwh and, where known, site_id and greenhouse_gas_kg_per_kwh. `days` are rows of `anomalies.days`, for the
    control of false discoveries. `feedback` are rows of `anomalies.feedback`.

    `replaced` are the stored events that `flags` hold all slots of: their ids live on. `kept` are other stored events:
    they count in incidents, budgets and silences, and are returned with those marked anew. Alerts are decided for the
    days of `window` (all by default), incidents told anew from `since_utc` on; what was decided before stays.
    """
    none = ANOMALIES_EVENTS.empty()
    replaced, kept = (none if rows is None else rows for rows in (replaced, kept))
    slots = _grouped(flagged_slots(flags, meters=meters, prices=prices), limits=limits)
    events = _distinct_causes(_aggregate(slots, limits=limits))
    events = _with_ids(events, replaced=replaced, taken=set(kept["event_id"]))
    of_days = event_days(slots, ids=events.select("number", "event_id", "cause"), limits=limits)
    standing = kept.filter(pl.col("meter_id").is_not_null())
    together = pl.concat([events.drop("number", "lane"), standing], how="diagonal_relaxed")
    stored_incidents = pl.concat([replaced, kept]).filter(pl.col("meter_id").is_null())
    together = with_incidents(together, meters=meters, stored=stored_incidents, since_utc=since_utc, limits=limits)
    together = with_alerts(together, of_days=of_days, meters=meters, days=days, window=window, limits=limits)
    together = with_own_states(together, as_of_utc=as_of_utc, limits=limits)
    said = ANOMALIES_FEEDBACK.empty() if feedback is None else feedback
    together = with_states(together, feedback=said, limits=limits)
    return ANOMALIES_EVENTS.conform(together.select(ANOMALIES_EVENTS.column_names)).sort("starts_at_utc", "event_id")


def event_id(*parts: str) -> str:
    """Return a stable identifier of 16 hexadecimal digits."""
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _grouped(slots: pl.DataFrame, *, limits: Limits) -> pl.DataFrame:
    """Return the slots with the number of their event: a new one where the gap to the last slot is too wide."""
    allowed = gap_hours(pl.col("lane"), limits=limits)
    apart = pl.col("starts_at_utc").diff().over("meter_id", "lane").dt.total_minutes() / 60
    return slots.sort("meter_id", "lane", "starts_at_utc").with_columns(
        number=(apart.is_null() | (apart > allowed)).cum_sum()
    )


def _aggregate(slots: pl.DataFrame, *, limits: Limits) -> pl.DataFrame:
    by_cause = (
        slots.group_by("number", "rule")
        .agg(
            weight=pl.col("score").sum(),
            rank=pl.col("rank").first(),
            evidence=pl.col("reason").gather(pl.col("score").arg_max()).first(),
        )
        .sort("number", "weight", "rank", descending=[False, True, False])
        .group_by("number", maintain_order=True)
        .agg(
            pl.col("evidence").first(),
            cause=pl.col("rule").first(),
            confidence=pl.col("weight").first() / pl.col("weight").sum(),
        )
    )
    is_fault = pl.col("family").first() == "data_fault"
    spread = pl.col("noise_kwh").fill_null(0.0)
    # Errors of one event are partly shared: half of them add up, half cancel.
    half_width = Z_90 * (0.5 * spread.sum() + 0.5 * (spread**2).sum().sqrt())
    minutes = pl.col("interval_minutes").first()
    ends = pl.col("starts_at_utc").max() + pl.duration(minutes=minutes)
    events = slots.group_by("number", maintain_order=True).agg(
        pl.col("meter_id", "site_id", "family", "lane").first(),
        starts_at_utc=pl.col("starts_at_utc").min(),
        ends_at_utc=ends,
        slots=pl.len().cast(pl.Int64),
        score=pl.col("score").max(),
        actual_kwh=_sum("actual_kwh"),
        expected_kwh=_sum("expected_kwh"),
        half_width=pl.when(is_fault.not_()).then(half_width),
        off_kwh=_sum("off_kwh"),
        off_cost=_sum("cost"),
        cost=pl.when(is_fault.not_()).then(_sum("cost")),
        greenhouse_gas_kg=pl.when(is_fault.not_()).then(_sum("greenhouse_gas_kg")),
        usual_kwh_per_day=pl.col("expected_kwh").abs().mean() * 1440 / minutes,
        first_seen_utc=_day_end(pl.col("starts_at_utc").min()),
        last_seen_utc=_day_end(pl.col("starts_at_utc").max()),
    )
    excess = pl.when(pl.col("family") != "data_fault").then(pl.col("actual_kwh") - pl.col("expected_kwh"))
    return (
        events.join(by_cause, on="number", validate="1:1")
        .with_columns(
            excess_kwh=excess, severity=_severity(), meters=pl.lit(1, dtype=pl.Int64), score=_sureness(limits)
        )
        .with_columns(
            excess_low_kwh=pl.col("excess_kwh") - pl.col("half_width"),
            excess_high_kwh=pl.col("excess_kwh") + pl.col("half_width"),
        )
        .drop("half_width", "off_kwh", "off_cost", "usual_kwh_per_day")
    )


def _sureness(limits: Limits) -> pl.Expr:
    """Return the score of an event: that of its strongest slot, less by the handicap of what is merely odd."""
    strength = -limits.score_scale * (1 - pl.col("score") / ODD_SHARE).clip(1e-9).log()
    handicap = limits.unnamed_strength - limits.alert_strength
    lowered = ODD_SHARE * (1 - (-(strength - handicap).clip(0) / limits.score_scale).exp())
    return pl.when(pl.col("cause").is_in(list(_MERELY_ODD.values()))).then(lowered).otherwise("score")


def _sum(column: str) -> pl.Expr:
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum())


def _day_end(moment: pl.Expr) -> pl.Expr:
    return moment.dt.truncate("1d") + pl.duration(days=1)


def _severity() -> pl.Expr:
    """Return the step of the cost, or of the energy without one; of a data fault that of its duration if higher."""
    hours = (pl.col("ends_at_utc") - pl.col("starts_at_utc")).dt.total_minutes() / 60
    of_amount = pl.coalesce(
        _step(pl.col("off_cost").abs(), COST_STEPS),
        _step(pl.col("off_kwh").abs() / pl.col("usual_kwh_per_day"), DAYS_OF_USE_STEPS),
        pl.lit(0),
    )
    floor = pl.when(pl.col("cause").is_in(_NEVER_LOW)).then(1).otherwise(0)
    of_fault = pl.max_horizontal(of_amount, _step(hours, HOURS_STEPS), floor)
    step = pl.when(pl.col("family") == "data_fault").then(of_fault).otherwise(of_amount)
    names = {0: "low", 1: "medium", 2: "high", 3: "critical"}
    return step.replace_strict(names, return_dtype=pl.String)


def _step(value: pl.Expr, steps: tuple[float, float, float]) -> pl.Expr:
    reached = pl.sum_horizontal((value >= step).cast(pl.Int32) for step in steps)
    return pl.when(value.is_not_null() & value.is_not_nan()).then(reached)


def _distinct_causes(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events so that no two of one meter and cause overlap: the weaker of two is merely odd.

    What is above and what is below the expectation may alternate, and both may look like another level.
    """
    consumption = events.filter(pl.col("family") != "data_fault").select(
        "number", "meter_id", "cause", "starts_at_utc", "ends_at_utc", weight=pl.col("score") * pl.col("slots")
    )
    rivals = consumption.join(consumption, on=["meter_id", "cause"], suffix="_of_other").filter(
        pl.col("number") != pl.col("number_of_other"),
        pl.col("starts_at_utc") < pl.col("ends_at_utc_of_other"),
        pl.col("starts_at_utc_of_other") < pl.col("ends_at_utc"),
    )
    weaker = (pl.col("weight") < pl.col("weight_of_other")) | (
        (pl.col("weight") == pl.col("weight_of_other")) & (pl.col("starts_at_utc") > pl.col("starts_at_utc_of_other"))
    ) | (
        (pl.col("weight") == pl.col("weight_of_other")) & (pl.col("starts_at_utc") == pl.col("starts_at_utc_of_other"))
        & (pl.col("number") > pl.col("number_of_other"))
    )  # fmt: skip
    lost = rivals.filter(weaker)["number"].unique()
    renamed = pl.col("number").is_in(lost.implode())
    return events.with_columns(
        cause=pl.when(renamed).then(pl.col("family").replace(_MERELY_ODD)).otherwise("cause"),
        confidence=pl.when(renamed).then(1 - pl.col("confidence")).otherwise("confidence"),
    )


def _with_ids(events: pl.DataFrame, *, replaced: pl.DataFrame, taken: Collection[str]) -> pl.DataFrame:
    """Return the events with an id of their first slot, or the id and past alert of the stored event they continue.

    Of several stored events that grew together the one that people spoke about lives on, else the first.
    """
    known = replaced.filter(pl.col("meter_id").is_not_null()).select(
        "meter_id",
        lane=lane_of(pl.col("cause"), family=pl.col("family")),
        stored_id="event_id",
        stored_start="starts_at_utc",
        stored_end="ends_at_utc",
        stored_alert="alerted_at_utc",
        stored_incident="incident_id",
        is_silent=pl.col("state").is_in(["open", "closed"]),
    )
    continued = (
        events.select("number", "meter_id", "lane", "starts_at_utc", "ends_at_utc")
        .join(known, on=["meter_id", "lane"])
        .filter(pl.col("starts_at_utc") < pl.col("stored_end"), pl.col("ends_at_utc") > pl.col("stored_start"))
        .sort("is_silent", "number", "stored_start", "stored_id")
        .unique("stored_id", keep="first", maintain_order=True)
        .unique("number", keep="first", maintain_order=True)
        .select("number", "stored_id", alerted_at_utc="stored_alert", incident_id="stored_incident")
    )
    events = events.join(continued, on="number", how="left", validate="1:1")
    used = set(taken) | set(continued["stored_id"])
    ids = []
    for stored, meter, lane, start in events.select("stored_id", "meter_id", "lane", "starts_at_utc").iter_rows():
        own = stored or event_id(meter, lane, start.isoformat())
        # An event that lost its first slot keeps its name; another one that begins there later needs its own.
        while stored is None and own in used:
            own = event_id(own)
        used.add(own)
        ids.append(own)
    return events.with_columns(event_id=pl.Series(ids, dtype=pl.String)).drop("stored_id")


def with_own_states(events: pl.DataFrame, *, as_of_utc: datetime, limits: Limits) -> pl.DataFrame:
    """Return the events as open where they could still grow, else closed, whatever was said about them."""
    lane = lane_of(pl.col("cause"), family=pl.col("family"))
    hours = (gap_hours(lane, limits=limits) * 60).round().cast(pl.Int64)
    could_grow = pl.col("ends_at_utc") + pl.duration(minutes=hours) >= as_of_utc
    return events.with_columns(state=pl.when(could_grow).then(pl.lit("open")).otherwise(pl.lit("closed")))
