"""What holds for every curve, on supplies, calendars and days that are out of the ordinary."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.prices.days import day_slots, read_forecast
from energy_assets.prices.fallbacks import bisect, project
from energy_assets.prices.fitted_supply import blocks_of
from energy_assets.prices.program import DayLimits
from energy_assets.prices.supply import marginal_at, supply_cost
from energy_assets.prices.zones import ProfileGroup, ZoneConfig
from energy_assets_tests.prices.strategies import DAY, curve, days, keeps_its_promises, net_load, often, zones

Day = tuple[list[float], list[float], int]
UNMOVED = (ProfileGroup(name="all", own_elasticity=0.1, shift_elasticity=0.0),)
CLOCK_CHANGES = {
    "Europe/Rome": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "America/St_Johns": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),  # half an hour
    "Asia/Kolkata": (date(2026, 6, 1), date(2026, 6, 2)),  # no change, an offset of half an hour
}


@given(zone=zones(), day=days(), seed=st.integers(0, 2**31), spread=st.floats(0, 0.1))
@often(40)
def test_a_zone_on_wholesale_prices_keeps_its_promises(zone: ZoneConfig, day: Day, seed: int, spread: float) -> None:
    median, band, interval = day
    bought = zone.model_copy(update={"supply_kind": "wholesale", "wholesale_spread": spread})
    price = np.random.default_rng(seed).normal(0.06, 0.08, len(median))  # a fifth of the slots below zero
    frame = net_load(median, zone=bought, interval_minutes=interval, band=band)
    made = curve(frame.with_columns(wholesale_price=pl.Series(price)), zone=bought)
    keeps_its_promises(made, zone=bought, median=median, interval_minutes=interval)


@given(zone=zones(), day=days(), seed=st.integers(0, 2**31), steps=st.integers(2, 30))
@often(40)
def test_a_zone_on_a_learned_supply_keeps_its_promises(zone: ZoneConfig, day: Day, seed: int, steps: int) -> None:
    median, band, interval = day
    chance = np.random.default_rng(seed)
    peak = max(*median, 1e-6)
    load = np.abs(chance.normal(0.6, 0.3, 900)) * peak * 60 / interval
    blocks = blocks_of(load, price=0.05 + 0.1 * load / load.max() + chance.normal(0, 0.02, 900), steps=steps)
    learned = zone.model_copy(update={"supply": blocks, "export": ()})
    made = curve(net_load(median, zone=learned, interval_minutes=interval, band=band), zone=learned)
    keeps_its_promises(made, zone=learned, median=median, interval_minutes=interval)


@given(
    timezone=st.sampled_from(sorted(CLOCK_CHANGES)),
    which=st.integers(0, 1),
    offset=st.integers(-1, 1),
    interval=st.sampled_from([15, 30, 60]),
    seed=st.integers(0, 2**31),
)
@often(60)
def test_days_of_every_length_keep_their_promises(
    timezone: str, which: int, offset: int, interval: int, seed: int
) -> None:
    delivery_date = CLOCK_CHANGES[timezone][which] + timedelta(days=offset)
    interval = min(interval, 30) if timezone == "Australia/Lord_Howe" else interval
    zone = ZoneConfig(timezone=timezone, ramp_per_hour=0.08)
    slots = day_slots(delivery_date, zone=zone, interval_minutes=interval)
    local = [slot.astimezone(ZoneInfo(timezone)) for slot in slots]
    assert {slot.date() for slot in local} == {delivery_date}
    chance = np.random.default_rng(seed)
    median = 20 + 15 * np.array([17 <= slot.hour < 21 for slot in local]) + chance.normal(0, 5, len(slots))
    frame = net_load(median, zone=zone, delivery_date=delivery_date, interval_minutes=interval, band=2.0)
    made = curve(frame, zone=zone, delivery_date=delivery_date)
    assert made.rows["starts_at_utc"].to_list() == slots
    keeps_its_promises(made, zone=zone, median=median, interval_minutes=interval)


@given(
    day=days(),
    flat=st.floats(0.05, 0.6),
    low=st.floats(0, 1),
    width=st.floats(0, 0.5),
    owed=st.sampled_from([0.0, 1.0, -1.0, 1e6, -1e6]),
)
@often(80)
def test_revenue_that_limits_forbid_is_recorded_and_carried(
    day: Day, flat: float, low: float, width: float, owed: float
) -> None:
    median, band, interval = day
    ramp = width / 2 if interval == 30 else None
    zone = ZoneConfig(flat_rate=flat, floor=low, cap=low + width + 1e-5, ramp_per_hour=ramp)
    made = curve(net_load(median, zone=zone, interval_minutes=interval, band=band), zone=zone, true_up=owed)
    account, billed = made.day.row(0, named=True), np.maximum(median, 0)
    units = made.rows["price_units"].to_numpy()
    assert units.min() >= np.ceil(zone.floor * 1e5 - 1e-6)
    assert units.max() <= np.floor(zone.cap * 1e5 + 1e-6)
    target = flat * billed.sum() + (owed if billed.sum() > 0 else 0.0)
    assert account["revenue_target"] == pytest.approx(target, rel=1e-12, abs=1e-9)
    assert account["revenue_error"] == pytest.approx(billed @ units / 1e5 - target, rel=1e-9, abs=1e-6)
    # What a day earns and what it hands on make up what it had to earn, on any day.
    expected = -account["revenue_error"] if billed.sum() > 0 else owed
    assert account["true_up_carried"] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    wanted = target / billed.sum() if billed.sum() > 0 else flat
    if not zone.floor - 1e-5 <= wanted <= zone.cap + 1e-5:
        assert account["rung"] == "flat"
        assert len(set(units)) == 1
        assert made.rows["solver_status"][0]


@given(
    level=st.sampled_from([0.0, -1e-9, -1.0, -1e6]),
    interval=st.sampled_from([15, 30, 60]),
    owed=st.floats(-10, 10),
    zone=zones(),
)
@often(40)
def test_days_without_import_are_flat_and_pass_on_what_is_owed(
    level: float, interval: int, owed: float, zone: ZoneConfig
) -> None:
    frame = net_load([level] * (1440 // interval), zone=zone, interval_minutes=interval)
    made = curve(frame, zone=zone, true_up=owed)
    assert made.day["rung"][0] == "flat"
    assert "no import" in made.rows["solver_status"][0]
    assert made.rows["price_units"].n_unique() == 1
    assert made.day["true_up_carried"][0] == owed
    assert made.day["social_cost"][0] <= made.day["social_cost_flat"][0]


@given(seed=st.integers(0, 2**31), floor=st.floats(0.0, 0.28), cap=st.floats(0.33, 0.8))
@often(30)
def test_program_projection_and_bisection_agree_where_cost_does_not_depend_on_load(
    seed: int, floor: float, cap: float
) -> None:
    chance = np.random.default_rng(seed)
    load, wholesale = chance.uniform(5, 60, 24), chance.uniform(0.0, 0.4, 24)
    zone = ZoneConfig(
        supply_kind="wholesale",
        groups=UNMOVED,
        capacity_price_per_kw_day=0.0,
        carbon_price_per_t=0.0,
        floor=floor,
        cap=cap,
    )
    grid = DayLimits(
        floor=np.ceil(floor * 1e5 - 1e-6) / 1e5,
        cap=np.floor(cap * 1e5 + 1e-6) / 1e5,
        ramp=float("inf"),
        revenue_target=0.3 * load.sum(),
    )
    marginal = wholesale + zone.wholesale_spread / 2
    frame = net_load(load, zone=zone).with_columns(wholesale_price=pl.Series(wholesale))
    bisected = bisect(marginal, billed_kwh=load, limits=grid).price
    projected = project(marginal, billed_kwh=load, limits=grid)
    assert not isinstance(projected, str)
    assert np.abs(projected.price - bisected).max() < 1e-6
    # Beside a limit that just binds, a gap of 1e-11 leaves the square root of it in the price: half a published unit.
    assert np.abs(curve(frame, zone=zone).unrounded - bisected).max() < 5e-6


@given(day=days(), ramp=st.floats(0.001, 0.5), floor=st.floats(0, 0.29), cap=st.floats(0.31, 2))
@often(60)
def test_each_rung_alone_keeps_revenue_bounds_and_ramp(day: Day, ramp: float, floor: float, cap: float) -> None:
    zone = ZoneConfig()
    frame = net_load(day[0], zone=zone, interval_minutes=day[2], band=day[1])
    forecast = read_forecast(frame, zone=zone, delivery_date=DAY)
    billed = forecast.billed_kwh
    if billed.sum() <= 0:
        return
    parts = marginal_at(supply_cost(zone, day=forecast), net_load_kwh=forecast.net_load_kwh)
    marginal = parts.energy + parts.carbon + parts.risk
    limits = DayLimits(floor=floor, cap=cap, ramp=ramp, revenue_target=0.3 * float(billed.sum()))
    bisected = bisect(marginal, billed_kwh=billed, limits=limits)
    projected = project(marginal, billed_kwh=billed, limits=limits)
    assert not isinstance(projected, str)
    for shaped in (bisected, projected):
        assert billed @ shaped.price == pytest.approx(limits.revenue_target, rel=1e-6)
        assert shaped.price.min() >= floor - 1e-7
        assert shaped.price.max() <= cap + 1e-7
        assert np.abs(np.diff(shaped.price)).max() <= ramp + 1e-7
    # The projection is the nearest of all such curves in its own distance, so it is never farther than the bisection's.
    weight = np.maximum(billed, 0.01 * billed.mean())

    def distance(price: np.ndarray) -> float:
        return float((weight * (price - marginal) ** 2).sum())

    assert distance(projected.price) <= distance(bisected.price) * (1 + 1e-6)
