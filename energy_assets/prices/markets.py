"""The markets of an instance: their files, what of them was known when, and the forecast for a delivery date.

A market is a TOML file in the markets folder that names a table of prices and drivers beside it. What a zone makes of
wholesale prices stands in `daily` and `horizon`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field

from energy_assets.contracts import PRICES_WHOLESALE, PRICES_WHOLESALE_MEMBERS, UTC_TIME
from energy_assets.errors import SourceError
from energy_assets.prices.days import Floats
from energy_assets.prices.declared import Frozen, TimeZoneName, read_declared
from energy_assets.prices.market import HOURS, PRICE_COLUMN, market_days, read_market
from energy_assets.prices.wholesale import MEMBER_NAMES, WholesaleForecast, forecast_wholesale

HORIZON_DAYS = 7
STALE_DAYS = 7  # prices that end longer before the delivery date say nothing of it


class Market(Frozen):
    """A day-ahead market: its table, its clock, and when its figures become known."""

    market_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(description="Identifier.")
    file: str = Field(description="CSV or Parquet beside this file: starts_at_utc, price_per_mwh, and any drivers.")
    timezone: TimeZoneName = Field("UTC", description="IANA time zone of the market day.")
    currency_code: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = Field("EUR", description="ISO 4217 currency.")
    country_codes: tuple[str, ...] = Field((), description="ISO codes of the countries whose public holidays count.")
    price_known_hours_before: float = Field(
        12.0, description="Hours before a market day begins at which its prices are published."
    )
    drivers_known_hours_before: float = Field(
        36.0, description="Hours before a market day begins at which its drivers are forecast."
    )


@dataclass(frozen=True, kw_only=True)
class WholesaleDelivery:
    """Rows of PRICES_WHOLESALE and PRICES_WHOLESALE_MEMBERS, weights by market, and why a market has no forecast."""

    prices: pl.DataFrame
    members: pl.DataFrame
    weights: Mapping[str, Mapping[str, float]]
    skipped: Mapping[str, str]


def markets_of(folder: Path) -> list[tuple[Market, pl.DataFrame]]:
    """Return every market that a TOML file of the folder declares, with its table; none where there is no folder.

    Raises:
        ConfigError: a file does not declare a market.
        SourceError: its table cannot be read.
    """
    return [_load_market(path) for path in sorted(folder.glob("*.toml"))]


def wholesale_delivery(
    markets: Sequence[tuple[Market, pl.DataFrame]],
    *,
    delivery_date: date,
    issued_at_utc: datetime,
    remembered: pl.DataFrame,
) -> WholesaleDelivery:
    """Return the prices of each market from the newest published day to a week past the delivery date, as known then.

    `remembered` are rows of PRICES_WHOLESALE_MEMBERS; those of the delivery date itself and later are not looked at.
    """
    prices, members = [PRICES_WHOLESALE.empty()], [PRICES_WHOLESALE_MEMBERS.empty()]
    weights: dict[str, Mapping[str, float]] = {}
    skipped: dict[str, str] = {}
    for market, table in markets:
        try:
            made = _forecast(
                market,
                table=as_known(table, market=market, at=issued_at_utc),
                last_day=delivery_date + timedelta(days=HORIZON_DAYS),
                remembered=remembered.filter(
                    pl.col("market_id") == market.market_id, pl.col("market_day") < delivery_date
                ),
            )
        except SourceError as error:
            skipped[market.market_id] = str(error)
            continue
        prices.append(_price_rows(made, market=market, delivery_date=delivery_date, issued_at_utc=issued_at_utc))
        members.append(_member_rows(made, market=market, known=remembered))
        weights[market.market_id] = made.weights
    return WholesaleDelivery(prices=pl.concat(prices), members=pl.concat(members), weights=weights, skipped=skipped)


def as_known(table: pl.DataFrame, *, market: Market, at: datetime) -> pl.DataFrame:
    """Return a market's table with what was not yet known at a moment taken out, by the hour its market day begins."""
    local = pl.col("starts_at_utc").dt.convert_time_zone(market.timezone)
    begins = local.dt.truncate("1d").dt.convert_time_zone("UTC")
    drivers = [name for name in table.columns if name not in ("starts_at_utc", PRICE_COLUMN)]

    def known(hours: float, name: str) -> pl.Expr:
        return pl.when(begins <= at + timedelta(hours=hours)).then(pl.col(name)).alias(name)

    return table.with_columns(
        known(market.price_known_hours_before, PRICE_COLUMN),
        *(known(market.drivers_known_hours_before, name) for name in drivers),
    )


def _forecast(market: Market, *, table: pl.DataFrame, last_day: date, remembered: pl.DataFrame) -> WholesaleForecast:
    said: dict[date, Floats] = {}
    for (day,), rows in remembered.group_by("market_day"):
        pivot = {name: part.sort("hour")["price_per_mwh"].to_numpy() for (name,), part in rows.group_by("member")}
        if all(name in pivot and len(pivot[name]) == HOURS for name in MEMBER_NAMES):
            assert isinstance(day, date)
            said[day] = np.stack([pivot[name] for name in MEMBER_NAMES])
    days = market_days(table, timezone=market.timezone, country_codes=market.country_codes)
    newest = days.days[days.known_days - 1]
    if newest < last_day - timedelta(days=HORIZON_DAYS + STALE_DAYS):
        raise SourceError(f"Prices of market {market.market_id} end on {newest}; bring {market.file} up to date.")
    return forecast_wholesale(days, timezone=market.timezone, last_day=last_day, remembered=said)


def _price_rows(
    made: WholesaleForecast, *, market: Market, delivery_date: date, issued_at_utc: datetime
) -> pl.DataFrame:
    return PRICES_WHOLESALE.conform(
        made.slots.drop("market_day")
        .rename({name: f"{name}_per_mwh" for name in ("q10", "q50", "q90")})
        .with_columns(
            market_id=pl.lit(market.market_id),
            delivery_date=pl.lit(delivery_date),
            currency_code=pl.lit(market.currency_code),
            issued_at_utc=pl.lit(issued_at_utc, dtype=UTC_TIME),
        )
    )


def _member_rows(made: WholesaleForecast, *, market: Market, known: pl.DataFrame) -> pl.DataFrame:
    """Return what the members say from the first day on that was not remembered; they replace what stood there."""
    before = set(known.filter(pl.col("market_id") == market.market_id)["market_day"].to_list())
    first = min((day for day in made.remembered if day not in before), default=max(made.remembered))
    rows = [
        (market.market_id, day, name, hour, float(said[place, hour]), datetime.combine(day, time(0), tzinfo=UTC))
        for day, said in made.remembered.items()
        if day >= first
        for place, name in enumerate(MEMBER_NAMES)
        for hour in range(HOURS)
    ]
    schema = PRICES_WHOLESALE_MEMBERS.polars_schema
    return PRICES_WHOLESALE_MEMBERS.conform(pl.DataFrame(rows, schema=schema, orient="row"))


def _load_market(path: Path) -> tuple[Market, pl.DataFrame]:
    market = read_declared(path, model=Market, defaults={"market_id": path.stem}, subject="market")
    return market, read_market(path.parent / market.file)
