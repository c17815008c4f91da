"""Rules with exact reasons over a grid: what no meter that works reports. Each returns points, one a slot.

A rule sees the readings up to the end of the day it judges and `lookback_days` before it. What cleaning has marked
already becomes a flag with the same name; scores against an expectation live in `scores.py`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Bools, Floats, Grid, Ints
from energy_assets.anomalies.leaps import collapses, leaps, usual_peaks
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.points import POINT_SCHEMA, points, shown
from energy_assets.anomalies.runs import (
    ended_by_day,
    lengths_by_day_end,
    level_before,
    occasions,
    run_starts,
    usual_longest,
    weekly_habit,
    whole_lengths,
)
from energy_assets.anomalies.vocabulary import RULES, rule_of_reason

EXACT_FLOOR = 0.9
_FAULTS = tuple(name for name, rule in RULES.items() if rule.family == "data_fault")
_LONGEST_USUAL_RUN_DAYS = 4
_HABIT_DAYS = 3  # what came on fewer days of the look-back is no habit, however long


def exact_points(grid: Grid, *, first_day: int, capacity_kw: Floats, in_service: Bools, limits: Limits) -> pl.DataFrame:
    """Return every rule's points of the days from `first_day`: meter and slot by index, rule, score 0..1, reason.

    `capacity_kw` is [meter], NaN where not declared. `in_service` is [meter, slot]: a gap outside is no gap.
    """
    peaks = usual_peaks(grid, first_day=first_day, limits=limits)
    frames = [
        _marked(grid, first_day=first_day),
        _gaps(grid, first_day=first_day, in_service=in_service),
        _late(grid, first_day=first_day, limits=limits),
        _impossible(grid, first_day=first_day, capacity_kw=capacity_kw, limits=limits),
        _negative(grid, first_day=first_day, peaks=peaks, limits=limits),
        _constant_runs(grid, first_day=first_day, limits=limits),
        leaps(grid, first_day=first_day, peaks=peaks, limits=limits),
        collapses(grid, first_day=first_day, limits=limits),
    ]
    joined = pl.concat(frames).unique(["meter", "slot", "rule"], keep="first", maintain_order=True)
    # A data fault by an exact rule scores above whatever is merely odd, so that scores compare across rules.
    is_fault = pl.col("rule").is_in(_FAULTS)
    above = EXACT_FLOOR + (1 - EXACT_FLOOR) * pl.col("score")
    return joined.with_columns(score=pl.when(is_fault).then(above).otherwise("score"))


def _marked(grid: Grid, *, first_day: int) -> pl.DataFrame:
    first_slot = first_day * grid.slots_per_day
    mark = grid.mark[:, first_slot:]
    reported = grid.reported_kwh[:, first_slot:]
    frames = [POINT_SCHEMA.to_frame()]
    for code, name in enumerate(grid.marks[1:], start=1):
        said = (
            pl.when(pl.col("reported").is_finite())
            .then(pl.concat_str(pl.lit(f"cleaning marked {name}; reported "), shown("reported")))
            .otherwise(pl.lit(f"cleaning marked {name}; no value"))
        )
        rule = rule_of_reason(name)
        frames.append(points(mark == code, rule, first_slot=first_slot, reason=said, reported=reported))
    return pl.concat(frames)


def _gaps(grid: Grid, *, first_day: int, in_service: Bools) -> pl.DataFrame:
    first_slot = first_day * grid.slots_per_day
    absent = ~np.isfinite(grid.reported_kwh)
    unmarked = absent[:, first_slot:] & (grid.mark[:, first_slot:] == 0) & in_service[:, first_slot:]
    slots = np.arange(absent.shape[1], dtype=np.int32)
    last_known = np.maximum.accumulate(np.where(absent, -1, slots), axis=1)[:, first_slot:]
    hours = (slots[first_slot:] - last_known) * grid.hours_per_slot
    said = pl.concat_str(pl.lit("the last one is "), shown("hours", "h"), pl.lit(" old"))
    return points(unmarked, "gap", first_slot=first_slot, reason=said, hours=hours)


def _late(grid: Grid, *, first_day: int, limits: Limits) -> pl.DataFrame:
    first_slot = first_day * grid.slots_per_day
    hours = grid.late_hours[:, first_slot:].astype(np.float64)
    said = pl.concat_str(shown("hours", "h"), pl.lit(" after its interval ended"))
    return points(hours > limits.late_hours, "late", first_slot=first_slot, reason=said, hours=hours, score=0.2)


def _impossible(grid: Grid, *, first_day: int, capacity_kw: Floats, limits: Limits) -> pl.DataFrame:
    first_slot = first_day * grid.slots_per_day
    reported = grid.reported_kwh[:, first_slot:]
    most = capacity_kw[:, None] * grid.hours_per_slot * np.ones_like(reported)
    said = pl.concat_str(shown("reported"), pl.lit(" where the capacity allows "), shown("most"))
    cells = np.abs(reported) > most * limits.capacity_margin
    return points(cells, "impossible", first_slot=first_slot, reason=said, reported=reported, most=most)


def _negative(grid: Grid, *, first_day: int, peaks: Floats, limits: Limits) -> pl.DataFrame:
    first_slot = first_day * grid.slots_per_day
    negative = grid.reported_kwh < 0
    if not negative[:, first_slot:].any():
        return POINT_SCHEMA.to_frame()
    usual = share_of_past(negative, np.isfinite(grid.reported_kwh), grid=grid, first_day=first_day, limits=limits)
    odd = negative[:, first_slot:] & (np.repeat(usual, grid.slots_per_day, axis=1) <= limits.usual_negative_share)
    reported = grid.reported_kwh[:, first_slot:]
    peak = np.repeat(peaks, grid.slots_per_day, axis=1)
    is_reset = odd & (-reported > limits.shift_factor * peak)
    fell = pl.concat_str(pl.lit("the difference is "), shown("reported"), pl.lit(", usual peak "), shown("peak"))
    below = pl.concat_str(pl.lit("reported "), shown("reported"))
    return pl.concat(
        [
            points(is_reset, "register_reset", first_slot=first_slot, reason=fell, reported=reported, peak=peak),
            points(odd & ~is_reset, "negative", first_slot=first_slot, reason=below, reported=reported),
        ]
    )


def share_of_past(cells: Bools, known: Bools, *, grid: Grid, first_day: int, limits: Limits) -> Floats:
    """Return the share of true among known cells over each day's look-back, [meter, day from first_day]; 0 if none."""

    def summed(values: Bools) -> Ints:
        daily = grid.by_day(values).sum(axis=2, dtype=np.int64)
        total = np.concatenate([np.zeros((len(daily), 1), dtype=np.int64), np.cumsum(daily, axis=1)], axis=1)
        days = np.arange(first_day, grid.days)
        past: Ints = total[:, days] - total[:, np.maximum(days - limits.lookback_days, 0)]
        return past

    share: Floats = summed(cells) / np.maximum(summed(known), 1)
    return share


def _constant_runs(grid: Grid, *, first_day: int, limits: Limits) -> pl.DataFrame:
    first_slot = first_day * grid.slots_per_day
    values = grid.reported_kwh
    starts = run_starts(values)
    length = lengths_by_day_end(starts, slots_per_day=grid.slots_per_day, first_day=first_day)
    is_zero = values == 0
    zero_share = share_of_past(is_zero, np.isfinite(values), grid=grid, first_day=first_day, limits=limits)
    least_stuck = max(4, round(limits.stuck_hours / grid.hours_per_slot))
    tail_zero = is_zero[:, first_slot:]
    # Zeros are common where they are a habit, not where one outage was long, or where there is little else; and rare
    # where they came once or twice.
    ended = ended_by_day(starts, is_zero, slots_per_day=grid.slots_per_day, most_slots=grid.slots_per_day)
    often = occasions(ended, first_day=first_day, lookback_days=limits.lookback_days) >= _HABIT_DAYS
    rare_zero = np.repeat((zero_share <= limits.rare_zero_share) | ~often, grid.slots_per_day, axis=1)
    is_common = (zero_share > limits.common_zero_share) & (often | (zero_share > 3 * limits.common_zero_share))
    may_be_odd = np.repeat(~is_common, grid.slots_per_day, axis=1)
    finite = np.isfinite(values)
    zero = _unusual_runs(
        grid, starts, length, tail_zero & may_be_odd & (rare_zero | (length >= 3)), is_zero,
        first_day=first_day, limits=limits, least=np.where(rare_zero, 1, 3), share=0.97, is_rest=True,
    )  # fmt: skip
    stuck = _unusual_runs(
        grid, starts, length, finite[:, first_slot:] & ~tail_zero & (length >= least_stuck), finite & ~is_zero,
        first_day=first_day, limits=limits, least=np.full(length.shape, least_stuck), share=0.9,
        is_rest=False,
    )  # fmt: skip
    frames = []
    for rule, (cells, run_hours, usual_hours, score) in {"zero_run": zero, "stuck": stuck}.items():
        said = pl.concat_str(
            pl.lit("" if rule == "zero_run" else "the same value "), pl.lit("for "), shown("run_hours", "h"),
            pl.lit(" by the end of the day, usually "),
            pl.when(pl.col("usual_hours") > 0).then(pl.concat_str(pl.lit("at most "), shown("usual_hours", "h")))
            .otherwise(pl.lit("not at all")),
        )  # fmt: skip
        frames.append(
            points(
                cells,
                rule,
                first_slot=first_slot,
                reason=said,
                run_hours=run_hours,
                usual_hours=usual_hours,
                score=score,
            )
        )
    return pl.concat(frames)


def _after_next_to_nothing(grid: Grid, *, meter: Ints, start: Ints, first: Ints, limits: Limits) -> Bools:
    """Return the runs before which the meter used little of what it usually does: a season that ends is no outage."""
    level = level_before(
        grid.reported_kwh, meter=meter, start=start, first=np.maximum(first, 0), slots=grid.slots_per_day
    )
    dwindled: Bools = level < limits.dwindled_share
    return dwindled


def _unusual_runs(
    grid: Grid, starts: Ints, length: Ints, candidates: Bools, counted: Bools, *,
    first_day: int, limits: Limits, least: Ints, share: float, is_rest: bool,
) -> tuple[tuple[Ints, Ints], Floats, Floats, Floats]:  # fmt: skip
    # Only meters that have a candidate are looked at.
    members = np.flatnonzero(candidates.any(axis=1))
    row, at = np.nonzero(candidates[members])
    meter = members[row]
    own_starts, own_counted = starts[members], counted[members]
    most_slots = _LONGEST_USUAL_RUN_DAYS * grid.slots_per_day
    day = at // grid.slots_per_day + first_day
    start_day = starts[meter, at + first_day * grid.slots_per_day] // grid.slots_per_day
    usual, days = usual_longest(
        ended_by_day(own_starts, own_counted, slots_per_day=grid.slots_per_day, most_slots=most_slots),
        known=np.isfinite(grid.by_day(grid.reported_kwh)[members]).any(axis=2),
        meter=row,
        start_day=start_day,
        day=day,
        # The first days of the past are seen but not asked: a run of theirs may have begun before what is seen.
        lookback_days=limits.lookback_days - _LONGEST_USUAL_RUN_DAYS,
        share=share,
        least=_HABIT_DAYS,
    )
    habit = weekly_habit(
        whole_lengths(own_starts, own_counted, most_slots=most_slots), own_starts,
        meter=row, slot=at + first_day * grid.slots_per_day, slots_per_week=7 * grid.slots_per_day,
    )  # fmt: skip
    usual = np.maximum(usual, habit)
    run = length[meter, at].astype(np.float64)
    needed = np.maximum(least[meter, at], np.where(usual > 0, limits.run_factor * usual + 1, 1))
    odd = (run >= needed) & (days >= limits.least_history_days)
    if is_rest:
        odd[odd] = ~_after_next_to_nothing(
            grid, meter=meter[odd], start=own_starts[row, at + first_day * grid.slots_per_day][odd],
            first=(day[odd] - limits.lookback_days) * grid.slots_per_day, limits=limits,
        )  # fmt: skip
    hours = grid.hours_per_slot
    score = 1 - 0.15 * needed[odd] / run[odd]
    return (meter[odd], at[odd]), run[odd] * hours, usual[odd] * hours, score
