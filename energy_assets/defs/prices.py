"""Price curves: one per zone and delivery date, from the forecast net load, with the account of the day beside it."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    FORECASTS_LOAD,
    METERS,
    PRICES_CURVES,
    PRICES_DAYS,
    PRICES_WHOLESALE,
    PROFILES_METERS,
    PROFILES_SHAPES,
    SITES,
    Window,
)
from energy_assets.defs.automation import FRESH_EVERY_MORNING
from energy_assets.defs.contract_checks import contract_checks
from energy_assets.defs.partitions import DELIVERY_DATE, delivery_dates_of, issue_time
from energy_assets.defs.profiles import calendar_of_sites
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, report, run_message, specs_of, table_of
from energy_assets.lake import Change, Lake
from energy_assets.prices.daily import carried_into, price_delivery, zones_of
from energy_assets.prices.groups import names_clusters, with_profiles
from energy_assets.prices.revisions import revised
from energy_assets.prices.zones import ZoneConfig
from energy_assets.settings import Settings

_TABLES = (PRICES_CURVES, PRICES_DAYS)


@dg.multi_asset(
    name="price_curves",
    specs=specs_of(
        _TABLES,
        deps=[FORECASTS_LOAD.asset_key, PRICES_WHOLESALE.asset_key, PROFILES_METERS.asset_key],
        freshness_policy=FRESH_EVERY_MORNING,
    ),
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
)
def price_curves(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Price per zone and slot of the delivery date; each price is the sum of its named parts."""
    sites = lake.read(SITES)
    zones = zones_of(settings.home / "zones", sites=sites, currency_code=settings.currency_code)
    for delivery_date in delivery_dates_of(context):
        issued = issue_time(delivery_date, issue_hour_utc=settings.issue_hour_utc)
        window = Window(starts_at_utc=issued, ends_at_utc=issued + timedelta(seconds=1))
        forecasts = lake.read(FORECASTS_LOAD, window, where={"direction": "net"})
        day_before = lake.read(PRICES_DAYS, where={"delivery_date": delivery_date - timedelta(days=1)})
        priced = price_delivery(
            forecasts,
            zones=zones_of_day(lake, zones, sites=sites, delivery_date=delivery_date, settings=settings),
            delivery_date=delivery_date,
            published_at_utc=issued,
            carried=carried_into(day_before),
            wholesale=lake.read(PRICES_WHOLESALE, where={"delivery_date": delivery_date}),
        )
        of_date = {"delivery_date": delivery_date}
        published = revised(
            priced, curves=lake.read(PRICES_CURVES, where=of_date), days=lake.read(PRICES_DAYS, where=of_date)
        )
        commit = lake.commit(
            [
                Change(table=PRICES_CURVES, rows=published.curves, where=of_date),
                Change(table=PRICES_DAYS, rows=published.days, where=of_date),
            ],
            message=run_message(context),
        )
    yield report(commit, PRICES_CURVES, rungs=priced.curves.group_by("rung").len(), skipped=priced.skipped)
    yield report(commit, PRICES_DAYS, days=priced.days)


def zones_of_day(
    lake: Lake, zones: Sequence[ZoneConfig], *, sites: pl.DataFrame, delivery_date: date, settings: Settings
) -> list[ZoneConfig]:
    """Return the zones with the groups that their files declare by clusters filled from the load profiles."""
    named = [zone for zone in zones if names_clusters(zone)]
    if not named:
        return list(zones)
    own = sites.filter(pl.col("site_id").is_in([zone.zone_id for zone in named]))
    days = calendar_of_sites(own, window=Window.of_days(delivery_date), settings=settings)
    about = {
        site_id: (season, kind)
        for site_id, season, kind in days.filter(pl.col("local_date") == delivery_date)
        .select("site_id", "season", "day_kind")
        .iter_rows()
    }
    meters, members, shapes = (lake.read(table) for table in (METERS, PROFILES_METERS, PROFILES_SHAPES))
    return [
        with_profiles(
            zone, meters=meters, members=members, shapes=shapes,
            season=about[zone.zone_id][0], day_kind=about[zone.zone_id][1],
        )
        if zone.zone_id in about
        else zone
        for zone in zones
    ]  # fmt: skip


@dg.asset_check(asset=PRICES_CURVES.asset_key, name="price_components_sum_to_the_price", blocking=True)
def price_components_sum_to_the_price(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Energy, carbon, risk, capacity, revenue, clip and ramp add up to every published price."""
    parts = [name for name in PRICES_CURVES.column_names if name.endswith("_component")]
    curves = lake.read(PRICES_CURVES, columns=["zone_id", "delivery_date", "starts_at_utc", "price_units", *parts])
    wrong = curves.filter((pl.sum_horizontal(parts) - pl.col("price_units")).abs() > 1e-6)
    return dg.AssetCheckResult(
        passed=wrong.is_empty(),
        description=f"{wrong.height} of {curves.height} slots differ",
        metadata={"wrong": table_of(wrong)},
    )


@dg.asset_check(asset=PRICES_DAYS.asset_key, name="price_revenue_meets_its_target")
def price_revenue_meets_its_target(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Revenue on the reference load meets the flat rate's to a thousandth; rounding is carried into the next day."""
    days = lake.read(PRICES_DAYS)
    wrong = days.filter(pl.col("revenue_error").abs() > 1e-3 * pl.col("revenue_target").abs() + 0.01)
    return dg.AssetCheckResult(
        passed=wrong.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{wrong.height} of {days.height} days miss their target",
        metadata={"wrong": table_of(wrong)},
    )


checks = [*contract_checks(_TABLES), price_components_sum_to_the_price, price_revenue_meets_its_target]
