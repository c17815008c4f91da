"""Which slots a forecast covers: from its issue to the end of a local day, or a number of hours; DST decides the count.

Site-local time is turned into UTC here and in `calendar`, nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import ContractError


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """How far a forecast looks: to the end of the local day `delivery_days` after the issue's UTC date, or `hours`."""

    delivery_days: int = 1
    hours: int | None = None

    @classmethod
    def of_hours(cls, hours: int) -> Horizon:
        """Return the horizon of the next `hours` hours."""
        return cls(hours=hours)

    def end(self, issued_at: datetime, *, timezone: str) -> datetime:
        """Return the UTC instant at which the last slot ends."""
        if self.hours is not None:
            return issued_at + timedelta(hours=self.hours)
        day_after = issued_at.astimezone(UTC).date() + timedelta(days=self.delivery_days + 1)
        return datetime.combine(day_after, time(), tzinfo=ZoneInfo(timezone)).astimezone(UTC)


DELIVERY_DATE = Horizon()


def minute_of(instant: datetime) -> int:
    """Return whole minutes since the epoch.

    Raises:
        ContractError: the instant has no zone or is not a whole minute, which would blur what was known when.
    """
    if instant.tzinfo is None or instant.second or instant.microsecond:
        raise ContractError(f"An issue time is a whole minute with a time zone, got {instant!r}; pass UTC times.")
    return int(instant.timestamp()) // 60


def slots(issued_at: datetime, *, timezone: str, interval_minutes: int, horizon: Horizon = DELIVERY_DATE) -> pl.Series:
    """Return the UTC starts of the slots of a forecast; a local day has 23, 24 or 25 hours of them."""
    first, last = slot_bounds(issued_at, timezone=timezone, interval_minutes=interval_minutes, horizon=horizon)
    minutes = pl.int_range(first, last, eager=True, dtype=pl.Int64) * interval_minutes
    return (minutes * 60_000_000).cast(UTC_TIME).alias("starts_at_utc")


def slot_bounds(issued_at: datetime, *, timezone: str, interval_minutes: int, horizon: Horizon) -> tuple[int, int]:
    """Return first and end slot number; slot n starts n intervals after the epoch, none starts before the issue."""
    first = -(-minute_of(issued_at) // interval_minutes)
    last = -(-minute_of(horizon.end(issued_at, timezone=timezone)) // interval_minutes)
    return first, max(last, first)
