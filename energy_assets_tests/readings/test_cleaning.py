"""From raw to intervals: units, gaps, refusals, registers; a day is as within a longer window; energy is conserved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.contracts import METERS, READINGS_INTERVAL, READINGS_RAW, Window
from energy_assets.lake import Lake
from energy_assets.metering.units import KW_PER_UNIT, KWH_PER_UNIT
from energy_assets.readings.cleaning import REASONS, interval_query
from energy_assets.readings.known_dirt import KNOWN_DIRT_SCHEMA

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = Window.of_days(date(2026, 1, 1))
Sample = tuple[float, float]


def meter(
    meter_id: str = "m", *, measure: str = "interval_energy", unit: str = "kWh", minutes: int = 60, **more: object
) -> dict[str, object]:
    return {
        "meter_id": meter_id, "premise_id": "p", "site_id": "s", "commodity": "electricity", "direction": "consumption",
        "measure": measure, "unit": unit, "interval_minutes": minutes, "source": "t", **more,
    }  # fmt: skip


def raw(
    samples: Sequence[Sample], *, declared: dict[str, object], available: timedelta = timedelta(hours=1)
) -> pl.DataFrame:
    return READINGS_RAW.conform(
        pl.DataFrame(
            [
                {
                    "meter_id": declared["meter_id"],
                    "starts_at_utc": START + timedelta(hours=hour),
                    "source": "t",
                    "payload_hash": abs(hash((hour, value))),
                    "value": float(value),
                    "unit": declared["unit"],
                    "measure": declared["measure"],
                    "available_at_utc": START + timedelta(hours=hour) + available,
                    "batch_id": "b",
                }
                for hour, value in samples
            ]
        )
    )


def cleaned(
    lake: Lake, samples: Sequence[Sample], *, window: Window = DAY, dirt: pl.DataFrame | None = None, **declared: object
) -> pl.DataFrame:
    described = meter(**declared)  # type: ignore[arg-type]
    lake.replace(METERS, pl.DataFrame([described]))
    lake.replace(READINGS_RAW, raw(samples, declared=described))
    lake.replace(READINGS_INTERVAL, interval_query(window, known_dirt=dirt), window=window)
    return lake.read(READINGS_INTERVAL, window).sort("starts_at_utc")


@pytest.mark.parametrize(
    ("unit", "measure", "value", "kwh"),
    [
        *(
            pytest.param(unit, "interval_energy", 2.0, 2.0 * factor, id=f"energy in {unit}")
            for unit, factor in KWH_PER_UNIT.items()
        ),
        *(
            pytest.param(unit, "power", 4.0, 4.0 * factor * 0.25, id=f"power in {unit} for a quarter hour")
            for unit, factor in KW_PER_UNIT.items()
        ),
    ],
)
def test_units_are_those_of_the_units_module(lake: Lake, unit: str, measure: str, value: float, kwh: float) -> None:
    rows = cleaned(lake, [(0, value)], unit=unit, measure=measure, minutes=15)
    assert rows["energy_kwh"][0] == pytest.approx(kwh, rel=1e-12)


def test_gas_in_cubic_metres_becomes_energy_by_its_calorific_value(lake: Lake) -> None:
    assert cleaned(lake, [(0, 2.0)], unit="m3", kwh_per_m3=11.0)["energy_kwh"][0] == 22.0
    assert cleaned(lake, [(0, 2.0)], unit="m3")["reason"][0] == "not_convertible"


def test_a_gap_keeps_its_rows_and_the_first_reading_begins_them(lake: Lake) -> None:
    rows = cleaned(lake, [(5, 1.0), (8, 2.0)])
    assert rows["starts_at_utc"][0] == START + timedelta(hours=5)
    assert rows.height == 19
    assert rows["reason"].to_list()[:4] == [None, "gap", "gap", None]
    assert rows["energy_kwh"].to_list()[:4] == [1.0, None, None, 2.0]


@pytest.mark.parametrize(
    ("value", "declared", "reason"),
    [
        pytest.param(-1.0, {}, "negative", id="less than nothing"),
        pytest.param(13.0, {"capacity_kw": 10.0}, "impossible", id="above a fifth more than the capacity"),
        pytest.param(11.0, {"capacity_kw": 10.0}, None, id="within the margin of the capacity"),
        pytest.param(0.0, {}, None, id="zero is a reading"),
    ],
)
def test_a_refused_value_keeps_what_was_reported(
    lake: Lake, value: float, declared: dict[str, object], reason: str | None
) -> None:
    row = cleaned(lake, [(0, value)], **declared).row(0, named=True)
    assert row["reason"] == reason
    assert row["reported_kwh"] == value
    assert row["energy_kwh"] == (None if reason else value)
    assert row["quality"] == ("missing" if reason else "measured")
    assert reason is None or reason in REASONS


def test_known_false_zeros_are_refused_and_other_values_there_are_not(lake: Lake) -> None:
    dirt = pl.DataFrame(
        [("s", "electricity", START, START + timedelta(hours=5), "known_false_zero")],
        schema=KNOWN_DIRT_SCHEMA,
        orient="row",
    )
    rows = cleaned(lake, [(0, 0.0), (1, 3.0), (6, 0.0)], dirt=dirt)
    assert rows["reason"].to_list()[:2] == ["known_false_zero", None]
    assert rows["energy_kwh"][6] == 0.0


def test_of_two_values_the_one_known_last_counts(lake: Lake) -> None:
    described = meter()
    lake.replace(METERS, pl.DataFrame([described]))
    late = raw([(0, 7.0)], declared=described, available=timedelta(hours=9))
    lake.replace(READINGS_RAW, pl.concat([raw([(0, 5.0)], declared=described), late]))
    lake.replace(READINGS_INTERVAL, interval_query(DAY), window=DAY)
    row = lake.read(READINGS_INTERVAL, DAY).sort("starts_at_utc").row(0, named=True)
    assert (row["energy_kwh"], row["reason"]) == (7.0, "conflict")
    assert row["available_at_utc"] == START + timedelta(hours=9)


@pytest.mark.parametrize(
    ("samples", "energy", "reasons"),
    [
        pytest.param([(0, 10), (1, 12), (2, 15)], [2, 3], [None, None], id="differences"),
        pytest.param([(0, 10), (3, 16)], [2, 2, 2], ["spread"] * 3, id="the energy of a gap is spread"),
        pytest.param(
            [(0, 10), (1, 3), (2, 5)], [3, 2], ["register_reset", None], id="a reset makes no negative energy"
        ),
        pytest.param([(0, 99_998), (1, 3), (2, 5)], [5, 2], ["register_rollover", None], id="a rollover goes on"),
        pytest.param([(0, 10), (1, 0), (2, 14)], [2, 2], ["spread"] * 2, id="a zero between is no reading"),
        pytest.param([(0.5, 10), (1.5, 14), (2.5, 16)], [3], [None], id="between the hours, parts are shared out"),
    ],
)
def test_registers(lake: Lake, samples: list[Sample], energy: list[float], reasons: list[str | None]) -> None:
    rows = cleaned(lake, samples, measure="register").filter(pl.col("energy_kwh").is_not_null())
    assert rows["energy_kwh"].to_list() == pytest.approx(energy)
    assert rows["reason"].to_list() == reasons


_STEPS = st.lists(st.tuples(st.integers(1, 5), st.floats(0, 50, allow_nan=False)), min_size=2, max_size=15)


@settings(max_examples=12)
@given(steps=_STEPS)
def test_a_register_conserves_energy_and_a_day_alone_is_as_within_a_week(
    lake: Lake, steps: list[tuple[int, float]]
) -> None:
    hours, value = 0, 100.0
    samples: list[Sample] = [(0, value)]
    for step, energy in steps:
        hours, value = hours + step, value + energy
        samples.append((hours, value))
    whole = Window.of_days(date(2026, 1, 1), date(2026, 1, 4))
    week = cleaned(lake, samples, measure="register", window=whole)
    known = week["energy_kwh"].sum()
    assert known == pytest.approx(value - 100.0, abs=1e-6)
    for day in whole.days():
        one = Window.of_days(day)
        lake.replace(READINGS_INTERVAL, interval_query(one), window=one)
    alone = lake.read(READINGS_INTERVAL, whole).sort("starts_at_utc")
    assert alone.equals(week.sort("starts_at_utc")) or (
        alone.drop("energy_kwh", "reported_kwh").equals(week.drop("energy_kwh", "reported_kwh"))
        and (alone["energy_kwh"] - week["energy_kwh"]).abs().max() < 1e-9  # type: ignore[operator]
    )
