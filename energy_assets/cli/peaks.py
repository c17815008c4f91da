"""Commands on published forecasts: peaks (how high, when), limits (how likely beyond), the scenarios behind them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from energy_assets.cli.forecasts import forecast
from energy_assets.cli.root import console
from energy_assets.errors import LakeError
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    from energy_assets.forecasts.outcomes import Scenarios

_HOURS_SHOWN = 3


@forecast.command("peaks")
def peaks(
    node: Annotated[
        str, typer.Option(help="A meter_id, or `premise, site or portfolio|commodity|direction`.")
    ] = "portfolio|electricity|net",
    limit_kw: Annotated[float | None, typer.Option(help="Tell how likely the load is above it in every slot.")] = None,
    issued: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="Time of the issue, in UTC; default: the newest."),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="IANA zone of the days; default: that of the node's site.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV or Parquet file for the likelihood of every slot.")] = None,
) -> None:
    """Say how high the load of a node may rise on the coming days, at which hour, and how likely above a limit."""
    from energy_assets.readings.own_files import write_table

    moment, rows, sites, published = _published(issued)
    drawn = published.of(node)
    zone = timezone or _zone_of(rows.filter(pl.col("node_id") == node), sites)
    console.print(f"{node}, issued {moment:%Y-%m-%d %H:%M} UTC, days of {zone}", highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("day", "peak kW", "80 % within", "likeliest hours"):
        table.add_column(name, justify="left" if name in ("day", "likeliest hours") else "right")
    for day in drawn.daily_peaks(timezone=zone).iter_rows(named=True):
        likely = sorted(day["hours"], key=lambda each: each["probability"], reverse=True)[:_HOURS_SHOWN]
        hours = ", ".join(f"{each['hour']:02d}:00 {each['probability']:.0%}" for each in likely)
        table.add_row(str(day["local_date"]), f"{day['q50']:,.4g}", f"{day['q10']:,.4g} .. {day['q90']:,.4g}", hours)
    console.print(table)
    if limit_kw is None:
        return
    above = drawn.likelihood_above(limit_kw)
    worst = above.sort("probability", descending=True).row(0, named=True)
    console.print(
        f"Above {limit_kw:,.4g} kW: likeliest at {worst['starts_at_utc']:%Y-%m-%d %H:%M} UTC, "
        f"{worst['probability']:.0%}; "
        f"more likely than not in {above.filter(pl.col('probability') > 0.5).height} of {above.height} slots",
        highlight=False,
    )
    if out is not None:
        write_table(above, out)


@forecast.command("limits")
def limits(
    issued: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="Time of the issue, in UTC; default: the newest."),
    ] = None,
    shown: Annotated[int, typer.Option(min=1, help="How many nodes to show.")] = 20,
    out: Annotated[Path | None, typer.Option(help="CSV or Parquet file for every node and slot.")] = None,
) -> None:
    """List which connections may be passed on the coming days: chances of forecasts.limits, the likeliest first."""
    from energy_assets.contracts import FORECASTS_LIMITS, FORECASTS_LOAD
    from energy_assets.forecasts.limits import likeliest_beyond
    from energy_assets.lake import Lake
    from energy_assets.readings.own_files import write_table

    lake = Lake.from_settings(load_settings())
    moment = issued.replace(tzinfo=UTC) if issued else _newest(lake.read(FORECASTS_LOAD, columns=["issued_at_utc"]))
    rows = lake.read(FORECASTS_LIMITS, where={"issued_at_utc": moment})
    lake.close()
    if rows.is_empty():
        raise LakeError(
            f"No limit is known of the forecast issued at {moment:%Y-%m-%d %H:%M} UTC. State limit_kw of premises or "
            f"sites, capacity_kw of meters, or the setting portfolio_limit_kw; the next night tells the chances."
        )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("node", "limit kW", "likeliest", "at UTC", "hours expected"):
        table.add_column(name, justify="left" if name in ("node", "at UTC") else "right", overflow="fold")
    for row in likeliest_beyond(rows).head(shown).iter_rows(named=True):
        at = f"{row['likeliest_at_utc']:%Y-%m-%d %H:%M}" if row["highest_probability"] else "-"
        chance, hours = f"{row['highest_probability']:.0%}", f"{row['hours_expected']:.1f}"
        table.add_row(row["node_id"], f"{row['limit_kw']:,.4g}", chance, at, hours)
    console.print(
        f"Chances to pass {rows['node_id'].n_unique()} limits, issued {moment:%Y-%m-%d %H:%M} UTC", highlight=False
    )
    console.print(table)
    if out is not None:
        write_table(rows, out)


@forecast.command("scenarios")
def scenarios(
    node: Annotated[list[str], typer.Option(help="A node as for `peaks`; give the option again for more.")],
    out: Annotated[Path, typer.Option(help="CSV or Parquet file for the scenarios.")],
    issued: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="Time of the issue, in UTC; default: the newest."),
    ] = None,
) -> None:
    """Write the joint scenarios that an issue was published with: a node's are the sums of its meters', one by one."""
    from energy_assets.readings.own_files import check_writable, write_table

    check_writable(out)
    moment, _, _, published = _published(issued)
    table = pl.concat([published.of(each).rows() for each in node])
    write_table(table, out)
    console.print(
        f"{table['scenario'].n_unique()} scenarios of {len(node)} nodes, issued {moment:%Y-%m-%d %H:%M} UTC, in {out}",
        highlight=False,
    )


def _published(issued: datetime | None) -> tuple[datetime, pl.DataFrame, pl.DataFrame, Scenarios]:
    """Return the issue that is asked for or the newest, its rows, the sites, and its scenarios."""
    from energy_assets.contracts import FORECASTS_LOAD, FORECASTS_RECIPES, METERS, SITES
    from energy_assets.forecasts.outcomes import published_scenarios
    from energy_assets.lake import Lake

    lake = Lake.from_settings(load_settings())
    moment = issued.replace(tzinfo=UTC) if issued else _newest(lake.read(FORECASTS_LOAD, columns=["issued_at_utc"]))
    rows = lake.read(FORECASTS_LOAD, where={"issued_at_utc": moment})
    recipe = lake.read(FORECASTS_RECIPES, where={"issued_at_utc": moment})
    meters, sites = lake.read(METERS), lake.read(SITES)
    lake.close()
    if rows.is_empty():
        raise LakeError(f"The lake holds no forecast issued at {moment:%Y-%m-%d %H:%M} UTC; marts.outlook shows which.")
    return moment, rows, sites, published_scenarios(rows, recipe=recipe, meters=meters)


def _newest(issues: pl.DataFrame) -> datetime:
    newest = issues["issued_at_utc"].max()
    if not isinstance(newest, datetime):
        raise LakeError("The lake holds no forecast; `energy nightly` makes one.")
    return newest


def _zone_of(rows: pl.DataFrame, sites: pl.DataFrame) -> str:
    """Return the zone of a node's site, UTC for the portfolio."""
    here = sites.join(rows.select("site_id").unique(), on="site_id", how="semi")["timezone"]
    return str(here[0]) if here.len() == 1 else "UTC"
