"""Exact rules: each fault is named, in its own slots only, and a day's flags depend on no later day."""

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from energy_assets.anomalies.flags import judge
from energy_assets.anomalies.vocabulary import RULES, reasons_without_a_rule, rule_of_reason
from energy_assets.contracts import ANOMALIES_FLAGS, METERS, Window
from energy_assets.readings.quality import REASONS
from energy_assets_tests.anomalies.meters import METERS_EMPTY, MONDAY, clean_kwh, days_from, readings, slots_of

DAY = 60  # a Friday: 60 % 7 = 4
NOON = DAY * 24 + 12


def flagged(kwh: np.ndarray, window: Window | None = None) -> pl.DataFrame:
    exact = [name for name, rule in RULES.items() if rule.family != "consumption"]
    flags = judge(readings({"a": kwh}), meters=METERS_EMPTY, window=window or days_from(DAY)).flags
    return flags.filter(pl.col("rule").is_in(exact))


@pytest.mark.parametrize(
    ("rule", "slots", "value"),
    [
        pytest.param("gap", range(NOON, NOON + 3), np.nan, id="three readings absent"),
        pytest.param("negative", [NOON], -3.0, id="negative of ordinary size"),
        pytest.param("register_reset", [NOON], -5_000.0, id="a register's whole content taken back"),
        pytest.param("zero_run", [NOON], 0.0, id="a single zero on a meter that knows none"),
        pytest.param("stuck", range(NOON, NOON + 8), 9.7, id="eight equal hours by day"),
        pytest.param("spike", [NOON], 45.0, id="four times the usual peak for an hour"),
        pytest.param("unit_shift", range(NOON, NOON + 8), 10_000.0, id="Wh in the place of kWh"),
    ],
)
def test_a_fault_is_named_in_its_own_slots(rule: str, slots: range | list[int], value: float) -> None:
    kwh = clean_kwh(days=DAY + 1)
    kwh[list(slots)] = value
    if rule == "unit_shift":
        kwh[list(slots)] += np.arange(8)  # a constant would be stuck as well
    flags = flagged(kwh)
    assert set(flags["rule"]) == {rule}
    assert slots_of(flags, rule) == list(slots)


def test_a_clean_meter_has_no_flag() -> None:
    assert flagged(clean_kwh(days=DAY + 14), days_from(DAY, DAY + 13)).is_empty()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        pytest.param({"usual": 0.0, "hours": 5}, "zero_run", id="zeros every night"),
        pytest.param({"usual": 1.5, "hours": 5}, "stuck", id="the same value every night"),
        pytest.param({"usual": -1.0, "hours": 5}, "negative", id="feeds back every night"),
    ],
)
def test_what_a_meter_always_does_is_no_fault(change: dict[str, float], rule: str) -> None:
    kwh = clean_kwh(days=DAY + 1)
    kwh.reshape(-1, 24)[:, : int(change["hours"])] = change["usual"]
    assert slots_of(flagged(kwh), rule) == []


def test_capacity_makes_a_reading_impossible() -> None:
    kwh = clean_kwh(days=DAY + 1)
    kwh[NOON] = 14.0  # 14 kWh in an hour on a 12 kW connection, 10 % allowed: 13.2
    meters = METERS.conform(
        pl.DataFrame(
            {
                "meter_id": ["a"], "premise_id": ["p"], "site_id": ["s"], "commodity": ["electricity"],
                "direction": ["consumption"], "measure": ["interval_energy"], "unit": ["kWh"],
                "interval_minutes": [60], "capacity_kw": [12.0], "source": ["test"],
            }
        )
    )  # fmt: skip
    flags = judge(readings({"a": kwh}), meters=meters, window=days_from(DAY)).flags
    assert slots_of(flags, "impossible") == [NOON]
    assert "14.0 kWh" in flags.filter(pl.col("rule") == "impossible")["reason"].item()


def test_marks_of_cleaning_become_flags_with_the_same_meaning() -> None:
    rows = readings({"a": clean_kwh(days=DAY + 1)}).with_columns(
        quality=pl.when(pl.col("starts_at_utc") == MONDAY + pl.duration(hours=NOON))
        .then(pl.lit("missing")).otherwise("quality"),
        reason=pl.when(pl.col("starts_at_utc") == MONDAY + pl.duration(hours=NOON)).then(pl.lit("register_reset")),
    )  # fmt: skip
    flags = judge(rows, meters=METERS_EMPTY, window=days_from(DAY)).flags
    assert slots_of(flags, "register_reset") == [NOON]
    assert flags["score"].to_list() == [1.0]


@pytest.mark.parametrize(
    ("reason", "rule"),
    [
        pytest.param("gap", "gap", id="gap"),
        pytest.param("above_capacity", "impossible", id="capacity"),
        pytest.param("register_reset", "register_reset", id="reset"),
        pytest.param("spread over a gap of 3 h", "spread", id="spread before gap"),
        pytest.param("site_0_zero_run", "zero_run", id="zero run"),
        pytest.param("something_else", "refused", id="a reason without a rule"),
    ],
)
def test_every_reason_has_a_rule(reason: str, rule: str) -> None:
    assert rule_of_reason(reason) == rule


def test_a_late_reading_says_how_late() -> None:
    rows = readings({"a": clean_kwh(days=DAY + 1)}).with_columns(
        available_at_utc=pl.when(pl.col("starts_at_utc") == MONDAY + pl.duration(hours=NOON))
        .then(pl.col("available_at_utc") + pl.duration(hours=72)).otherwise("available_at_utc")
    )  # fmt: skip
    flags = judge(rows, meters=METERS_EMPTY, window=days_from(DAY)).flags
    assert slots_of(flags, "late") == [NOON]
    assert "72.0 h" in flags["reason"].item()


@pytest.mark.parametrize("interval_minutes", [15, 30, 60])
def test_cadences_are_judged_alike(interval_minutes: int) -> None:
    per_hour = 60 // interval_minutes
    kwh = clean_kwh(days=DAY + 1, interval_minutes=interval_minutes)
    kwh[NOON * per_hour : (NOON + 8) * per_hour] = 9.7 / per_hour
    rows = readings({"a": kwh}, interval_minutes=interval_minutes)
    flags = judge(rows, meters=METERS_EMPTY, window=days_from(DAY)).flags
    assert flags.filter(pl.col("rule") == "stuck").height == 8 * per_hour


def faulty(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    kwh = clean_kwh(days=DAY + 5, seed=seed)
    for value in (np.nan, 0.0, 9.7, 60.0, -4.0, 20_000.0):
        at = random.integers(DAY * 24 - 30, len(kwh) - 20)
        kwh[at : at + random.integers(1, 40)] = value
    return kwh


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
@example(seed=1061)  # a run that began before what one day alone can see
def test_many_days_equal_their_days_one_by_one_and_never_see_the_future(seed: int) -> None:
    kwh = faulty(seed)
    whole = judge(readings({"a": kwh}), meters=METERS_EMPTY, window=days_from(DAY, DAY + 4)).flags
    single = [
        judge(readings({"a": kwh[: (day + 1) * 24]}), meters=METERS_EMPTY, window=days_from(day)).flags
        for day in range(DAY, DAY + 5)
    ]
    assert whole.equals(pl.concat(single).sort(ANOMALIES_FLAGS.key))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), power=st.integers(-6, 9))
def test_scaling_a_meter_moves_no_flag(seed: int, power: int) -> None:
    kwh = faulty(seed)
    plain = judge(readings({"a": kwh}), meters=METERS_EMPTY, window=days_from(DAY, DAY + 4)).flags
    scaled = judge(readings({"a": kwh * 2.0**power}), meters=METERS_EMPTY, window=days_from(DAY, DAY + 4)).flags
    assert scaled.select("starts_at_utc", "rule", "score").equals(plain.select("starts_at_utc", "rule", "score"))


@pytest.mark.parametrize(
    ("reason", "rule"),
    [
        pytest.param("known_false_zero", "zero_run", id="a zero that is known to be false"),
        pytest.param("conflict", "duplicate", id="several values"),
        pytest.param("register_exchange", "register_reset", id="another meter"),
        pytest.param("partial", "partial", id="part of an interval"),
    ],
)
def test_every_reason_that_cleaning_gives_has_its_rule(reason: str, rule: str) -> None:
    assert rule_of_reason(reason) == rule
    assert reasons_without_a_rule(REASONS) == []
    own_rules = {reason: rule_of_reason(reason) for reason in REASONS if reason in RULES}
    assert all(reason == rule for reason, rule in own_rules.items())


def test_a_reason_without_a_rule_is_named() -> None:
    assert reasons_without_a_rule(["gap", "eaten by mice", "register_jump"]) == ["eaten by mice"]


def test_a_leap_of_a_register_says_so() -> None:
    assert RULES["register_jump"].sentence != RULES["register_reset"].sentence
    assert rule_of_reason("the register made a jump") == "register_jump"
