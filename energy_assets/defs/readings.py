"""Readings: landed as they came, refused with a reason, and turned into energy per meter and interval."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    METERS,
    READINGS_INTERVAL,
    READINGS_LANDINGS,
    READINGS_QUARANTINE,
    READINGS_RAW,
    READINGS_SEGMENTS,
    WEATHER_OBSERVED,
    Window,
)
from energy_assets.defs.automation import FRESH_EVERY_MORNING, WHEN_INPUTS_ARRIVE
from energy_assets.defs.contract_checks import checked_window, contract_check
from energy_assets.defs.partitions import DAILY, window_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message, specs_of, table_of
from energy_assets.ingestion import land_all
from energy_assets.lake import Commit, Lake
from energy_assets.message_landing import DUMPS, expire_segments, spools
from energy_assets.messaging.health import recorder_figures, recorders_of
from energy_assets.readings.cleaning import DAYS_AT_ONCE, interval_query
from energy_assets.readings.judgements import judge_account, judge_completeness
from energy_assets.readings.known_dirt import known_dirt_of
from energy_assets.readings.source import load_sources
from energy_assets.settings import Settings
from energy_assets.sql import Query
from energy_assets.weather.alignment import LARGEST_LAG_H, response_fit

_CLOCK_DAYS = timedelta(days=90)


@dg.asset(**looks_of(READINGS_SEGMENTS), retry_policy=dg.RetryPolicy(max_retries=2, delay=5))
def landed_segments(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """New segments of MQTT messages, landed in readings.raw and accounted for; what was landed is deleted when old."""
    return dg.MaterializeResult(metadata=land_messages(lake, settings, message=run_message(context)))


def land_messages(lake: Lake, settings: Settings, *, message: str) -> dict[str, Any]:
    """Land the waiting segments of every source, delete what is old, and return what there is to tell about it.

    Raises:
        SourceError: no source could be read at all.
    """
    folders = spools(load_sources(settings.sources_folder))
    readers = [source for each in folders.values() for source in each]
    landed = land_all(lake, readers, window=None, now=datetime.now(UTC), message=message)
    expired = [
        path
        for folder, those in folders.items()
        for path in expire_segments(lake, folder, those, keep_days=settings.spool_keep_days, now=datetime.now(UTC))
    ]
    recorders = [each for folder in folders for each in recorders_of(folder)]
    return {
        **{name: count for name, count in asdict(landed.counts).items() if name != "stored"},
        "dagster/row_count": landed.counts.stored,
        "sources": dg.MetadataValue.json(landed.by_source),
        "failed_sources": dg.MetadataValue.json(landed.failures),
        "expired_segments": len(expired),
        **recorder_figures(recorders),
        "recorders": dg.MetadataValue.json([asdict(each) for each in recorders]),
        "lake_snapshot": landed.snapshot_id,
    }


@dg.multi_asset(
    name="landed_readings",
    specs=specs_of(
        (READINGS_RAW, READINGS_QUARANTINE),
        freshness_policy=FRESH_EVERY_MORNING,
        deps=[METERS.asset_key, READINGS_SEGMENTS.asset_key],
    ),
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
)
def landed_readings(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Readings of the day as every declared source gives them; rows in = stored + duplicate + quarantined."""
    window = window_of(context)
    landed = land_all(
        lake, load_sources(settings.sources_folder), window=window, now=datetime.now(UTC), message=run_message(context)
    )
    yield dg.MaterializeResult(
        asset_key=READINGS_RAW.asset_key,
        metadata={
            "dagster/row_count": landed.counts.stored,
            "rows_in": landed.counts.rows_in,
            "duplicate": landed.counts.duplicate,
            "quarantined": landed.counts.quarantined,
            "sources": dg.MetadataValue.json(landed.by_source),
            "failed_sources": dg.MetadataValue.json(landed.failures),
            "lake_snapshot": landed.snapshot_id,
        },
    )
    reasons = lake.query(Query.from_file("energy_assets.defs", "quarantine_reasons"))
    yield dg.MaterializeResult(
        asset_key=READINGS_QUARANTINE.asset_key,
        metadata={"dagster/row_count": landed.counts.quarantined, "reasons_of_all_time": table_of(reasons)},
    )


@dg.asset_check(asset=READINGS_RAW.asset_key, name="every_row_is_accounted_for", blocking=True)
def every_row_is_accounted_for(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Rows in = stored + duplicate + quarantined for every source, and the table holds what the account says."""
    account = judge_account(lake.query(Query.from_file("energy_assets.defs", "landing_account", **_bounds(context))))
    return dg.AssetCheckResult(
        passed=account.holds, description=account.statement, metadata={"account": table_of(account.rows)}
    )


@dg.asset_check(asset=READINGS_RAW.asset_key, name="every_source_could_be_read")
def every_source_could_be_read(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Every declared source has an account for the run's days; one that is down is named, and the others go on."""
    window = checked_window(context)
    landed = set(lake.read(READINGS_LANDINGS, window, columns=["source"])["source"])
    asked = (source for source in load_sources(settings.sources_folder) if not source.options.get(DUMPS))
    silent = sorted(source.name for source in asked if source.name not in landed)
    return dg.AssetCheckResult(
        passed=not silent,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"no rows from {', '.join(silent)}" if silent else "every source gave rows",
    )


@dg.asset(
    **looks_of(READINGS_INTERVAL),
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[READINGS_RAW.asset_key, METERS.asset_key],
    automation_condition=WHEN_INPUTS_ARRIVE,
    freshness_policy=FRESH_EVERY_MORNING,
)
def interval_readings(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Energy per meter and interval, in kWh; gaps stay null and say why."""
    window = window_of(context)
    dirt = known_dirt_of(load_sources(settings.sources_folder))
    commits = [
        lake.replace(
            READINGS_INTERVAL, interval_query(piece, known_dirt=dirt), window=piece, message=run_message(context)
        )
        for piece in window.pieces(days=DAYS_AT_ONCE)
    ]
    quality = lake.query(
        Query.from_file("energy_assets.defs", "interval_quality", starts=window.starts_at_utc, ends=window.ends_at_utc)
    )
    return report(Commit.together(commits), READINGS_INTERVAL, quality=quality)


@dg.asset_check(asset=READINGS_INTERVAL.asset_key, name="newest_reading_is_recent")
def newest_reading_is_recent(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """Every source has a measured interval in the run's days or later: a run that came does not say that data did."""
    window = checked_window(context)
    newest = lake.query(Query.from_file("energy_assets.defs", "newest_by_source"))
    declared = {source.name for source in load_sources(settings.sources_folder) if not source.options.get(DUMPS)}
    border = window.starts_at_utc if window else None
    judged = newest.filter(pl.col("source").is_in(sorted(declared)))
    stale = judged.filter(pl.col("newest") < border) if border is not None else judged.clear()
    told = ", ".join(f"{source} ends {at:%Y-%m-%d %H:%M} UTC" for source, at in stale.iter_rows())
    return dg.AssetCheckResult(
        passed=stale.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=told or f"{judged.height} sources have readings of the newest day",
        metadata={"newest": table_of(newest)},
    )


@dg.asset_check(
    asset=READINGS_INTERVAL.asset_key, name="reading_clocks_fit", additional_deps=[WEATHER_OBSERVED.asset_key]
)
def reading_clocks_fit(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Loads that follow the weather follow it at once: the clock of a site's readings is the one that was declared."""
    last = checked_window(context)
    ends = last.ends_at_utc if last else lake.query(Query.from_file("energy_assets.defs", "newest_interval")).item()
    if ends is None:
        return dg.AssetCheckResult(passed=True, description="no readings yet")
    window = Window(starts_at_utc=ends - _CLOCK_DAYS, ends_at_utc=ends)
    load = lake.query(Query.from_file("energy_assets.defs", "site_load", starts=window.starts_at_utc, ends=ends))
    fit = response_fit(load, lake.read(WEATHER_OBSERVED, window, columns=["site_id", "starts_at_utc", "temperature_c"]))
    odd = fit.filter(pl.col("hours_off").abs() > LARGEST_LAG_H)
    told = ", ".join(
        f"{commodity} of {site} by {off:+d} h"
        for site, commodity, off in odd.select("site_id", "commodity", "hours_off").iter_rows()
    )
    return dg.AssetCheckResult(
        passed=odd.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"off: {told}" if told else f"{fit.height} loads follow the weather clearly, all of them at once",
        metadata={"fit": table_of(fit)},
    )


@dg.asset_check(asset=READINGS_INTERVAL.asset_key, name="readings_are_complete")
def readings_are_complete(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """At least nine in ten intervals of the run's days are measured; the meters that lack most are listed."""
    judged = judge_completeness(lake.query(Query.from_file("energy_assets.defs", "completeness", **_bounds(context))))
    return dg.AssetCheckResult(
        passed=judged.holds,
        severity=dg.AssetCheckSeverity.WARN,
        description=judged.statement,
        metadata={"least_complete": table_of(judged.rows)},
    )


def _bounds(context: dg.AssetCheckExecutionContext) -> dict[str, object]:
    window = checked_window(context)
    if window is None:
        return {"starts": datetime(1970, 1, 1, tzinfo=UTC), "ends": datetime(2200, 1, 1, tzinfo=UTC)}
    return {"starts": window.starts_at_utc, "ends": window.ends_at_utc}


checks = [
    contract_check(READINGS_SEGMENTS),
    contract_check(READINGS_RAW),
    every_row_is_accounted_for,
    every_source_could_be_read,
    contract_check(READINGS_QUARANTINE),
    contract_check(READINGS_INTERVAL),
    readings_are_complete,
    newest_reading_is_recent,
    reading_clocks_fit,
]
