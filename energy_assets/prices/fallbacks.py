"""Curves without the welfare program: projection of the marginal cost on the limits, bisection, and flat.

The projection is a small quadratic program; the bisection needs no solver at all: a uniform adder, clipped and
ramp-limited, of which the revenue rises with the adder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_assets.prices.days import Floats
from energy_assets.prices.program import GOOD_ENOUGH, TOLERANCE, DayLimits

BISECTIONS = 200


@dataclass(frozen=True, kw_only=True)
class Shaped:
    """A curve made from a marginal cost: prices, uniform adder and what the ramp changes, currency/kWh."""

    price: Floats
    adder: float
    ramp: Floats


def project(marginal: Floats, *, billed_kwh: Floats, limits: DayLimits) -> Shaped | str:
    """Return the curve nearest to the marginal cost plus an adder that keeps every limit, or what the solver said.

    Distance is weighted by the reference load, so that one adder serves all slots that are not at a limit.
    """
    import clarabel
    from scipy import sparse

    slots = len(marginal)
    money = max(float(np.abs(marginal).max()), abs(limits.cap), 1e-9)
    weight = np.maximum(billed_kwh, 0.01 * billed_kwh.mean()) / billed_kwh.mean()
    billed = billed_kwh / billed_kwh.mean()
    unit = sparse.identity(slots, format="csc")
    blocks = [sparse.csc_matrix(billed), unit, -unit]
    bounds = [
        np.array([limits.revenue_target / (billed_kwh.mean() * money)]),
        np.full(slots, limits.cap / money),
        np.full(slots, -limits.floor / money),
    ]
    if np.isfinite(limits.ramp) and slots > 1:
        step = unit[1:] - unit[:-1]
        blocks += [step, -step]
        bounds += [np.full(2 * (slots - 1), limits.ramp / money)]
    constraint = sparse.vstack(blocks, format="csc")
    bound = np.concatenate(bounds)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
    cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(constraint.shape[0] - 1)]
    quadratic, linear = sparse.diags(weight, format="csc"), -weight * marginal / money
    solved = clarabel.DefaultSolver(quadratic, linear, constraint, bound, cones, settings).solve()
    point, multiplier = np.asarray(solved.x), np.asarray(solved.z)
    residual = constraint @ point - bound
    good = np.all(np.isfinite(residual)) and max(abs(residual[0]), residual[1:].max()) < GOOD_ENOUGH
    if str(solved.status) not in ("Solved", "AlmostSolved") or not good:
        return str(solved.status)
    adder = -float(multiplier[0]) * money
    price = point * money
    ramp = price - np.clip(marginal + adder, limits.floor, limits.cap) if np.isfinite(limits.ramp) else np.zeros(slots)
    return Shaped(price=price, adder=adder, ramp=ramp)


def bisect(marginal: Floats, *, billed_kwh: Floats, limits: DayLimits) -> Shaped:
    """Return the marginal cost plus the uniform adder that meets the revenue target after clip and ramp limit.

    The target must lie between the revenues of floor and cap; then the bisection always ends.
    """
    low, high = limits.floor - float(marginal.max()), limits.cap - float(marginal.min())
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if float(billed_kwh @ _limited(marginal + middle, limits=limits)) < limits.revenue_target:
            low = middle
        else:
            high = middle
        if middle in (low, high) and np.nextafter(low, high) >= high:
            break
    price = _limited(marginal + high, limits=limits)
    return Shaped(price=price, adder=high, ramp=price - np.clip(marginal + high, limits.floor, limits.cap))


def _limited(price: Floats, *, limits: DayLimits) -> Floats:
    clipped = np.clip(price, limits.floor, limits.cap)
    if not np.isfinite(limits.ramp):
        return clipped
    return 0.5 * (_envelope(clipped, limits.ramp) - _envelope(-clipped, limits.ramp))


def _envelope(price: Floats, ramp: float) -> Floats:
    """Return the highest curve below `price` that climbs and falls by at most `ramp` a slot; monotone in `price`."""
    slots = np.arange(len(price))
    return np.asarray((price[None, :] + ramp * np.abs(slots[:, None] - slots[None, :])).min(axis=1))
