"""Walks a grid day by day and judges each day by its look-back: the one path of nightly runs, back-fills and files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from energy_assets.anomalies.calendar import SlotCalendar
from energy_assets.anomalies.expectation import expect
from energy_assets.anomalies.grid import Bools, Floats, Grid, Ints
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.scores import DayScores, by_forecast, score_day


def judged_days(
    grid: Grid,
    *,
    first_day: int,
    calendar: SlotCalendar,
    peers: Ints,
    covariates: Floats,
    forecast: tuple[Floats, Floats] | None,
    faulty: Bools,
    limits: Limits,
) -> Iterator[tuple[int, DayScores]]:
    """Yield every day from `first_day` with its scores; a day sees its look-back and itself.

    The meters share the calendar. `peers` [meter], `covariates` [meter, day, n]. `forecast` is the median and scale of
    each slot [meter, slot], NaN where there is none, or None. Cells of `faulty` [meter, slot] are left out of their own
    day's judgement; in a look-back medians bear them, so that a day judged alone and in bulk sees the same.
    """
    kwh = grid.used_kwh.astype(np.float32)
    slots = grid.slots_per_day
    for day in range(first_day, grid.days):
        begin = max(0, day - limits.lookback_days)
        columns = aligned_slots(calendar, begin=begin, day=day, slots=slots)
        window = np.take(kwh, columns, axis=1)
        window[:, :, -1][faulty[:, day * slots : (day + 1) * slots]] = np.nan
        kind, weekday = calendar.kind[columns], calendar.weekday[columns]
        judged = expect(window, kind=kind, covariates=covariates[:, begin : day + 1], peers=peers)
        scores = score_day(judged, kind=kind, weekday=weekday, hours_per_slot=grid.hours_per_slot)
        if forecast is not None:
            at = slice(day * slots, (day + 1) * slots)
            scores = by_forecast(
                scores, kwh=window[:, :, -1], median_kwh=forecast[0][:, at], scale_kwh=forecast[1][:, at]
            )
        yield day, scores


def aligned_slots(calendar: SlotCalendar, *, begin: int, day: int, slots: int) -> Ints:
    """Return [slot, day] the slot index that stood at the same local time on each day of the look-back."""
    days = np.arange(begin, day + 1)
    offset = calendar.offset_slots[days * slots + slots // 2]
    move = offset[-1] - offset
    aligned: Ints = np.clip(days[None, :] * slots + np.arange(slots)[:, None] + move[None, :], 0, (day + 1) * slots - 1)
    return aligned
