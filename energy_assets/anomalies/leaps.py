"""Readings that leap: brief ones are spikes, lasting ones another unit; and what meters usually reach."""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Bools, Floats, Grid, Ints
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.points import points, shown
from energy_assets.anomalies.runs import lengths_by_day_end, run_starts

_BRIEF_SHARE = 0.6  # of a spike that must have gone again within its hours: a crest on a high load is none
_LONE_SHARE = 0.75  # of the usual peak that a spike must stand out by, at hours of low use
_NEARLY = 0.8  # of its size: what the meter did before
_OCCASIONS = 3  # of the look-back that make it a habit


def usual_peaks(grid: Grid, *, first_day: int, limits: Limits) -> Floats:
    """Return the 90th percentile of the daily maxima of the look-back of each day from `first_day`, [meter, day].

    NaN with fewer than `least_history_days` days of readings.
    """
    return rolling_quantile(_largest(grid.used_kwh, grid=grid), first_day=first_day, limits=limits, share=0.9)


def rolling_quantile(daily: Floats, *, first_day: int, limits: Limits, share: float) -> Floats:
    """Return the quantile of the finite values of the look-back of each day from `first_day`, [meter, day].

    The quantile is the value at rank ceil(share * n); NaN with fewer than `least_history_days` values.
    """
    meters, days = daily.shape
    padded = np.concatenate([np.full((meters, limits.lookback_days), np.nan), daily], axis=1)
    result = np.full((meters, days - first_day), np.nan)
    for day in range(first_day, days):
        past = np.sort(padded[:, day : day + limits.lookback_days], axis=1)
        count = np.isfinite(past).sum(axis=1)
        at = np.clip(np.ceil(share * count).astype(np.int64) - 1, 0, None)
        enough = count >= limits.least_history_days
        result[:, day - first_day] = np.where(enough, past[np.arange(meters), at], np.nan)
    return result


def leaps(grid: Grid, *, first_day: int, peaks: Floats, limits: Limits) -> pl.DataFrame:
    """Return spikes, and what stays at a level of another unit.

    A spike leaps above the usual peak, or stands out of the hours around it as none of the meter's brief peaks do; it
    has returned within `spike_hours`. What came on a few occasions of the look-back is no spike: a meter may do so.
    """
    first_slot = first_day * grid.slots_per_day
    values, maxima = grid.reported_kwh[:, first_slot:], _largest(grid.used_kwh, grid=grid)
    peak = np.repeat(peaks, grid.slots_per_day, axis=1)
    high = values > 1.5 * peak
    above = _pairs(grid, first_day=first_day) > 1.5 * peaks[:, :, None]
    brief = _lasted_slots(above, slots_per_day=grid.slots_per_day) * grid.hours_per_slot <= limits.spike_hours
    times = values / np.where(peak > 0, peak, np.nan)
    shift = high & ~brief & (times > limits.shift_factor)
    said = pl.concat_str(shown("reported"), pl.lit(" is "), shown("times", "x"), pl.lit(" the usual peak"))
    named = {"first_slot": first_slot, "reason": said, "reported": values, "times": times}
    factor = limits.spike_factor * _unsteadiness(maxima, grid=grid, first_day=first_day, limits=limits)
    is_leap = (peak > 0) & (times > factor) & high & brief
    is_leap &= _brief_height(grid, first_day=first_day, limits=limits, after=-np.inf) > _BRIEF_SHARE * values
    spike = _never_usual(is_leap, sizes=values, daily=maxima, grid=grid, first_day=first_day, limits=limits)
    score = 1 - 0.15 * np.where(is_leap, factor, 0) / np.where(is_leap, times, 1)
    return pl.concat(
        [
            points(spike, "spike", score=score, **named),  # type: ignore[arg-type]
            _lone_peaks(grid, first_day=first_day, peak=peak, known=spike | shift, limits=limits),
            points(shift, "unit_shift", **named),  # type: ignore[arg-type]
        ]
    )


def _lone_peaks(grid: Grid, *, first_day: int, peak: Floats, known: Bools, limits: Limits) -> pl.DataFrame:
    """Return brief peaks that dwarf all brief peaks of the look-back, though not always the usual peak of the day."""
    first_slot = first_day * grid.slots_per_day
    daily = _largest(_top_hat(grid.used_kwh, width=_width(grid, limits=limits)), grid=grid)
    usual = rolling_quantile(daily, first_day=first_day, limits=limits, share=0.9)
    factor = limits.spike_factor * _unsteadiness(daily, grid=grid, first_day=first_day, limits=limits)
    needed = np.maximum(factor * np.repeat(usual, grid.slots_per_day, axis=1), _LONE_SHARE * peak)
    # What has not returned by the end of its day may be the beginning of more.
    height = _brief_height(grid, first_day=first_day, limits=limits, after=np.inf)
    values = grid.reported_kwh[:, first_slot:]
    lone = (needed > 0) & (height > needed) & (height > _BRIEF_SHARE * values) & ~known
    spike = _never_usual(lone, sizes=height, daily=daily, grid=grid, first_day=first_day, limits=limits)
    said = pl.concat_str(
        shown("reported"), pl.lit(" stands "), shown("height"), pl.lit(" out of the hours around it, "),
        pl.lit("brief peaks usually "), shown("usual"),
    )  # fmt: skip
    score = 1 - np.where(lone, needed, 0) / np.where(lone, height, 1)
    return points(
        spike, "spike", first_slot=first_slot, reason=said, reported=values, height=height,
        usual=np.repeat(usual, grid.slots_per_day, axis=1), score=score,
    )  # fmt: skip


def _unsteadiness(daily: Floats, *, grid: Grid, first_day: int, limits: Limits) -> Floats:
    """Return how many times wider than a factor of two the largest values of the days lie, at least 1, [meter, slot].

    What a home draws beside its battery is next to nothing on most days and a kettle or a car on others.
    """
    middle, upper = (rolling_quantile(daily, first_day=first_day, limits=limits, share=share) for share in (0.5, 0.9))
    wide = np.where(middle > 0, upper / np.where(middle > 0, middle, 1), np.where(upper > 0, np.inf, 1))
    times: Floats = np.maximum(wide / 2, 1)
    return np.repeat(times, grid.slots_per_day, axis=1)


def _never_usual(cells: Bools, *, sizes: Floats, daily: Floats, grid: Grid, first_day: int, limits: Limits) -> Bools:
    """Return the cells whose size was not nearly reached on `_OCCASIONS` separate occasions of the look-back.

    Days that follow one another are one occasion: a fault that lasted for days is no habit.
    """
    meter, at = np.nonzero(cells)
    days = at // grid.slots_per_day + first_day
    back = days[:, None] - np.arange(limits.lookback_days, 0, -1)[None, :]
    past = np.where(back >= 0, daily[meter[:, None], np.maximum(back, 0)], np.nan)
    reached = np.nan_to_num(past, nan=-np.inf) >= _NEARLY * sizes[meter, at][:, None]
    begins = reached.copy()
    begins[:, 1:] &= ~reached[:, :-1]
    rare = np.zeros_like(cells)
    rare[meter, at] = begins.sum(axis=1) < _OCCASIONS
    return rare


def _largest(values: Floats, *, grid: Grid) -> Floats:
    """Return the largest finite value of each day, [meter, day]; NaN where there is none."""
    by_day = grid.by_day(values)
    largest = np.where(np.isfinite(by_day), by_day, -np.inf).max(axis=2)
    return np.where(np.isfinite(largest), largest, np.nan)


def _width(grid: Grid, *, limits: Limits) -> int:
    return max(1, round(limits.spike_hours / grid.hours_per_slot)) + 1


def _brief_height(grid: Grid, *, first_day: int, limits: Limits, after: float) -> Floats:
    """Return how far each slot stands out of the hours around it by the end of its day, [meter, slot from first_day].

    `after` is what the unknown next day counts as: as low as can be, or as high.
    """
    pairs = _pairs(grid, first_day=first_day)
    width = _width(grid, limits=limits)
    padded = np.concatenate([pairs, np.full((*pairs.shape[:2], width), after)], axis=2)
    heights = _top_hat(padded, width=width)[:, :, grid.slots_per_day : -width]
    flat: Floats = heights.reshape(len(heights), -1)
    return flat


def _top_hat(values: Floats, *, width: int) -> Floats:
    """Return values less their opening over `width` slots along the last axis: what is narrower stands out.

    The opening at a slot is the largest of the minima of all windows of `width` that hold it (mathematical morphology,
    after Serra). Missing slots neither fill nor widen a gap; windows that reach beyond the ends end there.
    """
    present = np.where(np.isnan(values), np.inf, values)
    eroded = present.copy()
    for step in range(1, width):
        np.minimum(eroded[..., :-step], present[..., step:], out=eroded[..., :-step])
    opened = eroded.copy()
    for step in range(1, width):
        np.maximum(opened[..., step:], eroded[..., :-step], out=opened[..., step:])
    with np.errstate(invalid="ignore"):
        height: Floats = values - opened
    return height


def collapses(grid: Grid, *, first_day: int, limits: Limits) -> pl.DataFrame:
    """Return where a meter reads, for longer than a spike lasts, a trifle of what its lowest hours usually are."""
    first_slot = first_day * grid.slots_per_day
    by_day = grid.by_day(grid.used_kwh)
    least = np.where(by_day > 0, by_day, np.inf).min(axis=2)
    lows = rolling_quantile(np.where(least < np.inf, least, np.nan), first_day=first_day, limits=limits, share=0.1)
    pairs = _pairs(grid, first_day=first_day)
    trifles = (pairs > 0) & (pairs < lows[:, :, None] / limits.shift_factor)
    hours = _lasted_slots(trifles, slots_per_day=grid.slots_per_day) * grid.hours_per_slot
    tail = trifles[:, :, grid.slots_per_day :].reshape(len(by_day), -1)
    low = np.repeat(lows, grid.slots_per_day, axis=1)
    reported = grid.reported_kwh[:, first_slot:]
    said = pl.concat_str(shown("reported"), pl.lit(" where even the lowest hours use "), shown("low"))
    cells = tail & (hours > limits.spike_hours)
    return points(cells, "unit_shift", first_slot=first_slot, reason=said, reported=reported, low=low)


def _pairs(grid: Grid, *, first_day: int) -> Floats:
    """Return each day from `first_day` with the day before it, [meter, day, slot of two days]."""
    by_day = grid.by_day(grid.reported_kwh)
    pairs: Floats = np.concatenate([by_day[:, first_day - 1 : -1], by_day[:, first_day:]], axis=2)
    return pairs


def _lasted_slots(cells: Bools, *, slots_per_day: int) -> Ints:
    """Return for each slot of the second day the length of its run of equal cells [meter, day, slot of two days]."""
    flat = cells.astype(np.int8).reshape(-1, 2 * slots_per_day)
    length = lengths_by_day_end(run_starts(flat), slots_per_day=2 * slots_per_day, first_day=0)
    slots: Ints = length[:, slots_per_day:].reshape(len(cells), -1)
    return slots
