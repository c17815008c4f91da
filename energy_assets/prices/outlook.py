"""What is still to come: a household's cost or profit per day, for as long as its forecast reaches."""

from __future__ import annotations

import polars as pl

from energy_assets.errors import ContractError
from energy_assets.prices.zones import ZoneConfig


def household_costs(forecast: pl.DataFrame, *, curves: pl.DataFrame, zone: ZoneConfig) -> pl.DataFrame:
    """Return energy and cost of a household per local day, for as long as the forecast reaches.

    Args:
        forecast: starts_at_utc, consumption_kwh, production_kwh per slot.
        curves: starts_at_utc, price_units, export_price_units, and `origin` where a price is not published yet.
        zone: The price zone; its time zone makes the days.

    Returns:
        local_day, consumption_kwh, production_kwh, cost (currency; what is drawn at the price), profit (currency; what
        is fed in at the feed-in price), balance (profit less cost), published_share of the slots.
    """
    net = pl.col("consumption_kwh") - pl.col("production_kwh")
    priced = _priced(forecast, curves=curves).with_columns(
        local_day=pl.col("starts_at_utc").dt.convert_time_zone(zone.timezone).dt.date(),
        cost=pl.max_horizontal(net, 0.0) * pl.col("price_units") / 1e5,
        profit=pl.max_horizontal(-net, 0.0) * pl.col("export_price_units") / 1e5,
        published=(pl.col("origin") == "published") if "origin" in curves.columns else pl.lit(value=True),
    )
    return (
        priced.group_by("local_day")
        .agg(
            pl.col("consumption_kwh", "production_kwh", "cost", "profit").sum(),
            published_share=pl.col("published").mean(),
        )
        .with_columns(balance=pl.col("profit") - pl.col("cost"))
        .sort("local_day")
    )


def _priced(forecast: pl.DataFrame, *, curves: pl.DataFrame) -> pl.DataFrame:
    names = ["price_units", "export_price_units", *(["origin"] if "origin" in curves.columns else [])]
    order = [name for name in ("revision", "starts_at_utc") if name in curves.columns]
    latest = curves.sort(order).group_by("starts_at_utc").agg(pl.col(names).last())
    priced = forecast.join(latest, on="starts_at_utc", how="left", validate="1:1")
    absent = priced.filter(pl.col("price_units").is_null())
    if absent.height:
        first = absent["starts_at_utc"].sort()[0]
        raise ContractError(
            f"{absent.height} slots of the forecast have no price, first {first}; "
            f"extend the prices with horizon.extended_prices."
        )
    return priced
