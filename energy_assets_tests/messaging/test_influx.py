"""Exports of InfluxDB: every value becomes a reading, a repeat or a refusal."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import READINGS_QUARANTINE, READINGS_RAW
from energy_assets.lake import Lake
from energy_assets.message_landing import land_influx
from energy_assets.messaging.influx import read_influx
from energy_assets_tests.messaging.spooling import spool_source
from energy_assets_tests.messaging.test_message_landing import assert_accounted

AT = datetime(2022, 1, 1, 0, 15, tzinfo=UTC)
HEAD = """#group,false,false,true,true,false,false,true,true,true
#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,double,string,string,string
#default,mean,,,,,,,,
,result,table,_start,_stop,_time,_value,_field,_measurement,zählername
"""
TOPIC = "influx/stromzaehler/zählername=Hausanschluss/counter"
SPAN = "2021-01-01T00:00:00Z,2022-02-01T00:00:00Z"


def line(minute: int, value: object) -> str:
    return (
        f",,0,{SPAN},2022-01-01T{minute // 60:02d}:{minute % 60:02d}:00Z,{value},counter,stromzaehler,Hausanschluss\n"
    )


def values(file: Path, **more: str) -> list[tuple[object, ...]]:
    return pl.concat(read_influx(file, **more)).select("topic", "payload", "arrived_at_utc", "fault").rows()


def test_annotated_csv(tmp_path: Path) -> None:
    file = tmp_path / "export.csv"
    second = HEAD.replace("zählername", "device_id,device_type").replace(",true,true\n", ",true,true,true\n", 1)
    other = f',,1,{SPAN},2022-01-01T00:15:00.123456789Z,"1,5",Power,energydata,meter_001,EnergyMeter\n'
    file.write_text(HEAD + line(15, 1234.5) + "\r\n" + second + other + "broken\n" + line(15, 1))
    found = values(file)
    assert found[0] == (TOPIC, "1234.5", AT, None)
    topic = "influx/energydata/device_id=meter_001/device_type=EnergyMeter/Power"
    assert found[1] == (topic, "1,5", AT.replace(microsecond=123456), None)
    assert [row[3] for row in found[2:]] == ["bad_line", "bad_line"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "stromzaehler,zählername=Hausanschluss counter=1234.5 1640996100000000000",
            [(TOPIC, "1234.5", AT, None)],
            id="a float",
        ),
        pytest.param(
            "m,b=2,a=1 x=1i,y=-2u 1640996100000000000",
            [("influx/m/a=1/b=2/x", "1", AT, None), ("influx/m/a=1/b=2/y", "-2", AT, None)],
            id="two integers, tags by name",
        ),
        pytest.param(
            'm s="a b,c=\\"d\\"",v=1 1640996100000000000',
            [("influx/m/s", '"a b,c=\\"d\\""', AT, None), ("influx/m/v", "1", AT, None)],
            id="a string",
        ),
        pytest.param(
            "my\\ m,t\\ g=a\\,b v=1 1640996100000000000", [("influx/my m/t g=a,b/v", "1", AT, None)], id="escapes"
        ),
        pytest.param("m v=1", [("influx/m/v", "1", None, None)], id="no time"),
        pytest.param("m v", [(None, "m v", None, "bad_line")], id="no value"),
        pytest.param(
            "m v=1 99999999999999999999999999",
            [(None, "m v=1 99999999999999999999999999", None, "bad_line")],
            id="a time beyond reason",
        ),
    ],
)
def test_line_protocol(tmp_path: Path, text: str, expected: list[tuple[object, ...]]) -> None:
    (tmp_path / "lines").write_bytes(gzip.compress(f"{text}\n".encode()))
    assert values(tmp_path / "lines") == expected


def test_precision(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("m v=1 1640996100\n")
    assert values(tmp_path / "lines", precision="s")[0][2] == AT


def test_an_export_is_landed_once_and_accounted_for(tmp_path: Path, lake: Lake) -> None:
    """System 002's register, as it was exported: a reset in mid-year, a repeat, a gap, and a line that is torn."""
    file, longer = tmp_path / "a.csv", tmp_path / "b.csv"
    readings = [(0, 100.0), (15, 100.5), (30, 101.0), (105, 103.5), (120, 0.0), (135, 0.25)]
    text = HEAD + "".join(line(minute, value) for minute, value in readings) + line(15, 100.5) + ",,0,2021\n"
    file.write_text(text)
    longer.write_text(text + line(150, 0.5))
    source = spool_source(tmp_path, "system_002_influx")
    counts = land_influx(lake, source, [file], now=datetime(2026, 11, 21, tzinfo=UTC))
    assert (counts.stored, counts.duplicate, counts.quarantined) == (6, 1, 1)
    counts = land_influx(lake, source, [file, longer], now=datetime(2026, 11, 21, tzinfo=UTC))
    assert (counts.stored, counts.duplicate, counts.quarantined) == (1, 7, 1)
    assert lake.read(READINGS_QUARANTINE)["reason"].to_list() == ["bad_line", "bad_line"]
    assert lake.read(READINGS_RAW).sort("starts_at_utc")["value"].to_list() == [*(value for _, value in readings), 0.5]
    assert_accounted(lake)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEAD + line(15, 100.5))
    command = [str(Path(sys.executable).with_name("energy")), "ingest", "influx", str(tmp_path / "a.csv")]
    environment = os.environ | {"ENERGY_ASSETS_HOME": str(tmp_path / "home")}
    told = subprocess.run(
        [*command, "--mapping", "system_002_influx"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "influx: 1 rows in = 1 stored + 0 duplicate + 0 quarantined + 0 ignored" in told
