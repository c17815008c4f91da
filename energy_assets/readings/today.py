"""The day that has not ended, as far as it is known: read when asked for and stored nowhere.

`readings.interval` holds whole days only, and everything that learns, forecasts, bills or judges relies on that.
Today's energies are the same rule over the same raw readings: late and repeated messages count as they do at night.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from energy_assets.contracts import Window
from energy_assets.readings.cleaning import interval_query
from energy_assets.sql import Query


def today_of(now: datetime) -> Window:
    """Return the UTC day of an instant as far as it is over."""
    starts = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Window(starts_at_utc=starts, ends_at_utc=max(now, starts + timedelta(microseconds=1)))


def heard_query(now: datetime) -> Query:
    """Return the query whose one column meter_id names the meters that said something of today."""
    day = today_of(now)
    return Query.from_file("energy_assets.readings", "heard", starts=day.starts_at_utc, ends=day.ends_at_utc)


def today_query(now: datetime, *, meters: Sequence[str]) -> Query:
    """Return the query of today's electricity by premise, by what was known of `meters` (of `heard_query`) at `now`.

    Columns: premise_id, flow (consumption or production), day_starts_at_utc, until_utc (end of the last interval whose
    energy is known of every meter that counts), energy_kwh, coverage_fraction (known of ended intervals). A premise of
    which nothing is known today has no row; a register's last interval is known when its next reading comes.
    """
    cleaned = interval_query(today_of(now), known_by=now, meters=meters)
    summed = Query.from_file("energy_assets.readings", "today")
    return Query(
        text=f"WITH cleaned AS MATERIALIZED ({cleaned.text.rstrip().rstrip(';')}) {summed.text}",
        parameters=cleaned.parameters,
    )
