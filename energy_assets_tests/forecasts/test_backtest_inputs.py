"""A person's files: what is read from them, what is assumed, and what stops with a message that helps."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets.errors import SourceError
from energy_assets.features.horizon import Horizon
from energy_assets.forecasts.backtest_inputs import _readings, read_inputs
from energy_assets.forecasts.backtest_learning import features_of
from energy_assets.forecasts.spikes import without_spikes
from energy_assets_tests.forecasts.own_files import START, inputs_of, temperatures, wave, write

HEADER = "meter_id,starts_at_utc,energy_kwh\n"
ONE = f"{HEADER}a,2025-01-01T00:00:00Z,1\na,2025-01-01T01:00:00Z,2\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "is empty; export it again", id="empty-file"),
        pytest.param(HEADER, "has a header and no rows", id="no-rows"),
        pytest.param("meter,time,kwh\na,b,c\n", "lacks the columns.*it has.*meter.*Name its columns", id="columns"),
        pytest.param(f"{HEADER}a,31.12.2025 23:00,1\n", "data row 1 of 1: starts_at_utc is not a time", id="time"),
        pytest.param(f'{HEADER}a,2025-01-01,"1,5"\n', "energy_kwh is not a number.*'1,5'", id="decimal-comma"),
        pytest.param(f"{HEADER},2025-01-01,1\n", "meter_id is empty", id="no-meter"),
        pytest.param(f"{HEADER}a,2025-01-01,1e10\n", "beyond 1e.09 kWh.*check its unit", id="wrong-unit"),
        pytest.param(f"{HEADER}a,2025-01-01,\n", "no row with an energy_kwh", id="all-missing"),
        pytest.param(
            f"{ONE}a,2025-01-01T01:00:00Z,3\n", "meter a has different readings at 2025-01-01 01:00", id="two"
        ),
        pytest.param(f"{ONE}a,2025-01-01T02:07:00Z,3\n", "a reading at 2025-01-01 02:07:00.*round it", id="off-grid"),
        pytest.param(f"{HEADER}a,2025-01-01,1\na,2025-01-02,1\n", "every 1440 minutes.*resample", id="daily"),
    ],
)
def test_readings_that_cannot_be_right_are_refused_with_place_and_remedy(tmp_path: Path, text: str, says: str):
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=rf"(?s)r\.csv.*{says}"):
        read_inputs(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            "meter_id\nother\n", "None of the 1 meters.*declares 'other', the readings 'a'", id="other-meters"
        ),
        pytest.param("meter_id\na\na\n", "data row 1 of 2: the meter is declared more than once", id="twice"),
        pytest.param("meter_id,timezone\na,Mars/Phobos\n", "'Mars/Phobos' is no time zone", id="zone"),
        pytest.param("meter_id,commodity\na,coal\n", "commodity must be one of electricity.*'coal'", id="commodity"),
        pytest.param("meter_id,latitude\na,100\n", "latitude is not within", id="latitude"),
    ],
)
def test_meters_that_cannot_be_right_are_refused(tmp_path: Path, text: str, says: str):
    (tmp_path / "r.csv").write_text(ONE)
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(SourceError, match=f"(?s){says}"):
        read_inputs(tmp_path / "r.csv", meters_path=tmp_path / "m.csv")


def test_a_site_with_two_clocks_is_refused(tmp_path: Path):
    meters = pl.DataFrame({"meter_id": ["a", "b"], "site_id": "s", "timezone": ["Europe/Berlin", "Asia/Tokyo"]})
    with pytest.raises(SourceError, match="site s has meters of several values of timezone: Asia/Tokyo, Europe/Berlin"):
        inputs_of(tmp_path, pl.concat([wave("a", days=1), wave("b", days=1)]), meters=meters)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        pytest.param("absent.csv", "does not exist", id="absent"),
        pytest.param("torn.parquet", "cannot be read", id="torn"),
        pytest.param("readings.xlsx", "neither .csv", id="spreadsheet"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, path: str, says: str):
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "readings.xlsx").write_bytes(b"PK")
    with pytest.raises(SourceError, match=says):
        read_inputs(tmp_path / path)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2025-01-01T00:00:00Z", id="zulu"),
        pytest.param("2025-01-01 00:00", id="naive-is-utc"),
        pytest.param("2025-01-01", id="day"),
        pytest.param("2025-01-01T01:00:00+01:00", id="offset"),
        pytest.param("2024-12-31 18:30:00.000-0530", id="offset-without-colon"),
    ],
)
def test_times_are_read_in_the_usual_ways(tmp_path: Path, text: str):
    (tmp_path / "r.csv").write_text(f"{HEADER}a,{text},1.5\n")
    inputs = read_inputs(tmp_path / "r.csv")
    assert inputs.readings["starts_at_utc"].to_list() == [datetime(2025, 1, 1, tzinfo=UTC)]


def test_a_bare_file_gets_defaults_that_say_so(tmp_path: Path):
    inputs = inputs_of(tmp_path, wave("a", days=2, minutes=15))
    meter, site = inputs.meters.row(0, named=True), inputs.sites.row(0, named=True)
    assert (meter["interval_minutes"], meter["commodity"], meter["direction"]) == (15, "electricity", "consumption")
    assert (site["timezone"], site["country_code"]) == ("UTC", None)
    assert inputs.readings["available_at_utc"][0] == START + timedelta(minutes=15)
    assert inputs.notes == (
        "1 of 1 meters do not say their timezone; their days are those of UTC",
        "1 of 1 meters have no country_code; no public holidays are known for them",
        "no weather is given; every forecast is made without it",
    )


@pytest.mark.parametrize(
    ("times", "is_told"),
    [
        pytest.param(["2025-01-01 00:00", "2025-01-01 01:00"], True, id="naive"),
        pytest.param(["2025-01-01", "2025-01-02"], True, id="days"),
        pytest.param(["2025-01-01T00:00:00Z", "2025-01-01T01:00:00Z"], False, id="utc"),
        pytest.param(["2025-01-01T00:00:00.5-0530", "2025-01-01T01:00:00.5-0530"], False, id="offset"),
    ],
)
def test_times_without_offset_are_told(tmp_path: Path, times: list[str], is_told: bool):
    rows = pl.DataFrame({"meter_id": ["a", "a"], "starts_at_utc": times, "energy_kwh": [1.0, 2.0]})
    notes: list[str] = []
    _readings(write(rows, tmp_path / "r.csv"), notes)
    assert (notes == ["the times of the readings have no offset and are taken as UTC"]) == is_told


def test_other_names_of_commodities_and_directions_are_taken_and_told(tmp_path: Path):
    """BDG2 writes hotwater, sellers of PV say net; columns that nothing uses are named."""
    rows = pl.concat([wave(each, days=1) for each in ("a", "b", "c")])
    about = pl.DataFrame(
        {"meter_id": ["a", "b", "c"], "commodity": ["hotwater", "Natural gas", "electricity"],
         "direction": [None, "consumption", "Net load"], "colour": ["red"] * 3}
    )  # fmt: skip
    inputs = inputs_of(tmp_path, rows, meters=about)
    assert inputs.meters["commodity"].to_list() == ["hot_water", "gas", "electricity"]
    assert inputs.meters["direction"].to_list() == ["consumption", "consumption", "grid_import"]
    assert inputs.notes[:4] == (
        "columns of the meters file that nothing is learned from: colour",
        "commodity hotwater is taken as hot_water",
        "commodity natural_gas is taken as gas",
        "direction net_load is taken as grid_import",
    )


def test_missing_is_null_empty_or_absent(tmp_path: Path):
    rows = wave("a", days=3).with_columns(
        energy_kwh=pl.when(pl.col("starts_at_utc").dt.hour() != 5).then(pl.col("energy_kwh").cast(pl.String))
    )
    rows = rows.filter(pl.col("starts_at_utc").dt.hour() != 6)
    rows = rows.with_columns(
        energy_kwh=pl.when(pl.col("starts_at_utc").dt.hour() == 7).then(pl.lit("NaN")).otherwise("energy_kwh")
    )
    assert inputs_of(tmp_path, rows).readings.height == 3 * 21


def test_repeats_of_one_reading_are_one_and_a_written_gap_takes_nothing_away(tmp_path: Path):
    rows = wave("a", days=1)
    again = pl.concat([rows, rows.head(3), rows.head(2).with_columns(energy_kwh=pl.lit(None, pl.Float64))])
    inputs = inputs_of(tmp_path, again)
    assert inputs.readings.height == 24
    assert "3 readings stand in the file more than once" in inputs.notes[0]


def test_arrival_times_are_heeded_and_never_before_the_end_of_the_interval(tmp_path: Path):
    rows = wave("a", days=1).with_columns(available_at_utc=pl.lit(START + timedelta(hours=10)))
    arrived = inputs_of(tmp_path, rows).readings["available_at_utc"]
    assert arrived.min() == START + timedelta(hours=10)
    assert arrived.max() == START + timedelta(hours=24)


def test_weather_without_sites_serves_all_and_its_one_site_names_theirs(tmp_path: Path):
    readings = pl.concat([wave("a", days=2), wave("b", days=2)])
    meters = pl.DataFrame({"meter_id": ["a", "b"], "timezone": ["Europe/Berlin", "Asia/Tokyo"]})
    everywhere = inputs_of(tmp_path, readings, weather=temperatures(2), meters=meters)
    assert everywhere.weather is not None
    assert everywhere.weather.sites() == set(everywhere.sites["site_id"])
    named = inputs_of(tmp_path, readings, weather=temperatures(2).with_columns(site_id=pl.lit("town")))
    assert named.meters["site_id"].unique().to_list() == ["town"]


@pytest.mark.parametrize(
    ("weather", "says"),
    [
        pytest.param(
            temperatures(1).rename({"temperature_c": "temp"}), "no column that we know.*temperature_c", id="name"
        ),
        pytest.param(
            temperatures(1).with_columns(site_id=pl.lit("x")), "of the sites x; the meters are at s", id="site"
        ),
    ],
)
def test_weather_that_fits_nothing_is_refused(tmp_path: Path, weather: pl.DataFrame, says: str):
    meters = pl.DataFrame({"meter_id": ["a"], "site_id": ["s"]})
    with pytest.raises(SourceError, match=f"(?s)weather.csv.*{says}"):
        inputs_of(tmp_path, wave("a", days=1), weather=weather, meters=meters)


def test_weather_without_temperature_is_read_and_what_it_costs_is_told(tmp_path: Path):
    sun = temperatures(1).rename({"temperature_c": "global_horizontal_irradiance_w_m2"})
    inputs = inputs_of(tmp_path, wave("a", days=1), weather=sun)
    assert inputs.notes[0].startswith("the weather has no temperature_c")


def test_nonsense_in_the_weather_is_left_out_and_counted(tmp_path: Path):
    odd = temperatures(1).with_columns(
        temperature_c=pl.when(pl.col("starts_at_utc").dt.hour() < 3).then(1e9).otherwise("temperature_c"),
        global_horizontal_irradiance_w_m2=pl.lit(-2.0),
        cloud_cover_fraction=pl.lit(1.004),
    )
    inputs = inputs_of(tmp_path, wave("a", days=1), weather=odd)
    assert inputs.weather is not None
    observed = inputs.weather.observed.sort("starts_at_utc")
    assert observed["temperature_c"].null_count() == 3
    assert observed["global_horizontal_irradiance_w_m2"].unique().to_list() == [0.0]
    assert observed["cloud_cover_fraction"].unique().to_list() == [1.0]
    assert inputs.notes[:1] == (
        "3 of 24 values of temperature_c are beyond -90 .. 60 and left out; is its unit right?",
    )


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        # 15 minutes: the mean of the hour; 3 hours: a straight line to the next, and the last value to the end.
        pytest.param(15, [1.5, 5.5], id="quarter-hours"),
        pytest.param(180, [0.0, 1.0, 2.0, 3.0, 3.0, 3.0], id="every-three-hours"),
    ],
)
def test_weather_becomes_hourly(tmp_path: Path, every: int, expected: list[float]):
    count = 8 if every == 15 else 2
    step = 1.0 if every == 15 else 3.0
    times = [START + timedelta(minutes=every * number) for number in range(count)]
    weather = pl.DataFrame({"starts_at_utc": times, "temperature_c": [step * number for number in range(count)]})
    inputs = inputs_of(tmp_path, wave("a", days=1), weather=weather)
    assert inputs.weather is not None
    assert inputs.weather.observed.sort("starts_at_utc")["temperature_c"].to_list() == expected


def test_weather_with_issue_times_counts_from_its_issue(tmp_path: Path):
    """Two runs say 10 and 20 degrees of the same noon; each issue believes the newest run that it could know."""
    noon, issues = START + timedelta(hours=36), [START + timedelta(hours=hour) for hour in (6, 12, 24)]
    forecast = pl.DataFrame(
        {
            "issued_at_utc": [START + timedelta(hours=12), START + timedelta(hours=18)],
            "starts_at_utc": [noon, noon],
            "temperature_c": [10.0, 20.0],
        }
    )
    inputs = inputs_of(tmp_path, wave("a", days=3), weather=forecast)
    assert inputs.weather is not None
    known = inputs.weather.as_known(issues, horizon=timedelta(hours=48)).filter(starts_at_utc=noon)
    assert known.sort("issued_at_utc").select("issued_at_utc", "temperature_c").rows() == [
        (issues[1], 10.0),
        (issues[2], 20.0),
    ]


@pytest.mark.parametrize(
    ("value", "hour", "is_refused"),
    [
        pytest.param(1e5, 480, True, id="a-hundred-times-the-peak"),
        pytest.param(-1e5, 480, True, id="the-other-way"),
        pytest.param(400.0, 480, False, id="fifty-times"),
        pytest.param(1e5, 240, False, id="too-little-known-before"),
    ],
)
def test_spikes_are_refused_by_what_was_known_before(tmp_path: Path, value: float, hour: int, is_refused: bool):
    rows = inputs_of(tmp_path, wave("a", days=30)).readings
    spiked = rows.with_columns(
        energy_kwh=pl.when(pl.col("starts_at_utc") == START + timedelta(hours=hour)).then(value).otherwise("energy_kwh")
    )
    assert (rows.height - without_spikes(spiked).height == 1) is is_refused
    assert without_spikes(rows).equals(rows)


CALENDAR = "kind,country_code,subdivision_code,site_id,first_date,last_date\n"


def test_calendar_files_reach_the_features_on_local_days_of_any_length(tmp_path: Path):
    """Closed on the day of 25 hours and on no hour beside it; its like days are Sundays, that of 2025-10-26 itself."""
    folder = tmp_path / "calendar"
    folder.mkdir()
    (folder / "mine.csv").write_text(
        f"{CALENDAR}closure,DE,,,2025-10-26,2025-10-26\nschool_holiday,DE,,,2025-10-27,2025-10-31\n"
    )
    start = datetime(2025, 9, 29, tzinfo=UTC)
    write(wave("a", days=40, start=start), tmp_path / "r.csv")
    options = {"timezone": "Europe/Berlin", "country_code": "DE"}
    inputs = read_inputs(tmp_path / "r.csv", calendar_folder=folder, **options)
    issue = datetime(2025, 10, 25, 22, tzinfo=UTC)  # midnight of the 26th, summer time
    rows = features_of(inputs, inputs.meters, issues=[issue], horizon=Horizon.of_hours(26))
    assert rows["is_closed"].to_list() == [1.0] * 25 + [0.0]
    assert rows["is_school_holiday"].to_list() == [0.0] * 25 + [1.0]
    without = read_inputs(tmp_path / "r.csv", **options)
    assert (
        features_of(without, without.meters, issues=[issue], horizon=Horizon.of_hours(26))["is_closed"].is_nan().all()
    )


def test_calendar_files_that_hold_nowhere_are_told(tmp_path: Path):
    (tmp_path / "r.csv").write_text(ONE)
    folder = tmp_path / "calendar"
    folder.mkdir()
    (folder / "mine.csv").write_text(f"{CALENDAR}closure,,,elsewhere,2025-10-26,2025-10-26\n")
    notes = read_inputs(tmp_path / "r.csv", calendar_folder=folder).notes
    assert any("no calendar file holds at 1 of 1 sites" in note for note in notes)
    with pytest.raises(SourceError, match="is no folder"):
        read_inputs(tmp_path / "r.csv", calendar_folder=tmp_path / "r.csv")
