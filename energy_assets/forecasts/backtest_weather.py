"""Weather from a person's file, with or without the times at which it was forecast, for back-tests.

Values that no weather has are left out and counted; steps of other than an hour become hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from energy_assets.contracts import UTC_TIME, WEATHER_FORECAST, WEATHER_OBSERVED, WEATHER_QUANTITIES
from energy_assets.errors import SourceError
from energy_assets.readings.own_files import numbers, read_table, texts, utc_times
from energy_assets.weather.as_known import as_known
from energy_assets.weather.derived import with_humidity

SOURCE = "file"
_EVERYWHERE = ""
_LONGEST_STEP_HOURS = 6
_HOUR = timedelta(hours=1)
_OLDEST_FORECAST = timedelta(days=7)
_IRRADIANCES = tuple(name for name in WEATHER_QUANTITIES if name.endswith("_w_m2"))
_ROUNDING = 0.02
"""Share of its bound by which a value may be beyond it: rounding and interpolation at the source."""
_NOT_BETWEEN = ("wind_direction_deg",)
"""Quantities that have no value between two others."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Rows of `weather.observed` and of `weather.forecast`; without the latter the former is its own forecast."""

    observed: pl.DataFrame
    forecast: pl.DataFrame

    @property
    def only_site(self) -> str | None:
        """Return the site if there is exactly one that has a name."""
        sites = self.sites() - {_EVERYWHERE}
        return next(iter(sites)) if len(sites) == 1 else None

    def sites(self) -> set[str]:
        """Return the sites that have weather."""
        return {*self.observed["site_id"].unique(), *self.forecast["site_id"].unique()}

    def at(self, site_ids: pl.Series) -> Weather:
        """Return the weather of the sites; that of a file without sites serves each of them."""
        wanted = pl.DataFrame({"site_id": site_ids})
        if self.sites() != {_EVERYWHERE}:
            frames = [rows.join(wanted, on="site_id", how="semi") for rows in (self.observed, self.forecast)]
        else:
            frames = [
                wanted.join(rows.drop("site_id"), how="cross").select(rows.columns)
                for rows in (self.observed, self.forecast)
            ]
        return Weather(observed=frames[0], forecast=frames[1])

    def as_known(self, issues: Sequence[datetime], *, horizon: timedelta) -> pl.DataFrame:
        """Return the weather as it was believed at the issues: the road that the nightly run takes."""
        return as_known(
            self.observed,
            self._newest_of_hours(issues, horizon=horizon),
            issues=issues,
            horizon=horizon,
            is_actual_allowed=self.forecast.is_empty(),
        )

    def _newest_of_hours(self, issues: Sequence[datetime], *, horizon: timedelta) -> pl.DataFrame:
        """Return for every issue one run that holds the newest forecast of each hour that had been made by then.

        Archives often keep a forecast per hour, made a fixed time ahead, rather than whole runs.
        """
        if self.forecast.is_empty():
            return self.forecast
        ahead = pl.DataFrame({"issue": pl.Series(sorted(issues), dtype=UTC_TIME)}).with_columns(
            starts_at_utc=pl.datetime_ranges(
                pl.col("issue").dt.truncate("1h"), pl.col("issue") + horizon, "1h", closed="left", time_unit="us"
            )
        )
        sites = self.forecast.select("site_id").unique().sort("site_id")
        wanted = sites.join(ahead.explode("starts_at_utc"), how="cross").sort("issue")
        newest = wanted.join_asof(
            self.forecast.sort("issued_at_utc"),
            left_on="issue",
            right_on="issued_at_utc",
            by=["site_id", "starts_at_utc"],
            strategy="backward",
            tolerance=_OLDEST_FORECAST,
            check_sortedness=False,
        )
        run = newest.filter(pl.col("issued_at_utc").is_not_null()).with_columns(
            issued_at_utc="issue", available_at_utc="issue"
        )
        return run.select(self.forecast.columns)


def read_weather(path: Path, *, notes: list[str]) -> Weather:
    """Return the weather of a CSV or Parquet file: starts_at_utc, any of `WEATHER_QUANTITIES`, site_id or nothing.

    With a column `issued_at_utc` the rows are forecasts and count from their issue; rows in which it is empty are
    observations, and where there are none the newest forecast of each hour is. Appends to `notes` what was left out.

    Raises:
        SourceError: the file cannot be read, or none of its columns is a quantity that we know.
    """
    place = f"Weather file {path}"
    rows = read_table(path, what="Weather", columns=("starts_at_utc",))
    present = [name for name in WEATHER_QUANTITIES if name in rows.columns]
    if not present:
        raise SourceError(
            f"{place} has no column that we know; it has {rows.columns}. Rename them: {', '.join(WEATHER_QUANTITIES)}."
        )
    named = {"site_id", "starts_at_utc", "issued_at_utc", *WEATHER_QUANTITIES}
    if ignored := [name for name in rows.columns if name not in named]:
        notes.append(f"weather columns that we do not know are left out: {', '.join(ignored)}")
    if "temperature_c" not in present:
        notes.append("the weather has no temperature_c; models with weather need it, so those without serve")
    read = pl.DataFrame(
        [
            texts(rows, "site_id").fill_null(_EVERYWHERE)
            if "site_id" in rows.columns
            else pl.repeat(_EVERYWHERE, rows.height, dtype=pl.String, eager=True).alias("site_id"),
            utc_times(rows, "starts_at_utc", place=place),
            _issues(rows, place=place),
            *(numbers(rows, name, place=place) for name in present),
        ]
    )
    read = _believable(read, present, notes)
    observed = _hourly(read.filter(pl.col("issued_at_utc").is_null()), present)
    forecast = _hourly(read.filter(pl.col("issued_at_utc").is_not_null()), present)
    if forecast.height and observed.is_empty():
        observed = forecast.sort("issued_at_utc").unique(["site_id", "starts_at_utc"], keep="last")
        notes.append("the weather file has forecasts only; the newest one of an hour stands for what was observed")
    return Weather(observed=_contract_rows(observed), forecast=_contract_rows(forecast, is_forecast=True))


def _issues(rows: pl.DataFrame, *, place: str) -> pl.Series:
    if "issued_at_utc" not in rows.columns or rows["issued_at_utc"].null_count() == rows.height:
        return pl.Series("issued_at_utc", [None] * rows.height, dtype=UTC_TIME)
    blank = rows["issued_at_utc"].is_null()
    if rows.schema["issued_at_utc"] == pl.String:
        blank = blank | (rows["issued_at_utc"].str.strip_chars() == "")
    # Observations have no issue; the start of their hour stands in while the column is read as times.
    filled = rows.select(issued_at_utc=pl.when(~blank).then("issued_at_utc").otherwise("starts_at_utc"))
    times = utc_times(filled, "issued_at_utc", place=place)
    return pl.select(pl.when(~blank).then(times)).to_series().alias("issued_at_utc")


def _believable(rows: pl.DataFrame, present: list[str], notes: list[str]) -> pl.DataFrame:
    """Return rows without values beyond the contract's bounds; sensors say a little less than no light at night."""
    rows = rows.with_columns(pl.col(name).clip(lower_bound=0) for name in present if name in _IRRADIANCES)
    for name in present:
        column = WEATHER_OBSERVED.column(name)
        low, high = (-float("inf") if column.minimum is None else column.minimum), column.maximum or float("inf")
        value, slack = pl.col(name), _ROUNDING * max(abs(high), 1.0) if high < float("inf") else 0.0
        held = pl.when(value.is_between(low - slack, high + slack)).then(value.clip(low, high)).alias(name)
        kept = rows.select(held).to_series()
        lost = rows[name].count() - kept.count()
        if lost:
            notes.append(
                f"{lost:,} of {rows[name].count():,} values of {name} are beyond {low:g} .. {high:g} and left out"
                + ("; is its unit right?" if lost * 10 > rows[name].count() else "")
            )
        rows = rows.with_columns(kept)
    return rows


def _hourly(rows: pl.DataFrame, present: list[str]) -> pl.DataFrame:
    """Return one row per site, issue and hour: means of finer steps, straight lines between coarser ones."""
    if rows.is_empty():
        return rows
    series, means = ["site_id", "issued_at_utc"], [pl.col(name).mean() for name in present]
    hours = rows.group_by(*series, pl.col("starts_at_utc").dt.truncate("1h")).agg(means).sort(*series, "starts_at_utc")
    step = hours.select(pl.col("starts_at_utc").diff().over(series).dt.total_hours()).to_series().drop_nulls().mode()
    hours_apart = int(step.min() or 1)  # type: ignore[arg-type]
    if not 1 < hours_apart <= _LONGEST_STEP_HOURS:
        return hours
    between = [name for name in present if name not in _NOT_BETWEEN]
    filled = hours.with_columns(
        starts_at_utc=pl.datetime_ranges(
            "starts_at_utc", pl.col("starts_at_utc") + timedelta(hours=hours_apart - 1), "1h", time_unit="us"
        ),
        _at=pl.col("starts_at_utc"),
        **{f"_next_{name}": pl.col(name).shift(-1).over(series) for name in between},
        _gap=pl.col("starts_at_utc").diff().shift(-1).over(series).dt.total_hours(),
    ).explode("starts_at_utc")
    share = (pl.col("starts_at_utc") - pl.col("_at")).dt.total_hours() / hours_apart
    next_is_near, is_last = pl.col("_gap") == hours_apart, pl.col("_gap").is_null()
    lines = {
        name: pl.when((share == 0) | is_last)
        .then(name)
        .when(next_is_near)
        .then(pl.col(name) + share * (pl.col(f"_next_{name}") - pl.col(name)))
        for name in between
    }
    return filled.with_columns(**lines).select(hours.columns)


def _contract_rows(rows: pl.DataFrame, *, is_forecast: bool = False) -> pl.DataFrame:
    """Return rows of the contract; an observation is known when its hour is over, a forecast when it is issued."""
    table = WEATHER_FORECAST if is_forecast else WEATHER_OBSERVED
    if rows.is_empty():
        return table.empty()
    over = pl.col("starts_at_utc") + _HOUR
    known = pl.col("issued_at_utc") if is_forecast else pl.max_horizontal("issued_at_utc", over)
    rows = with_humidity(rows).with_columns(source=pl.lit(SOURCE), available_at_utc=known.cast(UTC_TIME))
    return table.conform(rows.select(pl.col(name) for name in table.column_names if name in rows.columns))
