"""Savings: changes that are known come out, none where there was none, nothing leaks back, and data are judged."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import ModelError
from energy_assets.features.calendar import Place
from energy_assets.models.counterfactual import Baseline, described_slots
from energy_assets.models.savings import (
    Savings,
    fit_of,
    guideline_uncertainty_kwh,
    measure_savings,
    uncertainty_kwh,
)

FIRST = datetime(2022, 1, 3, tzinfo=UTC)
PLACE = Place(timezone="Europe/Berlin", country_code="DE", latitude=52.5, longitude=13.4)
DAYS = 430
CHANGED = FIRST + timedelta(days=368)


@cache
def world(seed: int = 1) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hourly readings of an office that is heated below 15 degrees, with luck that lasts for days; and its weather."""
    random = np.random.default_rng(seed)
    hours = np.arange(DAYS * 24)
    times = pl.Series([FIRST + timedelta(hours=int(hour)) for hour in hours], dtype=UTC_TIME)
    local = times.dt.convert_time_zone(PLACE.timezone)
    weekday, hour = local.dt.weekday().to_numpy(), local.dt.hour().to_numpy()
    lasting = np.convolve(random.normal(size=DAYS + 20), np.exp(-np.arange(10) / 3), mode="same")[:DAYS]
    warmth = 10 - 9 * np.cos(2 * np.pi * hours / 8766) + 4 * np.sin(2 * np.pi * (hours - 9) / 24)
    warmth += 2 * np.repeat(lasting, 24)
    busy = (weekday <= 5) & (hour >= 7) & (hour < 18)
    load = 20 + 40 * busy + 3 * np.maximum(15 - warmth, 0)
    luck = np.convolve(random.normal(size=DAYS + 20), np.exp(-np.arange(12) / 4), mode="same")[:DAYS]
    load = load * (1 + 0.02 * np.repeat(luck, 24) + 0.04 * random.normal(size=len(hours)))
    readings = pl.DataFrame({"starts_at_utc": times, "energy_kwh": load})
    return readings, pl.DataFrame({"starts_at_utc": times, "temperature_c": warmth})


def saved(readings: pl.DataFrame, *, weather: pl.DataFrame | None, **given: object) -> Savings:
    settings: dict[str, object] = {"place": PLACE, "interval_minutes": 60, "changed_at_utc": CHANGED, **given}
    return measure_savings(readings, weather=weather, **settings)  # type: ignore[arg-type]


def after(factor: float, *, seed: int = 1) -> pl.DataFrame:
    changed = pl.when(pl.col("starts_at_utc") >= CHANGED).then(factor).otherwise(1.0)
    return world(seed)[0].with_columns(pl.col("energy_kwh") * changed)


@pytest.mark.parametrize(
    ("factor", "is_sure"),
    [
        pytest.param(0.85, True, id="fifteen percent saved"),
        pytest.param(1.0, False, id="nothing done"),
        pytest.param(1.15, True, id="fifteen percent more"),
    ],
)
def test_a_known_change_comes_out(factor: float, is_sure: bool) -> None:
    found = saved(after(factor), weather=world()[1])
    assert found.saved_share == pytest.approx(1 - factor, abs=0.03)
    true_kwh = found.measured_kwh * (1 / factor - 1)
    assert found.low_kwh < true_kwh < found.high_kwh
    assert (found.low_kwh > 0 or found.high_kwh < 0) == is_sure
    assert found.saved_kwh == pytest.approx(found.expected_kwh - found.measured_kwh)
    assert found.monthly["saved_kwh"].sum() == pytest.approx(found.saved_kwh)
    assert found.cv_rmse < 0.12
    assert abs(found.nmbe) < 0.02
    assert found.is_sufficient == is_sure  # an uncertainty of half the savings is all that is wrong with none
    assert found.cv_rmse == pytest.approx(min(found.candidates.values()), rel=0.01)


def test_the_interval_holds_its_claim_where_nothing_changed() -> None:
    """Six offices whose luck lasts for days, two winter months before and three weeks after."""
    inside = 0
    for seed in range(6):
        readings, weather = world(100 + seed)
        found = saved(
            readings,
            weather=weather,
            changed_at_utc=FIRST + timedelta(days=60),
            ends_at_utc=FIRST + timedelta(days=81),
            confidence=0.9,
        )
        inside += found.low_kwh <= 0 <= found.high_kwh
    assert inside >= 5


def test_what_was_read_after_the_change_enters_nothing_but_the_difference() -> None:
    end = CHANGED + timedelta(days=20)
    plain = saved(world()[0], weather=world()[1], ends_at_utc=end)
    other = saved(after(7.0), weather=world()[1], ends_at_utc=end)
    assert other.slots["expected_kwh"].equals(plain.slots["expected_kwh"])
    assert other.measured_kwh == pytest.approx(7 * plain.measured_kwh)
    assert plain.slots["starts_at_utc"].max() == end - timedelta(hours=1)


def test_works_that_took_a_month_are_in_neither_period() -> None:
    works = CHANGED - timedelta(days=30)
    odd = pl.when(pl.col("starts_at_utc").is_between(works, CHANGED, closed="left")).then(1000.0)
    readings = world()[0].with_columns(energy_kwh=odd.otherwise("energy_kwh"))
    found = saved(readings, weather=world()[1], baseline_until_utc=works)
    assert found.saved_share == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        pytest.param({"baseline_until_utc": FIRST + timedelta(days=200)}, "the baseline spans 200 days", id="short"),
        pytest.param({"gaps": 0.2}, "% of the baseline was read", id="gaps"),
        pytest.param({"weather": None}, "the temperature of 0.0% of the slots is known", id="no weather"),
        pytest.param({"cold": 25.0}, "was colder or warmer than the whole baseline", id="another climate"),
        pytest.param({"noise": 1.0}, "CV(RMSE) of the slots", id="unruly"),
    ],
)
def test_data_that_do_not_suffice_are_named(change: dict[str, object], failing: str) -> None:
    readings, weather = after(0.8), world()[1]
    given = dict(change)
    random = np.random.default_rng(3)
    if "gaps" in given:
        gone = random.uniform(size=readings.height) < given.pop("gaps")  # type: ignore[operator]
        readings = readings.with_columns(energy_kwh=pl.when(~pl.Series(gone)).then("energy_kwh"))
    if "noise" in given:
        factor = random.lognormal(0, given.pop("noise"), readings.height)  # type: ignore[arg-type]
        readings = readings.with_columns(pl.col("energy_kwh") * pl.Series(factor))
    if "cold" in given:
        moved = pl.when(pl.col("starts_at_utc") >= CHANGED).then(given.pop("cold")).otherwise(0.0)  # type: ignore[arg-type]
        weather = weather.with_columns(pl.col("temperature_c") - moved)
    found = saved(readings, **{"weather": weather, **given})  # type: ignore[arg-type]
    assert not found.is_sufficient
    assert any(failing in claim.text for claim in found.claims if not claim.holds), found.claims


def test_fit_is_that_of_the_guideline() -> None:
    rows = pl.DataFrame({"energy_kwh": [10.0, 10.0, 20.0], "expected_kwh": [9.0, 11.0, 17.0]})
    # Errors 1, -1 and 3 on a mean of 40/3.
    assert fit_of(rows) == (pytest.approx((11 / 3) ** 0.5 / (40 / 3)), pytest.approx(1 / (40 / 3)))


def baseline_with(errors: list[float], *, slots_per_block: int = 28 * 24) -> Baseline:
    """A baseline whose error is constant within each of its blocks."""
    unseen = pl.concat(
        pl.DataFrame({"energy_kwh": [10.0 + error] * slots_per_block, "expected_kwh": 10.0, "block": block})
        for block, error in enumerate(errors)
    )
    return Baseline(name="x", predict=lambda slots: np.zeros(slots.height), unseen=unseen, block_days=28, cv_rmse={})


def test_the_uncertainty_of_a_sum_worked_by_hand() -> None:
    # Errors of a tenth of the energy up and down in turn: s = 0.1, no lasting correlation (it is negative), n = 4. A
    # block ahead: variance s² (1 + 1 / 4). Student's t with 4 degrees at 95 % is 2.1318.
    baseline = baseline_with([1.0, -1.0, 1.0, -1.0])
    given = {"per_day": 24, "confidence": 0.9}
    found = uncertainty_kwh(baseline, expected_kwh=6720.0, slots=672, **given)  # type: ignore[arg-type]
    assert found == pytest.approx(2.13185 * 0.1 * 6720 * (1 + 1 / 4) ** 0.5, rel=1e-4)
    # What is common to all blocks does not cancel: of two blocks ahead the variance is s² (1 / 2 + 1 / 4) of twice the
    # energy.
    twice = uncertainty_kwh(baseline, expected_kwh=2 * 6720.0, slots=2 * 672, **given)  # type: ignore[arg-type]
    assert twice / found == pytest.approx(2 * (0.75 / 1.25) ** 0.5)
    # The same errors in an order in which they last make it wider.
    lasting = baseline_with([1.0, 1.0, -1.0, -1.0] * 2)
    in_turn = baseline_with([1.0, -1.0] * 4)
    one, other = (uncertainty_kwh(each, expected_kwh=6720.0, slots=672, **given) for each in (lasting, in_turn))  # type: ignore[arg-type]
    assert one > 1.1 * other


def test_the_guidelines_formula_worked_by_hand() -> None:
    # Errors +1 and -1 in turn have a negative correlation, which counts as none: n' = n = 100, so that
    # 1.26 t 1 sqrt((1 + 2 / 100) / 25) 25 kWh with t = 1.6602.
    rows = pl.DataFrame({"energy_kwh": [11.0, 9.0] * 50, "expected_kwh": [10.0] * 100})
    found = guideline_uncertainty_kwh(rows, slots=25, confidence=0.9)
    assert found == pytest.approx(1.26 * 1.66023 * (1.02 / 25) ** 0.5 * 25, rel=1e-4)


def test_slots_know_their_calendar_and_the_weather_before() -> None:
    times = pl.Series([FIRST + timedelta(minutes=15 * index) for index in range(4 * 48)], dtype=UTC_TIME)
    hours = pl.Series([FIRST - timedelta(hours=80) + timedelta(hours=index) for index in range(128)], dtype=UTC_TIME)
    weather = pl.DataFrame({"starts_at_utc": hours, "temperature_c": np.arange(128.0)})
    slots = described_slots(times, place=PLACE, weather=weather)
    # 2022-01-03 00:00 UTC is hour 80 of the weather and one o'clock in Berlin; the mean of hours 57 to 80 is 68.5.
    first = slots.row(0, named=True)
    assert (first["temperature_c"], first["temperature_24h_c"], first["local_hour"]) == (80.0, 68.5, 1.0)
    assert slots["temperature_c"].to_list()[:5] == [80.0] * 4 + [81.0]
    assert slots["dew_point_c"].null_count() == slots.height


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(FIRST + timedelta(days=20), id="too little before"),
        pytest.param(FIRST + timedelta(days=900), id="nothing after"),
    ],
)
def test_without_readings_on_both_sides_it_says_what_is_missing(changed: datetime) -> None:
    with pytest.raises(ModelError, match="Savings need 28 days of readings before"):
        saved(world()[0], weather=None, changed_at_utc=changed)


def test_the_same_input_gives_the_same_bits() -> None:
    short = {"changed_at_utc": FIRST + timedelta(days=60), "ends_at_utc": FIRST + timedelta(days=80)}
    one, other = (saved(world()[0], weather=world()[1], **short) for _ in range(2))
    assert one.slots.equals(other.slots)
    assert replace(one, slots=other.slots, monthly=other.monthly) == other
