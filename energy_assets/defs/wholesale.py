"""Wholesale prices of the markets that the instance has files of, and each zone's prices for the week ahead."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    PRICES_CURVES,
    PRICES_HORIZON,
    PRICES_WHOLESALE,
    PRICES_WHOLESALE_MEMBERS,
    SITES,
    Window,
)
from energy_assets.defs.automation import FRESH_EVERY_MORNING
from energy_assets.defs.contract_checks import contract_checks
from energy_assets.defs.partitions import DELIVERY_DATE, delivery_dates_of, issue_time
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message, specs_of
from energy_assets.lake import Change, Lake
from energy_assets.prices.daily import zones_of
from energy_assets.prices.horizon import HISTORY_DAYS, horizon_rows
from energy_assets.prices.markets import markets_of, wholesale_delivery
from energy_assets.prices.wholesale_blend import LEVEL_DAYS
from energy_assets.settings import Settings

_TABLES = (PRICES_WHOLESALE, PRICES_WHOLESALE_MEMBERS)


@dg.multi_asset(
    name="wholesale_prices",
    specs=specs_of(_TABLES, freshness_policy=FRESH_EVERY_MORNING),
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
)
def wholesale_prices(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Price per market and hour around the delivery date, forecast where no auction was held yet."""
    markets = markets_of(settings.home / "markets")
    for delivery_date in delivery_dates_of(context):
        issued = issue_time(delivery_date, issue_hour_utc=settings.issue_hour_utc)
        memory = Window.of_days(delivery_date - timedelta(days=LEVEL_DAYS + 1), delivery_date)
        made = wholesale_delivery(
            markets,
            delivery_date=delivery_date,
            issued_at_utc=issued,
            remembered=lake.read(PRICES_WHOLESALE_MEMBERS, memory) if markets else PRICES_WHOLESALE_MEMBERS.empty(),
        )
        changes = [Change(table=PRICES_WHOLESALE, rows=made.prices, where={"delivery_date": delivery_date})]
        for (market_id,), said in made.members.group_by("market_id", maintain_order=True):
            days = said["market_day"].to_list()
            window = Window.of_days(min(days), max(days))
            changes.append(
                Change(table=PRICES_WHOLESALE_MEMBERS, rows=said, window=window, where={"market_id": market_id})
            )
        commit = lake.commit(changes, message=run_message(context))
    yield report(commit, PRICES_WHOLESALE, markets=len(markets), skipped=made.skipped)
    yield report(commit, PRICES_WHOLESALE_MEMBERS, weights={name: dict(of) for name, of in made.weights.items()})


@dg.asset(
    description=PRICES_HORIZON.description,
    deps=[PRICES_CURVES.asset_key, PRICES_WHOLESALE.asset_key],
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    freshness_policy=FRESH_EVERY_MORNING,
    **looks_of(PRICES_HORIZON),
)
def price_horizon(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Price per zone and slot for a week, published first, each slot marked with where its price comes from."""
    zones = zones_of(settings.home / "zones", sites=lake.read(SITES), currency_code=settings.currency_code)
    for delivery_date in delivery_dates_of(context):
        # A local day of the delivery date may begin and end up to a day off the UTC one.
        past = Window.of_days(delivery_date - timedelta(days=HISTORY_DAYS), delivery_date + timedelta(days=1))
        curves = lake.read(PRICES_CURVES, past).filter(pl.col("delivery_date") <= delivery_date)
        wholesale = lake.read(PRICES_WHOLESALE, where={"delivery_date": delivery_date})
        rows = [
            horizon_rows(
                curves.filter(pl.col("zone_id") == zone.zone_id),
                zone=zone,
                delivery_date=delivery_date,
                wholesale=wholesale,
                issued_at_utc=issue_time(delivery_date, issue_hour_utc=settings.issue_hour_utc),
            )
            for zone in zones
        ]
        made = pl.concat([PRICES_HORIZON.empty(), *rows])
        commit = lake.replace(
            PRICES_HORIZON, made, where={"delivery_date": delivery_date}, message=run_message(context)
        )
    return report(commit, PRICES_HORIZON, origins=made.group_by("origin").len())


checks = contract_checks((*_TABLES, PRICES_HORIZON))
