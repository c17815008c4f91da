"""What a person sees of the main job: a community declared as sources, and afterwards what was made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from energy_assets import contracts
from energy_assets.attention import attention_page, words
from energy_assets.contracts import Window
from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY
from energy_assets.lake import Lake
from energy_assets.prices.revisions import latest
from energy_assets.readings.source import Source, save_source
from energy_assets.settings import Settings
from energy_assets.sql import Query

_ATTENTION_DAYS, _ATTENTION_EVENTS = 7, 5
_BARS = "▁▂▃▄▅▆▇█"


def declare_community(
    settings: Settings,
    *,
    buildings: int,
    households: int,
    first: date,
    last: date,
    seed: int,
    console: Console,
) -> None:
    """Generate the community up to `last` and declare it as two sources: buildings and households."""
    from energy_assets.community import generate

    folder = settings.home / "community"
    with console.status("Generating the community …") as status:
        generate(
            folder,
            buildings=buildings,
            households=households,
            first_day=first,
            last_day=last,
            seed=seed,
            progress=lambda what, share: status.update(f"Generating the community … {what} {share:.0%}"),
        )
    console.print(f"[green]✓[/] Community of {buildings} buildings and {households} households in {folder}")
    weather = {"weather_observed": "../weather/observed.parquet", "weather_forecast": "../weather/forecast.parquet"}
    if buildings:
        options = {} if households else weather
        save_source(
            settings.sources_folder, Source(name="ashrae", kind="ashrae", path=folder / "ashrae", options=options)
        )
    if households:
        readings = folder / "households"
        save_source(
            settings.sources_folder,
            Source(name="households", kind="table", path=readings, mapping=readings / "mapping.toml", options=weather),
        )


def show_outcome(settings: Settings, *, today: date, seconds: Mapping[str, float], console: Console) -> None:
    """Print what the lake holds, how good the forecasts were, what was flagged, and tomorrow's price curve."""
    lake = Lake.from_settings(settings)
    console.print()
    console.print(_tables(lake))
    console.print(_skill(lake))
    console.print(_ladder(lake, today=today))
    _attention(lake, today=today, currency=settings.currency_code, console=console)
    _price(lake, today=today, console=console)
    console.print(f"\nDone in {sum(seconds.values()):.0f} s. Everything is under {settings.home}.")
    console.print("Next:  [bold]make up[/] for the Dagster and MLflow UIs   ·   [bold].venv/bin/energy --help[/]")
    console.print('       [bold].venv/bin/energy sql "FROM marts.daily_energy LIMIT 5"[/]')
    lake.close()


def slug_of(file: Path) -> str:
    """Return a source name made from a file's name."""
    slug = re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_")
    return slug if slug[:1].isalpha() else f"table_{slug}"


def price_drawing(prices: list[float]) -> str:
    """Return one bar character a slot, from the lowest to the highest price."""
    low, high = min(prices), max(prices)
    span = high - low
    return "".join(_BARS[round((price - low) / span * (len(_BARS) - 1)) if span else 0] for price in prices)


def _grid(title: str) -> Grid:
    """Return an empty table that is at least as wide as its title."""
    return Grid(title=title, title_justify="left", min_width=len(title))


def _tables(lake: Lake) -> Grid:
    grid = _grid("In the lake")
    grid.add_column("table")
    grid.add_column("rows", justify="right")
    for table in contracts.TABLES:
        rows = lake.count(table)
        if rows:
            grid.add_row(table.qualified_name, f"{rows:,}")
    return grid


def _skill(lake: Lake) -> Grid:
    skill = lake.query(Query.from_file("energy_assets.defs", "skill_summary"))
    grid = _grid("Error of the back-filled forecasts, as they would have been issued")
    for name in ("method", "NMAE", "against last week", "in the 80 % band"):
        grid.add_column(name, justify="left" if name == "method" else "right")
    for row in skill.iter_rows(named=True):
        grid.add_row(
            row["model"],
            f"{row['nmae']:.1%}",
            "–" if row["skill"] is None else f"{row['skill']:+.0%}",
            "–" if row["coverage"] is None else f"{row['coverage']:.0%}",
        )
    return grid


def _ladder(lake: Lake, *, today: date) -> Grid:
    issued = datetime(today.year, today.month, today.day, tzinfo=UTC)
    window = Window(starts_at_utc=issued, ends_at_utc=issued + timedelta(days=1))
    rows = lake.read(contracts.FORECASTS_LOAD, window, columns=["node_id", "node_kind", "method", "reason"])
    grid = _grid("Tonight's forecast: which method served how many meters")
    for name in ("method", "meters", "because"):
        grid.add_column(name, justify="right" if name == "meters" else "left")
    served = (
        rows.filter(pl.col("node_kind") == "meter")
        .group_by("method")
        .agg(pl.col("node_id").n_unique(), pl.col("reason").drop_nulls().mode().first())
        .sort("node_id", descending=True)
    )
    for method, meters, reason in served.iter_rows():
        grid.add_row(method, f"{meters:,}", reason or "")
    return grid


def _attention(lake: Lake, *, today: date, currency: str, console: Console) -> None:
    """Print what needs attention first, and what was flagged yesterday in one line."""
    flags = lake.read(contracts.ANOMALIES_FLAGS, Window.of_days(today - timedelta(days=1)))
    rules = flags.group_by("rule").agg(meters=pl.col("meter_id").n_unique()).sort("meters", "rule", descending=True)
    told = ", ".join(f"{words(rule)} {meters}" for rule, meters in rules.iter_rows()) or "nothing"
    events = lake.read(contracts.ANOMALIES_EVENTS, where={"is_alert": True})
    since = datetime(today.year, today.month, today.day, tzinfo=UTC) - timedelta(days=_ATTENTION_DAYS)
    recent = events.filter(pl.col("last_seen_utc") > since, pl.col("state").is_in(["open", "closed"]))
    console.print("\n[italic]What needs attention first[/]")
    if recent.is_empty():
        console.print("Nothing.")
    else:
        ranking = lake.read(contracts.ANOMALIES_RANKING)
        console.print(attention_page(recent, ranking=ranking, currency=currency, limit=_ATTENTION_EVENTS))
        console.print(
            "`energy anomalies list` shows all of them, `energy anomalies show ID` draws one.", highlight=False
        )
    console.print(f"\nFlags of yesterday, by rule and meters: {told}.", highlight=False, soft_wrap=True)


def _price(lake: Lake, *, today: date, console: Console) -> None:
    curves = latest(lake.read(contracts.PRICES_CURVES, where={"delivery_date": today + timedelta(days=1)}))
    if curves.is_empty():
        console.print("No price curve for tomorrow: no zone has a forecast net load.")
        return
    zones = (
        curves.group_by("zone_id").agg(pl.col("net_load_q50_kwh").sum()).sort("net_load_q50_kwh")["zone_id"].to_list()
    )
    zone = next((each for each in zones if each.startswith("households")), zones[-1])
    curve = curves.filter(pl.col("zone_id") == zone).sort("starts_at_utc")
    prices = [units / PRICE_UNITS_PER_CURRENCY for units in curve["price_units"]]
    dearest, cheapest = (
        curve["starts_at_utc"][prices.index(max(prices))],
        curve["starts_at_utc"][prices.index(min(prices))],
    )
    currency = curve["currency_code"][0]
    console.print(f"\nTomorrow's price in zone [bold]{zone}[/] ({curve['rung'][0]}; {len(zones)} zones in all)")
    console.print(f"  {price_drawing(prices)}  {min(prices):.3f} to {max(prices):.3f} {currency}/kWh")
    console.print(f"  cheapest at {cheapest:%H:%M} UTC, dearest at {dearest:%H:%M} UTC")
