"""`energy forecast peaks` over a real lake that holds one published issue."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.contracts import FORECASTS_LIMITS, FORECASTS_LOAD, FORECASTS_RECIPES, METERS, SITES
from energy_assets.errors import ContractError, LakeError
from energy_assets.lake import Lake
from energy_assets.settings import load_settings
from energy_assets_tests.forecasts import portfolio as given
from energy_assets_tests.forecasts.test_outcomes import DELIVERY, PUBLISHED


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "150")
    load_settings.cache_clear()
    yield tmp_path
    load_settings.cache_clear()


def publish() -> None:
    lake = Lake.from_settings(load_settings())
    lake.replace(FORECASTS_RECIPES, DELIVERY.recipe)
    for table, rows in ((FORECASTS_LOAD, PUBLISHED), (METERS, given.METER_ROWS), (SITES, given.SITE_ROWS)):
        lake.replace(table, rows)
    lake.close()


def energy(*words: str, command: str = "peaks") -> str:
    done = CliRunner().invoke(app, ["forecast", command, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_peaks_of_the_portfolio_and_the_likelihood_above_a_limit(home: Path):
    publish()
    out = home / "above.csv"
    said = energy("--limit-kw", "10", "--out", str(out))
    assert "portfolio|electricity|net, issued 2026-03-10 00:00 UTC, days of UTC" in said
    assert "2026-03-11" in said
    assert "likeliest hours" in said
    assert "Above 10 kW: likeliest at" in said
    assert pl.read_csv(out)["probability"].is_between(0, 1).all()


def test_limits_are_listed_with_the_likeliest_first(home: Path):
    publish()
    with pytest.raises(LakeError, match="State limit_kw of premises or sites, capacity_kw of meters"):
        energy(command="limits")
    hour = pl.DataFrame({"starts_at_utc": [given.ISSUE + timedelta(hours=number) for number in (5, 6)]})
    rows = pl.concat(
        hour.with_columns(
            node_id=pl.lit(node), issued_at_utc=pl.lit(given.ISSUE), interval_minutes=pl.lit(60),
            limit_kw=pl.lit(17.25), probability=pl.Series(chances), probability_fed_in=pl.lit(0.0),
        )
        for node, chances in (("t.a|electricity|net", [0.1, 0.3]), ("t.f|electricity|net", [0.75, 0.25]))
    )  # fmt: skip
    lake = Lake.from_settings(load_settings())
    lake.replace(FORECASTS_LIMITS, rows)
    lake.close()
    out = home / "limits.csv"
    lines = energy("--out", str(out), command="limits").splitlines()
    told = [" ".join(line.split()) for line in lines if "|electricity|net" in line]
    assert told == [
        "t.f|electricity|net 17.25 75% 2026-03-10 05:00 1.0",
        "t.a|electricity|net 17.25 30% 2026-03-10 06:00 0.4",
    ]
    assert pl.read_csv(out).height == 4


def test_days_of_a_meter_are_those_of_its_site(home: Path):
    publish()
    assert "days of Europe/Berlin" in energy("--node", "t.a.electricity")


def test_a_node_or_an_issue_that_is_not_there_is_named(home: Path):
    publish()
    with pytest.raises(ContractError, match="no node 'nowhere'"):
        energy("--node", "nowhere")
    with pytest.raises(LakeError, match="no forecast issued at 2020-01-01 00:00 UTC"):
        energy("--issued", "2020-01-01")


def test_an_empty_lake_says_how_to_get_a_forecast(home: Path):
    lake = Lake.from_settings(load_settings())
    lake.replace(METERS, given.METER_ROWS)
    lake.close()
    with pytest.raises(LakeError, match="energy nightly"):
        energy()


def test_written_scenarios_of_a_place_are_the_sums_of_those_of_its_meters(home: Path):
    publish()
    out = home / "scenarios.parquet"
    names = ["t.f|electricity|net", "t.f.electricity", "t.f.electricity.pv"]
    said = energy(*(word for name in names for word in ("--node", name)), "--out", str(out), command="scenarios")
    assert "200 scenarios of 3 nodes, issued 2026-03-10 00:00 UTC" in " ".join(said.split())
    wide = pl.read_parquet(out).pivot("node_id", index=["scenario", "starts_at_utc"], values="energy_kwh")
    net, load, pv = (wide[name] for name in names)
    assert (net - (load - pv)).abs().max() < 1e-6
