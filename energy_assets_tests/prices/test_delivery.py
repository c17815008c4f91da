"""What leaves the prices: cheapest hours, documents, messages and files."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from energy_assets.contracts import PRICES_CURVES
from energy_assets.errors import ConfigError, ContractError, SourceError
from energy_assets.prices.exchange import (
    curve_csv,
    curve_document,
    day_message,
    openadr_event,
    present_message,
)
from energy_assets.prices.files import price_file, read_net_load
from energy_assets.prices.windows import cheapest_slots, cheapest_window
from energy_assets.prices.zones import ZoneConfig, load_zone
from energy_assets_tests.prices.strategies import DAY, PUBLISHED, curve, net_load

ZONE = ZoneConfig()
EVENING = [30.0] * 17 + [60.0, 80.0, 90.0, 80.0, 60.0] + [30.0] * 2
ROWS = curve(net_load(EVENING, zone=ZONE, band=4.0), zone=ZONE).rows
PRICED = ROWS.head(8).with_columns(price_units=pl.Series([5, 1, 9, 2, 2, 3, 1, 8]))


@pytest.mark.parametrize(
    ("hours", "apart", "together"),
    [
        pytest.param(1, [1], [1], id="the first of equals"),
        pytest.param(2, [1, 6], [3, 4], id="4 against 4 at 5 6: the earlier"),
        pytest.param(3, [1, 3, 6], [4, 5, 6], id="2+3+1 beats 2+2+3"),
        pytest.param(8, list(range(8)), list(range(8)), id="all"),
        pytest.param(1.5, [1, 6], [3, 4], id="a part of a slot takes the slot"),
    ],
)
def test_cheapest_hours(hours: float, apart: list[int], together: list[int]) -> None:
    def hours_of(rows: pl.DataFrame) -> list[int]:
        return rows["starts_at_utc"].dt.hour().to_list()

    assert hours_of(cheapest_slots(PRICED, hours=hours)) == apart
    assert hours_of(cheapest_window(PRICED, hours=hours)) == together


def test_a_window_does_not_jump_a_gap() -> None:
    holed = PRICED.filter(pl.col("starts_at_utc").dt.hour() != 4)
    assert cheapest_window(holed, hours=2)["starts_at_utc"].dt.hour().to_list() == [5, 6]
    with pytest.raises(ConfigError, match="in one piece"):
        cheapest_window(holed, hours=6)
    with pytest.raises(ConfigError, match="ask for fewer"):
        cheapest_slots(PRICED, hours=9)


def test_document_and_csv_say_what_the_table_says() -> None:
    document = json.loads(json.dumps(curve_document(ROWS)))
    assert document["delivery_date"] == "2026-06-01"
    assert [round(slot["price_per_kwh"] * 1e5) for slot in document["slots"]] == ROWS["price_units"].to_list()
    back = pl.read_csv(curve_csv(ROWS).encode(), schema_overrides={"delivery_date": pl.Date}).with_columns(
        pl.col("starts_at_utc", "published_at_utc").str.to_datetime(time_zone="UTC")
    )
    assert PRICES_CURVES.conform(back).equals(ROWS)


def test_openadr_event() -> None:
    event = openadr_event(ROWS, program_id="tariff-1")
    assert event["intervalPeriod"] == {"start": "2026-06-01T00:00:00Z", "duration": "PT60M"}
    intervals = event["intervals"]
    assert isinstance(intervals, list)
    assert [interval["id"] for interval in intervals] == list(range(24))
    first = {payload["type"]: payload["values"] for payload in intervals[0]["payloads"]}
    assert first["PRICE"] == [ROWS["price_units"][0] / 100_000]
    assert first["GHG"] == [pytest.approx(ROWS["greenhouse_gas_kg_per_kwh"][0] * 1000, abs=1e-3)]


# Of the published openadr3.yaml (3.0.1) and its enumerations (3.1.0): what an event and its parts must have.
OBJECT_ID = r"[a-zA-Z0-9_-]{1,128}"
DURATION = r"-?P(?=\d|T\d)(\d+Y)?(\d+M)?(\d+[DW])?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"
EVENT_FIELDS = {
    "id", "createdDateTime", "modificationDateTime", "objectType", "programID", "eventName", "priority", "targets",
    "reportDescriptors", "payloadDescriptors", "intervalPeriod", "intervals",
}  # fmt: skip
UNITS = {"PRICE": "KWH", "EXPORT_PRICE": "KWH", "GHG": "GHG"}


@pytest.mark.parametrize("zone_id", ["community", "ashrae.3", "x" * 200])
@pytest.mark.parametrize("interval", [15, 30, 60])
def test_an_event_is_what_the_published_schema_asks_for(zone_id: str, interval: int) -> None:
    zone = ZoneConfig(zone_id=zone_id, currency_code="USD")
    rows = curve(net_load([30.0] * (1440 // interval), zone=zone, interval_minutes=interval), zone=zone).rows
    event: Any = json.loads(json.dumps(openadr_event(rows, program_id=zone_id)))
    assert set(event) <= EVENT_FIELDS
    assert event["objectType"] == "EVENT"
    assert re.fullmatch(OBJECT_ID, event["programID"])
    assert set(event["intervalPeriod"]) <= {"start", "duration", "randomizeStart"}
    assert datetime.fromisoformat(event["intervalPeriod"]["start"]).tzinfo is not None
    assert re.fullmatch(DURATION, event["intervalPeriod"]["duration"])
    assert {each["payloadType"]: each["units"] for each in event["payloadDescriptors"]} == UNITS
    for each in event["payloadDescriptors"]:
        assert set(each) <= {"objectType", "payloadType", "units", "currency"}
        assert each["objectType"] == "EVENT_PAYLOAD_DESCRIPTOR"
        assert each.get("currency", "USD") == "USD"
    assert len(event["intervals"]) == 1440 // interval
    for each in event["intervals"]:
        assert set(each) == {"id", "payloads"}
        assert isinstance(each["id"], int)
        for payload in each["payloads"]:
            assert set(payload) == {"type", "values"}
            assert payload["type"] in UNITS
            (value,) = payload["values"]
            assert isinstance(value, float)
            assert value >= 0 or payload["type"] != "GHG"


def test_messages() -> None:
    whole = day_message(ROWS)
    assert (whole.topic, whole.retain) == ("energy/price/community/2026-06-01", True)
    assert json.loads(whole.payload)["revision"] == 0
    now = datetime(2026, 6, 1, 19, 59, 59, tzinfo=UTC)
    present = present_message(ROWS, now=now)
    assert present is not None
    assert (present.topic, present.retain) == ("energy/price", False)
    assert float(present.payload) == ROWS["price_units"][19] / 100_000
    midnight = datetime(2026, 6, 2, tzinfo=UTC)
    assert present_message(ROWS, now=midnight) is None


def test_a_correction_is_the_present_price() -> None:
    corrected = ROWS.with_columns(revision=pl.lit(1, dtype=pl.Int64), price_units=pl.col("price_units") + 7)
    message = present_message(pl.concat([corrected, ROWS]), now=datetime(2026, 6, 1, tzinfo=UTC))
    assert message is not None
    assert float(message.payload) == (ROWS["price_units"][0] + 7) / 100_000


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_price_a_file(tmp_path: Path, suffix: str) -> None:
    zone_path, report_path, out = tmp_path / "z.toml", tmp_path / "report.json", tmp_path / f"out.{suffix}"
    zone_path.write_text('zone_id = "alp"\ntimezone = "Europe/Rome"\nramp_per_hour = 0.1\n[[groups]]\nname = "all"\n')
    zone = load_zone(zone_path)
    spring = date(2026, 3, 29)
    days = [
        net_load([30.0] * 23, zone=zone, delivery_date=spring),
        net_load(EVENING, zone=zone, delivery_date=spring + timedelta(days=1)),
    ]
    net_path = tmp_path / "load.csv"
    pl.concat(days).select("starts_at_utc", energy_kwh="q50").write_csv(net_path)
    made = price_file(net_path, zone_path=zone_path, out_path=out, report_path=report_path, published_at_utc=PUBLISHED)
    assert [curve.rows.height for curve in made.curves] == [23, 24]
    account = json.loads(report_path.read_text())
    assert account["social_cost"] <= account["social_cost_flat"]
    assert [day["delivery_date"] for day in account["days"]] == ["2026-03-29", "2026-03-30"]
    if suffix == "parquet":
        assert pl.read_parquet(out).height == 47
    elif suffix == "csv":
        assert pl.read_csv(out).height == 47
    else:
        assert [len(curve["slots"]) for curve in json.loads(out.read_text())["curves"]] == [23, 24]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2026-06-01T00:00:00Z", id="z"),
        pytest.param("2026-06-01 00:00:00", id="naive is UTC"),
        pytest.param("2026-06-01T00:00", id="to the minute"),
        pytest.param("2026-06-01T02:00:00+02:00", id="offset"),
        pytest.param("2026-06-01T00:00:00.000000+0000", id="as Polars writes"),
    ],
)
def test_times_of_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "load.csv"
    path.write_text(f"starts_at_utc,energy_kwh\n{text},1.5\n")
    assert read_net_load(path)["starts_at_utc"].to_list() == [datetime(2026, 6, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        pytest.param("a.csv", "time,energy_kwh\n1,2\n", SourceError, "lacks the column", id="no times"),
        pytest.param("a.csv", "starts_at_utc,energy_kwh\nnoon,2\n", SourceError, "is not a time", id="no time"),
        pytest.param("a.csv", "starts_at_utc,energy_kwh\n,2\n", SourceError, "is not a time", id="blank time"),
        pytest.param("a.xls", "x", SourceError, "is neither", id="format"),
        pytest.param("b.csv", None, SourceError, "does not exist", id="absent"),
        pytest.param(
            "a.csv", "starts_at_utc,energy_kwh\n2026-06-01T00:00Z,2\n", ContractError, "even slots", id="part of a day"
        ),
    ],
)
def test_a_bad_file_is_named(
    tmp_path: Path, name: str, content: str | None, error: type[Exception], message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=message):
        price_file(
            tmp_path / name, zone_path=None, out_path=tmp_path / "o.csv", report_path=None, published_at_utc=PUBLISHED
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("flat_rate = -1\n", "flat_rate", id="out of range"),
        pytest.param("flat = 1\n", "flat: there is no such field", id="unknown field"),
        pytest.param('timezone = "Mars/Base"\n', "IANA", id="time zone"),
        pytest.param("floor = 0.9\n", "above cap", id="floor above cap"),
        pytest.param('[[export]]\nname = "x"\nprice = 0.5\n', "cheapest import", id="a pump of money"),
        pytest.param("flat_rate = \n", "cannot be read", id="not TOML"),
        pytest.param('[[groups]]\nname = "g"\nhourly_weights = [1.0]\n', "24 values", id="weights"),
    ],
)
def test_a_bad_zone_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "zone.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_zone(path)


def test_times_of_the_day_are_those_of_the_frame() -> None:
    assert ROWS["delivery_date"].unique().to_list() == [DAY]
