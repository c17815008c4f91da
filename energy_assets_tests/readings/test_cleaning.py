"""Interval energy and power by hand: units, gaps, conflicts, cadences, what is refused and why."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from energy_assets.contracts import Window
from energy_assets.contracts.metering import MEASURES, UNITS
from energy_assets.metering.units import energy_factor
from energy_assets.readings.cleaning import changed_window
from energy_assets.readings.known_dirt import KNOWN_DIRT_SCHEMA
from energy_assets_tests.readings.cleaner import DAY, MIDNIGHT, Cleaner, cleaned, every, hour, meter, raw

LAST_HOUR = 23


def before(days: int, *, cadence: int = 60, value: float = 2.0) -> list[tuple[datetime, float]]:
    """Readings that vary a little around `value` on the days before the day."""
    slots = days * 24 * 60 // cadence
    values = [value * (1 + 0.1 * (at % 5)) for at in range(slots)]
    return every(cadence, values, start=MIDNIGHT - timedelta(days=days))


def test_interval_energy_passes_and_what_is_absent_is_a_gap() -> None:
    one = meter()
    rows = cleaned(one, raw(one, [(MIDNIGHT, 1.5), (MIDNIGHT + timedelta(hours=2), 0.0)]))
    assert rows.height == 24
    assert hour(rows, 0) == (1.5, "measured", None)
    assert hour(rows, 1) == (None, "missing", "gap")
    assert hour(rows, 2) == (0.0, "measured", None)
    assert hour(rows, LAST_HOUR) == (None, "missing", "gap")
    assert rows["available_at_utc"].to_list() == [MIDNIGHT + timedelta(hours=at + 1) for at in range(24)]


def test_rows_begin_with_the_first_reading_and_a_meter_that_never_reported_has_none() -> None:
    one, silent, later = meter(), meter("s.2.electricity"), meter("s.3.electricity")
    rows = cleaned(
        [one, silent, later],
        [raw(one, [(MIDNIGHT + timedelta(hours=20), 1.0)]), raw(later, [(DAY.ends_at_utc, 1.0)])],
    )
    assert rows["meter_id"].unique().to_list() == [one["meter_id"]]
    assert rows["starts_at_utc"].min() == MIDNIGHT + timedelta(hours=20)
    assert rows.height == 4


def test_a_meter_that_fell_silent_long_ago_still_has_its_gaps_until_it_leaves_service() -> None:
    one = meter()
    gone = meter("s.2.electricity", valid_to_utc=MIDNIGHT + timedelta(hours=3))
    long_ago = [(MIDNIGHT - timedelta(days=300), 1.0)]
    rows = cleaned([one, gone], [raw(one, long_ago), raw(gone, long_ago)])
    assert rows.group_by("meter_id").len().sort("meter_id")["len"].to_list() == [24, 3]
    assert set(rows["reason"]) == {"gap"}


@pytest.mark.parametrize(
    ("facts", "value", "expected_kwh"),
    [
        pytest.param({"unit": "Wh"}, 1500.0, 1.5, id="Wh"),
        pytest.param({"unit": "Ws"}, 3_600_000.0, 1.0, id="Ws"),
        pytest.param({"unit": "MWh"}, 0.002, 2.0, id="MWh"),
        pytest.param({"unit": "kBtu"}, 100.0, 29.307107, id="kBtu: x 0.29307107"),
        pytest.param({"unit": "m3", "commodity": "gas", "kwh_per_m3": 10.5}, 2.0, 21.0, id="gas by calorific value"),
        pytest.param({"unit": "l", "commodity": "gas", "kwh_per_m3": 10.0}, 300.0, 3.0, id="gas in litres"),
        pytest.param({"unit": "kW", "measure": "power"}, 3.0, 3.0, id="3 kW for an hour"),
        pytest.param({"unit": "W", "measure": "power", "interval_minutes": 15}, 4000.0, 1.0, id="4000 W for a quarter"),
        pytest.param({"unit": "MW", "measure": "power", "interval_minutes": 30}, 0.01, 5.0, id="10 kW for half"),
    ],
)
def test_units(facts: dict[str, object], value: float, expected_kwh: float) -> None:
    one = meter(**facts)
    energy, quality, reason = hour(cleaned(one, raw(one, [(MIDNIGHT, value)])), 0)
    assert energy == pytest.approx(expected_kwh)
    assert (quality, reason) == ("measured", None)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("measure", [name for name in MEASURES if name != "register"])
def test_the_statement_converts_as_the_units_module_says(measure: str, unit: str) -> None:
    one = meter(measure=measure, unit=unit, kwh_per_m3=11.0)
    energy, _, reason = hour(cleaned(one, raw(one, [(MIDNIGHT, 7.0)])), 0)
    factor = energy_factor(unit, measure=measure, kwh_per_m3=11.0)
    assert energy == (None if factor is None else pytest.approx(7.0 * factor, abs=1e-9))
    assert reason == ("not_convertible" if factor is None else None)


def test_gas_without_calorific_value_and_water() -> None:
    gas = meter("s.1.gas", unit="m3", commodity="gas")
    water = meter("s.1.water", unit="m3", commodity="water")
    rows = cleaned([gas, water], [raw(gas, [(MIDNIGHT, 1.0)]), raw(water, [(MIDNIGHT, 1.0)])])
    assert hour(rows, 0) == (None, "missing", "not_convertible")
    assert rows["meter_id"].unique().to_list() == ["s.1.gas"]


@pytest.mark.parametrize("minutes", [1, 5, 10, 15, 30, 60])
@pytest.mark.parametrize("measure", ["interval_energy", "power"])
def test_every_cadence_has_its_intervals(minutes: int, measure: str) -> None:
    one = meter(interval_minutes=minutes, measure=measure, unit="kW" if measure == "power" else "kWh")
    slots = 24 * 60 // minutes
    absent = {0: False, 1: True, slots // 2: True, slots - 1: True}
    readings = [each for at, each in enumerate(every(minutes, [3.0] * slots)) if not absent.get(at, False)]
    rows = cleaned(one, raw(one, readings))
    assert rows.height == slots
    assert rows.filter(pl.col("reason") == "gap").height == 3
    expected = 3.0 * minutes / 60 if measure == "power" else 3.0
    assert hour(rows, 0, minutes=minutes)[0] == pytest.approx(expected)
    assert [hour(rows, at, minutes=minutes)[2] for at, gone in absent.items() if gone] == ["gap"] * 3


class TestConflicts:
    def test_what_was_known_last_wins_and_is_named(self) -> None:
        one = meter()
        first = raw(one, [(MIDNIGHT, 1.0)])
        later = raw(one, [(MIDNIGHT, 2.0)], available_at_utc=MIDNIGHT + timedelta(days=1))
        for order in ([first, later], [later, first]):
            rows = cleaned(one, order)
            assert hour(rows, 0) == (2.0, "measured", "conflict")
            assert rows["available_at_utc"][0] == MIDNIGHT + timedelta(days=1)

    def test_of_what_came_together_one_wins_whatever_the_order(self) -> None:
        one = meter()
        values = [raw(one, [(MIDNIGHT, value)]) for value in (1.0, 2.0, 3.0)]
        results = {hour(cleaned(one, order), 0) for order in (values, values[::-1], [values[1], values[2], values[0]])}
        assert len(results) == 1
        assert results.pop()[2] == "conflict"

    def test_two_sources_that_agree_are_no_conflict(self) -> None:
        one = meter()
        rows = cleaned(one, [raw(one, [(MIDNIGHT, 1.0)]), raw(one, [(MIDNIGHT, 1.0)], source="other")])
        assert hour(rows, 0) == (1.0, "measured", None)

    def test_the_rest_of_the_day_is_not_touched(self) -> None:
        one = meter()
        rows = cleaned(one, [raw(one, every(60, [1.0] * 24)), raw(one, [(MIDNIGHT, 9.0)])])
        assert rows["reason"].to_list() == ["conflict"] + [None] * 23

    def test_as_it_was_known_then(self) -> None:
        one = meter()
        later = raw(one, [(MIDNIGHT, 2.0)], available_at_utc=MIDNIGHT + timedelta(days=1))
        rows = cleaned(one, [raw(one, every(60, [1.0, 1.0])), later], known_by=MIDNIGHT + timedelta(hours=3))
        assert hour(rows, 0) == (1.0, "measured", None)
        assert rows.height == 3  # the fourth hour is not over yet: no gap is known of it
        assert hour(rows, 2) == (None, "missing", "gap")


def test_more_readings_than_declared_are_refused_and_a_shifted_one_stays() -> None:
    one = meter()
    rows = cleaned(one, raw(one, [*every(30, [1.0, 1.0]), (MIDNIGHT + timedelta(hours=1, minutes=7), 4.0)]))
    assert hour(rows, 0) == (None, "missing", "several_in_interval")
    assert rows["reported_kwh"][0] == 2.0
    assert hour(rows, 1) == (4.0, "measured", None)


class TestPower:
    def test_samples_are_weighted_by_the_time_they_hold(self) -> None:
        # 2 kW for 10 minutes, then 8 kW for 5: (2 x 10 + 8 x 5) / 15 = 4 kW, 1 kWh in a quarter.
        one = meter(measure="power", unit="kW", interval_minutes=15)
        rows = cleaned(one, raw(one, [(MIDNIGHT, 2.0), (MIDNIGHT + timedelta(minutes=10), 8.0)]))
        assert hour(rows, 0, minutes=15) == (1.0, "measured", None)

    def test_a_sample_in_the_last_third_is_too_little(self) -> None:
        one = meter(measure="power", unit="kW", interval_minutes=15)
        rows = cleaned(one, raw(one, [(MIDNIGHT + timedelta(minutes=10), 6.0)]))
        assert hour(rows, 0, minutes=15) == (None, "missing", "partial")
        assert rows["reported_kwh"][0] == pytest.approx(1.5)

    def test_a_stream_that_stops_after_a_minute_does_not_speak_for_the_quarter(self) -> None:
        one = meter(measure="power", unit="W", interval_minutes=15)
        rows = cleaned(one, raw(one, every(1 / 12, [1000.0] * 12)))
        assert hour(rows, 0, minutes=15) == (None, "missing", "partial")

    def test_a_stream_through_the_quarter_with_a_short_hole(self) -> None:
        one = meter(measure="power", unit="W", interval_minutes=15)
        readings = [each for at, each in enumerate(every(0.5, [1200.0] * 30)) if not 10 <= at < 14]
        energy, quality, _ = hour(cleaned(one, raw(one, readings)), 0, minutes=15)
        assert (energy, quality) == (pytest.approx(0.3), "measured")


class TestRefusals:
    @pytest.mark.parametrize(
        ("direction", "expected"),
        [
            pytest.param("consumption", (None, "missing", "negative"), id="consumption cannot run backwards"),
            pytest.param("production", (None, "missing", "negative"), id="production cannot run backwards"),
            pytest.param("grid_import", (-1.0, "measured", None), id="a net connection can"),
        ],
    )
    def test_negative(self, direction: str, expected: tuple[object, ...]) -> None:
        one = meter(direction=direction)
        rows = cleaned(one, raw(one, every(60, [1.0, -1.0])))
        assert hour(rows, 1) == expected
        assert rows["reported_kwh"][1] == -1.0

    def test_above_the_connection(self) -> None:
        one = meter(capacity_kw=10.0, interval_minutes=30)
        rows = cleaned(one, raw(one, every(30, [5.0, 6.0, 6.01])))  # 10 kW x 0.5 h x 1.2 = 6 kWh
        assert [hour(rows, at, minutes=30)[2] for at in range(3)] == [None, None, "impossible"]

    def test_a_hundredfold_spike_is_refused_and_a_cold_morning_is_not(self) -> None:
        one = meter()
        values = [2.0] * 24
        values[7], values[8] = 60.0, 400.0
        rows = cleaned(one, raw(one, before(20) + every(60, values)))
        assert hour(rows, 7) == (60.0, "measured", None)
        assert hour(rows, 8) == (None, "missing", "spike")
        assert rows["reported_kwh"][8] == 400.0

    def test_without_two_weeks_of_history_nothing_is_a_spike(self) -> None:
        one = meter()
        assert hour(cleaned(one, raw(one, before(13) + every(60, [400.0]))), 0) == (400.0, "measured", None)

    def test_a_constant_day_on_a_meter_that_varied(self) -> None:
        one = meter()
        rows = cleaned(one, raw(one, before(20) + every(60, [1.7] * 24)))
        assert set(rows["reason"]) == {"stuck"}
        assert rows["energy_kwh"].null_count() == 24

    def test_a_meter_that_repeated_for_a_day_before_may_do_so_again(self) -> None:
        one = meter()
        history = before(20)
        constant = [(at, 1.0 if at.day == 1 else value) for at, value in history]  # the first of March
        rows = cleaned(one, raw(one, constant + every(60, [1.7] * 24)))
        assert set(rows["reason"]) == {None}

    def test_the_second_constant_day_is_refused_like_the_first(self) -> None:
        one = meter()
        first = [(at, 1.7 if at >= MIDNIGHT - timedelta(days=1) else value) for at, value in before(20)]
        rows = cleaned(one, raw(one, first + every(60, [1.7] * 24)))
        assert set(rows["reason"]) == {"stuck"}

    def test_zeros_from_the_evening_before_count(self) -> None:
        # Zero from 20:00 of the day before to 09:00: 13 hours as this day ends.
        one = meter()
        history = [(at, 0.0 if at >= MIDNIGHT - timedelta(hours=4) else value) for at, value in before(20)]
        rows = cleaned(one, raw(one, history + every(60, [0.0] * 9 + [2.0, 1.0] * 7 + [0.0])))
        assert rows["reason"].to_list() == ["zero_run"] * 9 + [None] * 15

    @pytest.mark.parametrize(
        ("facts", "history", "zeros"),
        [
            pytest.param({}, 20, 11, id="too short"),
            pytest.param({"commodity": "gas"}, 20, 20, id="gas rests"),
            pytest.param({"direction": "production"}, 20, 20, id="the sun rests"),
            pytest.param({}, 13, 20, id="too little history"),
        ],
    )
    def test_zeros_that_are_believed(self, facts: dict[str, object], history: int, zeros: int) -> None:
        one = meter(**facts)
        rows = cleaned(one, raw(one, before(history) + every(60, [0.0] * zeros + [2.0, 1.0] * 2)))
        assert set(rows["reason"]) <= {None, "gap"}

    def test_zeros_of_a_meter_that_is_often_idle_are_believed(self) -> None:
        one = meter()
        idle = [(at, 0.0 if at.hour < 1 else value) for at, value in before(20)]
        rows = cleaned(one, raw(one, idle + every(60, [0.0] * 24)))
        assert set(rows["reason"]) == {None}

    def test_a_gap_breaks_a_run_of_zeros(self) -> None:
        one = meter()
        zeros = [each for at, each in enumerate(every(60, [0.0] * 20)) if at != 10]
        rows = cleaned(one, raw(one, before(20) + zeros))
        assert "zero_run" not in set(rows["reason"])

    def test_known_dirt_refuses_exact_zeros_of_its_site_and_time_only(self) -> None:
        one, other = meter(), meter("s.2.electricity", site_id="s.other")
        dirt = pl.DataFrame(
            [("s.main", "electricity", MIDNIGHT, MIDNIGHT + timedelta(hours=2, minutes=30), "known_false_zero")],
            schema=KNOWN_DIRT_SCHEMA,
            orient="row",
        )
        values = [0.0, 1.0, 0.0, 0.0]
        rows = cleaned([one, other], [raw(each, every(60, values)) for each in (one, other)], known_dirt=dirt)
        reasons = rows.filter(pl.col("reason").ne_missing("gap"))
        assert reasons["reason"].to_list() == ["known_false_zero", None, "known_false_zero", None] + [None] * 4


def test_a_window_of_hours_gives_the_rows_of_its_day() -> None:
    one = meter()
    cleaner = Cleaner()
    cleaner.fill([one], [raw(one, before(20) + every(60, [0.0] * 16 + [1.0, 500.0]))])
    whole = cleaner.clean()
    part = Window(starts_at_utc=MIDNIGHT + timedelta(hours=3), ends_at_utc=MIDNIGHT + timedelta(hours=18))
    inside = (pl.col("starts_at_utc") >= part.starts_at_utc) & (pl.col("starts_at_utc") < part.ends_at_utc)
    assert cleaner.clean(part).equals(whole.filter(inside))
    assert set(whole["reason"]) == {"zero_run", None, "spike", "gap"}


def test_pieces_cover_the_window_once_and_changes_reach_as_far_as_declared() -> None:
    year = Window(starts_at_utc=datetime(2024, 1, 1, tzinfo=UTC), ends_at_utc=datetime(2025, 1, 1, tzinfo=UTC))
    pieces = list(year.pieces(days=92))
    assert pieces[0].starts_at_utc == year.starts_at_utc
    assert pieces[-1].ends_at_utc == year.ends_at_utc
    assert all(one.ends_at_utc == two.starts_at_utc for one, two in itertools.pairwise(pieces))
    assert changed_window(DAY) == DAY.padded(before=timedelta(days=29), after=timedelta(days=29))
