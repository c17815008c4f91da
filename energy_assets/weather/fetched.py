"""Weather of sites from Open-Meteo: what was observed, and what was forecast at each issue.

The forecast of tonight is fetched before its issue and kept (`keep_forecast`), because what comes later was not known
then; for issues that nobody kept, the service is asked what it said at the time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from energy_assets.contracts import WEATHER_FORECAST, WEATHER_OBSERVED, Window
from energy_assets.errors import SourceError
from energy_assets.weather.derived import with_humidity
from energy_assets.weather.open_meteo import BEST_MATCH, FIRST_KEPT_ISSUE, OpenMeteo, Place
from energy_assets.weather.sources import Weather, refuse_implausible

_LOG = logging.getLogger(__name__)
_KEPT_FOR = timedelta(hours=12)
"""A forecast that was kept this long before an issue serves it; an older one is asked for anew."""


def fetch_weather(
    client: OpenMeteo,
    places: Sequence[Place],
    *,
    observed: Window,
    issues: Sequence[datetime],
    kept_folder: Path,
    now: datetime,
    models: Sequence[str] = (BEST_MATCH,),
) -> Weather:
    """Return the weather of places: hours of `observed`, and for each issue the forecast that was known then.

    A place that the service does not answer for is named among the failures, and the others go on.
    """
    seen, foreseen = [WEATHER_OBSERVED.empty()], [WEATHER_FORECAST.empty()]
    refused: dict[str, int] = {}
    failures: dict[str, str] = {}
    kept = kept_forecasts(kept_folder, issues=issues)
    for place in places:
        try:
            rows = client.observed(place, observed, now=now)
            said = _forecasts(client, place, issues, kept=kept, models=models, now=now)
        except SourceError as error:
            failures[place.site_id] = str(error)
            _LOG.warning("weather of %s is missing: %s", place.site_id, error)
            continue
        available = (pl.col("starts_at_utc") + timedelta(hours=1)).alias("available_at_utc")
        for frame, frames, table in (
            (rows.with_columns(available), seen, WEATHER_OBSERVED),
            (said.with_columns(available_at_utc="issued_at_utc"), foreseen, WEATHER_FORECAST),
        ):
            plausible, counts = refuse_implausible(frame)
            frames.append(table.conform(with_humidity(plausible)))
            for reason, count in counts.items():
                refused[reason] = refused.get(reason, 0) + count
    return Weather(observed=pl.concat(seen), forecast=pl.concat(foreseen), refused=refused, failures=failures)


def keep_forecast(
    client: OpenMeteo, places: Sequence[Place], *, folder: Path, now: datetime, models: Sequence[str] = (BEST_MATCH,)
) -> tuple[int, dict[str, str]]:
    """Fetch the forecast of now and keep it; return the rows kept and the failures by site id."""
    frames: list[pl.DataFrame] = []
    failures: dict[str, str] = {}
    for place in places:
        try:
            frames.extend(client.forecast(place, now=now, model=model) for model in models)
        except SourceError as error:
            failures[place.site_id] = str(error)
    if not frames:
        return 0, failures
    rows = pl.concat(frames)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now.astimezone(UTC):%Y%m%dT%H%M%S}.parquet"
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    rows.write_parquet(draft)
    draft.replace(path)
    return rows.height, failures


def kept_forecasts(folder: Path, *, issues: Sequence[datetime]) -> pl.DataFrame:
    """Return the kept forecasts that can serve one of the issues."""
    frames = []
    for path in sorted(folder.glob("*.parquet")) if folder.is_dir() else []:
        try:
            issued_at = datetime.strptime(path.stem, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            continue
        if any(timedelta(0) <= issue - issued_at <= _KEPT_FOR for issue in issues):
            frames.append(pl.read_parquet(path))
    return pl.concat(frames) if frames else WEATHER_FORECAST.empty()


def _forecasts(
    client: OpenMeteo,
    place: Place,
    issues: Sequence[datetime],
    *,
    kept: pl.DataFrame,
    models: Sequence[str],
    now: datetime,
) -> pl.DataFrame:
    mine = kept.filter(pl.col("site_id") == place.site_id)
    issued = mine["issued_at_utc"].unique().to_list()
    missing = [
        issue
        for issue in issues
        if issue.date() >= FIRST_KEPT_ISSUE and not any(timedelta(0) <= issue - at <= _KEPT_FOR for at in issued)
    ]
    columns = [name for name in WEATHER_FORECAST.column_names if name != "available_at_utc"]
    frames = [WEATHER_FORECAST.empty().select(columns)]
    if mine.height:
        frames.append(mine)
    if missing:
        frames.extend(client.as_issued(place, missing, now=now, model=model) for model in models)
    return pl.concat(frames, how="diagonal_relaxed").select(columns)
