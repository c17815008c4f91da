"""The weather that declared sources bring: the files of ASHRAE and BDG2, and files in the layout of the contracts.

Every reader returns rows of the contracts and names what it refused. Where two sources describe one site and hour, the
one with more quantities wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from energy_assets.contracts import UTC_TIME, WEATHER_FORECAST, WEATHER_OBSERVED, WEATHER_QUANTITIES, Table, Window
from energy_assets.errors import SourceError

_GEPIII_FILES = ("weather_train.csv", "weather_test.csv")
_GEPIII_SCHEMA = {
    "site_id": pl.String,
    "timestamp": pl.String,
    "air_temperature": pl.String,
    "cloud_coverage": pl.String,
    "dew_temperature": pl.String,
    "precip_depth_1_hr": pl.String,
    "sea_level_pressure": pl.String,
    "wind_direction": pl.String,
    "wind_speed": pl.String,
}
_OKTAS = 8.0


@dataclass(frozen=True, kw_only=True)
class WeatherFiles:
    """Where a source keeps its weather: a folder in Kaggle's layout, and files in the layout of the contracts."""

    source: str
    gepiii_folder: Path | None = None
    observed: Path | None = None
    forecast: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Rows of `weather.observed` and `weather.forecast`, and how many values or rows were refused, by reason."""

    observed: pl.DataFrame
    forecast: pl.DataFrame
    refused: Mapping[str, int]


def read_weather(sources: Sequence[WeatherFiles], *, observed: Window, issued: Window) -> Weather:
    """Return the weather of all sources: observations of the hours of `observed`, forecasts issued within `issued`.

    Kaggle's weather is on the UTC clock, unlike its readings.

    Raises:
        SourceError: a named file is missing or lacks columns.
    """
    seen: list[pl.DataFrame] = []
    foreseen: list[pl.DataFrame] = []
    refused: dict[str, int] = {}
    for source in sources:
        kaggle = source.gepiii_folder and read_gepiii_weather(source.gepiii_folder, source=source.source)
        frames = [
            (kaggle if isinstance(kaggle, pl.DataFrame) else None, seen),
            (_in_layout(source.observed, WEATHER_OBSERVED, source=source.source), seen),
            (_in_layout(source.forecast, WEATHER_FORECAST, source=source.source), foreseen),
        ]
        for frame, rows in frames:
            if frame is None:
                continue
            plausible, counts = refuse_implausible(frame)
            rows.append(plausible)
            for reason, count in counts.items():
                refused[reason] = refused.get(reason, 0) + count
    return Weather(
        observed=_richest(seen, window=observed, table=WEATHER_OBSERVED),
        forecast=_richest(foreseen, window=issued, table=WEATHER_FORECAST),
        refused=refused,
    )


def read_gepiii_weather(folder: Path, *, source: str) -> pl.DataFrame | None:
    """Return the rows of weather_train.csv and weather_test.csv, or None where there are neither.

    Their clock is UTC. Clouds come in oktas (9 means the sky was hidden: null); a precipitation of -1 is a trace, less
    than could be measured, and counts as 0. An hour that is missing stays missing. Unreadable numbers become null.

    Raises:
        SourceError: a file lacks a column.
    """
    paths = [folder / name for name in _GEPIII_FILES if (folder / name).is_file()]
    if not paths:
        return None
    frames = []
    for path in paths:
        frame = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=True)
        missing = sorted(set(_GEPIII_SCHEMA) - set(frame.columns))
        if missing:
            raise SourceError(f"{path} lacks the columns {', '.join(missing)}; download it again.")
        frames.append(frame.select(*_GEPIII_SCHEMA))

    def number(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.Float64, strict=False)

    clouds = number("cloud_coverage")
    return (
        pl.concat(frames)
        .with_columns(
            starts_at_utc=pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).cast(UTC_TIME)
        )
        .drop_nulls("starts_at_utc")
        .select(
            site_id=pl.lit(f"{source}.") + pl.col("site_id"),
            starts_at_utc="starts_at_utc",
            temperature_c=number("air_temperature"),
            dew_point_c=number("dew_temperature"),
            wind_speed_ms=number("wind_speed"),
            wind_direction_deg=number("wind_direction"),
            cloud_cover_fraction=pl.when(clouds <= _OKTAS).then(clouds / _OKTAS),
            precipitation_mm=pl.when(number("precip_depth_1_hr") == -1)
            .then(0.0)
            .otherwise(number("precip_depth_1_hr")),
            sea_level_pressure_hpa=number("sea_level_pressure"),
            source=pl.lit(source),
            available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1),
        )
    )


def refuse_implausible(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the frame with quantities outside their contract's bounds made null, and their number by reason."""
    exact, counts = {}, {}
    for name in WEATHER_QUANTITIES:
        if name not in frame.columns:
            continue
        bounds = WEATHER_OBSERVED.column(name)
        value = pl.col(name)
        fine = value.is_finite() & value.is_between(bounds.minimum, bounds.maximum)
        exact[name] = pl.when(fine).then(value)
        count = int(frame.select((value.is_not_null() & ~fine.fill_null(value=True)).sum()).item())
        if count:
            counts[f"implausible_{name}"] = count
    return frame.with_columns(**exact), counts


def _in_layout(path: Path | None, table: Table, *, source: str) -> pl.DataFrame | None:
    if path is None:
        return None
    if not path.exists():
        raise SourceError(f"{path}, the file of {table.qualified_name} of source {source}, does not exist; mend it.")
    frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, try_parse_dates=True)
    needed = {"site_id", "starts_at_utc"} | ({"issued_at_utc"} if table is WEATHER_FORECAST else set())
    missing = sorted(needed - set(frame.columns))
    if missing:
        raise SourceError(f"{path} lacks the columns {', '.join(missing)} of {table.qualified_name}.")
    known_at = pl.col("issued_at_utc") if table is WEATHER_FORECAST else pl.col("starts_at_utc") + timedelta(hours=1)
    defaults = {"source": pl.lit(source), "available_at_utc": known_at}
    frame = frame.with_columns(
        pl.col(name).cast(UTC_TIME) for name in ("starts_at_utc", "issued_at_utc") if name in frame.columns
    )
    frame = frame.with_columns(**{name: value for name, value in defaults.items() if name not in frame.columns})
    return frame.select(name for name in table.column_names if name in frame.columns)


def _richest(frames: Sequence[pl.DataFrame], *, window: Window, table: Table) -> pl.DataFrame:
    assert table.window_column is not None
    moment = pl.col(table.window_column)
    rows = pl.concat([table.empty(), *(table.conform(frame) for frame in frames)]).filter(
        moment >= window.starts_at_utc, moment < window.ends_at_utc
    )
    known = pl.sum_horizontal(pl.col(name).is_not_null() for name in WEATHER_QUANTITIES)
    return (
        rows.with_columns(known_quantities=known)
        .sort("known_quantities", descending=True, maintain_order=True)
        .unique(table.key, keep="first", maintain_order=True)
        .drop("known_quantities")
        .sort(table.key)
    )
