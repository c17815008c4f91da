"""Weather through the graph: Open-Meteo by coordinates, a service that is down, and the evening's forecast."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from energy_assets.contracts import SITES, WEATHER_FORECAST, WEATHER_OBSERVED, WEATHER_QUARANTINE, Window
from energy_assets.defs.weather import checks, every_weather_row_is_accounted_for, landed_weather
from energy_assets.lake import Lake
from energy_assets.readings.source import Source, save_source
from energy_assets.settings import Settings
from energy_assets.weather.open_meteo import OpenMeteo
from energy_assets.weather_ingestion import WeatherService, keep_forecasts, land_weather
from energy_assets_tests.weather.service import Service, running

DAY = datetime.now(UTC).date() - timedelta(days=1)


class Platform:
    def __init__(self, home: Path, service: Service, *, issue_hour_utc: int = 0) -> None:
        self.settings = Settings(home=home, open_meteo_url=service.url, issue_hour_utc=issue_hour_utc)
        self.lake = Lake.from_settings(self.settings)
        self.source = Source(name="homes", kind="table", path=home / "no.csv", options={"weather": "open-meteo"})
        save_source(self.settings.sources_folder, self.source)
        sites = pl.DataFrame(
            {
                "site_id": ["homes.main", "homes.nowhere"],
                "name": ["Main", "Nowhere"],
                "timezone": ["Europe/Berlin"] * 2,
                "latitude": [48.0, None],
                "longitude": [7.85, None],
                "source": ["homes"] * 2,
            }
        )
        self.lake.replace(SITES, SITES.conform(sites))

    def run(self) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [landed_weather, *checks],
            partition_key=DAY.isoformat(),
            resources={"lake": self.lake, "settings": self.settings},
            raise_on_error=False,
        )


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as found:
        yield found


@pytest.fixture
def platform(tmp_path: Path, service: Service) -> Iterator[Platform]:
    made = Platform(tmp_path, service)
    yield made
    made.lake.close()


def judged(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def test_a_night_lands_yesterday_and_what_was_forecast_at_midnight(platform: Platform) -> None:
    result = platform.run()
    assert result.success
    observed, forecast = platform.lake.read(WEATHER_OBSERVED), platform.lake.read(WEATHER_FORECAST)
    assert observed.height == 24
    assert observed["source"].unique().to_list() == ["open-meteo"]
    midnight = Window.of_days(DAY).ends_at_utc
    assert forecast["issued_at_utc"].unique().to_list() == [midnight]
    assert forecast.height == 72
    (landed,) = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["weather", "observed"])
    ]
    assert "CC BY 4.0" in str(landed.step_materialization_data.materialization.metadata["attribution"].value)
    silent = judged(result)["every_site_has_weather"]
    account = judged(result)["every_weather_row_is_accounted_for"]
    assert account.passed
    assert account.description == "24 rows in = 24 stored + 0 duplicate + 0 quarantined; stored as 24 hours"
    assert not silent.passed
    assert silent.severity == dg.AssetCheckSeverity.WARN
    assert "homes.nowhere" in (silent.description or "")


def test_a_service_that_is_down_costs_no_night_and_nothing_that_was_there(
    platform: Platform, service: Service, tmp_path: Path
) -> None:
    day, now = Window.of_days(date(2026, 3, 1)), datetime(2026, 3, 2, 2, tzinfo=UTC)

    def land(faults: list[str], cache: str) -> dict[str, str]:
        service.faults = faults
        client = OpenMeteo(cache_folder=tmp_path / cache, url=service.url, tries=2, pause_s=0.01)
        landed = land_weather(
            platform.lake,
            [platform.source],
            observed=day,
            issued=day,
            now=now,
            service=WeatherService(client=client, kept_folder=tmp_path / "kept", now=now),
        )
        return dict(landed.failures)

    assert "503: maintenance" in land(["down"] * 2, "first")["homes.main"]
    assert platform.lake.count(WEATHER_OBSERVED) == 0
    assert land([], "second") == {}
    assert platform.lake.count(WEATHER_OBSERVED) == 24
    assert "homes.main" in land(["down"] * 2, "third")
    assert platform.lake.count(WEATHER_OBSERVED) == 24


def test_the_evening_keeps_a_forecast_for_the_sites_that_have_coordinates(platform: Platform, service: Service) -> None:
    now = datetime.now(UTC)
    service.now = now
    rows, failures = keep_forecasts(
        platform.lake, [platform.source], WeatherService.from_settings(platform.settings, now=now)
    )
    assert rows > 90
    assert failures == {}
    assert len(list((platform.settings.home / "weather" / "kept" / "homes").glob("*.parquet"))) == 1


def test_at_another_issue_hour_the_forecast_that_was_kept_just_before_serves_the_night(
    tmp_path: Path, service: Service
) -> None:
    platform = Platform(tmp_path, service, issue_hour_utc=6)
    issue = Window.of_days(DAY).ends_at_utc + timedelta(hours=6)
    evening = issue - timedelta(minutes=15)
    service.now = evening
    keep_forecasts(platform.lake, [platform.source], WeatherService.from_settings(platform.settings, now=evening))
    assert platform.run().success
    forecast = platform.lake.read(WEATHER_FORECAST)
    assert forecast["issued_at_utc"].unique().to_list() == [evening]
    assert not [asked for asked in service.asked if "_previous_day" in asked[1]["hourly"]]
    platform.lake.close()


def test_a_value_that_is_refused_and_a_row_that_was_lost_both_show(platform: Platform, service: Service) -> None:
    service.faults = ["absurd"]
    result = platform.run()
    assert judged(result)["every_weather_row_is_accounted_for"].passed
    refused = platform.lake.read(WEATHER_QUARANTINE)
    assert refused.select("source", "batch_id", "quantity", "reason").rows() == [
        ("homes", "open-meteo homes.main", "temperature_c", "implausible")
    ]
    assert '"temperature_c":4000.0' in refused["payload"].item()

    kept = platform.lake.read(WEATHER_OBSERVED).head(23)
    platform.lake.replace(WEATHER_OBSERVED, kept, window=Window.of_days(DAY))
    account_only = dg.define_asset_job(
        "account", selection=dg.AssetSelection.checks(every_weather_row_is_accounted_for)
    )
    definitions = dg.Definitions(
        assets=[landed_weather],
        asset_checks=checks,
        jobs=[account_only],
        resources={"lake": platform.lake, "settings": platform.settings},
    )
    found = definitions.resolve_job_def("account").execute_in_process(raise_on_error=False)
    account = judged(found)["every_weather_row_is_accounted_for"]
    assert not account.passed
    assert "the table holds 23 hours" in (account.description or "")
