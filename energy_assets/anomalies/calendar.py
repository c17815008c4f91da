"""What kind of day a slot falls on at the site: working day, Saturday, or Sunday and holidays; and its clock's offset.

The grid stands on UTC days; a site's clock enters the detectors only here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
import numpy as np
import polars as pl

from energy_assets.anomalies.grid import MINUTES_PER_DAY, Grid, Ints
from energy_assets.errors import ConfigError

WORKING_DAY, SATURDAY, SUNDAY = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class SiteCalendar:
    """The clock and holidays of a site, as a group of meters shares them."""

    timezone: str = "UTC"
    holidays: frozenset[date] = frozenset()


@dataclass(frozen=True, kw_only=True)
class SlotCalendar:
    """Per slot of a grid: `kind` of the local day, its `weekday` (0 Monday), `minute` of the day, `offset_slots`."""

    kind: Ints
    weekday: Ints
    minute: Ints
    offset_slots: Ints


def slot_calendar(grid: Grid, *, site: SiteCalendar) -> SlotCalendar:
    """Return the calendar of every slot of a grid at a site's clock.

    Raises:
        ConfigError: the time zone is not an IANA name.
    """
    try:
        ZoneInfo(site.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(
            f"Time zone {site.timezone!r} is not an IANA name; use one like Europe/Berlin or UTC."
        ) from error
    utc = grid.times(np.arange(grid.reported_kwh.shape[1], dtype=np.int64))
    local = utc.dt.convert_time_zone(site.timezone)
    wall = local.dt.replace_time_zone(None)
    offset = (wall - utc.dt.replace_time_zone(None)).dt.total_minutes().to_numpy()
    weekday = wall.dt.weekday().to_numpy().astype(np.int64) - 1
    minute = ((wall.dt.hour().cast(pl.Int64) * 60 + wall.dt.minute().cast(pl.Int64)) % MINUTES_PER_DAY).to_numpy()
    is_holiday = wall.dt.date().is_in(sorted(site.holidays)).to_numpy() if site.holidays else np.zeros(len(wall), bool)
    kind = np.where((weekday == 6) | is_holiday, SUNDAY, np.where(weekday == 5, SATURDAY, WORKING_DAY))
    return SlotCalendar(kind=kind, weekday=weekday, minute=minute, offset_slots=offset // grid.interval_minutes)


@lru_cache(maxsize=1024)
def _holidays(country_code: str, subdivision_code: str | None, years: tuple[int, ...]) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country_code, subdiv=subdivision_code, years=years))


def holidays_of(country_code: str, *, years: Sequence[int], subdivision_code: str | None = None) -> frozenset[date]:
    """Return the public holidays of a country (ISO 3166-1 alpha-2) in the given years.

    Raises:
        ConfigError: the country or its subdivision is unknown to the holidays package.
    """
    try:
        return _holidays(country_code, subdivision_code, tuple(years))
    except NotImplementedError as error:
        raise ConfigError(
            f"No holidays are known for country {country_code!r}, subdivision {subdivision_code!r}; "
            "correct the codes of the site or leave them null."
        ) from error
