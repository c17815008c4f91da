"""Registers by hand: differences, gaps, resets, rollovers, exchanges, blips, readings off the grid."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from energy_assets.contracts import Window
from energy_assets_tests.readings.cleaner import DAY, MIDNIGHT, cleaned, every, hour, meter, raw

ONE = meter(measure="register", interval_minutes=15)


def quarters(values: list[float | None], **facts: object) -> list[tuple[float | None, str, str | None]]:
    """The quarters between readings of a register a quarter apart; None is no reading."""
    one = ONE | facts
    readings = [(at, value) for at, value in every(15, values) if value is not None]  # type: ignore[arg-type]
    rows = cleaned(one, raw(one, readings))
    return [hour(rows, at, minutes=15) for at in range(len(values) - 1)]


def ordinary(kwh: float) -> tuple[float, str, None]:
    return kwh, "measured", None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([100, 101, 101, 103.5], [ordinary(1), ordinary(0), ordinary(2.5)], id="differences"),
        pytest.param(
            [100, None, None, 103, 104],
            [(1.0, "spread", "spread")] * 3 + [ordinary(1)],
            id="the energy of a gap is spread evenly",
        ),
        pytest.param(
            [100, 101, 0, 1.5, 3],
            [ordinary(1), (0.0, "estimated", "register_reset"), ordinary(1.5), ordinary(1.5)],
            id="reset: the reading since zero is what flowed",
        ),
        pytest.param(
            [100, 101, 0.4, 1.4],
            [ordinary(1), (0.4, "estimated", "register_reset"), ordinary(1)],
            id="reset between two readings",
        ),
        pytest.param(
            [99998, 99999.5, 1, 2],
            [ordinary(1.5), (1.5, "measured", "register_rollover"), ordinary(1)],
            id="rollover of five digits: 100000 - 99999.5 + 1",
        ),
        pytest.param(
            [4321, 4322, 870, 871],
            [ordinary(1), (None, "missing", "register_exchange"), ordinary(1)],
            id="exchanged for a meter that shows less: 870 kWh cannot flow in a quarter",
        ),
        pytest.param(
            [100, 101, 0, 103, 104],
            [ordinary(1), (1.0, "spread", "spread"), (1.0, "spread", "spread"), ordinary(1)],
            id="a zero between is no reading: 101 to 103 over two quarters",
        ),
        pytest.param(
            [100, 101, 0, 0, 0, 105, 106],
            [ordinary(1), *[(1.0, "spread", "spread")] * 4, ordinary(1)],
            id="zeros for three quarters",
        ),
        pytest.param(
            [100, 101, 99999, 103, 104],
            [ordinary(1), (1.0, "spread", "spread"), (1.0, "spread", "spread"), ordinary(1)],
            id="one wild reading above is no reading",
        ),
        pytest.param(
            [100, 101, 100.9, 102],
            [ordinary(1), (0.5, "spread", "spread"), (0.5, "spread", "spread")],
            id="a step back by jitter is no reset",
        ),
        pytest.param([0, 0, 0], [ordinary(0), ordinary(0)], id="a register that stands still"),
    ],
)
def test_register(values: list[float | None], expected: list[tuple[float | None, str, str | None]]) -> None:
    assert quarters(values) == expected


def test_a_leap_up_beyond_the_connection_is_no_energy() -> None:
    expected = [ordinary(1), (None, "missing", "register_jump"), ordinary(1)]
    assert quarters([100, 101, 5101, 5102], capacity_kw=40.0) == expected


def test_a_leap_up_is_told_from_what_the_meter_usually_draws() -> None:
    # A day of 1 kWh a quarter is 4 kW; 25 kW is the least limit; 5000 kWh in a quarter is 20 MW.
    values = [float(100 + at) for at in range(60)] + [float(5100 + at) for at in range(30)]
    rows = quarters(values)
    assert rows[59] == (None, "missing", "register_jump")
    assert {row for at, row in enumerate(rows) if at != 59} == {ordinary(1)}


def test_a_reset_after_a_long_absence_is_not_taken_for_a_rollover() -> None:
    # 9950 falls to 20 over an hour: as a rollover 70 kWh would be 70 kW, above any dwelling; as a reset 20 kWh.
    rows = quarters([9949, 9950, None, None, None, 20, 21])
    assert rows[1:5] == [(5.0, "estimated", "register_reset")] * 4


def test_a_32_bit_counter_of_watt_seconds_rolls_over() -> None:
    top = 2**32
    one = ONE | {"unit": "Ws"}
    rows = cleaned(one, raw(one, every(15, [top - 3_600_000.0, top - 1_800_000.0, 1_800_000.0])))
    assert hour(rows, 0, minutes=15) == ordinary(0.5)
    assert hour(rows, 1, minutes=15) == (1.0, "measured", "register_rollover")


def test_readings_off_the_grid_are_interpolated_to_the_borders() -> None:
    # Read at :05, :20, :35, 1.5 kWh apart (0.1 kWh a minute): the quarter from :15 has 0.5 + 1.0.
    one = ONE
    rows = cleaned(one, raw(one, every(15, [10, 11.5, 14.5], start=MIDNIGHT + timedelta(minutes=5))))
    assert hour(rows, 0, minutes=15) == (None, "missing", "partial")
    assert hour(rows, 1, minutes=15) == (2.5, "measured", None)  # 5 minutes at 0.1 and 10 at 0.2
    assert hour(rows, 2, minutes=15) == (None, "missing", "partial")
    assert rows["reported_kwh"].to_list()[:3] == pytest.approx([1.0, 2.5, 1.0])


def test_a_stream_of_register_readings_is_summed_in_its_intervals() -> None:
    one = ONE | {"unit": "Wh"}
    rows = cleaned(one, raw(one, every(0.5, [10.0 * at for at in range(61)])))
    assert hour(rows, 0, minutes=15) == ordinary(0.3)
    assert hour(rows, 1, minutes=15) == ordinary(0.3)


def test_gap_within_reach_crosses_midnight_and_one_beyond_stays_missing() -> None:
    week = Window(starts_at_utc=MIDNIGHT, ends_at_utc=MIDNIGHT + timedelta(days=30))
    one = meter(measure="register")
    near = cleaned(one, raw(one, [(MIDNIGHT - timedelta(days=10), 0), (MIDNIGHT + timedelta(days=10), 480)]))
    assert set(near["reason"]) == {"spread"}
    assert near["energy_kwh"].to_list() == pytest.approx([1.0] * 24)
    readings = [(MIDNIGHT, 0), (MIDNIGHT + timedelta(days=22), 480), (MIDNIGHT + timedelta(days=22, hours=1), 481)]
    far = cleaned(one, raw(one, readings), week)
    assert far["energy_kwh"].sum() == 1.0
    assert far.filter(pl.col("reason") == "gap").height == 30 * 24 - 1


def test_as_known_then_the_end_of_a_gap_is_unknown() -> None:
    one = meter(measure="register")
    readings = raw(one, [(MIDNIGHT, 5.0), (MIDNIGHT + timedelta(hours=1), 6.0), (MIDNIGHT + timedelta(hours=4), 9.0)])
    then = cleaned(one, readings, DAY, known_by=MIDNIGHT + timedelta(hours=3))
    assert [hour(then, at)[2] for at in range(3)] == [None, "gap", "gap"]
    later = cleaned(one, readings, DAY)
    assert hour(later, 2) == (1.0, "spread", "spread")
    assert later["available_at_utc"][2] == MIDNIGHT + timedelta(hours=5)


def test_gas_register_in_cubic_metres() -> None:
    assert quarters([100, 100.5], unit="m3", commodity="gas", kwh_per_m3=10.0) == [ordinary(5.0)]


def test_conflicting_registers_are_settled_by_what_was_known_last() -> None:
    first = raw(ONE, every(15, [100, 101, 102]))
    mended = raw(ONE, [(MIDNIGHT + timedelta(minutes=15), 101.5)], available_at_utc=DAY.ends_at_utc)
    rows = cleaned(ONE, [first, mended])
    assert [hour(rows, at, minutes=15)[0] for at in range(2)] == [1.5, 0.5]
