"""Partitions: UTC days of data, and delivery dates; and the windows and issue times that follow from them."""

from datetime import UTC, date, datetime, time, timedelta

import dagster as dg

from energy_assets.contracts import Window
from energy_assets.settings import load_settings

_FIRST_DAY = load_settings().first_day

DAILY = dg.DailyPartitionsDefinition(start_date=_FIRST_DAY)
"""UTC day of the data; the newest partition is yesterday."""

DELIVERY_DATE = dg.DailyPartitionsDefinition(start_date=_FIRST_DAY, end_offset=2)
"""Local day that is forecast or priced; the newest partition is tomorrow."""

# A delivery date is issued at the start of the day before it, and the newest whole day of data then is two days back.
NEWEST_DATA_OF_DELIVERY = dg.TimeWindowPartitionMapping(start_offset=-2, end_offset=-2)


def window_of(context: dg.AssetExecutionContext) -> Window:
    """Return the window of the run's daily partitions, one or a range."""
    span = context.partition_time_window
    return Window(starts_at_utc=span.start.astimezone(UTC), ends_at_utc=span.end.astimezone(UTC))


def delivery_dates_of(context: dg.AssetExecutionContext) -> list[date]:
    """Return the delivery dates of the run, one or a range."""
    return list(window_of(context).days())


def issue_time(delivery_date: date, *, issue_hour_utc: int) -> datetime:
    """Return when the forecast of a delivery date is issued: nothing that became known later is used."""
    return datetime.combine(delivery_date - timedelta(days=1), time(issue_hour_utc), tzinfo=UTC)


def issue_window(delivery_dates: list[date], *, issue_hour_utc: int) -> Window:
    """Return the window of issue times of consecutive delivery dates."""
    first = issue_time(delivery_dates[0], issue_hour_utc=issue_hour_utc)
    last = issue_time(delivery_dates[-1], issue_hour_utc=issue_hour_utc)
    return Window(starts_at_utc=first, ends_at_utc=last + timedelta(days=1))
