"""Which local days of which zones are settled, on which slots: whole days of the past, each with its own prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from energy_assets.contracts import PRICES_CURVES, Window
from energy_assets.prices.days import day_bounds
from energy_assets.prices.settlement import Settled, prices_on, settle_day
from energy_assets.prices.usage import LocalDay, use_of_days
from energy_assets.prices.zones import ZoneConfig

CURVE_COLUMNS = (
    "zone_id", "delivery_date", "revision", "starts_at_utc", "interval_minutes", "price_units", "export_price_units",
)  # fmt: skip
LONGEST_DAY = timedelta(hours=25)
_ROWS_AT_ONCE = 6_000_000  # readings that are held at a time; settling them takes about as much memory again


def closed_days(zones: Sequence[ZoneConfig], *, window: Window, until: datetime) -> list[tuple[ZoneConfig, date]]:
    """Return the local days that start in a window and have ended by `until`, the end of the readings."""
    found = []
    for zone in zones:
        day = window.starts_at_utc.astimezone(zone.zoneinfo).date()
        while True:
            starts, ends = day_bounds(day, zone=zone)
            if starts >= window.ends_at_utc or ends > until:
                break
            if starts >= window.starts_at_utc:
                found.append((zone, day))
            day += timedelta(days=1)
    return found


def pieces_of(window: Window, *, members: pl.DataFrame) -> Iterator[Window]:
    """Yield a window in pieces of whole days whose readings, with those of the weeks before, fit in memory."""
    a_day = float(members.select((1440 / pl.col("meter_minutes")).sum()).item()) * 5 if members.height else 1.0
    yield from window.pieces(days=max(1, min(28, int(_ROWS_AT_ONCE / a_day))))


def on_slots(
    closed: Sequence[tuple[ZoneConfig, date]], *, curves: pl.DataFrame, members: pl.DataFrame
) -> list[LocalDay]:
    """Return local days on the slots of their prices; on those of the zone's coarsest meter where none are published.

    `curves` are rows of PRICES_CURVES, `members` the meters of `usage.counted_meters`. Zones without meters have none.
    """
    of_meters = dict(members.group_by("zone_id").agg(pl.col("meter_minutes").max()).iter_rows())
    of_prices = {
        (zone, day): minutes
        for zone, day, minutes in curves.sort("revision")
        .group_by("zone_id", "delivery_date")
        .agg(pl.col("interval_minutes").last())
        .iter_rows()
    }
    return [
        LocalDay(
            zone=zone,
            local_date=day,
            interval_minutes=of_prices.get((zone.zone_id, day), min(of_meters[zone.zone_id], 60)),
        )
        for zone, day in closed
        if zone.zone_id in of_meters
    ]


def settle_days(
    readings: pl.DataFrame, *, members: pl.DataFrame, curves: pl.DataFrame, days: Sequence[LocalDay]
) -> Settled:
    """Return the settled days of zones; arguments as for `usage.use_of_days` and `settlement.prices_on`."""
    by_day: Mapping[tuple[object, ...], pl.DataFrame] = curves.partition_by("zone_id", "delivery_date", as_dict=True)
    nothing = PRICES_CURVES.empty().select(curves.columns)
    return Settled.together(
        settle_day(use, prices=prices_on(use, curves=by_day.get((use.day.zone.zone_id, use.day.local_date), nothing)))
        for use in use_of_days(readings, members=members, days=days)
    )
