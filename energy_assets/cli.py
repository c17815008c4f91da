"""The command `energy`: each command a few lines over the library. It reads the clock and prints; nothing else does."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from energy_assets.errors import EnergyAssetsError
from energy_assets.settings import load_settings

app = typer.Typer(
    help="Energy data and forecasting you can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
ingest = typer.Typer(
    help="Land a source of readings in the lake, and declare it for the nightly run.", no_args_is_help=True
)
download = typer.Typer(help="Fetch a public data set (needs the internet).", no_args_is_help=True)
app.add_typer(ingest, name="ingest")
app.add_typer(download, name="download")

console = Console()


@app.command()
def run(
    buildings: Annotated[int, typer.Option(help="Buildings in the ASHRAE layout.")] = 200,
    households: Annotated[int, typer.Option(help="Households with PV, heat pumps, EVs and batteries.")] = 100,
    days: Annotated[int, typer.Option(help="Days of history, up to yesterday.")] = 365,
    seed: Annotated[int, typer.Option(help="The same seed makes the same community.")] = 0,
) -> None:
    """Make a community, materialise the whole graph, and show what came out."""
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
    """Start the Dagster UI and daemon and the MLflow UI; Ctrl-C stops them all."""
    from energy_assets.supervisor import supervisor_of

    settings = load_settings()
    supervisor = supervisor_of(settings)
    try:
        supervisor.start(announce=lambda name: console.print(f"  {name} is ready"))
        console.print(f"\nDagster  http://{settings.host}:{settings.dagster_port}")
        console.print(f"MLflow   http://{settings.host}:{settings.mlflow_port}")
        console.print("Schedules and sensors are on. Ctrl-C stops everything.\n")
        code = supervisor.watch()
    finally:
        supervisor.stop()
    raise typer.Exit(code)


@ingest.command("ashrae")
def ingest_ashrae(
    folder: Annotated[Path, typer.Argument(help="Folder with train.csv, building_metadata.csv, weather_train.csv.")],
    name: Annotated[str, typer.Option(help="Name of the source.")] = "ashrae",
) -> None:
    """Ingest ASHRAE Great Energy Predictor III as Kaggle ships it."""
    _ingest(name=name, kind="ashrae", path=folder)


@ingest.command("bdg2")
def ingest_bdg2(
    folder: Annotated[Path, typer.Argument(help="Folder of the Building Data Genome 2 repository or its data folder.")],
    name: Annotated[str, typer.Option(help="Name of the source.")] = "bdg2",
) -> None:
    """Ingest the Building Data Genome Project 2."""
    _ingest(name=name, kind="bdg2", path=folder)


@ingest.command("table")
def ingest_table(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet file, or a glob of parts.")],
    mapping: Annotated[Path, typer.Option(help="TOML file that says what the columns mean.")],
    name: Annotated[str | None, typer.Option(help="Name of the source; default: the file's.")] = None,
    weather_observed: Annotated[Path | None, typer.Option(help="Observed weather in the contract's columns.")] = None,
    weather_forecast: Annotated[Path | None, typer.Option(help="Weather forecasts in the contract's columns.")] = None,
) -> None:
    """Ingest any table of readings with a declared mapping."""
    from energy_assets.showcase import slug_of

    weather = {"weather_observed": weather_observed, "weather_forecast": weather_forecast}
    options = {key: str(path.absolute()) for key, path in weather.items() if path is not None}
    _ingest(name=name or slug_of(file), kind="table", path=file, mapping=mapping, options=options)


@download.command("ashrae")
def download_ashrae(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    username: Annotated[str, typer.Option(envvar="KAGGLE_USERNAME", help="Your Kaggle user name.")],
    key: Annotated[str, typer.Option(envvar="KAGGLE_KEY", help="Your Kaggle API key.")],
) -> None:
    """Fetch the competition's files from Kaggle with your own account; accept its rules on its page first."""
    from energy_assets.readings import download as library

    library.download_ashrae(folder, username=username, key=key)
    console.print(f"Done. Next: energy ingest ashrae {folder}")


@download.command("bdg2")
def download_bdg2(folder: Annotated[Path, typer.Argument(help="Where the files go.")]) -> None:
    """Fetch the Building Data Genome Project 2 (CC BY 4.0)."""
    from energy_assets.readings import download as library

    library.download_bdg2(folder)
    console.print(f"Done. Next: energy ingest bdg2 {folder}")


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


@app.command()
def price(
    net_load: Annotated[
        Path, typer.Option(help="CSV or Parquet: starts_at_utc and q10, q50, q90 (kWh) or energy_kwh.")
    ],
    out: Annotated[Path, typer.Option(help="Where the curves go: .csv, .parquet or .json.")],
    zone: Annotated[Path | None, typer.Option(help="TOML file of the zone; defaults run without.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where a JSON report goes.")] = None,
) -> None:
    """Price the days of your own net load file, without an instance."""
    from energy_assets.prices.files import price_file

    curves = price_file(net_load, zone_path=zone, out_path=out, report_path=report, published_at_utc=datetime.now(UTC))
    console.print(f"{len(curves)} days priced in {out}")


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
    """Check settings, lake, registry and sources, and say what to do about what is wrong."""
    from energy_assets.showcase import diagnose

    troubles = diagnose(load_settings(), console=console)
    raise typer.Exit(1 if troubles else 0)


def _ingest(
    *, name: str, kind: str, path: Path, mapping: Path | None = None, options: dict[str, str] | None = None
) -> None:
    from pydantic import ValidationError

    from energy_assets.errors import ConfigError
    from energy_assets.ingestion import land
    from energy_assets.lake import Lake
    from energy_assets.readings.source import Source, save_source

    settings = load_settings()
    try:
        source = Source(
            name=name,
            kind=kind,
            path=path.absolute(),
            mapping=mapping.absolute() if mapping else None,
            options=options or {},
        )
    except ValidationError as error:
        raise ConfigError(f"The source {name!r} is not well declared: {error.errors()[0]['msg']}.") from error
    counts = land(Lake.from_settings(settings), source, window=None, now=datetime.now(UTC))
    declared = save_source(settings.sources_folder, source)
    console.print(
        f"[bold]{name}[/]: {counts.rows_in:,} rows in = {counts.stored:,} stored + {counts.duplicate:,} duplicate "
        f"+ {counts.quarantined:,} quarantined"
    )
    if counts.quarantined:
        console.print('Why: energy sql "SELECT reason, count(*) FROM readings.quarantine GROUP BY ALL"')
    console.print(f"Declared in {declared}; the nightly run reads it from now on.")


def main() -> None:
    """Run the command; an error that the package raises on purpose is a message, not a traceback."""
    # Waiting OpenMP threads that spin starve the other processes of a small machine; XGBoost reads this when loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except EnergyAssetsError as error:
        console.print(f"[bold red]energy:[/] {error}", highlight=False)
        sys.exit(1)
