"""Open-Meteo against a local server that answers in its documented format, well and badly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from energy_assets.contracts import WEATHER_FORECAST, WEATHER_OBSERVED, Window
from energy_assets.errors import SourceError
from energy_assets.weather.fetched import fetch_weather, keep_forecast
from energy_assets.weather.open_meteo import OpenMeteo, Place
from energy_assets.weather.sources import Weather, read_weather
from energy_assets_tests.weather.service import Service, running, value_of

PLACE = Place(site_id="home.main", latitude=48.0, longitude=7.85)
NOW = datetime(2026, 3, 20, 2, tzinfo=UTC)
PAST = Window.of_days(date(2026, 1, 5), date(2026, 1, 6))
ISSUE = datetime(2026, 3, 20, tzinfo=UTC)


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as found:
        yield found


ISSUED = Window.of_days(date(2026, 1, 1), date(2026, 3, 31))


def fetched(
    client: OpenMeteo,
    places: Sequence[Place],
    *,
    observed: Window,
    issues: Sequence[datetime],
    kept: Path,
    **options: Any,
) -> Weather:
    answers, failures = fetch_weather(
        client,
        places,
        source="home",
        observed=observed,
        issued=ISSUED,
        issues=issues,
        kept_folder=kept,
        now=NOW,
        **options,
    )
    return read_weather([], observed=observed, issued=ISSUED, now=NOW, answers=answers, failures=failures)


def client_of(service: Service, tmp_path: Path, **settings: object) -> OpenMeteo:
    return OpenMeteo(cache_folder=tmp_path / "answers", url=service.url, pause_s=0.01, **settings)  # type: ignore[arg-type]


def test_sums_and_means_of_the_hour_before_move_to_the_start_of_their_hour(service: Service, tmp_path: Path) -> None:
    rows = client_of(service, tmp_path).observed(PLACE, PAST, now=NOW)
    assert rows.height == 48
    for row in rows.iter_rows(named=True):
        at, after = row["starts_at_utc"], row["starts_at_utc"] + timedelta(hours=1)
        assert row["temperature_c"] == pytest.approx(value_of("temperature_2m", at))
        assert row["precipitation_mm"] == pytest.approx(value_of("precipitation", after))
        assert row["global_horizontal_irradiance_w_m2"] == pytest.approx(value_of("shortwave_radiation", after))
        assert row["relative_humidity_fraction"] == pytest.approx(0.5)
        assert row["cloud_cover_fraction"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("window", "path"),
    [
        pytest.param(PAST, "/v1/archive", id="long ago: the archive"),
        pytest.param(Window.of_days(date(2026, 3, 19)), "/v1/forecast", id="yesterday: not in the archive yet"),
    ],
)
def test_the_endpoint_follows_from_the_age(service: Service, tmp_path: Path, window: Window, path: str) -> None:
    rows = client_of(service, tmp_path).observed(PLACE, window, now=NOW)
    assert rows["starts_at_utc"].min() == window.starts_at_utc
    assert [asked[0] for asked in service.asked] == [path]
    query = service.asked[0][1]
    assert (query["wind_speed_unit"], query["timezone"], query["timeformat"]) == ("ms", "GMT", "unixtime")


def test_a_past_issue_gets_what_was_said_then_and_nothing_younger(service: Service, tmp_path: Path) -> None:
    issues = [ISSUE - timedelta(days=40), ISSUE - timedelta(days=39)]
    rows = client_of(service, tmp_path).as_issued(PLACE, issues, now=NOW)
    assert rows.height == 2 * 72
    for row in rows.iter_rows(named=True):
        hours_ahead = (row["starts_at_utc"] - row["issued_at_utc"]) // timedelta(hours=1)
        said_days_ahead = round(row["temperature_c"] - value_of("temperature_2m", row["starts_at_utc"]))
        assert said_days_ahead * 24 > hours_ahead >= (said_days_ahead - 1) * 24


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        pytest.param(["busy"], 2, id="429 with Retry-After"),
        pytest.param(["down", "down"], 3, id="503 twice"),
        pytest.param(["slow"], 1, id="slow"),
    ],
)
def test_a_busy_service_is_asked_again(service: Service, tmp_path: Path, faults: list[str], requests: int) -> None:
    service.faults = faults
    assert client_of(service, tmp_path).observed(PLACE, PAST, now=NOW).height == 48
    assert len(service.asked) == requests


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        pytest.param(["down"] * 4, "refused, 503: maintenance", id="down for good"),
        pytest.param(["refused"], "Latitude must be in range", id="the service's own reason"),
        pytest.param(["truncated"], "without whole JSON", id="truncated"),
        pytest.param(["short"], "for other hours than it names", id="columns of another length"),
        pytest.param(["fahrenheit"], "in °F, not in °C", id="another unit"),
        pytest.param(["gappy"], "does not go hour by hour", id="half hours"),
        pytest.param(["empty"], "has no hourly values", id="nothing"),
        pytest.param(["nothing"], "has no value for any hour", id="nulls only"),
        pytest.param(["unitless"], "gives temperature_2m in None", id="no units"),
        pytest.param(["true"], "as something else than numbers", id="true for a number"),
        pytest.param(["word"], "as something else than numbers", id="a word for a number"),
    ],
)
def test_nonsense_is_named_and_not_kept(service: Service, tmp_path: Path, faults: list[str], says: str) -> None:
    service.faults = faults
    client = client_of(service, tmp_path)
    with pytest.raises(SourceError, match=says):
        client.observed(PLACE, PAST, now=NOW)
    assert client.observed(PLACE, PAST, now=NOW).height == 48


def test_nobody_there_is_named_without_the_key(tmp_path: Path) -> None:
    client = OpenMeteo(cache_folder=tmp_path, url="http://127.0.0.1:9", api_key="secret-key", tries=2, pause_s=0.01)
    with pytest.raises(SourceError, match="did not answer") as caught:
        client.forecast(PLACE, now=NOW)
    assert "secret-key" not in str(caught.value)


def test_final_answers_are_kept_for_ever_and_forecasts_for_an_hour(service: Service, tmp_path: Path) -> None:
    client = client_of(service, tmp_path)
    client.observed(PLACE, PAST, now=NOW)
    client.observed(PLACE, PAST, now=NOW + timedelta(days=400))
    assert len(service.asked) == 1
    for minutes, requests in ((0, 2), (30, 2), (90, 3)):
        client.forecast(PLACE, now=NOW + timedelta(minutes=minutes))
        assert len(service.asked) == requests
    for torn in (tmp_path / "answers").rglob("*.json"):
        torn.write_text('{"fetched_at_utc": ')
    client.observed(PLACE, PAST, now=NOW)
    client.forecast(PLACE, now=NOW + timedelta(minutes=90))
    assert len(service.asked) == 5
    kept = list((tmp_path / "answers").rglob("*.json"))
    assert all("CC BY 4.0" in path.read_text() for path in kept)
    assert client.forget_stale(now=datetime.now(UTC)) == 0
    assert client.forget_stale(now=datetime.now(UTC) + timedelta(days=2)) == 1
    assert [path.parent.name for path in (tmp_path / "answers").rglob("*.json")] == ["final"]


def test_an_answer_from_before_it_was_final_is_asked_for_again(service: Service, tmp_path: Path) -> None:
    client, day = client_of(service, tmp_path), Window.of_days(date(2026, 3, 12))
    client.observed(PLACE, day, now=NOW)
    client.observed(PLACE, day, now=NOW + timedelta(days=30))
    client.observed(PLACE, day, now=NOW + timedelta(days=60))
    assert len(service.asked) == 2


def test_observations_count_where_only_the_forecast_was_refused(service: Service, tmp_path: Path) -> None:
    service.faults = ["", "refused"]
    weather = fetched(client_of(service, tmp_path), [PLACE], observed=PAST, issues=[ISSUE], kept=tmp_path / "kept")
    assert weather.observed.height == 48
    assert weather.forecast.is_empty()
    assert "Latitude must be in range" in weather.failures["home.main"]


def test_a_service_that_stays_silent_is_not_asked_for_every_place(service: Service, tmp_path: Path) -> None:
    service.faults = ["down"] * 100
    places = [Place(site_id=f"home.{number}", latitude=48.0, longitude=number) for number in range(20)]
    weather = fetched(client_of(service, tmp_path, tries=2), places, observed=PAST, issues=[], kept=tmp_path / "kept")
    assert len(service.asked) == 4
    assert len(weather.failures) == 20
    assert "was not asked for home.19" in weather.failures["home.19"]


def test_missing_and_absurd_values_are_null_and_counted(service: Service, tmp_path: Path) -> None:
    service.faults = ["absurd"]
    weather = fetched(client_of(service, tmp_path), [PLACE], observed=PAST, issues=[], kept=tmp_path / "kept")
    assert weather.refused == {"implausible of temperature_c": 1}
    assert weather.observed["temperature_c"].null_count() == 1
    assert weather.observed.schema == WEATHER_OBSERVED.polars_schema


def test_one_place_that_fails_is_named_and_the_others_go_on(service: Service, tmp_path: Path) -> None:
    service.faults = ["refused"]
    other = Place(site_id="home.second", latitude=50.0, longitude=8.0)
    weather = fetched(client_of(service, tmp_path), [PLACE, other], observed=PAST, issues=[], kept=tmp_path)
    assert set(weather.failures) == {"home.main"}
    assert weather.observed["site_id"].unique().to_list() == ["home.second"]


def test_the_evenings_forecast_serves_the_night_and_a_missed_evening_is_asked_for(
    service: Service, tmp_path: Path
) -> None:
    client, kept = client_of(service, tmp_path), tmp_path / "kept"
    evening = ISSUE - timedelta(minutes=15)
    service.now = evening
    models = ("icon_seamless", "gfs_seamless")
    rows, failures = keep_forecast(client, [PLACE], folder=kept, now=evening, models=models)
    assert failures == {}
    assert rows > 2 * 90

    yesterday = Window.of_days(date(2026, 3, 19))
    night = fetched(client, [PLACE], observed=yesterday, issues=[ISSUE], kept=kept, models=models)
    assert night.forecast.schema == WEATHER_FORECAST.polars_schema
    assert night.forecast["issued_at_utc"].unique().to_list() == [evening]
    assert sorted(night.forecast["source"].unique()) == ["open-meteo:gfs_seamless", "open-meteo:icon_seamless"]

    missed = fetched(client, [PLACE], observed=yesterday, issues=[ISSUE + timedelta(days=1)], kept=kept)
    assert missed.forecast["issued_at_utc"].unique().to_list() == [ISSUE + timedelta(days=1)]
    assert missed.forecast.filter(pl.col("available_at_utc") > pl.col("issued_at_utc")).is_empty()
