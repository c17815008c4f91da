from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets import contracts
from energy_assets.contracts import Window
from energy_assets.errors import ConfigError, SourceError
from energy_assets.readings import bdg2
from energy_assets.readings.source import Option, Source, Staged
from energy_assets_tests.readings.staging import NOW, Tables, tables_of, utc_connection

CONNECTION = utc_connection()
METADATA = """building_id,site_id,site_id_kaggle,timezone,primaryspaceusage,sqm,lat,lng,solar,heatingtype,yearbuilt
Panther_office_Hannah,Panther,0,US/Eastern,Office,690.5,28.5,-81.4,,Gas,1980
Panther_lodging_Dean,Panther,0,US/Eastern,Lodging/residential,,28.7,-81.2,,,
Fox_food_Scott,Fox,2,US/Mountain,Food sales and service,12,,,Yes,Heat network,
Mouse_health_Ileana,Mouse,,Europe/London,Healthcare,5,,,,,
"""
ELECTRICITY = """timestamp,Panther_office_Hannah,Panther_lodging_Dean,Fox_food_Scott
2016-01-01 00:00:00,1.5,,3
2016-01-01 01:00:00,2.5,-4,NaN
"""


def write(root: Path, files: dict[str, str | bytes], *, options: dict[str, Option] | None = None) -> Source:
    for name, content in {"metadata/metadata.csv": METADATA, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return Source(name="bdg2", kind="bdg2", path=root, options=options or {})


def land(source: Source, *, window: Window | None = None) -> tuple[Staged, Tables]:
    staged = bdg2.stage(CONNECTION, source, window=window, now=NOW)
    return staged, tables_of(CONNECTION, staged)


def electricity(root: Path, content: str | bytes) -> Source:
    return write(root, {"meters/raw/electricity.csv": content})


def test_a_row_of_the_account_is_a_cell_that_is_not_empty(tmp_path: Path):
    staged, tables = land(electricity(tmp_path, ELECTRICITY))
    at = lambda hour: datetime(2016, 1, 1, hour, tzinfo=UTC)
    assert tables.content.select("meter_id", "starts_at_utc", "value", "available_at_utc").rows() == [
        ("bdg2.Fox_food_Scott.electricity", at(7), 3.0, at(8)),
        ("bdg2.Panther_lodging_Dean.electricity", at(6), -4.0, at(7)),
        ("bdg2.Panther_office_Hannah.electricity", at(5), 1.5, at(6)),
        ("bdg2.Panther_office_Hannah.electricity", at(6), 2.5, at(7)),
    ]
    assert (staged.counts.rows_in, staged.counts.stored) == (4, 4)


@pytest.mark.parametrize(
    ("file", "declared"),
    [
        pytest.param("electricity", ("electricity", "electricity", "consumption", "kWh"), id="electricity"),
        pytest.param("chilledwater", ("chilled_water", "chilled_water", "consumption", "kWh"), id="chilled water"),
        pytest.param("steam", ("steam", "steam", "consumption", "kWh"), id="steam"),
        pytest.param("hotwater", ("hot_water", "hot_water", "consumption", "kWh"), id="hot water"),
        pytest.param("gas", ("gas", "gas", "consumption", "kWh"), id="gas"),
        pytest.param("water", ("water", "water", "consumption", "l"), id="water"),
        pytest.param("irrigation", ("irrigation", "water", "consumption", "l"), id="irrigation"),
        pytest.param("solar", ("solar", "electricity", "production", "kWh"), id="solar"),
    ],
)
def test_each_file_declares_its_meters(tmp_path: Path, file: str, declared: tuple[str, str, str, str]):
    suffix, commodity, direction, unit = declared
    staged, tables = land(write(tmp_path, {f"meters/raw/{file}.csv": ELECTRICITY}))
    assert staged.registry is not None
    meter = staged.registry.meters.filter(pl.col("premise_id") == "bdg2.Fox_food_Scott")
    assert meter.select("meter_id", "commodity", "direction", "unit", "site_id").rows() == [
        (f"bdg2.Fox_food_Scott.{suffix}", commodity, direction, unit, "bdg2.Fox")
    ]
    assert tables.raw["unit"].unique().to_list() == [unit]


def test_every_file_is_a_batch_with_its_own_account(tmp_path: Path):
    files = {"meters/raw/electricity.csv": ELECTRICITY, "meters/raw/solar.csv": ELECTRICITY.replace("3", "inf")}
    staged, tables = land(write(tmp_path / "data", files))
    counted = tables.landings.group_by("batch_id").agg(pl.col("stored", "quarantined").sum())
    assert {row[0]: row[1:] for row in counted.rows()} == {
        staged.batch_ids[0]: (4, 0),
        staged.batch_ids[1]: (3, 1),
    }
    root = Source(name="bdg2", kind="bdg2", path=tmp_path)  # the checkout, with its data folder
    assert bdg2.stage(CONNECTION, root, window=None, now=NOW).counts == staged.counts


def test_options_choose_the_variant_and_the_unit_of_water(tmp_path: Path):
    files = {"meters/cleaned/water_cleaned.csv": ELECTRICITY, "meters/raw/electricity.csv": ELECTRICITY}
    _, tables = land(write(tmp_path, files, options={"variant": "cleaned", "water_unit": "m3"}))
    assert tables.raw["unit"].unique().to_list() == ["m3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"variant": "clean"}, r"options\.variant is 'clean'; use one of raw, cleaned", id="variant"),
        pytest.param({"water_unit": "gallon"}, r"options\.water_unit is 'gallon'", id="unit"),
        pytest.param({"varient": "raw"}, "varient", id="unknown option"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, Option], message: str):
    with pytest.raises(ConfigError, match=message):
        land(write(tmp_path, {"meters/raw/electricity.csv": ELECTRICITY}, options=options))


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        pytest.param("2016-01-01 02:00:00,1", [("malformed_line", "2016-01-01 02:00:00,1")], id="too few fields"),
        pytest.param("yesterday,1,2,3", [("unreadable_time", "yesterday,1,2,3")], id="unreadable time"),
        pytest.param(",1,2,3", [("unreadable_time", ",1,2,3")], id="no time"),
        pytest.param(
            "2016-01-01 02:00:00,1,many,inf",
            [
                ("not_finite", "2016-01-01 02:00:00,Fox_food_Scott,inf"),
                ("unreadable_number", "2016-01-01 02:00:00,Panther_lodging_Dean,many"),
            ],
            id="bad cells beside a good one",
        ),
    ],
)
def test_what_cannot_be_read_goes_to_quarantine(tmp_path: Path, line: str, refused: list[tuple[str, str]]):
    _, tables = land(electricity(tmp_path, ELECTRICITY + line + "\n"))
    assert tables.quarantine.select("reason", "payload").sort("reason").rows() == refused
    assert tables.quarantine["line_number"].unique().to_list() == [4]
    assert tables.raw.height == 4 + (len(refused) == 2)


def test_a_column_without_metadata_is_refused_cell_by_cell(tmp_path: Path):
    _, tables = land(electricity(tmp_path, ELECTRICITY.replace("Fox_food_Scott", "Ghost_x_Y")))
    assert tables.quarantine.select("reason", "payload").rows() == [
        ("unknown_building", "2016-01-01 00:00:00,Ghost_x_Y,3")
    ]
    assert tables.raw.height == 3


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\ufeff" + ELECTRICITY, id="byte order mark"),
        pytest.param(ELECTRICITY.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(ELECTRICITY.rstrip("\n"), id="no newline at the end"),
        pytest.param(ELECTRICITY + "\n\n", id="blank lines"),
        pytest.param(ELECTRICITY + ELECTRICITY.split("\n", 1)[1], id="lines repeated"),
    ],
)
def test_other_spellings_of_a_file_store_the_same(tmp_path: Path, content: str):
    _, plain = land(electricity(tmp_path / "plain", ELECTRICITY))
    _, other = land(electricity(tmp_path / "other", content))
    assert other.content.equals(plain.content)
    assert other.quarantine.is_empty()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({}, "holds none of the files electricity.csv", id="no meter file"),
        pytest.param({"meters/raw/electricity.csv": ""}, "is empty", id="empty file"),
        pytest.param({"meters/raw/electricity.csv": "timestamp,Fox_food_Scott\n"}, "and no rows", id="header only"),
        pytest.param(
            {"meters/raw/electricity.csv": ELECTRICITY.replace("timestamp", "when")}, "lacks the columns", id="column"
        ),
        pytest.param(
            {"meters/raw/electricity.csv": ELECTRICITY.replace("Panther_lodging_Dean", "Fox_food_Scott")},
            "two columns 'Fox_food_Scott'",
            id="column twice",
        ),
        pytest.param(
            {"meters/raw/electricity.csv.gz": gzip.compress(ELECTRICITY.encode() * 500)[:-30]}, "truncated", id="gzip"
        ),
        pytest.param(
            {"meters/raw/electricity.csv": ELECTRICITY, "metadata/metadata.csv": METADATA.replace("US/E", "US/W")},
            "US/Wastern",
            id="zone",
        ),
    ],
)
def test_a_file_that_is_not_what_it_claims_stops_the_source(
    tmp_path: Path, files: dict[str, str | bytes], message: str
):
    with pytest.raises(SourceError, match=message) as caught:
        land(write(tmp_path, files))
    assert str(tmp_path) in str(caught.value)


def test_metadata_becomes_the_registry(tmp_path: Path):
    registry = land(electricity(tmp_path, ELECTRICITY))[0].registry
    assert registry is not None
    assert registry.sites.select("site_id", "timezone", "latitude", "country_code").rows() == [
        ("bdg2.Panther", "America/New_York", pytest.approx(28.6), "US"),
        ("bdg2.Fox", "America/Phoenix", None, "US"),
        ("bdg2.Mouse", "Europe/London", None, "GB"),
    ]
    assert registry.premises.select("premise_id", "floor_area_m2", "heating_type", "has_pv", "year_built").rows() == [
        ("bdg2.Panther_office_Hannah", 690.5, "natural_gas", None, 1980),
        ("bdg2.Panther_lodging_Dean", None, None, None, None),
        ("bdg2.Fox_food_Scott", 12.0, "district_heating", True, None),
        ("bdg2.Mouse_health_Ileana", 5.0, None, None, None),
    ]
    assert registry.meters.schema == contracts.METERS.polars_schema


CELL = st.sampled_from(["", "1", "2.5", "-3", "NaN", "inf", "junk"])
LINE = st.tuples(st.integers(0, 40), CELL, CELL, CELL).map(
    lambda row: ",".join([(datetime(2016, 3, 12) + timedelta(hours=row[0])).isoformat(" "), *row[1:]])  # noqa: DTZ001
)
LINES = st.lists(st.one_of(LINE, LINE, st.sampled_from(["junk", "never,1,2,3"])), min_size=1, max_size=20)


@settings(max_examples=12)
@given(lines=LINES, data=st.data())
def test_order_and_windows_change_no_content(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], data: st.DataObject
):
    folder = tmp_path_factory.mktemp("bdg2")
    header = ELECTRICITY.split("\n", 1)[0]
    shuffled = data.draw(st.permutations(lines))
    source = electricity(folder / "a", "\n".join([header, *lines]) + "\n")
    staged, whole = land(source)
    other, turned = land(electricity(folder / "b", "\n".join([header, *shuffled]) + "\n"))
    assert (other.counts, turned.content.equals(whole.content)) == (staged.counts, True)
    days = [land(source, window=Window.of_days(date(2016, 3, 12 + day)))[1] for day in range(3)]
    together = pl.concat([day.content for day in days]).sort("meter_id", "starts_at_utc", "payload_hash")
    assert together.equals(whole.content)
