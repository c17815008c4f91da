"""The price curve of a zone and delivery day: one call from net load to published integers with their explanation.

The ladder is welfare program -> projection on marginal cost -> bisection -> flat; which rung served and why is part
of every row. Nothing here reads a clock: the same inputs give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl

from energy_assets.contracts import PRICES_CURVES, PRICES_DAYS, UTC_TIME
from energy_assets.contracts.prices import PRICE_COMPONENTS
from energy_assets.prices.days import MEDIAN, DayForecast, Floats, read_forecast
from energy_assets.prices.fingerprint import inputs_hash
from energy_assets.prices.ladder import UNITS, Candidate, DayProblem, climb, to_units
from energy_assets.prices.program import DayLimits
from energy_assets.prices.response import linear_response
from energy_assets.prices.supply import supply_cost
from energy_assets.prices.zones import ZoneConfig

PART_GRID = 1024.0  # parts are kept in 1024ths of a unit, a binary fraction, so that they sum without rounding


@dataclass(frozen=True, kw_only=True)
class PriceCurve:
    """A published day: `rows` in the shape of PRICES_CURVES and `day` of PRICES_DAYS; `unrounded` in currency/kWh."""

    rows: pl.DataFrame
    day: pl.DataFrame
    unrounded: Floats


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
    problem = DayProblem(
        zone=zone,
        day=day,
        supply=supply_cost(zone, day=day),
        response=linear_response(zone, day=day),
        limits=_limits(zone, day=day, revenue_target=flat * float(billed.sum())),
        flat=flat,
    )
    chosen = climb(problem)
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


def _rows(problem: DayProblem, *, chosen: Candidate, units: Floats) -> pl.DataFrame:
    marginal, day = chosen.marginal, problem.day
    parts = {
        "energy": marginal.energy,
        "carbon": marginal.carbon,
        "risk": marginal.risk,
        "capacity": chosen.capacity,
        "revenue": chosen.revenue,
        "ramp": chosen.ramp,
    }
    parts = {name: np.round(value * UNITS * PART_GRID) / PART_GRID for name, value in parts.items()}
    parts["clip"] = units - np.sum(list(parts.values()), axis=0)
    return pl.DataFrame(
        {
            "starts_at_utc": pl.Series(day.starts_at_utc, dtype=UTC_TIME),
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


def _export_units(problem: DayProblem, *, chosen: Candidate, units: Floats) -> Floats:
    """Return the feed-in price: never above the import price, so that nobody gains by passing energy in a circle."""
    zone = problem.zone
    if zone.export_rule == "share":
        wanted = zone.export_share * units
    elif zone.export_rule == "fixed":
        wanted = np.full(len(units), zone.export_rate * UNITS)
    else:
        wanted = (chosen.marginal.energy + chosen.marginal.carbon + chosen.marginal.risk) * UNITS
    return np.asarray(np.minimum(np.floor(wanted + 0.5), units), dtype=np.float64)


def _account(problem: DayProblem, *, chosen: Candidate, units: Floats, true_up: float) -> dict[str, object]:
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
