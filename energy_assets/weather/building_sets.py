"""The weather files of GEPIII and BDG2: their columns, units, special values and clocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from energy_assets.contracts import UTC_TIME, Window
from energy_assets.errors import SourceError
from energy_assets.weather.judging import Cell, Instant, Judged, Layout, instant_of, judge
from energy_assets.weather.lines import Lines, read_lines

_GEPIII_FILES = ("weather_train.csv", "weather_test.csv")
_OKTAS, _SKY_HIDDEN, _TRACE = 8.0, 9.0, -1.0


def _of_oktas(number: pl.Expr) -> pl.Expr:
    return pl.when(number != _SKY_HIDDEN).then(number / _OKTAS)


def _rain(number: pl.Expr) -> pl.Expr:
    return pl.when(number == _TRACE).then(0.0).otherwise(number)


_GEPIII_CELLS = {
    "temperature_c": Cell(column="air_temperature"),
    "dew_point_c": Cell(column="dew_temperature"),
    "wind_speed_ms": Cell(column="wind_speed"),
    "wind_direction_deg": Cell(column="wind_direction"),
    "sea_level_pressure_hpa": Cell(column="sea_level_pressure"),
    "cloud_cover_fraction": Cell(column="cloud_coverage", convert=_of_oktas),
    "precipitation_mm": Cell(column="precip_depth_1_hr", convert=_rain),
}
_BDG2_CELLS = {
    "temperature_c": Cell(column="airTemperature"),
    "dew_point_c": Cell(column="dewTemperature"),
    "wind_speed_ms": Cell(column="windSpeed"),
    "wind_direction_deg": Cell(column="windDirection"),
    "sea_level_pressure_hpa": Cell(column="seaLvlPressure"),
    "cloud_cover_fraction": Cell(column="cloudCoverage", convert=_of_oktas),
    "precipitation_mm": Cell(column="precipDepth1HR", convert=_rain),
}


def read_gepiii_weather(folder: Path, *, source: str, window: Window) -> Iterator[Judged]:
    """Yield the rows of weather_train.csv and weather_test.csv, of those that are there.

    Their clock is UTC. Clouds come in oktas (9 means that the sky was hidden: null); a precipitation of -1 is a trace,
    less than could be measured, and counts as 0. An hour that is missing stays missing.

    Raises:
        SourceError: a file lacks a column or cannot be read.
    """
    for path in (folder / name for name in _GEPIII_FILES):
        if path.is_file():
            lines = _complete(path, _GEPIII_CELLS)
            site = pl.when(pl.col("site_id") != "").then(pl.lit(f"{source}.") + pl.col("site_id"))
            layout = Layout(site_id=site, starts_at=instant_of(lines.rows, "timestamp"), cells=_GEPIII_CELLS)
            yield judge(lines, layout, source=source, window=window)


def read_bdg2_weather(path: Path, *, source: str, zones: Mapping[str, str], window: Window) -> Judged:
    """Return the rows of BDG2's weather.csv, whose clock is that of each site.

    Units and special values are those of GEPIII. Rows of sites without a zone in `zones` (site id to IANA zone), and of
    hours that a clock change repeats or skips, are refused: nobody can say when they were.

    Raises:
        SourceError: the file cannot be read or lacks a column, or none of its sites is known.
    """
    lines = _complete(path, _BDG2_CELLS)
    site = pl.lit(f"{source}.") + pl.col("site_id")
    named = lines.rows.select(site.alias("site_id"))["site_id"].unique()
    known = {str(each): zones[str(each)] for each in named if each in zones}
    if not known:
        raise SourceError(f"{path}: none of its sites is registered; ingest the readings of {source} first.")
    clocks = {zone: instant_of(lines.rows, "timestamp", zone=zone) for zone in set(known.values())}
    zone = site.replace_strict(known, default=None, return_dtype=pl.String)

    def by_zone(part: str, otherwise: pl.Expr) -> pl.Expr:
        return pl.coalesce(
            *(pl.when(zone == each).then(getattr(clock, part)) for each, clock in clocks.items()), otherwise
        )

    starts_at = Instant(
        at_utc=by_zone("at_utc", pl.lit(None, UTC_TIME)), fault=by_zone("fault", pl.lit(None, pl.String))
    )
    layout = Layout(site_id=pl.when(zone.is_not_null()).then(site), starts_at=starts_at, cells=_BDG2_CELLS)
    return judge(lines, layout, source=source, window=window)


def _complete(path: Path, cells: Mapping[str, Cell]) -> Lines:
    lines = read_lines(path)
    needed = {"timestamp", "site_id", *(cell.column for cell in cells.values())}
    lines.require(needed, because="of its set; download it again")
    return lines
