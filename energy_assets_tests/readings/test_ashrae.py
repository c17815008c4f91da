from __future__ import annotations

import gzip
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets import contracts
from energy_assets.contracts import Window
from energy_assets.errors import SourceError
from energy_assets.readings import ashrae
from energy_assets.readings.ashrae_sites import GEPIII_SITES, standard_offset_minutes
from energy_assets.readings.known_dirt import known_dirt
from energy_assets.readings.landing import account, fingerprint
from energy_assets.readings.source import Source, Staged
from energy_assets_tests.readings.staging import ACCOUNT, NOW, Tables, tables_of, utc_connection
from energy_assets_tests.real_sets import write_gepiii_slice

HEADER = "building_id,meter,timestamp,meter_reading"
# Building 0 stands on site 0 (UTC-5, kBtu), 200 on site 1 (UTC), 300 on a site that no table knows.
METADATA = """site_id,building_id,primary_use,square_feet,year_built,floor_count
0,0,Education,7432,2008.0,
1,200,Office,10000,,5.0
77,300,Office,1,,
"""
CONNECTION = utc_connection()
GOOD = ["0,0,2016-01-01 00:00:00,10.5", "0,1,2016-01-01 00:00:00,3", "200,0,2016-01-01 00:00:00,-7"]


def write(folder: Path, content: str | bytes, *, name: str = "train.csv", metadata: str = METADATA) -> Source:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "building_metadata.csv").write_text(metadata)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return Source(name="ashrae", kind="ashrae", path=folder)


def csv(*lines: str) -> str:
    return "\n".join([HEADER, *lines]) + "\n"


def land(source: Source, *, window: Window | None = None) -> tuple[Staged, Tables]:
    """Stage on one connection for all: what an earlier source left there must not matter."""
    staged = ashrae.stage(CONNECTION, source, window=window, now=NOW)
    return staged, tables_of(CONNECTION, staged)


def test_readings_come_with_meter_clock_unit_and_availability(tmp_path: Path):
    source = write(tmp_path, csv(*GOOD)).model_copy(update={"reporting_delay_minutes": 30})
    staged, tables = land(source)
    columns = ["meter_id", "starts_at_utc", "value", "unit", "measure", "available_at_utc", "source"]
    at = lambda hour, minute=0: datetime(2016, 1, 1, hour, minute, tzinfo=UTC)
    assert tables.content.select(columns).rows() == [
        ("ashrae.0.chilled_water", at(5), 3.0, "kWh", "interval_energy", at(6, 30), "ashrae"),
        ("ashrae.0.electricity", at(5), 10.5, "kBtu", "interval_energy", at(6, 30), "ashrae"),
        ("ashrae.200.electricity", at(0), -7.0, "kWh", "interval_energy", at(1, 30), "ashrae"),
    ]
    assert staged.batch_ids == (tables.raw["batch_id"][0],)
    assert tables.landings.select("starts_at_utc", *ACCOUNT).rows() == [(at(0), 3, 3, 0, 0)]


@pytest.mark.parametrize(
    ("line", "reason", "has_time"),
    [
        pytest.param("0,0,2016-01-01 01:00:00", "malformed_line", False, id="too few fields"),
        pytest.param("0,0,2016-01-01 01:00:00,1,5", "malformed_line", False, id="decimal comma"),
        pytest.param("zero,0,2016-01-01 01:00:00,1", "unreadable_building", False, id="building is no number"),
        pytest.param("0,steam,2016-01-01 01:00:00,1", "unreadable_meter_code", False, id="meter is no number"),
        pytest.param("0,0,2016-13-01 01:00:00,1", "unreadable_time", False, id="month 13"),
        pytest.param("0,0,,1", "unreadable_time", False, id="no time"),
        pytest.param("0,0,infinity,1", "unreadable_time", False, id="endless time"),
        pytest.param("0,0,0016-01-01 01:00:00,1", "unreadable_time", False, id="year 16"),
        pytest.param("0,0,2016-01-01 01:00:00,many", "unreadable_number", True, id="reading is no number"),
        pytest.param("0,0,2016-01-01 01:00:00,", "missing_value", True, id="no reading"),
        pytest.param("0,0,2016-01-01 01:00:00,NaN", "not_finite", True, id="NaN"),
        pytest.param("0,0,2016-01-01 01:00:00,inf", "not_finite", True, id="infinite"),
        pytest.param("0,0,2016-01-01 01:00:00,-Infinity", "not_finite", True, id="negative infinite"),
        pytest.param("0,0,2016-01-01 01:00:00,1e999", "not_finite", True, id="beyond a double"),
        pytest.param("9999,0,2016-01-01 01:00:00,1", "unknown_building", False, id="unknown building"),
        pytest.param("-1,0,2016-01-01 01:00:00,1", "unknown_building", False, id="negative building"),
        pytest.param("0,7,2016-01-01 01:00:00,1", "unknown_meter_code", False, id="unknown meter code"),
        pytest.param("300,0,2016-01-01 01:00:00,1", "unknown_site", False, id="site without a clock"),
        pytest.param("\ufffd\x00,0,2016-01-01 01:00:00,1", "unreadable_building", False, id="null byte"),
    ],
)
def test_a_bad_line_goes_to_quarantine_and_leaves_the_others(tmp_path: Path, line: str, reason: str, has_time: bool):
    _, tables = land(write(tmp_path, csv(GOOD[0], line, GOOD[2])))
    assert sorted(tables.raw["value"]) == [-7.0, 10.5]
    starts_at = datetime(2016, 1, 1, 6, tzinfo=UTC) if has_time else None
    assert tables.quarantine.select("line_number", "reason", "payload", "starts_at_utc", "available_at_utc").rows() == [
        (3, reason, line, starts_at, NOW)
    ]
    assert tables.landings.select(pl.col(ACCOUNT).sum()).row(0) == (3, 2, 0, 1)
    assert tables.landings.filter(pl.col("quarantined") > 0)["starts_at_utc"][0] == (
        datetime(2016, 1, 1, tzinfo=UTC) if has_time else None
    )


@pytest.mark.parametrize(
    ("content", "stored", "duplicate"),
    [
        pytest.param(csv(*GOOD), 3, 0, id="clean"),
        pytest.param(csv(*GOOD, *GOOD), 3, 3, id="every row twice"),
        pytest.param(csv(*GOOD, GOOD[0], GOOD[0]), 3, 2, id="one row three times"),
        pytest.param(csv(*GOOD, "0,0,2016-01-01 00:00:00,11"), 4, 0, id="two values for one hour are both kept"),
        pytest.param(csv("0,0,2016-01-01 00:15:00,1", "0,0,2016-01-01 00:30:00,1"), 2, 0, id="off the hour"),
        pytest.param(csv("0,0,2016-01-01 00:15:00,1", "0,0,2016-01-01 00:15:00,1"), 1, 1, id="off the hour, twice"),
        pytest.param(csv("0,0,2016-01-01 00:00:00,0.0", "0,0,2016-01-01 00:00:00,-0.0"), 1, 1, id="signed zeros"),
        pytest.param("\ufeff" + csv(*GOOD), 3, 0, id="byte order mark"),
        pytest.param(csv(*GOOD).replace("\n", "\r\n"), 3, 0, id="CRLF"),
        pytest.param(csv(*GOOD).replace("\n", "\r\n", 2), 3, 0, id="mixed line ends"),
        pytest.param(csv(*GOOD).rstrip("\n"), 3, 0, id="no newline at the end"),
        pytest.param(csv(GOOD[0]), 1, 0, id="one row"),
        pytest.param(csv(GOOD[0], "", *GOOD[1:], ""), 3, 0, id="blank lines"),
        pytest.param(csv('"0,0,2016-01-01 00:00:00,1', *GOOD[1:]), 3, 0, id="stray quote"),
        pytest.param(csv('"0","0","2016-01-01 00:00:00","1"', *GOOD[1:]), 3, 0, id="quoted"),
        pytest.param(csv("0.0,0,2016-01-01T00:00:00,1", *GOOD[1:]), 3, 0, id="pandas' floats and ISO time"),
    ],
)
def test_what_can_be_read_is_read(tmp_path: Path, content: str, stored: int, duplicate: int):
    staged, tables = land(write(tmp_path, content))
    assert (staged.counts.stored, staged.counts.duplicate, tables.quarantine.height) == (stored, duplicate, 0)


def test_columns_may_stand_in_another_order_and_beside_others(tmp_path: Path):
    _, plain = land(write(tmp_path / "plain", csv(*GOOD)))
    turned = "meter_reading,note,timestamp,meter,building_id\n" + "".join(
        ",".join([line.split(",")[3], "x", *line.split(",")[2::-1]]) + "\n" for line in GOOD
    )
    _, other = land(write(tmp_path / "turned", turned))
    assert other.content.equals(plain.content)


def test_gzip_gives_the_same_batch(tmp_path: Path):
    plain, _ = land(write(tmp_path / "plain", csv(*GOOD)))
    packed, tables = land(write(tmp_path / "packed", gzip.compress(csv(*GOOD).encode()), name="train.csv.gz"))
    assert (packed.batch_ids, packed.counts) == (plain.batch_ids, plain.counts)
    assert tables.raw.height == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("other.csv", csv(*GOOD), r"train\.csv.* does not exist", id="missing file"),
        pytest.param("train.csv", "", r"train\.csv is empty", id="empty file"),
        pytest.param("train.csv", csv(), r"a header and no rows", id="header only"),
        pytest.param("train.csv", csv(*GOOD).replace("timestamp", "when"), r"lacks the columns timestamp", id="column"),
        pytest.param(
            "train.csv.gz", gzip.compress(csv(*GOOD * 5000).encode())[:-40], "truncated or damaged gzip", id="torn gzip"
        ),
    ],
)
def test_a_file_that_is_not_what_it_claims_stops_the_source(tmp_path: Path, name: str, content: str, message: str):
    with pytest.raises(SourceError, match=message) as caught:
        land(write(tmp_path, content, name=name))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param(METADATA.replace("building_id", "building"), "lacks the columns building_id", id="column"),
        pytest.param(METADATA.replace("1,200", "1,two"), "line 3: building_id is 'two'", id="id unreadable"),
        pytest.param(METADATA + "1,200,Office,1,,\n", "repeats building_id 200", id="building twice"),
        pytest.param("", "is empty", id="empty"),
    ],
)
def test_broken_metadata_stops_the_source(tmp_path: Path, metadata: str, message: str):
    with pytest.raises(SourceError, match=message) as caught:
        land(write(tmp_path, csv(*GOOD), metadata=metadata))
    assert "building_metadata.csv" in str(caught.value)


def test_metadata_becomes_the_registry_and_what_is_missing_stays_null(tmp_path: Path):
    metadata = METADATA.replace("10000", "wide")
    registry = land(write(tmp_path, csv(*GOOD), metadata=metadata))[0].registry
    assert registry is not None
    assert registry.premises.select("premise_id", "site_id", "year_built", "floor_count").rows() == [
        ("ashrae.b0", "ashrae.0", 2008, None),
        ("ashrae.b200", "ashrae.1", None, 5),
    ]
    # 7432 square feet of 0.09290304 m2
    assert registry.premises["floor_area_m2"].to_list() == [pytest.approx(690.4554), None]
    assert registry.sites.select("site_id", "timezone", "country_code", "subdivision_code").rows() == [
        ("ashrae.0", "America/New_York", "US", "FL"),
        ("ashrae.1", "Europe/London", "GB", "ENG"),
    ]
    assert registry.meters.select("meter_id", "commodity", "unit", "valid_from_utc").rows() == [
        ("ashrae.0.electricity", "electricity", "kBtu", datetime(2016, 1, 1, 5, tzinfo=UTC)),
        ("ashrae.0.chilled_water", "chilled_water", "kWh", datetime(2016, 1, 1, 5, tzinfo=UTC)),
        ("ashrae.200.electricity", "electricity", "kWh", datetime(2016, 1, 1, tzinfo=UTC)),
    ]
    for table, frame in zip(
        (contracts.SITES, contracts.PREMISES, contracts.METERS),
        (registry.sites, registry.premises, registry.meters),
        strict=True,
    ):
        assert frame.schema == table.polars_schema


def test_a_folder_can_declare_its_own_sites(tmp_path: Path):
    source = write(tmp_path, csv("0,0,2031-07-01 00:00:00,1", "300,0,2031-07-01 00:00:00,2"))
    (tmp_path / "site_metadata.csv").write_text(
        "site_id,timezone,name,utc_offset_minutes,electricity_unit\n0,Europe/Berlin,Town,,\n77,Asia/Kolkata,,330,kBtu\n"
    )
    staged, tables = land(source)
    assert tables.content.select("meter_id", "starts_at_utc", "unit").rows() == [
        ("ashrae.0.electricity", datetime(2031, 6, 30, 23, tzinfo=UTC), "kWh"),
        ("ashrae.300.electricity", datetime(2031, 6, 30, 18, 30, tzinfo=UTC), "kBtu"),
    ]
    assert staged.registry is not None
    assert staged.registry.sites["name"].to_list() == ["Town", "Site 77"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param("site_id,timezone\n0,Europe/Atlantis\n", "Europe/Atlantis", id="zone"),
        pytest.param("site_id,timezone,electricity_unit\n0,Europe/Berlin,kwh\n", "electricity_unit", id="unit"),
        pytest.param("site_id\n0\n", "lacks the columns timezone", id="column"),
    ],
)
def test_a_broken_site_table_is_named(tmp_path: Path, table: str, message: str):
    source = write(tmp_path, csv(*GOOD))
    (tmp_path / "site_metadata.csv").write_text(table)
    with pytest.raises(SourceError, match=message) as caught:
        land(source)
    assert "site_metadata.csv" in str(caught.value)


@pytest.mark.parametrize("zone", GEPIII_SITES["timezone"].unique().sort().to_list())
def test_offsets_of_the_table_are_the_standard_time_of_its_zones(zone: str):
    offsets = GEPIII_SITES.filter(pl.col("timezone") == zone)["utc_offset_minutes"].unique().to_list()
    assert offsets == [standard_offset_minutes(zone, place="here")]


def test_clock_changes_neither_repeat_nor_skip_an_hour(tmp_path: Path):
    # Both Sundays of 2016 on which New York changes its clocks: 24 stamps each, 24 distinct hours of UTC.
    for day in ("2016-03-13", "2016-11-06"):
        lines = [f"0,0,{day} {hour:02}:00:00,{hour}" for hour in range(24)]
        _, tables = land(write(tmp_path / day, csv(*lines)))
        first = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=5)
        assert tables.content["starts_at_utc"].to_list() == [first + timedelta(hours=hour) for hour in range(24)]


def test_a_file_that_is_written_to_while_it_is_read_is_not_landed(tmp_path: Path):
    source = write(tmp_path, csv(*GOOD * 20_000))
    stop, started = threading.Event(), threading.Event()

    def append() -> None:
        with (tmp_path / "train.csv").open("a") as stream:
            while not stop.is_set():
                stream.write(GOOD[0] + "\n")
                stream.flush()
                started.set()

    writer = threading.Thread(target=append)
    writer.start()
    try:
        started.wait()
        with pytest.raises(SourceError, match=r"train\.csv changed while it was read"):
            ashrae.stage(CONNECTION, source, window=None, now=NOW)
    finally:
        stop.set()
        writer.join()


def test_a_file_that_changes_after_its_fingerprint_is_not_landed(tmp_path: Path):
    source = write(tmp_path, csv(*GOOD))
    ashrae.stage(CONNECTION, source, window=None, now=NOW)
    mark = fingerprint(tmp_path / "train.csv")
    write(tmp_path, csv(*GOOD, GOOD[0]))
    with pytest.raises(SourceError, match=r"train\.csv changed while it was read"):
        account(CONNECTION, source, [mark], window=None, now=NOW, registry=None)


def test_known_dirt_stands_on_the_site_of_this_source(tmp_path: Path):
    dirt = known_dirt(Source(name="kaggle", kind="ashrae", path=tmp_path))
    assert dirt.select("site_id", "commodity", "reason").rows() == [("kaggle.0", "electricity", "known_false_zero")]
    assert known_dirt(Source(name="own", kind="table", path=tmp_path)).is_empty()


ROW = st.tuples(
    st.sampled_from([0, 200, 300, 9999]),
    st.sampled_from([0, 1, 3, 7]),
    st.integers(0, 60).map(lambda hour: (datetime(2016, 2, 28) + timedelta(hours=hour)).isoformat(" ")),  # noqa: DTZ001
    st.sampled_from(["0", "1.5", "-2", "nan", "x", ""]),
).map(lambda row: ",".join(str(field) for field in row))
ROWS = st.lists(st.one_of(ROW, ROW, st.sampled_from(["junk", "1,2"])), min_size=1, max_size=40)


@settings(max_examples=25)
@given(rows=ROWS, data=st.data())
def test_order_and_replay_change_no_content(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], data: st.DataObject
):
    folder = tmp_path_factory.mktemp("ashrae")
    shuffled = data.draw(st.permutations(rows))
    staged, tables = land(write(folder / "a", csv(*rows)))
    again, replayed = land(write(folder / "a", csv(*rows)))
    other, turned = land(write(folder / "b", csv(*shuffled)))
    assert replayed.raw.sort(pl.all()).equals(tables.raw.sort(pl.all()))
    assert replayed.landings.equals(tables.landings)
    assert again.counts == staged.counts == other.counts
    assert turned.content.equals(tables.content)
    assert sorted(turned.quarantine["payload"]) == sorted(tables.quarantine["payload"])
    per_day = ["starts_at_utc", *ACCOUNT, "content_hash"]
    assert turned.landings.select(per_day).equals(tables.landings.select(per_day))
    assert staged.counts.rows_in == len(rows)


@settings(max_examples=25)
@given(rows=ROWS, cut=st.integers(0, 40))
def test_splitting_a_file_changes_no_content(tmp_path_factory: pytest.TempPathFactory, rows: list[str], cut: int):
    folder = tmp_path_factory.mktemp("ashrae")
    _, whole = land(write(folder / "whole", csv(*rows)))
    parts = [land(write(folder / str(at), csv(*part)))[1] for at, part in enumerate((rows[:cut], rows[cut:])) if part]
    stored = pl.concat([part.content for part in parts]).unique()
    assert stored.sort("meter_id", "starts_at_utc", "payload_hash").equals(whole.content)


@settings(max_examples=10)
@given(rows=ROWS)
def test_windows_put_together_are_the_whole(tmp_path_factory: pytest.TempPathFactory, rows: list[str]):
    source = write(tmp_path_factory.mktemp("ashrae"), csv(*rows))
    staged, whole = land(source)
    days = [land(source, window=Window.of_days(date(2016, 2, 27) + timedelta(day))) for day in range(6)]
    assert all(part.registry is None for part, _ in days)
    raw = pl.concat([tables.content for _, tables in days])
    assert raw.sort("meter_id", "starts_at_utc", "payload_hash").equals(whole.content)
    timed = pl.col("starts_at_utc").is_not_null()
    for name in ("landings", "quarantine"):
        parts = [getattr(tables, name) for _, tables in days]
        together = pl.concat(part.filter(timed) for part in parts)
        assert together.sort(pl.all()).equals(getattr(whole, name).filter(timed).sort(pl.all()))
        for part in parts:
            assert part.filter(~timed).sort(pl.all()).equals(getattr(whole, name).filter(~timed).sort(pl.all()))
    assert staged.counts.rows_in == len(rows)


def test_the_real_slice_lands_whole(tmp_path: Path, real_data: Path):
    folder = write_gepiii_slice(tmp_path / "gepiii", real_data)
    staged, tables = land(Source(name="ashrae", kind="ashrae", path=folder))
    assert (staged.counts.rows_in, staged.counts.stored) == (71_613, 71_613)
    assert staged.registry is not None
    assert (staged.registry.meters.height, staged.registry.premises.height) == (25, 1449)
    assert staged.registry.meters["unit"].value_counts().sort("unit").rows() == [("kBtu", 6), ("kWh", 19)]
    # Site 1 keeps Greenwich time, site 0 is five hours behind it.
    per_site = tables.raw.group_by(pl.col("unit") == "kBtu").agg(pl.col("starts_at_utc").min()).sort("unit")
    assert per_site["starts_at_utc"].to_list() == [datetime(2016, 9, 2, hour, tzinfo=UTC) for hour in (0, 5)]
