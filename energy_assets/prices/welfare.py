"""The price curve of a zone and delivery day: one call from net load to published integers with their explanation.

The ladder is welfare program -> projection on marginal cost -> bisection -> flat; which rung served and why is part
of every row. Nothing here reads a clock: the same inputs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl

from energy_assets.contracts import PRICES_CURVES, PRICES_DAYS
from energy_assets.contracts.prices import PRICE_COMPONENTS, PRICE_UNITS_PER_CURRENCY
from energy_assets.prices.days import MEDIAN, SCENARIO_WEIGHTS, DayForecast, Floats, read_forecast
from energy_assets.prices.fallbacks import Shaped, bisect, project
from energy_assets.prices.fingerprint import inputs_hash
from energy_assets.prices.legacy import legacy_curve
from energy_assets.prices.program import DayLimits, solve_program
from energy_assets.prices.response import Response, linear_response
from energy_assets.prices.supply import Marginal, SupplyCost, marginal_at, marginal_parts, supply_cost
from energy_assets.prices.zones import ZoneConfig

UNITS = PRICE_UNITS_PER_CURRENCY


@dataclass(frozen=True, kw_only=True)
class PriceCurve:
    """A published day: `rows` in the shape of PRICES_CURVES and `day` of PRICES_DAYS; `unrounded` in currency/kWh."""

    rows: pl.DataFrame
    day: pl.DataFrame
    unrounded: Floats


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A curve before rounding with its parts; what no part explains is the clip's."""

    rung: str
    status: str
    price: Floats
    marginal: Marginal
    capacity: Floats
    revenue: Floats
    ramp: Floats


@dataclass(frozen=True, kw_only=True)
class _Problem:
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


def price_curve(
    net_load: pl.DataFrame,
    *,
    zone: ZoneConfig,
    delivery_date: date,
    revision: int,
    published_at_utc: datetime,
    true_up: float = 0.0,
) -> PriceCurve:
    """Return the price curve of a zone's delivery day.

    Args:
        net_load: starts_at_utc, q10, q50, q90 in kWh per slot (or energy_kwh alone), on the local day's own slots;
            optionally consumption_kwh, wholesale_price, carbon_kg_per_kwh (see `days.read_forecast`).
        zone: The price zone.
        delivery_date: Local day in the zone.
        revision: 0 for the first publication of the day.
        published_at_utc: Nominal time of publication.
        true_up: Revenue carried from earlier days, in currency, to be earned on top of the flat rate's.

    Raises:
        ContractError: the net load is not a complete forecast of the day.
    """
    day = read_forecast(net_load, zone=zone, delivery_date=delivery_date)
    billed = day.billed_kwh
    flat = zone.flat_rate + (true_up / float(billed.sum()) if billed.sum() > 0 else 0.0)
    problem = _Problem(
        zone=zone,
        day=day,
        supply=supply_cost(zone, day=day),
        response=linear_response(zone, day=day),
        limits=_limits(zone, day=day, revenue_target=flat * float(billed.sum())),
        flat=flat,
    )
    chosen = _climb(problem)
    units = to_units(chosen.price)
    fingerprint = inputs_hash(zone, day=day, delivery_date=delivery_date, true_up=true_up)
    identity = {"zone_id": zone.zone_id, "delivery_date": delivery_date, "revision": revision}
    rows = _rows(problem, chosen=chosen, units=units).with_columns(
        **{name: pl.lit(value) for name, value in identity.items()},
        currency_code=pl.lit(zone.currency_code),
        inputs_hash=pl.lit(fingerprint),
        published_at_utc=pl.lit(published_at_utc),
    )
    account = {**identity, **_account(problem, chosen=chosen, units=units, true_up=true_up)}
    return PriceCurve(
        rows=PRICES_CURVES.conform(rows), day=PRICES_DAYS.conform(pl.DataFrame([account])), unrounded=chosen.price
    )


def to_units(price: Floats) -> Floats:
    """Return prices as whole units of 1e-5 currency/kWh, halves upwards, so that bounds and ramps survive rounding."""
    return np.asarray(np.floor(price * UNITS + 0.5), dtype=np.float64)


def _limits(zone: ZoneConfig, *, day: DayForecast, revenue_target: float) -> DayLimits:
    """Return the limits on the grid of published units; the ramp leaves a thousandth of a unit to the solver."""
    ramp = float("inf")
    if zone.ramp_per_hour is not None:
        ramp = max(np.floor(zone.ramp_per_hour * day.hours * UNITS + 1e-6) - 1e-3, 0.0) / UNITS
    return DayLimits(
        floor=float(np.ceil(zone.floor * UNITS - 1e-6)) / UNITS,
        cap=float(np.floor(zone.cap * UNITS + 1e-6)) / UNITS,
        ramp=ramp,
        revenue_target=revenue_target,
    )


def _climb(problem: _Problem) -> _Candidate:
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
    rungs: tuple[tuple[str, Callable[[_Problem], _Candidate | str]], ...] = (
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


def _welfare(problem: _Problem) -> _Candidate | str:
    solution = solve_program(
        problem.zone, day=problem.day, supply=problem.supply, response=problem.response, limits=problem.limits
    )
    if isinstance(solution, str):
        return solution
    return _Candidate(
        rung="welfare",
        status=solution.status,
        price=np.clip(solution.price, problem.limits.floor, problem.limits.cap),
        marginal=marginal_parts(
            problem.supply, line_weights=solution.line_weights, net_load_kwh=problem.day.net_load_kwh
        ),
        capacity=solution.capacity,
        revenue=solution.revenue,
        ramp=solution.ramp,
    )


def _projection(problem: _Problem) -> _Candidate | str:
    marginal, capacity = _reference_marginal(problem)
    total = marginal.energy + marginal.carbon + marginal.risk + capacity
    shaped = project(total, billed_kwh=problem.day.billed_kwh, limits=problem.limits)
    if isinstance(shaped, str):
        return shaped
    return _shaped(problem, shaped, rung="projection", marginal=marginal, capacity=capacity)


def _bisection(problem: _Problem) -> _Candidate:
    marginal, capacity = _reference_marginal(problem)
    total = marginal.energy + marginal.carbon + marginal.risk + capacity
    shaped = bisect(total, billed_kwh=problem.day.billed_kwh, limits=problem.limits)
    return _shaped(problem, shaped, rung="bisection", marginal=marginal, capacity=capacity)


def _shaped(problem: _Problem, shaped: Shaped, *, rung: str, marginal: Marginal, capacity: Floats) -> _Candidate:
    return _Candidate(
        rung=rung,
        status="Solved",
        price=np.clip(shaped.price, problem.limits.floor, problem.limits.cap),
        marginal=marginal,
        capacity=capacity,
        revenue=np.full(len(capacity), shaped.adder),
        ramp=shaped.ramp,
    )


def _flat(problem: _Problem, *, reason: str) -> _Candidate:
    marginal, capacity = _reference_marginal(problem)
    flat = np.full(len(capacity), problem.flat)
    parts = marginal.energy + marginal.carbon + marginal.risk + capacity
    return _Candidate(
        rung="flat",
        status=reason,
        price=np.clip(flat, problem.limits.floor, problem.limits.cap),
        marginal=marginal,
        capacity=capacity,
        revenue=flat - parts,
        ramp=np.zeros(len(flat)),
    )


def _ruled(problem: _Problem, price: Floats) -> _Candidate:
    marginal, _ = _reference_marginal(problem)
    parts = marginal.energy + marginal.carbon + marginal.risk
    zeros = np.zeros(len(price))
    return _Candidate(
        rung="legacy",
        status=f"the zone's rule is {problem.zone.rule}",
        price=np.clip(price, problem.limits.floor, problem.limits.cap),
        marginal=marginal,
        capacity=zeros,
        revenue=price - parts,
        ramp=zeros,
    )


def _reference_marginal(problem: _Problem) -> tuple[Marginal, Floats]:
    """Return the marginal cost at the reference load; the capacity price falls on the slot of the expected peak."""
    capacity = np.zeros(len(problem.day.starts_at_utc))
    expected = problem.day.expected_kwh
    if expected.max() > 0:
        capacity[int(expected.argmax())] = problem.zone.capacity_price_per_kw_day / problem.day.hours
    return marginal_at(problem.supply, net_load_kwh=problem.day.net_load_kwh), capacity


def _with_status(found: _Candidate, *, reasons: list[str]) -> _Candidate:
    status = "; ".join([*reasons, found.status])
    return _Candidate(**{**found.__dict__, "status": status})


def _rows(problem: _Problem, *, chosen: _Candidate, units: Floats) -> pl.DataFrame:
    marginal, day = chosen.marginal, problem.day
    parts = {
        "energy": marginal.energy,
        "carbon": marginal.carbon,
        "risk": marginal.risk,
        "capacity": chosen.capacity,
        "revenue": chosen.revenue,
        "ramp": chosen.ramp,
    }
    parts = {name: value * UNITS for name, value in parts.items()}
    parts["clip"] = units - np.sum(list(parts.values()), axis=0)
    return pl.DataFrame(
        {
            "starts_at_utc": pl.Series(day.starts_at_utc, dtype=pl.Datetime("us", "UTC")),
            "interval_minutes": [day.interval_minutes] * len(units),
            "price_units": units.astype(np.int64),
            "export_price_units": _export_units(problem, chosen=chosen, units=units).astype(np.int64),
            **{f"{name}_component": parts[name] for name in PRICE_COMPONENTS},
            "net_load_q10_kwh": day.net_load_kwh[0],
            "net_load_q50_kwh": day.net_load_kwh[MEDIAN],
            "net_load_q90_kwh": day.net_load_kwh[2],
            "greenhouse_gas_kg_per_kwh": np.clip(marginal.intensity, 0.0, 3.0),
            "rung": [chosen.rung] * len(units),
            "solver_status": [chosen.status] * len(units),
        }
    )


def _export_units(problem: _Problem, *, chosen: _Candidate, units: Floats) -> Floats:
    """Return the feed-in price: never above the import price, so that nobody gains by passing energy in a circle."""
    zone = problem.zone
    if zone.export_rule == "share":
        wanted = zone.export_share * units
    elif zone.export_rule == "fixed":
        wanted = np.full(len(units), zone.export_rate * UNITS)
    else:
        wanted = (chosen.marginal.energy + chosen.marginal.carbon + chosen.marginal.risk) * UNITS
    return np.asarray(np.minimum(np.floor(wanted + 0.5), units), dtype=np.float64)


def _account(problem: _Problem, *, chosen: _Candidate, units: Floats, true_up: float) -> dict[str, object]:
    price, billed = units / UNITS, problem.day.billed_kwh
    target = problem.limits.revenue_target
    error = float(billed @ price) - target
    return {
        "starts_at_utc": problem.day.starts_at_utc[0],
        "currency_code": problem.zone.currency_code,
        "revenue_target": target,
        "revenue_error": error,
        "true_up_carried": -error if billed.sum() > 0 else true_up,
        "peak_kw": problem.peak_kw(price),
        "peak_flat_kw": problem.peak_kw(problem.flat_curve),
        "social_cost": problem.social_cost(price),
        "social_cost_flat": problem.social_cost(problem.flat_curve),
        "rung": chosen.rung,
    }
