"""Prices past the published horizon: every slot marked with where its price comes from.

Where a net load is forecast, the zone's own rule prices it (`forecast`); further out, the mean of published prices at
the same local hour and kind of day stands in (`profile`).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY
from energy_assets.prices.days import day_slots
from energy_assets.prices.welfare import price_curve
from energy_assets.prices.zones import ZoneConfig

COLUMNS = ("starts_at_utc", "interval_minutes", "price_units", "export_price_units", "origin")


def extended_prices(
    published: pl.DataFrame,
    *,
    net_load: pl.DataFrame,
    zone: ZoneConfig,
    last_day: date,
    interval_minutes: int,
    published_at_utc: datetime,
) -> pl.DataFrame:
    """Return prices of every slot from the first published one to the end of `last_day`.

    Args:
        published: PRICES_CURVES rows of the zone; of a slot the highest revision counts. May be empty.
        net_load: As for `price_curve`, for whole local days past the published ones. May be empty.
        zone: The price zone.
        last_day: Last local day that is wanted.
        interval_minutes: Length of the slots past what is forecast.
        published_at_utc: Nominal time of the forecast; only its day counts, as the first one when nothing is published.

    Returns:
        starts_at_utc, interval_minutes, price_units, export_price_units, origin (published, forecast, profile).
    """
    known = _published(published)
    done = set(_local_days(known, zone=zone)["local_day"].to_list())
    coming = _local_days(net_load.with_columns(pl.col("starts_at_utc").cast(UTC_TIME)), zone=zone)
    curves = [
        price_curve(
            coming.filter(pl.col("local_day") == day).drop("local_day"),
            zone=zone,
            delivery_date=day,
            revision=0,
            published_at_utc=published_at_utc,
        ).rows
        for day in coming["local_day"].unique().sort().to_list()
        if day not in done and day <= last_day
    ]
    near = pl.concat([known, *(_published(rows).with_columns(origin=pl.lit("forecast")) for rows in curves)])
    covered = set(_local_days(near, zone=zone)["local_day"].to_list())
    first = min(covered, default=published_at_utc.astimezone(zone.zoneinfo).date())
    span = (last_day - first).days + 1
    absent = [day for offset in range(span) if (day := first + timedelta(days=offset)) not in covered]
    far = [start for day in absent for start in day_slots(day, zone=zone, interval_minutes=interval_minutes)]
    return pl.concat([near, _profile(near, starts=far, zone=zone, interval_minutes=interval_minutes)]).sort(
        "starts_at_utc"
    )


def _published(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.sort("revision")
        .group_by("starts_at_utc")
        .last()
        .with_columns(origin=pl.lit("published"))
        .select(COLUMNS)
        .sort("starts_at_utc")
    )


def _local_days(frame: pl.DataFrame, *, zone: ZoneConfig) -> pl.DataFrame:
    return frame.with_columns(local_day=pl.col("starts_at_utc").dt.convert_time_zone(zone.timezone).dt.date())


def _profile(near: pl.DataFrame, *, starts: list[datetime], zone: ZoneConfig, interval_minutes: int) -> pl.DataFrame:
    """Return mean prices by local hour and kind of day; of the hour alone, or the flat rate, where there are none."""
    local = pl.col("starts_at_utc").dt.convert_time_zone(zone.timezone)
    kinds = {"hour": local.dt.hour(), "is_weekend": local.dt.weekday() > 5}
    prices = ["price_units", "export_price_units"]
    history = near.with_columns(**kinds)
    by_kind = history.group_by("hour", "is_weekend").agg(pl.col(prices).mean())
    by_hour = history.group_by("hour").agg(pl.col(prices).mean().name.suffix("_of_hour"))
    flat = round(zone.flat_rate * PRICE_UNITS_PER_CURRENCY)
    return (
        pl.DataFrame({"starts_at_utc": starts}, schema={"starts_at_utc": UTC_TIME})
        .with_columns(**kinds)
        .join(by_kind, on=["hour", "is_weekend"], how="left", validate="m:1")
        .join(by_hour, on="hour", how="left", validate="m:1")
        .with_columns(
            *(pl.coalesce(name, f"{name}_of_hour").round().cast(pl.Int64).alias(name) for name in prices),
            interval_minutes=pl.lit(interval_minutes, dtype=pl.Int64),
            origin=pl.lit("profile"),
        )
        .with_columns(
            price_units=pl.col("price_units").fill_null(flat),
            export_price_units=pl.col("export_price_units").fill_null(0),
        )
        .select(COLUMNS)
    )
