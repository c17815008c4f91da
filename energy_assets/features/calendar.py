"""What the calendar says of a slot at a place: local clock, weekday, holidays and bridge days, and where the sun is.

Everything here is known for ever, so nothing depends on an issue time. Missing countries have no holidays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.features.closures import CLOSURE, SCHOOL_HOLIDAY, Spans, is_within
from energy_assets.features.history import Floats, Ints
from energy_assets.features.sun import day_angle, declination_of, sun_at

CALENDAR_FEATURES = (
    "local_hour",
    "weekday",
    "day_kind",
    "is_holiday",
    "is_before_holiday",
    "is_after_holiday",
    "is_bridge_day",
    "is_school_holiday",
    "is_closed",
    "year_sin",
    "year_cos",
    "day_length_hours",
    "sun_elevation_sine",
)
CLEAR_SKY_FEATURES = ("clear_sky_irradiance_w_m2",)
"""A function of the sun's elevation, which trees know already; a group of its own."""
WORKDAY, SATURDAY, DAY_OF_REST = 0, 1, 2
_SUN = ("day_length_hours", "sun_elevation_sine", *CLEAR_SKY_FEATURES)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What decides a calendar: clock, public holidays and position."""

    timezone: str
    country_code: str | None = None
    subdivision_code: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    spans: Spans = ()
    """School holidays and closures there, as calendar files tell them."""


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Calendar of one place over consecutive slots: feature columns, UTC offset in slots and kind of the day."""

    first_slot: int
    features: dict[str, Floats]
    offset_slots: Ints
    day_kind: Ints

    def columns_of(self, slot: Ints) -> Ints:
        """Return array positions of slots, the nearest one for slots before the first or after the last."""
        return np.clip(slot - self.first_slot, 0, len(self.day_kind) - 1)

    def same_local_time(self, slot: Ints, *, days_before: Ints, slots_per_day: int) -> Ints:
        """Return the slots [row, lag] with the same local clock time a number of days before."""
        naive = slot[:, None] - days_before[None, :] * slots_per_day
        now, then = self.offset_slots[self.columns_of(slot)], self.offset_slots[self.columns_of(naive)]
        return naive + now[:, None] - then


def calendar_of(place: Place, *, first_slot: int, slot_count: int, interval_minutes: int) -> Calendar:
    """Return the calendar of a place for consecutive slots since the epoch."""
    minutes = pl.int_range(first_slot, first_slot + slot_count, eager=True, dtype=pl.Int64) * interval_minutes
    table = calendar_table((minutes * 60_000_000).cast(UTC_TIME), place=place)
    offset = table["offset_minutes"].to_numpy()
    return Calendar(
        first_slot=first_slot,
        features={name: table[name].cast(pl.Float32).to_numpy() for name in (*CALENDAR_FEATURES, *CLEAR_SKY_FEATURES)},
        offset_slots=np.floor_divide(offset, interval_minutes).astype(np.int64),
        day_kind=table["day_kind"].to_numpy().astype(np.int64),
    )


def calendar_table(starts_at_utc: pl.Series, *, place: Place) -> pl.DataFrame:
    """Return one row per slot with the calendar features, `local_date` and `offset_minutes`."""
    local = pl.col("starts_at_utc").dt.convert_time_zone(place.timezone)
    frame = pl.DataFrame({"starts_at_utc": starts_at_utc.cast(UTC_TIME)}).with_columns(
        local_date=local.dt.date(),
        local_hour=local.dt.hour() + local.dt.minute() / 60,
        offset_minutes=(local.dt.base_utc_offset() + local.dt.dst_offset()).dt.total_minutes(),
    )
    days = _days(frame["local_date"].unique().sort(), place=place)
    angle = 2 * np.pi * pl.col("local_date").dt.ordinal_day() / 365.25
    return (
        frame.join(days, on="local_date", how="left", validate="m:1", maintain_order="left")
        .with_columns(year_sin=angle.sin(), year_cos=angle.cos())
        .with_columns(_sun(frame["starts_at_utc"], place))
    )


def _days(dates: pl.Series, *, place: Place) -> pl.DataFrame:
    if dates.is_empty():
        first = last = date(2000, 1, 1)
    else:
        first, last = dates[0] - timedelta(2), dates[-1] + timedelta(2)
    frame = pl.DataFrame({"local_date": pl.date_range(first, last, eager=True)}).with_columns(
        weekday=pl.col("local_date").dt.weekday() - 1,
        is_holiday=pl.col("local_date").is_in(_holidays(place, years=range(first.year, last.year + 1))),
    )
    day = pl.col("local_date")
    school, closed = (is_within(day, place.spans, kind=kind) for kind in (SCHOOL_HOLIDAY, CLOSURE))
    told = {kind for kind, _, _ in place.spans}
    unknown = pl.lit(None, pl.Boolean)
    rest = pl.col("is_holiday") | (pl.col("weekday") >= 5) | closed
    kind = pl.when(pl.col("is_holiday") | (pl.col("weekday") == 6) | closed).then(DAY_OF_REST)
    return frame.with_columns(
        is_school_holiday=school if SCHOOL_HOLIDAY in told else unknown,
        is_closed=closed if CLOSURE in told else unknown,
        day_kind=kind.when(pl.col("weekday") == 5).then(SATURDAY).otherwise(WORKDAY),
        is_before_holiday=pl.col("is_holiday").shift(-1, fill_value=False),
        is_after_holiday=pl.col("is_holiday").shift(1, fill_value=False),
        is_bridge_day=~rest & rest.shift(1, fill_value=False) & rest.shift(-1, fill_value=False),
    )


def _holidays(place: Place, *, years: Iterable[int]) -> list[date]:
    import holidays

    if place.country_code is None:
        return []
    supported = holidays.list_supported_countries()
    if place.country_code not in supported:
        _log.warning("No public holidays are known for country %s; its days count as ordinary.", place.country_code)
        return []
    subdivision = place.subdivision_code if place.subdivision_code in supported[place.country_code] else None
    return sorted(holidays.country_holidays(place.country_code, subdiv=subdivision, years=years))


def _sun(starts_at_utc: pl.Series, place: Place) -> list[pl.Series]:
    """Return day length, sine of the sun's elevation and irradiance of a cloudless sky on the level."""
    if place.latitude is None or place.longitude is None:
        nothing = [None] * len(starts_at_utc)
        return [pl.Series(name, nothing, dtype=pl.Float64) for name in _SUN]
    minute = (starts_at_utc.to_physical() // 60_000_000).to_numpy()
    sun = sun_at(minute, latitude=place.latitude, longitude=place.longitude)
    sunset = np.arccos(
        np.clip(-np.tan(np.pi / 180 * place.latitude) * np.tan(declination_of(day_angle(minute))), -1, 1)
    )
    values = (sunset * 24 / np.pi, sun.elevation_sine, sun.clear_sky_w_m2)
    return [pl.Series(name, each) for name, each in zip(_SUN, values, strict=True)]
