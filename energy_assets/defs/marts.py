"""Serving marts: small tables shaped for the pages that read them."""

from datetime import timedelta

import dagster as dg

from energy_assets.contracts import (
    ANOMALIES_FLAGS,
    FORECASTS_LOAD,
    MARTS_DAILY_ENERGY,
    MARTS_OUTLOOK,
    METERS,
    PRICES_CURVES,
    READINGS_INTERVAL,
)
from energy_assets.defs.automation import FRESH_EVERY_MORNING, WHEN_INPUTS_ARRIVE
from energy_assets.defs.contract_checks import contract_check
from energy_assets.defs.partitions import DAILY, DELIVERY_DATE, delivery_dates_of, issue_window, window_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message
from energy_assets.lake import Lake
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


checks = [contract_check(MARTS_DAILY_ENERGY), contract_check(MARTS_OUTLOOK)]
