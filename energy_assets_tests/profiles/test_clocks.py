"""Offsets of clocks, by hand from the published changes of the zones."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from energy_assets.contracts import UTC_TIME, Window
from energy_assets.errors import ConfigError
from energy_assets.profiles.clocks import at_site_clocks, local_dates, meter_clocks, offsets_of


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "window", "expected"),
    [
        pytest.param("UTC", ("2024-01-01", "2025-01-01"), [("2024-01-01", "2025-01-01", 0)], id="no change"),
        pytest.param(
            "Europe/Berlin",
            ("2024-01-01", "2025-01-01"),
            [
                ("2024-01-01", "2024-03-31T01:00", 60),
                ("2024-03-31T01:00", "2024-10-27T01:00", 120),
                ("2024-10-27T01:00", "2025-01-01", 60),
            ],
            id="summer time",
        ),
        pytest.param(
            "Australia/Lord_Howe",
            ("2024-04-06", "2024-04-08"),
            [("2024-04-06", "2024-04-06T15:00", 660), ("2024-04-06T15:00", "2024-04-08", 630)],
            id="half an hour",
        ),
        pytest.param("Asia/Kathmandu", ("2024-01-01", "2024-01-02"), [("2024-01-01", "2024-01-02", 345)], id="+5:45"),
    ],
)
def test_a_zone_keeps_an_offset_from_change_to_change(
    zone: str, window: tuple[str, str], expected: list[tuple[str, str, int]]
) -> None:
    found = offsets_of(zone, window=Window(starts_at_utc=at(window[0]), ends_at_utc=at(window[1])))
    assert list(found) == [(at(first), at(last), timedelta(minutes=minutes)) for first, last, minutes in expected]


def test_meters_take_the_clock_of_their_site_and_utc_without_one() -> None:
    meters = pl.DataFrame({"meter_id": ["a", "b"], "site_id": ["berlin", "nowhere"]})
    sites = pl.DataFrame({"site_id": ["berlin"], "timezone": ["Europe/Berlin"]})
    clocks = meter_clocks(
        meters, sites=sites, window=Window(starts_at_utc=at("2024-07-01"), ends_at_utc=at("2024-07-02"))
    )
    assert dict(clocks.select("meter_id", "offset_us").iter_rows()) == {"a": 7_200_000_000, "b": 0}
    first, last = local_dates(clocks) or (None, None)
    assert (str(first), str(last)) == ("2024-07-01", "2024-07-02")


def test_readings_of_the_night_on_which_the_clock_changes() -> None:
    """In Berlin 2024-03-31 has no hour 2: from 00:00 UTC, 1 o'clock, it is 3 o'clock an hour later."""
    meters = pl.DataFrame({"meter_id": ["a", "b"], "site_id": ["berlin", "nowhere"]})
    sites = pl.DataFrame({"site_id": ["berlin"], "timezone": ["Europe/Berlin"]})
    starts = [at("2024-03-30T22:00") + timedelta(hours=hour) for hour in range(5)]
    readings = pl.DataFrame({"meter_id": ["a"] * 5 + ["b"], "starts_at_utc": [*starts, starts[0]]}).with_columns(
        pl.col("starts_at_utc").cast(UTC_TIME)
    )
    window = Window(starts_at_utc=starts[0], ends_at_utc=starts[4])
    found = at_site_clocks(readings, meters=meters, sites=sites, window=window).sort("meter_id", "starts_at_utc")
    assert found.select("meter_id", "local_hour").rows() == [("a", 23), ("a", 0), ("a", 1), ("a", 3), ("b", 22)]
    assert [str(day) for day in found["local_date"]] == ["2024-03-30", *["2024-03-31"] * 3, "2024-03-30"]


def test_a_zone_that_does_not_exist_is_named() -> None:
    window = Window(starts_at_utc=at("2024-07-01"), ends_at_utc=at("2024-07-02"))
    with pytest.raises(ConfigError, match="Mars/Olympus"):
        list(offsets_of("Mars/Olympus", window=window))
