"""The program against independent ways to the same curve: cvxpy, plain bisection, and a damped fixed point."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.prices.days import SCENARIO_WEIGHTS, read_forecast
from energy_assets.prices.fallbacks import bisect, project
from energy_assets.prices.program import DayLimits
from energy_assets.prices.response import linear_response
from energy_assets.prices.supply import supply_cost
from energy_assets.prices.zones import ProfileGroup, SupplyBlock, ZoneConfig
from energy_assets_tests.prices.strategies import DAY, curve, net_load, often

HOURS = np.arange(24)
SHAPE = 40 + 25 * np.exp(-(((HOURS - 19) / 2.5) ** 2)) - 38 * np.exp(-(((HOURS - 13) / 2.5) ** 2))
UNMOVED = (ProfileGroup(name="all", own_elasticity=0.1, shift_elasticity=0.0),)


def noisy(seed: int) -> np.ndarray:
    return SHAPE + np.random.default_rng(seed).normal(0, 4, 24)


@pytest.mark.parametrize(
    ("seed", "zone"),
    [
        pytest.param(0, ZoneConfig(), id="default"),
        pytest.param(1, ZoneConfig(ramp_per_hour=0.02), id="ramp"),
        pytest.param(2, ZoneConfig(floor=0.27, cap=0.35, capacity_price_per_kw_day=0.5), id="tight"),
        pytest.param(
            3,
            ZoneConfig(
                groups=(
                    ProfileGroup(name="a", share=2.0, shift_elasticity=0.4),
                    ProfileGroup(
                        name="b", hourly_weights=tuple([0.5] * 16 + [3.0] * 6 + [0.5] * 2), bill_protection=0.01
                    ),
                )
            ),
            id="groups",
        ),
    ],
)
def test_cvxpy_finds_the_same_curve(seed: int, zone: ZoneConfig) -> None:
    cvxpy = pytest.importorskip("cvxpy")
    frame = net_load(noisy(seed), zone=zone, band=6.0)
    day = read_forecast(frame, zone=zone, delivery_date=DAY)
    supply, response = supply_cost(zone, day=day), linear_response(zone, day=day)
    matrix, billed = response.matrix(), day.billed_kwh
    deviation = cvxpy.Variable(24)
    reduction = matrix @ deviation
    cost = sum(
        weight
        * cvxpy.sum(
            cvxpy.max(
                cvxpy.vstack(
                    [
                        cvxpy.multiply(p, load - reduction) + c
                        for p, c in zip(supply.price.T, supply.intercept.T, strict=True)
                    ]
                ),
                axis=0,
            )
        )
        for weight, load in zip(SCENARIO_WEIGHTS, day.net_load_kwh, strict=True)
    )
    lost = zone.flat_rate * cvxpy.sum(reduction) + 0.5 * cvxpy.quad_form(deviation, cvxpy.psd_wrap(matrix))
    peak = cvxpy.pos(cvxpy.max(day.expected_kwh - reduction)) * zone.capacity_price_per_kw_day
    price = deviation + zone.flat_rate
    limits = [billed @ deviation == 0, price >= zone.floor, price <= zone.cap]
    if zone.ramp_per_hour is not None:
        limits.append(cvxpy.abs(cvxpy.diff(deviation)) <= zone.ramp_per_hour)
    for group, load in zip(zone.groups, response.group_kwh, strict=True):
        if group.bill_protection is not None:
            limits.append(load @ price <= (1 + group.bill_protection) * zone.flat_rate * load.sum())
    problem = cvxpy.Problem(cvxpy.Minimize(cost + lost + peak), limits)
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    made = curve(frame, zone=zone)
    assert made.rows["rung"][0] == "welfare"
    assert np.abs(made.unrounded - (deviation.value + zone.flat_rate)).max() < 2e-5
    assert made.day["social_cost"][0] == pytest.approx(problem.value, rel=1e-5)  # published prices are rounded


def test_where_cost_does_not_depend_on_load_all_rungs_agree() -> None:
    zone = ZoneConfig(
        supply_kind="wholesale",
        groups=UNMOVED,
        capacity_price_per_kw_day=0.0,
        carbon_price_per_t=0.0,
        floor=0.2,
        cap=0.42,
    )
    load = np.abs(noisy(4)) + 5
    wholesale = 0.02 + 0.3 * np.random.default_rng(5).random(24)
    frame = net_load(load, zone=zone).with_columns(wholesale_price=pl.Series(wholesale))
    limits = DayLimits(floor=0.2, cap=0.42, ramp=float("inf"), revenue_target=0.3 * load.sum())
    marginal = wholesale + zone.wholesale_spread / 2
    bisected = bisect(marginal, billed_kwh=load, limits=limits).price
    projected = project(marginal, billed_kwh=load, limits=limits)
    assert not isinstance(projected, str)
    assert load @ bisected == pytest.approx(limits.revenue_target, rel=1e-9)
    assert np.abs(projected.price - bisected).max() < 1e-6
    assert np.abs(curve(frame, zone=zone).unrounded - bisected).max() < 1e-6


@given(seed=st.integers(0, 2**31))
@often(6)
def test_a_damped_fixed_point_arrives_at_the_program(seed: int) -> None:
    blocks = tuple(
        SupplyBlock(name=f"b{i}", price=0.05 + 0.002 * i, capacity_kw=0.5, carbon_kg_per_kwh=0.0) for i in range(250)
    )
    zone = ZoneConfig(supply=blocks, groups=UNMOVED, capacity_price_per_kw_day=0.0, cap=0.45, floor=0.1)
    load = np.abs(noisy(seed)) + 5
    frame = net_load(load, zone=zone)
    limits = DayLimits(floor=0.1, cap=0.45, ramp=float("inf"), revenue_target=zone.flat_rate * load.sum())
    slope = linear_response(zone, day=read_forecast(frame, zone=zone, delivery_date=DAY)).own
    price = np.full(24, zone.flat_rate)
    for _ in range(400):
        met = load - slope * (price - zone.flat_rate)
        marginal = 0.05 + 0.002 * (met / 0.5 - 0.5)  # the straight line through the middles of the steps
        price = 0.7 * price + 0.3 * bisect(marginal, billed_kwh=load, limits=limits).price
    assert np.abs(curve(frame, zone=zone).unrounded - price).max() < 0.002  # one step of the merit order


def test_a_ramp_limited_bisection_keeps_ramp_and_revenue() -> None:
    marginal = np.where(HOURS == 19, 0.6, 0.1)
    limits = DayLimits(floor=0.0, cap=0.8, ramp=0.05, revenue_target=0.3 * SHAPE.sum())
    made = bisect(marginal, billed_kwh=SHAPE, limits=limits)
    assert SHAPE @ made.price == pytest.approx(limits.revenue_target, rel=1e-9)
    assert np.abs(np.diff(made.price)).max() <= 0.05 + 1e-12
    assert made.price.argmax() == 19
