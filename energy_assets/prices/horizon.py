"""Prices past the published horizon: every slot marked with where its price comes from.

Where a net load is forecast, the zone's own rule prices it (`forecast`); further out, the mean of published prices at
the same local hour and kind of day stands in (`profile`).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl

from energy_assets.contracts import PRICES_HORIZON, UTC_TIME
from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY
from energy_assets.prices.daily import with_wholesale
from energy_assets.prices.days import day_bounds, day_slots
from energy_assets.prices.welfare import price_curve
from energy_assets.prices.zones import ZoneConfig

HORIZON_DAYS = 7
HISTORY_DAYS = 28
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


def horizon_rows(
    curves: pl.DataFrame,
    *,
    zone: ZoneConfig,
    delivery_date: date,
    wholesale: pl.DataFrame,
    issued_at_utc: datetime,
) -> pl.DataFrame:
    """Return rows of PRICES_HORIZON: the delivery date as published, and the days after it to the end of a week.

    A zone that lives on wholesale prices has its rule run on the mean net load of past days of the kind and on the
    market's prices; other zones have the mean of their past prices. Both are marked as profiles.

    Args:
        curves: PRICES_CURVES rows of the zone for the delivery date and some weeks before it.
        zone: The price zone.
        delivery_date: First local day.
        wholesale: PRICES_WHOLESALE rows of the delivery date.
        issued_at_utc: Nominal time of the forecast.
    """
    if curves.filter(pl.col("delivery_date") == delivery_date).is_empty():
        return PRICES_HORIZON.empty()
    last_day = delivery_date + timedelta(days=HORIZON_DAYS - 1)
    interval = int(curves.sort("starts_at_utc")["interval_minutes"][-1])
    coming = [delivery_date + timedelta(days=n) for n in range(1, HORIZON_DAYS)]
    expected = expected_net_load(curves, zone=zone, days=coming, interval_minutes=interval)
    if zone.supply_kind == "wholesale":
        priced = with_wholesale(expected, wholesale=wholesale, zone=zone)
        local_day = pl.col("starts_at_utc").dt.convert_time_zone(zone.timezone).dt.date()
        expected = priced.filter(pl.col("wholesale_price").is_not_null().all().over(local_day))
    else:
        expected = expected.clear()
    made = extended_prices(
        curves,
        net_load=expected,
        zone=zone,
        last_day=last_day,
        interval_minutes=interval,
        published_at_utc=issued_at_utc,
    ).with_columns(origin=pl.when(pl.col("origin") == "published").then("origin").otherwise(pl.lit("profile")))
    begins, _ = day_bounds(delivery_date, zone=zone)
    return PRICES_HORIZON.conform(
        made.filter(pl.col("starts_at_utc") >= begins).with_columns(
            zone_id=pl.lit(zone.zone_id),
            delivery_date=pl.lit(delivery_date),
            currency_code=pl.lit(zone.currency_code),
            issued_at_utc=pl.lit(issued_at_utc, dtype=UTC_TIME),
        )
    )


def expected_net_load(
    curves: pl.DataFrame, *, zone: ZoneConfig, days: list[date], interval_minutes: int
) -> pl.DataFrame:
    """Return starts_at_utc, q10, q50, q90 for coming local days: past means of the local time of day and kind of day.

    `curves` are PRICES_CURVES rows; a kind of day that they do not hold takes the mean of all days.
    """
    local = pl.col("starts_at_utc").dt.convert_time_zone(zone.timezone)
    kinds = {"clock": local.dt.time(), "is_weekend": local.dt.weekday() > 5}
    levels = {level: f"net_load_{level}_kwh" for level in ("q10", "q50", "q90")}
    past = (
        curves.filter(pl.col("interval_minutes") == interval_minutes)
        .sort("revision")
        .group_by("starts_at_utc")
        .last()
        .with_columns(**kinds)
    )
    by_kind = past.group_by("clock", "is_weekend").agg(**{level: pl.col(name).mean() for level, name in levels.items()})
    by_clock = past.group_by("clock").agg(**{f"{level}_any": pl.col(name).mean() for level, name in levels.items()})
    starts = [start for day in days for start in day_slots(day, zone=zone, interval_minutes=interval_minutes)]
    return (
        pl.DataFrame({"starts_at_utc": starts}, schema={"starts_at_utc": UTC_TIME})
        .with_columns(**kinds)
        .join(by_kind, on=["clock", "is_weekend"], how="left", validate="m:1")
        .join(by_clock, on="clock", how="left", validate="m:1")
        .select("starts_at_utc", *(pl.coalesce(level, f"{level}_any").alias(level) for level in levels))
        .drop_nulls()
        .sort("starts_at_utc")
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
