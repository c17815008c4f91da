"""What premises drew and fed in on local days, slot by slot, with their baseline: readings made ready for settlement.

The baseline is the mean of the same local time on the same weekday of the weeks before, as it was known when the day
began. A slot that was not read counts as its baseline and earns nothing, and is marked; without any history the
baseline is what was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import Window
from energy_assets.forecasts.nodes import with_net_sign
from energy_assets.prices.days import Floats, day_bounds, day_slots
from energy_assets.prices.rounding import Integers
from energy_assets.prices.zones import ZoneConfig

_EXACT = 1e9  # kWh to millionths of a Wh, so that sums of floats are sums of whole numbers
_MINUTE_US = 60_000_000
READ_COLUMNS = ("meter_id", "starts_at_utc", "interval_minutes", "energy_kwh", "available_at_utc")
_CLOCK_CHANGE = timedelta(hours=2)
_DRAWS = ("consumption", "grid_import")
_GRID = ("grid_import", "grid_export")


@dataclass(frozen=True, kw_only=True)
class LocalDay:
    """A local day of a zone that is to be settled, on the slots of its prices."""

    zone: ZoneConfig
    local_date: date
    interval_minutes: int

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """Return start and end in UTC."""
        return day_bounds(self.local_date, zone=self.zone)

    @property
    def slots(self) -> list[datetime]:
        """Return the starts of the slots in UTC: 23, 24 or 25 hours of them."""
        return day_slots(self.local_date, zone=self.zone, interval_minutes=self.interval_minutes)


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


def windows_read(days: Sequence[LocalDay]) -> list[Window]:
    """Return what of the readings days need: the days, and the same days of the weeks before; nothing twice."""
    if not days:
        return []
    starts = min(day.bounds[0] for day in days)
    ends = max(day.bounds[1] for day in days)
    weeks = max(day.zone.bill.baseline_weeks for day in days)
    spans = [(starts, ends)]
    for week in range(1, weeks + 1):
        back = timedelta(weeks=week)
        spans.append((starts - back - _CLOCK_CHANGE, ends - back + _CLOCK_CHANGE))
    windows: list[Window] = []
    for first, last in sorted(spans):
        if windows and first <= windows[-1].ends_at_utc:
            joined = windows.pop()
            first, last = joined.starts_at_utc, max(last, joined.ends_at_utc)  # noqa: PLW2901  spans that touch
        windows.append(Window(starts_at_utc=first, ends_at_utc=last))
    return windows


def use_of_days(readings: pl.DataFrame, *, members: pl.DataFrame, days: Sequence[LocalDay]) -> Iterator[DayUse]:
    """Yield the use of every day on which its zone has premises with readings, now or in the weeks before.

    Args:
        readings: READ_COLUMNS of READINGS_INTERVAL in `windows_read(days)`.
        members: As `counted_meters` returns them. Meters that are coarser than the day's slots are left out.
        days: Local days, each once.
    """
    zones = sorted({day.zone.zone_id for day in days})
    own = members.filter(pl.col("zone_id").is_in(zones)).sort("zone_id", "premise_id", "meter_id").with_row_index("row")
    rows = (
        readings.lazy()
        .select(READ_COLUMNS)
        .join(own.lazy().select("meter_id", "row", "zone_id"), on="meter_id", validate="m:1")
        .select(
            "zone_id",
            "row",
            starts="starts_at_utc",
            minutes="interval_minutes",
            energy=(pl.col("energy_kwh") * _EXACT).round(),
            available="available_at_utc",
        )
        .sort("zone_id", "starts")
        .collect()
    )
    of_zone = rows.partition_by("zone_id", as_dict=True)
    for zone_id in zones:
        metered = _Metered.of(own.filter(pl.col("zone_id") == zone_id), rows=of_zone.get((zone_id,), rows.clear()))
        for day in days:
            if day.zone.zone_id == zone_id:
                yield from _use(metered, day=day)


@dataclass(frozen=True, kw_only=True)
class _Metered:
    """The meters of a zone, and their readings by time; times are microseconds since 1970."""

    premise_ids: list[str]
    place: Integers  # per meter: its premise
    draws: npt.NDArray[np.bool_]
    is_grid: npt.NDArray[np.bool_]  # per premise
    meter_minutes: Integers
    valid_from: Integers
    valid_to: Integers
    meter: Integers  # per reading, as what follows
    starts: Integers
    minutes: Integers
    energy: Floats
    available: Integers

    @classmethod
    def of(cls, meters: pl.DataFrame, *, rows: pl.DataFrame) -> _Metered:
        premises = meters.group_by("premise_id").agg(pl.col("is_grid").first()).sort("premise_id")
        places = meters.join(
            premises.select("premise_id").with_row_index("place"), on="premise_id", maintain_order="left"
        )
        first_row = int(meters["row"][0]) if meters.height else 0
        return cls(
            premise_ids=premises["premise_id"].to_list(),
            place=places["place"].cast(pl.Int64).to_numpy(),
            draws=meters["draws"].to_numpy(),
            is_grid=premises["is_grid"].to_numpy(),
            meter_minutes=meters["meter_minutes"].to_numpy(),
            valid_from=_microseconds(meters["valid_from_utc"], otherwise=-(2**62)),
            valid_to=_microseconds(meters["valid_to_utc"], otherwise=2**62),
            meter=rows["row"].cast(pl.Int64).to_numpy() - first_row,
            starts=_microseconds(rows["starts"], otherwise=0),
            minutes=rows["minutes"].to_numpy(),
            energy=rows["energy"].fill_null(float("nan")).to_numpy(),
            available=_microseconds(rows["available"], otherwise=0),
        )

    def read(self, *, day: LocalDay, known_at: int | None) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Return import and export in exact units, (slots, premises), NaN where unread; and which premises have rows.

        Only what was available at `known_at` counts, when that is given.
        """
        start, end = (int(bound.timestamp()) * 1_000_000 for bound in day.bounds)
        first, last = np.searchsorted(self.starts, [start, end])
        meter, energy = self.meter[first:last], self.energy[first:last]
        chosen = self.meter_minutes[meter] <= day.interval_minutes
        here = np.bincount(self.place[meter[chosen]], minlength=len(self.premise_ids)) > 0
        chosen &= ~np.isnan(energy)
        if known_at is not None:
            chosen &= self.available[first:last] <= known_at
        slot = (self.starts[first:last] - start) // (day.interval_minutes * _MINUTE_US)
        index = (slot * len(self.premise_ids) + self.place[meter])[chosen]
        energy, minutes, draws = energy[chosen], self.minutes[first:last][chosen], self.draws[meter[chosen]]
        serves = (self.valid_from <= start) & (self.valid_to > start)
        shape = (len(day.slots), len(self.premise_ids))

        def summed(side: npt.NDArray[np.bool_], meters: npt.NDArray[np.bool_]) -> Floats:
            """Return the sums of one side, NaN where fewer minutes were read than its meters owe."""
            size = shape[0] * shape[1]
            total = np.bincount(index[side], weights=energy[side], minlength=size).reshape(shape)
            had = np.bincount(index[side], weights=minutes[side], minlength=size).reshape(shape)
            owed = np.bincount(self.place[meters & serves], minlength=shape[1]) * day.interval_minutes
            return np.where(had >= owed, total, np.nan)

        drawn, fed = summed(draws, self.draws), summed(~draws, ~self.draws)
        net = drawn - fed
        drawn, fed = np.where(self.is_grid, drawn, net), np.where(self.is_grid, fed, -net)
        return np.maximum(drawn, 0.0), np.maximum(fed, 0.0), here


def _use(metered: _Metered, *, day: LocalDay) -> Iterator[DayUse]:
    """Yield the day as arrays; nothing when no premise was read on it or before."""
    drawn, fed, here = metered.read(day=day, known_at=None)
    total, count = np.zeros_like(drawn), np.zeros_like(drawn)
    began = int(day.bounds[0].timestamp()) * 1_000_000
    for week in range(1, day.zone.bill.baseline_weeks + 1):
        before = replace(day, local_date=day.local_date - timedelta(weeks=week))
        past = metered.read(day=before, known_at=began)[0]
        for row, others in enumerate(_same_times(day, before=before)):
            for other in others:
                known = ~np.isnan(past[other])
                total[row] += np.where(known, past[other], 0.0)
                count[row] += known
    usual = np.where(count > 0, total / np.maximum(count, 1.0), drawn)
    present = here | (count > 0).any(axis=0)
    if not present.any():
        return
    drawn, fed, usual = drawn[:, present], fed[:, present], usual[:, present]
    yield DayUse(
        day=day,
        premise_ids=[name for name, kept in zip(metered.premise_ids, present, strict=True) if kept],
        import_wh=_watt_hours(np.where(np.isnan(drawn), usual, drawn)),
        export_wh=_watt_hours(fed),
        baseline_wh=_watt_hours(usual),
        is_estimated=np.isnan(drawn) | np.isnan(fed),
    )


def _same_times(day: LocalDay, *, before: LocalDay) -> list[list[int]]:
    """Return per slot of a day the slots of an earlier one at the same time on a clock: one, none, or two."""

    def clock(of: LocalDay) -> list[time]:
        return [slot.astimezone(of.zone.zoneinfo).time() for slot in of.slots]

    places: dict[time, list[int]] = {}
    for place, shown in enumerate(clock(before)):
        places.setdefault(shown, []).append(place)
    return [places.get(shown, []) for shown in clock(day)]


def _microseconds(moments: pl.Series, *, otherwise: int) -> Integers:
    return moments.dt.epoch("us").fill_null(otherwise).to_numpy()


def _watt_hours(exact: Floats) -> Integers:
    return np.asarray(np.round(np.nan_to_num(exact) / 1e6), dtype=np.int64)
