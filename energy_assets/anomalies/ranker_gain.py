"""What a ranker gains over the detectors on meters that it has not seen, and how sure that is.

Labels come by meter: a few meters with long faults can make any ranker look good. So whole meters are drawn with
replacement, and what counts is the gain that nineteen in twenty draws exceed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Floats, Ints
from energy_assets.anomalies.ranker_features import SCORE

DRAWS = 400
DOUBT = 0.05
"""Share of the draws that may gain less than the bound."""
_EXACT_RANKS, _COARSE_BINS = 2_000, 1_000


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Average precision of the ranker less that of the detectors: as measured, and the lower bound of what is sure."""

    measured: float
    at_least: float


def gain_over_detectors(unseen: pl.DataFrame, *, seed: int = 0, draws: int = DRAWS) -> Gain:
    """Return the gain on labelled slots: meter_id, is_fault, `score` out of sample, and the detectors' score.

    Ranks are exact for the first 2,000 slots and in bins that grow with the rank beyond; equal scores share a bin.
    """
    meters = unseen["meter_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    fault = unseen["is_fault"].to_numpy()
    count = int(meters.max()) + 1 if len(meters) else 0
    if not fault.any():
        return Gain(measured=0.0, at_least=0.0)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)
    weights = np.vstack([np.ones(count), times])
    gains = np.zeros(len(weights))
    for column, sign in (("score", 1), (SCORE, -1)):
        score = unseen[column].cast(pl.Float64).fill_null(0).fill_nan(0).to_numpy()
        place, bins = _bins(score)
        of_fault, of_all = (
            np.bincount(meters[chosen] * bins + place[chosen], minlength=count * bins).reshape(count, bins)
            for chosen in (fault, np.ones_like(fault))
        )
        gains += sign * _average_precisions(weights @ of_fault, weights @ of_all)
    return Gain(measured=float(gains[0]), at_least=float(np.quantile(gains[1:], DOUBT)))


def _bins(score: Floats) -> tuple[Ints, int]:
    """Return the bin of each score, the highest first, and how many bins there are."""
    order = np.argsort(-score, kind="stable")
    begins = np.append(True, np.diff(score[order]) != 0)
    first = np.maximum.accumulate(np.where(begins, np.arange(len(score)), 0))
    exact = np.arange(min(_EXACT_RANKS, len(score)))
    coarse = np.geomspace(_EXACT_RANKS, max(len(score), _EXACT_RANKS + 1), _COARSE_BINS).astype(np.int64)
    edges = np.unique(np.concatenate([exact, coarse]))
    place = np.empty(len(score), dtype=np.int64)
    place[order] = np.searchsorted(edges, first, side="right") - 1
    return place, len(edges)


def _average_precisions(faults: Floats, everything: Floats) -> Floats:
    """Return [draw] average precision for counts [draw, bin] in the order of the ranks; 0 for a draw without faults."""
    hits, seen = faults.cumsum(axis=1), everything.cumsum(axis=1)
    total = hits[:, -1]
    area: Floats = (faults * hits / np.maximum(seen, 1e-12)).sum(axis=1) / np.maximum(total, 1e-12)
    return area
