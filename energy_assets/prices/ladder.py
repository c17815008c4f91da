"""The rungs that make a curve: welfare program -> projection on marginal cost -> bisection -> flat.

A rung that fails, or that would cost society more than the flat rate, is passed over, and the curve says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY
from energy_assets.prices.days import SCENARIO_WEIGHTS, DayForecast, Floats
from energy_assets.prices.fallbacks import Shaped, bisect, project
from energy_assets.prices.legacy import legacy_curve
from energy_assets.prices.program import DayLimits, solve_program
from energy_assets.prices.response import Response
from energy_assets.prices.supply import Marginal, SupplyCost, marginal_at, marginal_parts
from energy_assets.prices.zones import ZoneConfig

UNITS = PRICE_UNITS_PER_CURRENCY


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A curve before rounding with its parts; what no part explains is the clip's."""

    rung: str
    status: str
    price: Floats
    marginal: Marginal
    capacity: Floats
    revenue: Floats
    ramp: Floats


@dataclass(frozen=True, kw_only=True)
class DayProblem:
    """Everything that a rung may look at; `flat` is the rate that earns the revenue target, currency/kWh."""

    zone: ZoneConfig
    day: DayForecast
    supply: SupplyCost
    response: Response
    limits: DayLimits
    flat: float

    @property
    def flat_curve(self) -> Floats:
        """Return the flat rate as it would be published: within the limits, in whole units."""
        rate = np.clip(self.flat, self.limits.floor, self.limits.cap)
        return to_units(np.full(len(self.day.starts_at_utc), rate)) / UNITS

    def social_cost(self, price: Floats) -> float:
        """Return expected supply cost, lost utility and capacity cost of a curve, in currency."""
        deviation = price - self.response.flat_rate
        load = self.day.net_load_kwh - self.response.reduction_kwh(deviation)
        return (
            self.supply.expected_cost(load, weights=SCENARIO_WEIGHTS)
            + self.response.lost_utility(deviation)
            + self.zone.capacity_price_per_kw_day * self.peak_kw(price)
        )

    def peak_kw(self, price: Floats) -> float:
        """Return the expected peak of the zone's imports under a curve, in kW."""
        reduction = self.response.reduction_kwh(price - self.response.flat_rate)
        return max(float((self.day.expected_kwh - reduction).max()) / self.day.hours, 0.0)


def to_units(price: Floats) -> Floats:
    """Return prices as whole units of 1e-5 currency/kWh, halves upwards, so that bounds and ramps survive rounding."""
    return np.asarray(np.floor(price * UNITS + 0.5), dtype=np.float64)


def climb(problem: DayProblem) -> Candidate:
    """Return the curve of the first rung that serves, with the reasons why those above did not."""
    zone, limits = problem.zone, problem.limits
    if zone.rule in ("system_000", "system_003"):
        return _ruled(problem, legacy_curve(zone, day=problem.day))
    if zone.rule == "flat":
        return _flat(problem, reason="the zone's rule is flat")
    if problem.day.billed_kwh.sum() <= 0:
        return _flat(problem, reason="no import is forecast, so there is no revenue to keep")
    if not limits.floor <= problem.flat <= limits.cap:
        return _flat(problem, reason=f"revenue needs {problem.flat:.6g} per kWh, outside {limits.floor}..{limits.cap}")
    reasons: list[str] = []
    flat_cost = problem.social_cost(problem.flat_curve)
    rungs: tuple[tuple[str, Callable[[DayProblem], Candidate | str]], ...] = (
        ("welfare", _welfare),
        ("projection", _projection),
        ("bisection", _bisection),
    )
    for name, rung in rungs:
        found = rung(problem)
        if isinstance(found, str):
            reasons.append(f"{name}: {found}")
            continue
        cost = problem.social_cost(to_units(found.price) / UNITS)
        if cost <= flat_cost:
            return _with_status(found, reasons=reasons)
        reasons.append(f"{name}: social cost {cost:.6g} is above the flat rate's {flat_cost:.6g}")
    return _flat(problem, reason="; ".join(reasons))


def _welfare(problem: DayProblem) -> Candidate | str:
    solution = solve_program(
        problem.zone, day=problem.day, supply=problem.supply, response=problem.response, limits=problem.limits
    )
    if isinstance(solution, str):
        return solution
    marginal = marginal_parts(problem.supply, line_weights=solution.line_weights, net_load_kwh=problem.day.net_load_kwh)
    # Where every slot is at a limit the multiplier of revenue is arbitrary; a larger adder than this only feeds clip.
    cost = marginal.energy + marginal.carbon + marginal.risk + solution.capacity
    floor, cap = problem.limits.floor, problem.limits.cap
    return Candidate(
        rung="welfare",
        status=solution.status,
        price=np.clip(solution.price, floor, cap),
        marginal=marginal,
        capacity=solution.capacity,
        revenue=np.clip(solution.revenue, 2 * floor - cap - cost.max(), 2 * cap - floor - cost.min()),
        ramp=solution.ramp,
    )


def _projection(problem: DayProblem) -> Candidate | str:
    marginal, capacity = _reference_marginal(problem)
    total = marginal.energy + marginal.carbon + marginal.risk + capacity
    shaped = project(total, billed_kwh=problem.day.billed_kwh, limits=problem.limits)
    if isinstance(shaped, str):
        return shaped
    return _shaped(problem, shaped, rung="projection", marginal=marginal, capacity=capacity)


def _bisection(problem: DayProblem) -> Candidate:
    marginal, capacity = _reference_marginal(problem)
    total = marginal.energy + marginal.carbon + marginal.risk + capacity
    shaped = bisect(total, billed_kwh=problem.day.billed_kwh, limits=problem.limits)
    return _shaped(problem, shaped, rung="bisection", marginal=marginal, capacity=capacity)


def _shaped(problem: DayProblem, shaped: Shaped, *, rung: str, marginal: Marginal, capacity: Floats) -> Candidate:
    return Candidate(
        rung=rung,
        status="Solved",
        price=np.clip(shaped.price, problem.limits.floor, problem.limits.cap),
        marginal=marginal,
        capacity=capacity,
        revenue=np.full(len(capacity), shaped.adder),
        ramp=shaped.ramp,
    )


def _flat(problem: DayProblem, *, reason: str) -> Candidate:
    marginal, capacity = _reference_marginal(problem)
    flat = np.full(len(capacity), problem.flat)
    parts = marginal.energy + marginal.carbon + marginal.risk + capacity
    return Candidate(
        rung="flat",
        status=reason,
        price=np.clip(flat, problem.limits.floor, problem.limits.cap),
        marginal=marginal,
        capacity=capacity,
        revenue=flat - parts,
        ramp=np.zeros(len(flat)),
    )


def _ruled(problem: DayProblem, price: Floats) -> Candidate:
    marginal, _ = _reference_marginal(problem)
    parts = marginal.energy + marginal.carbon + marginal.risk
    zeros = np.zeros(len(price))
    return Candidate(
        rung="legacy",
        status=f"the zone's rule is {problem.zone.rule}",
        price=np.clip(price, problem.limits.floor, problem.limits.cap),
        marginal=marginal,
        capacity=zeros,
        revenue=price - parts,
        ramp=zeros,
    )


def _reference_marginal(problem: DayProblem) -> tuple[Marginal, Floats]:
    """Return the marginal cost at the reference load; the capacity price falls on the slot of the expected peak."""
    capacity = np.zeros(len(problem.day.starts_at_utc))
    expected = problem.day.expected_kwh
    if expected.max() > 0:
        capacity[int(expected.argmax())] = problem.zone.capacity_price_per_kw_day / problem.day.hours
    return marginal_at(problem.supply, net_load_kwh=problem.day.net_load_kwh), capacity


def _with_status(found: Candidate, *, reasons: list[str]) -> Candidate:
    status = "; ".join([*reasons, found.status])
    return replace(found, status=status)
