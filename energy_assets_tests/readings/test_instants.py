"""Stamps: zones, offsets, clock changes both ways, ends of intervals, and order that does not hold together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from energy_assets.readings.instants import with_instants
from energy_assets.readings.mapping import TimeFormat


def resolved(
    stamps: Sequence[object],
    *,
    measure: str = "interval_energy",
    minutes: int = 60,
    meters: Sequence[str] = (),
    **time: str,
) -> list[object]:
    """Each stamp's instant, or its fault, or None where it cannot be read."""
    rows = pl.DataFrame(
        {"meter_id": list(meters) or ["m"] * len(stamps), "stamp": list(stamps)}, strict=False
    ).with_columns(measure=pl.lit(measure), interval_minutes=pl.lit(minutes, pl.Int64))
    timed = with_instants(rows, time=TimeFormat.model_validate({"columns": ["t"], "zone": "UTC"} | time))
    assert timed["stamp"].to_list() == rows["stamp"].to_list()
    return [fault or instant for fault, instant in timed.select("time_fault", "starts_at_utc").iter_rows()]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("stamp", "time", "expected"),
    [
        pytest.param("2024-07-01 12:00:00", {}, "2024-07-01 12:00", id="UTC"),
        pytest.param("2024-07-01T12:00", {}, "2024-07-01 12:00", id="minutes and T"),
        pytest.param("2024-07-01", {}, "2024-07-01", id="a date is its midnight"),
        pytest.param("2024-07-01 12:00:00.250", {}, "2024-07-01 12:00:00.250", id="fractions"),
        pytest.param("2024-07-01 12:00", {"zone": "+05:30"}, "2024-07-01 06:30", id="a fixed offset"),
        pytest.param("2024-07-01 12:00", {"zone": "Europe/Berlin"}, "2024-07-01 10:00", id="summer time"),
        pytest.param("2024-01-01 12:00", {"zone": "Europe/Berlin"}, "2024-01-01 11:00", id="winter time"),
        pytest.param("2024-07-01T12:00:00Z", {"zone": "Europe/Berlin"}, "2024-07-01 12:00", id="Z wins over the zone"),
        pytest.param(
            "2024-07-01T12:00:00-05:00", {"zone": "Europe/Berlin"}, "2024-07-01 17:00", id="so does an offset"
        ),
        pytest.param("2024-07-01 12:00+0200", {}, "2024-07-01 10:00", id="an offset without colon"),
        pytest.param("01.07.2024 12:00", {"format": "%d.%m.%Y %H:%M"}, "2024-07-01 12:00", id="a format"),
        pytest.param(
            "01.07.2024 12:00 +0200", {"format": "%d.%m.%Y %H:%M %z"}, "2024-07-01 10:00", id="format with %z"
        ),
        pytest.param("1719835200", {"format": "unix_s"}, "2024-07-01 12:00", id="unix seconds"),
        pytest.param(1719835200250, {"format": "unix_ms"}, "2024-07-01 12:00:00.250", id="unix milliseconds"),
        pytest.param(
            datetime(2024, 7, 1, 12, tzinfo=UTC).replace(tzinfo=None),
            {"zone": "Europe/Berlin"},
            "2024-07-01 10:00",
            id="a Parquet stamp",
        ),
        pytest.param("2024-07-01 12:00", {"marks": "end"}, "2024-07-01 11:00", id="the end of an hour"),
        pytest.param("noon", {}, None, id="no time"),
        pytest.param("0001-01-01 00:00", {}, None, id="before all meters"),
        pytest.param("9999-12-31 00:00", {}, None, id="after all meters"),
        pytest.param("2024-02-30 00:00", {}, None, id="no such day"),
    ],
)
def test_one_stamp(stamp: object, time: dict[str, str], expected: str | None) -> None:
    assert resolved([stamp], **time) == [expected and at(expected)]


def test_a_stamp_with_a_zone_is_an_instant() -> None:
    stamp = datetime(2024, 7, 1, 12, tzinfo=UTC)
    assert resolved([stamp], zone="Europe/Berlin") == [stamp]


def test_a_register_is_read_at_its_stamp() -> None:
    assert resolved(["2024-07-01 12:00"], measure="register", marks="end") == [at("2024-07-01 12:00")]


AUTUMN = at("2024-10-26 23:00")  # 01:00 in Berlin; the clock goes back at 03:00


def local(minutes: int, count: int, start: datetime = AUTUMN) -> tuple[list[str], list[datetime]]:
    instants = [start + timedelta(minutes=minutes * each) for each in range(count)]
    shown = pl.Series(instants).dt.convert_time_zone("Europe/Berlin").dt.strftime("%Y-%m-%d %H:%M")
    return shown.to_list(), instants


@pytest.mark.parametrize("minutes", [5, 15, 30, 60])
def test_the_hour_that_comes_twice_is_told_by_order(minutes: int) -> None:
    stamps, instants = local(minutes, 6 * 60 // minutes)
    assert resolved(stamps, zone="Europe/Berlin") == instants
    assert resolved(stamps[::-1], zone="Europe/Berlin") == instants[::-1]


def test_meters_side_by_side_do_not_disturb_each_other() -> None:
    stamps, instants = local(60, 6)
    pairs = [(stamp, meter) for stamp in stamps for meter in ("a", "b")]
    found = resolved([each for each, _ in pairs], meters=[meter for _, meter in pairs], zone="Europe/Berlin")
    assert found == [instant for instant in instants for _ in range(2)]


@pytest.mark.parametrize(
    "stamps",
    [
        pytest.param(["01:00", "02:00", "03:00"], id="shown once"),
        pytest.param(["01:00", "02:00", "02:00", "02:00", "03:00"], id="shown thrice"),
        pytest.param(["02:00", "03:00", "01:00", "02:00"], id="in no order"),
    ],
)
def test_what_order_does_not_tell_is_not_guessed(stamps: list[str]) -> None:
    found = resolved([f"2024-10-27 {each}" for each in stamps], zone="Europe/Berlin")
    for stamp, instant in zip(stamps, found, strict=True):
        assert (instant == "ambiguous_local_time") == (stamp == "02:00")


def test_an_hour_that_the_clock_skips_has_no_instants() -> None:
    found = resolved(["2024-03-31 01:30", "2024-03-31 02:30", "2024-03-31 03:30"], zone="Europe/Berlin")
    assert found == [at("2024-03-31 00:30"), "nonexistent_local_time", at("2024-03-31 01:30")]


def test_clock_changes_of_half_an_hour() -> None:
    # Lord Howe goes back from 02:00 to 01:30: only 01:30 to 02:00 is shown twice.
    found = resolved(
        ["2024-04-07 01:00", "2024-04-07 01:30", "2024-04-07 01:30", "2024-04-07 02:00"],
        zone="Australia/Lord_Howe",
        minutes=30,
    )
    assert found == [at(f"2024-04-06 {each}") for each in ("14:00", "14:30", "15:00", "15:30")]
