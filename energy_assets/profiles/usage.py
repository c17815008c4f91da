"""Energy and cost by hour, day, week, month, hour of the day and weekday, brought up to date by what a day touches.

Hours come from the readings, days from the hours that touch them, weeks and months from their days: each table equals a
recomputation from all readings. Calendars are those of the sites' clocks. What a node is made of comes as a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from energy_assets.contracts import Table, Window
from energy_assets.contracts.marts import (
    MARTS_USAGE_BY_CLOCK,
    MARTS_USAGE_DAILY,
    MARTS_USAGE_HOURLY,
    MARTS_USAGE_MONTHLY,
    MARTS_USAGE_WEEKLY,
    USAGE_NODE_KINDS,
)
from energy_assets.profiles.clocks import local_dates, meter_clocks
from energy_assets.sql import Query

DAYS_AT_ONCE = 31
MEMBER_COLUMNS = ("node_id", "node_kind", "site_id", "commodity", "direction", "meter_id", "sign")
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """Rows of a table in a window, of the node kinds named, and the query that they are replaced with."""

    table: Table
    window: Window
    query: Query


@dataclass(frozen=True, kw_only=True)
class UsageUpdate:
    """Replacements in the order in which one transaction makes them, and the frames that their queries name."""

    replacements: tuple[Replacement, ...]
    frames: Mapping[str, pl.DataFrame]


def usage_update(
    window: Window,
    *,
    meters: pl.DataFrame,
    sites: pl.DataFrame,
    members: pl.DataFrame,
    rates: pl.DataFrame,
    kinds: Sequence[str] = USAGE_NODE_KINDS,
) -> UsageUpdate:
    """Return what brings the usage tables up to date with the readings of `window`, whole UTC days.

    `members` has MEMBER_COLUMNS, one row per node and meter; `rates` site_id, flat_rate and export_rate (currency per
    kWh) and currency_code. Only nodes of `kinds` are replaced, and `members` must hold no others.
    """
    clocks = meter_clocks(meters, sites=sites, window=window)
    first, last = local_dates(clocks) or (window.starts_at_utc.date(), (window.ends_at_utc - _DAY).date())
    week = first - timedelta(days=first.weekday()), last + timedelta(days=6 - last.weekday())
    month = first.replace(day=1), _next_month(last) - _DAY
    steps = (
        _step(MARTS_USAGE_DAILY, (first, last), "usage_daily", kinds=kinds),
        _step(MARTS_USAGE_WEEKLY, week, "usage_of_days", kinds=kinds, period="week"),
        _step(MARTS_USAGE_MONTHLY, month, "usage_of_days", kinds=kinds, period="month"),
        _step(MARTS_USAGE_BY_CLOCK, month, "usage_by_clock", kinds=kinds),
    )
    hours = Query.from_file(
        "energy_assets.profiles", "usage_hourly", starts=window.starts_at_utc, ends=window.ends_at_utc
    )
    return UsageUpdate(
        replacements=(
            Replacement(table=MARTS_USAGE_HOURLY, window=window, query=hours),
            *steps,
        ),
        frames={
            "usage_clocks": clocks,
            "usage_members": members.select(MEMBER_COLUMNS),
            "usage_rates": rates.select("site_id", "flat_rate", "export_rate", "currency_code"),
        },
    )


def cluster_members(assigned: pl.DataFrame, *, meters: pl.DataFrame) -> pl.DataFrame:
    """Return the members of clusters as rows of MEMBER_COLUMNS; `assigned` are rows of `profiles.meters`."""
    known = assigned.drop_nulls("cluster_id").select("meter_id", node_id="cluster_id")
    rows = known.join(meters.select("meter_id", "commodity", "direction"), on="meter_id", how="inner", validate="1:1")
    return rows.with_columns(
        node_kind=pl.lit("cluster"), site_id=pl.lit(None, dtype=pl.String), sign=pl.lit(1, dtype=pl.Int64)
    ).select(MEMBER_COLUMNS)


def _step(table: Table, span: tuple[date, date], query: str, *, kinds: Sequence[str], **parameters: str) -> Replacement:
    first, last = span
    return Replacement(
        table=table,
        window=Window(starts_at_utc=_midnight(first), ends_at_utc=_midnight(last + _DAY)),
        query=Query.from_file("energy_assets.profiles", query, first=first, last=last, kinds=list(kinds), **parameters),
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), tzinfo=UTC)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
