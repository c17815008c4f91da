"""Forecasts beyond the delivery date: the next ninety days every week, and the next three hours every hour.

Both are measured with the nightly skill. The models of the next hours are learned anew every week from what is newest,
and are files of the home; the first of them come with the first weekly training.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from energy_assets.contracts import (
    FORECASTS_AHEAD,
    FORECASTS_OUTLOOK,
    METERS,
    PREMISES,
    READINGS_INTERVAL,
    SITES,
    WEATHER_FORECAST,
    WEATHER_OBSERVED,
    Window,
)
from energy_assets.defs.automation import every_week
from energy_assets.defs.contract_checks import contract_check
from energy_assets.defs.models import checked_spec, first_reading
from energy_assets.defs.reporting import OWNERS, looks_of, report, run_message, table_of
from energy_assets.errors import ModelError
from energy_assets.features.matrix import reading_windows
from energy_assets.features.past_weather import OBSERVED_COLUMNS
from energy_assets.forecasts.ladder import Champion
from energy_assets.forecasts.other_horizons import REACH_BACK, ahead_rows, outlook_rows
from energy_assets.forecasts.outlook import day_sums, whole_days
from energy_assets.forecasts.short_term import KnownWeather, Places, forecast_short_term, learn_short_term
from energy_assets.lake import Lake
from energy_assets.models.archive import FULL, WITHOUT_WEATHER, read_archive, write_archive
from energy_assets.models.registry import LoadedModel, UnresolvedModelError
from energy_assets.readings.cleaning import interval_query
from energy_assets.readings.known_dirt import known_dirt_of
from energy_assets.readings.source import load_sources
from energy_assets.settings import Settings
from energy_assets.sql import Query

READ_COLUMNS = ["meter_id", "starts_at_utc", "interval_minutes", "energy_kwh", "available_at_utc"]
_DAYS_AT_ONCE = 31
_LEARNED_FROM = timedelta(days=180)
_WEATHER_BEFORE, _WEATHER_AFTER = timedelta(days=9), timedelta(hours=5)
_ALMOST_A_MINUTE = timedelta(seconds=59, microseconds=999_999)
_SEED = 0


class Moment(dg.Config):
    """When the next hours begin."""

    issued_at_utc: str = Field(default="", description="ISO time in UTC; the end of what has been read if empty.")


@dg.asset(**looks_of(FORECASTS_OUTLOOK), deps=[READINGS_INTERVAL.asset_key, METERS.asset_key])
def ninety_days(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[None]:
    """Energy of every meter over the next ninety local days, day by day and in all, each with its range."""
    newest = newest_interval(lake)
    if newest is None:
        return dg.MaterializeResult(metadata={"rows": "no reading has arrived yet"})
    issued = datetime.combine(newest.date() + timedelta(days=1), datetime.min.time(), tzinfo=UTC)
    meters, sites = lake.read(METERS), lake.read(SITES)
    span = Window(starts_at_utc=issued - REACH_BACK, ends_at_utc=issued)
    sums = [
        day_sums(lake.read(READINGS_INTERVAL, piece, columns=READ_COLUMNS), meters=meters, sites=sites)
        for piece in span.pieces(days=_DAYS_AT_ONCE)
    ]
    rows = outlook_rows(whole_days(sums), issued_at_utc=issued)
    window = Window(starts_at_utc=issued, ends_at_utc=issued + timedelta(days=1))
    commit = lake.replace(FORECASTS_OUTLOOK, rows, window=window, message=run_message(context))
    served = rows["meter_id"].n_unique()
    return report(commit, FORECASTS_OUTLOOK, meters=served, without_history=meters.height - served)


@dg.asset(
    key=["models", "ahead"],
    group_name="models",
    owners=OWNERS,
    kinds={"xgboost"},
    deps=[READINGS_INTERVAL.asset_key, WEATHER_OBSERVED.asset_key, METERS.asset_key],
)
def short_term_models(lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """Models of the next three hours per commodity and interval class, from issues at all hours of the last months."""
    newest, first = newest_interval(lake), first_reading(lake)
    if newest is None or first is None:
        return dg.MaterializeResult(metadata={"models": "nothing to learn from: no readings"})
    trained_at = (newest + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    past = Window(starts_at_utc=trained_at - _LEARNED_FROM, ends_at_utc=trained_at)
    learned = learn_short_term(
        _readings_of(lake, past),
        places=_places(lake, past),
        weather=_known_weather(lake, settings=settings),
        trained_at=trained_at,
        spec=checked_spec(settings, effort="quick"),
        seed=_SEED,
        threads=settings.threads,
    )
    rows: list[dict[str, str | None]] = []
    for name, champion in learned.items():
        if isinstance(champion, UnresolvedModelError):
            rows.append({"model": name, "why not": str(champion)})
            continue
        path = _model_path(settings, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        # Without any weather there is one variant only; an archive has a full one.
        write_archive({FULL: champion.variants[WITHOUT_WEATHER], **champion.variants}, partial)
        partial.replace(path)
        rows.append({"model": name, "why not": None})
    summary = pl.DataFrame(rows, schema={"model": pl.String, "why not": pl.String})
    return dg.MaterializeResult(metadata={"models": table_of(summary), "trained_at": trained_at.isoformat()})


@dg.asset(
    **looks_of(FORECASTS_AHEAD, kinds=("ducklake", "xgboost")),
    deps=[READINGS_INTERVAL.asset_key, ["readings", "raw"], WEATHER_FORECAST.asset_key, ["models", "ahead"]],
)
def next_hours(
    context: dg.AssetExecutionContext,
    config: Moment,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """The next intervals of every meter and their sum over three hours, from readings up to a moment ago."""
    issued = datetime.fromisoformat(config.issued_at_utc) if config.issued_at_utc else newest_reading(lake)
    if issued is None:
        return dg.MaterializeResult(metadata={"rows": "no reading has arrived yet"})
    issued = issued.astimezone(UTC).replace(second=0, microsecond=0)
    found = forecast_short_term(
        _readings_up_to(lake, issued, settings=settings),
        places=_places(lake, *reading_windows([issued])),
        weather=_known_weather(lake, settings=settings),
        champions=stored_models(settings),
        issued_at_utc=issued,
        seed=issued.toordinal(),
    )
    rows = ahead_rows(found)
    window = Window(starts_at_utc=issued, ends_at_utc=issued + timedelta(minutes=1))
    commit = lake.replace(FORECASTS_AHEAD, rows, window=window, message=run_message(context))
    methods = rows.group_by("method", "reason").len("rows").sort("rows", descending=True)
    return report(commit, FORECASTS_AHEAD, issued=issued.isoformat(), methods=methods)


def newest_interval(lake: Lake) -> datetime | None:
    """Return the start of the newest interval that is known; None where nothing was read."""
    last = lake.query(Query.from_file("energy_assets.defs", "reading_span"))["last_at_utc"].item()
    return None if last is None else last.astimezone(UTC)


def newest_reading(lake: Lake) -> datetime | None:
    """Return the whole minute up to which readings have arrived, cleaned or not; None where there is none."""
    last = lake.query(Query.from_file("energy_assets.defs", "known_until")).item()
    return None if last is None else (last.astimezone(UTC) + _ALMOST_A_MINUTE).replace(second=0, microsecond=0)


def stored_models(settings: Settings) -> dict[str, Champion]:
    """Return the models of the next hours by registered name, or why one cannot be used."""
    champions: dict[str, Champion] = {}
    for path in sorted(_model_folder(settings).glob("*.zip")):
        try:
            champions[path.stem] = LoadedModel(name=path.stem, version=1, variants=read_archive(path), tags={})
        except ModelError as error:
            champions[path.stem] = UnresolvedModelError(str(error), reason="model_broken")
    return champions


def _model_folder(settings: Settings) -> Path:
    return settings.home / "short_term"


def _model_path(settings: Settings, name: str) -> Path:
    return _model_folder(settings) / f"{name}.zip"


def _places(lake: Lake, *windows: Window) -> Places:
    """Return what is registered, and the weather that was observed in the windows."""
    return Places(
        meters=lake.read(METERS),
        sites=lake.read(SITES),
        premises=lake.read(PREMISES),
        observed=pl.concat([lake.read(WEATHER_OBSERVED, each, columns=OBSERVED_COLUMNS) for each in windows]),
    )


def _readings_of(lake: Lake, *windows: Window) -> pl.DataFrame:
    return pl.concat([lake.read(READINGS_INTERVAL, each, columns=READ_COLUMNS) for each in windows])


def _readings_up_to(lake: Lake, issued: datetime, *, settings: Settings) -> pl.DataFrame:
    """Return the intervals that an issue can use; those of the day itself are cleaned on the way, and not stored."""
    midnight = issued.replace(hour=0, minute=0)
    windows = [
        Window(starts_at_utc=each.starts_at_utc, ends_at_utc=min(each.ends_at_utc, midnight))
        for each in reading_windows([issued])
        if each.starts_at_utc < midnight
    ]
    stored = _readings_of(lake, *windows)
    if issued == midnight:
        return stored
    dirt = known_dirt_of(load_sources(settings.sources_folder))
    today = interval_query(Window(starts_at_utc=midnight, ends_at_utc=issued), known_dirt=dirt, known_by=issued)
    return pl.concat([stored, lake.query(today).select(READ_COLUMNS).cast(stored.schema)])


def _known_weather(lake: Lake, *, settings: Settings) -> KnownWeather | None:
    """Return what gives the weather as known at issues; None where none is kept at all."""
    from energy_assets.weather.as_known import as_known

    if not lake.count(WEATHER_OBSERVED) and not lake.count(WEATHER_FORECAST):
        return None

    def known(issues: Sequence[datetime]) -> pl.DataFrame:
        span = Window(starts_at_utc=min(issues) - _WEATHER_BEFORE, ends_at_utc=max(issues) + _WEATHER_AFTER)
        return as_known(
            lake.read(WEATHER_OBSERVED, span),
            lake.read(WEATHER_FORECAST, span),
            issues=list(issues),
            horizon=_WEATHER_AFTER,
            is_actual_allowed=settings.actual_weather_as_forecast,
        )

    return known


OUTLOOK_JOB = dg.define_asset_job(
    "outlook", dg.AssetSelection.assets("forecasts/outlook"), description="The next ninety days of every meter."
)
AHEAD_TRAINING_JOB = dg.define_asset_job(
    "ahead_training", dg.AssetSelection.assets("models/ahead"), description="Models of the next three hours."
)
AHEAD_JOB = dg.define_asset_job(
    "ahead", dg.AssetSelection.assets("forecasts/ahead"), description="The next three hours of every meter."
)


@dg.schedule(
    job=AHEAD_JOB,
    cron_schedule="3 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="The next three hours, every hour in which readings have arrived.",
    required_resource_keys={"lake", "settings"},
)
def hourly_ahead(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Ask for the next hours once there are models of them, and readings that the last issue did not know."""
    lake: Lake = context.resources.lake
    settings: Settings = context.resources.settings
    if not any(_model_folder(settings).glob("*.zip")):
        return dg.SkipReason("no models of the next hours yet: the job ahead_training makes them every week")
    known = newest_reading(lake)
    last = lake.read(FORECASTS_AHEAD, columns=["issued_at_utc"])["issued_at_utc"].max()
    if known is None or (isinstance(last, datetime) and known <= last):
        return dg.SkipReason(f"no reading has arrived since {last!s}")
    return dg.RunRequest(run_key=f"ahead {known.isoformat()}")


weekly_outlook = every_week(
    "weekly_outlook", job=OUTLOOK_JOB, minutes=45, description="Looks ninety days ahead, from all readings."
)
weekly_ahead_training = every_week(
    "weekly_ahead_training",
    job=AHEAD_TRAINING_JOB,
    minutes=75,
    description="Learns the next three hours from the newest months.",
)
JOBS = [OUTLOOK_JOB, AHEAD_TRAINING_JOB, AHEAD_JOB]
SCHEDULES = [weekly_outlook, weekly_ahead_training, hourly_ahead]

checks = [contract_check(FORECASTS_OUTLOOK), contract_check(FORECASTS_AHEAD)]
