"""Forecasts of anybody's readings, without an instance: ahead (the next hours) and outlook (the next weeks)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from energy_assets.cli.root import app, console
from energy_assets.errors import ConfigError

_SHOWN = 12
_Readings = Annotated[Path, typer.Option(help="CSV or Parquet: meter_id, starts_at_utc, energy_kwh (empty = missing).")]
_Meters = Annotated[Path | None, typer.Option(help="meter_id and what is known: timezone, country_code, …")]
_Zone = Annotated[str, typer.Option(help="IANA zone of meters that do not say theirs.")]


@app.command()
def ahead(
    readings: _Readings,
    out: Annotated[Path, typer.Option(help="Where the coming intervals go: .csv or .parquet.")],
    sums: Annotated[Path | None, typer.Option(help="Where their sums go: .csv or .parquet.")] = None,
    weather: Annotated[Path | None, typer.Option(help="As for backtest; forecasts bear issued_at_utc.")] = None,
    meters: _Meters = None,
    at: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d"], help="Issue in UTC; default: the end of the readings."),
    ] = None,
    hours: Annotated[int, typer.Option(help="How many hours ahead.", min=1, max=6)] = 3,
    timezone: _Zone = "UTC",
) -> None:
    """Forecast the next intervals and the sum of the next hours from readings up to a moment ago."""
    from energy_assets.forecasts.backtest_inputs import read_inputs
    from energy_assets.forecasts.short_term import Places, forecast_short_term, learn_short_term
    from energy_assets.models.spec import SPECS
    from energy_assets.readings.own_files import check_writable, write_table

    for path in (out, *([sums] if sums else [])):
        check_writable(path)
    inputs = read_inputs(readings, weather_path=weather, meters_path=meters, timezone=timezone)
    issue = at.replace(tzinfo=UTC) if at else _end_of(inputs.readings)
    sky = inputs.weather
    places = Places(
        meters=inputs.meters,
        sites=inputs.sites,
        premises=inputs.premises,
        observed=None if sky is None else sky.observed,
    )
    known = None if sky is None else lambda issues: sky.as_known(issues, horizon=timedelta(hours=hours + 1))
    champions = learn_short_term(
        inputs.readings, places=places, weather=known, trained_at=issue, spec=SPECS["quick"], seed=0, hours=hours
    )
    found = forecast_short_term(
        inputs.readings, places=places, weather=known, champions=champions, issued_at_utc=issue, seed=0, hours=hours
    )
    write_table(found.intervals.rename({"node_id": "meter_id"}).drop("features_hash", "node_kind"), out)
    if sums is not None:
        write_table(found.sums, sums)
    console.print(f"From {issue:%Y-%m-%d %H:%M} UTC", highlight=False)
    first = found.intervals.filter(pl.col("starts_at_utc") == pl.col("starts_at_utc").min().over("node_id"))
    both = found.sums.join(
        first.select("node_id", "interval_minutes", "q50", "method"),
        left_on="meter_id",
        right_on="node_id",
        suffix="_next",
    )
    table = _table("meter", "next interval kWh", f"next {hours} h kWh", "80 % within", "by")
    for row in both.head(_SHOWN).iter_rows(named=True):
        next_one = f"{row['q50_next']:.3g} in {row['interval_minutes']} min"
        table.add_row(row["meter_id"], next_one, f"{row['q50']:.3g}", _band(row), row["method"])
    _print(table, rows=both.height, out=out)


@app.command()
def outlook(
    readings: _Readings,
    out: Annotated[Path, typer.Option(help="Where the days go: .csv or .parquet.")],
    totals: Annotated[Path | None, typer.Option(help="Where the totals go: .csv or .parquet.")] = None,
    meters: _Meters = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day; default: the day after the readings end."),
    ] = None,
    days: Annotated[int, typer.Option(help="How many days ahead.", min=1, max=90)] = 90,
    price: Annotated[float | None, typer.Option(help="Price of a kWh, to tell the cost as well.", min=0)] = None,
    timezone: _Zone = "UTC",
) -> None:
    """Look up to 90 days ahead: energy of every meter per day and in all, each with its interval."""
    from energy_assets.forecasts.backtest_inputs import read_inputs
    from energy_assets.forecasts.outlook import daily_energy
    from energy_assets.forecasts.outlook import outlook as look
    from energy_assets.readings.own_files import check_writable, write_table

    for path in (out, *([totals] if totals else [])):
        check_writable(path)
    inputs = read_inputs(readings, meters_path=meters, timezone=timezone)
    daily = daily_energy(inputs.readings, meters=inputs.meters, sites=inputs.sites)
    whole = daily.filter(pl.col("energy_kwh").is_not_null())["local_date"].max()
    if not isinstance(whole, date):
        raise ConfigError(f"{readings} holds no day of which nine tenths are known; an outlook needs whole days.")
    found = look(daily, first_day=first.date() if first else whole + timedelta(days=1), days=days)
    if found.days.is_empty():
        raise ConfigError(
            f"{readings} has no meter with 14 known days in the eight weeks before; give a longer history."
        )
    of_days, of_totals = (_with_cost(frame, price) for frame in (found.days, found.totals))
    write_table(of_days, out)
    if totals is not None:
        write_table(of_totals, totals)
    silent = inputs.meters.height - found.days["meter_id"].n_unique()
    if silent:
        console.print(f"[yellow]note[/] {silent} meters have fewer than 14 known days of the last 56 and no outlook")
    console.print(f"From {found.days['local_date'][0]} for {days} days", highlight=False)
    table = _table("meter", "days", "kWh", "80 % within", *(["cost"] if price is not None else []))
    longest = of_totals.filter(pl.col("days") == pl.col("days").max())
    for row in longest.head(_SHOWN).iter_rows(named=True):
        cost = [f"{row['cost_q50']:,.2f}"] if price is not None else []
        table.add_row(row["meter_id"], str(row["days"]), f"{row['q50']:,.4g}", _band(row), *cost)
    _print(table, rows=longest.height, out=out)


def _end_of(readings: pl.DataFrame) -> datetime:
    end: datetime = readings.select((pl.col("starts_at_utc") + pl.duration(minutes="interval_minutes")).max()).item()
    return end


def _with_cost(rows: pl.DataFrame, price: float | None) -> pl.DataFrame:
    if price is None:
        return rows
    return rows.with_columns((pl.col(name) * price).alias(f"cost_{name}") for name in ("q10", "q50", "q90"))


def _band(row: dict[str, float]) -> str:
    return f"{row['q10']:,.4g} .. {row['q90']:,.4g}"


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in ("meter", "by") else "right")
    return table


def _print(table: Table, *, rows: int, out: Path) -> None:
    console.print(table)
    if rows > _SHOWN:
        console.print(f"… and {rows - _SHOWN:,} more meters")
    console.print(f"All of it in {out}", highlight=False)
