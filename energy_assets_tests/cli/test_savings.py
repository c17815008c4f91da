"""`energy savings` on files and on the instance: a change that is known is printed, and mistakes are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.contracts import READINGS_INTERVAL
from energy_assets.settings import load_settings
from energy_assets_tests.features.frames import START
from energy_assets_tests.models.instance import open_instance
from energy_assets_tests.models.test_savings import world

CHANGED = START + timedelta(days=40)


@pytest.fixture(autouse=True)
def as_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def energy(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["savings", *words])
    said = str(done.exception) if done.exception and not isinstance(done.exception, SystemExit) else ""
    return done.exit_code, " ".join((done.output + said).split())


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    readings, weather = world(5)
    changed = readings["starts_at_utc"][0] + timedelta(days=80)
    cut = pl.when(pl.col("starts_at_utc") >= changed).then(0.7).otherwise(1.0)
    readings = readings.head(24 * 110).with_columns(pl.col("energy_kwh") * cut, meter_id=pl.lit("mine"))
    readings.write_parquet(tmp_path / "readings.parquet")
    weather.write_parquet(tmp_path / "weather.parquet")
    code, said = energy(
        *("--readings", str(tmp_path / "readings.parquet"), "--weather", str(tmp_path / "weather.parquet")),
        *("--from", f"{changed:%Y-%m-%d}", "--timezone", "UTC", "--out", str(tmp_path / "slots.csv")),
        *("--report", str(tmp_path / "report.json")),
    )
    assert code == 0, said
    assert "kWh saved (+" in said
    assert "✗ the baseline spans 80 days, 365 are wanted (ASHRAE Guideline 14-2014, IPMVP" in said
    assert "at most 30%), NMBE" in said
    figures = json.loads((tmp_path / "report.json").read_text())["mine"]
    assert figures["low_kwh"] < figures["saved_kwh"] < figures["high_kwh"]
    assert {"cv_rmse", "nmbe", "saved_share", "is_sufficient"} < set(figures)
    assert all(each["source"] for each in figures["conditions"])
    assert "The data do not suffice for a guaranteed figure." in said
    slots = pl.read_csv(tmp_path / "slots.csv")
    assert slots.height == 30 * 24
    assert slots["saved_kwh"].sum() / slots["expected_kwh"].sum() == pytest.approx(0.3, abs=0.06)


def test_a_premise_of_the_instance(home: Path) -> None:
    made = open_instance(home)
    rows = made.lake.read(READINGS_INTERVAL, where={"meter_id": "m1"})
    cut = pl.when(pl.col("starts_at_utc") >= CHANGED).then(0.5).otherwise(1.0)
    made.lake.replace(
        READINGS_INTERVAL, rows.with_columns(pl.col("energy_kwh") * cut), where={"meter_id": "m1"}, message="a change"
    )
    made.lake.close()
    code, said = energy("p.m1", "--from", f"{CHANGED:%Y-%m-%d}", "--to", f"{CHANGED + timedelta(days=9):%Y-%m-%d}")
    assert code == 0, said
    assert said.startswith("m1")
    assert "kWh saved (+5" in said or "kWh saved (+4" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(("--from", "2023-02-01"), "Name a meter or a premise", id="no meter"),
        pytest.param(("m99", "--from", "2023-02-01"), "There is no meter or premise 'm99'", id="unknown meter"),
        pytest.param(("m0", "--from", "2023-01-05"), "Savings need 28 days of readings before", id="no baseline"),
        pytest.param(("m0",), "Missing option '--from'", id="no date"),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], expected: str) -> None:
    code, said = energy(*words)
    assert code != 0
    assert expected in said
