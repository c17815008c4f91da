"""Registry files: defaults, types, and every fault named with its line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import METERS, PREMISES, SITES, Table
from energy_assets.errors import SourceError
from energy_assets.metering.registry import read_declared

METER_HEADER = "meter_id,premise_id,site_id,commodity,direction,measure,unit,interval_minutes"
METER = "s.1.electricity,s.1,s.a,electricity,consumption,interval_energy,kWh,60"


def read(folder: Path, text: str, table: Table, **defaults: object) -> pl.DataFrame:
    (folder / "declared.csv").write_text(text)
    return read_declared(folder / "declared.csv", table, source="s", defaults=defaults)


def test_meters_with_defaults_and_times(tmp_path: Path) -> None:
    text = (
        "meter_id,premise_id,unit,capacity_kw,valid_from_utc,valid_to_utc,colour\n"
        "s.1.electricity, s.1 ,kWh,12.5,2024-01-01,2024-06-01T00:00:00Z,red\n"
        "s.1.gas,s.1,,,2024-01-01 00:00:00+02:00,,\n"
    )
    facts = {"site_id": "s.a", "commodity": "gas", "direction": "consumption", "measure": "register", "unit": "MWh"}
    meters = read(tmp_path, text, METERS, interval_minutes=60, **facts)
    assert meters.schema == METERS.polars_schema
    assert meters["unit"].to_list() == ["kWh", "MWh"]
    assert meters["premise_id"].to_list() == ["s.1", "s.1"]
    assert meters["capacity_kw"].to_list() == [12.5, None]
    assert meters["valid_from_utc"].to_list() == [
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2023, 12, 31, 22, tzinfo=UTC),
    ]
    assert meters["valid_to_utc"].to_list() == [datetime(2024, 6, 1, tzinfo=UTC), None]
    assert set(meters["source"]) == {"s"}


def test_parquet_and_csv_say_the_same(tmp_path: Path) -> None:
    text = "premise_id,site_id,floor_area_m2,has_pv,year_built\np,s,120.5,yes,1970\nq,s,,no,\n"
    premises = read(tmp_path, text, PREMISES)
    premises.drop("source").write_parquet(tmp_path / "declared.parquet")
    assert read_declared(tmp_path / "declared.parquet", PREMISES, source="s").equals(premises)
    assert premises["has_pv"].to_list() == [True, False]


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        pytest.param(METERS, "meter_id\nm\n", "lacks the columns premise_id, site_id", id="columns absent"),
        pytest.param(
            METERS, f"{METER_HEADER}\n{METER}\n{METER}\n", "line 3: meter_id 's.1.electricity' stands", id="a repeat"
        ),
        pytest.param(METERS, f"{METER_HEADER}\n{METER.replace('kWh', 'kwh')}\n", "line 2: unit 'kwh'", id="a unit"),
        pytest.param(METERS, f"{METER_HEADER}\n{METER.replace('kWh', 'kW')}\n", "no unit of measure", id="power"),
        pytest.param(METERS, f"{METER_HEADER}\n{METER.replace('60', 'h')}\n", "'h' cannot be read", id="no number"),
        pytest.param(METERS, f"{METER_HEADER}\n{METER.replace('60', '7')}\n", "does not divide", id="seven minutes"),
        pytest.param(METERS, f"{METER_HEADER}\n{METER.replace('s.1,', ',')}\n", "premise_id is empty", id="a blank"),
        pytest.param(SITES, "site_id,name,timezone\na,A,Mars/Base\n", "no IANA time zone", id="a zone"),
        pytest.param(SITES, "site_id,name,timezone,latitude\na,A,UTC,91\n", "latitude 91.0 is beyond 90", id="a pole"),
        pytest.param(SITES, "", "is empty", id="an empty file"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, table: Table, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read(tmp_path, text, table)
    assert "declared.csv" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        read_declared(tmp_path / "nowhere.csv", SITES, source="s")
