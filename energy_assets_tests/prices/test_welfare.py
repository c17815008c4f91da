"""The curve of a delivery day: limits, revenue, explanation, ladder and repeatability."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.contracts import PRICES_CURVES, PRICES_DAYS
from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY
from energy_assets.errors import ContractError
from energy_assets.prices import ladder
from energy_assets.prices.zones import ProfileGroup, SupplyBlock, ZoneConfig
from energy_assets_tests.prices.strategies import DAY, PARTS, curve, days, keeps_its_promises, net_load, often, zones

ZONE = ZoneConfig()
EVENING = [30.0] * 17 + [60.0, 80.0, 90.0, 80.0, 60.0] + [30.0] * 2


@given(zone=zones(), day=days())
@often(80)
def test_every_curve_keeps_its_promises(zone: ZoneConfig, day: tuple[list[float], list[float], int]) -> None:
    median, band, interval = day
    made = curve(net_load(median, zone=zone, interval_minutes=interval, band=band), zone=zone)
    keeps_its_promises(made, zone=zone, median=median, interval_minutes=interval)


@pytest.mark.parametrize(
    ("delivery_date", "hours"),
    [
        pytest.param(date(2026, 3, 29), 23, id="spring"),
        pytest.param(date(2026, 6, 1), 24, id="usual"),
        pytest.param(date(2026, 10, 25), 25, id="autumn"),
    ],
)
@pytest.mark.parametrize("interval_minutes", [15, 30, 60])
def test_a_day_has_its_own_slots(delivery_date: date, hours: int, interval_minutes: int) -> None:
    zone = ZoneConfig(timezone="Europe/Rome")
    slots = hours * 60 // interval_minutes
    load = 50 + 20 * np.sin(np.arange(slots) / slots * 6)
    made = curve(
        net_load(load, zone=zone, delivery_date=delivery_date, interval_minutes=interval_minutes),
        zone=zone,
        delivery_date=delivery_date,
    )
    assert made.rows.height == slots
    assert made.rows["interval_minutes"].unique().to_list() == [interval_minutes]
    assert made.rows["rung"][0] == "welfare"
    assert made.rows.schema == PRICES_CURVES.polars_schema
    assert made.day.schema == PRICES_DAYS.polars_schema


def test_the_same_inputs_give_the_same_bytes() -> None:
    frame = net_load(EVENING, zone=ZONE, band=5.0)
    first, second = curve(frame, zone=ZONE), curve(frame.reverse(), zone=ZONE)
    assert first.rows.serialize() == second.rows.serialize()
    assert first.day.serialize() == second.day.serialize()
    nudged = frame.with_columns(q50=pl.col("q50") + 1e-9, q90=pl.col("q90") + 1e-9)
    assert curve(nudged, zone=ZONE).rows["inputs_hash"][0] != first.rows["inputs_hash"][0]


@pytest.mark.parametrize(
    ("median", "zone", "reason"),
    [
        pytest.param([0.0] * 24, ZONE, "no import", id="nothing flows"),
        pytest.param([-5.0] * 24, ZONE, "no import", id="exports all day"),
        pytest.param(EVENING, ZoneConfig(floor=0.31, cap=0.5), "outside", id="floor above the revenue"),
        pytest.param(EVENING, ZoneConfig(floor=0.1, cap=0.2), "outside", id="cap below the revenue"),
        pytest.param(EVENING, ZoneConfig(rule="flat"), "rule is flat", id="flat by rule"),
    ],
)
def test_a_day_that_cannot_be_shaped_is_flat_and_says_why(median: list[float], zone: ZoneConfig, reason: str) -> None:
    made = curve(net_load(median, zone=zone), zone=zone)
    expected = round(min(max(zone.flat_rate, zone.floor), zone.cap) * PRICE_UNITS_PER_CURRENCY)
    assert made.rows["price_units"].unique().to_list() == [expected]
    assert made.rows["rung"].unique().to_list() == ["flat"]
    assert reason in made.rows["solver_status"][0]
    assert made.day["true_up_carried"][0] == pytest.approx(-made.day["revenue_error"][0])


def test_revenue_that_a_cap_withholds_is_carried_forward() -> None:
    zone = ZoneConfig(floor=0.1, cap=0.2)
    made = curve(net_load([10.0] * 24, zone=zone), zone=zone)
    assert made.day["revenue_target"][0] == pytest.approx(72.0)  # 240 kWh x 0.30
    assert made.day["true_up_carried"][0] == pytest.approx(24.0)  # 240 kWh x 0.10 short
    later = curve(net_load([10.0] * 24, zone=ZONE), zone=ZONE, true_up=24.0)
    assert later.day["revenue_target"][0] == pytest.approx(96.0)
    assert later.day["revenue_error"][0] == pytest.approx(0.0, abs=0.0012)


def test_lower_rungs_serve_when_the_solver_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = ZoneConfig(ramp_per_hour=0.04)
    frame = net_load(EVENING, zone=zone, band=5.0)
    monkeypatch.setattr(ladder, "solve_program", lambda *_, **__: "NumericalError")
    projected = curve(frame, zone=zone)
    assert projected.day["rung"][0] == "projection"
    assert projected.rows["solver_status"][0] == "welfare: NumericalError; Solved"
    monkeypatch.setattr(ladder, "project", lambda *_, **__: "MaxIterations")
    bisected = curve(frame, zone=zone)
    assert bisected.day["rung"][0] == "bisection"
    for made in (projected, bisected):
        assert abs(made.day["revenue_error"][0]) <= 0.5e-5 * sum(EVENING)
        assert made.rows["price_units"].diff().abs().max() <= 4000
        assert made.day["social_cost"][0] <= made.day["social_cost_flat"][0]
        explained = made.rows.select(pl.sum_horizontal(PARTS)).to_series() - made.rows["price_units"]
        assert explained.abs().max() < 1e-9


@given(day=days(), factor=st.sampled_from([1e-3, 0.37, 3.0, 1e4]))
@often(25)
def test_prices_do_not_depend_on_the_size_of_the_community(
    day: tuple[list[float], list[float], int], factor: float
) -> None:
    median, band, interval = day
    small = curve(net_load(median, zone=ZONE, interval_minutes=interval, band=band), zone=ZONE)
    grown = net_load(np.asarray(median) * factor, zone=ZONE, interval_minutes=interval, band=np.asarray(band) * factor)
    large = curve(grown, zone=ZONE)
    assert np.abs(small.unrounded - large.unrounded).max() < 1e-7


@given(day=days(), factor=st.sampled_from([0.01, 1.17, 7.46, 160.0]))
@often(25)
def test_prices_scale_with_the_currency(day: tuple[list[float], list[float], int], factor: float) -> None:
    median, band, interval = day
    frame = net_load(median, zone=ZONE, interval_minutes=interval, band=band)

    def converted(block: SupplyBlock) -> SupplyBlock:
        return block.model_copy(update={"price": block.price * factor})

    money = ("flat_rate", "floor", "cap", "capacity_price_per_kw_day", "carbon_price_per_t", "scarcity_price")
    other = ZONE.model_copy(
        update={name: getattr(ZONE, name) * factor for name in money}
        | {"supply": tuple(map(converted, ZONE.supply)), "export": tuple(map(converted, ZONE.export))}
    )
    here, there = curve(frame, zone=ZONE).unrounded, curve(frame, zone=other).unrounded
    assert np.abs(here * factor - there).max() < 1e-5 * factor  # a unit: bounds lie on each currency's grid


@given(day=days())
@often(25)
def test_more_net_load_never_costs_less(day: tuple[list[float], list[float], int]) -> None:
    median = np.abs(np.asarray(day[0]))
    zone = ZoneConfig(groups=(ProfileGroup(name="all", own_elasticity=0.1, shift_elasticity=0.0),))
    made = curve(net_load(median, zone=zone, interval_minutes=day[2], band=0.2 * median), zone=zone)
    by_load = made.unrounded[np.argsort(median)]
    assert np.diff(by_load).min() > -1e-7


def test_protected_people_pay_no_more_than_agreed() -> None:
    evening_weights = tuple([0.2] * 17 + [3.0] * 5 + [0.2] * 2)
    groups = (
        ProfileGroup(name="many", share=3.0),
        ProfileGroup(name="evening", share=1.0, hourly_weights=evening_weights, bill_protection=0.02),
    )
    zone = ZoneConfig(groups=groups)
    bare = ZoneConfig(groups=(groups[0], groups[1].model_copy(update={"bill_protection": None})))
    frame = net_load(EVENING, zone=zone, band=5.0)
    weights = np.array([3.0 * np.ones(24), np.array(evening_weights) / np.mean(evening_weights)])
    load = (weights / weights.sum(axis=0))[1] * np.asarray(EVENING)
    flat = zone.flat_rate * load.sum()
    assert load @ curve(frame, zone=bare).unrounded > 1.05 * flat  # without protection it would bite
    protected = curve(frame, zone=zone)
    assert protected.rows["rung"][0] == "welfare"
    assert load @ protected.unrounded <= 1.02 * flat * (1 + 1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda f: f.head(23), "not the even slots", id="a slot is absent"),
        pytest.param(
            lambda f: f.with_columns(pl.col("starts_at_utc").dt.offset_by("1h")), "not the even", id="shifted"
        ),
        pytest.param(lambda f: f.head(0), "no slots", id="empty"),
        pytest.param(lambda f: f.drop("q10"), "lacks", id="a quantile is absent"),
        pytest.param(lambda f: f.with_columns(q10=pl.col("q90") + 1), "crossing", id="crossing"),
        pytest.param(lambda f: f.with_columns(q50=pl.lit(None, dtype=pl.Float64)), "missing", id="null"),
        pytest.param(lambda f: f.with_columns(q90=pl.lit(float("nan"))), "missing", id="not a number"),
    ],
)
def test_an_unusable_forecast_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        curve(change(net_load(EVENING, zone=ZONE)), zone=ZONE)


def test_energy_alone_is_a_certain_load() -> None:
    frame = net_load(EVENING, zone=ZONE)
    energy = frame.select("starts_at_utc", energy_kwh="q50")
    assert curve(energy, zone=ZONE).rows.equals(curve(frame, zone=ZONE).rows)
    assert curve(energy, zone=ZONE).rows["risk_component"].abs().max() < 1e-3


def test_revision_and_time_of_publication_are_taken_as_given() -> None:
    when = datetime(2026, 5, 31, 18, tzinfo=UTC)
    made = curve(net_load(EVENING, zone=ZONE), zone=ZONE, revision=3, published_at_utc=when)
    assert made.rows["revision"].unique().to_list() == [3]
    assert made.rows["published_at_utc"].unique().to_list() == [when]
    assert made.day.select("delivery_date", "revision").row(0) == (DAY, 3)
