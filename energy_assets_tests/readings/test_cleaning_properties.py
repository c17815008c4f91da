"""What cleaning never does: lose or make energy, depend on order or repetition, or on how a span is cut into days."""

from __future__ import annotations

import itertools
import random
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.contracts import Window
from energy_assets_tests.readings.cleaner import MIDNIGHT, Cleaner, Reading, meter, raw

DAYS = 4
SPAN = Window(starts_at_utc=MIDNIGHT, ends_at_utc=MIDNIGHT + timedelta(days=DAYS))
HISTORY = timedelta(days=25)

steps_kwh = st.floats(0, 20, allow_nan=False, width=32).map(lambda value: round(value, 3))


@st.composite
def register_readings(draw: st.DrawFn) -> list[Reading]:
    """A register that only counts up, read at odd times with gaps, from before the span until after it."""
    minutes = draw(st.lists(st.integers(1, 3000), min_size=2, max_size=25))
    steps = draw(st.lists(steps_kwh, min_size=len(minutes), max_size=len(minutes)))
    at, value, readings = MIDNIGHT - timedelta(hours=5), draw(st.floats(0, 5000)), []
    for gap, step in zip(minutes, steps, strict=True):
        readings.append((at, value))
        at, value = at + timedelta(minutes=gap), value + step
    return [*readings, (at, value)]


@st.composite
def rough_readings(draw: st.DrawFn) -> list[Reading]:
    """Readings with everything that happens: odd times, repeats, zeros, falls, leaps, long gaps."""
    rng = random.Random(draw(st.integers(0, 10**9)))
    at, value, readings = MIDNIGHT - HISTORY, 1000.0, []
    cadence = rng.choice([15, 60, 60, 60])
    while at < SPAN.ends_at_utc + timedelta(days=3):
        value += rng.choice([0.0, 0.2, 1.0, 3.0, 5.0])
        chance = rng.random()
        if chance < 0.01:
            value = rng.choice([0.0, 3.0, 700.0, 99_990.0])
        shown = rng.choice([0.0, value * 300, value - 0.5]) if 0.01 < chance < 0.03 else value
        readings.append((at + timedelta(minutes=rng.choice([0] * 30 + [3, 7])), shown))
        if 0.05 < chance < 0.06:
            readings.append((at, shown + 1))
        at += timedelta(minutes=cadence * (rng.choice([30, 200, 700]) if 0.1 < chance < 0.105 else 1))
    return readings


@pytest.fixture(scope="module")
def cleaner() -> Cleaner:
    return Cleaner()


@given(readings=register_readings(), interval_minutes=st.sampled_from([15, 60]))
def test_a_register_loses_no_energy(cleaner: Cleaner, readings: list[Reading], interval_minutes: int) -> None:
    one = meter(measure="register", interval_minutes=interval_minutes, capacity_kw=1e7)
    cleaner.fill([one], [raw(one, readings)])
    rows = cleaner.clean(SPAN.padded(before=timedelta(days=1), after=timedelta(days=60)))
    known = rows.drop_nulls("energy_kwh")
    if known.is_empty():
        return
    step = timedelta(minutes=interval_minutes)
    first, last = known["starts_at_utc"].min(), known["starts_at_utc"].max() + step
    # A month of spread energy stays below the reach; every interval between the first and last reading is known.
    assert known.height == (last - first) / step
    assert known["energy_kwh"].sum() == pytest.approx(_shown(readings, last) - _shown(readings, first), abs=1e-6)
    assert (known["energy_kwh"] >= 0).all()


def _shown(readings: list[Reading], at: object) -> float:
    """What the register showed at an instant, on straight lines between its readings."""
    for (before, low), (after, high) in itertools.pairwise(readings):
        if before <= at <= after:
            return low + (high - low) * ((at - before) / (after - before))
    raise AssertionError("the interval lies outside the readings")


@settings(max_examples=25)
@given(
    readings=rough_readings(),
    measure=st.sampled_from(["interval_energy", "power", "register", "register"]),
    commodity=st.sampled_from(["electricity", "steam"]),
)
def test_days_alone_are_as_within_the_span(
    cleaner: Cleaner, readings: list[Reading], measure: str, commodity: str
) -> None:
    one = meter(measure=measure, unit="kW" if measure == "power" else "kWh", commodity=commodity)
    cleaner.fill([one], [raw(one, readings)])
    whole = cleaner.clean(SPAN)
    days = [
        cleaner.clean(
            Window(starts_at_utc=MIDNIGHT + timedelta(days=day), ends_at_utc=MIDNIGHT + timedelta(days=day + 1))
        )
        for day in range(DAYS)
    ]
    _assert_same(pl.concat(days), whole)


@settings(max_examples=15)
@given(
    readings=rough_readings(),
    measure=st.sampled_from(["interval_energy", "power", "register"]),
    seed=st.integers(0, 1000),
)
def test_order_and_other_meters_change_nothing(
    cleaner: Cleaner, readings: list[Reading], measure: str, seed: int
) -> None:
    one = meter(measure=measure, unit="kW" if measure == "power" else "kWh")
    other = meter("a.0.electricity")
    rows = raw(one, readings)
    cleaner.fill([one], [rows])
    first = cleaner.clean(SPAN)
    cleaner.fill([one, other], [rows.sample(fraction=1, shuffle=True, seed=seed), raw(other, readings[::2])])
    _assert_same(cleaner.clean(SPAN).filter(pl.col("meter_id") == one["meter_id"]), first)


def _assert_same(one: pl.DataFrame, two: pl.DataFrame) -> None:
    exact = [name for name in one.columns if not name.endswith("_kwh")]
    assert one.select(exact).equals(two.select(exact))
    for name in ("reported_kwh", "energy_kwh"):
        assert one[name].is_null().equals(two[name].is_null())
        assert ((one[name] - two[name]).abs().max() or 0) <= 1e-9 * (1 + (two[name].abs().max() or 0))
