"""Rules with exact reasons over a grid: what no meter that works reports. Each returns points, one a slot.

A rule sees the readings up to the end of the day it judges and `lookback_days` before it. What cleaning has marked
already becomes a flag with the same name; scores against an expectation live in `residuals.py`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Bools, Floats, Grid, Ints
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.runs import lengths_by_day_end, longest_by_day, run_starts, usual_longest
from energy_assets.anomalies.vocabulary import RULES, rule_of_reason

POINT_SCHEMA = pl.Schema(
    {
        "meter": pl.Int64,
        "slot": pl.Int64,
        "rule": pl.String,
        "score": pl.Float64,
        "reason": pl.String,
        "expected_kwh": pl.Float64,
        "noise_kwh": pl.Float64,
    }
)

EXACT_FLOOR = 0.9
_FAULTS = tuple(name for name, rule in RULES.items() if rule.family == "data_fault")
_LONGEST_USUAL_RUN_DAYS = 4


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
        _leaps(grid, first_day=first_day, peaks=peaks, limits=limits),
        _collapses(grid, first_day=first_day, limits=limits),
    ]
    joined = pl.concat(frames).unique(["meter", "slot", "rule"], keep="first", maintain_order=True)
    # A data fault by an exact rule scores above whatever is merely odd, so that scores compare across rules.
    is_fault = pl.col("rule").is_in(_FAULTS)
    above = EXACT_FLOOR + (1 - EXACT_FLOOR) * pl.col("score")
    return joined.with_columns(score=pl.when(is_fault).then(above).otherwise("score"))


def points(
    cells: Bools | tuple[Ints, Ints], rule: str, *, first_slot: int, reason: pl.Expr, **columns: object
) -> pl.DataFrame:
    """Return points for the true cells of [meter, slot from first_slot]; `reason` may use the named columns.

    A column is an array of the cells' shape, an array with one value a point, or a scalar; `score` and `expected_kwh`
    are columns too, by default 1 and null.
    """
    where = np.nonzero(cells) if isinstance(cells, np.ndarray) else cells
    shape = cells.shape if isinstance(cells, np.ndarray) else None
    picked = {
        name: value[where] if isinstance(value, np.ndarray) and value.shape == shape else value
        for name, value in columns.items()
    }
    frame = pl.DataFrame({"meter": where[0].astype(np.int64), "slot": where[1].astype(np.int64) + first_slot})
    frame = frame.with_columns(
        **{
            name: pl.Series(value) if isinstance(value, np.ndarray) else pl.lit(value)
            for name, value in ({"score": 1.0, "expected_kwh": None, "noise_kwh": None} | picked).items()
        }
    )
    sentence = pl.concat_str(pl.lit(f"{RULES[rule].sentence}: "), reason, pl.lit("."))
    return frame.with_columns(rule=pl.lit(rule), reason=sentence).select(POINT_SCHEMA.names()).cast(POINT_SCHEMA)


def shown(column: str, unit: str = "kWh") -> pl.Expr:
    """Return a number for a reason: four significant digits and its unit."""
    return pl.concat_str(pl.col(column).round_sig_figs(4).cast(pl.String), pl.lit(f" {unit}" if unit else ""))


def usual_peaks(grid: Grid, *, first_day: int, limits: Limits) -> Floats:
    """Return the 90th percentile of the daily maxima of the look-back of each day from `first_day`, [meter, day].

    NaN with fewer than `least_history_days` days of readings.
    """
    by_day = grid.by_day(grid.used_kwh)
    known = np.isfinite(by_day).any(axis=2)
    maxima = np.where(known, np.where(np.isfinite(by_day), by_day, -np.inf).max(axis=2), np.nan)
    return rolling_quantile(maxima, first_day=first_day, limits=limits, share=0.9)


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
    rare_zero = np.repeat(zero_share <= limits.rare_zero_share, grid.slots_per_day, axis=1)
    least_stuck = max(4, round(limits.stuck_hours / grid.hours_per_slot))
    tail_zero = is_zero[:, first_slot:]
    may_be_odd = np.repeat(zero_share <= limits.common_zero_share, grid.slots_per_day, axis=1)
    finite = np.isfinite(values)
    zero = _unusual_runs(
        grid, starts, length, tail_zero & may_be_odd & (rare_zero | (length >= 3)), is_zero,
        first_day=first_day, limits=limits, least=np.where(rare_zero, 1, 3), share=0.97,
    )  # fmt: skip
    stuck = _unusual_runs(
        grid, starts, length, finite[:, first_slot:] & ~tail_zero & (length >= least_stuck), finite & ~is_zero,
        first_day=first_day, limits=limits, least=np.full(length.shape, least_stuck), share=0.9,
    )  # fmt: skip
    frames = []
    for rule, (cells, run_hours, usual_hours, score) in {"zero_run": zero, "stuck": stuck}.items():
        said = pl.concat_str(
            pl.lit("" if rule == "zero_run" else "the same value "), pl.lit("for "), shown("run_hours", "h"),
            pl.lit(" by the end of the day, usually at most "), shown("usual_hours", "h"),
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


def _unusual_runs(
    grid: Grid, starts: Ints, length: Ints, candidates: Bools, counted: Bools, *,
    first_day: int, limits: Limits, least: Ints, share: float,
) -> tuple[tuple[Ints, Ints], Floats, Floats, Floats]:  # fmt: skip
    meter, at = np.nonzero(candidates)
    longest = longest_by_day(starts, counted, slots_per_day=grid.slots_per_day)
    day = at // grid.slots_per_day + first_day
    start_day = starts[meter, at + first_day * grid.slots_per_day] // grid.slots_per_day
    usual, days = usual_longest(
        longest,
        known=np.isfinite(grid.by_day(grid.reported_kwh)).any(axis=2),
        meter=meter,
        start_day=start_day,
        day=day,
        # The first days of the past are seen but not asked: a run of theirs may have begun before what is seen.
        lookback_days=limits.lookback_days - _LONGEST_USUAL_RUN_DAYS,
        share=share,
    )
    run = length[meter, at].astype(np.float64)
    needed = np.maximum(least[meter, at], np.where(usual > 0, limits.run_factor * usual + 1, 1))
    odd = (run >= needed) & (days >= limits.least_history_days)
    hours = grid.hours_per_slot
    score = 1 - 0.15 * needed[odd] / run[odd]
    return (meter[odd], at[odd]), run[odd] * hours, usual[odd] * hours, score


def _leaps(grid: Grid, *, first_day: int, peaks: Floats, limits: Limits) -> pl.DataFrame:
    first_slot = first_day * grid.slots_per_day
    values = grid.reported_kwh[:, first_slot:]
    peak = np.repeat(peaks, grid.slots_per_day, axis=1)
    high = values > 1.5 * peak
    leaps = _pairs(grid, first_day=first_day) > 1.5 * peaks[:, :, None]
    brief = _lasted_slots(leaps, slots_per_day=grid.slots_per_day) * grid.hours_per_slot <= limits.spike_hours
    is_leap = (peak > 0) & (values > limits.spike_factor * peak)
    spike = is_leap & high & brief
    times = values / np.where(peak > 0, peak, np.nan)
    shift = high & ~brief & (times > limits.shift_factor)
    said = pl.concat_str(shown("reported"), pl.lit(" is "), shown("times", "x"), pl.lit(" the usual peak"))
    score = 1 - 0.15 * limits.spike_factor / np.where(is_leap, times, np.inf)
    named = {"first_slot": first_slot, "reason": said, "reported": values, "times": times}
    return pl.concat(
        [points(spike, "spike", score=score, **named), points(shift, "unit_shift", **named)]  # type: ignore[arg-type]
    )


def _collapses(grid: Grid, *, first_day: int, limits: Limits) -> pl.DataFrame:
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
