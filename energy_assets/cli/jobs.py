"""Commands that work on the instance: run, nightly, backfill, up, sql, doctor."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    from energy_assets.settings import Settings
    from energy_assets.supervisor import Service


@app.command()
def run(
    buildings: Annotated[int, typer.Option(help="Buildings in the ASHRAE layout.")] = 200,
    households: Annotated[int, typer.Option(help="Households with PV, heat pumps, EVs and batteries.")] = 100,
    days: Annotated[int, typer.Option(help="Days of history, up to yesterday.")] = 365,
    seed: Annotated[int, typer.Option(help="The same seed makes the same community.")] = 0,
) -> None:
    """Make a community, materialise the whole graph, and show what came out.

    Its models are quick ones, unless ENERGY_ASSETS_TRAINING_EFFORT says `full`; the weekly training makes full ones.
    """
    # Before the graph is imported: its schedules read the settings, which stand from then on.
    os.environ.setdefault("ENERGY_ASSETS_TRAINING_EFFORT", "quick")
    from energy_assets.main_job import carry_out, history_steps, today_utc
    from energy_assets.showcase import declare_community, show_outcome

    settings = load_settings()
    today = today_utc()
    first = today - timedelta(days=days)
    declare_community(
        settings,
        buildings=buildings,
        households=households,
        first=first,
        last=today - timedelta(days=1),
        seed=seed,
        console=console,
    )
    seconds = carry_out(history_steps(first=first, today=today), settings=settings, console=console)
    show_outcome(settings, today=today, seconds=seconds, console=console)


@app.command()
def nightly() -> None:
    """Do once, now, what the schedules do every night."""
    from energy_assets.main_job import carry_out, nightly_steps, today_utc
    from energy_assets.showcase import show_outcome

    settings = load_settings()
    today = today_utc()
    seconds = carry_out(nightly_steps(today=today), settings=settings, console=console)
    show_outcome(settings, today=today, seconds=seconds, console=console)


@app.command()
def backfill(
    first: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="First UTC day of data.")],
    today: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day to stand on.")] = None,
) -> None:
    """Materialise the whole graph over the history of the declared sources, up to a night of your choice."""
    from energy_assets.main_job import carry_out, history_steps, today_utc
    from energy_assets.showcase import show_outcome

    settings = load_settings()
    standing_on = today.date() if today else today_utc()
    seconds = carry_out(history_steps(first=first.date(), today=standing_on), settings=settings, console=console)
    show_outcome(settings, today=standing_on, seconds=seconds, console=console)


@app.command()
def up() -> None:
    """Start the UIs of Dagster and MLflow, the daemon, broker, recorder, publisher and meters; Ctrl-C stops all."""
    from energy_assets.supervisor import apart, supervisor_of

    settings = load_settings()
    services, environment = apart(_prepared, settings)
    supervisor = supervisor_of(settings, more=services, environment=environment)
    try:
        supervisor.start(announce=lambda name: console.print(f"  {name} is ready"))
        console.print(f"\nDagster  http://{settings.host}:{settings.dagster_port}")
        console.print(f"MLflow   http://{settings.host}:{settings.mlflow_port}")
        if environment:
            console.print(f"Broker   mqtt://{settings.host}:{settings.broker_port}  (watch it: energy check)")
        if any(service.name == "simulator" for service in services):
            console.print(f"         {settings.live_meters} simulated meters are recorded as source live")
        console.print("Schedules and sensors are on. Ctrl-C stops everything.\n")
        code = supervisor.watch()
    finally:
        supervisor.stop()
    raise typer.Exit(code)


def _prepared(settings: Settings) -> tuple[list[Service], dict[str, str]]:
    """Make the instance and declare the live source; return the live services and how the others find the broker."""
    from energy_assets.instance import prepare_instance
    from energy_assets.live import environment_of, live_services

    prepare_instance(settings)
    return live_services(settings), environment_of(settings)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help='A query over the lake, e.g. "FROM readings.interval LIMIT 5".')],
) -> None:
    """Ask the lake a question in SQL; tables are named schema.table, times are UTC."""
    import polars as pl

    from energy_assets.lake import Lake
    from energy_assets.sql import Query

    with pl.Config(tbl_rows=50, tbl_cols=20, fmt_str_lengths=60, tbl_hide_dataframe_shape=True):
        console.print(str(Lake.from_settings(load_settings()).query(Query(text=query))))


@app.command()
def doctor() -> None:
    """Check settings, disk, lake, sources, models, schedules and the last night, and say what to do about troubles."""
    from energy_assets.doctor import diagnose

    troubles = diagnose(load_settings(), now=datetime.now(UTC), console=console)
    raise typer.Exit(1 if troubles else 0)
