"""Anomaly flags, what is wrong or odd about single intervals; and the events that they make, for people to act on."""

from datetime import date, datetime

import dagster as dg
import polars as pl

from energy_assets.anomalies.limits import MORNING_LIMITS
from energy_assets.anomalies.vocabulary import RULES, reasons_without_a_rule
from energy_assets.contracts import (
    ANOMALIES_DAYS,
    ANOMALIES_EVENTS,
    ANOMALIES_FLAGS,
    METERS,
    READINGS_INTERVAL,
    WEATHER_OBSERVED,
    Window,
)
from energy_assets.defs.anomaly_days import days_unlike_their_profile, fences, judged_days
from energy_assets.defs.anomaly_events import attention, changed_events
from energy_assets.defs.automation import FRESH_EVERY_MORNING, WHEN_INPUTS_ARRIVE
from energy_assets.defs.contract_checks import checked_window, contract_check
from energy_assets.defs.partitions import DAILY, window_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message, table_of
from energy_assets.lake import Change, Commit, Lake
from energy_assets.settings import Settings
from energy_assets.sql import Query

DATA_FAULTS = [name for name, rule in RULES.items() if rule.family == "data_fault"]
_DAYS_AT_ONCE = 31
_MOST_FLAGGED_FRACTION = 0.2


@dg.asset(
    **looks_of(ANOMALIES_FLAGS),
    description=ANOMALIES_FLAGS.description,
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[READINGS_INTERVAL.asset_key, WEATHER_OBSERVED.asset_key, METERS.asset_key],
    automation_condition=WHEN_INPUTS_ARRIVE,
    freshness_policy=FRESH_EVERY_MORNING,
)
def anomaly_flags(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """What is wrong or odd about one interval of one meter, by which rule, with the evidence in numbers."""
    by_rule, commits = [], []
    for piece in window_of(context).pieces(days=_DAYS_AT_ONCE):
        judged = judged_days(lake, window=piece)
        beside = (
            fences(lake, window=piece, factor=settings.fence_factor),
            days_unlike_their_profile(lake, window=piece, settings=settings),
        )
        flags = pl.concat([judged.flags, *beside])
        tables = {ANOMALIES_FLAGS: flags, ANOMALIES_DAYS: judged.days}
        changes = [Change(table=table, rows=rows, window=piece) for table, rows in tables.items()]
        commits.append(lake.commit(changes, message=run_message(context)))
        by_rule.append(flags.group_by("rule").agg(flags=pl.len(), meters=pl.col("meter_id").n_unique()))
    summary = pl.concat(by_rule).group_by("rule").agg(pl.col("flags").sum(), pl.col("meters").max())
    return report(Commit.together(commits), ANOMALIES_FLAGS, by_rule=summary.sort("flags", descending=True))


@dg.asset(
    **looks_of(ANOMALIES_EVENTS),
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[ANOMALIES_FLAGS.asset_key, METERS.asset_key],
    automation_condition=WHEN_INPUTS_ARRIVE,
    freshness_policy=FRESH_EVERY_MORNING,
)
def anomaly_events(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[None]:
    """What happened to a meter, or to many of a site at once: cause, evidence, energy, cost at the price, state.

    An event keeps its id through re-runs and late data, and what people said about it. Few ask for attention: those
    that stand out on a day are alerts, within a budget.
    """
    window = window_of(context)
    commits, seen = [], []
    for piece in window.pieces(days=_DAYS_AT_ONCE):
        changes = changed_events(lake, window=piece, limits=MORNING_LIMITS)
        change = Change(table=ANOMALIES_EVENTS, rows=changes.rows, where={"event_id": changes.touched_ids})
        commits.append(lake.commit([change], message=run_message(context)))
        seen.append(changes.events)
    events = pl.concat(seen).unique("event_id", keep="last")
    return report(
        Commit.together(commits),
        ANOMALIES_EVENTS,
        new_alerts=events.filter(pl.col("alerted_at_utc").is_between(window.starts_at_utc, window.ends_at_utc)).height,
        by_state=events.group_by("state").agg(events=pl.len(), alerts=pl.col("is_alert").sum()).sort("state"),
        to_look_at=attention(events),
    )


@dg.asset_check(asset=ANOMALIES_FLAGS.asset_key, name="flags_are_the_exception")
def flags_are_the_exception(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """At most a fifth of the meters have a data fault on the newest day; more means that a feed or a rule is broken."""
    window = checked_window(context)
    flags = lake.read(ANOMALIES_FLAGS, window, columns=["meter_id", "starts_at_utc", "rule"])
    flags = flags.filter(pl.col("rule").is_in(DATA_FAULTS))
    newest = flags.filter(pl.col("starts_at_utc").dt.date() == pl.col("starts_at_utc").dt.date().max())
    flagged = newest["meter_id"].n_unique() if newest.height else 0
    share = flagged / max(lake.count(METERS), 1)
    return dg.AssetCheckResult(
        passed=share <= _MOST_FLAGGED_FRACTION,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{flagged} meters ({share:.0%}) have a data fault on the newest day",
        metadata={"by_rule": table_of(newest.group_by("rule").len().sort("len", descending=True))},
    )


@dg.asset_check(asset=ANOMALIES_FLAGS.asset_key, name="every_reason_has_a_rule")
def every_reason_has_a_rule(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Every reason that cleaning gave has a rule; one that has none is flagged as refused, and named here."""
    reasons = lake.query(Query.from_file("energy_assets.defs", "anomaly_reasons", **_bounds(context)))["reason"]
    unknown = reasons_without_a_rule(reasons)
    return dg.AssetCheckResult(
        passed=not unknown,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"without a rule: {', '.join(unknown)}" if unknown else f"{len(reasons)} reasons, all known",
    )


@dg.asset_check(asset=ANOMALIES_EVENTS.asset_key, name="events_of_one_meter_and_cause_do_not_overlap", blocking=True)
def events_do_not_overlap(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """No two events of one meter and cause overlap: nothing is counted twice."""
    return _none_of(lake, Query.from_file("energy_assets.defs", "anomaly_overlaps"), what="overlap")


@dg.asset_check(asset=ANOMALIES_EVENTS.asset_key, name="excess_is_actual_minus_expected", blocking=True)
def excess_is_actual_minus_expected(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """The excess of an event is reported minus expected energy, and lies in its interval; data faults have none."""
    return _none_of(lake, Query.from_file("energy_assets.defs", "anomaly_wrong_excess"), what="have a wrong excess")


@dg.asset_check(asset=ANOMALIES_EVENTS.asset_key, name="events_stand_on_flags", blocking=True)
def events_stand_on_flags(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Every event of the days has as many flagged slots as it says."""
    query = Query.from_file("energy_assets.defs", "anomaly_events_without_flags", **_bounds(context))
    return _none_of(lake, query, what="stand on fewer flags than they say")


@dg.asset_check(asset=ANOMALIES_EVENTS.asset_key, name="people_see_few_events_a_day")
def people_see_few_events_a_day(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """New alerts of the newest day, incidents apart, are within the budget of people's attention."""
    alerts = lake.read(ANOMALIES_EVENTS, where={"is_alert": True}, columns=["meter_id", "family", "alerted_at_utc"])
    newest = alerts.filter(pl.col("alerted_at_utc") == pl.col("alerted_at_utc").max()).drop_nulls("meter_id")
    most = 2 * (MORNING_LIMITS.most_alerts_a_day or 0)
    return dg.AssetCheckResult(
        passed=newest.height <= most,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{newest.height} new alerts on the newest day, at most {most}",
        metadata={"by_family": table_of(newest.group_by("family").len())},
    )


def _bounds(context: dg.AssetCheckExecutionContext) -> dict[str, datetime]:
    window = checked_window(context) or Window.of_days(date(1970, 1, 1), date(2199, 12, 31))
    return {"starts": window.starts_at_utc, "ends": window.ends_at_utc}


def _none_of(lake: Lake, query: Query, *, what: str) -> dg.AssetCheckResult:
    found = lake.query(query)
    return dg.AssetCheckResult(
        passed=found.is_empty(),
        description=f"{found.height} events {what}",
        metadata={"events": table_of(found)},
    )


checks = [
    contract_check(ANOMALIES_FLAGS),
    contract_check(ANOMALIES_EVENTS),
    flags_are_the_exception,
    every_reason_has_a_rule,
    events_do_not_overlap,
    excess_is_actual_minus_expected,
    events_stand_on_flags,
    people_see_few_events_a_day,
]
