"""The price curves of a delivery date: the net load of every zone cut to its local day, and one curve for each.

A zone is a site with electricity meters. Its configuration is a TOML file of its name in the zones folder; a site
without one gets the default configuration in its own time zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from energy_assets.contracts import PRICES_CURVES, PRICES_DAYS, PRICES_WHOLESALE
from energy_assets.forecasts.hierarchy import net_load
from energy_assets.prices.welfare import price_curve
from energy_assets.prices.zones import ZoneConfig, load_zone


@dataclass(frozen=True, kw_only=True)
class PricedDelivery:
    """Rows of `prices.curves` and `prices.days`, and why a zone has no curve."""

    curves: pl.DataFrame
    days: pl.DataFrame
    skipped: Mapping[str, str]


def zones_of(folder: Path, *, sites: pl.DataFrame, currency_code: str) -> list[ZoneConfig]:
    """Return the configuration of every site's zone: `<folder>/<site_id>.toml`, or the default in its time zone.

    Raises:
        ConfigError: a file cannot be read as a zone.
    """
    zones = []
    for site_id, timezone in sites.select("site_id", "timezone").sort("site_id").iter_rows():
        file = folder / f"{site_id}.toml"
        if file.is_file():
            zones.append(load_zone(file))
        else:
            zones.append(ZoneConfig(zone_id=site_id, timezone=timezone, currency_code=currency_code))
    return zones


def carried_into(days_before: pl.DataFrame) -> dict[str, float]:
    """Return the revenue, in currency, that each zone carries out of the delivery date before.

    `days_before` are rows of PRICES_DAYS of that one date, all revisions; of a zone the last one counts.
    """
    last = days_before.sort("revision").group_by("zone_id").last()
    return dict(last.select("zone_id", "true_up_carried").iter_rows())


def price_delivery(
    forecasts: pl.DataFrame,
    *,
    zones: Sequence[ZoneConfig],
    delivery_date: date,
    published_at_utc: datetime,
    carried: Mapping[str, float],
    wholesale: pl.DataFrame | None = None,
) -> PricedDelivery:
    """Return the curves of all zones whose net load is forecast for the whole local delivery date.

    `forecasts` are rows of `forecasts.load` of one issue time, nodes above meters included; `carried` is the revenue
    in currency that a zone has to earn on top of the flat rate's, none for a zone that it does not name; `wholesale`
    are rows of PRICES_WHOLESALE of the delivery date, for the zones that name a market.
    """
    curves, days, skipped = [PRICES_CURVES.empty()], [PRICES_DAYS.empty()], {}
    for zone in zones:
        starts = datetime.combine(delivery_date, time(0), tzinfo=ZoneInfo(zone.timezone)).astimezone(UTC)
        ends = datetime.combine(delivery_date + timedelta(days=1), time(0), tzinfo=ZoneInfo(zone.timezone)).astimezone(
            UTC
        )
        load = net_load(forecasts, zone_id=zone.zone_id).filter(
            pl.col("starts_at_utc") >= starts, pl.col("starts_at_utc") < ends
        )
        if load.is_empty():
            skipped[zone.zone_id] = "no electricity meters, or no forecast for the delivery date"
            continue
        if zone.supply_kind == "wholesale":
            load = with_wholesale(
                load, wholesale=PRICES_WHOLESALE.empty() if wholesale is None else wholesale, zone=zone
            )
            if load["wholesale_price"].null_count():
                skipped[zone.zone_id] = f"market {zone.market!r} has no prices for the whole delivery date"
                continue
        curve = price_curve(
            load,
            zone=zone,
            delivery_date=delivery_date,
            revision=0,
            published_at_utc=published_at_utc,
            true_up=carried.get(zone.zone_id, 0.0),
        )
        curves.append(curve.rows)
        days.append(curve.day)
    return PricedDelivery(curves=pl.concat(curves), days=pl.concat(days), skipped=skipped)


def with_wholesale(load: pl.DataFrame, *, wholesale: pl.DataFrame, zone: ZoneConfig) -> pl.DataFrame:
    """Return a net load with wholesale_price in currency/kWh, each slot with the price of its hour; null without one.

    `wholesale` are rows of PRICES_WHOLESALE of one delivery date; the zone's market counts.
    """
    hours = (
        wholesale.filter(pl.col("market_id") == (zone.market or ""))
        .select("starts_at_utc", wholesale_price=pl.col("q50_per_mwh") / 1000.0)
        .sort("starts_at_utc")
    )
    return load.sort("starts_at_utc").join_asof(hours, on="starts_at_utc", strategy="backward", tolerance="59m")
