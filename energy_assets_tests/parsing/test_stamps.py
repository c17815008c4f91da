"""Stamps read alike by readings and by weather, and never as an instant that they do not name."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.parsing.stamps import on_clock, plausible, stamp_of
from energy_assets.readings.instants import with_instants
from energy_assets.readings.mapping import TimeFormat
from energy_assets.weather.judging import instant_of

NOON = datetime.fromisoformat("2024-07-01T12:00")


def said(value: object, form: str | None = None) -> tuple[object, object]:
    rows = pl.DataFrame({"at": [value]})
    stamp = stamp_of(pl.col("at"), rows.schema["at"], form=form)
    return rows.select(instant=stamp.instant, local=stamp.local).row(0)


@pytest.mark.parametrize(
    ("value", "form", "instant", "local"),
    [
        pytest.param("2024-07-01 12:00", None, None, NOON, id="a clock's reading"),
        pytest.param(" 2024-07-01T12:00:00 ", None, None, NOON, id="T, seconds, blanks"),
        pytest.param("2024-07-01T12:00Z", None, NOON, None, id="Z"),
        pytest.param("2024-07-01 14:00:00.0+02:00", None, NOON, None, id="an offset"),
        pytest.param("2024-07-01 06:30-0530", None, NOON, None, id="an offset without colon"),
        pytest.param("2024-07-01", None, None, datetime.fromisoformat("2024-07-01"), id="a date"),
        pytest.param("1.7.2024 12:00", "%d.%m.%Y %H:%M", None, NOON, id="a format"),
        pytest.param("01/07/24 12:00 +0000", "%d/%m/%y %H:%M %z", NOON, None, id="a format with an offset"),
        pytest.param("1719835200", "unix_s", NOON, None, id="unix time"),
        pytest.param(NOON, None, None, NOON, id="a Parquet stamp without a zone"),
        pytest.param(NOON.replace(tzinfo=UTC), "%d.%m.%Y", NOON, None, id="a Parquet stamp with one"),
        pytest.param("noon", None, None, None, id="no time"),
        pytest.param("2024-07-01 12:00 CET", None, None, None, id="a zone by name is no offset"),
    ],
)
def test_what_a_stamp_says(value: object, form: str | None, instant: datetime | None, local: datetime | None):
    assert said(value, form) == (instant and instant.replace(tzinfo=UTC), local)


@given(
    minutes=st.integers(366 * 1440, 229 * 365 * 1440),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    offset=st.sampled_from(["", "Z", "+02:00", "-0530"]),
    form=st.sampled_from(["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:00"]),
)
def test_readings_and_weather_read_a_stamp_alike(minutes: int, zone: str, offset: str, form: str):
    """Also in an hour that a clock shows twice: only the order of readings could tell it, and here is but one."""
    stamp = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)).strftime(form) + offset
    rows = pl.DataFrame({"meter_id": ["m"], "stamp": [stamp], "measure": ["interval_energy"], "interval_minutes": [60]})
    time = TimeFormat.model_validate({"columns": ["stamp"], "zone": zone})
    of_readings = with_instants(rows, time=time).row(0, named=True)
    instant = instant_of(rows, "stamp", zone=zone)
    at_utc, fault = rows.select(instant.at_utc.alias("at"), instant.fault.alias("fault")).row(0)
    assert of_readings["starts_at_utc"] == at_utc
    assert of_readings["time_fault"] == fault
    assert (at_utc is None) == (fault is not None)


def test_a_clock_that_goes_back_shows_an_hour_twice_and_forward_never():
    shown = pl.DataFrame({"local": [datetime.fromisoformat(at) for at in ("2024-10-27T02:30", "2024-03-31T02:30")]})
    first, second = (
        shown.select(on_clock(pl.col("local"), zone="Europe/Berlin", which=which)).to_series().to_list()
        for which in ("earliest", "latest")
    )
    assert second[0] - first[0] == timedelta(hours=1)
    assert (first[1], second[1]) == (None, None)


def test_instants_of_no_meter_are_none():
    years = pl.DataFrame({"at": [datetime(year, 6, 1, tzinfo=UTC) for year in (1, 1970, 2199, 2200)]})
    assert years.select(plausible(pl.col("at"))).to_series().is_null().to_list() == [True, False, False, True]
