"""Serving marts: tables shaped for the pages that read them, and the energy and cost of every node over time."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    ANOMALIES_FLAGS,
    FORECASTS_LOAD,
    MARTS_DAILY_ENERGY,
    MARTS_OUTLOOK,
    MARTS_USAGE,
    METERS,
    PRICES_CURVES,
    PROFILES_METERS,
    READINGS_INTERVAL,
    SITES,
    Window,
)
from energy_assets.contracts.marts import USAGE_NODE_KINDS
from energy_assets.defs.automation import FRESH_EVERY_MORNING, WHEN_INPUTS_ARRIVE
from energy_assets.defs.contract_checks import contract_check
from energy_assets.defs.partitions import DAILY, DELIVERY_DATE, delivery_dates_of, issue_window, window_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message, specs_of
from energy_assets.forecasts.nodes import memberships
from energy_assets.lake import Change, Commit, Lake
from energy_assets.prices.daily import zones_of
from energy_assets.profiles.usage import DAYS_AT_ONCE, MEMBER_COLUMNS, cluster_members, usage_update
from energy_assets.settings import Settings
from energy_assets.sql import Query


@dg.asset(
    **looks_of(MARTS_DAILY_ENERGY),
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[READINGS_INTERVAL.asset_key, ANOMALIES_FLAGS.asset_key, METERS.asset_key],
    automation_condition=WHEN_INPUTS_ARRIVE,
    freshness_policy=FRESH_EVERY_MORNING,
)
def daily_energy(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[None]:
    """Energy per meter and UTC day, with how much of the day is known and how many flags it carries."""
    window = window_of(context)
    query = Query.from_file("energy_assets.defs", "daily_energy", starts=window.starts_at_utc, ends=window.ends_at_utc)
    return report(
        lake.replace(MARTS_DAILY_ENERGY, query, window=window, message=run_message(context)), MARTS_DAILY_ENERGY
    )


@dg.asset(
    **looks_of(MARTS_OUTLOOK),
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[FORECASTS_LOAD.asset_key, PRICES_CURVES.asset_key],
    freshness_policy=FRESH_EVERY_MORNING,
)
def outlook(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """The forecast per node and slot beside the price of its zone: what a page shows first."""
    window = issue_window(delivery_dates_of(context), issue_hour_utc=settings.issue_hour_utc)
    query = Query.from_file(
        "energy_assets.defs",
        "outlook",
        starts=window.starts_at_utc,
        ends=window.ends_at_utc,
        lead=timedelta(days=1),
    )
    return report(lake.replace(MARTS_OUTLOOK, query, window=window, message=run_message(context)), MARTS_OUTLOOK)


_CURVES_AROUND = dg.AssetDep(
    PRICES_CURVES.asset_key,
    partition_mapping=dg.TimeWindowPartitionMapping(
        start_offset=-1, end_offset=1, allow_nonexistent_upstream_partitions=True
    ),
)
"""A UTC day of readings lies in the delivery dates of the day before to the day after, whatever the clock."""


@dg.multi_asset(
    name="usage",
    specs=specs_of(
        MARTS_USAGE,
        deps=[READINGS_INTERVAL.asset_key, METERS.asset_key, SITES.asset_key, _CURVES_AROUND],
        automation_condition=WHEN_INPUTS_ARRIVE.ignore(dg.AssetSelection.assets(PRICES_CURVES.asset_key)),
        freshness_policy=FRESH_EVERY_MORNING,
    ),
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
)
def usage(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Energy and cost per premise, site, cluster and portfolio: hours, days, weeks, months, by hour and weekday."""
    members = pl.concat(
        [
            memberships(lake.read(METERS)).select(MEMBER_COLUMNS),
            cluster_members(lake.read(PROFILES_METERS), meters=lake.read(METERS)),
        ]
    )
    commit = update_usage(
        lake, settings, window=window_of(context), members=members, kinds=USAGE_NODE_KINDS, message=run_message(context)
    )
    for table in MARTS_USAGE:
        yield report(commit, table)


def update_usage(
    lake: Lake, settings: Settings, *, window: Window, members: pl.DataFrame, kinds: Sequence[str], message: str
) -> Commit:
    """Bring the usage tables of some kinds of nodes up to date with the readings of a window, a month at a time."""
    meters, sites = lake.read(METERS), lake.read(SITES)
    zones = zones_of(settings.home / "zones", sites=sites, currency_code=settings.currency_code)
    rates = pl.DataFrame(
        [(zone.zone_id, zone.flat_rate, zone.export_rate, zone.currency_code) for zone in zones],
        schema={"site_id": pl.String, "flat_rate": pl.Float64, "export_rate": pl.Float64, "currency_code": pl.String},
        orient="row",
    )
    commits = []
    for piece in window.pieces(days=DAYS_AT_ONCE):
        update = usage_update(piece, meters=meters, sites=sites, members=members, rates=rates, kinds=kinds)
        with lake.session() as session:
            for name, frame in update.frames.items():
                session.register(name, frame)
            changes = [
                Change(table=each.table, rows=each.query, window=each.window, where={"node_kind": list(kinds)})
                for each in update.replacements
            ]
            commits.append(lake.commit(changes, session=session, message=message))
    return Commit.together(commits)


_AROUND = timedelta(days=32)
"""Weeks and months begin up to a month before the day that they were brought up to date for."""

checks = [
    contract_check(MARTS_DAILY_ENERGY),
    contract_check(MARTS_OUTLOOK),
    *(contract_check(table, around=_AROUND if table.window_column != "starts_at_utc" else timedelta(0))
      for table in MARTS_USAGE),
]  # fmt: skip
