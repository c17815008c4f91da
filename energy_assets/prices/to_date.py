"""The bill of the running month: what is settled so far, and a range for the month's end.

The rest of the month is priced from the forecast's quantiles as far as it reaches, and from the premise's last four
weeks after that. The ends of the range take every slot and day at its own quantile at once, as if all errors were of
one sign: that stands for the level, which moves on from what the last weeks say (`bench/prices.py ranges`).
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from energy_assets.contracts import SETTLEMENT_TO_DATE, UTC_TIME
from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY
from energy_assets.contracts.settlement import AMOUNT_UNITS_PER_CURRENCY, DAY_SUMS
from energy_assets.prices.days import day_bounds
from energy_assets.prices.statements import bills_of, month_of
from energy_assets.prices.zones import ZoneConfig

TYPICAL_DAYS = 28
_LEVELS = ("q10", "q50", "q90")
_ENDS = ("low_amount", "expected_amount", "high_amount")


def bills_to_date(
    days: pl.DataFrame, *, forecast: pl.DataFrame, curves: pl.DataFrame, zone: ZoneConfig
) -> pl.DataFrame:
    """Return the bill of the running month per premise, rows of SETTLEMENT_TO_DATE.

    The running month is that of the first local day which is not settled. Peak shares stay as they are so far.

    Args:
        days: Rows of SETTLEMENT_DAYS of the zone: of the running month and the last TYPICAL_DAYS at least.
        forecast: premise_id, starts_at_utc, interval_minutes, q10, q50, q90 of the net load in kWh.
        curves: Rows of PRICES_CURVES of the zone; slots without a price are taken at the flat rates.
        zone: The price zone.
    """
    if days.is_empty():
        return SETTLEMENT_TO_DATE.empty()
    newest: date = days["local_date"].max()  # type: ignore[assignment]
    until = newest + timedelta(days=1)
    first, after = month_of(until)
    fixed = round(zone.bill.fixed_charge * AMOUNT_UNITS_PER_CURRENCY)
    recent = days.filter(pl.col("local_date") > newest - timedelta(days=TYPICAL_DAYS))
    premises = recent.select(pl.col("premise_id").unique().sort())
    bills = premises.join(
        bills_of(days.filter(pl.col("local_date") >= first), zone=zone), on="premise_id", how="left", validate="1:1"
    ).with_columns(
        pl.col("days", *DAY_SUMS, "peak_amount", "saved_amount").fill_null(0),
        pl.col("fixed_amount", "total_amount", "flat_amount").fill_null(fixed),
    )
    coming = [until + timedelta(days=i) for i in range((after - until).days)]
    expected = _forecast_days(forecast, curves=curves, zone=zone, days=coming)
    rest = premises.join(expected, on="premise_id", how="left").join(_typical_day(recent), on="premise_id", how="left")
    ahead = pl.col("forecast_days").fill_null(0)
    left = len(coming) - ahead
    ends = {
        end: (pl.col(level).fill_null(0) - ahead * pl.col("usual_community") + left * pl.col(f"day_{level}"))
        .round()
        .cast(pl.Int64)
        for end, level in zip(_ENDS, _LEVELS, strict=True)
    }
    reached = rest.select("premise_id", forecast_days=ahead.cast(pl.Int64), typical_days=left.cast(pl.Int64), **ends)
    return SETTLEMENT_TO_DATE.conform(
        bills.join(reached, on="premise_id", validate="1:1").with_columns(
            *(pl.col(end) + pl.col("total_amount") for end in _ENDS),
            zone_id=pl.lit(zone.zone_id),
            period_start=pl.lit(first),
            period_end=pl.lit(after),
            settled_until=pl.lit(until),
            currency_code=pl.lit(zone.currency_code),
        )
    )


def _typical_day(recent: pl.DataFrame) -> pl.DataFrame:
    """Return per premise the mean and the ends of a day's amount, and of its community credit."""
    amount = (
        pl.col("baseline_amount") + pl.col("deviation_amount") - pl.col("feed_in_credit") - pl.col("community_credit")
    )
    return recent.group_by("premise_id").agg(
        day_q10=pl.min_horizontal(amount.quantile(0.1, "linear"), amount.mean()),
        day_q50=amount.mean(),
        day_q90=pl.max_horizontal(amount.quantile(0.9, "linear"), amount.mean()),
        usual_community=pl.col("community_credit").mean(),
    )


def _forecast_days(forecast: pl.DataFrame, *, curves: pl.DataFrame, zone: ZoneConfig, days: list[date]) -> pl.DataFrame:
    """Return per premise the amounts at three quantiles over the coming days that a forecast covers whole."""
    bounds = pl.DataFrame(
        [(day, *day_bounds(day, zone=zone)) for day in days],
        schema={"local_date": pl.Date, "opens": UTC_TIME, "closes": UTC_TIME},
        orient="row",
    ).with_columns(day_minutes=(pl.col("closes") - pl.col("opens")).dt.total_minutes())
    flat, feed_in = (round(rate * PRICE_UNITS_PER_CURRENCY) for rate in (zone.flat_rate, zone.bill.flat_feed_in_rate))
    prices = (
        curves.sort("revision")
        .group_by("starts_at_utc")
        .agg(pl.col("price_units", "export_price_units", "interval_minutes").last())
        .sort("starts_at_utc")
        .with_columns(priced_until=pl.col("starts_at_utc") + pl.duration(minutes="interval_minutes"))
        .drop("interval_minutes")
    )
    slots = (
        forecast.with_columns(pl.col("starts_at_utc").cast(UTC_TIME))
        .with_columns(
            local_date=pl.col("starts_at_utc").dt.convert_time_zone(zone.timezone).dt.date(),
        )
        .join(bounds, on="local_date", how="inner", validate="m:1")
        .sort("starts_at_utc")
        .join_asof(prices, on="starts_at_utc", strategy="backward")
    )
    covered = pl.col("priced_until") > pl.col("starts_at_utc")
    slots = slots.with_columns(
        price=pl.when(covered).then("price_units").otherwise(flat),
        export_price=pl.when(covered).then("export_price_units").otherwise(feed_in),
    )
    return (
        slots.group_by("premise_id", "local_date", "day_minutes")
        .agg(pl.col("interval_minutes").sum().alias("minutes"), *(_amount(level, flat=flat).sum() for level in _LEVELS))
        .filter(pl.col("minutes") == pl.col("day_minutes"))
        .group_by("premise_id")
        .agg(pl.col(_LEVELS).sum(), forecast_days=pl.len().cast(pl.Int64))
        # A forecast in which more energy costs less, at a negative price, has its ends the other way round.
        .with_columns(q10=pl.min_horizontal(_LEVELS), q90=pl.max_horizontal(_LEVELS))
    )


def _amount(level: str, *, flat: int) -> pl.Expr:
    """Return a slot's amount at a quantile: the median's import is the baseline, at the flat rate."""
    baseline, drawn = pl.max_horizontal("q50", 0.0), pl.max_horizontal(level, 0.0)
    fed = pl.max_horizontal(-pl.col(level), 0.0)
    amount = baseline * flat + (drawn - baseline) * pl.col("price") - fed * pl.col("export_price")
    return (amount * 1000.0).alias(level)
