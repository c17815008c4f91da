"""What a meter was expected to use on a day, from the eight weeks before it: profile, level, and what they leave over.

The profile is the median per slot and kind of day; the level is the day's ratio to it, explained by what peers of the
site did and by degree days, and by the meter's own last days. All arrays are [meter, slot of day, day of look-back],
the judged day last; nothing of the judged day enters its own profile, coefficients or scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_assets.anomalies.grid import Bools, Floats, Ints

LEVEL_BOUND = 3.0


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One judged day of many meters and the look-back it was judged by.

    `profile_kwh` [meter, slot, day] is the median profile; `level` [meter, day] the logarithm of each day's ratio to
    it, `explained` the part of it that peers and weather explain, `level_left` the rest. `expected_kwh` is the profile
    at the explained level and what the meter's last days carry on; `noise_kwh` [meter, slot] the scale of what is left
    over on days of the judged day's kind; `known_days` [meter] the days of the look-back with readings.
    """

    kwh: Floats
    profile_kwh: Floats
    level: Floats
    explained: Floats
    level_left: Floats
    expected_kwh: Floats
    noise_kwh: Floats
    known_days: Ints


def expect(kwh: Floats, *, kind: Ints, covariates: Floats, peers: Ints) -> Expectation:
    """Return the expectation of the last day of `kwh` [meter, slot, day].

    `kind` [slot, day] is the kind of the local day. `covariates` [meter, day, n] are the weather's, zero where there is
    none. `peers` [meter] numbers groups that share a site and a commodity.
    """
    profile = kind_medians(kwh, kind=kind)
    level = log_levels(kwh, profile=profile)
    common = peer_levels(level, peers=peers)
    factors = np.concatenate([common[:, :, None], covariates], axis=2)
    explained = explain(level, factors=factors)
    left = level - explained
    carried = carry(left)
    expected = profile * np.exp(explained + carried)[:, None, :]
    residual = kwh - expected
    same = kind[:, :-1] == kind[:, -1:]
    noise = quantile_where(np.abs(residual[:, :, :-1]), same, share=0.75) / 1.15
    noise = smooth(noise)
    typical = np.median(noise, axis=1, keepdims=True)
    mean = finite_mean(np.abs(expected[:, :, -1]))[:, None]
    noise = np.maximum(np.maximum(noise, 0.4 * typical), np.maximum(0.01 * mean, 1e-12 + 0 * mean))
    return Expectation(
        kwh=kwh,
        profile_kwh=profile,
        level=level,
        explained=explained,
        level_left=left,
        expected_kwh=expected,
        noise_kwh=noise,
        known_days=np.isfinite(kwh[:, :, :-1]).any(axis=1).sum(axis=1),
    )


def kind_medians(kwh: Floats, *, kind: Ints) -> Floats:
    """Return the median of the look-back per slot and kind of day, [meter, slot, day]; the judged day lends nothing.

    A kind with fewer than three days takes the median of all days of rest, or of all days.
    """
    profile = np.full(kwh.shape, np.nan, dtype=kwh.dtype)
    everything = np.ones(kind.shape[1] - 1, dtype=bool)
    for pattern, slots in _patterns(kind):
        past = pattern[:-1]
        for code in np.unique(pattern):
            chosen = past == code
            if chosen.sum() < 3:
                chosen = past > 0 if code > 0 and (past > 0).sum() >= 3 else everything
            values = kwh[:, slots][:, :, :-1][:, :, chosen]
            profile[:, slots[:, None], np.flatnonzero(pattern == code)[None, :]] = sorted_quantile(values, share=0.5)[
                :, :, None
            ]
    return profile


def _patterns(kind: Ints) -> list[tuple[Ints, Ints]]:
    patterns, which = np.unique(kind, axis=0, return_inverse=True)
    return [(pattern, np.flatnonzero(which.reshape(-1) == row)) for row, pattern in enumerate(patterns)]


def sorted_quantile(values: Floats, *, share: float) -> Floats:
    """Return a quantile along the last axis over the finite values, between ranks; NaN with fewer than three."""
    ordered = np.sort(values, axis=-1)
    count = np.isfinite(ordered).sum(axis=-1)
    at = share * np.maximum(count - 1, 0)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    below = np.take_along_axis(ordered, low[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(ordered, high[..., None], axis=-1)[..., 0]
    with np.errstate(invalid="ignore"):
        result: Floats = np.where(count >= 3, below + (above - below) * (at - low).astype(values.dtype), np.nan)
    return result.astype(values.dtype)


def quantile_where(values: Floats, chosen: Bools, *, share: float) -> Floats:
    """Return the quantile of [meter, slot, day] over the days that are chosen per slot [slot, day]; all if under 5."""
    result = np.full(values.shape[:2], np.nan, dtype=values.dtype)
    for pattern, slots in _patterns(chosen.astype(np.int64)):
        days = pattern > 0 if (pattern > 0).sum() >= 5 else np.ones(len(pattern), dtype=bool)
        result[:, slots] = sorted_quantile(values[:, slots][:, :, days], share=share)
    return result


def log_levels(kwh: Floats, *, profile: Floats) -> Floats:
    """Return the logarithm of each day's ratio to its profile, [meter, day]; 0 where nothing is known.

    A slot counts at most three times and at least a third of what the profile says plus a quarter of the profile's
    mean, so that a spike or a dropout moves a day's level little.
    """
    mean = finite_mean(np.abs(profile).transpose(0, 2, 1))[:, None, :]
    slack = 0.25 * mean
    bounded = np.clip(kwh, profile / 3 - slack, profile * 3 + slack)
    both = np.isfinite(bounded)
    actual = np.where(both, bounded, 0).sum(axis=1)
    expected = np.where(both, profile, 0).sum(axis=1)
    least = 0.05 * mean[:, 0, :] * np.maximum(both.sum(axis=1), 1)
    usual = np.maximum(expected, 0) + least
    ratio = np.where(usual > 0, np.maximum(actual, 0) + least, 1) / np.where(usual > 0, usual, 1)
    enough = both.mean(axis=1) >= 0.25
    with np.errstate(invalid="ignore", divide="ignore"):
        level = np.where(enough & np.isfinite(ratio) & (ratio > 0), np.log(ratio), 0.0)
    return np.clip(level, -LEVEL_BOUND, LEVEL_BOUND).astype(kwh.dtype)


def peer_levels(level: Floats, *, peers: Ints) -> Floats:
    """Return for each meter the median level of its peers, [meter, day]; 0 with fewer than five."""
    common = np.zeros_like(level)
    for group in np.unique(peers):
        members = np.flatnonzero(peers == group)
        if len(members) >= 5:
            common[members] = np.median(level[members], axis=0)
    return common


def explain(level: Floats, *, factors: Floats) -> Floats:
    """Return the part of the level that factors explain, by ridge regression on the look-back alone, [meter, day].

    The judged day's level is not used. Levels are bounded so that one odd day does not turn the coefficients.
    """
    bounded = np.clip(level, -0.7, 0.7)
    past, target = factors[:, :-1].astype(np.float64), bounded[:, :-1].astype(np.float64)
    centre, middle = past.mean(axis=1, keepdims=True), target.mean(axis=1, keepdims=True)
    moved = past - centre
    gram = np.einsum("mdi,mdj->mij", moved, moved)
    ridge = 0.05 * np.maximum(np.einsum("mii->mi", gram).mean(axis=1), 1e-6) + 0.02
    gram += ridge[:, None, None] * np.eye(gram.shape[1])
    coefficient = np.linalg.solve(gram, np.einsum("mdi,md->mi", moved, target - middle)[:, :, None])[:, :, 0]
    fitted = np.einsum("mdi,mi->md", factors - centre, coefficient)
    result: Floats = np.clip(fitted, -1.5, 1.5).astype(level.dtype)
    return result


def carry(left: Floats) -> Floats:
    """Return the level expected from the meter's own last three days, [meter, day], by its own persistence.

    Persistence is the correlation of a day with the mean of the three days before it in the look-back, between 0 and
    0.8.
    """
    bounded = np.clip(left, -0.7, 0.7)
    recent = np.zeros_like(bounded)
    recent[:, 3:] = (bounded[:, :-3] + bounded[:, 1:-2] + bounded[:, 2:-1]) / 3
    before, after = recent[:, 3:-1], bounded[:, 3:-1]
    persistence = (before * after).sum(axis=1) / ((before * before).sum(axis=1) + 0.01)
    result: Floats = np.clip(persistence, 0, 0.8)[:, None] * recent
    return result


def smooth(noise: Floats) -> Floats:
    """Return a scale per slot averaged with its neighbours around the day, [meter, slot]; unknown ones get the mean."""
    filled = np.where(np.isfinite(noise), noise, finite_mean(noise)[:, None])
    result: Floats = (np.roll(filled, 1, axis=1) + 2 * filled + np.roll(filled, -1, axis=1)) / 4
    return result


def finite_mean(values: Floats) -> Floats:
    """Return the mean of the finite values along the last axis; 0 where there are none."""
    finite = np.isfinite(values)
    mean: Floats = np.where(finite, values, 0).sum(axis=-1) / np.maximum(finite.sum(axis=-1), 1)
    return mean.astype(values.dtype)
