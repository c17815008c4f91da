"""Commands that bring readings in: ingest and download."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.settings import load_settings

ingest = typer.Typer(
    help="Land a source of readings in the lake, and declare it for the nightly run.", no_args_is_help=True
)
download = typer.Typer(help="Fetch a public data set (needs the internet).", no_args_is_help=True)
app.add_typer(ingest, name="ingest")
app.add_typer(download, name="download")


OpenMeteoOption = Annotated[
    bool, typer.Option("--open-meteo", help="Take the weather of its sites from Open-Meteo, by their coordinates.")
]


@ingest.command("ashrae")
def ingest_ashrae(
    folder: Annotated[Path, typer.Argument(help="Folder with train.csv, building_metadata.csv, weather_train.csv.")],
    name: Annotated[str, typer.Option(help="Name of the source.")] = "ashrae",
    open_meteo: OpenMeteoOption = False,
) -> None:
    """Ingest ASHRAE Great Energy Predictor III as Kaggle ships it."""
    _ingest(name=name, kind="ashrae", path=folder, options=_weather(open_meteo=open_meteo))


@ingest.command("bdg2")
def ingest_bdg2(
    folder: Annotated[Path, typer.Argument(help="Folder of the Building Data Genome 2 repository or its data folder.")],
    name: Annotated[str, typer.Option(help="Name of the source.")] = "bdg2",
    open_meteo: OpenMeteoOption = False,
) -> None:
    """Ingest the Building Data Genome Project 2, its weather with it."""
    _ingest(name=name, kind="bdg2", path=folder, options=_weather(open_meteo=open_meteo))


@ingest.command("table")
def ingest_table(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet file, or a glob of parts.")],
    mapping: Annotated[Path, typer.Option(help="TOML file that says what the columns mean.")],
    name: Annotated[str | None, typer.Option(help="Name of the source; default: the file's.")] = None,
    weather_observed: Annotated[Path | None, typer.Option(help="File of observed weather.")] = None,
    weather_forecast: Annotated[Path | None, typer.Option(help="File of weather forecasts.")] = None,
    weather_mapping: Annotated[
        Path | None, typer.Option(help="TOML file that says what the weather files' columns mean.")
    ] = None,
    open_meteo: OpenMeteoOption = False,
) -> None:
    """Ingest any table of readings with a declared mapping."""
    from energy_assets.showcase import slug_of

    options = _weather(
        open_meteo=open_meteo,
        weather_observed=weather_observed,
        weather_forecast=weather_forecast,
        weather_mapping=weather_mapping,
    )
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


def _weather(*, open_meteo: bool, **files: Path | None) -> dict[str, str]:
    from energy_assets.weather_ingestion import OPEN_METEO

    options = {key: str(path.absolute()) for key, path in files.items() if path is not None}
    return options | ({"weather": OPEN_METEO} if open_meteo else {})


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
