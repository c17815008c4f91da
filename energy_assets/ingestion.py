"""Landing of declared sources in the lake: one transaction per source stores, refuses and accounts for every row.

The CLI and the Dagster assets both come through here, so that a file that is ingested by hand and one that the nightly
run finds end up the same. Parsers stand in `readings` and `weather`; this module only joins them to the lake.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from energy_assets.contracts import (
    METERS,
    PREMISES,
    READINGS_LANDINGS,
    READINGS_QUARANTINE,
    READINGS_RAW,
    SITES,
    WEATHER_FORECAST,
    WEATHER_OBSERVED,
    Table,
    Window,
)
from energy_assets.errors import SourceError
from energy_assets.lake import Change, Commit, Lake
from energy_assets.messaging import staging as mqtt
from energy_assets.readings import ashrae, bdg2, tabular
from energy_assets.readings.source import Counts, Registry, Source, Stage
from energy_assets.settings import Settings
from energy_assets.sql import Query
from energy_assets.weather.fetched import fetch_weather, keep_forecast
from energy_assets.weather.open_meteo import BEST_MATCH, OpenMeteo, Place
from energy_assets.weather.sources import Weather, WeatherFiles, read_weather

_LOG = logging.getLogger(__name__)

STAGES: Mapping[str, Stage] = {"ashrae": ashrae.stage, "bdg2": bdg2.stage, "table": tabular.stage, "mqtt": mqtt.stage}


def land(lake: Lake, source: Source, *, window: Window | None, now: datetime, message: str = "") -> Counts:
    """Land a source's rows of `window` (None: all, and its meters too) and return the account.

    Raises:
        SourceError: the source cannot be read; nothing of it was stored.
    """
    with lake.session() as session:
        staged = STAGES[source.kind](session, source, window=window, now=now)
        changes = [
            Change(table=READINGS_RAW, rows=staged.raw, window=window, where={"source": source.name}),
            *_with_timeless(READINGS_QUARANTINE, staged.quarantine, source=source.name, window=window),
            *_with_timeless(READINGS_LANDINGS, staged.landings, source=source.name, window=window),
            *(_registered(staged.registry, source=source.name) if staged.registry else ()),
        ]
        lake.commit(changes, message=message or f"land {source.name}", session=session)
    return staged.counts


@dataclass(frozen=True, kw_only=True)
class Landed:
    """What landing all sources did: the account in all and by source, and why a source could not be read."""

    counts: Counts
    by_source: Mapping[str, Mapping[str, int]]
    failures: Mapping[str, str]
    snapshot_id: int


def land_all(lake: Lake, sources: Sequence[Source], *, window: Window | None, now: datetime, message: str) -> Landed:
    """Land every source; one that cannot be read is named and keeps what it had, and the others go on.

    Raises:
        SourceError: no source could be read at all.
    """
    accounts: dict[str, Counts] = {}
    failures: dict[str, str] = {}
    for source in sources:
        try:
            accounts[source.name] = land(lake, source, window=window, now=now, message=message)
        except SourceError as error:
            failures[source.name] = str(error)
            _LOG.warning("source %s was not landed: %s", source.name, error)
    if failures and not accounts:
        raise SourceError("No source could be read. " + " ".join(failures.values()))
    return Landed(
        counts=Counts(
            rows_in=sum(each.rows_in for each in accounts.values()),
            stored=sum(each.stored for each in accounts.values()),
            duplicate=sum(each.duplicate for each in accounts.values()),
            quarantined=sum(each.quarantined for each in accounts.values()),
        ),
        by_source={name: asdict(counts) for name, counts in accounts.items()},
        failures=failures,
        snapshot_id=lake.snapshot_id(),
    )


def register(lake: Lake, sources: Sequence[Source], *, now: datetime, message: str = "") -> Commit:
    """Replace the registry of sites, premises and meters by what the sources declare.

    Raises:
        SourceError: a source cannot be read; the registry stays as it was.
    """
    frames: list[Registry] = []
    for source in sources:
        with lake.session() as session:
            staged = STAGES[source.kind](session, source, window=None, now=now)
        if staged.registry is not None:
            frames.append(staged.registry)
    return lake.commit(
        [
            Change(table=SITES, rows=_stacked([SITES.conform(frame.sites) for frame in frames], SITES.empty())),
            Change(
                table=PREMISES, rows=_stacked([PREMISES.conform(frame.premises) for frame in frames], PREMISES.empty())
            ),
            Change(table=METERS, rows=_stacked([METERS.conform(frame.meters) for frame in frames], METERS.empty())),
        ],
        message=message or "register",
    )


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
    issues: Sequence[datetime] = (),
    service: WeatherService | None = None,
    message: str = "",
) -> Weather:
    """Land the weather that the sources bring and return it, with what was refused of it and who failed.

    Observations of the hours of `observed` and forecasts issued within `issued` are replaced; whose weather cannot be
    had now keeps what it had. `service` answers for the sources whose option `weather` says open-meteo, at `issues`.
    """
    sites = lake.read(SITES)
    fetched = []
    if service is not None:
        fetched = [
            fetch_weather(
                service.client,
                places,
                observed=observed,
                issues=issues,
                kept_folder=service.kept_folder / source.name,
                now=service.now,
                models=models_of(source),
            )
            for source, places in served_places(sources, sites)
        ]
    weather = read_weather(
        [weather_files(source, sites=sites) for source in sources], observed=observed, issued=issued, fetched=fetched
    )
    changes = []
    for table, rows, window in (
        (WEATHER_OBSERVED, weather.observed, observed),
        (WEATHER_FORECAST, weather.forecast, issued),
    ):
        had = lake.read(table, window).filter(_is_of(weather.failures)) if weather.failures else table.empty()
        both = pl.concat([table.conform(rows), had]).unique(table.key, keep="first", maintain_order=True)
        changes.append(Change(table=table, rows=both, window=window))
    lake.commit(changes, message=message or "land weather")
    return weather


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


def weather_files(source: Source, *, sites: pl.DataFrame) -> WeatherFiles:
    """Return where a source keeps its weather: beside ASHRAE's and BDG2's readings, and where its options say.

    The options `weather_observed` and `weather_forecast` name Parquet or CSV files, relative to the source's folder, in
    the columns of the contracts or in those that the file of the option `weather_mapping` declares.
    """
    folder = source.path if source.path.is_dir() else source.path.parent

    def named(option: str) -> Path | None:
        value = source.options.get(option)
        return None if value is None else folder / str(value)

    return WeatherFiles(
        source=source.name,
        gepiii_folder=source.path if source.kind == "ashrae" else None,
        bdg2_file=bdg2_weather_file(source.path) if source.kind == "bdg2" else None,
        zones=dict(sites.filter(pl.col("source") == source.name).select("site_id", "timezone").iter_rows()),
        observed=named("weather_observed"),
        forecast=named("weather_forecast"),
        mapping=named("weather_mapping"),
    )


def bdg2_weather_file(folder: Path) -> Path | None:
    """Return BDG2's weather.csv in the repository's folder or its data folder; None where there is none."""
    candidates = (folder / part / "weather.csv" for part in ("data/weather", "weather", "."))
    return next((path for path in candidates if path.is_file()), None)


def _with_timeless(table: Table, rows: Query, *, source: str, window: Window | None) -> list[Change]:
    """Return the changes of a table whose rows may lack a time; those belong to every window of their source."""
    if window is None:
        return [Change(table=table, rows=rows, where={"source": source})]
    timed, timeless = _where(rows, "starts_at_utc IS NOT NULL"), _where(rows, "starts_at_utc IS NULL")
    return [
        Change(table=table, rows=timed, window=window, where={"source": source}),
        Change(table=table, rows=timeless, where={"source": source, "starts_at_utc": None}),
    ]


def _where(query: Query, condition: str) -> Query:
    return Query(
        text=f"SELECT * FROM ({query.text.rstrip().rstrip(';')}) WHERE {condition}", parameters=query.parameters
    )


def _registered(registry: Registry, *, source: str) -> list[Change]:
    return [
        Change(table=SITES, rows=registry.sites, where={"source": source}),
        Change(table=PREMISES, rows=registry.premises, where={"source": source}),
        Change(table=METERS, rows=registry.meters, where={"source": source}),
    ]


def _stacked(frames: Sequence[pl.DataFrame], empty: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([empty, *frames])
