"""Anomaly flags: what is wrong or odd about single intervals, by rules with exact reasons."""

from datetime import timedelta

import dagster as dg
import polars as pl

from energy_assets.anomalies.flags import flag_day
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.vocabulary import RULES
from energy_assets.contracts import ANOMALIES_FLAGS, METERS, READINGS_INTERVAL, SITES, WEATHER_OBSERVED
from energy_assets.defs.automation import FRESH_EVERY_MORNING, WHEN_INPUTS_ARRIVE
from energy_assets.defs.contract_checks import checked_window, contract_check
from energy_assets.defs.partitions import DAILY, window_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message, table_of
from energy_assets.lake import Commit, Lake

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
def anomaly_flags(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[None]:
    """What is wrong or odd about one interval of one meter, by which rule, with the evidence in numbers."""
    meters, sites = lake.read(METERS), lake.read(SITES)
    by_rule, commits = [], []
    for piece in window_of(context).pieces(days=_DAYS_AT_ONCE):
        needed = piece.padded(before=timedelta(days=Limits().lookback_days))
        flags = flag_day(
            lake.read(READINGS_INTERVAL, needed),
            meters=meters,
            sites=sites,
            weather=lake.read(WEATHER_OBSERVED, needed),
            window=piece,
        )
        commits.append(lake.replace(ANOMALIES_FLAGS, flags, window=piece, message=run_message(context)))
        by_rule.append(flags.group_by("rule").agg(flags=pl.len(), meters=pl.col("meter_id").n_unique()))
    summary = pl.concat(by_rule).group_by("rule").agg(pl.col("flags").sum(), pl.col("meters").max())
    return report(Commit.together(commits), ANOMALIES_FLAGS, by_rule=summary.sort("flags", descending=True))


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


checks = [contract_check(ANOMALIES_FLAGS), flags_are_the_exception]
