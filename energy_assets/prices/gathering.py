"""Readings gathered into arrays: per premise and direction the energy of every slot that a settlement needs.

A month of fifteen minutes of ten thousand premises is a hundred million readings: they come from the lake in narrow
parts, in any order, and are added up where they belong. What they mean for a bill is the concern of `usage`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import gcd
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import Window
from energy_assets.prices.days import Floats, day_bounds, day_slots
from energy_assets.prices.rounding import Integers
from energy_assets.prices.zones import ZoneConfig
from energy_assets.sql import Query

CELLS_AT_ONCE = 80_000_000  # twelve bytes each
EXACT = 1e9  # kWh to millionths of a Wh, so that sums of floats are sums of whole numbers
_ROWS_OF_A_PART = 4_000_000
_MINUTE_US = 60_000_000
_CLOCK_CHANGE = timedelta(hours=2)
# What is known so soon is known when any later day begins that takes it for usual: that is six days on at least.
_IN_TIME_MINUTES = 5 * 1440


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
class Members:
    """The premises of a zone, and the rows of theirs in the arrays: one for each direction that is metered."""

    premise_ids: list[str]
    is_grid: npt.NDArray[np.bool_]  # per premise
    rows: slice
    place: Integers  # per row: its premise
    draws: npt.NDArray[np.bool_]  # per row


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


class Gathered:
    """The energy of some zones' meters on their local days, and on those of the weeks before."""

    def __init__(self, days: Sequence[LocalDay], *, members: pl.DataFrame) -> None:
        """Make room for the readings of days of one slot length; `members` as of `usage.counted_meters`."""
        self.days = list(days)
        self._windows = windows_read(self.days)
        self._meters = _with_rows(members, zones={day.zone.zone_id for day in self.days})
        self._serves = [
            _minutes_up(self._meters["valid_from_utc"], otherwise=-(2**40)),
            _minutes_up(self._meters["valid_to_utc"], otherwise=2**40),
        ]
        self._row_of_meter = self._meters["place"].cast(pl.Int64).to_numpy()
        self._resolution = _resolution(self.days, windows=self._windows)
        self._cells = _cells_of(self._windows, resolution=self._resolution)
        self._origin = _minute(self._windows[0].starts_at_utc)
        rows = self._meters["place"].n_unique()
        self._width = int(self._cells.max()) + 1
        shape = (rows, self._width)
        most = int(self._meters.group_by("place").len()["len"].max() or 0) * 60  # type: ignore[arg-type]
        self._energy = np.zeros(shape)
        self._minutes = np.zeros(shape, dtype=np.int16 if most < 2**15 else np.int32)
        # Pages of these two are memory only where something is written: late readings, and such without a value.
        self._known = np.zeros(shape, dtype=np.int32)
        self._is_empty = np.zeros(shape, dtype=np.bool_)

    def queries(self) -> Iterator[Query]:
        """Yield the queries whose rows `add` takes."""
        interval = self.days[0].interval_minutes
        fine = self._meters.filter(pl.col("meter_minutes") <= interval).sort("meter_id")
        for window in self._windows:
            minutes = (window.ends_at_utc - window.starts_at_utc) / timedelta(minutes=1)
            rows = fine.select((minutes / pl.col("meter_minutes")).cum_sum() // _ROWS_OF_A_PART).to_series()
            for part in fine.with_columns(part=rows).partition_by("part", maintain_order=True):
                meters = part["meter_id"].to_list()
                yield Query.from_file(
                    "energy_assets.prices", "readings_of_meters", starts=window.starts_at_utc,
                    ends=window.ends_at_utc, meter_ids=meters, places=part["place"].to_list(),
                    first_meter=meters[0], last_meter=meters[-1],
                )  # fmt: skip

    def narrowed(self, readings: pl.DataFrame) -> pl.DataFrame:
        """Return rows of READINGS_INTERVAL, of any meters and times, as the queries return them."""
        interval = self.days[0].interval_minutes
        fine = self._meters.filter(pl.col("meter_minutes") <= interval)
        starts = self._windows[0].starts_at_utc, self._windows[-1].ends_at_utc
        return (
            readings.filter(pl.col("starts_at_utc").is_between(*starts, closed="left"))
            .join(fine.select("meter_id", "place"), on="meter_id", validate="m:1")
            .select(
                "place",
                "interval_minutes",
                "energy_kwh",
                start_minute=pl.col("starts_at_utc").dt.epoch("us") // _MINUTE_US,
                known_minute=-(-pl.col("available_at_utc").dt.epoch("us") // _MINUTE_US),
            )
        )

    def add(self, rows: pl.DataFrame) -> None:
        """Add readings to the slots that they are part of; each reading once."""
        start = rows["start_minute"].to_numpy()
        cell = self._cells[(start - self._origin) // self._resolution]
        place = rows["place"].to_numpy().astype(np.int64) * self._width + cell
        energy = np.rint(rows["energy_kwh"].to_numpy() * EXACT)
        known = rows["known_minute"].to_numpy()
        minutes = rows["interval_minutes"].to_numpy().astype(self._minutes.dtype)
        late = np.flatnonzero((known - start > _IN_TIME_MINUTES) & (cell >= 0))
        np.maximum.at(self._known.reshape(-1), place[late], known[late].astype(np.int32))
        absent = np.isnan(energy) | (cell < 0)
        if absent.any():
            self._is_empty.reshape(-1)[place[absent & (cell >= 0)]] = True
            place, energy, minutes = place[~absent], energy[~absent], minutes[~absent]
        np.add.at(self._energy.reshape(-1), place, energy)
        np.add.at(self._minutes.reshape(-1), place, minutes)

    def zones(self) -> Mapping[str, Members]:
        """Return the members of every zone that has any."""
        sides = (
            self._meters.group_by("zone_id", "place", "premise_id", "draws")
            .agg(pl.col("is_grid").first())
            .sort("place")
        )
        found = {}
        for (zone_id,), own in sides.group_by("zone_id", maintain_order=True):
            premises = own.group_by("premise_id", maintain_order=True).agg(pl.col("is_grid").first())
            names = premises.select("premise_id").with_row_index("premise")
            first = int(own["place"][0])
            found[str(zone_id)] = Members(
                premise_ids=premises["premise_id"].to_list(),
                is_grid=premises["is_grid"].to_numpy(),
                rows=slice(first, first + own.height),
                place=own.join(names, on="premise_id", maintain_order="left")["premise"].cast(pl.Int64).to_numpy(),
                draws=own["draws"].to_numpy(),
            )
        return found

    def read(
        self, day: LocalDay, *, members: Members, known_at: datetime | None
    ) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return a local day's energy per row and slot in exact units, NaN where unread; and which rows have readings.

        Only what was available at `known_at` counts, when that is given.
        """
        start, end = (_minute(bound) for bound in day.bounds)
        step, slots = day.interval_minutes // self._resolution, len(day.slots)
        first = self._cell(start)
        own = np.s_[members.rows, first : first + (end - start) // self._resolution]
        energy = _per_slot(self._energy[own], step=step, slots=slots)
        had = _per_slot(self._minutes[own], step=step, slots=slots)
        serves = (self._serves[0] <= start) & (self._serves[1] > start)
        owed = np.bincount(self._row_of_meter[serves], minlength=len(self._energy))[members.rows]
        is_unread = had < (owed * day.interval_minutes)[:, None]
        if known_at is not None:
            is_late = self._known[own] > _minute(known_at)
            if is_late.any():
                is_unread |= _per_slot(is_late.astype(np.int16), step=step, slots=slots) > 0
        here = np.asarray((had > 0).any(axis=1) | self._is_empty[own].any(axis=1), dtype=np.bool_)
        return np.where(is_unread, np.nan, energy), here

    def _cell(self, minute: int) -> int:
        return int(self._cells[(minute - self._origin) // self._resolution])


def gatherings(days: Sequence[LocalDay], *, members: pl.DataFrame) -> Iterator[Gathered]:
    """Yield empty arrays for the readings of days: zones of one slot length together, as many as memory takes."""
    rows = dict(members.group_by("zone_id").len().iter_rows())
    for interval in sorted({day.interval_minutes for day in days}):
        of_zones: dict[str, list[LocalDay]] = {}
        for day in days:
            if day.interval_minutes == interval and day.zone.zone_id in rows:
                of_zones.setdefault(day.zone.zone_id, []).append(day)
        chosen: list[LocalDay] = []
        room = 0.0
        for zone_id, own in sorted(of_zones.items()):
            read = sum((each.ends_at_utc - each.starts_at_utc for each in windows_read(own)), timedelta(0))
            wanted = rows[zone_id] * (read / timedelta(minutes=interval))
            if chosen and room + wanted > CELLS_AT_ONCE:
                yield Gathered(chosen, members=members)
                chosen, room = [], 0.0
            chosen, room = [*chosen, *own], room + wanted
        if chosen:
            yield Gathered(chosen, members=members)


def _with_rows(members: pl.DataFrame, *, zones: set[str]) -> pl.DataFrame:
    """Return the meters of zones with `place`: their row, one for each premise and direction, by zone and premise."""
    own = members.filter(pl.col("zone_id").is_in(list(zones)))
    sides = own.select("zone_id", "premise_id", "draws").unique().sort("zone_id", "premise_id", "draws")
    return own.join(sides.with_row_index("place"), on=["zone_id", "premise_id", "draws"], validate="m:1")


def _resolution(days: Sequence[LocalDay], *, windows: Sequence[Window]) -> int:
    """Return the longest cells, in minutes, that slots of all days and of the weeks before consist of."""
    origin = _minute(windows[0].starts_at_utc)
    found = days[0].interval_minutes
    for day in days:
        for week in range(day.zone.bill.baseline_weeks + 1):
            bounds = day_bounds(day.local_date - timedelta(weeks=week), zone=day.zone)
            found = gcd(found, *(_minute(bound) - origin for bound in bounds))
    return gcd(found, *(_minute(window.starts_at_utc) - origin for window in windows))


def _cells_of(windows: Sequence[Window], *, resolution: int) -> Integers:
    """Return per stretch of time since the first window its cell: windows one after the other, -1 between them."""
    origin, last = _minute(windows[0].starts_at_utc), _minute(windows[-1].ends_at_utc)
    cells = np.full(-((origin - last) // resolution), -1, dtype=np.int64)
    taken = 0
    for window in windows:
        first = (_minute(window.starts_at_utc) - origin) // resolution
        size = -((_minute(window.starts_at_utc) - _minute(window.ends_at_utc)) // resolution)
        cells[first : first + size] = np.arange(taken, taken + size)
        taken += size
    return cells


_Cells = TypeVar("_Cells", bound=np.generic)


def _per_slot(cells: npt.NDArray[_Cells], *, step: int, slots: int) -> npt.NDArray[_Cells]:
    """Return sums over `step` cells each; where the last slot reaches past the day, of those in it."""
    lacking = slots * step - cells.shape[1]
    if lacking:
        cells = np.pad(cells, ((0, 0), (0, lacking)))
    return cells if step == 1 else np.add.reduce(cells.reshape(len(cells), slots, step), axis=2)


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60


def _minutes_up(moments: pl.Series, *, otherwise: int) -> Integers:
    """Return the first whole minutes that are not before the moments."""
    return (-(-moments.dt.epoch("us") // _MINUTE_US)).fill_null(otherwise).to_numpy()
