"""Which local days of which zones are settled, on which slots: whole days of the past, each with its own prices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from energy_assets.contracts import PRICES_CURVES, Window
from energy_assets.prices.days import day_bounds
from energy_assets.prices.gathering import CELLS_AT_ONCE, LocalDay
from energy_assets.prices.settlement import Settled, prices_on, settle_day
from energy_assets.prices.usage import DayUse
from energy_assets.prices.zones import ZoneConfig

CURVE_COLUMNS = (
    "zone_id", "delivery_date", "revision", "starts_at_utc", "interval_minutes", "price_units", "export_price_units",
)  # fmt: skip
LONGEST_DAY = timedelta(hours=25)
_WEEKS_BEFORE = timedelta(weeks=4).days


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
    """Yield a window in pieces of whole days, a month at most, that the largest zone's readings fit in memory for."""
    of_zones = members.group_by("zone_id").agg((1440 / pl.col("meter_minutes")).sum().alias("a_day"))
    room = CELLS_AT_ONCE / of_zones["a_day"].max() if members.height else float("inf")  # type: ignore[operator]
    # A day is read with four others; of days in a row, each is read once with those of the four weeks before.
    yield from window.pieces(days=int(min(31, max(1, room / 5, room - _WEEKS_BEFORE))))


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


def settle_days(uses: Iterable[DayUse], *, curves: pl.DataFrame) -> Settled:
    """Return the settled days of zones from what was used on them; `curves` are CURVE_COLUMNS of their prices."""
    by_day: Mapping[tuple[object, ...], pl.DataFrame] = curves.partition_by("zone_id", "delivery_date", as_dict=True)
    nothing = PRICES_CURVES.empty().select(curves.columns)
    return Settled.together(
        settle_day(use, prices=prices_on(use, curves=by_day.get((use.day.zone.zone_id, use.day.local_date), nothing)))
        for use in uses
    )
