"""Weather files: mapped ones, BDG2's, and files of sources that fail while the others go on."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import WEATHER_OBSERVED, Window
from energy_assets.errors import ConfigError, SourceError
from energy_assets.weather.judging import Judged
from energy_assets.weather.mapped import load_weather_mapping, read_mapped
from energy_assets.weather.sources import Weather, WeatherFiles, read_weather

ALWAYS = Window.of_days(date(2000, 1, 1), date(2030, 1, 1))
NOW = datetime(2024, 6, 1, tzinfo=UTC)
CAMBRIDGE = """
[time]
column = "ts_utc"
[site]
id = "cambridge.main"
[quantities.temperature_c]
column = "temp_c"
unit = "degC"
[quantities.relative_humidity_fraction]
column = "rh_pct"
unit = "percent"
[quantities.global_horizontal_irradiance_w_m2]
column = "ghi_wm2"
unit = "W/m2"
"""


def written(folder: Path, text: str, name: str = "weather.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def mapped(folder: Path, mapping: Path) -> Judged:
    return read_mapped(folder / "w.csv", load_weather_mapping(mapping), source="s", window=ALWAYS)


def reasons_of(refused: pl.DataFrame) -> list[tuple[int, str | None, str]]:
    return list(refused.select("line_number", "quantity", "reason").sort("line_number", "quantity").iter_rows())


def is_balanced(weather: Weather) -> bool:
    parts = pl.sum_horizontal("stored", "duplicate", "quarantined")
    return weather.landings.filter(pl.col("rows_in") != parts).is_empty()


def mapping_of(folder: Path, *, quantity: str, unit: str, zone: str = "UTC") -> Path:
    text = f"""
    [time]
    column = "at"
    zone = "{zone}"
    [site]
    id = "s.main"
    [quantities.{quantity}]
    column = "x"
    unit = "{unit}"
    """
    return written(folder, text)


@pytest.mark.parametrize(
    ("quantity", "unit", "value", "expected"),
    [
        pytest.param("temperature_c", "degF", 50.0, 10.0, id="Fahrenheit"),
        pytest.param("temperature_c", "K", 283.15, 10.0, id="Kelvin"),
        pytest.param("wind_speed_ms", "mph", 10.0, 4.4704, id="miles an hour"),
        pytest.param("wind_speed_ms", "km/h", 36.0, 10.0, id="km/h"),
        pytest.param("sea_level_pressure_hpa", "inHg", 29.92, 1013.207, id="inches of mercury"),
        pytest.param("cloud_cover_fraction", "oktas", 4.0, 0.5, id="oktas"),
        pytest.param("snow_depth_m", "cm", 12.0, 0.12, id="snow in cm is no length of rain"),
        pytest.param("precipitation_mm", "in", 1.0, 25.4, id="inches of rain"),
        pytest.param("global_horizontal_irradiance_w_m2", "J/m2 per hour", 3.6e6, 1000.0, id="Joules an hour"),
    ],
)
def test_units(tmp_path: Path, quantity: str, unit: str, value: float, expected: float) -> None:
    (tmp_path / "w.csv").write_text(f"at,x\n2024-05-01 00:00,{value}\n")
    judged = mapped(tmp_path, mapping_of(tmp_path, quantity=quantity, unit=unit))
    assert judged.hours[quantity].to_list() == pytest.approx([expected], rel=1e-5)
    assert judged.refused.is_empty()


def test_quarter_hours_become_hours_as_each_quantity_asks(tmp_path: Path) -> None:
    text = """
    [time]
    column = "at"
    [site]
    column = "station"
    [site.rename]
    KSAC = "sacramento.main"
    [quantities.temperature_c]
    column = "t"
    unit = "degF"
    [quantities.precipitation_mm]
    column = "rain"
    unit = "mm"
    [quantities.wind_direction_deg]
    column = "dir"
    unit = "deg"
    """
    (tmp_path / "w.csv").write_text(
        "at,station,t,rain,dir\n"
        "2024-05-01T10:00:00Z,KSAC,50,1,350\n2024-05-01T10:15:00Z,KSAC,52,0,10\n"
        "2024-05-01T10:30:00Z,KSAC,54,0,350\n2024-05-01T10:45:00Z,KSAC,56,2,10\n"
        "2024-05-01T10:45:00Z,KSAC,99,9,10\nnever,KSAC,50,0,0\n2024-05-01T11:00:00Z,XX,,,\n"
    )
    judged = mapped(tmp_path, written(tmp_path, text))
    rows = judged.hours
    assert reasons_of(judged.refused) == [(6, None, "conflict"), (7, None, "unreadable_time")]
    assert judged.refused["payload"].to_list() == ["2024-05-01T10:45:00Z,KSAC,99,9,10", "never,KSAC,50,0,0"]
    hour = rows.filter(pl.col("site_id") == "sacramento.main").row(0, named=True)
    assert hour["starts_at_utc"] == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert hour["temperature_c"] == pytest.approx((53 - 32) * 5 / 9)
    assert hour["precipitation_mm"] == 3
    assert min(hour["wind_direction_deg"], 360 - hour["wind_direction_deg"]) == pytest.approx(0, abs=1e-6)
    empty = rows.filter(pl.col("site_id") == "s.XX").row(0, named=True)
    assert (empty["temperature_c"], empty["precipitation_mm"], empty["wind_direction_deg"]) == (None, None, None)


def test_hours_that_a_clock_change_skips_or_repeats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text(
        "at,x\n2024-03-31 01:30,1\n2024-03-31 02:30,2\n2024-03-31 03:30,3\n2024-10-27 02:30,4\n"
    )
    judged = mapped(tmp_path, mapping_of(tmp_path, quantity="temperature_c", unit="degC", zone="Europe/Berlin"))
    assert reasons_of(judged.refused) == [(3, None, "nonexistent_local_time"), (5, None, "ambiguous_local_time")]
    assert [at.hour for at in judged.hours["starts_at_utc"]] == [0, 1]


def test_an_offset_in_the_stamp_comes_before_the_zone(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("at,x\n2024-10-27T02:30:00+02:00,1\n2024-10-27 02:30+0100,2\n")
    judged = mapped(tmp_path, mapping_of(tmp_path, quantity="temperature_c", unit="degC", zone="Europe/Berlin"))
    assert judged.hours.select("starts_at_utc", "temperature_c").rows() == [
        (datetime(2024, 10, 27, 0, tzinfo=UTC), 1.0),
        (datetime(2024, 10, 27, 1, tzinfo=UTC), 2.0),
    ]


def test_rain_of_an_hour_that_is_partly_there_is_not_known(tmp_path: Path) -> None:
    stamps = [f"2024-05-01 {hour:02}:{minute:02}" for hour in range(3) for minute in (0, 15, 30, 45)]
    lines = [f"{stamp},1" for stamp in stamps if stamp != "2024-05-01 01:30"]
    (tmp_path / "w.csv").write_text("\n".join(["at,x", *lines]) + "\n")
    judged = mapped(tmp_path, mapping_of(tmp_path, quantity="precipitation_mm", unit="mm"))
    assert judged.hours["precipitation_mm"].to_list() == [4.0, None, 4.0]
    assert judged.hours["line_count"].to_list() == [4, 3, 4]


def test_every_row_of_a_dirty_file_is_an_hour_a_repeat_or_named(tmp_path: Path) -> None:
    header = "site_id,timestamp,air_temperature,cloud_coverage,dew_temperature,precip_depth_1_hr"
    lines = [
        f"{header},sea_level_pressure,wind_direction,wind_speed",
        "0,2016-01-01 00:00:00,25.0,6,20.0,,1019.7,0,0.0",
        "0,2016-01-01 00:00:00,25.0,6,20.0,,1019.7,0,0.0",
        "0,2016-01-01 00:00:00,24.0,6,20.0,,1019.7,0,0.0",
        "0,2016-01-01 01:00:00,warm,9,20.0,-1,1019.7,0,0.0",
        "0,2016-01-01 02:00:00,400,,20.0,,1019.7,0,inf",
        "0,soon,25.0,6,20.0,,1019.7,0,0.0",
        ",2016-01-01 03:00:00,25.0,6,20.0,,1019.7,0,0.0",
        "0,2016-01-01 04:00:00,25.0,6,20.0,,1019.7,0,0.0,7",
        "",
        "0,2016-01-01 05:00:00,2",
    ]
    (tmp_path / "weather_train.csv").write_text("\n".join(lines))
    day = Window.of_days(date(2016, 1, 1))
    weather = read_weather([WeatherFiles(source="a", gepiii_folder=tmp_path)], observed=day, issued=day, now=NOW)
    assert weather.failures == {}
    assert reasons_of(weather.quarantine) == [
        (4, None, "conflict"),
        (5, "temperature_c", "unreadable_number"),
        (6, "temperature_c", "implausible"),
        (6, "wind_speed_ms", "implausible"),
        (7, None, "unreadable_time"),
        (8, None, "unknown_site"),
        (9, None, "malformed_line"),
        (11, None, "malformed_line"),
    ]
    assert weather.quarantine.filter(pl.col("line_number") == 11)["payload"].item() == lines[-1]
    total = weather.landings.select(pl.sum("rows_in", "stored", "duplicate", "quarantined", "values_refused", "hours"))
    assert total.row(0) == (9, 3, 1, 5, 3, 3)
    assert is_balanced(weather)
    assert weather.observed["temperature_c"].to_list() == [25.0, None, None]
    assert weather.observed["cloud_cover_fraction"].to_list() == [0.75, None, None]
    assert weather.observed["precipitation_mm"].to_list() == [None, 0.0, None]
    assert weather.refused["malformed_line of row"] == 2


def test_of_two_sources_of_an_hour_the_richer_is_stored_and_the_other_counted(tmp_path: Path) -> None:
    moment = datetime(2024, 5, 1, tzinfo=UTC)
    poor = pl.DataFrame({"site_id": ["b.main"] * 2, "starts_at_utc": [moment, moment + timedelta(hours=1)]})
    poor.with_columns(temperature_c=9.0).write_parquet(tmp_path / "poor.parquet")
    rich = poor.head(1).with_columns(temperature_c=8.0, wind_speed_ms=2.0, available_at_utc=moment)
    rich.write_parquet(tmp_path / "rich.parquet")
    day = Window.of_days(date(2024, 5, 1))
    weather = read_weather(
        [WeatherFiles(source="b", observed=tmp_path / f"{name}.parquet") for name in ("poor", "rich")],
        observed=day,
        issued=day,
        now=NOW,
    )
    assert weather.observed.select("temperature_c", "available_at_utc").rows() == [
        (8.0, moment),
        (9.0, moment + timedelta(hours=2)),
    ]
    account = weather.landings.select("rows_in", "stored", "duplicate", "quarantined", "hours").rows()
    assert account == [(2, 1, 1, 0, 1), (1, 1, 0, 0, 1)]


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        pytest.param(b"", "w.csv", "is empty", id="empty"),
        pytest.param(gzip.compress(b"at,x\n2024-05-01,1\n" * 500)[:60], "w.csv.gz", "damaged gzip", id="torn gzip"),
        pytest.param(b"PAR1", "w.parquet", "cannot be read", id="torn Parquet"),
        pytest.param(b"time,x\n", "w.csv", "lacks the columns at .* it has time, x", id="wrong column"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path: Path, content: bytes, name: str, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    mapping = load_weather_mapping(mapping_of(tmp_path, quantity="temperature_c", unit="degC"))
    with pytest.raises(SourceError, match=says):
        read_mapped(tmp_path / name, mapping, source="s", window=ALWAYS)


def test_quoted_fields_gzip_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = '\ufeffat,x,note\n2024-05-01 00:00,7.5,"mild, dry"\n'
    (tmp_path / "w.csv.gz").write_bytes(gzip.compress(text.encode()))
    mapping = load_weather_mapping(mapping_of(tmp_path, quantity="temperature_c", unit="degC"))
    judged = read_mapped(tmp_path / "w.csv.gz", mapping, source="s", window=ALWAYS)
    assert judged.refused.is_empty()
    assert judged.hours["temperature_c"].to_list() == [7.5]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(('unit = "degC"', 'unit = "furlong"'), "cannot be in 'furlong'; choose from degC", id="unit"),
        pytest.param(("temperature_c", "temprature_c"), "quantity 'temprature_c' is unknown", id="quantity"),
        pytest.param(('id = "cambridge.main"', ""), "give either id or column", id="no site"),
        pytest.param(("[time]", "[tim]"), "time", id="no time"),
        pytest.param(('column = "ts_utc"', 'column = "ts_utc"\nzone = "Europe/Camford"'), "no IANA zone", id="zone"),
    ],
)
def test_a_broken_mapping_names_its_key(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_weather_mapping(written(tmp_path, CAMBRIDGE.replace(*change)))


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("ts_utc,temp\n2024-01-01 00:00,1\n")
    with pytest.raises(SourceError, match="lacks the columns ghi_wm2, rh_pct, temp_c"):
        mapped(tmp_path, written(tmp_path, CAMBRIDGE))


def test_bdg2_weather_is_on_each_sites_clock(tmp_path: Path) -> None:
    header = (
        "timestamp,site_id,airTemperature,cloudCoverage,dewTemperature,precipDepth1HR,precipDepth6HR,"
        "seaLvlPressure,windDirection,windSpeed"
    )
    path = written(
        tmp_path,
        f"{header}\n2016-01-01 00:00:00,Panther,19.4,9,19.4,-1,,1010,0,0\n"
        "2016-01-01 00:00:00,Robin,3.8,4,2.4,,,1012,240,3.1\n2016-01-01 00:00:00,Nowhere,1,,,,,,,\n",
        name="weather.csv",
    )
    zones = {"bdg2.Panther": "US/Eastern", "bdg2.Robin": "Europe/London"}
    day = Window.of_days(date(2016, 1, 1))
    weather = read_weather(
        [WeatherFiles(source="bdg2", bdg2_file=path, zones=zones)], observed=day, issued=day, now=NOW
    )
    assert reasons_of(weather.quarantine) == [(4, None, "unknown_site")]
    rows = {row["site_id"]: row for row in weather.observed.iter_rows(named=True)}
    assert set(rows) == {"bdg2.Panther", "bdg2.Robin"}
    assert rows["bdg2.Panther"]["starts_at_utc"] == datetime(2016, 1, 1, 5, tzinfo=UTC)
    assert rows["bdg2.Robin"]["starts_at_utc"] == datetime(2016, 1, 1, tzinfo=UTC)
    assert (rows["bdg2.Panther"]["cloud_cover_fraction"], rows["bdg2.Panther"]["precipitation_mm"]) == (None, 0.0)
    assert rows["bdg2.Robin"]["cloud_cover_fraction"] == 0.5
    assert rows["bdg2.Panther"]["relative_humidity_fraction"] == pytest.approx(1.0)


def test_a_source_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    moment = datetime(2024, 5, 1, tzinfo=UTC)
    fine = pl.DataFrame({"site_id": ["b.main"], "starts_at_utc": [moment], "temperature_c": [9.0]})
    fine.write_parquet(tmp_path / "fine.parquet")
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1 but no more")
    day = Window.of_days(date(2024, 5, 1))
    weather = read_weather(
        [
            WeatherFiles(source="a", observed=torn),
            WeatherFiles(source="b", observed=tmp_path / "fine.parquet"),
            WeatherFiles(source="c", observed=tmp_path / "nowhere.parquet"),
        ],
        observed=day,
        issued=day,
        now=NOW,
    )
    assert set(weather.failures) == {"a.", "c."}
    assert "does not exist" in weather.failures["c."]
    assert weather.observed["site_id"].to_list() == ["b.main"]
    assert weather.observed["available_at_utc"].to_list() == [moment + timedelta(hours=1)]


def test_the_weather_of_cambridge_is_read_whole(tmp_path: Path) -> None:
    folder = os.environ.get("ENERGY_ASSETS_REAL_DATA")
    if not folder:
        pytest.skip("ENERGY_ASSETS_REAL_DATA names no folder: the real data sets are not part of the project")
    path = Path(folder) / "cambridge_dev_weather_carbon.parquet"
    years = Window.of_days(date(2018, 1, 1), date(2019, 12, 31))
    weather = read_weather(
        [WeatherFiles(source="cambridge", observed=path, mapping=written(tmp_path, CAMBRIDGE))],
        observed=years,
        issued=years,
        now=NOW,
    )
    assert weather.failures == {}
    assert is_balanced(weather)
    assert weather.observed.height == 17_520
    assert weather.observed.schema == WEATHER_OBSERVED.polars_schema
    assert weather.observed["temperature_c"].mean() == pytest.approx(11, abs=1)
    assert weather.observed["dew_point_c"].null_count() < 200
