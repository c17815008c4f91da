"""Tomorrow's wholesale prices with a band, from a market's history and the forecasts that are known before its auction.

Members are made by `wholesale_linear` and `wholesale_trees` and put together by `wholesale_blend`. What members said of
past days is remembered by the caller and handed back; days that nobody remembers are forecast anew, as known then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.errors import SourceError
from energy_assets.prices.days import Floats
from energy_assets.prices.market import HOURS, MarketDays, slots_of
from energy_assets.prices.wholesale_blend import LEVEL_DAYS, blend
from energy_assets.prices.wholesale_linear import LINEAR_MEMBERS, linear_forecasts
from energy_assets.prices.wholesale_trees import TREE_MEMBERS, tree_forecasts

MEMBER_NAMES = (*(member.name for member in LINEAR_MEMBERS), *(member.name for member in TREE_MEMBERS))
LEAST_HISTORY_DAYS = 120
BACKCAST_DAYS = 56  # forecast anew when nobody remembers them: enough for weights and a first band
RELEARN_DAYS = 28
PROFILE_DAYS = 7
PROFILE_ERROR_DAYS = 182

Flags = npt.NDArray[np.bool_]
Remembered = Mapping[date, Floats]  # members' forecasts (members, 24) by market day, currency/MWh


@dataclass(frozen=True, kw_only=True)
class WholesaleForecast:
    """Slots of the days asked for, what the members said of the remembered days, and their present weights.

    `slots`: starts_at_utc, market_day, q10, q50, q90 (currency/MWh), origin (published, forecast, profile). `unused`
    names the drivers that were not forecast for the first day.
    """

    slots: pl.DataFrame
    remembered: dict[date, Floats]
    weights: dict[str, float]
    unused: tuple[str, ...]


def forecast_wholesale(
    market: MarketDays, *, timezone: str, last_day: date, remembered: Remembered, seed: int = 0, threads: int = 2
) -> WholesaleForecast:
    """Return prices from the first day without them to `last_day`, and the published ones of the day before.

    The first day is forecast from history and drivers. Days after it take the mean of the last week's hours of the same
    kind of day, with the errors that this rule made before: their drivers are not known yet.

    Raises:
        SourceError: there are fewer than 120 days of prices.
    """
    first = market.known_days
    if first < LEAST_HISTORY_DAYS:
        raise SourceError(
            f"The market has {first} whole days of prices from {market.days[0]} on; {LEAST_HISTORY_DAYS} are needed."
        )
    usable, unused = _with_usable_drivers(_reaching(market, days=first + 1), day=first)
    members, kept = _members(usable, first=first, remembered=remembered, seed=seed, threads=threads)
    known = np.vstack([usable.price[first - members.shape[1] + 1 : first], np.full((1, HOURS), np.nan)])
    made = blend(members, price=known)
    tomorrow = np.stack([made.q10[-1], made.q50[-1], made.q90[-1]])
    days = [
        _slots(
            usable.days[first - 1], values=np.tile(usable.price[first - 1], (3, 1)), origin="published", zone=timezone
        ),
        _slots(usable.days[first], values=tomorrow, origin="forecast", zone=timezone),
    ]
    expected = np.vstack([usable.price[:first], tomorrow[1]])
    for lead in range(2, (last_day - usable.days[first]).days + 2):
        day = usable.days[first] + timedelta(days=lead - 1)
        values = _profile(expected, days=usable.days, day=day)
        days.append(_slots(day, values=values, origin="profile", zone=timezone))
    return WholesaleForecast(
        slots=pl.concat(days).filter(pl.col("market_day") <= last_day),
        remembered=kept,
        weights=dict(zip(MEMBER_NAMES, made.weights[:, -1].tolist(), strict=True)),
        unused=unused,
    )


def member_forecasts(market: MarketDays, *, days: range, seed: int, threads: int) -> Floats:
    """Return what each member says (members, days, 24) of days by position, each from the days before it.

    Linear members are calibrated every day, trees every 28 days.
    """
    linear = [linear_forecasts(market, member=member, days=days) for member in LINEAR_MEMBERS]
    stretches = [
        range(start, min(start + RELEARN_DAYS, days.stop)) for start in range(days.start, days.stop, RELEARN_DAYS)
    ]
    trees = [
        np.vstack([tree_forecasts(market, member=member, days=part, seed=seed, threads=threads) for part in stretches])
        for member in TREE_MEMBERS
    ]
    return np.stack([*linear, *trees])


def _members(
    market: MarketDays, *, first: int, remembered: Remembered, seed: int, threads: int
) -> tuple[Floats, dict[date, Floats]]:
    """Return forecasts of the days up to `first` (members, days, 24), remembered ones as they are, and all by day."""
    kept = {day: np.asarray(said, dtype=np.float64) for day, said in remembered.items()}
    start = max(first - LEVEL_DAYS, 0)
    while start < first and market.days[start] not in kept:
        start += 1
    start = min(start, first - BACKCAST_DAYS)
    absent = [day for day in range(start, first) if market.days[day] not in kept]
    # The day itself is learned alone, so that what is remembered of others leaves no trace in what is said of it.
    for stretch in [*_stretches(absent), range(first, first + 1)]:
        made = member_forecasts(market, days=stretch, seed=seed, threads=threads)
        kept |= {market.days[day]: made[:, index] for index, day in enumerate(stretch)}
    used = [market.days[day] for day in range(start, first + 1)]
    return np.stack([kept[day] for day in used], axis=1), {day: kept[day] for day in used}


def _stretches(days: list[int]) -> list[range]:
    """Return consecutive positions as ranges; a new one starts after each gap."""
    breaks = [index for index in range(1, len(days)) if days[index] != days[index - 1] + 1]
    edges = [0, *breaks, len(days)]
    return [range(days[a], days[b - 1] + 1) for a, b in pairwise(edges) if b > a]


def _reaching(market: MarketDays, *, days: int) -> MarketDays:
    """Return the first `days` days of a market; one day more than it has is a day of which nothing is known."""
    added = max(days - len(market.days), 0)
    blank = np.full((added, HOURS), np.nan)
    names = [*market.days, *(market.days[-1] + timedelta(days=n + 1) for n in range(added))]
    drivers = np.concatenate([market.drivers, np.full((len(market.drivers), added, HOURS), np.nan)], axis=1)
    holiday = np.concatenate([market.holiday, np.zeros(added)])
    return replace(
        market,
        days=names[:days],
        price=np.vstack([market.price, blank])[:days],
        drivers=drivers[:, :days],
        holiday=holiday[: days + 1],
    )


def _with_usable_drivers(market: MarketDays, *, day: int) -> tuple[MarketDays, tuple[str, ...]]:
    """Return the market with the drivers that are forecast for the day, and the names of the others."""
    usable: Flags = np.asarray(np.isfinite(market.drivers[:, day]).all(axis=1))
    used = tuple(name for name, good in zip(market.driver_names, usable, strict=True) if good)
    unused = tuple(name for name, good in zip(market.driver_names, usable, strict=True) if not good)
    return replace(market, driver_names=used, drivers=market.drivers[usable]), unused


def _profile(price: Floats, *, days: list[date], day: date) -> Floats:
    """Return q10, q50, q90 (3, 24) of a day past the next: last week's hours of its kind, with that rule's errors."""

    def expected(after: int, like: date) -> Floats:
        week = slice(max(after - PROFILE_DAYS, 0), after)
        alike = np.array([(name.weekday() > 4) == (like.weekday() > 4) for name in days[week]])
        rows = price[week][alike] if alike.any() else price[week]
        return np.asarray(rows.mean(axis=0), dtype=np.float64)

    known, lead = len(price), (day - days[len(price) - 1]).days
    middle = expected(known, day)
    past = range(max(PROFILE_DAYS, known - PROFILE_ERROR_DAYS), known - lead + 1)
    errors = [price[at + lead - 1] - expected(at, days[at + lead - 1]) for at in past if at + lead <= known]
    low, high = np.quantile(np.concatenate(errors), [0.1, 0.9])
    return np.stack([middle + min(low, 0.0), middle, middle + max(high, 0.0)])


def _slots(day: date, *, values: Floats, origin: str, zone: str) -> pl.DataFrame:
    hours = slots_of(day, timezone=zone)
    at = hours["hour"].to_numpy()
    return hours.select(
        "starts_at_utc",
        market_day=pl.lit(day),
        q10=pl.Series(values[0][at]),
        q50=pl.Series(values[1][at]),
        q90=pl.Series(values[2][at]),
        origin=pl.lit(origin),
    )
