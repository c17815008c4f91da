"""Conformal correction of quantiles: what a held-out, later stretch of time says that the levels should have been.

Follows conformalised quantile regression (Romano, Patterson and Candes, 2019), one level at a time, with residuals in
a unit of the row such as its own band, per day of lead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from energy_assets.contracts import LEVELS
from energy_assets.features.history import Floats, Ints

_LEVELS = np.array(list(LEVELS.values()))
_LOW, _MIDDLE, _HIGH = 0, 3, 6
_LEAST_ROWS = 300
_ISSUES_FOR_HALF_BELIEF = 30


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Corrections [lead day, level] in units of the row; the last lead day stands for all later ones."""

    corrections: tuple[tuple[float, ...], ...]

    def apply(self, quantiles: Floats, *, unit: Floats, lead_day: Ints) -> Floats:
        """Return corrected quantiles [row, level], not yet in order."""
        table = np.asarray(self.corrections, dtype=np.float32)
        return quantiles + table[np.clip(lead_day, 0, len(table) - 1)] * unit[:, None]


def calibrate(quantiles: Floats, *, target: Floats, unit: Floats, lead_day: Ints, issues: int) -> Calibration:
    """Return the corrections that give each level its share of targets below it, on rows not learned from.

    A lead day with fewer than 300 rows takes the correction of all rows; without any row nothing is corrected. The
    errors of one issue hang together, so a shift of the median that few `issues` speak for is believed only in part.
    """
    known = np.isfinite(target) & np.isfinite(quantiles).all(axis=1) & (unit > 0)
    scores = (target[known, None] - quantiles[known]) / unit[known, None]
    days, belief = lead_day[known], issues / (issues + _ISSUES_FOR_HALF_BELIEF)
    pooled = _believed(_conformal(scores), belief)
    last = int(days.max()) if len(days) else 0
    rows = []
    for day in range(last + 1):
        of_day = scores[days == day]
        chosen = _believed(_conformal(of_day), belief) if len(of_day) >= _LEAST_ROWS else pooled
        rows.append(tuple(float(correction) for correction in chosen))
    return Calibration(corrections=tuple(rows))


def band(quantiles: Floats) -> Floats:
    """Return the width of the widest band [row], at least a thousandth of the median so that it can be divided by."""
    width = quantiles[:, _HIGH] - quantiles[:, _LOW]
    least = np.maximum(np.abs(quantiles[:, _MIDDLE]) * np.float32(1e-3), np.float32(1e-9))
    widest: Floats = np.maximum(np.abs(width), least)
    return widest


def from_rows(rows: Sequence[Sequence[float]]) -> Calibration:
    """Return a calibration from its stored numbers."""
    return Calibration(corrections=tuple(tuple(float(value) for value in row) for row in rows))


def _believed(corrections: Floats, belief: float) -> Floats:
    believed: Floats = (corrections - np.float32(1 - belief) * corrections[_MIDDLE]).astype(np.float32)
    return believed


def _conformal(scores: Floats) -> Floats:
    """Return per level the order statistic that covers a new score with at least that probability.

    For levels above one half it is rounded up, below it down: the band errs on the wide side, by at most a rank.
    """
    count = len(scores)
    if not count:
        return np.zeros(len(_LEVELS), dtype=np.float32)
    ordered = np.sort(scores, axis=0)
    rank = np.where(_LEVELS >= 0.5, np.ceil((count + 1) * _LEVELS) - 1, np.floor((count + 1) * _LEVELS) - 1)
    chosen = np.clip(rank, 0, count - 1).astype(np.int64)
    corrections: Floats = ordered[chosen, np.arange(len(_LEVELS))].astype(np.float32)
    return corrections
