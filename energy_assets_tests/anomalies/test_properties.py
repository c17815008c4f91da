"""What must hold whatever the meter: scale, severity, causality with a planted leak, faults that stay faults, price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from energy_assets.anomalies import flags as flags_module
from energy_assets.anomalies.detect import Detection, detect
from energy_assets.anomalies.flags import judge
from energy_assets.anomalies.grid import Grid
from energy_assets.anomalies.vocabulary import RULES
from energy_assets.contracts import METERS
from energy_assets_tests.anomalies.meters import MONDAY, clean_kwh, days_from, readings

DAYS = 34
SEVERITIES = ["low", "medium", "high", "critical"]


def found_in(kwh: np.ndarray, **more: Any) -> Detection:
    rows = readings({"a": kwh}).select("meter_id", "starts_at_utc", energy_kwh="reported_kwh")
    return detect(rows, **more)


def with_faults(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    kwh = clean_kwh(days=DAYS, seed=seed)
    days = kwh.reshape(-1, 24)
    at = int(random.integers(20, 28))
    days[at : at + 3, :6] *= random.uniform(2, 6)
    days[at + 4 :] *= random.uniform(0.6, 1.7)
    kwh[int(random.integers(16 * 24, 19 * 24))] = random.uniform(20, 90)
    kwh[19 * 24 : 19 * 24 + int(random.integers(1, 20))] = random.choice([np.nan, 0.0, 4.4])
    return kwh


@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), power=st.integers(-12, 12))
def test_scaling_a_meter_scales_its_events_and_moves_none(seed: int, power: int) -> None:
    plain, scaled = found_in(with_faults(seed)), found_in(with_faults(seed) * 2.0**power)
    same = ["event_id", "meter_id", "cause", "starts_at_utc", "ends_at_utc", "severity", "score", "is_alert"]
    assert scaled.events.select(same).equals(plain.events.select(same))
    assert scaled.flags.select("starts_at_utc", "rule", "score").equals(
        plain.flags.select("starts_at_utc", "rule", "score")
    )
    for name in ("expected_kwh", "actual_kwh", "excess_kwh", "excess_low_kwh", "excess_high_kwh"):
        ours, theirs = scaled.events[name], plain.events[name] * 2.0**power
        assert ours.is_null().equals(theirs.is_null())
        np.testing.assert_allclose(ours.drop_nulls(), theirs.drop_nulls(), rtol=1e-9)


@settings(max_examples=4)
@given(seed=st.integers(0, 10_000), factor=st.sampled_from([3.412, 0.001, 1000.0, 7.3]))
def test_any_other_scale_moves_no_flag_either(seed: int, factor: float) -> None:
    plain, scaled = found_in(with_faults(seed)), found_in(with_faults(seed) * factor)
    assert scaled.flags.select("starts_at_utc", "rule").equals(plain.flags.select("starts_at_utc", "rule"))


@settings(max_examples=8)
@given(
    seed=st.integers(0, 1000), slot=st.integers(20 * 24, 33 * 24 - 1), factor=st.floats(1.05, 60),
    worse=st.floats(1.01, 20), price=st.sampled_from([None, 0.05, 3.0]),
)  # fmt: skip
def test_a_worse_spike_is_never_less_severe(
    seed: int, slot: int, factor: float, worse: float, price: float | None
) -> None:
    prices = None
    if price is not None:
        times = [MONDAY + timedelta(hours=number) for number in range(24 * DAYS)]
        prices = pl.DataFrame({"starts_at_utc": times, "price_per_kwh": [price] * len(times)})

    def severity(kwh: float) -> int:
        values = clean_kwh(days=DAYS, seed=seed)
        values[slot] = kwh
        events = found_in(values, prices=prices).events
        at = MONDAY + timedelta(hours=slot)
        over = events.filter(pl.col("starts_at_utc") <= at, pl.col("ends_at_utc") > at, pl.col("family") != "under")[
            "severity"
        ]
        return max((SEVERITIES.index(name) for name in over), default=-1)

    assert severity(10 * factor * worse) >= severity(10 * factor)


def sees_the_future(seed: int) -> bool:
    """Return whether what happens later changes what was judged before: each of four days, by exact comparison."""
    random = np.random.default_rng(seed)
    kwh = clean_kwh(days=30, seed=seed)
    changed = kwh.copy()
    changed[28 * 24 :] = random.uniform(0, 50, 48)
    changed[28 * 24 + 5 : 28 * 24 + 9] = np.nan
    past = [
        judge(readings({"a": values}), meters=METERS.empty(), window=days_from(24, 29), every_score=True)
        for values in (kwh, changed)
    ]
    before = pl.col("starts_at_utc") < MONDAY + timedelta(days=28)
    return not all(
        getattr(past[0], name).filter(before).equals(getattr(past[1], name).filter(before))
        for name in ("flags", "scores", "days")
    )


@settings(max_examples=4)
@given(seed=st.integers(0, 10_000))
def test_nothing_sees_the_future(seed: int) -> None:
    assert not sees_the_future(seed)


def test_a_planted_leak_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = flags_module.judged_days

    def leaking(grid: Grid, **more: Any) -> Iterator[Any]:
        ahead = np.roll(grid.used_kwh, -grid.slots_per_day, axis=1)
        yield from honest(replace(grid, used_kwh=0.9 * grid.used_kwh + 0.1 * ahead), **more)

    monkeypatch.setattr(flags_module, "judged_days", leaking)
    assert sees_the_future(1)


@settings(max_examples=8)
@given(
    seed=st.integers(0, 10_000),
    faults=st.lists(
        st.tuples(
            st.sampled_from(["gap", "zero", "stuck", "spike", "reset"]), st.integers(18 * 24, 33 * 24),
            st.integers(8, 60),
        ),
        min_size=1, max_size=3,
    ),
)  # fmt: skip
def test_faults_of_the_data_never_become_alarms_of_consumption(seed: int, faults: list[tuple[str, int, int]]) -> None:
    kwh = clean_kwh(days=DAYS, seed=seed)
    wrong = np.zeros(len(kwh), dtype=bool)
    for name, first, length in faults:
        at = slice(first, first + (1 if name in {"spike", "reset"} else length))
        assume(not wrong[at].any())
        kwh[at] = {"gap": np.nan, "zero": 0.0, "stuck": 7.77, "spike": 80.0, "reset": -9000.0}[name]
        wrong[at] = True
    found = found_in(kwh)
    consumption = [name for name, rule in RULES.items() if rule.family == "consumption"]
    slots = ((found.flags["starts_at_utc"] - MONDAY).dt.total_hours()).to_numpy()
    is_fault = (~found.flags["rule"].is_in(consumption)).to_numpy()
    assert not set(slots[is_fault]) & set(slots[~is_fault])
    alerts = found.events.filter("is_alert", pl.col("family") != "data_fault")
    for start, end in alerts.select("starts_at_utc", "ends_at_utc").iter_rows():
        first, last = (int((moment - MONDAY) / timedelta(hours=1)) for moment in (start, end))
        # The tail of a stuck run that the day's end cuts short of being one is all that may be left.
        assert not wrong[first:last].mean() > 0.5


@settings(max_examples=6)
@given(seed=st.integers(0, 1000), share=st.floats(0.3, 0.6))
def test_load_that_moved_to_cheap_hours_is_no_anomaly(seed: int, share: float) -> None:
    kwh = clean_kwh(days=DAYS, seed=seed)
    days = kwh.reshape(-1, 24)
    moved = share * days[30, 8:18].copy()
    days[30, 8:18] -= moved
    days[30, 0:5] += moved.sum() / 5
    times = [MONDAY + timedelta(hours=hour) for hour in range(24 * DAYS)]
    cheap = [0.1 if hour % 24 < 6 else 0.4 for hour in range(24 * DAYS)]
    prices = pl.DataFrame({"starts_at_utc": times, "price_per_kwh": cheap})
    day = MONDAY + timedelta(days=30)

    def on_the_day(found: Detection) -> pl.DataFrame:
        return found.events.filter(
            pl.col("starts_at_utc") < day + timedelta(days=1), pl.col("ends_at_utc") > day, pl.col("is_alert")
        )

    dear = prices.with_columns(price_per_kwh=0.5 - pl.col("price_per_kwh"))
    assert on_the_day(found_in(kwh, prices=prices)).is_empty()
    assert on_the_day(found_in(kwh, prices=dear)).height > 0
