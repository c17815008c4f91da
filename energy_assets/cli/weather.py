"""The command on weather: fetch."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.settings import load_settings

weather = typer.Typer(help="Weather of a place.", no_args_is_help=True)
app.add_typer(weather, name="weather")


@weather.command("fetch")
def fetch(
    latitude: Annotated[float, typer.Option(min=-90, max=90, help="Degrees north.")],
    longitude: Annotated[float, typer.Option(min=-180, max=180, help="Degrees east.")],
    first: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day; default: forecast.")] = None,
    last: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day; default: the first.")] = None,
    model: Annotated[str, typer.Option(help="Weather model of a forecast, by Open-Meteo's name.")] = "best_match",
    out: Annotated[Path | None, typer.Option(help="Parquet or CSV file; default: the screen.")] = None,
) -> None:
    """Fetch hourly weather from Open-Meteo (needs the internet): past days, or the forecast of now."""
    import polars as pl

    from energy_assets.contracts import Window
    from energy_assets.weather.open_meteo import ATTRIBUTION, Place
    from energy_assets.weather_ingestion import WeatherService

    now = datetime.now(UTC)
    client = WeatherService.from_settings(load_settings(), now=now).client
    place = Place(site_id=f"{latitude:.4f},{longitude:.4f}", latitude=latitude, longitude=longitude)
    if first is None:
        rows = client.forecast(place, now=now, model=model)
    else:
        rows = client.observed(place, Window.of_days(first.date(), (last or first).date()), now=now)
    if out is None:
        with pl.Config(tbl_rows=48, tbl_cols=20, tbl_hide_dataframe_shape=True):
            console.print(str(rows.drop("site_id")))
    else:
        (rows.write_parquet if out.suffix == ".parquet" else rows.write_csv)(out)
        console.print(f"{rows.height:,} hours in {out}")
    console.print(ATTRIBUTION)
