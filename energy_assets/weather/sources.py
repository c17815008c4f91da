"""The weather that declared sources bring: the files of ASHRAE and BDG2, and files in the layout of the contracts.

Every row that came is part of an hour, a repeat, or refused with a reason. Where two rows describe one site and hour,
the one with more quantities wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from energy_assets.contracts import (
    WEATHER_FORECAST,
    WEATHER_LANDINGS,
    WEATHER_OBSERVED,
    WEATHER_QUANTITIES,
    WEATHER_QUARANTINE,
    Table,
    Window,
)
from energy_assets.errors import ConfigError, SourceError
from energy_assets.weather.building_sets import read_bdg2_weather, read_gepiii_weather
from energy_assets.weather.judging import ACCOUNT, REFUSED, Cell, Judged, Layout, instant_of, judge
from energy_assets.weather.lines import Lines, read_lines
from energy_assets.weather.mapped import load_weather_mapping, read_mapped


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
    """Rows of weather.observed, .forecast, .quarantine and .landings, and what could not be had.

    `failures` names, by the start of their site ids (or a whole site id), whose weather is missing, and why.
    """

    observed: pl.DataFrame
    forecast: pl.DataFrame
    quarantine: pl.DataFrame
    landings: pl.DataFrame
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> dict[str, int]:
        """Return the number of refusals by reason, with the quantity where only that was refused."""
        told = pl.concat_str("reason", pl.lit(" of ") + pl.col("quantity").fill_null("row"))
        counts = self.quarantine.group_by(reason=told).len().sort("reason")
        return dict(counts.iter_rows())


def read_weather(
    sources: Sequence[WeatherFiles],
    *,
    observed: Window,
    issued: Window,
    now: datetime,
    answers: Sequence[Judged] = (),
    failures: Mapping[str, str] | None = None,
) -> Weather:
    """Return the weather of all sources: observations of the hours of `observed`, forecasts issued within `issued`.

    A source whose file is missing or wrong is named among the failures, and the others go on. `answers` are those of
    services, which take part like files, and `failures` whose were missing. `now` is when the rows came.
    """
    batches = list(answers)
    failed = dict(failures or {})
    for source in sources:
        try:
            batches.extend(list(_batches(source, observed=observed, issued=issued)))
        except (SourceError, ConfigError) as error:
            failed[f"{source.source}."] = str(error)
    hours, landings = {}, []
    for table in (WEATHER_OBSERVED, WEATHER_FORECAST):
        mine = [batch for batch in batches if batch.table is table]
        ranked = _ranked(mine, table=table)
        hours[table.name] = _completed(ranked.filter("__is_richest"), table=table)
        landings.append(_account(mine, ranked, table=table, now=now))
    refused = pl.concat([REFUSED.to_frame(), *(batch.refused for batch in batches)])
    return Weather(
        observed=hours[WEATHER_OBSERVED.name],
        forecast=hours[WEATHER_FORECAST.name],
        quarantine=WEATHER_QUARANTINE.conform(refused.with_columns(available_at_utc=pl.lit(now))),
        landings=pl.concat(landings),
        failures=failed,
    )


def _batches(source: WeatherFiles, *, observed: Window, issued: Window) -> Iterator[Judged]:
    name = source.source
    if source.gepiii_folder is not None:
        yield from read_gepiii_weather(source.gepiii_folder, source=name, window=observed)
    if source.bdg2_file is not None:
        yield read_bdg2_weather(source.bdg2_file, source=name, zones=source.zones, window=observed)
    mapping = None if source.mapping is None else load_weather_mapping(source.mapping)
    for path, table, window in (
        (source.observed, WEATHER_OBSERVED, observed),
        (source.forecast, WEATHER_FORECAST, issued),
    ):
        if path is None:
            continue
        if mapping is None:
            yield read_in_layout(path, table, source=name, window=window)
        else:
            is_forecast = table is WEATHER_FORECAST
            of_table = mapping if is_forecast else mapping.model_copy(update={"forecast": None})
            if is_forecast and mapping.forecast is None:
                raise ConfigError(f"{source.mapping} lacks the key forecast.issued_column for the forecasts of {path}.")
            yield read_mapped(path, of_table, source=name, window=window)


def read_in_layout(path: Path, table: Table, *, source: str, window: Window) -> Judged:
    """Return what becomes of the rows of a file in the columns of a weather table.

    Raises:
        SourceError: the file cannot be read, or lacks a column of the key.
    """
    return judge_in_layout(read_lines(path), table, source=source, window=window)


def judge_in_layout(lines: Lines, table: Table, *, source: str, window: Window) -> Judged:
    """Return what becomes of rows in the columns of a weather table, whose source and availability may be missing.

    Raises:
        SourceError: a column of the key is missing.
    """
    is_forecast = table is WEATHER_FORECAST
    needed = {"site_id", "starts_at_utc"} | ({"issued_at_utc"} if is_forecast else set())
    lines.require(needed, because=f"of {table.qualified_name}")
    there = lines.rows.columns
    site = pl.col("site_id").cast(pl.String)
    kept = {"source": pl.col("source").cast(pl.String)} if "source" in there else {}
    if "available_at_utc" in there:
        kept["available_at_utc"] = instant_of(lines.rows, "available_at_utc").at_utc
    layout = Layout(
        site_id=pl.when(site != "").then(site),
        starts_at=instant_of(lines.rows, "starts_at_utc"),
        issued_at=instant_of(lines.rows, "issued_at_utc") if is_forecast else None,
        cells={name: Cell(column=name) for name in WEATHER_QUANTITIES if name in there},
        kept=kept,
    )
    return judge(lines, layout, source=source, window=window)


def _ranked(batches: Sequence[Judged], *, table: Table) -> pl.DataFrame:
    """Return the hours of all batches, and of each key which row says most (the first one, of equals)."""
    own = {"__source": pl.String, "__batch_id": pl.String, "line_count": pl.Int64}
    empty = table.empty().with_columns(pl.lit(None, kind).alias(name) for name, kind in own.items())
    rows = pl.concat([empty, *(batch.hours for batch in batches)], how="diagonal_relaxed")
    rows = rows.with_columns(source=pl.coalesce("source", "__source"))
    known = pl.sum_horizontal(pl.col(name).is_not_null() for name in WEATHER_QUANTITIES)
    rank = (-known.cast(pl.Int64)).rank("ordinal").over(table.key)
    return rows.with_columns(__is_richest=rank == 1)


def _completed(hours: pl.DataFrame, *, table: Table) -> pl.DataFrame:
    """Return the hours in the columns of a table, with when each could have been known."""
    known_at = pl.col("issued_at_utc") if table is WEATHER_FORECAST else pl.col("starts_at_utc") + timedelta(hours=1)
    rows = hours.with_columns(available_at_utc=pl.coalesce("available_at_utc", known_at)).select(table.column_names)
    return table.conform(rows).sort(table.key)


def _account(batches: Sequence[Judged], ranked: pl.DataFrame, *, table: Table, now: datetime) -> pl.DataFrame:
    """Return rows of weather.landings: what each batch brought for each day, and what became of it."""
    assert table.window_column is not None
    lines, at = pl.col("line_count"), pl.col(table.window_column)
    accounted_at = at if table is WEATHER_FORECAST else at.dt.truncate("1d")
    made = ranked.group_by(source="__source", batch_id="__batch_id", at_utc=accounted_at).agg(
        stored=lines.filter(pl.col("__is_richest")).sum(),
        outdone=lines.filter(~pl.col("__is_richest")).sum(),
        hours=pl.col("__is_richest").sum(),
    )
    account = (
        pl.concat([ACCOUNT.to_frame(), *(batch.account for batch in batches)])
        # One service answers in several parts.
        .group_by("source", "batch_id", "subject", "at_utc", maintain_order=True)
        .agg(pl.sum("rows_in", "duplicate", "quarantined", "values_refused"))
        .join(made, on=["source", "batch_id", "at_utc"], how="left", nulls_equal=True)
        .with_columns(pl.col("stored", "outdone", "hours").fill_null(0))
        .with_columns(duplicate=pl.col("duplicate") + pl.col("outdone"), landed_at_utc=pl.lit(now))
    )
    return WEATHER_LANDINGS.conform(account.drop("outdone"))
