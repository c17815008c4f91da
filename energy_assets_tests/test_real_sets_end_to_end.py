"""The whole graph on the real sets, through the command line: back-filled days, and the nightly run of the last."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets import contracts
from energy_assets.contracts import Window
from energy_assets.lake import Lake
from energy_assets.settings import Settings
from energy_assets_tests.real_sets import write_cambridge, write_gepiii_slice
from energy_assets_tests.test_end_to_end import energy

pytestmark = pytest.mark.slow


class Run:
    """A home into which a real set was ingested and back-filled, and what the commands printed."""

    def __init__(self, home: Path, *, today: date, printed: str) -> None:
        self.lake = Lake.from_settings(Settings(home=home))
        self.today = today
        self.printed = printed

    @property
    def delivery(self) -> pl.DataFrame:
        """The forecast of tonight."""
        return self.lake.read(contracts.FORECASTS_LOAD, Window.of_days(self.today))


def real_data() -> Path:
    folder = os.environ.get("ENERGY_ASSETS_REAL_DATA")
    if not folder:
        pytest.skip("ENERGY_ASSETS_REAL_DATA names no folder: the real data sets are not part of the project")
    return Path(folder)


def carried_out(home: Path, *commands: list[str]) -> str:
    printed = ""
    for words in commands:
        done = energy(home, *words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        printed += done.stdout
    return printed


@pytest.fixture(scope="module")
def gepiii(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    data, home = real_data(), tmp_path_factory.mktemp("gepiii")
    folder, today = write_gepiii_slice(home / "set", data), date(2016, 12, 20)
    printed = carried_out(
        home, ["ingest", "ashrae", str(folder)], ["backfill", "2016-09-02", "--today", today.isoformat()]
    )
    run = Run(home, today=today, printed=printed)
    yield run
    run.lake.close()


@pytest.fixture(scope="module")
def cambridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    data, home = real_data(), tmp_path_factory.mktemp("cambridge")
    first, today = date(2019, 2, 1), date(2019, 5, 20)
    folder = write_cambridge(home / "set", data, first=first, last=today + timedelta(days=3))
    ingest = ["ingest", "table", str(folder / "readings.parquet"), "--name", "cambridge"]
    ingest += ["--mapping", str(folder / "mapping.toml"), "--weather-observed", str(folder / "weather.parquet")]
    ingest += ["--weather-mapping", str(folder / "weather.toml")]
    printed = carried_out(home, ingest, ["backfill", first.isoformat(), "--today", today.isoformat()])
    run = Run(home, today=today, printed=printed)
    yield run
    run.lake.close()


@pytest.fixture(params=["gepiii", "cambridge"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(request.param)
    return found


def test_every_row_is_stored_a_repeat_or_refused(run: Run) -> None:
    account = run.lake.read(contracts.READINGS_LANDINGS)
    parts = account.select(pl.col("stored", "duplicate", "quarantined").sum()).sum_horizontal()[0]
    assert account["rows_in"].sum() == parts
    assert account["stored"].sum() == run.lake.count(contracts.READINGS_RAW) > 30_000


def test_every_meter_and_slot_of_tomorrow_has_a_forecast_in_order(run: Run) -> None:
    rows = run.delivery.filter(pl.col("node_kind") == "meter")
    assert set(rows["node_id"]) == set(run.lake.read(contracts.METERS)["meter_id"])
    midnight = datetime.combine(run.today, datetime.min.time(), tzinfo=UTC)
    per_meter = rows.group_by("node_id").agg(
        slots=pl.len(), first=pl.col("starts_at_utc").min(), last=pl.col("starts_at_utc").max()
    )
    assert per_meter["first"].unique().to_list() == [midnight]
    assert (per_meter["last"] >= midnight + timedelta(hours=40)).all()
    expected = ((per_meter["last"] - per_meter["first"]).dt.total_hours() + 1).to_list()
    assert per_meter["slots"].to_list() == expected
    quantiles = rows.select(contracts.QUANTILE_COLUMNS).to_numpy()
    assert (quantiles[:, 1:] >= quantiles[:, :-1]).all()


def test_models_serve_most_meters_and_beat_last_week(run: Run) -> None:
    rows = run.delivery.filter(pl.col("node_kind") == "meter")
    # The slice of GEPIII comes without weather.
    assert rows["method"].is_in(["champion", "without_weather"]).mean() > 0.6  # type: ignore[operator]
    figures = re.search(r"published\s*│\s*([\d.]+)%\s*│\s*([+-]\d+)%\s*│\s*(\d+)%", run.printed)
    assert figures, run.printed[-2500:]
    nmae, skill, coverage = (float(each) for each in figures.groups())
    assert 0 < nmae < 60
    assert skill > 0
    assert 60 <= coverage <= 95


def test_flags_and_prices_are_there(run: Run) -> None:
    assert run.lake.count(contracts.ANOMALIES_FLAGS) > 0
    curve = run.lake.read(contracts.PRICES_CURVES, where={"delivery_date": run.today + timedelta(days=1)})
    sites = run.lake.read(contracts.METERS)["site_id"]
    assert set(curve["zone_id"]) == set(sites)
    assert curve.group_by("zone_id").len()["len"].is_between(23, 25).all()


def test_weather_and_gas_of_cambridge_reach_the_models(cambridge: Run) -> None:
    assert cambridge.lake.count(contracts.WEATHER_OBSERVED) > 2000
    gas = cambridge.delivery.filter(pl.col("commodity") == "gas", pl.col("node_kind") == "meter")
    assert gas["node_id"].n_unique() >= 5
    zeros = cambridge.lake.read(contracts.READINGS_INTERVAL, where={"reason": "zero_run"})
    assert zeros.height > 0  # the set writes missing values as zeros


def test_kbtu_of_site_0_becomes_kwh(gepiii: Run) -> None:
    meters = gepiii.lake.read(contracts.METERS).filter(pl.col("site_id") == "ashrae.0")
    assert meters["unit"].unique().to_list() == ["kBtu"]
    meter_id = meters["meter_id"][0]
    window = Window.of_days(date(2016, 11, 1))
    raw = gepiii.lake.read(contracts.READINGS_RAW, window, where={"meter_id": meter_id}).sort("starts_at_utc")
    clean = gepiii.lake.read(contracts.READINGS_INTERVAL, window, where={"meter_id": meter_id}).sort("starts_at_utc")
    assert clean["reported_kwh"].to_list() == pytest.approx((raw["value"] * 0.29307107).to_list(), rel=1e-4)
