"""Names the odd slots of a judged day: night or weekend left on, another level or unit, a moved clock, or only odd.

A cause is read off the shape of the day's departure; the strength that flags a slot comes from `scores.py`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.anomalies.calendar import SlotCalendar
from energy_assets.anomalies.expectation import finite_mean
from energy_assets.anomalies.grid import Floats, Grid, Ints
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.points import POINT_SCHEMA, points, shown
from energy_assets.anomalies.scores import SATURATION, WEIGHTS, DayScores

UNIT_FACTORS = (1000.0, 1 / 1000, 3.412, 1 / 3.412, 3600.0, 1 / 3600, 60.0, 1 / 60)
CAUSES = (
    "residual_high",
    "residual_low",
    "level_change",
    "night_left_on",
    "weekend_as_weekday",
    "clock_shift",
    "unit_shift",
    "constant_offset",
)
HIGH, LOW, LEVEL, NIGHT, WEEKEND, CLOCK, UNIT, OFFSET = range(len(CAUSES))
NOTHING = 0.01  # of the noise
NIGHT_MINUTES = (22 * 60, 6 * 60)


ODD_SHARE = 0.9  # scores above it are those of exact rules


def score_of(strength: Floats | float, *, limits: Limits) -> Floats:
    """Return strengths as scores: 0.9 * (1 - exp(-strength / scale)), in [0, 0.9); exact rules score above."""
    rising: Floats = 1 - np.exp(-np.maximum(np.asarray(strength, dtype=np.float64), 0) / limits.score_scale)
    return ODD_SHARE * rising


def strength_of_score(score: Floats, *, limits: Limits) -> Floats:
    """Return the strength that a score stands for; of an exact rule's score a very large one."""
    strength: Floats = -limits.score_scale * np.log(np.maximum(1 - score / ODD_SHARE, 1e-9))
    return strength


def odd_points(
    scores: DayScores, *, grid: Grid, day: int, calendar: SlotCalendar, faulty: Floats, limits: Limits
) -> pl.DataFrame:
    """Return points of the slots whose strength reaches `flag_strength`, each under the rule that names the day.

    `faulty` [meter, slot of day] has a data fault of its own and never becomes odd consumption; meters with less than
    `least_history_days` of history are not judged.
    """
    at = slice(day * grid.slots_per_day, (day + 1) * grid.slots_per_day)
    actual = grid.used_kwh[:, at]
    minute = calendar.minute[at]
    ready = scores.known_days >= limits.least_history_days
    odd = (scores.strength >= limits.flag_strength) & ~faulty & ready[:, None] & np.isfinite(actual)
    if not odd.any():
        return POINT_SCHEMA.to_frame()
    cause = causes(scores, actual=actual, minute=minute)
    frames = []
    for number, rule in enumerate(CAUSES):
        frames.append(
            points(
                odd & (cause == number),
                rule,
                first_slot=at.start,
                reason=_evidence(rule),
                score=score_of(scores.strength, limits=limits),
                expected_kwh=scores.expected_kwh.astype(np.float64),
                noise_kwh=scores.noise_kwh.astype(np.float64),
                actual=actual,
                clock_hours=np.broadcast_to(scores.clock_hours[:, None], odd.shape),
            )
        )
    return pl.concat(frames)


def causes(scores: DayScores, *, actual: Floats, minute: Ints) -> Ints:
    """Return the index into CAUSES of every slot, [meter, slot]; a day's cause holds for slots that agree with it."""
    residual = actual - scores.expected_kwh
    z = np.nan_to_num(np.clip(residual / scores.noise_kwh, -SATURATION, SATURATION))
    day = np.full(len(actual), -1)
    agreement = np.abs(np.sign(z).mean(axis=1))
    day_mean = scores.parts["day"].max(axis=1) + scores.parts["day"].min(axis=1)
    # A slot that is as expected goes with its day: the sign of nothing is a matter of rounding.
    is_nothing = np.abs(z) < NOTHING
    by_sign = np.where(np.where(is_nothing, day_mean[:, None], z) >= 0, HIGH, LOW)
    lasting = scores.parts["lasting"].max(axis=1) + scores.parts["lasting"].min(axis=1)
    moved = (np.abs(lasting) > 1.5) & (np.sign(lasting) == np.sign(day_mean)) & (agreement > 0.6)
    day[moved] = LEVEL
    day[moved & _offset(residual, expected=scores.expected_kwh)] = OFFSET
    night = (minute >= NIGHT_MINUTES[0]) | (minute < NIGHT_MINUTES[1])
    if night.any() and not night.all():
        by_night, by_day = z[:, night].mean(axis=1), z[:, ~night].mean(axis=1)
        # As much by day is a higher baseload: in noise it may look less, because days are noisier than nights.
        off_night, off_day = finite_mean(residual[:, night]), finite_mean(residual[:, ~night])
        day[(by_night > 2) & (by_day < 0.5 * by_night) & (off_day < 0.5 * off_night)] = NIGHT
    fit = np.nan_to_num(scores.weekday_fit, nan=0.0)
    day[(fit > 0.5) & (fit < 1.6) & (z.mean(axis=1) > 0)] = WEEKEND
    clock = scores.parts["clock"].max(axis=1)
    day[(clock > 2) & (WEIGHTS["clock"] * np.minimum(clock, SATURATION) > WEIGHTS["day"] * np.abs(day_mean))] = CLOCK
    moved_unit = _unit_moved(actual, expected=scores.expected_kwh)
    day[moved_unit | _unit_moved(actual, expected=scores.adapted_kwh)] = UNIT
    whole_day = np.isin(day, (CLOCK, UNIT))[:, None]
    upward = np.isin(day, (NIGHT, WEEKEND))[:, None] & (z > 0) & ~is_nothing
    level = np.isin(day, (LEVEL, OFFSET))[:, None] & (np.sign(z) == np.sign(day_mean)[:, None]) & ~is_nothing
    cause: Ints = np.where(whole_day | upward | level, day[:, None], by_sign)
    return cause


def _unit_moved(actual: Floats, *, expected: Floats) -> Floats:
    """Return [meter]: the day's ratios to the expectation lie tightly on a factor between units."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((actual > 0) & (expected > 0), np.log(actual / expected), np.nan)
    known = np.isfinite(ratio)
    far = known & (np.abs(ratio) > np.log(2.2))
    enough = far.sum(axis=1) >= np.maximum(6, 0.4 * ratio.shape[1])
    ordered = np.sort(np.where(far, ratio, np.nan), axis=1)
    count = np.maximum(far.sum(axis=1), 1)
    rows = np.arange(len(ratio))
    low, middle, high = (ordered[rows, np.minimum((share * count).astype(int), count - 1)] for share in (0.2, 0.5, 0.8))
    near = np.min(np.abs(middle[:, None] - np.log(np.asarray(UNIT_FACTORS))[None, :]), axis=1)
    tight = np.nan_to_num(high - low, nan=np.inf)
    moved: Floats = enough & (np.nan_to_num(near, nan=np.inf) < 0.12) & (tight < 0.3)
    return moved


def _offset(residual: Floats, *, expected: Floats) -> Floats:
    """Return [meter]: the day's residuals are one constant rather than a share of an expectation that varies."""
    known = np.isfinite(residual) & np.isfinite(expected)
    count = np.maximum(known.sum(axis=1), 1)
    off, usual = np.where(known, residual, 0), np.where(known, expected, 0)
    mean = off.sum(axis=1) / count
    share = (off * usual).sum(axis=1) / np.maximum((usual**2).sum(axis=1), 1e-12)
    added = np.where(known, off - mean[:, None], 0)
    scaled = np.where(known, off - share[:, None] * usual, 0)
    constant: Floats = (added**2).sum(axis=1) < np.minimum(0.3 * (scaled**2).sum(axis=1), 0.04 * count * mean**2)
    return constant


def _evidence(rule: str) -> pl.Expr:
    numbers = pl.concat_str(shown("actual"), pl.lit(" where "), shown("expected_kwh"), pl.lit(" was expected"))
    if rule == "clock_shift":
        return pl.concat_str(pl.lit("fits best moved by "), shown("clock_hours", "h"), pl.lit("; "), numbers)
    return pl.concat_str(numbers, pl.lit(", noise "), shown("noise_kwh"))
