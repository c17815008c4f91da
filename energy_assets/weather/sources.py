"""The weather that declared sources bring: the files of ASHRAE and BDG2, and files in the layout of the contracts.

Every reader returns rows of the contracts and names what it refused. Where two sources describe one site and hour, the
one with more quantities wins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import polars as pl

from energy_assets.contracts import UTC_TIME, WEATHER_FORECAST, WEATHER_OBSERVED, WEATHER_QUANTITIES, Table, Window
from energy_assets.errors import ConfigError, SourceError
from energy_assets.weather.derived import with_humidity
from energy_assets.weather.mapped import load_weather_mapping, read_mapped

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


_BDG2_COLUMNS = {
    "airTemperature": "temperature_c",
    "dewTemperature": "dew_point_c",
    "windSpeed": "wind_speed_ms",
    "windDirection": "wind_direction_deg",
    "seaLvlPressure": "sea_level_pressure_hpa",
    "cloudCoverage": "cloud_cover_fraction",
    "precipDepth1HR": "precipitation_mm",
}


@dataclass(frozen=True, kw_only=True)
class WeatherFiles:
    """Where a source keeps its weather.

    A folder in Kaggle's layout, BDG2's weather.csv with the time zones of its sites, and files of observations and
    forecasts: in the layout of the contracts, or in any other that a mapping declares.
    """

    source: str
    gepiii_folder: Path | None = None
    bdg2_file: Path | None = None
    zones: Mapping[str, str] = field(default_factory=dict)
    observed: Path | None = None
    forecast: Path | None = None
    mapping: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Rows of `weather.observed` and `weather.forecast`, what was refused by reason, and what could not be had.

    `failures` names, by the start of their site ids (or a whole site id), whose weather is missing, and why.
    """

    observed: pl.DataFrame
    forecast: pl.DataFrame
    refused: Mapping[str, int]
    failures: Mapping[str, str] = field(default_factory=dict)


def read_weather(
    sources: Sequence[WeatherFiles], *, observed: Window, issued: Window, fetched: Sequence[Weather] = ()
) -> Weather:
    """Return the weather of all sources: observations of the hours of `observed`, forecasts issued within `issued`.

    A source whose file is missing or wrong is named among the failures, and the others go on. Kaggle's weather is on
    the UTC clock, unlike its readings. `fetched` is weather that services gave, which takes part like that of files.
    """
    seen = [each.observed for each in fetched]
    foreseen = [each.forecast for each in fetched]
    refused: Counter[str] = Counter()
    failures: dict[str, str] = {}
    for each in fetched:
        refused.update(each.refused)
        failures |= each.failures
    for source in sources:
        try:
            of_source = list(_frames(source, refused=refused))
        except (SourceError, ConfigError) as error:
            failures[f"{source.source}."] = str(error)
            continue
        for table, frame in of_source:
            plausible, counts = refuse_implausible(frame)
            refused.update(counts)
            (seen if table is WEATHER_OBSERVED else foreseen).append(with_humidity(plausible))
    return Weather(
        observed=_richest(seen, window=observed, table=WEATHER_OBSERVED),
        forecast=_richest(foreseen, window=issued, table=WEATHER_FORECAST),
        refused=dict(refused),
        failures=failures,
    )


def _frames(source: WeatherFiles, *, refused: Counter[str]) -> Iterator[tuple[Table, pl.DataFrame]]:
    if source.gepiii_folder is not None:
        kaggle = read_gepiii_weather(source.gepiii_folder, source=source.source)
        if kaggle is not None:
            yield WEATHER_OBSERVED, kaggle
    if source.bdg2_file is not None:
        yield WEATHER_OBSERVED, read_bdg2_weather(source.bdg2_file, source=source.source, zones=source.zones)
    for path, table in ((source.observed, WEATHER_OBSERVED), (source.forecast, WEATHER_FORECAST)):
        if path is None:
            continue
        if source.mapping is None:
            frame = _in_layout(path, table)
        else:
            frame, counts = read_mapped(path, load_weather_mapping(source.mapping), source=source.source)
            refused.update(counts)
        yield table, _completed(frame, table=table, source=source.source)


def read_bdg2_weather(path: Path, *, source: str, zones: Mapping[str, str]) -> pl.DataFrame:
    """Return the rows of BDG2's weather.csv, whose clock is that of each site.

    Units and special values are those of GEPIII. Sites without a zone in `zones` (site id to IANA zone), and hours that
    a clock change repeats or skips, are left out: nobody can say when they were.

    Raises:
        SourceError: the file is missing or lacks a column.
    """
    if not path.is_file():
        raise SourceError(f"{path}, the weather of source {source}, does not exist; download it again.")
    table = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=True)
    missing = sorted({"timestamp", "site_id", *_BDG2_COLUMNS} - set(table.columns))
    if missing:
        raise SourceError(f"{path} lacks the columns {', '.join(missing)}; download it again.")
    rows = table.select(
        local=pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False),
        site_id=pl.lit(f"{source}.") + pl.col("site_id"),
        **{name: pl.col(column).cast(pl.Float64, strict=False) for column, name in _BDG2_COLUMNS.items()},
    )
    timed = []
    for (site,), of_site in rows.group_by("site_id", maintain_order=True):
        if str(site) in zones:
            clock = pl.col("local").dt.replace_time_zone(zones[str(site)], ambiguous="null", non_existent="null")
            timed.append(of_site.with_columns(starts_at_utc=clock.dt.convert_time_zone("UTC").cast(UTC_TIME)))
    if not timed:
        raise SourceError(f"{path}: none of its sites is registered; ingest the readings of {source} first.")
    clouds, rain = pl.col("cloud_cover_fraction"), pl.col("precipitation_mm")
    frame = pl.concat(timed).drop_nulls("starts_at_utc").drop("local")
    frame = frame.with_columns(
        cloud_cover_fraction=pl.when(clouds <= _OKTAS).then(clouds / _OKTAS),
        precipitation_mm=pl.when(rain == -1).then(0.0).otherwise(rain),
    )
    return _completed(frame, table=WEATHER_OBSERVED, source=source)


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


def _in_layout(path: Path, table: Table) -> pl.DataFrame:
    if not path.exists():
        raise SourceError(f"{path}, a file of {table.qualified_name}, does not exist; mend its source's options.")
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, try_parse_dates=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}. Export it again.") from error
    needed = {"site_id", "starts_at_utc"} | ({"issued_at_utc"} if table is WEATHER_FORECAST else set())
    missing = sorted(needed - set(frame.columns))
    if missing:
        raise SourceError(f"{path} lacks the columns {', '.join(missing)} of {table.qualified_name}.")
    times = [name for name in ("starts_at_utc", "issued_at_utc") if name in frame.columns]
    return frame.with_columns(pl.col(name).cast(UTC_TIME) for name in times)


def _completed(frame: pl.DataFrame, *, table: Table, source: str) -> pl.DataFrame:
    """Return the frame in the columns of a table, with its source and when it could have been known."""
    known_at = pl.col("issued_at_utc") if table is WEATHER_FORECAST else pl.col("starts_at_utc") + timedelta(hours=1)
    defaults = {"source": pl.lit(source), "available_at_utc": known_at}
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
