"""Shares of experts in a blend: what their errors on days that they had not seen say, per meter and stretch of horizon.

Shares are not negative and sum to one, so a blend never leaves the span of its experts. Each meter's evidence counts
in proportion to the days that speak for it; the rest of the belief stays with all meters together, and before any
evidence with a fixed prior. Older errors count less, and errors of later days can be added (`Evidence.later`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from energy_assets.errors import ModelError
from energy_assets.features.history import Floats, Ints
from energy_assets.models.design import ROWS_OF_A_DAY

Doubles = npt.NDArray[np.float64]

HORIZON_HOURS = (6.0, 12.0, 24.0)
"""Borders of the stretches of lead time that have shares of their own."""
HALF_LIFE_DAYS = 40.0
_DAYS_FOR_HALF_BELIEF = 45.0
_PRIOR_STRENGTH = 0.05
_HUBER = 1.0
_ROUNDS_OF_REWEIGHTING = 3
_STEPS = 300
_STILL = 1e-7


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Mean products of errors [expert, expert] per stretch of horizon and per meter, and the days behind them."""

    meters: tuple[str, ...]
    of_stretch: Doubles
    stretch_days: Doubles
    of_meter: Doubles
    meter_days: Doubles

    def later(self, recent: Evidence, *, days_passed: float) -> Evidence:
        """Return this evidence, aged by `days_passed`, with that of later days added; meters stay those of `self`."""
        age = 0.5 ** (days_passed / HALF_LIFE_DAYS)
        place = {name: index for index, name in enumerate(recent.meters)}
        order = np.array([place.get(name, -1) for name in self.meters], dtype=np.int64)
        fresh_days = np.where(order >= 0, recent.meter_days[order], 0.0)
        of_stretch, stretch_days = _merged(
            (self.of_stretch, self.stretch_days * age), (recent.of_stretch, recent.stretch_days)
        )
        of_meter, meter_days = _merged((self.of_meter, self.meter_days * age), (recent.of_meter[order], fresh_days))
        return Evidence(
            meters=self.meters,
            of_stretch=of_stretch,
            stretch_days=stretch_days,
            of_meter=of_meter,
            meter_days=meter_days,
        )

    def save(self, folder: Path) -> None:
        """Write the arrays into the folder."""
        for name in _ARRAYS:
            np.save(folder / f"evidence_{name}.npy", getattr(self, name), allow_pickle=False)


_ARRAYS = ("of_stretch", "stretch_days", "of_meter", "meter_days")


def load_evidence(folder: Path, *, meters: tuple[str, ...]) -> Evidence:
    """Return the evidence that `save` wrote.

    Raises:
        ModelError: a file is missing, torn or of other meters.
    """
    try:
        arrays = {name: np.load(folder / f"evidence_{name}.npy", allow_pickle=False) for name in _ARRAYS}
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no whole model: {error}; train and save it again.") from error
    if len(arrays["of_meter"]) != len(meters):
        raise ModelError(f"{folder} holds evidence of {len(arrays['of_meter'])} meters for {len(meters)}; train again.")
    return Evidence(meters=meters, **arrays)


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Shares of the experts: [stretch, expert] for any meter, [meter, stretch, expert] for those with evidence."""

    meters: tuple[str, ...]
    of_any: Floats
    of_meter: Floats

    def blend(self, predictions: Floats, *, meter_ids: npt.NDArray[np.object_], lead_hours: Floats) -> Floats:
        """Return the blended predictions [row] of predictions [row, expert]."""
        place = {name: index for index, name in enumerate(self.meters)}
        names, inverse = np.unique(meter_ids.astype(str), return_inverse=True)
        meter = np.array([place.get(name, -1) for name in names], dtype=np.int64)[inverse]
        stretch = stretch_of(lead_hours)
        table = np.concatenate([self.of_meter, self.of_any[None]])
        blended: Floats = np.einsum("re,re->r", predictions, table[meter, stretch])
        return blended


def stretch_of(lead_hours: Floats) -> Ints:
    """Return the index of the stretch of horizon [row]."""
    stretch: Ints = np.searchsorted(np.array(HORIZON_HOURS), lead_hours, side="right").astype(np.int64)
    return stretch


def gather_evidence(
    errors: Floats, *, meter_ids: npt.NDArray[np.object_], lead_hours: Floats, issue_day: Ints, shares: Doubles
) -> Evidence:
    """Return what errors [row, expert] in units of the meter's noise say, the newest day counting in full.

    Large errors of the mixture with `shares` count in proportion to their size only (Huber's weights), because one odd
    day must not decide.
    """
    wide = errors.astype(np.float64)
    age = 0.5 ** ((issue_day.max() - issue_day) / HALF_LIFE_DAYS)
    stretch = stretch_of(lead_hours)
    meters, meter = np.unique(meter_ids.astype(str), return_inverse=True)
    for _ in range(_ROUNDS_OF_REWEIGHTING):
        missed = np.abs(wide @ shares)
        weight = age * np.minimum(1.0, _HUBER / np.maximum(missed, 1e-9))
        shares = _least(_mean_products(wide, weight, age, np.zeros(len(wide), dtype=np.int64), 1), prior=shares)[0]
    count = len(HORIZON_HOURS) + 1
    return Evidence(
        meters=tuple(str(name) for name in meters),
        of_stretch=_mean_products(wide, weight, age, stretch, count),
        stretch_days=_days(age, issue_day, stretch, count),
        of_meter=_mean_products(wide, weight, age, meter, len(meters)),
        meter_days=_days(age, issue_day, meter, len(meters)),
    )


def shares_of(evidence: Evidence, *, prior: Doubles) -> Shares:
    """Return the shares that would have had the least error, as far as the evidence goes."""
    days = evidence.stretch_days
    whole = _weighted_mean(evidence.of_stretch, days)
    belief = (days / (days + _DAYS_FOR_HALF_BELIEF))[:, None, None]
    stretches = belief * evidence.of_stretch + (1 - belief) * whole
    any_meter = _least(stretches, prior=prior)
    mine = (evidence.meter_days / (evidence.meter_days + _DAYS_FOR_HALF_BELIEF))[:, None, None, None]
    level = _level(evidence.of_meter)[:, None, None, None] / _level(stretches)[None, :, None, None]
    mixed = mine * evidence.of_meter[:, None] + (1 - mine) * stretches[None] * level
    shape = mixed.shape
    of_meter = _least(mixed.reshape(-1, *shape[2:]), prior=prior).reshape(shape[:3])
    return Shares(meters=evidence.meters, of_any=any_meter.astype(np.float32), of_meter=of_meter.astype(np.float32))


def _level(products: Doubles) -> Doubles:
    """Return the mean squared error over experts [group]: meters that are hard to tell must not outvote the others."""
    level: Doubles = np.maximum(np.trace(products, axis1=-2, axis2=-1), 1e-12)
    return level


def _mean_products(errors: Doubles, weight: Doubles, age: Doubles, group: Ints, count: int) -> Doubles:
    order = np.argsort(group, kind="stable")
    edges = np.searchsorted(group[order], np.arange(count + 1))
    products = np.zeros((count, errors.shape[1], errors.shape[1]))
    for index in range(count):
        rows = order[edges[index] : edges[index + 1]]
        if len(rows):
            chosen = errors[rows]
            products[index] = (chosen * weight[rows, None]).T @ chosen / age[rows].sum()
    return products


def _days(age: Doubles, issue_day: Ints, group: Ints, count: int) -> Doubles:
    """Return how many days speak for each group, older ones counting as they age, those of few rows in part."""
    pairs, first = np.unique(np.stack([group, issue_day]), axis=1, return_index=True)
    days = np.bincount(pairs[0].astype(np.int64), weights=age[first], minlength=count)
    rows = np.bincount(group, weights=age, minlength=count)
    spoken: Doubles = np.minimum(days, rows / ROWS_OF_A_DAY).astype(np.float64)
    return spoken


def _merged(old: tuple[Doubles, Doubles], new: tuple[Doubles, Doubles]) -> tuple[Doubles, Doubles]:
    days = old[1] + new[1]
    share = np.divide(new[1], days, out=np.zeros_like(days), where=days > 0)[:, None, None]
    return (1 - share) * old[0] + share * new[0], days


def _weighted_mean(products: Doubles, days: Doubles) -> Doubles:
    mean: Doubles = np.average(products, axis=0, weights=np.maximum(days, 1e-9))
    return mean


def _least(products: Doubles, *, prior: Doubles) -> Doubles:
    """Return shares [group, expert] on the simplex with the least squared error, drawn to the prior a little.

    Projected gradient descent; the projection is that of Duchi and others (2008).
    """
    experts = products.shape[1]
    level = np.trace(products, axis1=1, axis2=2)[:, None, None] / experts + 1e-12
    curved = products / level + _PRIOR_STRENGTH * np.eye(experts)
    step = 1 / np.linalg.eigvalsh(curved)[:, -1][:, None]
    shares: Doubles = np.tile(prior / prior.sum(), (len(products), 1))
    for _ in range(_STEPS):
        slope = np.einsum("gij,gj->gi", curved, shares) - _PRIOR_STRENGTH * prior
        before, shares = shares, _on_simplex(shares - step * slope)
        if np.abs(shares - before).max() < _STILL:
            break
    return shares


def _on_simplex(points: Doubles) -> Doubles:
    ordered = -np.sort(-points, axis=1)
    excess = (np.cumsum(ordered, axis=1) - 1) / np.arange(1, points.shape[1] + 1)
    last = (ordered > excess).sum(axis=1) - 1
    nearest: Doubles = np.maximum(points - np.take_along_axis(excess, last[:, None], axis=1), 0)
    return nearest
