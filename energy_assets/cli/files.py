"""Commands on anybody's readings, without an instance: detect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_assets.cli.root import app, console


@app.command()
def detect(
    readings: Annotated[
        Path, typer.Option(help="CSV or Parquet: meter_id, starts_at_utc, energy_kwh (null = missing).")
    ],
    flags: Annotated[Path, typer.Option(help="Where the flags go.")],
    events: Annotated[Path, typer.Option(help="Where the events go.")],
    weather: Annotated[Path | None, typer.Option(help="Weather in the contract's columns.")] = None,
    meters: Annotated[Path | None, typer.Option(help="What is known of the meters.")] = None,
    scores: Annotated[Path | None, typer.Option(help="Where the score of every slot goes.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where a JSON report goes.")] = None,
    timezone: Annotated[str, typer.Option(help="IANA zone of meters that do not say theirs.")] = "UTC",
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 country, for holidays.")] = None,
) -> None:
    """Find anomalies in your own readings, without an instance."""
    from energy_assets.anomalies.detect import detect_files

    found = detect_files(
        readings,
        flags_path=flags,
        events_path=events,
        scores_path=scores,
        report_path=report,
        weather_path=weather,
        meters_path=meters,
        timezone=timezone,
        country_code=country,
    )
    console.print(f"{found.flags.height:,} flags in {flags}, {found.events.height:,} events in {events}")
