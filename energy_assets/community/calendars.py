"""Which kind of day it is, where: holidays of the country, terms of a campus, breaks of a school.

Day types: 0 working day, 1 Saturday, 2 Sunday or public holiday, 3 working day in a break.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache

import numpy as np

from energy_assets.community.places import Place
from energy_assets.community.streams import Array

WORKING, SATURDAY, SUNDAY, BREAK = range(4)
_SATURDAY, _SUNDAY = 5, 6

# Spans of (month, day) without teaching, and of summer, by country; both ends included.
_BREAKS = {
    "US": (((12, 16), (1, 10)), ((3, 12), (3, 20)), ((5, 12), (5, 22)), ((8, 8), (8, 21))),
    "CA": (((12, 20), (1, 6)), ((2, 18), (2, 24)), ((4, 28), (5, 6)), ((8, 24), (9, 4))),
    "GB": (((12, 14), (1, 9)), ((3, 25), (4, 18)), ((6, 25), (9, 22))),
    "IE": (((12, 15), (1, 14)), ((3, 20), (4, 4)), ((6, 1), (9, 5))),
    "DE": (((12, 22), (1, 6)), ((4, 2), (4, 14)), ((7, 28), (9, 9)), ((10, 28), (11, 2))),
    "NL": (((12, 22), (1, 6)), ((4, 27), (5, 5)), ((7, 14), (8, 25)), ((10, 20), (10, 27))),
    "AT": (((12, 23), (1, 6)), ((2, 12), (2, 18)), ((7, 5), (9, 8)), ((10, 27), (10, 31))),
    "FR": (((12, 21), (1, 5)), ((2, 10), (2, 24)), ((7, 6), (9, 1)), ((10, 19), (11, 3))),
    "DK": (((12, 21), (1, 4)), ((2, 10), (2, 16)), ((6, 29), (8, 11)), ((10, 13), (10, 20))),
}
_SUMMER = {"US": ((5, 23), (8, 7)), "CA": ((5, 7), (8, 23)), "GB": ((6, 25), (9, 22)), "IE": ((6, 1), (9, 5))}


@lru_cache(maxsize=512)
def holidays_of(country_code: str, subdivision_code: str, year: int) -> frozenset[date]:
    """Return the public holidays of a country or part of it in one year."""
    import holidays

    listed = set(holidays.country_holidays(country_code, subdiv=subdivision_code or None, years=year))
    thanksgiving = (
        (date(year, 11, 22) + timedelta(days=(3 - date(year, 11, 22).weekday()) % 7)) if country_code == "US" else None
    )
    return frozenset(listed | ({thanksgiving + timedelta(days=1)} if thanksgiving else set()))


def is_break(place: Place, day: date) -> bool:
    """Return whether teaching pauses on `day`."""
    return any(_within(day, span) for span in _BREAKS[place.country_code])


def day_types(place: Place, *, first: date, days: int, has_terms: bool) -> Array:
    """Return the day type of each local day, int64 of shape (days,)."""
    kinds = np.empty(days, dtype=np.int64)
    for index in range(days):
        day = first + timedelta(days=index)
        if day.weekday() == _SUNDAY or day in holidays_of(place.country_code, place.subdivision_code, day.year):
            kinds[index] = SUNDAY
        elif day.weekday() == _SATURDAY:
            kinds[index] = SATURDAY
        else:
            kinds[index] = BREAK if has_terms and is_break(place, day) else WORKING
    return kinds


def term_level(place: Place, *, first: date, days: int) -> Array:
    """Return how full a campus is on each local day, from 0.55 in deep break to 1.05 before examinations."""
    level = np.empty(days, dtype=np.float32)
    summer = _SUMMER.get(place.country_code)
    for index in range(days):
        day = first + timedelta(days=index)
        if summer and _within(day, summer):
            level[index] = 0.78
        elif is_break(place, day):
            level[index] = 0.62 if day.month in {12, 1} else 0.8
        else:
            level[index] = 1.0 + 0.05 * (day.month in {4, 11, 12})
    return level


def _within(day: date, span: tuple[tuple[int, int], tuple[int, int]]) -> bool:
    start, end = span
    here = (day.month, day.day)
    return start <= here <= end if start <= end else here >= start or here <= end
