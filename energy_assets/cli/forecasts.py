"""Commands on forecasts: rebuild."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.settings import load_settings

forecast = typer.Typer(help="Forecasts that were issued.", no_args_is_help=True)
app.add_typer(forecast, name="forecast")


@forecast.command("rebuild")
def rebuild_issue(
    issued: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="Time of the issue, in UTC.")
    ],
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 unless every bit is as published.")] = False,
    out: Annotated[Path | None, typer.Option(help="Parquet file for the rows that were made again.")] = None,
) -> None:
    """Make a past forecast again from its stored snapshot, model versions and features, and compare it bit by bit."""
    from energy_assets.defs.rebuilding import rebuild
    from energy_assets.defs.resources import registry_from
    from energy_assets.lake import Lake
    from energy_assets.revision import UNKNOWN, code_revision

    settings = load_settings()
    lake = Lake.from_settings(settings)
    rebuilt = rebuild(lake, registry_from(settings), issued_at_utc=issued.replace(tzinfo=UTC))
    lake.close()
    if out is not None:
        rebuilt.rows.write_parquet(out)
    console.print(
        f"{rebuilt.rows.height:,} rows from snapshot {rebuilt.snapshot_id} and {', '.join(rebuilt.model_versions)}"
    )
    if rebuilt.is_the_same:
        console.print("[green]✓[/] every bit is as it was published")
        return
    for name, cells in rebuilt.differences.items():
        console.print(f"[red]✗[/] {name}: {cells:,} differ")
    if rebuilt.published_by not in (None, UNKNOWN, code_revision()):
        console.print(
            f"It was published by other code ({rebuilt.published_by}; this is {code_revision()}), which may have "
            "counted otherwise: rebuild it with that revision checked out."
        )
    raise typer.Exit(1 if check else 0)
