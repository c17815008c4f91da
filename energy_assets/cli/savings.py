"""Savings of a change, from the instance or from anybody's files: savings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import polars as pl
import typer
from rich.table import Table

from energy_assets.cli.root import app, console
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    from energy_assets.features.calendar import Place
    from energy_assets.models.savings import Savings


@dataclass(frozen=True, kw_only=True)
class _Meter:
    """What is known of one meter, from wherever it came."""

    meter_id: str
    direction: str
    interval_minutes: int
    place: Place
    readings: pl.DataFrame
    weather: pl.DataFrame | None


@app.command()
def savings(
    meter: Annotated[
        str | None, typer.Argument(help="A meter, or a premise for all its meters. With --readings: default all.")
    ] = None,
    changed: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First local day after the change.")
    ] = ...,  # type: ignore[assignment]
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last local day that counts. Default: all.")
    ] = None,
    before: Annotated[
        datetime | None,
        typer.Option("--before", formats=["%Y-%m-%d"], help="First local day of the works, if they took a while."),
    ] = None,
    readings: Annotated[
        Path | None, typer.Option(help="CSV or Parquet: meter_id, starts_at_utc, energy_kwh; instead of the instance.")
    ] = None,
    weather: Annotated[Path | None, typer.Option(help="With --readings: hourly weather, contract's columns.")] = None,
    meters: Annotated[Path | None, typer.Option(help="With --readings: what is known of the meters.")] = None,
    timezone: Annotated[str, typer.Option(help="IANA zone of meters that do not say theirs.")] = "UTC",
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 country, for holidays, likewise.")] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.99, help="Of the interval of the savings.")] = 0.9,
    out: Annotated[Path | None, typer.Option(help="CSV or Parquet for the slots: measured, expected, saved.")] = None,
    report: Annotated[Path | None, typer.Option(help="JSON for figures and conditions, meter by meter.")] = None,
) -> None:
    """Say what a change saved: measured energy against what would have been used as before, with its uncertainty."""
    from energy_assets.errors import ConfigError
    from energy_assets.models.savings import measure_savings

    found = (
        _from_instance(meter)
        if readings is None
        else _from_files(meter, readings, weather=weather, meters=meters, timezone=timezone, country=country)
    )
    if not found:
        raise ConfigError(f"There is no meter or premise {meter!r} with readings; `energy sql` shows metering.meters.")
    results: dict[str, Savings] = {}
    for each in found:
        zone = each.place.timezone
        result = measure_savings(
            each.readings,
            weather=each.weather,
            place=each.place,
            interval_minutes=each.interval_minutes,
            changed_at_utc=_midnight(changed.date(), zone),
            baseline_until_utc=None if before is None else _midnight(before.date(), zone),
            ends_at_utc=None if until is None else _midnight(date.fromordinal(until.toordinal() + 1), zone),
            confidence=confidence,
            threads=load_settings().threads,
        )
        _show(each.meter_id, result)
        results[each.meter_id] = result
    if len(results) > 1 and len({each.direction for each in found}) == 1:
        _show_sum(results)
    if out is not None:
        from energy_assets.readings.own_files import write_table

        slots = (each.slots.select(pl.lit(name).alias("meter_id"), pl.all()) for name, each in results.items())
        write_table(pl.concat(slots), out)
    if report is not None:
        # An uncertainty without end is no number in JSON.
        written = json.loads(
            json.dumps({name: _figures(each) for name, each in results.items()}), parse_constant=lambda _: None
        )
        report.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def _from_instance(meter: str | None) -> list[_Meter]:
    from energy_assets.contracts import METERS, READINGS_INTERVAL, SITES, WEATHER_OBSERVED
    from energy_assets.errors import ConfigError
    from energy_assets.lake import Lake

    if meter is None:
        raise ConfigError("Name a meter or a premise of the instance, or give files of your own with --readings.")
    lake = Lake.from_settings(load_settings())
    try:
        chosen = lake.read(METERS).filter((pl.col("meter_id") == meter) | (pl.col("premise_id") == meter))
        sites = {row["site_id"]: row for row in lake.read(SITES).iter_rows(named=True)}
        return [
            _Meter(
                meter_id=row["meter_id"],
                direction=row["direction"],
                interval_minutes=row["interval_minutes"],
                place=_place(sites.get(row["site_id"], {})),
                readings=lake.read(
                    READINGS_INTERVAL, columns=["starts_at_utc", "energy_kwh"], where={"meter_id": row["meter_id"]}
                ),
                weather=lake.read(WEATHER_OBSERVED, where={"site_id": row["site_id"]}),
            )
            for row in chosen.sort("meter_id").iter_rows(named=True)
        ]
    finally:
        lake.close()


def _from_files(
    meter: str | None,
    readings: Path,
    *,
    weather: Path | None,
    meters: Path | None,
    timezone: str,
    country: str | None,
) -> list[_Meter]:
    from energy_assets.forecasts.backtest_inputs import read_inputs

    inputs = read_inputs(readings, weather_path=weather, meters_path=meters, timezone=timezone, country_code=country)
    sites = {row["site_id"]: row for row in inputs.sites.iter_rows(named=True)}
    observed = None if inputs.weather is None else inputs.weather.observed
    chosen = inputs.meters
    if meter is not None:
        chosen = chosen.filter((pl.col("meter_id") == meter) | (pl.col("premise_id") == meter))
    return [
        _Meter(
            meter_id=row["meter_id"],
            direction=row["direction"],
            interval_minutes=row["interval_minutes"],
            place=_place(sites.get(row["site_id"], {})),
            readings=inputs.actual.filter(pl.col("meter_id") == row["meter_id"]).drop("meter_id"),
            weather=None if observed is None else observed.filter(pl.col("site_id") == row["site_id"]),
        )
        for row in chosen.sort("meter_id").iter_rows(named=True)
    ]


def _place(site: dict[str, object]) -> Place:
    from energy_assets.features.calendar import Place
    from energy_assets.features.metadata import place_of

    return place_of(site) if site else Place(timezone="UTC")


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))


def _show(meter_id: str, found: Savings) -> None:
    table = Table(
        "month", "measured, kWh", "as before, kWh", "saved, kWh", "saved", title=meter_id, title_justify="left"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for row in found.monthly.iter_rows(named=True):
        share = row["saved_kwh"] / row["expected_kwh"] if row["expected_kwh"] else 0.0
        figures = (f"{row[name]:,.0f}" for name in ("measured_kwh", "expected_kwh", "saved_kwh"))
        table.add_row(row["month"], *figures, f"{share:+.1%}")
    table.add_section()
    sums = (f"{value:,.0f}" for value in (found.measured_kwh, found.expected_kwh, found.saved_kwh))
    table.add_row("all", *sums, f"{found.saved_share:+.1%}")
    console.print(table)
    done = "saved" if found.saved_kwh >= 0 else "used more"
    chance = "" if found.low_kwh > 0 or found.high_kwh < 0 else ", which may be chance"
    console.print(
        f"{abs(found.saved_kwh):,.0f} kWh {done} ({found.saved_share:+.1%}){chance}: with {found.confidence:.0%} "
        f"confidence the savings lie between {found.low_kwh:,.0f} and {found.high_kwh:,.0f} kWh (ASHRAE 14's own "
        f"formula: ± {found.guideline_uncertainty:,.0f} kWh).",
        soft_wrap=True,
    )
    rivals = ", ".join(
        f"{name} {error:.1%}" for name, error in sorted(found.candidates.items(), key=lambda one: one[1])
    )
    console.print(f"Model: {found.model}; CV(RMSE) on unseen days: {rivals}.", soft_wrap=True)
    for claim in found.claims:
        mark = "[green]✓[/]" if claim.holds else "[red]✗[/]"
        console.print(f"{mark} {claim.text} [dim]({claim.source})[/]", soft_wrap=True)
    console.print(
        "The data suffice.\n" if found.is_sufficient else "The data do not suffice for a guaranteed figure.\n"
    )


def _show_sum(results: Mapping[str, Savings]) -> None:
    """Show what all meters saved together; the intervals add in squares, as if their errors had nothing in common."""
    expected, saved = (sum(getattr(each, name) for each in results.values()) for name in ("expected_kwh", "saved_kwh"))
    half = sum(((each.high_kwh - each.low_kwh) / 2) ** 2 for each in results.values()) ** 0.5
    confidence = next(iter(results.values())).confidence
    done = f"{abs(saved):,.0f} kWh {'saved' if saved >= 0 else 'used more'}"
    done = f"{done} ({saved / expected if expected else 0.0:+.1%} of {expected:,.0f})"
    console.print(
        f"[bold]All {len(results)} meters[/]: {done}; with {confidence:.0%} confidence the savings lie between "
        f"{saved - half:,.0f} and {saved + half:,.0f} kWh, if the meters' errors have nothing in common.",
        soft_wrap=True,
    )


def _figures(found: Savings) -> dict[str, object]:
    tables = {"slots", "claims", "monthly"}
    plain = {each.name: getattr(found, each.name) for each in fields(found) if each.name not in tables}
    return plain | {
        "saved_share": found.saved_share,
        "is_sufficient": found.is_sufficient,
        "monthly": found.monthly.to_dicts(),
        "conditions": [{"text": each.text, "holds": each.holds, "source": each.source} for each in found.claims],
    }
