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


def ended_by_day(starts: Ints, counted: Bools, *, slots_per_day: int, most_slots: int) -> Ints:
    """Return the longest of the counted cells' runs that ended on each day, [meter, day], 0 where none did.

    A run counts once, on its last day, and for `most_slots` at most.
    """
    days = starts.shape[1] // slots_per_day
    last = np.ones(starts.shape, dtype=bool)
    last[:, :-1] = starts[:, 1:] != starts[:, :-1]
    length = np.where(last & counted, np.arange(starts.shape[1], dtype=np.int32) - starts + 1, 0)
    longest: Ints = np.minimum(length, most_slots).reshape(len(starts), days, slots_per_day).max(axis=2)
    return longest


def whole_lengths(starts: Ints, counted: Bools, *, most_slots: int) -> Ints:
    """Return the length of the whole run of each counted cell [meter, slot], `most_slots` at most; 0 in other cells."""
    slots = starts.shape[1]
    last = np.ones(starts.shape, dtype=bool)
    last[:, :-1] = starts[:, 1:] != starts[:, :-1]
    ends = np.where(last, np.arange(slots, dtype=np.int32), slots)
    ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    lengths: Ints = np.where(counted, np.minimum(ends - starts + 1, most_slots), 0)
    return lengths


def usual_longest(
    ended: Ints, *, known: Bools, meter: Ints, start_day: Ints, day: Ints, lookback_days: int, share: float, least: int
) -> tuple[Floats, Ints]:
    """Return, for candidate runs, the length that earlier runs usually reach, and the days that this was seen on.

    Usual is what runs reached on more than `1 - share` of the days, and on `least` days: an outage or two are no habit.
    `ended` are the runs that ended on each day. Only days in [day - lookback_days, start_day) that are `known`
    [meter, day] count, so that a run is not its own excuse and silence is no history. NaN with no such day.
    """
    back = np.arange(lookback_days, 0, -1)
    days = day[:, None] - back[None, :]
    at_day = (meter[:, None], np.maximum(days, 0))
    valid = (days >= 0) & (days < start_day[:, None]) & known[at_day]
    seen = np.where(valid, ended[at_day], -1)
    seen.sort(axis=1)
    count = valid.sum(axis=1)
    from_top = np.maximum(np.floor((1 - share) * count).astype(np.int64) + 1, least)
    at = np.maximum(seen.shape[1] - from_top, 0)
    usual = np.maximum(seen[np.arange(len(seen)), at], 0).astype(np.float64)
    return np.where(count > 0, usual, np.nan), count


def weekly_habit(lengths: Ints, starts: Ints, *, meter: Ints, slot: Ints, slots_per_week: int) -> Ints:
    """Return the shorter of the runs that stood at the same slot one and two weeks before; 0 where one is the same run.

    `lengths` [meter, slot] are those of whole runs. A constant weekend is a habit after two of them.
    """
    habit = np.full(len(meter), np.iinfo(np.int32).max, dtype=np.int64)
    for weeks in (1, 2):
        before = slot - weeks * slots_per_week
        at = (meter, np.maximum(before, 0))
        is_other = (before >= 0) & (starts[at] != starts[meter, slot])
        habit = np.minimum(habit, np.where(is_other, lengths[at], 0))
    return habit


def occasions(ended: Ints, *, first_day: int, lookback_days: int) -> Ints:
    """Return on how many days of each day's look-back a run ended, [meter, day from first_day]."""
    total = np.concatenate([np.zeros((len(ended), 1), dtype=np.int64), np.cumsum(ended > 0, axis=1)], axis=1)
    days = np.arange(first_day, ended.shape[1])
    count: Ints = total[:, days] - total[:, np.maximum(days - lookback_days, 0)]
    return count


def level_before(values: Floats, *, meter: Ints, start: Ints, first: Ints, slots: int) -> Floats:
    """Return the median of the last `slots` positive values before each run, as a share of that since slot `first`.

    NaN where there are fewer than `slots` of them. A meter that is switched off for a season has dwindled before.
    """
    runs, which = np.unique(np.stack([meter, start, first]), axis=1, return_inverse=True)
    shares = np.full(runs.shape[1], np.nan)
    for number, (row, begin, since) in enumerate(runs.T):
        past = values[row, since:begin]
        used = past[past > 0]
        if len(used) >= slots:
            shares[number] = np.median(used[-slots:]) / np.median(used)
    level: Floats = shares[which.reshape(-1)]
    return level
