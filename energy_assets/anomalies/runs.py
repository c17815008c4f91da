"""Runs of equal values along time, and how long they usually get: what `stuck` and `zero_run` are judged by."""

from __future__ import annotations

import numpy as np

from energy_assets.anomalies.grid import Bools, Floats, Ints


def run_starts(values: Floats) -> Ints:
    """Return for each cell of [meter, slot] the slot at which its run of equal values began; NaN runs with nothing."""
    changed = np.ones(values.shape, dtype=bool)
    changed[:, 1:] = values[:, 1:] != values[:, :-1]
    slots = np.arange(values.shape[1], dtype=np.int32)
    starts: Ints = np.maximum.accumulate(np.where(changed, slots, 0), axis=1)
    return starts


def lengths_by_day_end(starts: Ints, *, slots_per_day: int, first_day: int) -> Ints:
    """Return for each cell from `first_day` the length of its run as known at the end of the cell's own day.

    Shape [meter, slots from first_day]; later days never lengthen an earlier day's run.
    """
    meters, total = starts.shape
    tail = starts[:, first_day * slots_per_day :].reshape(meters, -1, slots_per_day)
    last = np.ones(tail.shape, dtype=bool)
    last[:, :, :-1] = tail[:, :, 1:] != tail[:, :, :-1]
    within = np.arange(slots_per_day, dtype=np.int32)
    ends = np.where(last, within, slots_per_day)
    ends = np.minimum.accumulate(ends[:, :, ::-1], axis=2)[:, :, ::-1]
    day_offsets = np.arange(first_day * slots_per_day, total, slots_per_day, dtype=np.int32)
    lengths: Ints = (ends + day_offsets[None, :, None] - tail + 1).reshape(meters, -1)
    return lengths


def longest_by_day(starts: Ints, counted: Bools, *, slots_per_day: int) -> Ints:
    """Return the longest length that counted cells' runs have reached by each day, [meter, day]; 0 where none."""
    length = np.where(counted, np.arange(starts.shape[1], dtype=np.int32) - starts + 1, 0)
    longest: Ints = length.reshape(len(starts), -1, slots_per_day).max(axis=2)
    return longest


def usual_longest(
    longest: Ints, *, known: Bools, meter: Ints, start_day: Ints, day: Ints, lookback_days: int, share: float
) -> tuple[Floats, Ints]:
    """Return, for candidate runs, the quantile `share` of the daily longest runs before the run began, and its days.

    Only days in [day - lookback_days, start_day) that are `known` [meter, day] count, so a run is not its own excuse
    and silence is no history. NaN with no such day.
    """
    back = np.arange(lookback_days, 0, -1)
    days = day[:, None] - back[None, :]
    at_day = (meter[:, None], np.maximum(days, 0))
    valid = (days >= 0) & (days < start_day[:, None]) & known[at_day]
    seen = np.where(valid, longest[at_day], np.iinfo(np.int32).max)
    seen.sort(axis=1)
    count = valid.sum(axis=1)
    at = np.clip(np.ceil(share * count).astype(np.int64) - 1, 0, None)
    usual = seen[np.arange(len(seen)), at].astype(np.float64)
    return np.where(count > 0, usual, np.nan), count
