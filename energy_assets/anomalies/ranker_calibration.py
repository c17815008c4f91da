"""From what trees say to a probability: a logistic curve that all sites share, and an offset of each site's own.

The offset is drawn to zero as if a site had seen a few faults at the shared rate, so that one with few labels keeps
nearly the shared curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Bools, Floats

_STEPS = 50
_SITE_SPREAD = 1.0  # standard deviation of the offsets, in logits, that is believed beforehand
_LARGEST_STEP = 2.0


@dataclass(frozen=True, kw_only=True)
class SiteCurve:
    """probability = 1 / (1 + exp(-(slope * logit + intercept + offset of the site)))."""

    slope: float
    intercept: float
    offsets: Mapping[str, float]

    def probability(self, raw: Floats, *, sites: pl.Series) -> Floats:
        """Return probabilities for logits of trees; a site without an offset has the shared curve."""
        names = sites.cast(pl.String).fill_null("")
        offset = names.replace_strict(dict(self.offsets), default=0.0, return_dtype=pl.Float64).to_numpy()
        return _sigmoid(self.slope * raw + self.intercept + offset)

    def as_json(self) -> dict[str, object]:
        """Return the curve as JSON takes it."""
        return {"slope": self.slope, "intercept": self.intercept, "offsets": dict(self.offsets)}

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> SiteCurve:
        """Return the curve that `as_json` gave."""
        offsets = content["offsets"]
        if not isinstance(offsets, Mapping):
            raise TypeError("offsets of a site curve must be a mapping")
        return cls(
            slope=float(str(content["slope"])),
            intercept=float(str(content["intercept"])),
            offsets={str(site): float(offset) for site, offset in offsets.items()},
        )


def fit_site_curve(raw: Floats, *, fault: Bools, sites: pl.Series) -> SiteCurve:
    """Return the curve of most likelihood for out-of-sample logits [row], then each site's offset given the curve."""
    slope, intercept = shared_curve(raw, fault.astype(np.float64))
    base = slope * raw + intercept
    names = sites.cast(pl.String).fill_null("")
    offsets = {}
    for site in names.unique().sort():
        here = (names == site).to_numpy()
        offsets[site] = _offset(base[here], fault[here].astype(np.float64))
    return SiteCurve(slope=slope, intercept=intercept, offsets=offsets)


def shared_curve(raw: Floats, fault: Floats) -> tuple[float, float]:
    """Return slope and intercept by Newton's method; a slight pull to the trees' own slope keeps it finite."""
    slope, intercept = 1.0, 0.0
    for _ in range(_STEPS):
        chance = _sigmoid(slope * raw + intercept)
        weight = chance * (1 - chance)
        gradient = np.array([((fault - chance) * raw).sum() - (slope - 1), (fault - chance).sum()])
        mixed = (weight * raw).sum()
        curvature = np.array([[(weight * raw * raw).sum() + 1, mixed], [mixed, weight.sum() + 1e-9]])
        step = np.clip(np.linalg.solve(curvature, gradient), -_LARGEST_STEP, _LARGEST_STEP)
        slope, intercept = slope + float(step[0]), intercept + float(step[1])
        if np.abs(step).max() < 1e-9:
            break
    return max(slope, 0.05), intercept


def _offset(base: Floats, fault: Floats) -> float:
    offset = 0.0
    for _ in range(_STEPS):
        chance = _sigmoid(base + offset)
        gradient = (fault - chance).sum() - offset / _SITE_SPREAD**2
        curvature = (chance * (1 - chance)).sum() + 1 / _SITE_SPREAD**2
        step = float(np.clip(gradient / curvature, -_LARGEST_STEP, _LARGEST_STEP))
        offset += step
        if abs(step) < 1e-9:
            break
    return offset


def _sigmoid(x: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(x, -60, 60)))
    return result
