"""Which events deserve a person's attention on which day: strong, no chance finding, and within the day's budget.

An event alerts on the first day that shows it so; what happens later on other meters takes that back no more. Days are
decided one after another, also when many are judged at once; an event's cause is then that of all its days.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from energy_assets.anomalies.causes import score_of, strength_of_score
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.vocabulary import RULES
from energy_assets.contracts import UTC_TIME, Window

# Known by their words or numbers alone; another unit, a moved clock and swapped meters are read off a shape.
_EXACT = tuple(
    name for name, rule in RULES.items()
    if rule.family == "data_fault" and name not in {"unit_shift", "clock_shift", "swapped"}
)  # fmt: skip
_UPPER = 1.645  # the 95th percentile of a normal law, in standard deviations
_UNNAMED = ("residual_high", "residual_low")
_ABSENCES = ("gap", "partial", "spread")


def event_days(slots: pl.DataFrame, *, ids: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Return one row an event and UTC day: how strong it was at its worst, for how many slots, and if that is enough.

    `slots` have the number of their event, `ids` its event_id and cause.
    """
    named, unnamed = (
        float(score_of(strength, limits=limits)) for strength in (limits.alert_strength, limits.unnamed_strength)
    )
    exact = pl.col("rule").is_in(_EXACT) | ((pl.col("rule") == "unit_shift") & (pl.col("score") >= 1))
    least = pl.when(pl.col("cause").is_in(_UNNAMED)).then(unnamed).otherwise(named)
    # Hours of the event up to the end of the day: a missing hour, which a register often makes good, is nobody's task.
    hours = (pl.col("slots") * pl.col("interval_minutes")).cum_sum().over("event_id") / 60
    is_long = ~pl.col("cause").is_in(_ABSENCES) | (hours >= limits.alert_gap_hours)
    return (
        slots.group_by("number", day=pl.col("starts_at_utc").dt.truncate("1d"))
        .agg(
            pl.col("meter_id", "family", "commodity", "interval_minutes").first(),
            score=pl.col("score").max(),
            slots=pl.len(),
            is_exact=exact.any(),
        )
        .join(ids, on="number", validate="m:1")
        .sort("day", "event_id")
        .with_columns(
            pl.col("commodity").fill_null(""), is_strong=(pl.col("is_exact") | (pl.col("score") >= least)) & is_long
        )
    )


def with_alerts(
    events: pl.DataFrame, *, of_days: pl.DataFrame, meters: pl.DataFrame, days: pl.DataFrame | None,
    window: Window | None, limits: Limits,
) -> pl.DataFrame:  # fmt: skip
    """Return the events with `alerted_at_utc`: decided anew for the days of `window`, as it was for others.

    Members of an incident do not alert: the incident does, once one of them is strong.
    """
    if window is None:
        decided = pl.lit(None, dtype=UTC_TIME)
    else:
        # An alert bears the end of its day: those of the window's days lie in (start, end].
        anew = pl.col("alerted_at_utc").is_between(window.starts_at_utc, window.ends_at_utc, closed="right")
        decided = pl.when(anew.not_()).then(pl.col("alerted_at_utc"))
        of_days = of_days.filter(pl.col("day") >= window.starts_at_utc, pl.col("day") < window.ends_at_utc)
    events = events.with_columns(alerted_at_utc=decided)
    belongs = events.filter(pl.col("meter_id").is_not_null()).select("event_id", "incident_id")
    strong = _surprising(of_days, days=days, limits=limits).filter("is_strong", "is_surprising")
    strong = strong.join(belongs, on="event_id", validate="m:1")
    chosen = _within_budget(
        strong.filter(pl.col("incident_id").is_null()),
        before=set(events.drop_nulls("alerted_at_utc")["event_id"]),
        meters=max(meters.height, events["meter_id"].n_unique()),
        limits=limits,
    )
    of_incidents = (
        strong.drop_nulls("incident_id")
        .group_by(event_id="incident_id")
        .agg(chosen_at_utc=(pl.col("day").min() + timedelta(days=1)).cast(UTC_TIME))
    )
    found = pl.concat([chosen, of_incidents])
    return (
        events.join(found, on="event_id", how="left", validate="1:1")
        .with_columns(alerted_at_utc=pl.coalesce("alerted_at_utc", "chosen_at_utc"))
        .drop("chosen_at_utc")
    )


def _surprising(of_days: pl.DataFrame, *, days: pl.DataFrame | None, limits: Limits) -> pl.DataFrame:
    """Return the event-days with `is_surprising`: so strong that few of the day's like would be chance.

    Benjamini and Hochberg's step-up per day and kind of meter. The chance of a strength is that of a normal law with
    the median and 95th percentile of all meters of the kind on that very day (an empirical null, after Efron; what real
    meters reach goes beyond what their quartiles say), so that a day that is odd for everybody alarms nobody; of fewer
    than `null_least_meters` the limits' own figures are taken.
    """
    if days is None or limits.false_discovery_share >= 1 or of_days.is_empty():
        return of_days.with_columns(is_surprising=pl.lit(value=True))
    kind = ["day", "commodity", "interval_minutes"]
    few = pl.col("meters") < limits.null_least_meters
    nulls = days.select(
        pl.col("starts_at_utc").alias("day"),
        "commodity",
        "interval_minutes",
        "meters",
        middle=pl.when(few).then(limits.null_median_strength).otherwise("median_strength"),
        upper=pl.when(few).then(limits.null_upper_strength).otherwise("upper_strength"),
    )
    judged = of_days.join(nulls, on=kind, how="left", validate="m:1").with_columns(
        meters=pl.col("meters").fill_null(1),
        middle=pl.col("middle").fill_null(limits.null_median_strength),
        upper=pl.col("upper").fill_null(limits.null_upper_strength),
    )
    strength = strength_of_score(judged["score"].to_numpy(), limits=limits)
    spread = np.maximum((judged["upper"] - judged["middle"]).to_numpy(), 1.0) / _UPPER
    away = (strength - judged["middle"].to_numpy()) / spread
    chance = np.asarray([0.5 * math.erfc(value / math.sqrt(2)) for value in away])
    consumption = pl.col("is_exact").not_()
    ordered = judged.with_columns(chance=pl.Series(chance)).sort(*kind, "is_exact", "chance", "event_id")
    place = pl.int_range(1, pl.len() + 1).over(*kind, "is_exact")
    within = pl.col("chance") * pl.col("meters") <= limits.false_discovery_share * pl.col("place")
    last = pl.col("place").filter(within).max().over(*kind, "is_exact").fill_null(0)
    return (
        ordered.with_columns(place=place)
        .with_columns(is_surprising=~consumption | (pl.col("place") <= last))
        .select(*of_days.columns, "is_surprising")
    )


def _within_budget(strong: pl.DataFrame, *, before: set[str], meters: int, limits: Limits) -> pl.DataFrame:
    """Return `event_id, chosen_at_utc` of the first day on which each event is among the strongest of its family."""
    most = limits.most_alerts_a_day
    share = max(limits.least_alerts_a_day, round(limits.alerts_per_meter_month * meters / 30))
    budget = {False: share if most is None else min(share, most), True: most}
    # Consumption by its score; data faults by how long they lasted on the day.
    ranked = strong.with_columns(is_fault=pl.col("family") == "data_fault").with_columns(
        weight=pl.when("is_fault").then(pl.col("slots")).otherwise(0)
    )
    ordered = ranked.sort("day", "weight", "score", "event_id", descending=[False, True, True, False])
    done, spent = set(before), Counter[tuple[datetime, bool]]()
    chosen: list[tuple[str, datetime]] = []
    for day, event, fault in ordered.select("day", "event_id", "is_fault").iter_rows():
        allowed = budget[fault]
        if event in done or (allowed is not None and spent[day, fault] >= allowed):
            continue
        done.add(event)
        spent[day, fault] += 1
        chosen.append((event, day + timedelta(days=1)))
    schema = pl.Schema({"event_id": pl.String(), "chosen_at_utc": UTC_TIME})
    return pl.DataFrame(chosen, schema=schema, orient="row")
