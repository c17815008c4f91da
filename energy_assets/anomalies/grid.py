"""Readings as dense arrays [meter, slot] of whole UTC days, the shape in which every rule and score is vectorised.

One grid holds meters of one cadence; frames of mixed cadence become several grids. Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_assets.contracts import Window
from energy_assets.errors import ContractError

MINUTES_PER_DAY = 1440
# The element type is in the name only: numpy's stubs lose it in most expressions.
Floats = NDArray[Any]
Bools = NDArray[Any]
Ints = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Readings of `meter_ids` over whole UTC days from `first_utc`; arrays are [meter, slot], NaN where absent.

    `used_kwh` is what may teach an expectation: NaN also where the readings' own cleaning refused or spread a value.
    `mark` indexes `marks`, the reasons that cleaning gave; 0 is no reason. `late_hours` is how long after the end of
    its interval a reading became available, 0 where that is not known.
    """

    meter_ids: tuple[str, ...]
    first_utc: datetime
    interval_minutes: int
    reported_kwh: Floats
    used_kwh: Floats
    mark: Ints
    marks: tuple[str, ...]
    late_hours: Floats

    @property
    def slots_per_day(self) -> int:
        """Return the number of slots of a UTC day."""
        return MINUTES_PER_DAY // self.interval_minutes

    @property
    def days(self) -> int:
        """Return the number of UTC days."""
        return int(self.reported_kwh.shape[1]) // self.slots_per_day

    @property
    def hours_per_slot(self) -> float:
        """Return the length of a slot in hours."""
        return self.interval_minutes / 60

    def times(self, slots: Ints) -> pl.Series:
        """Return the start times of slots by their index."""
        first = int(self.first_utc.timestamp() * 1_000_000)
        stamps = first + slots.astype(np.int64) * (self.interval_minutes * 60_000_000)
        return pl.Series(stamps).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")

    def by_day(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return an array [meter, slot] as [meter, day, slot of day] without copying."""
        return values.reshape(values.shape[0], self.days, self.slots_per_day)


def grids_of(readings: pl.DataFrame, *, window: Window) -> Iterator[Grid]:
    """Yield one grid per cadence over the whole days of `window`, from rows in the shape of `readings.interval`.

    Needs meter_id (text or an Enum), starts_at_utc, interval_minutes, reported_kwh; takes energy_kwh, quality, reason
    and available_at_utc where they stand; a reason without a quality is a mark. Rows outside the window or off the
    cadence's raster are left out; of several rows for one slot the last one counts.

    Raises:
        ContractError: a cadence does not divide the day.
    """
    first = window.starts_at_utc.replace(hour=0, minute=0, second=0, microsecond=0)
    days = -(-(window.ends_at_utc - first) // timedelta(days=1))
    inside = readings.filter(pl.col("starts_at_utc") >= first, pl.col("starts_at_utc") < first + timedelta(days=days))
    cadences = inside["interval_minutes"].unique().sort()
    for minutes in cadences:
        rows = inside if len(cadences) == 1 else inside.filter(pl.col("interval_minutes") == minutes)
        if MINUTES_PER_DAY % minutes:
            raise ContractError(
                f"readings.interval holds intervals of {minutes} minutes, which do not divide a day; "
                "declare a cadence of 1 to 1440 minutes that does."
            )
        yield _grid(rows, first=first, days=days, minutes=int(minutes))


def _grid(rows: pl.DataFrame, *, first: datetime, days: int, minutes: int) -> Grid:
    ids, meter = _numbered(rows["meter_id"])
    shape = (len(ids), days * (MINUTES_PER_DAY // minutes))
    step = minutes * 60_000_000
    elapsed = rows["starts_at_utc"].dt.epoch("us").to_numpy() - int(first.timestamp() * 1_000_000)
    slot, beside = np.divmod(elapsed, step)
    at = meter.astype(np.int64) * shape[1] + slot
    on_raster = None if not beside.any() else beside == 0

    def scatter(values: NDArray[Any], empty: NDArray[Any]) -> NDArray[Any]:
        flat = empty.reshape(-1)
        if on_raster is None:
            flat[at] = values
        else:
            flat[at[on_raster]] = values[on_raster]
        return flat.reshape(shape)

    reported = scatter(_floats(rows, "reported_kwh"), np.full(shape, np.nan))
    marks, codes = _marks(rows)
    mark = np.zeros(shape, dtype=np.int16) if len(marks) == 1 else scatter(codes, np.zeros(shape, dtype=np.int16))
    used = reported
    if "energy_kwh" in rows.columns:
        used = scatter(_floats(rows, "energy_kwh"), np.full(shape, np.nan))
        used[mark > 0] = np.nan
    late = scatter(_late_hours(rows, minutes=minutes), np.zeros(shape, dtype=np.float32))
    return Grid(
        meter_ids=ids,
        first_utc=first,
        interval_minutes=minutes,
        reported_kwh=reported,
        used_kwh=used,
        mark=mark,
        marks=marks,
        late_hours=late,
    )


def _numbered(meter_ids: pl.Series) -> tuple[tuple[str, ...], Ints]:
    """Return the meters in their order, and the place among them of each row's; an Enum's order is its own."""
    if isinstance(meter_ids.dtype, pl.Enum):
        numbers = meter_ids.to_physical().to_numpy()
        present = np.flatnonzero(np.bincount(numbers, minlength=len(meter_ids.dtype.categories)))
        place = np.zeros(len(meter_ids.dtype.categories), dtype=np.int64)
        place[present] = np.arange(len(present))
        return tuple(meter_ids.dtype.categories.gather(present)), place[numbers]
    ids = meter_ids.unique().sort()
    return tuple(ids), meter_ids.cast(pl.Enum(ids)).to_physical().to_numpy()


def _floats(rows: pl.DataFrame, column: str) -> Floats:
    values = rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    values[~np.isfinite(values)] = np.nan
    return values


def _marks(rows: pl.DataFrame) -> tuple[tuple[str, ...], Ints]:
    if "reason" not in rows.columns or (rows["reason"].null_count() == rows.height and "quality" not in rows.columns):
        return ("",), np.zeros(rows.height, dtype=np.int16)
    reason = pl.col("reason")
    if "quality" in rows.columns:
        absent = pl.when(pl.col("quality") == "missing").then(pl.lit("gap"))
        reason = pl.when(pl.col("quality") != "measured").then(pl.coalesce(reason, absent))
    named = rows.select(reason.fill_null("").alias("reason"))["reason"]
    names = ("", *sorted(set(named.unique()) - {""}))
    return names, named.cast(pl.Enum(names)).to_physical().cast(pl.Int16).to_numpy()


def _late_hours(rows: pl.DataFrame, *, minutes: int) -> Floats:
    if "available_at_utc" not in rows.columns:
        return np.zeros(rows.height, dtype=np.float32)
    late = pl.col("available_at_utc") - pl.col("starts_at_utc") - pl.duration(minutes=minutes)
    return rows.select((late.dt.total_minutes() / 60).cast(pl.Float32).fill_null(0).alias("hours"))["hours"].to_numpy()
