"""The highest load of a local day and the hour at which it falls, as distributions over joint scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import FORECASTS_PEAKS, LEVELS, QUANTILE_COLUMNS, UTC_TIME
from energy_assets.contracts.forecasts import PEAK_HOURS
from energy_assets.forecasts.peak_learning import PeakCorrection, corrected

_MICROSECONDS = 60_000_000
NO_PEAKS = pl.Schema(
    {name: dtype for name, dtype in FORECASTS_PEAKS.polars_schema.items() if name != "issued_at_utc"}
).to_frame()


@dataclass(frozen=True, kw_only=True)
class DaySlots:
    """The slots of one local day: where they stand, their local hours, and whether the day has all of them."""

    local_date: date
    slots: npt.NDArray[np.int64]
    hours: npt.NDArray[np.int64]
    is_whole: bool


def day_slots(starts_minute: npt.NDArray[np.int64], *, minutes: int, timezone: str) -> Iterator[DaySlots]:
    """Yield the local days of slots, which begin at minutes since 1970; a day of 23 or 25 hours is whole with these."""
    local = pl.Series(starts_minute * _MICROSECONDS).cast(UTC_TIME).dt.convert_time_zone(timezone)
    dates, hours = local.dt.date(), local.dt.hour().to_numpy().astype(np.int64)
    for day in dates.unique().sort():
        slots = np.flatnonzero((dates == day).to_numpy())
        midnights = pl.Series([day]).cast(pl.Datetime("us"))
        begins, ends = (
            each.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null").dt.epoch("us").item()
            for each in (midnights, midnights.dt.offset_by("1d"))
        )
        length = None if begins is None or ends is None else (ends - begins) // _MICROSECONDS
        yield DaySlots(
            local_date=day, slots=slots, hours=hours[slots], is_whole=length is None or len(slots) * minutes == length
        )


@dataclass(frozen=True, kw_only=True)
class DayPeaks:
    """Peaks of nodes on one local day: quantiles in kW [level, node], shares of the scenarios [node, hour]."""

    node_ids: Sequence[str]
    local_date: date
    quantiles: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]


def peaks_of(
    energy: npt.NDArray[np.float64],
    *,
    node_ids: Sequence[str],
    minutes: int,
    day: DaySlots,
    corrections: Sequence[PeakCorrection],
) -> DayPeaks:
    """Return the peaks of nodes from their energies [node, slot of the day, scenario], corrected node by node.

    Peaks are in kW, mean over an interval. Of equal peaks the first counts.
    """
    at = day.hours[energy.argmax(axis=1)]
    highest = corrected(energy.max(axis=1) * (60 / minutes), corrections)
    quantiles = np.quantile(highest, list(LEVELS.values()), axis=1)
    count, scenarios = at.shape
    flat = (np.arange(count)[:, None] * PEAK_HOURS + at).ravel()
    shares = np.bincount(flat, minlength=count * PEAK_HOURS).reshape(count, PEAK_HOURS) / scenarios
    return DayPeaks(node_ids=node_ids, local_date=day.local_date, quantiles=quantiles, shares=shares)


def rows_of(peaks: Sequence[DayPeaks]) -> pl.DataFrame:
    """Return one row per node and day, as `forecasts.peaks` has them without their issue."""
    if not peaks:
        return NO_PEAKS
    quantiles = np.concatenate([each.quantiles for each in peaks], axis=1)
    shares = np.concatenate([each.shares for each in peaks])
    dates = [each.local_date for each in peaks for _ in each.node_ids]
    return pl.DataFrame(
        {
            "node_id": pl.Series([name for each in peaks for name in each.node_ids], dtype=pl.String),
            "local_date": pl.Series(dates, dtype=pl.Date),
            **{name: quantiles[index] for index, name in enumerate(QUANTILE_COLUMNS)},
            "likeliest_hour": shares.argmax(axis=1).astype(np.int64),
            **{f"hour_{hour:02d}": shares[:, hour] for hour in range(PEAK_HOURS)},
        }
    ).select(NO_PEAKS.columns)
