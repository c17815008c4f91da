"""The main job on a small community through a real Dagster instance, a real lake and a real MLflow store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_assets import contracts
from energy_assets.contracts import Window
from energy_assets.lake import Lake
from energy_assets.settings import Settings
from energy_assets.sql import Query
from energy_assets_tests import ui

DAYS = 45


def energy(home: Path, *words: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ENERGY_ASSETS", "DAGSTER"))}
    environment |= {"ENERGY_ASSETS_HOME": str(home), "ENERGY_ASSETS_TRAINING_ROWS": "40000", "COLUMNS": "100"}
    environment |= {"ENERGY_ASSETS_TRAINING_EFFORT": "quick"}
    return subprocess.run(
        [str(Path(sys.executable).parent / "energy"), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=home,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def printed(home: Path) -> str:
    done = energy(home, "run", "--buildings", "8", "--households", "5", "--days", str(DAYS))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def made(home: Path, printed: str) -> Lake:
    assert printed
    return Lake.from_settings(Settings(home=home))


def today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.slow
def test_it_prints_what_it_made_and_what_to_do_next(printed: str) -> None:
    for expected in ("In the lake", "Error of the back-filled forecasts", "Tomorrow's price in zone", "make up"):
        assert expected in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_every_row_that_came_in_is_accounted_for(made: Lake) -> None:
    account = made.read(contracts.READINGS_LANDINGS)
    assert (
        account["rows_in"].sum()
        == account.select(pl.col("stored", "duplicate", "quarantined").sum()).sum_horizontal()[0]
    )
    assert account["stored"].sum() == made.count(contracts.READINGS_RAW)
    assert account["quarantined"].sum() == made.count(contracts.READINGS_QUARANTINE)


@pytest.mark.slow
def test_every_meter_has_tonights_forecast_for_every_slot_and_quantiles_do_not_cross(made: Lake) -> None:
    window = Window(starts_at_utc=today(), ends_at_utc=today() + timedelta(days=1))
    rows = made.read(contracts.FORECASTS_LOAD, window).filter(pl.col("node_kind") == "meter")
    meters = made.read(contracts.METERS)
    assert set(rows["node_id"]) == set(meters["meter_id"])
    assert rows.group_by("node_id").len()["len"].min() >= 44
    quantiles = rows.select(contracts.QUANTILE_COLUMNS).to_numpy()
    assert (quantiles[:, 1:] >= quantiles[:, :-1]).all()
    assert (rows["method"] == "champion").mean() > 0.5


@pytest.mark.slow
def test_the_portfolio_is_the_sum_of_its_meters(made: Lake) -> None:
    window = Window(starts_at_utc=today(), ends_at_utc=today() + timedelta(days=1))
    rows = made.read(contracts.FORECASTS_LOAD, window).filter(pl.col("commodity") == "chilled_water")
    meters = rows.filter(pl.col("node_kind") == "meter").group_by("starts_at_utc").agg(pl.col("q50").sum())
    portfolio = rows.filter(pl.col("node_kind") == "portfolio").select("starts_at_utc", total="q50")
    both = portfolio.join(meters, on="starts_at_utc")
    assert both.height > 40
    assert (both["total"] - both["q50"]).abs().max() < 1e-6  # type: ignore[operator]


@pytest.mark.slow
def test_tomorrow_has_a_price_whose_parts_sum_to_it(made: Lake) -> None:
    tomorrow = today().date() + timedelta(days=1)
    curve = made.read(contracts.PRICES_CURVES, where={"delivery_date": tomorrow})
    assert curve.group_by("zone_id").len()["len"].is_between(23, 25).all()
    parts = pl.sum_horizontal(name for name in curve.columns if name.endswith("_component"))
    assert curve.select((parts - pl.col("price_units")).abs().max()).item() < 1e-6


@pytest.mark.slow
def test_the_model_is_registered_with_its_origin(home: Path, made: Lake) -> None:
    from energy_assets.defs.resources import registry_from

    champion = registry_from(Settings(home=home)).resolve("load-electricity-60min")
    assert 0 < int(champion.tags["lake_snapshot_id"]) <= made.snapshot_id()
    assert champion.tags["git_commit"]
    assert set(champion.variants) == {"full", "without_weather"}


@pytest.mark.slow
def test_the_night_again_changes_no_table(home: Path, made: Lake) -> None:
    def content() -> dict[str, object]:
        wanted = ("forecasts.load", "prices.curves", "anomalies.flags", "readings.interval", "marts.outlook")
        return {
            name: made.query(
                Query(text=f"SELECT count(*) AS rows, bit_xor(hash(COLUMNS(*)))::VARCHAR FROM {name}")
            ).rows()
            for name in wanted
        }

    before = content()
    done = energy(home, "nightly")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    made.close()
    assert content() == before


@pytest.mark.slow
def test_a_broken_source_is_named_and_the_night_goes_on(home: Path, made: Lake) -> None:
    train = home / "community" / "ashrae" / "train.csv"
    kept = train.with_suffix(".kept")
    train.rename(kept)
    try:
        done = energy(home, "nightly")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        log = (home / "logs" / "run.log").read_text()
        assert "train.csv" in log
        assert "does not exist" in log
    finally:
        kept.rename(train)
    made.close()
    newest = made.read(contracts.FORECASTS_LOAD, columns=["issued_at_utc"])["issued_at_utc"].max()
    assert newest == today()


def test_an_error_is_a_sentence_and_not_a_traceback(tmp_path: Path) -> None:
    done = energy(tmp_path, "ingest", "ashrae", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "nowhere" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("days_ago", [0, pytest.param(12, id="12, which the champion had seen")])
def test_a_past_forecast_can_be_made_again_bit_for_bit(home: Path, made: Lake, days_ago: int) -> None:
    issued = (today() - timedelta(days=days_ago)).date().isoformat()
    done = energy(home, "forecast", "rebuild", "--issued", issued, "--check")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "every bit is as it was published" in done.stdout


@pytest.mark.slow
def test_a_forecast_that_was_changed_afterwards_is_found(home: Path, made: Lake) -> None:
    issued = today() - timedelta(days=3)
    window = Window(starts_at_utc=issued, ends_at_utc=issued + timedelta(seconds=1))
    published = made.read(contracts.FORECASTS_LOAD, window)
    made.code = "4ee8832"
    made.replace(contracts.FORECASTS_LOAD, published.with_columns(q50=pl.col("q50") * (1 + 1e-12)), window=window)
    made.close()
    done = energy(home, "forecast", "rebuild", "--issued", issued.date().isoformat(), "--check")
    assert done.returncode == 1
    assert "q50" in done.stdout
    assert "q90" not in done.stdout
    assert "published by other code (4ee8832;" in done.stdout
    made.replace(contracts.FORECASTS_LOAD, published, window=window)


@pytest.fixture(scope="module")
def platform(home: Path, made: Lake) -> Iterator[ui.Platform]:
    made.close()
    with ui.up(home) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("{dagster}/asset-groups", ["readings", "forecasts", "anomalies", "prices"], id="asset graph"),
        pytest.param(
            "{dagster}/assets/forecasts/load?view=checks",
            ["meets_its_contract", "forecast_is_plausible"],
            id="checks",
        ),
        pytest.param("{dagster}/assets/readings/interval?view=overview", ["lake_snapshot", "kWh"], id="asset"),
        pytest.param("{dagster}/automation", ["nightly_day", "changed_readings", "weekly_training"], id="schedules"),
        pytest.param("{dagster}/runs", ["Success", "delivery"], id="runs"),
        pytest.param("{mlflow}/#/models", ["load-electricity-60min", "champion"], id="models"),
    ],
)
def test_a_person_sees_it_in_the_browser(
    platform: ui.Platform, tmp_path: Path, address: str, expected: list[str]
) -> None:
    with ui.browser() as page:
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address.format(dagster=platform.dagster, mlflow=platform.mlflow))
        for words in expected:
            page.get_by_text(words).first.wait_for(timeout=60_000)
        page.screenshot(path=str(tmp_path / "page.png"))
        assert faults == []


@pytest.mark.slow
def test_a_backfill_of_every_day_works_from_the_ui(platform: ui.Platform, home: Path) -> None:
    last = today().date() - timedelta(days=1)
    days = [(last - timedelta(days=day)).isoformat() for day in range(DAYS)]
    assets = [{"path": ["readings", "interval"]}, {"path": ["marts", "daily_energy"]}]
    launched = platform.ask(ui.BACKFILL, {"assets": assets, "partitions": days})["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    deadline = time.monotonic() + 240
    status = ""
    while time.monotonic() < deadline and not status.startswith("COMPLETED"):
        time.sleep(2)
        found = platform.ask(ui.STATUS, {"id": launched["backfillId"]})["partitionBackfillOrError"]
        status = found["status"]
        assert found["numPartitions"] == DAYS
    assert status == "COMPLETED_SUCCESS"
    lake = Lake.from_settings(Settings(home=home))
    assert lake.read(contracts.MARTS_DAILY_ENERGY)["starts_at_utc"].n_unique() == DAYS
    lake.close()
