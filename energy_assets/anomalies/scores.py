"""How odd each slot of a judged day is: hour, block of hours, same hour of three days, day, lasting level, moved clock.

Each part is measured in what the meter's own look-back does, heavy tails included, so that one threshold serves all
meters and no label sets it. The strength of a slot adds up the saturated parts: weak signs that agree count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from energy_assets.anomalies.expectation import Expectation, finite_mean, quantile_where, sorted_quantile
from energy_assets.anomalies.grid import Bools, Floats, Ints

WEIGHTS = MappingProxyType(
    {"hour": 0.5, "block": 0.5, "same": 0.5, "slow": 0.7, "day": 1.4, "lasting": 1.0, "level": 0.3, "clock": 2.0}
)
SATURATION = 8.0
LEVEL_DAYS = (1, 2, 4, 7)
CLOCK_HOURS = (-3, -2, -1, 1, 2, 3)
ZONE_TRUST = 0.75
ZONE_HOURS = (*range(-11, -3), *range(4, 13))
LEAST_GAIN = 0.04  # of the correlation: less is chance
LEAST_UNEXPLAINED = 0.005  # share of a day's variance: below it a fit is perfect
LEAST_SHARE = 0.2  # of the unexplained that a profile moved by hours may explain by chance
SURE_SHARE = 3.5  # times that: then a small move of a regular meter is believed


@dataclass(frozen=True, kw_only=True)
class DayScores:
    """Scores of one judged day.

    `strength` [meter, slot] adds the saturated parts, `parts` holds each of them signed, in own noise. `expected_kwh`
    and `noise_kwh` [meter, slot] are at the level of the weeks before, `adapted_kwh` at that of the last
    days. `clock_hours` [meter] fits best when the clock moved, `weekday_fit` tells how much a day of rest looks like a
    working day, `known_days` how much history there was.
    """

    strength: Floats
    parts: dict[str, Floats]
    expected_kwh: Floats
    noise_kwh: Floats
    adapted_kwh: Floats
    clock_hours: Ints
    weekday_fit: Floats
    known_days: Ints


def score_day(judged: Expectation, *, kind: Ints, weekday: Ints, hours_per_slot: float) -> DayScores:
    """Return the scores of the last day of an expectation; a slot without a reading has strength 0."""
    residual = judged.kwh - judged.expected_kwh
    same_kind = kind[:, :-1] == kind[:, -1:]
    z = residual / judged.noise_kwh[:, :, None]
    slots = residual.shape[1]
    slow = _slow(judged, weekday=weekday)
    level = _levels(judged)
    clock, clock_hours = _clocks(judged, hours_per_slot=hours_per_slot)
    parts = {
        "hour": _hours(z, same_kind=same_kind),
        "block": _blocks(z, same_kind=same_kind, hours_per_slot=hours_per_slot),
        "same": np.clip(np.nan_to_num(z[:, :, -3:]), -SATURATION, SATURATION).mean(axis=2),
        "slow": slow,
        "day": _spread(finite_mean(np.clip(slow, -6, 6)), slots),
        "lasting": _spread(_lasting(judged), slots),
        "level": _spread(level, slots),
        "clock": _spread(clock, slots),
    }
    known = np.isfinite(judged.kwh[:, :, -1]) & np.isfinite(judged.expected_kwh[:, :, -1])
    parts = {name: np.where(known & np.isfinite(part), part, 0) for name, part in parts.items()}
    return DayScores(
        strength=strength_of(parts),
        parts=parts,
        expected_kwh=_slow_expected(judged),
        noise_kwh=judged.noise_kwh,
        adapted_kwh=judged.expected_kwh[:, :, -1],
        clock_hours=clock_hours,
        weekday_fit=_weekday_fit(judged, kind=kind),
        known_days=judged.known_days,
    )


def strength_of(parts: dict[str, Floats]) -> Floats:
    """Return the weighted sum of the saturated parts, [meter, slot]."""
    weighted = [WEIGHTS[name] * np.minimum(np.abs(part), SATURATION) for name, part in parts.items()]
    strength: Floats = np.sum(weighted, axis=0)
    return strength


def by_forecast(scores: DayScores, *, kwh: Floats, median_kwh: Floats, scale_kwh: Floats) -> DayScores:
    """Return the scores with the hour's part and expectation taken from forecasts where there are any."""
    given = np.isfinite(median_kwh) & np.isfinite(scale_kwh) & np.isfinite(kwh)
    noise = np.where(given, np.maximum(scale_kwh, 0.25 * scores.noise_kwh), scores.noise_kwh)
    hour = np.where(given, (kwh - median_kwh) / noise, scores.parts["hour"])
    parts = scores.parts | {"hour": hour}
    expected = np.where(given, median_kwh, scores.expected_kwh)
    return replace(scores, parts=parts, strength=strength_of(parts), expected_kwh=expected, noise_kwh=noise)


def _spread(daily: Floats, slots: int) -> Floats:
    return np.repeat(daily[:, None], slots, axis=1)


def _slow_expected(judged: Expectation) -> Floats:
    """Return the profile of the day at the level that peers and weather explain, without the meter's own last days."""
    carried: Floats = judged.profile_kwh[:, :, -1] * np.exp(judged.explained[:, -1])[:, None]
    return carried


def _hours(z: Floats, *, same_kind: Bools) -> Floats:
    tail = finite_mean(quantile_where(np.abs(z[:, :, :-1]), same_kind, share=0.95)) / 1.96
    hour: Floats = z[:, :, -1] / np.maximum(tail, 1)[:, None]
    return hour


def _blocks(z: Floats, *, same_kind: Bools, hours_per_slot: float) -> Floats:
    """Return the mean of four hours in its own scale; a slot that leans the other way gets half of it."""
    meters, slots, days = z.shape
    width = max(1, round(4 / hours_per_slot))
    count = slots // width
    out = np.zeros((meters, slots), dtype=z.dtype)
    if count < 2:
        return out
    bounded = np.nan_to_num(np.clip(z[:, : count * width], -SATURATION, SATURATION))
    blocks = bounded.reshape(meters, count, width, days).mean(axis=2)
    kinds = same_kind[: count * width : width]
    scale = np.maximum(quantile_where(np.abs(blocks[:, :, :-1]), kinds, share=0.8) / 1.28, 0.25)
    out[:, : count * width] = np.repeat(blocks[:, :, -1] / scale, width, axis=1)
    agrees = np.sign(z[:, :, -1]) == np.sign(out)
    return np.where(agrees, out, 0.5 * out)


def _slow(judged: Expectation, *, weekday: Ints) -> Floats:
    """Return the residual on the plain median of the same weekday, [meter, slot]: what no level has yet learned."""
    past = judged.kwh[:, :, :-1]
    same = weekday[:, :-1] == weekday[:, -1:]
    middle = quantile_where(past, same, share=0.5)
    spread = quantile_where(np.abs(past - middle[:, :, None]), same, share=0.5) * 1.4826
    usual = finite_mean(np.abs(middle))[:, None]
    slow: Floats = (judged.kwh[:, :, -1] - middle) / np.maximum(
        np.maximum(spread, 0.5 * judged.noise_kwh), 0.02 * usual
    )
    return slow


def _lasting(judged: Expectation) -> Floats:
    """Return the mean departure of the last four days from the profile at the explained level, in noise, [meter]."""
    recent = slice(-4, None)
    expected = judged.profile_kwh[:, :, recent] * np.exp(judged.explained[:, None, recent])
    z = (judged.kwh[:, :, recent] - expected) / judged.noise_kwh[:, :, None]
    return finite_mean(np.clip(z, -6, 6).reshape(len(z), -1))


def _levels(judged: Expectation) -> Floats:
    """Return the strongest departure of the mean level of the last days from the days before, [meter], signed."""
    left = np.clip(judged.level_left, -1.5, 1.5).astype(np.float64)
    best = np.zeros(len(left))
    total = np.concatenate([np.zeros((len(left), 1)), np.cumsum(left, axis=1)], axis=1)
    for days in LEVEL_DAYS:
        recent = (total[:, days:] - total[:, :-days]) / days
        before = recent[:, :-days]
        base = np.median(before, axis=1)
        spread = sorted_quantile(np.abs(before - base[:, None]), share=0.8) / 1.28
        strength = (recent[:, -1] - base) / np.maximum(np.nan_to_num(spread, nan=1.0), 0.02)
        best = np.where(np.abs(strength) > np.abs(best), strength, best)
    return best


def _clocks(judged: Expectation, *, hours_per_slot: float) -> tuple[Floats, Ints]:
    """Return how much better the last three days fit their profile moved by hours, [meter], and those hours.

    Better counts as the gain in correlation, which flat and noisy days hardly have; and, where it is sure, as the share
    of what the days leave unexplained that the moved profile explains, which shows a small move of a regular meter.
    Both in what is usual for the meter.
    """
    known = np.isfinite(judged.kwh) & np.isfinite(judged.profile_kwh)
    centred = _centred(np.where(known, judged.kwh, 0), known)
    shape = _centred(np.nan_to_num(judged.profile_kwh), np.ones_like(known))
    energy = np.einsum("msd,msd->md", centred, centred) * np.einsum("msd,msd->md", shape, shape)
    size = np.sqrt(np.where(energy > 0, energy, np.inf))
    here = _fit(centred, shape, size=size, moved=0)
    # A moved day fits its profile as well as its days usually do; a day that is odd in another way fits none.
    usually = sorted_quantile(here[:, :-1], share=0.4)[:, None]

    def fits(several: Sequence[int], days: slice) -> tuple[Floats, Floats]:
        moves = [round(hours / hours_per_slot) % shape.shape[1] for hours in several]
        of_days = centred[:, :, days], shape[:, :, days]
        fit = np.stack([_fit(*of_days, size=size[:, days], moved=moved) for moved in moves])
        return fit, np.clip(1 + (fit - usually) / 0.15, 0, 1)

    def shares(fit: Floats, trust: Floats, days: slice) -> Floats:
        before = np.maximum(here[:, days], 0) ** 2
        explained = (np.maximum(fit, 0) ** 2 - before) / np.maximum(1 - before, LEAST_UNEXPLAINED)
        return np.asarray(np.clip(explained, -1, 1) * trust)

    every, last = slice(None), slice(-3, None)
    fit, trust = fits(CLOCK_HOURS, every)
    # A flat day fits nothing better than noise does: its gain counts as its profile stands out of the noise.
    power = np.nan_to_num(judged.profile_kwh.var(axis=1))
    clear = power / np.maximum(power + 2 * (judged.noise_kwh**2).mean(axis=1)[:, None], 1e-12)
    gain, usual_gain = _of_three_days((fit - here) * trust * clear, share=0.9)
    share, usual_share = _of_three_days(shares(fit, trust, every), share=0.95)
    # Another zone's clock is many hours away. So many may fit by chance that it takes more to believe one of them.
    far = ZONE_TRUST * shares(*fits(ZONE_HOURS, last), last).mean(axis=2)
    share = np.concatenate([share, far]) / np.maximum(usual_share, LEAST_SHARE)
    gain = np.concatenate([gain, np.zeros_like(far)]) / np.maximum(usual_gain, LEAST_GAIN)
    strength = np.maximum(np.maximum(gain, 0), np.where(share >= SURE_SHARE, share, 0))
    return strength.max(axis=0), np.asarray((*CLOCK_HOURS, *ZONE_HOURS))[strength.argmax(axis=0)]


def _of_three_days(gains: Floats, *, share: float) -> tuple[Floats, Floats]:
    """Return the mean of the last three days by hours, [hours, meter], and what the best of them usually reaches."""
    recent = gains.copy()
    recent[:, :, 2:] = (gains[:, :, 2:] + gains[:, :, 1:-1] + gains[:, :, :-2]) / 3
    usual = np.nan_to_num(sorted_quantile(recent.max(axis=0)[:, :-1], share=share), nan=1.0)
    return recent[:, :, -1], usual


def _fit(centred: Floats, shape: Floats, *, size: Floats, moved: int) -> Floats:
    """Return the correlation of each day with its profile moved by slots, [meter, day]."""
    late = np.einsum("msd,msd->md", centred[:, moved:], shape[:, : shape.shape[1] - moved])
    wrapped = np.einsum("msd,msd->md", centred[:, :moved], shape[:, shape.shape[1] - moved :])
    return np.asarray((late + wrapped) / size)


def _centred(values: Floats, known: Bools) -> Floats:
    mean = values.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    centred: Floats = np.where(known, values - mean[:, None], 0)
    return centred


def _weekday_fit(judged: Expectation, *, kind: Ints) -> Floats:
    """Return, on a day of rest, how far the day lies from its own profile (0) toward a working day's (1), [meter].

    NaN on working days, without a working day in the look-back, or where the two profiles hardly differ.
    """
    middle = kind[kind.shape[0] // 2]
    working = np.flatnonzero(middle[:-1] == 0)
    if middle[-1] == 0 or len(working) == 0:
        return np.full(len(judged.kwh), np.nan)
    rest = judged.profile_kwh[:, :, -1]
    way = np.nan_to_num(judged.profile_kwh[:, :, working[-1]] - rest)
    moved = np.nan_to_num(judged.kwh[:, :, -1] - rest)
    size = (way**2).sum(axis=1)
    scale = (np.nan_to_num(rest) ** 2).sum(axis=1)
    return np.where(size > 0.01 * scale, (moved * way).sum(axis=1) / np.maximum(size, 1e-12), np.nan)
