"""Open-Meteo: past weather, the forecast of now, and forecasts as they were issued, for coordinates.

Answers are kept on disk, refused by name where they make no sense, and asked for again with patience where the service
is slow, busy or down. Weather data by Open-Meteo.com, CC BY 4.0.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from energy_assets.contracts import UTC_TIME, Window
from energy_assets.errors import SourceError

ATTRIBUTION = "Weather data by Open-Meteo.com (https://open-meteo.com/), CC BY 4.0"
BEST_MATCH = "best_match"
FIRST_KEPT_ISSUE = date(2024, 1, 3)
"""Since then Open-Meteo keeps what most models said one to seven days ahead."""

_HOSTS = {"forecast": "api", "archive": "archive-api", "previous": "previous-runs-api"}
_PATHS = {"forecast": "/v1/forecast", "archive": "/v1/archive", "previous": "/v1/forecast"}
_ARCHIVE_DELAY = timedelta(days=6)  # ERA5 comes with five days of delay; until then the models' analyses stand in
_FINAL_AFTER = timedelta(days=10)
_FRESH_FOR = timedelta(hours=1)
_DAYS_A_REQUEST = 92
_LEADS = (1, 2, 3)
_TIMEOUT_S = (5.0, 20.0)
_BUSY = (429, 500, 502, 503, 504)
_LONGEST_WAIT_S = 60
_STALE_AFTER = timedelta(days=1)


class ServiceDownError(SourceError):
    """The service did not answer, or said that it cannot now: other places need not be asked at once."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One quantity as Open-Meteo names it: our column, the unit we ask for, and what turns it into ours."""

    name: str
    column: str
    unit: str
    factor: float = 1.0
    is_of_hour_before: bool = False
    """A sum or mean over the hour that ends at its stamp, where all others are values at the stamp."""


VARIABLES = (
    Variable(name="temperature_2m", column="temperature_c", unit="°C"),
    Variable(name="dew_point_2m", column="dew_point_c", unit="°C"),
    Variable(name="relative_humidity_2m", column="relative_humidity_fraction", unit="%", factor=0.01),
    Variable(name="wind_speed_10m", column="wind_speed_ms", unit="m/s"),
    Variable(name="wind_direction_10m", column="wind_direction_deg", unit="°"),
    Variable(name="cloud_cover", column="cloud_cover_fraction", unit="%", factor=0.01),
    Variable(name="precipitation", column="precipitation_mm", unit="mm", is_of_hour_before=True),
    Variable(name="pressure_msl", column="sea_level_pressure_hpa", unit="hPa"),
    Variable(
        name="shortwave_radiation", column="global_horizontal_irradiance_w_m2", unit="W/m²", is_of_hour_before=True
    ),
    Variable(
        name="direct_normal_irradiance", column="direct_normal_irradiance_w_m2", unit="W/m²", is_of_hour_before=True
    ),
    Variable(
        name="diffuse_radiation", column="diffuse_horizontal_irradiance_w_m2", unit="W/m²", is_of_hour_before=True
    ),
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where weather is wanted: a site with its coordinates in degrees."""

    site_id: str
    latitude: float
    longitude: float


@dataclass(frozen=True, kw_only=True)
class OpenMeteo:
    """A client with a cache; every method raises SourceError with place and remedy when no usable answer came."""

    cache_folder: Path
    url: str | None = None
    """Of an instance of one's own, which answers on all paths; None: the public service."""
    api_key: str | None = None
    tries: int = 4
    pause_s: float = 1.0
    _session: requests.Session = field(default_factory=requests.Session, compare=False, repr=False)

    def __post_init__(self) -> None:
        retry = Retry(
            total=self.tries - 1,
            backoff_factor=self.pause_s,
            backoff_jitter=self.pause_s,
            backoff_max=_LONGEST_WAIT_S,
            retry_after_max=_LONGEST_WAIT_S,
            status_forcelist=_BUSY,
            allowed_methods=["GET"],
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def observed(self, place: Place, window: Window, *, now: datetime) -> pl.DataFrame:
        """Return site_id, starts_at_utc, quantities and source of the hours of a window that lies in the past."""
        border = now - _ARCHIVE_DELAY
        frames = []
        for piece in window.pieces(days=_DAYS_A_REQUEST):
            kind = "archive" if piece.ends_at_utc <= border else "forecast"
            # The day after too: its first stamp holds the rain and the sun of the last hour.
            last = min((piece.ends_at_utc + timedelta(hours=1)).date(), now.date())
            days = {"start_date": piece.starts_at_utc.date().isoformat(), "end_date": last.isoformat()}
            frames.append(self._ask(kind, place, days, now=now))
        rows = pl.concat(frames).unique(["site_id", "starts_at_utc"], keep="first", maintain_order=True)
        inside = pl.col("starts_at_utc").is_between(window.starts_at_utc, window.ends_at_utc, closed="left")
        return rows.filter(inside).with_columns(source=pl.lit("open-meteo"))

    def forecast(self, place: Place, *, now: datetime, model: str = BEST_MATCH, days: int = 5) -> pl.DataFrame:
        """Return what is forecast now: the columns of `observed`, and `issued_at_utc`, which is `now`."""
        wanted = {"forecast_days": str(days), "models": model}
        rows = self._ask("forecast", place, wanted, now=now)
        return (
            rows.filter(pl.col("starts_at_utc") >= now - timedelta(hours=1))
            .with_columns(source=pl.lit(f"open-meteo:{model}"), issued_at_utc=pl.lit(now, UTC_TIME))
        )  # fmt: skip

    def as_issued(
        self, place: Place, issues: Sequence[datetime], *, now: datetime, model: str = BEST_MATCH
    ) -> pl.DataFrame:
        """Return what was forecast at past issues for the 72 hours after each, in the columns of `forecast`.

        Open-Meteo keeps what was said a whole number of days ahead. Hour 24 n .. 24 n + 23 after an issue is taken from
        what was said n + 1 days ahead: older than need be, and never younger than the issue.
        """
        rows = []
        for group in _near(sorted(issues)):
            days = {
                "start_date": group[0].date().isoformat(),
                "end_date": (group[-1] + timedelta(days=len(_LEADS) + 1)).date().isoformat(),
                "models": model,
            }
            for lead in _LEADS:
                said = self._ask("previous", place, days, now=now, suffix=f"_previous_day{lead}")
                issued = pl.DataFrame({"issued_at_utc": list(group)}, schema={"issued_at_utc": UTC_TIME})
                hours = pl.datetime_ranges(
                    pl.col("issued_at_utc") + timedelta(days=lead - 1),
                    pl.col("issued_at_utc") + timedelta(days=lead),
                    "1h",
                    closed="left",
                )
                wanted = issued.with_columns(starts_at_utc=hours).explode("starts_at_utc")
                rows.append(wanted.join(said, on="starts_at_utc"))
        return pl.concat(rows).with_columns(source=pl.lit(f"open-meteo:{model}"))

    def _ask(
        self, kind: str, place: Place, parameters: Mapping[str, str], *, now: datetime, suffix: str = ""
    ) -> pl.DataFrame:
        """Return the hours of an answer, kept or fetched; only answers that make sense are kept."""
        query = {
            "latitude": f"{place.latitude:.4f}",
            "longitude": f"{place.longitude:.4f}",
            "hourly": ",".join(variable.name + suffix for variable in VARIABLES),
            "timezone": "GMT",
            "timeformat": "unixtime",
            "wind_speed_unit": "ms",
            **parameters,
        }
        name = f"{hashlib.sha256(json.dumps([kind, query]).encode()).hexdigest()[:32]}.json"
        final, fresh = self.cache_folder / "final" / name, self.cache_folder / "fresh" / name
        answer = _kept(final) or _kept(fresh, not_before=now - _FRESH_FOR, not_after=now)
        if answer is not None:
            return _rows(answer, place, kind=kind, suffix=suffix)
        answer = self._fetch(kind, query, place)
        rows = _rows(answer, place, kind=kind, suffix=suffix)
        ends = parameters.get("end_date")
        is_final = ends is not None and date.fromisoformat(ends) < (now - _FINAL_AFTER).date()
        _keep(final if is_final else fresh, answer, now=now)
        return rows

    def forget_stale(self, *, now: datetime) -> int:
        """Delete kept answers that were no final ones and are older than a day; return how many."""
        stale = [
            path
            for path in (self.cache_folder / "fresh").glob("*.json")
            if now.timestamp() - path.stat().st_mtime > _STALE_AFTER.total_seconds()
        ]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def _fetch(self, kind: str, query: Mapping[str, str], place: Place) -> dict[str, Any]:
        key = {"apikey": self.api_key} if self.api_key else {}
        host = f"https://{'customer-' if self.api_key else ''}{_HOSTS[kind]}.open-meteo.com"
        where = f"Open-Meteo's {kind} for {place.site_id} ({place.latitude:.2f}, {place.longitude:.2f})"
        try:
            reply = self._session.get(
                (self.url or host).rstrip("/") + _PATHS[kind], params={**query, **key}, timeout=_TIMEOUT_S
            )
        except requests.RequestException as error:
            raise ServiceDownError(f"{where} did not answer: {_short(error)}. Later runs ask again.") from error
        try:
            answer = reply.json()
        except requests.JSONDecodeError as error:
            raise SourceError(
                f"{where} answered {reply.status_code} without whole JSON. Later runs ask again."
            ) from error
        if not isinstance(answer, dict) or answer.get("error") or not reply.ok:
            reason = answer.get("reason") if isinstance(answer, dict) else None
            kind_of_error = ServiceDownError if reply.status_code in _BUSY else SourceError
            raise kind_of_error(f"{where} refused, {reply.status_code}: {reason or 'no reason given'}.")
        return answer


def _rows(answer: Mapping[str, Any], place: Place, *, kind: str, suffix: str) -> pl.DataFrame:
    """Return site_id, starts_at_utc and quantities of an answer, each at the start of the hour that it is of."""
    where = f"Open-Meteo's {kind} for {place.site_id}"
    hourly, units = answer.get("hourly"), answer.get("hourly_units")
    if not isinstance(hourly, dict) or not isinstance(units, dict) or not isinstance(hourly.get("time"), list):
        raise SourceError(f"{where} has no hourly values. Later runs ask again.")
    stamps = hourly["time"]
    columns: dict[str, pl.Series] = {}
    for variable in VARIABLES:
        name = variable.name + suffix
        values = hourly.get(name, [None] * len(stamps))
        if not isinstance(values, list) or len(values) != len(stamps):
            raise SourceError(f"{where} has {name} for other hours than it names. Later runs ask again.")
        if any(not isinstance(value, int | float | None) or isinstance(value, bool) for value in values):
            raise SourceError(f"{where} gives {name} as something else than numbers; nothing was stored.")
        numbers = pl.Series(variable.column, values, dtype=pl.Float64, strict=False) * variable.factor
        if units.get(name) != variable.unit and numbers.count():
            raise SourceError(f"{where} gives {name} in {units.get(name)}, not in {variable.unit}; nothing was stored.")
        columns[variable.column] = numbers.shift(-1) if variable.is_of_hour_before else numbers
    time = pl.Series("starts_at_utc", stamps, dtype=pl.Int64, strict=False)
    if time.null_count() or (time.diff().drop_nulls() != 3600).any():
        raise SourceError(f"{where} does not go hour by hour. Later runs ask again.")
    frame = pl.DataFrame(columns).with_columns(
        site_id=pl.lit(place.site_id), starts_at_utc=pl.from_epoch(time, time_unit="s").cast(UTC_TIME)
    )
    quantities = [variable.column for variable in VARIABLES]
    said = frame.filter(pl.any_horizontal(pl.col(quantities).is_not_null()))
    if said.is_empty():
        raise SourceError(f"{where} has no value for any hour. Later runs ask again.")
    return said.select("site_id", "starts_at_utc", *quantities)


def _near(issues: Sequence[datetime]) -> Iterator[list[datetime]]:
    """Yield the issues in groups that one request serves."""
    group: list[datetime] = []
    for issue in issues:
        if group and issue - group[0] > timedelta(days=_DAYS_A_REQUEST):
            yield group
            group = []
        group.append(issue)
    if group:
        yield group


# Kept answers


def _kept(
    path: Path, *, not_before: datetime | None = None, not_after: datetime | None = None
) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        fetched_at = datetime.fromisoformat(content["fetched_at_utc"])
        answer: dict[str, Any] = content["answer"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or torn: ask again
    if (not_before and fetched_at <= not_before) or (not_after and fetched_at > not_after):
        return None
    return answer


def _keep(path: Path, answer: Mapping[str, Any], *, now: datetime) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"fetched_at_utc": now.astimezone(UTC).isoformat(), "attribution": ATTRIBUTION, "answer": answer}
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(path)


def _short(error: Exception) -> str:
    """Return the kind of a failure without the address, which may hold the key."""
    return type(getattr(error, "reason", None) or (error.args[0] if error.args else error)).__name__
