"""Readings as dense arrays, and the single gate through which a feature may see them: `as_known`.

A feature function receives a `Known` and never the history itself, so it cannot look past the issue time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RECENT_DAYS = 45
"""Six weeks of daily lags from any slot of the horizon, an hour for a clock change and two days to spare."""
YEAR_AGO_DAYS = (388, 338)
"""Weeks 55 to 49 before any slot of a horizon of up to four days, as days before the issue."""
_MINUTES_PER_DAY = 1440
_NEVER = np.iinfo(np.int32).max


@dataclass(frozen=True, kw_only=True)
class History:
    """Readings of one interval class: `kwh` [meter, slot] with NaN for missing, and the minute each became known."""

    kwh: Floats
    known_minute: npt.NDArray[np.int32]
    first_slot: int
    interval_minutes: int

    @property
    def slots_per_day(self) -> int:
        """Return the number of slots in 24 hours."""
        return _MINUTES_PER_DAY // self.interval_minutes

    def final(self, meter: Ints, slot: Ints) -> tuple[Floats, npt.NDArray[np.int32]]:
        """Return the energy of slots as it is known in the end, and since when; the target, never a feature."""
        column = slot - self.first_slot
        inside = (column >= 0) & (column < self.kwh.shape[1])
        column = np.where(inside, column, 0)
        if not self.kwh.shape[1]:
            return np.full(len(slot), np.nan, np.float32), np.full(len(slot), _NEVER, np.int32)
        kwh = np.where(inside, self.kwh[meter, column], np.float32(np.nan))
        return kwh, np.where(inside, self.known_minute[meter, column], _NEVER)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What was known at one issue: blocks [meter, slot] of the last days and of the same season a year ago."""

    issue_slot: int
    slots_per_day: int
    interval_minutes: int
    recent: Floats
    year_ago: Floats

    def last(self, days: int) -> Floats:
        """Return the block of the last `days` times 24 hours before the issue."""
        return self.recent[:, self.recent.shape[1] - days * self.slots_per_day :]

    def recent_at(self, meter: Ints, slot: Ints) -> Floats:
        """Return the energy at slots [row, lag] of the recent block, NaN outside of it."""
        return _gather(self.recent, meter, slot - (self.issue_slot - self.recent.shape[1]))

    def year_ago_at(self, meter: Ints, slot: Ints) -> Floats:
        """Return the energy at slots [row, lag] of the block a year ago, NaN outside of it."""
        return _gather(self.year_ago, meter, slot - (self.issue_slot - YEAR_AGO_DAYS[0] * self.slots_per_day))


def hide_unknown(kwh: Floats, known_minute: npt.NDArray[np.int32], issue_minute: int) -> Floats:
    """Return the readings with NaN for those that were not yet known at the issue: the only defence against leaks.

    The boundary is `known_minute <= issue_minute`: an interval that ends at the issue and is available at its end is
    known, because the issue stands for "everything up to this instant". `known_minute` is rounded up to whole minutes
    and issues are whole minutes, so a reading that comes a second late is not seen.
    """
    return np.where(known_minute <= issue_minute, kwh, np.float32(np.nan))


def as_known(history: History, *, issue_minute: int) -> Known:
    """Return what could be known at an issue; nothing that starts at or after it is in the blocks at all."""
    per_day = history.slots_per_day
    issue_slot = -(-issue_minute // history.interval_minutes)

    def block(from_days: int, to_days: int) -> Floats:
        wanted = np.full((history.kwh.shape[0], (from_days - to_days) * per_day), np.nan, dtype=np.float32)
        start = issue_slot - from_days * per_day - history.first_slot
        low, high = max(start, 0), min(start + wanted.shape[1], history.kwh.shape[1])
        if low < high:
            known = hide_unknown(history.kwh[:, low:high], history.known_minute[:, low:high], issue_minute)
            wanted[:, low - start : high - start] = known
        return wanted

    return Known(
        issue_slot=issue_slot,
        slots_per_day=per_day,
        interval_minutes=history.interval_minutes,
        recent=block(RECENT_DAYS, 0),
        year_ago=block(*YEAR_AGO_DAYS),
    )


def to_history(
    readings: pl.LazyFrame, *, meter_ids: pl.Series, interval_minutes: int, from_slot: int, to_slot: int
) -> History:
    """Return READINGS_INTERVAL rows of the meters, of that interval and within the slots, as dense arrays."""
    slot = pl.col("starts_at_utc").dt.epoch("us").floordiv(interval_minutes * 60_000_000)
    known = pl.col("available_at_utc").dt.epoch("us").neg().floordiv(60_000_000).neg()
    index = pl.LazyFrame({"meter_id": meter_ids}).with_row_index("meter")
    rows = (
        readings.filter(pl.col("interval_minutes") == interval_minutes, pl.col("energy_kwh").is_finite())
        .select("meter_id", slot=slot, kwh=pl.col("energy_kwh").cast(pl.Float32), known=known.cast(pl.Int32))
        .filter(pl.col("slot") >= from_slot, pl.col("slot") < to_slot)
        .join(index, on="meter_id", how="inner", maintain_order="left")
        .select("meter", "slot", "kwh", "known")
        .collect()
    )
    first = int(rows["slot"].min() or 0) if rows.height else from_slot  # type: ignore[arg-type]
    width = int(rows["slot"].max() or 0) + 1 - first if rows.height else 0  # type: ignore[arg-type]
    kwh = np.full((len(meter_ids), width), np.nan, dtype=np.float32)
    known_minute = np.full((len(meter_ids), width), _NEVER, dtype=np.int32)
    place = rows["meter"].to_numpy().astype(np.int64), rows["slot"].to_numpy() - first
    kwh[place] = rows["kwh"].to_numpy()
    known_minute[place] = rows["known"].to_numpy()
    return History(kwh=kwh, known_minute=known_minute, first_slot=first, interval_minutes=interval_minutes)


def _gather(block: Floats, meter: Ints, column: Ints) -> Floats:
    inside = (column >= 0) & (column < block.shape[1])
    flat = meter[:, None] * block.shape[1] + np.where(inside, column, 0)
    return np.where(inside, block.ravel()[flat], np.float32(np.nan))
