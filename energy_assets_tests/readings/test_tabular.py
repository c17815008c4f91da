"""Tables by mapping: every row is stored, a repeat or refused with a reason; clock changes; layouts; bad files."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from energy_assets.contracts import READINGS_QUARANTINE, READINGS_RAW, Window
from energy_assets.errors import ConfigError, SourceError
from energy_assets.readings import tabular
from energy_assets.readings.source import Source, Staged

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LONG = """
layout = "long"
[time]
columns = ["t"]
zone = "{zone}"
[[values]]
column = "kwh"
meter = "{{source}}.{{m}}.electricity"
[meters]
unit = "kWh"
interval_minutes = 60
"""


def stage(
    folder: Path,
    content: str | bytes,
    *,
    mapping: str | None = None,
    zone: str = "Europe/Berlin",
    name: str = "a.csv",
    window: Window | None = None,
) -> tuple[Staged, duckdb.DuckDBPyConnection]:
    (folder / "m.toml").write_text(LONG.format(zone=zone) if mapping is None else mapping)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    source = Source(name="t", kind="table", path=folder / name, mapping=folder / "m.toml")
    return tabular.stage(connection, source, window=window, now=NOW), connection


def rows_of(staged: Staged, connection: duckdb.DuckDBPyConnection) -> tuple[pl.DataFrame, pl.DataFrame]:
    frames = [
        table.conform(connection.sql(query.text, params=dict(query.parameters)).pl())
        for table, query in ((READINGS_RAW, staged.raw), (READINGS_QUARANTINE, staged.quarantine))
    ]
    return frames[0].sort("meter_id", "starts_at_utc"), frames[1].sort("line_number")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param("2025-03-30 02:30:00,a,1", "nonexistent_local_time", id="an hour that the clock skipped"),
        pytest.param("2025-10-26 02:30:00,a,1", "ambiguous_local_time", id="an hour that came twice, shown once"),
        pytest.param("yesterday,a,1", "unreadable_time", id="no time"),
        pytest.param("2025-05-01 00:00:00,a,much", "unreadable_number", id="no number"),
        pytest.param("2025-05-01 00:00:00,a,", "missing_value", id="a blank"),
        pytest.param("2025-05-01 00:00:00,a,nan", "not_finite", id="not a number"),
        pytest.param("2025-05-01 00:00:00,a,-inf", "not_finite", id="infinite"),
        pytest.param("2025-05-01 00:00:00,a,1,2", "malformed_line", id="a field too many"),
    ],
)
def test_a_bad_row_is_refused_by_name_and_the_rest_goes_on(tmp_path: Path, line: str, reason: str) -> None:
    good = [f"2025-05-02 {hour:02}:00:00,a,{hour}" for hour in range(24)]
    staged, connection = stage(tmp_path, "\n".join(["t,m,kwh", *good, line]) + "\n")
    stored, refused = rows_of(staged, connection)

    assert staged.counts.is_balanced
    assert (staged.counts.rows_in, staged.counts.stored, staged.counts.quarantined) == (25, 24, 1)
    assert refused["reason"].to_list() == [reason]
    assert line.split(",", maxsplit=1)[0] in refused["payload"][0]
    assert stored["value"].to_list() == [float(hour) for hour in range(24)]


def test_the_hour_that_comes_twice_is_told_by_its_order(tmp_path: Path) -> None:
    staged, connection = stage(tmp_path, "t,m,kwh\n2025-10-26 02:00:00,a,1\n2025-10-26 02:00:00,a,2\n")
    stored, _ = rows_of(staged, connection)
    assert stored["starts_at_utc"].to_list() == [datetime(2025, 10, 26, hour, tzinfo=UTC) for hour in (0, 1)]
    assert stored["value"].to_list() == [1.0, 2.0]


def test_exact_repeats_are_counted_and_other_values_are_kept(tmp_path: Path) -> None:
    staged, _ = stage(
        tmp_path, "t,m,kwh\n2025-05-01 00:00:00,a,1\n2025-05-01 00:00:00,a,1\n2025-05-01 00:00:00,a,2\n", zone="UTC"
    )
    assert (staged.counts.stored, staged.counts.duplicate) == (2, 1)


def test_a_window_gives_its_own_rows_and_those_without_a_time(tmp_path: Path) -> None:
    content = "t,m,kwh\n2025-05-01 00:00:00,a,1\n2025-05-02 00:00:00,a,2\nnever,a,3\n"
    staged, connection = stage(
        tmp_path, content, zone="UTC", window=Window.of_days(datetime(2025, 5, 2, tzinfo=UTC).date())
    )
    stored, refused = rows_of(staged, connection)
    assert stored["value"].to_list() == [2.0]
    assert refused["reason"].to_list() == ["unreadable_time"]
    assert staged.registry is None


def test_a_wide_table_has_a_meter_a_column(tmp_path: Path) -> None:
    mapping = """
layout = "wide"
[file]
delimiter = ";"
decimal = ","
[time]
columns = ["day", "clock"]
format = "%d.%m.%Y %H:%M"
zone = "+01:00"
marks = "end"
[[values]]
pattern = "(.+)_W"
meter = "{source}.{1}.electricity"
measure = "power"
unit = "W"
[meters]
interval_minutes = 15
"""
    staged, connection = stage(tmp_path, "day;clock;a_W;b_W\n01.05.2025;01:15;1000,5;\n", mapping=mapping)
    stored, _ = rows_of(staged, connection)
    assert stored.select("meter_id", "value", "starts_at_utc").rows() == [
        ("t.a.electricity", 1000.5, datetime(2025, 5, 1, 0, 0, tzinfo=UTC))
    ]
    assert staged.registry is not None
    assert staged.registry.meters.select("measure", "unit", "interval_minutes").rows() == [("power", "W", 15)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("a.csv", b"", "is empty", id="an empty file"),
        pytest.param("a.csv", b"t,m,kwh\n", "has no rows", id="a header alone"),
        pytest.param(
            "a.csv", b"t,meter,kwh\n2025-05-01,a,1\n", "lacks the columns|not found|unable to find", id="a wrong column"
        ),
        pytest.param(
            "a.csv.gz",
            gzip.compress(b"t,m,kwh\n" + b"2025-05-01 00:00:00,a,1\n" * 5000)[:-40],
            "truncated or damaged gzip",
            id="a truncated gzip",
        ),
        pytest.param("a.parquet", b"PAR1 no", "cannot be read as Parquet", id="no Parquet"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        stage(tmp_path, content, name=name)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        pytest.param("layout = 'tall'", "layout", id="an unknown word"),
        pytest.param(LONG.format(zone="Mars/Base"), "time zone", id="an unknown zone"),
        pytest.param(LONG.format(zone="UTC") + "volume = 3\n", "volume", id="an unknown key"),
        pytest.param(LONG.format(zone="UTC").replace('unit = "kWh"', ""), "unit", id="an open question"),
        pytest.param("layout = ", "not TOML", id="no TOML"),
    ],
)
def test_a_broken_mapping_names_the_key(tmp_path: Path, mapping: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stage(tmp_path, "t,m,kwh\n2025-05-01 00:00:00,a,1\n", mapping=mapping)
