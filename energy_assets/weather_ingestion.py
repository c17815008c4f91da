"""Landing of weather in the lake: from files and Open-Meteo, every row stored, refused or counted as a repeat.

Sources declare their weather in their options; readers stand in `weather`, and this module only joins them to the lake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from energy_assets.contracts import (
    SITES,
    WEATHER_FORECAST,
    WEATHER_LANDINGS,
    WEATHER_OBSERVED,
    WEATHER_QUARANTINE,
    Window,
)
from energy_assets.lake import Change, Lake
from energy_assets.readings.source import Source
from energy_assets.settings import Settings
from energy_assets.weather.fetched import fetch_weather, keep_forecast
from energy_assets.weather.judging import Judged
from energy_assets.weather.open_meteo import BEST_MATCH, OpenMeteo, Place
from energy_assets.weather.sources import Weather, WeatherFiles, read_weather

OPEN_METEO = "open-meteo"


@dataclass(frozen=True, kw_only=True)
class WeatherService:
    """Open-Meteo and the folder in which the forecasts of before an issue are kept."""

    client: OpenMeteo
    kept_folder: Path
    now: datetime

    @classmethod
    def from_settings(cls, settings: Settings, *, now: datetime) -> WeatherService:
        """Return the service that the settings describe; nothing is asked before the first use."""
        folder = settings.home / "weather"
        client = OpenMeteo(
            cache_folder=folder / "answers", url=settings.open_meteo_url, api_key=settings.open_meteo_key
        )
        return cls(client=client, kept_folder=folder / "kept", now=now)


def land_weather(
    lake: Lake,
    sources: Sequence[Source],
    *,
    observed: Window,
    issued: Window,
    now: datetime,
    issues: Sequence[datetime] = (),
    service: WeatherService | None = None,
    message: str = "",
) -> Weather:
    """Land the weather that the sources bring and return it, with what was refused of it and who failed.

    Observations of the hours of `observed` (whole days) and forecasts issued within `issued` are replaced, and the
    account and the quarantine with them; whose weather cannot be had now keeps what it had. `service` answers for the
    sources whose option `weather` says open-meteo, at `issues`.
    """
    sites = lake.read(SITES)
    answers: list[Judged] = []
    failures: dict[str, str] = {}
    for source, places in served_places(sources, sites) if service is not None else ():
        assert service is not None
        judged, failed = fetch_weather(
            service.client,
            places,
            source=source.name,
            observed=observed,
            issued=issued,
            issues=issues,
            kept_folder=service.kept_folder / source.name,
            now=service.now,
            models=models_of(source),
        )
        answers.extend(judged)
        failures |= failed
    weather = read_weather(
        [weather_files(source, sites=sites) for source in sources],
        observed=observed,
        issued=issued,
        now=now,
        answers=answers,
        failures=failures,
    )
    hours = _hours(lake, weather, observed=observed, issued=issued)
    account = _account(lake, weather, observed=observed, issued=issued)
    lake.commit([*hours, *account], message=message or "land weather")
    return weather


def _hours(lake: Lake, weather: Weather, *, observed: Window, issued: Window) -> list[Change]:
    changes = []
    for table, rows, window in (
        (WEATHER_OBSERVED, weather.observed, observed),
        (WEATHER_FORECAST, weather.forecast, issued),
    ):
        had = lake.read(table, window).filter(_is_of(weather.failures)) if weather.failures else table.empty()
        both = pl.concat([rows, had]).unique(table.key, keep="first", maintain_order=True)
        changes.append(Change(table=table, rows=both, window=window))
    return changes


def _account(lake: Lake, weather: Weather, *, observed: Window, issued: Window) -> list[Change]:
    """Return the changes of quarantine and landings: by window, and of rows without a time all that a source has."""
    changes = []
    for table, rows in ((WEATHER_QUARANTINE, weather.quarantine), (WEATHER_LANDINGS, weather.landings)):
        had = lake.read(table).filter(_is_batch_of(weather.failures)) if weather.failures else table.empty()
        # Where only the forecast of a site failed, its batch of observations is there anew.
        both = pl.concat([rows, had.join(weather.landings, on=["source", "batch_id", "subject"], how="anti")])
        for subject, window in ((WEATHER_OBSERVED.name, observed), (WEATHER_FORECAST.name, issued)):
            of_subject = both.filter(pl.col("subject") == subject)
            is_within = pl.col("at_utc").is_between(window.starts_at_utc, window.ends_at_utc, closed="left")
            changes += [
                Change(table=table, rows=of_subject.filter(is_within), window=window, where={"subject": subject}),
                Change(
                    table=table,
                    rows=of_subject.filter(pl.col("at_utc").is_null()),
                    where={"subject": subject, "at_utc": None},
                ),
            ]
    return changes


def keep_forecasts(lake: Lake, sources: Sequence[Source], service: WeatherService) -> tuple[int, dict[str, str]]:
    """Fetch and keep what is forecast now, for the next issue; return the rows kept and the failures by site id."""
    rows = 0
    failures: dict[str, str] = {}
    for source, places in served_places(sources, lake.read(SITES)):
        kept, failed = keep_forecast(
            service.client,
            places,
            folder=service.kept_folder / source.name,
            now=service.now,
            models=models_of(source),
        )
        rows += kept
        failures |= failed
    return rows, failures


def served_places(sources: Sequence[Source], sites: pl.DataFrame) -> list[tuple[Source, list[Place]]]:
    """Return the sources that ask for Open-Meteo's weather, with those of their sites that have coordinates."""
    located = sites.drop_nulls(["latitude", "longitude"])
    return [
        (
            source,
            [
                Place(site_id=site, latitude=latitude, longitude=longitude)
                for site, latitude, longitude in located.filter(pl.col("source") == source.name)
                .select("site_id", "latitude", "longitude")
                .sort("site_id")
                .iter_rows()
            ],
        )
        for source in sources
        if source.options.get("weather") == OPEN_METEO
    ]


def models_of(source: Source) -> list[str]:
    """Return the weather models that a source asks for, by Open-Meteo's names."""
    return [name.strip() for name in str(source.options.get("weather_models", BEST_MATCH)).split(",") if name.strip()]


def _is_of(failures: Mapping[str, str]) -> pl.Expr:
    """Return whether a row's site is one of those named: by its whole id, or by a start that ends with a dot."""
    site = pl.col("site_id")
    return pl.any_horizontal(site.str.starts_with(name) if name.endswith(".") else site == name for name in failures)


def _is_batch_of(failures: Mapping[str, str]) -> pl.Expr:
    """Return whether a batch is of a source or site among those named."""
    return pl.any_horizontal(
        pl.col("source") == name.removesuffix(".")
        if name.endswith(".")
        else pl.col("batch_id").str.ends_with(f" {name}")
        for name in failures
    )


def weather_files(source: Source, *, sites: pl.DataFrame) -> WeatherFiles:
    """Return where a source keeps its weather: beside ASHRAE's and BDG2's readings, and where its options say.

    The options `weather_observed` and `weather_forecast` name Parquet or CSV files, relative to the source's folder, in
    the columns of the contracts or in those that the file of the option `weather_mapping` declares.
    """
    files = source.files()
    return WeatherFiles(
        source=source.name,
        gepiii_folder=source.path if source.kind == "ashrae" else None,
        bdg2_file=bdg2_weather_file(source.path) if source.kind == "bdg2" else None,
        zones=dict(sites.filter(pl.col("source") == source.name).select("site_id", "timezone").iter_rows()),
        observed=files.get("weather_observed"),
        forecast=files.get("weather_forecast"),
        mapping=files.get("weather_mapping"),
    )


def bdg2_weather_file(folder: Path) -> Path | None:
    """Return BDG2's weather.csv in the repository's folder or its data folder; None where there is none."""
    candidates = (folder / part / "weather.csv" for part in ("data/weather", "weather", "."))
    return next((path for path in candidates if path.is_file()), None)
