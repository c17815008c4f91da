"""Joint scenarios of many meters from their quantiles: a Gaussian copula of nested factors with persistence in time.

A normal score is drawn per meter and slot as the weighted sum of factors of portfolio, site, premise and the meter
itself, and read through the meter's quantiles as a piecewise linear function of the score. Every factor is drawn from
the seed and its own name, so a meter's scenarios are the same whatever else is drawn beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SCENARIOS = 200
"""How many a night publishes: a probability is then known to three percent, and a night of 2,380 meters takes a second.
"""
LEVEL_SCORES = np.array([-1.6448536, -1.2815516, -0.6744898, 0.0, 0.6744898, 1.2815516, 1.6448536], dtype=np.float32)
"""Standard normal scores of the levels of `contracts.LEVELS`."""
_OUTERMOST_SCORE = 3.0
_HOUR = 60
OPPOSITES = {"production": "consumption", "grid_export": "grid_import"}
"""Directions that feed in, and those that draw at the same place."""
_BLOCK_CELLS = 400_000
"""Cells worked on at a time: what fits a processor's cache is several times as fast."""


@dataclass(frozen=True, kw_only=True)
class Dependence:
    """Correlation of the normal scores of two meters by what they share, and from one hour to the next.

    The defaults are what day-ahead errors of real buildings, a school and homes lie around (site 0.01 to 0.2);
    `learning` replaces them by what past sums show.
    """

    across_portfolio: float = 0.05
    within_site: float = 0.10
    within_premise: float = 0.30
    hour_to_hour: float = 0.80
    lasting: float = 0.20
    """Share of the variance that stays for all slots of an issue: an odd day is odd from morning to night."""
    with_opposite: float = 0.0
    """Correlation of what is fed in with what is drawn at the same place: under a cloud there is less of one, more of
    the other."""

    @property
    def fading(self) -> float:
        """Return the correlation from one hour to the next of what does not last."""
        return max(self.hour_to_hour - self.lasting, 0.0) / max(1.0 - self.lasting, 1e-9)

    def weights(self) -> tuple[float, float, float, float]:
        """Return the weights of the portfolio, site, premise and own factors; their squares sum to one."""
        shares = (
            self.across_portfolio,
            self.within_site - self.across_portfolio,
            self.within_premise - self.within_site,
            1.0 - self.within_premise,
        )
        if min(shares) < 0:
            raise ValueError(f"Correlation must not fall from portfolio to site to premise: {self}.")
        portfolio, site, premise, own = (share**0.5 for share in shares)
        return portfolio, site, premise, own


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Time in whole minutes since 1970, from `start` to `end`, both on the coarsest cadence in hand."""

    start: int
    end: int
    finest: int

    def slots(self, minutes: int) -> int:
        """Return how many intervals of that many minutes there are."""
        return (self.end - self.start) // minutes


@dataclass(frozen=True, kw_only=True)
class Meters:
    """Meters of one cadence that are drawn together, each with what it shares: names of factors; None shares nothing.

    `quantiles` are [meter, slot, level] over the whole axis, kWh.
    """

    meter_ids: Sequence[str]
    kinds: Sequence[str]
    sites: Sequence[str]
    premises: Sequence[str | None]
    opposites: Sequence[str | None]
    """Of a meter that feeds in, the one of its premise that draws."""
    minutes: int
    quantiles: Floats


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How the scenarios of an issue are drawn; equal draws give equal scenarios to the bit. `scenarios` is even."""

    seed: int
    axis: Axis
    dependence: Mapping[str, Dependence]
    """By kind (`<commodity>|<direction>`); kinds that are missing have the defaults."""
    scenarios: int = SCENARIOS
    _shared: dict[str, Floats] = field(default_factory=dict, compare=False)

    def energies(self, meters: Meters) -> Floats:
        """Return the energies [meter, slot, scenario] in kWh."""
        slots = self.axis.slots(meters.minutes)
        drawn = np.empty((len(meters.meter_ids), slots, self.scenarios), dtype=np.float32)
        at_once = max(1, _BLOCK_CELLS // (slots * self.scenarios))
        for first in range(0, len(drawn), at_once):
            chosen = range(first, min(first + at_once, len(drawn)))
            scores = self._scores(meters, chosen)
            drawn[chosen.start : chosen.stop] = energies(scores, meters.quantiles[chosen.start : chosen.stop])
        return drawn

    def _scores(self, meters: Meters, chosen: range) -> Floats:
        """Return normal scores [meter, slot, scenario]."""
        of_kinds = [self.dependence.get(meters.kinds[index], Dependence()) for index in chosen]
        persistence = np.array([each.fading ** (meters.minutes / 60) for each in of_kinds], dtype=np.float32)
        lasting = np.array([each.lasting for each in of_kinds], dtype=np.float32)
        slots = self.axis.slots(meters.minutes)
        fresh = [
            self._with_opposite(
                f"meter {meters.meter_ids[index]}",
                opposite=None if meters.opposites[index] is None else f"meter {meters.opposites[index]}",
                correlation=each.with_opposite,
                slots=slots,
            )
            for index, each in zip(chosen, of_kinds, strict=True)
        ]
        scores = _persistent(fresh, persistence=persistence, lasting=lasting)
        for row, index in enumerate(chosen):
            kind, premise_id = meters.kinds[index], meters.premises[index]
            portfolio, site, premise, own = of_kinds[row].weights()
            if premise_id is None:  # a factor that nobody shares is as good as the meter's own
                own, premise = float(np.hypot(own, premise)), 0.0
            scores[row] *= np.float32(own)
            shared = {kind: portfolio, f"{kind} {meters.sites[index]}": site, f"{kind} {premise_id}": premise}
            for name, weight in shared.items():
                if weight:
                    scores[row] += np.float32(weight) * self._factor(name, kind=kind, minutes=meters.minutes)
        return scores

    def _factor(self, name: str, *, kind: str, minutes: int) -> Floats:
        """Return what meters of a kind share [slot, scenario]: one value an hour, whatever their cadences are."""
        starts = self.axis.start + minutes * np.arange(self.axis.slots(minutes))
        hours = starts // _HOUR - self.axis.start // _HOUR
        if name not in self._shared:
            of_kind = self.dependence.get(kind, Dependence())
            fresh = self._with_opposite(
                f"shared {name}",
                opposite=f"shared {opposite_kind(kind)}{name.removeprefix(kind)}" if opposite_kind(kind) else None,
                correlation=of_kind.with_opposite,
                slots=self.axis.slots(1) // _HOUR + 2,
            )
            persistence, lasting = np.array([[of_kind.fading], [of_kind.lasting]], dtype=np.float32)
            self._shared[name] = _persistent([fresh], persistence=persistence, lasting=lasting)[0]
        return self._shared[name][hours]

    def _with_opposite(self, name: str, *, opposite: str | None, correlation: float, slots: int) -> Floats:
        """Return draws as `_fresh`, correlated with those of the opposite."""
        own = self._fresh(name, slots=slots)
        if opposite is None or not correlation:
            return own
        mixed: Floats = self._fresh(opposite, slots=slots) * np.float32(correlation)
        mixed += own * np.float32((1 - correlation**2) ** 0.5)
        return mixed

    def _fresh(self, name: str, *, slots: int) -> Floats:
        """Return independent standard normal draws [1 + slot, half of the scenarios] that only seed and name decide."""
        digest = hashlib.blake2b(name.encode(), digest_size=8, key=self.seed.to_bytes(8, "big")).digest()
        generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
        return generator.standard_normal((1 + slots, self.scenarios // 2), dtype=np.float32)


def opposite_kind(kind: str) -> str | None:
    """Return the kind that draws where a kind feeds in; None for kinds that draw."""
    commodity, _, direction = kind.partition("|")
    return f"{commodity}|{OPPOSITES[direction]}" if direction in OPPOSITES else None


def energies(scores: Floats, quantiles: Floats) -> Floats:
    """Return the energies of normal scores (…, scenarios) under quantiles (…, levels).

    Linear in the score between levels, beyond the outermost ones with their slope up to three standard deviations;
    never below zero where the lowest quantile is not.
    """
    knots = LEVEL_SCORES.copy()
    knots[0], knots[-1] = -_OUTERMOST_SCORE, _OUTERMOST_SCORE
    slopes = np.diff(quantiles, axis=-1) / np.diff(LEVEL_SCORES)
    result = np.repeat(quantiles[..., 3:4], scores.shape[-1], axis=-1)
    inside = np.empty_like(scores)
    for segment in range(slopes.shape[-1]):
        low, high = knots[segment], knots[segment + 1]
        np.clip(scores, low, high, out=inside)
        inside -= high if segment < 3 else low
        inside *= slopes[..., segment, None]
        result += inside
    floor = np.where(quantiles[..., 0] >= 0, np.float32(0), np.float32(-np.inf))
    return np.maximum(result, floor[..., None], out=result)


def _persistent(fresh: Sequence[Floats], *, persistence: Floats, lasting: Floats) -> Floats:
    """Return draws [name, slot, scenario] that hang together over slots: a part fades, the first of a name's lasts.

    The second half mirrors the first, and each slot has a variance of one, so that mean, median and spread of a
    symmetric band do not depend on luck.
    """
    count, slots, half = len(fresh), fresh[0].shape[0] - 1, fresh[0].shape[1]
    drawn = np.empty((count, slots, 2 * half), dtype=np.float32)
    for name, each in enumerate(fresh):
        drawn[name, :, :half] = each[1:]
    own = np.sqrt(1 - persistence**2)
    for slot in range(1, slots):
        now = drawn[:, slot, :half]
        now *= own[:, None]
        now += persistence[:, None] * drawn[:, slot - 1, :half]
    for name, each in enumerate(fresh):
        drawn[name, :, :half] *= np.sqrt(1 - lasting[name])
        drawn[name, :, :half] += np.sqrt(lasting[name]) * each[0]
    drawn[..., :half] /= np.sqrt(np.square(drawn[..., :half]).mean(axis=-1, keepdims=True))
    np.negative(drawn[..., :half], out=drawn[..., half:])
    return drawn
