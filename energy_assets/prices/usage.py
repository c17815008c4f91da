"""What premises drew and fed in on local days, slot by slot, with their baseline: readings made ready for settlement.

The baseline is the mean of the same local time on the same weekday of the weeks before, as it was known when the day
began. A slot that was not read counts as its baseline and earns nothing, and is marked; without any history the
baseline is what was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.forecasts.nodes import with_net_sign
from energy_assets.prices.days import Floats
from energy_assets.prices.gathering import Gathered, LocalDay, Members, gatherings
from energy_assets.prices.rounding import Integers

READ_COLUMNS = ("meter_id", "starts_at_utc", "interval_minutes", "energy_kwh", "available_at_utc")
_DRAWS = ("consumption", "grid_import")
_GRID = ("grid_import", "grid_export")


@dataclass(frozen=True, kw_only=True)
class DayUse:
    """Energy of a zone's premises on a local day, in Wh, each array (slots, premises)."""

    day: LocalDay
    premise_ids: list[str]
    import_wh: Integers
    export_wh: Integers
    baseline_wh: Integers
    is_estimated: npt.NDArray[np.bool_]


def counted_meters(meters: pl.DataFrame) -> pl.DataFrame:
    """Return the meters that make a premise's bill, rows of METERS: those of its grid, else consumption and production.

    Columns: meter_id, premise_id, zone_id, draws, is_grid, meter_minutes, valid_from_utc, valid_to_utc.
    """
    counted = with_net_sign(meters).filter(pl.col("net_sign") != 0)
    return counted.select(
        "meter_id",
        "premise_id",
        "valid_from_utc",
        "valid_to_utc",
        zone_id="site_id",
        draws=pl.col("direction").is_in(_DRAWS),
        is_grid=pl.col("direction").is_in(_GRID),
        meter_minutes="interval_minutes",
    )


def use_of_days(readings: pl.DataFrame, *, members: pl.DataFrame, days: Sequence[LocalDay]) -> Iterator[DayUse]:
    """Yield the use of every day on which its zone has premises with readings, now or in the weeks before.

    Args:
        readings: READ_COLUMNS of READINGS_INTERVAL in `gathering.windows_read(days)`.
        members: As `counted_meters` returns them. Meters that are coarser than the day's slots are left out.
        days: Local days, each once.
    """
    for gathered in gatherings(days, members=members):
        gathered.add(gathered.narrowed(readings))
        yield from use_of_gathered(gathered)


def use_of_gathered(gathered: Gathered) -> Iterator[DayUse]:
    """Yield the use of the days whose readings were gathered, as `use_of_days` does."""
    zones = gathered.zones()
    for day in gathered.days:
        yield from _use(gathered, day=day, members=zones[day.zone.zone_id])


def _sides(
    gathered: Gathered, *, day: LocalDay, members: Members, known_at: datetime | None
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return import and export in exact units, (premises, slots), NaN where unread; and which premises have rows."""
    energy, row_is_here = gathered.read(day, members=members, known_at=known_at)
    shape = (len(members.premise_ids), energy.shape[1])
    drawn, fed = np.zeros(shape), np.zeros(shape)
    drawn[members.place[members.draws]] = energy[members.draws]
    fed[members.place[~members.draws]] = energy[~members.draws]
    behind = ~members.is_grid
    net = drawn[behind] - fed[behind]
    drawn[behind], fed[behind] = np.maximum(net, 0.0), np.maximum(-net, 0.0)
    here = np.bincount(members.place, weights=row_is_here, minlength=shape[0]) > 0
    return np.maximum(drawn, 0.0), np.maximum(fed, 0.0), here


def _use(gathered: Gathered, *, day: LocalDay, members: Members) -> Iterator[DayUse]:
    """Yield the day as arrays; nothing when no premise was read on it or before."""
    drawn, fed, here = _sides(gathered, day=day, members=members, known_at=None)
    total, count = np.zeros_like(drawn), np.zeros(drawn.shape, dtype=np.int8)
    for week in range(1, day.zone.bill.baseline_weeks + 1):
        before = replace(day, local_date=day.local_date - timedelta(weeks=week))
        past = _sides(gathered, day=before, members=members, known_at=day.bounds[0])[0]
        for slots, others in _same_times(day, before=before):
            values = past[:, others]
            known = ~np.isnan(values)
            total[:, slots] += np.where(known, values, 0.0)
            count[:, slots] += known
    usual = np.where(count > 0, total / np.maximum(count, 1), drawn)
    present = here | (count > 0).any(axis=1)
    if not present.any():
        return
    if not present.all():
        drawn, fed, usual = drawn[present], fed[present], usual[present]
    is_unread = np.isnan(drawn)
    yield DayUse(
        day=day,
        premise_ids=[name for name, kept in zip(members.premise_ids, present, strict=True) if kept],
        import_wh=_watt_hours(np.where(is_unread, usual, drawn)),
        export_wh=_watt_hours(fed),
        baseline_wh=_watt_hours(usual),
        is_estimated=(is_unread | np.isnan(fed)).T,
    )


Slots = slice | list[int]


def _same_times(day: LocalDay, *, before: LocalDay) -> list[tuple[Slots, Slots]]:
    """Return slots of a day and those of an earlier one at the same time on a clock: one each, none, or two."""

    def clock(of: LocalDay) -> list[time]:
        return [slot.astimezone(of.zone.zoneinfo).time() for slot in of.slots]

    own, theirs = clock(day), clock(before)
    if own == theirs:
        return [(slice(None), slice(None))]
    places: dict[time, list[int]] = {}
    for place, shown in enumerate(theirs):
        places.setdefault(shown, []).append(place)
    pairs: list[tuple[Slots, Slots]] = []
    for turn in range(max(map(len, places.values()))):
        found = [(slot, places[shown][turn]) for slot, shown in enumerate(own) if len(places.get(shown, [])) > turn]
        pairs.append(([slot for slot, _ in found], [other for _, other in found]))
    return pairs


def _watt_hours(exact: Floats) -> Integers:
    """Return whole Wh, (slots, premises), of exact units (premises, slots)."""
    return np.ascontiguousarray(np.rint(np.nan_to_num(exact) / 1e6).T.astype(np.int64))
