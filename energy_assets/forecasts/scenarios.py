"""Joint scenarios of many meters from their quantiles: a Gaussian copula of nested factors with persistence in time.

A normal score is drawn per meter and slot as the weighted sum of factors of portfolio, site, premise and the meter
itself, and read through the meter's quantiles as a piecewise linear function of the score. Sums of scenarios give the
quantiles of sums; nothing here knows of nodes or tables.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float32]

LEVEL_SCORES = np.array([-1.6448536, -1.2815516, -0.6744898, 0.0, 0.6744898, 1.2815516, 1.6448536], dtype=np.float32)
"""Standard normal scores of the levels of `contracts.LEVELS`."""
_OUTERMOST_SCORE = 3.0
_FEWEST_PAIRS = 2000


@dataclass(frozen=True, kw_only=True)
class Dependence:
    """Correlation of the normal scores of two meters by what they share, and from one hour to the next.

    The defaults are on the cautious side of what day-ahead errors of buildings show: weather and calendar errors are
    shared across a site, and little beyond it. `estimate_dependence` replaces them once errors are known.
    """

    across_portfolio: float = 0.10
    within_site: float = 0.25
    within_premise: float = 0.40
    hour_to_hour: float = 0.80

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


def estimate_dependence(scores: pl.DataFrame, *, fallback: Dependence) -> Dependence:
    """Return the dependence that past normal scores show; levels with too few pairs keep the fallback.

    `scores` has meter_id, premise_id, site_id, starts_at_utc and score, the normal score of the reading under its
    forecast. The mean product over all pairs of a slot is ((sum of scores)² − sum of squares) / (n (n − 1)).
    """
    across = _mean_pair_product(scores, [], fallback.across_portfolio)
    within_site = max(across, _mean_pair_product(scores, ["site_id"], fallback.within_site))
    within_premise = max(within_site, _mean_pair_product(scores, ["premise_id"], fallback.within_premise))
    hourly = scores.sort("meter_id", "starts_at_utc").with_columns(
        before=pl.col("score").shift(1).over("meter_id"), at=pl.col("starts_at_utc").shift(1).over("meter_id")
    )
    hourly = hourly.filter(pl.col("starts_at_utc") - pl.col("at") == pl.duration(hours=1))
    persistence = fallback.hour_to_hour
    if hourly.height >= _FEWEST_PAIRS:
        persistence = hourly.select((pl.col("score") * pl.col("before")).mean() / (pl.col("score") ** 2).mean()).item()
    return Dependence(
        across_portfolio=across,
        within_site=within_site,
        within_premise=within_premise,
        hour_to_hour=float(np.clip(persistence, 0.0, 0.98)),
    )


def _mean_pair_product(scores: pl.DataFrame, shared: list[str], fallback: float) -> float:
    sums = (
        scores.group_by([*shared, "starts_at_utc"])
        .agg(n=pl.len(), total=pl.col("score").sum(), squares=(pl.col("score") ** 2).sum())
        .filter(pl.col("n") > 1)
        .select(pairs=pl.col("n") * (pl.col("n") - 1), products=pl.col("total") ** 2 - pl.col("squares"))
        .sum()
    )
    pairs, products = sums.row(0)
    if not pairs or pairs < _FEWEST_PAIRS:
        return fallback
    mean_square = scores.select((pl.col("score") ** 2).mean()).item()
    return float(np.clip(products / pairs / max(mean_square, 1e-9), 0.0, 0.95))


def factor(key: str, *, seed: int, shape: tuple[int, ...], persistence: float) -> Floats:
    """Return standard normal draws of `shape` (scenarios, …, slots), persistent over slots, the same for the same key.

    The second half of the scenarios mirrors the first, so that every mean and median is exact.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    generator = np.random.default_rng(int.from_bytes(digest, "big"))
    half = generator.standard_normal((shape[0] // 2, *shape[1:]), dtype=np.float32)
    fresh = np.float32((1.0 - persistence**2) ** 0.5)
    for slot in range(1, shape[-1]):
        half[..., slot] = np.float32(persistence) * half[..., slot - 1] + fresh * half[..., slot]
    return np.concatenate([half, -half])


def energies(scores: Floats, quantiles: Floats) -> Floats:
    """Return the energies of normal scores (scenarios, meters, slots) under quantiles (meters, slots, levels).

    Linear in the score between levels, beyond the outermost ones with their slope up to three standard deviations;
    never below zero where the lowest quantile is not.
    """
    result = np.broadcast_to(quantiles[..., 3], scores.shape).copy()
    knots = LEVEL_SCORES.copy()
    knots[0], knots[-1] = -_OUTERMOST_SCORE, _OUTERMOST_SCORE
    slopes = np.diff(quantiles, axis=-1) / np.diff(LEVEL_SCORES)
    for segment in range(slopes.shape[-1]):
        low, high = knots[segment], knots[segment + 1]
        inside = np.clip(scores, low, high)
        inside -= high if segment < 3 else low
        inside *= slopes[..., segment]
        result += inside
    floor = np.where(quantiles[..., 0] >= 0, np.float32(0), np.float32(-np.inf))
    return np.maximum(result, floor, out=result)


def deviations(sums: Floats) -> npt.NDArray[np.float64]:
    """Return quantiles minus median (…, levels) of scenario sums (scenarios, …) at the levels of the contract."""
    ordered = np.sort(sums, axis=0).astype(np.float64)
    positions = np.array([0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95]) * (sums.shape[0] - 1)
    below = np.floor(positions).astype(int)
    above = np.minimum(below + 1, sums.shape[0] - 1)
    share = (positions - below).reshape(-1, *([1] * (sums.ndim - 1)))
    quantiles = ordered[below] * (1 - share) + ordered[above] * share
    return np.moveaxis(quantiles - quantiles[3], 0, -1)
