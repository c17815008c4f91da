"""A whole community written to a folder, month by month: buildings, homes, weather, its forecasts, and fault labels.

The same seed and arguments give the same content; a later `last_day` or more buildings leave what was there unchanged.
Registers count from the first month that is generated.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from energy_assets.community import layout
from energy_assets.community.building_files import write_buildings
from energy_assets.community.dwellings import HOUSEHOLDS_PER_TOWN, site_id_of, town_of
from energy_assets.community.faults import Fault
from energy_assets.community.home_files import write_homes
from energy_assets.community.places import CAMPUSES
from energy_assets.community.span import Span, Truth
from energy_assets.community.streams import hour_of

_FAULTS_PER_YEAR = 1.2
_LABELS = {
    "meter_id": pl.String(),
    "starts_at_utc": pl.Datetime("us", "UTC"),
    "ends_at_utc": pl.Datetime("us", "UTC"),
    "fault": pl.String(),
    "magnitude": pl.Float64(),
}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a community holds."""

    seed: int
    buildings: int
    households: int
    first_day: str
    last_day: str
    building_rows: int
    household_rows: int
    faults: int


def generate(
    folder: Path,
    *,
    first_day: date,
    last_day: date,
    buildings: int = 200,
    households: int = 100,
    seed: int = 0,
    household_interval_minutes: int = 60,
    faults_per_year: float = _FAULTS_PER_YEAR,
    is_on_local_days: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Manifest:
    """Write a community of `first_day` to `last_day` into `folder` and return what it holds.

    `<folder>/ashrae` has Kaggle's files (site 0 electricity in kBTU, weather on the UTC clock and with missing hours)
    and the sites' clocks and coordinates,
    `<folder>/households` a table with its mapping, `<folder>/weather` observations and forecasts, one issued every
    midnight to the one after `last_day`, and `labels.parquet` every fault. With `is_on_local_days` the span is of each
    site's own days, as in Kaggle's files; else it is of UTC days, so that nothing lies in the future.
    """
    tell = progress or (lambda _what, _share: None)
    span = Span(first=first_day, last=last_day, is_local=is_on_local_days)
    truth = Truth(seed=seed, span=span)
    labels: list[Fault] = []
    offsets: dict[str, int] = {}
    building_rows = 0
    if buildings:
        building_rows = write_buildings(
            folder / "ashrae",
            count=buildings,
            truth=truth,
            per_year=faults_per_year,
            labels=labels,
            offsets=offsets,
            tell=tell,
        )
    household_rows = 0
    if households:
        household_rows = write_homes(
            folder / "households",
            count=households,
            minutes=household_interval_minutes,
            truth=truth,
            per_year=faults_per_year,
            labels=labels,
            tell=tell,
        )
    tell("weather", 0.0)
    _write_weather(folder, count=buildings, households=households, truth=truth)
    layout.replace_file(_label_rows(labels, offsets=offsets), folder / "labels.parquet")
    manifest = Manifest(
        seed=seed,
        buildings=buildings,
        households=households,
        first_day=first_day.isoformat(),
        last_day=last_day.isoformat(),
        building_rows=building_rows,
        household_rows=household_rows,
        faults=len(labels),
    )
    (folder / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    return manifest


def _write_weather(folder: Path, *, count: int, households: int, truth: Truth) -> None:
    """Write observations up to the last day and the forecasts of every midnight up to the one after it."""
    span = truth.span
    places = {f"ashrae.{site}": place for site, place in enumerate(CAMPUSES)} if count else {}
    places |= {site_id_of(number): town_of(number) for number in range(0, households, HOUSEHOLDS_PER_TOWN)}
    # Features look back a week and more: the weather begins before the readings.
    first, last = hour_of(span.first - timedelta(days=10)), hour_of(span.last + timedelta(days=1))
    observed, forecast, kaggle = [], [], []
    for site_id, place in places.items():
        weather = truth.of(place)
        observed.append(layout.observed_rows(site_id, weather.between(first, last)))
        forecast.append(
            layout.forecast_rows(
                site_id, weather, first=span.first, last=span.last + timedelta(days=1), seed=truth.seed
            )
        )
        if site_id.startswith("ashrae."):
            kaggle.append(
                layout.kaggle_weather(
                    int(site_id.split(".")[1]), weather.between(hour_of(span.first), last), seed=truth.seed
                )
            )
    layout.replace_file(pl.concat(observed), folder / "weather" / "observed.parquet")
    layout.replace_file(pl.concat(forecast), folder / "weather" / "forecast.parquet")
    if kaggle:
        layout.replace_file(pl.concat(kaggle), folder / "ashrae" / "weather_train.csv")


def _label_rows(labels: list[Fault], *, offsets: dict[str, int]) -> pl.DataFrame:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    rows = [
        (
            fault.meter_id,
            epoch + timedelta(hours=fault.first_hour - offsets.get(fault.meter_id, 0)),
            epoch + timedelta(hours=fault.end_hour - offsets.get(fault.meter_id, 0)),
            fault.fault,
            fault.magnitude,
        )
        for fault in labels
    ]
    return pl.DataFrame(rows, schema=_LABELS, orient="row").sort("meter_id", "starts_at_utc")
