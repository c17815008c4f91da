"""A day-ahead market as arrays: prices and the forecasts known before the auction, by market day and hour.

Markets close their auction for a whole local day, so models see days of 24 hours: the hour that spring leaves out is
the mean of its neighbours, the hour that autumn repeats is the mean of both. Files and frames in, arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import ConfigError, SourceError
from energy_assets.prices.days import Floats
from energy_assets.prices.declared import existing_timezone
from energy_assets.prices.times import read_timed

HOURS = 24
PRICE_COLUMN = "price_per_mwh"
_DEMAND, _RENEWABLE = ("load", "demand", "consumption"), ("wind", "solar", "pv")


@dataclass(frozen=True, kw_only=True)
class MarketDays:
    """Consecutive market days. `price` (days, 24) is NaN where no price is known; `drivers` (names, days, 24).

    Prices are in currency/MWh; drivers are forecasts of anything, known before the auction, in their own units.
    `holiday` is the share of the market's countries that rest on a day, for all days and the one after them.
    """

    days: list[date]
    price: Floats
    driver_names: tuple[str, ...]
    drivers: Floats
    holiday: Floats

    @property
    def weekday(self) -> Floats:
        """Return the weekday of each day, Monday 0."""
        return np.array([day.weekday() for day in self.days], dtype=np.float64)

    @property
    def known_days(self) -> int:
        """Return how many days from the first on have all their prices."""
        whole: npt.NDArray[np.bool_] = np.asarray(np.isfinite(self.price).all(axis=1))
        return len(whole) if whole.all() else int(np.argmin(whole))

    @property
    def residual(self) -> Floats | None:
        """Return demand less wind and sun (days, 24), told by the drivers' names; None where there is no demand."""
        demand = [i for i, name in enumerate(self.driver_names) if any(word in name for word in _DEMAND)]
        green = [i for i, name in enumerate(self.driver_names) if any(word in name for word in _RENEWABLE)]
        if not demand or not green:
            return None
        return np.asarray(self.drivers[demand].sum(axis=0) - self.drivers[green].sum(axis=0))


def read_market(path: Path) -> pl.DataFrame:
    """Return a market file with starts_at_utc, price_per_mwh (null where it is to come) and its numeric drivers.

    Raises:
        SourceError: the file cannot be read, has no such columns, or repeats a time.
    """
    frame = read_timed(path, what="Market", columns=(PRICE_COLUMN,))
    if frame["starts_at_utc"].is_duplicated().any():
        raise SourceError(f"Market {path} repeats a starts_at_utc; keep one row per hour.")
    drivers = [name for name, dtype in frame.schema.items() if dtype.is_numeric() and name != PRICE_COLUMN]
    price = pl.col(PRICE_COLUMN).cast(pl.Float64, strict=False).fill_nan(None)
    return frame.select("starts_at_utc", price, pl.col(drivers).cast(pl.Float64).fill_nan(None)).sort("starts_at_utc")


def market_days(market: pl.DataFrame, *, timezone: str, country_codes: tuple[str, ...] = ()) -> MarketDays:
    """Return a market frame by local day and hour, from its first whole day to its last.

    Args:
        market: starts_at_utc, price_per_mwh and any further numeric columns as drivers; slots of an hour or shorter,
            of which an hour takes the mean.
        timezone: IANA time zone of the market day.
        country_codes: ISO codes whose public holidays count; none: no holidays.

    Raises:
        ConfigError: the time zone or a country is unknown.
        SourceError: an hour between the first and the last priced day is missing, or a driver has a hole there.
    """
    try:
        existing_timezone(timezone)
    except ValueError as error:
        raise ConfigError(f"{error}; give one such as Europe/Rome.") from error
    names = tuple(name for name in market.columns if name not in ("starts_at_utc", PRICE_COLUMN))
    values = [PRICE_COLUMN, *names]
    local = pl.col("starts_at_utc").dt.convert_time_zone(timezone)
    hourly = (
        market.with_columns(day=local.dt.date(), hour=local.dt.hour().cast(pl.Int64))
        .group_by("day", "hour")
        .agg(pl.col(values).mean())
    )
    whole = hourly.group_by("day").len().filter(pl.col("len") >= HOURS - 1)["day"].sort()
    if whole.is_empty():
        raise SourceError(f"The market has no whole day in {timezone}; give 23 to 25 hours of each day.")
    first, last = whole[0], whole[-1]
    days = pl.date_range(first, last, interval="1d", eager=True)
    grid = pl.DataFrame({"day": days}).join(pl.DataFrame({"hour": range(HOURS)}), how="cross")
    filled = grid.join(hourly, on=["day", "hour"], how="left").sort("day", "hour")
    table = np.stack([_without_spring_gap(filled[name], timezone=timezone, days=days) for name in values])
    table = table.reshape(len(values), len(days), HOURS)
    _refuse_holes(table, names=values, days=days.to_list())
    return MarketDays(
        days=days.to_list(),
        price=table[0],
        driver_names=names,
        drivers=table[1:],
        holiday=_holiday_shares(days.to_list(), country_codes=country_codes),
    )


def slots_of(day: date, *, timezone: str) -> pl.DataFrame:
    """Return starts_at_utc of the hours of a market day with the hour (0..23) of the arrays that each takes."""
    zone = ZoneInfo(timezone)
    start = datetime.combine(day, time(0), tzinfo=zone).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time(0), tzinfo=zone).astimezone(UTC)
    starts = [start + timedelta(hours=hour) for hour in range(round((end - start).total_seconds() / 3600))]
    hours = [moment.astimezone(zone).hour for moment in starts]
    return pl.DataFrame({"starts_at_utc": starts, "hour": hours}, schema={"starts_at_utc": UTC_TIME, "hour": pl.Int64})


def _without_spring_gap(values: pl.Series, *, timezone: str, days: pl.Series) -> Floats:
    """Fill the hour that a clock change leaves out by the mean of its neighbours; other holes stay."""
    array = values.to_numpy().astype(np.float64).copy()
    zone = ZoneInfo(timezone)
    for index, day in enumerate(days.to_list()):
        midnight, next_day = (datetime.combine(day + timedelta(days=n), time(0), tzinfo=zone) for n in (0, 1))
        if next_day.astimezone(UTC) - midnight.astimezone(UTC) < timedelta(hours=HOURS):
            present = set(slots_of(day, timezone=timezone)["hour"].to_list())
            for hour in set(range(HOURS)) - present:
                at = index * HOURS + hour
                array[at] = 0.5 * (array[at - 1] + array[at + 1])
    return array


def _refuse_holes(table: Floats, *, names: list[str], days: list[date]) -> None:
    priced = np.flatnonzero(np.isfinite(table[0]).any(axis=1))
    if not len(priced):
        raise SourceError(f"The market has no {PRICE_COLUMN} at all; give its history.")
    for name, values in zip(names, table, strict=True):
        holes = np.argwhere(~np.isfinite(values[: priced[-1] + 1]))
        if len(holes):
            day, hour = holes[0]
            raise SourceError(
                f"Column {name} of the market has {len(holes)} hours without a value, the first on {days[day]} at "
                f"{hour:02d}:00 local; fill them or give a shorter history."
            )


def _holiday_shares(days: list[date], *, country_codes: tuple[str, ...]) -> Floats:
    """Return the share of the countries that rest, for each day and one more; Sundays that a law lists do not count."""
    span = [*days, days[-1] + timedelta(days=1)]
    if not country_codes:
        return np.zeros(len(span))
    import holidays

    years = range(span[0].year, span[-1].year + 1)
    known = holidays.list_supported_countries()
    unknown = [code for code in country_codes if code not in known]
    if unknown:
        raise ConfigError(f"No public holidays are known for {unknown}; give ISO 3166 codes such as NO, DE, IT.")
    calendars = [holidays.country_holidays(code, years=years) for code in country_codes]
    rests = [[day in calendar and day.weekday() < 6 for calendar in calendars] for day in span]
    return np.asarray(np.mean(rests, axis=1), dtype=np.float64)
