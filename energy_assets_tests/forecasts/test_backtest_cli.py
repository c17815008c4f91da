"""The commands on a person's files, as they are typed: backtest, ahead and outlook."""

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.contracts import QUANTILE_COLUMNS, UTC_TIME
from energy_assets.errors import ConfigError, SourceError
from energy_assets_tests.forecasts.own_files import START, temperatures, wave, write

FAST = ["--models", "weekday_mean,previous_day"]
"""A champion that needs no trees; the road is the same."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write(pl.concat([wave("a", days=40), wave("b", days=40, level=50)]), tmp_path / "readings.csv")
    write(temperatures(42), tmp_path / "weather.csv")
    (tmp_path / "meters.csv").write_text(
        "meter_id,timezone,country_code,colour\na,Europe/Berlin,de,red\nb,Europe/Berlin,de,blue\n"
    )
    return tmp_path


def energy(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_backtest_writes_forecasts_and_a_report_and_says_what_it_found(files: Path, ending: str):
    out, report = files / f"out.{ending}", files / "report.json"
    said = energy(
        "backtest", "--readings", files / "readings.csv", "--weather", files / "weather.csv", "--meters",
        files / "meters.csv", "--last", "25%", "--horizon-hours", 24, "--out", out, "--report", report, *FAST,
    )  # fmt: skip
    rows = pl.read_parquet(out) if ending == "parquet" else pl.read_csv(out, try_parse_dates=True)
    assert rows.columns == ["meter_id", "issued_at_utc", "starts_at_utc", *QUANTILE_COLUMNS, "method", "rung", "reason"]
    assert rows["starts_at_utc"].cast(UTC_TIME).dtype == UTC_TIME
    # 41 local days are touched, of which a quarter are 10; the first hour of the first one is missing in Berlin.
    assert rows.height == 2 * 10 * 24
    account = json.loads(report.read_text())
    assert account["seconds"] > 0
    assert account["peak_memory_gb"] > 0.05
    assert account["set"]["slots_filled"] == rows.height
    assert account["options"]["model_family"] == "weekday_mean"
    assert set(account["meters"]) == {"a", "b"}
    assert {"median", "pooled", "skill", "by", "rungs", "trainings", "notes"} <= set(account)
    assert "480 of 480 slots filled" in said
    assert "NMAE saved by ladder" in said
    assert "GB at the peak" in said


def test_baselines_that_cannot_predict_every_slot_are_told_with_their_share(files: Path):
    """Meter b begins ten days before the end: last week knows nothing of its first seven days."""
    late = wave("b", days=10, start=START + timedelta(days=30))
    write(pl.concat([wave("a", days=40), late]), files / "readings.csv")
    report = files / "report.json"
    said = energy(
        "backtest", "--readings", files / "readings.csv", "--last", 8, "--out", files / "o.csv", "--report", report,
        "--models", "weekday_mean,last_week",
    )  # fmt: skip
    account = json.loads(report.read_text())
    # Of 2 x 8 days those of b are missing that lie within seven of its beginning: days 32 to 36.
    assert account["predicted"]["ladder"] == 1
    assert account["predicted"]["last_week"] == pytest.approx(11 / 16)
    assert "could be predicted by last_week 68.8 %" in said


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        pytest.param(["--last", "0"], ConfigError, "give a share such as 20%", id="last"),
        pytest.param(["--last", "2.5"], ConfigError, "give whole days", id="half-days"),
        pytest.param(["--models", "crystal_ball"], ConfigError, "knows no crystal_ball; choose from", id="models"),
        pytest.param(
            ["--models", "previous_day"], ConfigError, "must begin with a family that can be trained", id="first"
        ),
        pytest.param(["--clock", "moon"], ConfigError, "choose local or utc", id="clock"),
        pytest.param(["--effort", "none"], ConfigError, "choose from full, quick", id="effort"),
        pytest.param(["--report", "/nowhere/r.json"], ConfigError, "folder /nowhere does not exist", id="report"),
    ],
)
def test_options_that_make_no_sense_stop_before_the_work(files: Path, options: list[str], error: type, says: str):
    command = ["backtest", "--readings", str(files / "readings.csv"), "--out", str(files / "o.csv"), *options]
    with pytest.raises(error, match=says):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not (files / "o.csv").exists()


@pytest.mark.parametrize("out", ["o.xlsx", "nowhere/o.csv"])
def test_results_that_could_not_be_written_stop_before_the_work(files: Path, out: str):
    with pytest.raises(SourceError, match="Cannot write"):
        CliRunner().invoke(
            app,
            ["backtest", "--readings", str(files / "readings.csv"), "--out", str(files / out)],
            catch_exceptions=False,
        )


def test_outlook_writes_days_totals_and_costs(files: Path):
    out, totals = files / "days.csv", files / "totals.csv"
    said = energy("outlook", "--readings", files / "readings.csv", "--out", out, "--totals", totals, "--price", 0.3)
    days, sums = pl.read_csv(out), pl.read_csv(totals)
    assert days.height == 2 * 90
    assert sums["days"].unique().sort().to_list() == [7, 30, 60, 90]
    assert (days["cost_q50"] - 0.3 * days["q50"]).abs().max() < 1e-9  # type: ignore[operator]
    assert "for 90 days" in said


def test_ahead_says_the_next_interval_and_the_next_three_hours(files: Path):
    out, sums = files / "next.csv", files / "sums.csv"
    said = energy(
        "ahead", "--readings", files / "readings.csv", "--at", "2025-02-10T08:00", "--out", out, "--sums", sums
    )
    assert pl.read_csv(out).height == 2 * 3
    assert pl.read_csv(sums)["hours"].to_list() == [3.0, 3.0]
    assert "From 2025-02-10 08:00 UTC" in said
