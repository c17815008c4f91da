"""`energy detect` on files: what it finds, what it writes, and what it says about files that are not right."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.anomalies.detect import detect, detect_files
from energy_assets.anomalies.files import read_meters, read_readings, read_weather
from energy_assets.contracts import ANOMALIES_EVENTS, ANOMALIES_FLAGS
from energy_assets.errors import SourceError
from energy_assets_tests.anomalies.meters import MONDAY, clean_kwh, readings

DAYS = 40


def person() -> pl.DataFrame:
    kwh = {"a": clean_kwh(days=DAYS), "b": clean_kwh(days=DAYS, seed=1)}
    kwh["a"][30 * 24 + 12] = 60.0
    kwh["b"][35 * 24 : 35 * 24 + 5] = np.nan
    rows = readings(kwh)
    return rows.select("meter_id", "starts_at_utc", energy_kwh="reported_kwh")


def test_files_in_files_out(tmp_path: Path) -> None:
    source = tmp_path / "readings.csv"
    person().write_csv(source)
    out = {name: tmp_path / f"{name}.parquet" for name in ("flags", "events", "scores")}
    found = detect_files(
        source, flags_path=out["flags"], events_path=out["events"], scores_path=out["scores"],
        report_path=tmp_path / "report.json",
    )  # fmt: skip
    flags = pl.read_parquet(out["flags"])
    assert flags.equals(found.flags)
    assert flags.columns == ANOMALIES_FLAGS.column_names
    assert pl.read_parquet(out["events"]).columns == ANOMALIES_EVENTS.column_names
    scores = pl.read_parquet(out["scores"])
    assert scores.columns == ["meter_id", "starts_at_utc", "score"]
    assert scores.height == 2 * DAYS * 24
    assert scores["score"].is_between(0, 1).all()
    worst = scores.filter(pl.col("meter_id") == "a").sort("score", descending=True).row(0)
    assert worst[1] == MONDAY + pl.select(pl.duration(hours=30 * 24 + 12)).item()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows_in"] == report["rows_used"] == 2 * DAYS * 24
    assert report["flags"]["gap"] == 5


def test_csv_and_parquet_and_naive_times_say_the_same(tmp_path: Path) -> None:
    person().write_parquet(tmp_path / "r.parquet")
    person().with_columns(pl.col("starts_at_utc").dt.strftime("%Y-%m-%d %H:%M")).write_csv(tmp_path / "r.csv")
    assert read_readings(tmp_path / "r.parquet").equals(read_readings(tmp_path / "r.csv"))


def test_absent_rows_are_gaps_and_repeats_are_named() -> None:
    rows = person().filter(
        ~((pl.col("meter_id") == "a") & (pl.col("starts_at_utc").dt.date() == MONDAY.date().replace(day=20)))
    )
    twice = rows.row(100, named=True) | {"energy_kwh": 3.21}
    found = detect(pl.concat([rows, pl.DataFrame([twice], schema=rows.schema)]))
    assert found.flags.filter(pl.col("rule") == "gap", pl.col("meter_id") == "a").height == 24
    assert found.flags.filter(pl.col("rule") == "duplicate")["actual_kwh"].item() == 3.21
    assert found.report["rows_repeated"] == 1
    assert found.scores.filter(pl.col("meter_id") == "a").height == DAYS * 24


def test_a_flag_stream_does_not_change_when_more_days_arrive() -> None:
    rows = person()
    until = MONDAY + pl.duration(days=36)
    short = detect(rows.filter(pl.col("starts_at_utc") < until)).flags
    whole = detect(rows).flags.filter(pl.col("starts_at_utc") < until)
    assert short.equals(whole)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "does not exist", id="absent"),
        pytest.param("", "is empty", id="empty"),
        pytest.param("meter_id,starts_at_utc,energy_kwh\n", "no rows", id="header only"),
        pytest.param("meter,when,kwh\na,2024-01-01T00:00:00Z,1\n", "lacks the columns", id="other columns"),
        pytest.param("meter_id,starts_at_utc,energy_kwh\na,yesterday,1\n", "data row 1 .* not a time", id="bad time"),
        pytest.param(
            "meter_id,starts_at_utc,energy_kwh\na,2024-01-01T00:00:00Z,1\na,2024-01-01T01:00:00Z,many\n",
            "data row 2 .* not a number", id="bad number",
        ),
        pytest.param("meter_id,starts_at_utc,energy_kwh\n,2024-01-01T00:00:00Z,1\n", "meter_id is", id="no meter"),
        pytest.param(
            "meter_id,starts_at_utc,energy_kwh\na,2024-01-01T00:00:00Z,1e300\n", "check its unit", id="absurd value"
        ),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_apart(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "readings.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SourceError, match=message):
        read_readings(path)


def test_a_truncated_gzip_and_an_unknown_ending_are_told(tmp_path: Path) -> None:
    broken = tmp_path / "readings.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(SourceError, match="cannot be read"):
        read_readings(broken)
    (tmp_path / "readings.xlsx").write_text("x")
    with pytest.raises(SourceError, match="neither"):
        read_readings(tmp_path / "readings.xlsx")


def test_missing_and_infinite_values_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    times = [f"2024-01-01T{hour:02d}:00:00Z" for hour in range(4)]
    values = ["1.5", "", "nan", "inf"]
    path.write_text(
        "meter_id,starts_at_utc,energy_kwh\n" + "".join(f"a,{t},{v}\n" for t, v in zip(times, values, strict=True))
    )
    assert read_readings(path)["reported_kwh"].to_list() == [1.5, None, None, None]


def test_a_cadence_that_does_not_divide_a_day_is_told() -> None:
    times = ["2024-01-01T00:00", "2024-01-01T00:07", "2024-01-01T00:14"]
    rows = pl.DataFrame({"meter_id": ["a"] * 3, "starts_at_utc": times, "energy_kwh": [1.0, 1.0, 1.0]})
    with pytest.raises(SourceError, match="every 7 minutes"):
        detect(rows)


def test_meters_and_weather_files(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("meter_id,site_id,capacity_kw,timezone\na,s,12.5,Europe/Berlin\n")
    (tmp_path / "w.csv").write_text("starts_at_utc,temperature_c\n2024-01-01T00:00:00Z,3.5\n2024-01-01T01:00:00Z,\n")
    assert read_meters(tmp_path / "m.csv")["capacity_kw"].item() == 12.5
    assert read_weather(tmp_path / "w.csv")["temperature_c"].to_list() == [3.5]
    (tmp_path / "m.csv").write_text("meter_id\na\na\n")
    with pytest.raises(SourceError, match="more than once"):
        read_meters(tmp_path / "m.csv")
