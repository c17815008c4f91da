"""Weather of sites from Open-Meteo: what was observed, and what was forecast at each issue.

The forecast of tonight is fetched before its issue and kept (`keep_forecast`), because what comes later was not known
then; for issues that nobody kept, the service is asked what it said at the time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from energy_assets.contracts import WEATHER_FORECAST, WEATHER_OBSERVED, Table, Window
from energy_assets.errors import SourceError
from energy_assets.weather.judging import Judged
from energy_assets.weather.lines import lines_of
from energy_assets.weather.open_meteo import BEST_MATCH, FIRST_KEPT_ISSUE, OpenMeteo, Place, ServiceDownError
from energy_assets.weather.sources import judge_in_layout

_LOG = logging.getLogger(__name__)
_KEPT_FOR = timedelta(hours=12)
"""A forecast that was kept this long before an issue serves it; an older one is asked for anew."""
_ENOUGH_SILENCE = 2
"""After so many requests in a row that nobody answered, the rest of the places is not asked for."""


@dataclass(kw_only=True)
class Patience:
    """How long a service has been silent, over the places of one run."""

    silent: int = 0

    def ask(self, place: Place, request: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """Return what a request gives; raise SourceError at once where the service was silent for too long."""
        if self.silent >= _ENOUGH_SILENCE:
            raise SourceError(f"Open-Meteo was not asked for {place.site_id}: it did not answer for the places before.")
        try:
            answer = request()
        except ServiceDownError:
            self.silent += 1
            raise
        self.silent = 0
        return answer


def fetch_weather(
    client: OpenMeteo,
    places: Sequence[Place],
    *,
    source: str,
    observed: Window,
    issued: Window,
    issues: Sequence[datetime],
    kept_folder: Path,
    now: datetime,
    models: Sequence[str] = (BEST_MATCH,),
) -> tuple[list[Judged], dict[str, str]]:
    """Return the weather of places, and why that of others is missing, by site id.

    Observations are of the hours of `observed`; forecasts, issued within `issued`, are for each of `issues` what was
    known then. One may be had where the other is not; a service that stays silent is not asked for every place.
    """
    judged: list[Judged] = []
    failures: dict[str, str] = {}
    kept = kept_forecasts(kept_folder, issues=issues)
    patience = Patience()
    for place in places:
        mine = kept.filter(pl.col("site_id") == place.site_id)
        if mine.height:
            answer = lines_of(f"open-meteo kept {place.site_id}", mine)
            judged.append(judge_in_layout(answer, WEATHER_FORECAST, source=source, window=issued))
        wanted: list[tuple[Table, Window, Callable[[], pl.DataFrame]]] = [
            (WEATHER_OBSERVED, observed, partial(client.observed, place, observed, now=now))
        ]
        missing = _not_kept(issues, mine)
        if missing:
            said = partial(_said, client, place, missing, models=models, now=now)
            wanted.append((WEATHER_FORECAST, issued, said))
        for table, window, request in wanted:
            try:
                rows = patience.ask(place, request)
            except SourceError as error:
                failures[place.site_id] = " ".join(filter(None, (failures.get(place.site_id), str(error))))
                _LOG.warning("weather of %s is missing: %s", place.site_id, error)
                continue
            answer = lines_of(f"open-meteo {place.site_id}", rows)
            judged.append(judge_in_layout(answer, table, source=source, window=window))
    return judged, failures


def keep_forecast(
    client: OpenMeteo, places: Sequence[Place], *, folder: Path, now: datetime, models: Sequence[str] = (BEST_MATCH,)
) -> tuple[int, dict[str, str]]:
    """Fetch the forecast of now and keep it; return the rows kept and the failures by site id."""
    frames: list[pl.DataFrame] = []
    failures: dict[str, str] = {}
    patience = Patience()
    client.forget_stale(now=now)
    for place in places:
        for model in models:
            try:
                frames.append(patience.ask(place, partial(client.forecast, place, now=now, model=model)))
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


def _not_kept(issues: Sequence[datetime], kept: pl.DataFrame) -> list[datetime]:
    """Return the issues that no kept forecast serves, of those that the service knows."""
    kept_at = kept["issued_at_utc"].unique().to_list()
    return [
        issue
        for issue in issues
        if issue.date() >= FIRST_KEPT_ISSUE and not any(timedelta(0) <= issue - at <= _KEPT_FOR for at in kept_at)
    ]


def _said(
    client: OpenMeteo, place: Place, issues: Sequence[datetime], *, models: Sequence[str], now: datetime
) -> pl.DataFrame:
    columns = [name for name in WEATHER_FORECAST.column_names if name != "available_at_utc"]
    said = [client.as_issued(place, issues, now=now, model=model) for model in models]
    return pl.concat([WEATHER_FORECAST.empty(), *said], how="diagonal_relaxed").select(columns)
