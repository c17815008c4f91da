"""Scores: consumption faults are named on the days they happen, clean days are quiet, and nothing sees the future."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.anomalies.calendar import SATURDAY, SUNDAY, WORKING_DAY, SiteCalendar, holidays_of, slot_calendar
from energy_assets.anomalies.events import merged_events
from energy_assets.anomalies.flags import judge
from energy_assets.anomalies.grid import grids_of
from energy_assets.anomalies.limits import Limits
from energy_assets.errors import ConfigError
from energy_assets_tests.anomalies.meters import METERS_EMPTY, MONDAY, clean_kwh, days_from, readings

DAY = 61  # a Saturday
QUIET = 0.02


def with_fault(name: str) -> np.ndarray:
    kwh = clean_kwh(days=DAY + 10)
    days = kwh.reshape(-1, 24)
    if name == "night":
        days[DAY + 3 : DAY + 6, :6] *= 4
    if name == "weekend":
        days[DAY : DAY + 2] = days[DAY - 4 : DAY - 2]
    if name == "level":
        days[DAY + 2 : DAY + 9] *= 1.4
    if name == "unit":
        days[DAY + 2 : DAY + 4] *= 3.412
    if name == "zone":
        kwh[(DAY + 2) * 24 : (DAY + 9) * 24] = kwh[(DAY + 2) * 24 - 6 : (DAY + 9) * 24 - 6].copy()
    if name == "hour":
        days[DAY + 2 : DAY + 9] = np.roll(days[DAY + 2 : DAY + 9], 1, axis=1)
    if name == "clock":
        days[DAY + 2 : DAY + 9] = np.roll(days[DAY + 2 : DAY + 9], 2, axis=1)
    return kwh


@pytest.mark.parametrize(
    ("fault", "rule", "first", "last"),
    [
        pytest.param("night", "night_left_on", DAY + 3, DAY + 5, id="night runs at 8 where 2 is usual"),
        pytest.param("weekend", "weekend_as_weekday", DAY, DAY + 1, id="Saturday and Sunday run as Tuesday"),
        pytest.param("level", "level_change", DAY + 4, DAY + 8, id="forty per cent more"),
        pytest.param("unit", "unit_shift", DAY + 2, DAY + 3, id="kBTU in the place of kWh"),
        pytest.param("clock", "clock_shift", DAY + 4, DAY + 6, id="clock two hours late"),
        pytest.param("hour", "clock_shift", DAY + 4, DAY + 6, id="clock an hour late"),
        pytest.param("zone", "clock_shift", DAY + 4, DAY + 6, id="the clock of a zone six hours away"),
    ],
)
def test_a_consumption_fault_is_named_on_its_days(fault: str, rule: str, first: int, last: int) -> None:
    flags = judge(readings({"a": with_fault(fault)}), meters=METERS_EMPTY, window=days_from(DAY, DAY + 9)).flags
    days = flags.filter(pl.col("rule") == rule).select(((pl.col("starts_at_utc") - MONDAY).dt.total_days()).unique())
    assert set(range(first, last + 1)) <= set(days["starts_at_utc"])
    assert flags.filter(pl.col("rule") == rule)["score"].min() > 0.5


@pytest.mark.parametrize(("fault", "hours"), [("hour", 1), ("clock", 2), ("zone", 6)])
def test_a_moved_clock_says_by_how_much(fault: str, hours: int) -> None:
    flags = judge(readings({"a": with_fault(fault)}), meters=METERS_EMPTY, window=days_from(DAY + 5)).flags
    reasons = flags.filter(pl.col("rule") == "clock_shift")["reason"]
    assert len(reasons)
    assert reasons.str.contains(f"fits best moved by {hours} h", literal=True).all()


def test_clean_meters_are_quiet() -> None:
    kwh = {f"m{seed}": clean_kwh(days=DAY + 28, seed=seed) for seed in range(6)}
    flags = judge(readings(kwh), meters=METERS_EMPTY, window=days_from(DAY, DAY + 27)).flags
    assert flags.height / (6 * 28 * 24) < QUIET


def test_too_short_a_history_stays_silent() -> None:
    kwh = clean_kwh(days=10)
    kwh[-24:] *= 3
    flags = judge(readings({"a": kwh}), meters=METERS_EMPTY, window=days_from(9)).flags
    assert flags.is_empty()


def test_a_data_fault_is_never_odd_consumption() -> None:
    kwh = clean_kwh(days=DAY + 4)
    kwh[(DAY + 2) * 24 : (DAY + 3) * 24] = 0
    flags = judge(readings({"a": kwh}), meters=METERS_EMPTY, window=days_from(DAY + 2)).flags
    assert set(flags["rule"]) == {"zero_run"}


def test_peers_that_move_together_explain_a_level() -> None:
    kwh = {f"m{seed}": clean_kwh(days=DAY + 6, seed=seed) for seed in range(8)}
    sway = np.repeat(1 + 0.25 * np.sin(np.arange(DAY + 6) / 5), 24)
    together = {name: values * sway for name, values in kwh.items()}
    meters = pl.DataFrame({"meter_id": list(kwh)}).with_columns(site_id=pl.lit("s"), commodity=pl.lit("gas"))
    alone = judge(readings({"m0": together["m0"]}), meters=meters, window=days_from(DAY, DAY + 5)).flags
    among = judge(readings(together), meters=meters, window=days_from(DAY, DAY + 5)).flags
    assert among.filter(pl.col("meter_id") == "m0").height <= alone.height


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_do_not_see_later_days(seed: int) -> None:
    random = np.random.default_rng(seed)
    kwh = clean_kwh(days=DAY + 4, seed=seed)
    changed = kwh.copy()
    changed[(DAY + 2) * 24 :] = random.uniform(0, 50, 48)
    past = [
        judge(readings({"a": values}), meters=METERS_EMPTY, window=days_from(DAY, DAY + 3), every_score=True)
        .scores.filter(pl.col("starts_at_utc") < MONDAY + pl.duration(days=DAY + 2))
        for values in (kwh, changed)
    ]  # fmt: skip
    assert past[0].equals(past[1])


@settings(max_examples=6, deadline=None)
@given(order=st.permutations(range(5)))
def test_order_of_rows_and_company_of_meters_change_nothing(order: list[int]) -> None:
    kwh = {f"m{seed}": with_fault(name) for seed, name in enumerate(("night", "weekend", "level", "unit", "clock"))}
    rows = readings(kwh)
    parts = [rows.filter(pl.col("meter_id") == f"m{number}") for number in order]
    window = days_from(DAY, DAY + 2)
    assert judge(pl.concat(parts), meters=METERS_EMPTY, window=window).flags.equals(
        judge(rows, meters=METERS_EMPTY, window=window).flags
    )


def test_forecasts_take_the_place_of_the_expectation() -> None:
    rows = readings({"a": clean_kwh(days=DAY + 1)})
    last = rows.filter(pl.col("starts_at_utc") >= days_from(DAY).starts_at_utc)
    forecasts = last.select(
        node_id="meter_id", starts_at_utc="starts_at_utc", interval_minutes="interval_minutes",
        issued_at_utc=pl.col("starts_at_utc").min(), q10=pl.lit(29.0), q50=pl.lit(30.0), q90=pl.lit(31.0),
    )  # fmt: skip
    limits = Limits(flag_strength=3)
    flags = judge(rows, meters=METERS_EMPTY, window=days_from(DAY), forecasts=forecasts, limits=limits).flags
    assert set(flags["expected_kwh"]) == {30.0}
    assert flags.height == 24


def test_weather_explains_the_level_of_a_heated_building() -> None:
    days = DAY + 6
    random = np.random.default_rng(3)
    temperature = 10 + 6 * random.standard_normal(days)
    heat = np.repeat(1 + 0.15 * np.maximum(15.5 - temperature, 0), 24)
    rows = readings({"a": clean_kwh(days=days) * heat})
    weather = pl.DataFrame(
        {
            "starts_at_utc": rows["starts_at_utc"],
            "temperature_c": np.repeat(temperature, 24),
        }
    )
    window = days_from(DAY, DAY + 5)
    blind = judge(rows, meters=METERS_EMPTY, window=window).flags
    seeing = judge(rows, meters=METERS_EMPTY, window=window, weather=weather).flags
    assert seeing["score"].sum() <= blind["score"].sum()


def test_the_site_clock_names_the_kind_of_day() -> None:
    grid = next(grids_of(readings({"a": clean_kwh(days=8)}), window=days_from(0, 7)))
    calendar = slot_calendar(
        grid, site=SiteCalendar(timezone="America/New_York", holidays=holidays_of("US", years=[2023, 2024]))
    )
    # 2024-01-01 00:00 UTC is Sunday evening in New York; the holiday of the first begins at 05:00 UTC.
    assert calendar.kind[0] == SUNDAY
    assert calendar.weekday[0] == 6
    assert calendar.kind[5] == SUNDAY
    assert calendar.kind[24 + 5] == WORKING_DAY
    assert calendar.kind[5 * 24 + 5] == SATURDAY
    assert calendar.offset_slots[0] == -5


def test_an_unknown_time_zone_says_what_to_do() -> None:
    grid = next(grids_of(readings({"a": clean_kwh(days=1)}), window=days_from(0)))
    with pytest.raises(ConfigError, match="IANA"):
        slot_calendar(grid, site=SiteCalendar(timezone="Mars/Olympus"))


def test_meters_of_a_premise_that_changed_places_are_both_named() -> None:
    office, shop = clean_kwh(days=DAY + 5), np.roll(clean_kwh(days=DAY + 5, seed=1, scale=0.4), 6)
    swapped = slice((DAY + 3) * 24, (DAY + 4) * 24)
    kwh = {"a": office.copy(), "b": shop.copy(), "c": clean_kwh(days=DAY + 5, seed=2)}
    kwh["a"][swapped], kwh["b"][swapped] = shop[swapped], office[swapped]
    meters = pl.DataFrame({"meter_id": ["a", "b", "c"]}).with_columns(
        premise_id=pl.lit("p"), site_id=pl.lit("s"), commodity=pl.lit("electricity")
    )
    flags = judge(readings(kwh), meters=meters, window=days_from(DAY + 2, DAY + 4)).flags
    named = flags.filter(pl.col("rule") == "swapped")
    assert set(named["meter_id"]) == {"a", "b"}
    assert set(named["starts_at_utc"].dt.date()) == {(MONDAY + pl.select(pl.duration(days=DAY + 3)).item()).date()}


def test_a_constant_offset_is_told_from_another_level() -> None:
    kwh = clean_kwh(days=DAY + 9)
    kwh[(DAY + 2) * 24 :] += 4
    flags = judge(readings({"a": kwh}), meters=METERS_EMPTY, window=days_from(DAY + 3, DAY + 6)).flags
    assert flags.group_by("rule").len().sort("len").row(-1)[0] == "constant_offset"


@pytest.mark.parametrize(
    ("rise", "days"),
    [
        pytest.param(lambda day: 0.2 * (day >= 0), 7, id="a tenth more baseload, all at once"),
        pytest.param(lambda day: 0.02 * np.maximum(day, 0), 21, id="a hundredth more baseload each day"),
    ],
)
def test_a_baseload_that_rises_becomes_an_alert_within_weeks(
    rise: Callable[[np.ndarray], np.ndarray], days: int
) -> None:
    kwh = clean_kwh(days=DAY + 2 + days)
    kwh += rise(np.arange(len(kwh)) // 24 - DAY - 2)
    rows = readings({"a": kwh})
    window = days_from(DAY + 2, DAY + 1 + days)
    found = judge(rows, meters=METERS_EMPTY, window=window)
    events = merged_events(found.flags, meters=METERS_EMPTY, as_of_utc=window.ends_at_utc, days=found.days)
    alerts = events.filter("is_alert")
    assert "level_change" in set(alerts["cause"]) | {"constant_offset"}
    assert (alerts["excess_kwh"] > 0).all()
    assert alerts.height > 0


@pytest.mark.parametrize("is_alike", [pytest.param(True, id="peers explain it"), pytest.param(False, id="no peers")])
def test_a_wrong_weather_feed_is_one_incident_and_not_one_event_a_building(*, is_alike: bool) -> None:
    random = np.random.default_rng(5)
    days = DAY + 4
    temperature = 10 + 6 * random.standard_normal(days)
    temperature[DAY + 2 :] = 6
    heat = np.repeat(1 + 0.15 * np.maximum(15.5 - temperature, 0), 24)
    rows = readings({f"m{n}": clean_kwh(days=days, seed=n) * heat for n in range(8)})
    told = temperature.copy()
    told[DAY + 2 :] = 15
    hours = rows.filter(pl.col("meter_id") == "m0")["starts_at_utc"]
    weather = pl.DataFrame({"starts_at_utc": hours, "temperature_c": np.repeat(told, 24)})
    meters = rows.select("meter_id").unique().with_columns(
        site_id=pl.lit("s"), interval_minutes=pl.lit(60),
        commodity=pl.lit("heat") if is_alike else pl.format("heat {}", "meter_id"),
    )  # fmt: skip
    window = days_from(DAY + 2, DAY + 3)
    found = judge(rows, meters=meters, window=window, weather=weather)
    events = merged_events(found.flags, meters=meters, as_of_utc=window.ends_at_utc, days=found.days)
    alerts = events.filter("is_alert")
    assert alerts.filter(pl.col("meter_id").is_not_null()).is_empty()
    assert alerts["meters"].to_list() == ([] if is_alike else [8])
