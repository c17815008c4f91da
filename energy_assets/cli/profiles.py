"""Commands on load profiles: profiles fit, list, show."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import numpy as np
import polars as pl
import typer
from rich.table import Table as Grid

from energy_assets.cli.root import app, console
from energy_assets.contracts import (
    METERS,
    PREMISES,
    PROFILES_CENTROIDS,
    PROFILES_CLUSTERS,
    PROFILES_METERS,
    PROFILES_SHAPES,
    PROFILES_TRAITS,
)
from energy_assets.contracts.profiles import DAY_KINDS, SEASONS
from energy_assets.errors import ConfigError
from energy_assets.lake import Lake
from energy_assets.profiles.peers import peers_of
from energy_assets.profiles.portraits import bars_of
from energy_assets.profiles.vectors import HOURS, Floats, shape_of
from energy_assets.settings import load_settings

profiles = typer.Typer(help="Load profiles: what meters' use looks like, and which are alike.", no_args_is_help=True)
app.add_typer(profiles, name="profiles")

_WIDE = 110
_NO_PROFILES = "There are no load profiles yet: `energy profiles fit` makes them once there are meters with readings."


@profiles.command("fit")
def fit() -> None:
    """Look at the last year of every meter, fit the clusters, and assign every meter: the weekly job, now."""
    from energy_assets.main_job import carry_out, profile_steps

    carry_out(profile_steps(), settings=load_settings(), console=console)
    list_clusters(members=False)


@profiles.command("list")
def list_clusters(
    members: Annotated[bool, typer.Option("--members", help="Also name the meters of each cluster.")] = False,
) -> None:
    """Show the clusters of the newest fit with their mean working day, and why other meters have none."""
    lake = Lake.from_settings(load_settings())
    assigned, clusters = lake.read(PROFILES_METERS), lake.read(PROFILES_CLUSTERS)
    centroids = lake.read(PROFILES_CENTROIDS)
    lake.close()
    if assigned.is_empty():
        raise ConfigError(_NO_PROFILES)
    newest = clusters.filter(pl.col("as_of_utc") == pl.col("as_of_utc").max())
    counts = dict(assigned.drop_nulls("cluster_id").group_by("cluster_id").len().iter_rows())
    console.print(f"[bold]{_title(newest)}[/]")
    for (commodity, direction), rows in newest.sort(
        "commodity", "direction", "meters", descending=[False, False, True]
    ).group_by("commodity", "direction", maintain_order=True):
        console.print(_clusters_of(rows, counts=counts, centroids=centroids, title=f"{commodity}.{direction}.#"))
    reasons = assigned.drop_nulls("unassigned_because").group_by("unassigned_because").len()
    for reason, count in reasons.sort("len", descending=True).iter_rows():
        console.print(f"  {count:,} without a cluster: {_words(reason)}")
    if members:
        for (cluster_id,), rows in (
            assigned.drop_nulls("cluster_id").sort("cluster_id", "meter_id").group_by("cluster_id", maintain_order=True)
        ):
            console.print(f"\n[bold]{cluster_id}[/]: {', '.join(rows['meter_id'])}", soft_wrap=True)


@profiles.command("show")
def show_meter(meter: Annotated[str, typer.Argument(help="The meter_id, as in metering.meters.")]) -> None:
    """Show the mean days of a meter, its traits, its cluster or why it has none, and its peers."""
    lake = Lake.from_settings(load_settings())
    one = {"meter_id": meter}
    traits, cells = lake.read(PROFILES_TRAITS, where=one), lake.read(PROFILES_SHAPES, where=one)
    assigned, clusters = lake.read(PROFILES_METERS), lake.read(PROFILES_CLUSTERS)
    meters, premises = lake.read(METERS), lake.read(PREMISES)
    lake.close()
    if meters.filter(pl.col("meter_id") == meter).is_empty():
        near = meters.filter(pl.col("meter_id").str.contains(meter, literal=True))["meter_id"].sort().head(5)
        hint = f" Did you mean {', '.join(near)}?" if len(near) else " `energy profiles list --members` names them."
        raise ConfigError(f"{meter} is no meter of this instance.{hint}")
    if traits.is_empty():
        raise ConfigError(_NO_PROFILES)
    about = traits.row(0, named=True)
    console.print(
        f"[bold]{meter}[/]  {about['commodity'].replace('_', ' ')} {about['direction'].replace('_', ' ')} "
        f"at {about['site_id']}: {about['good_days']} good days of {about['days']}"
    )
    _print_cluster(assigned, clusters, meter=meter)
    if about["unusable_because"] is None:
        _print_days(cells)
        _print_traits(about)
    found = peers_of(meter, members=assigned, meters=meters, premises=premises)
    if found.height:
        shown = ", ".join(found["meter_id"].sort().head(5))
        more = f" and {found.height - 5} more" if found.height > 5 else ""
        console.print(f"\nPeers by {_words(found['level'][0])}: {shown}{more}")


def _clusters_of(rows: pl.DataFrame, *, counts: dict[str, int], centroids: pl.DataFrame, title: str) -> Grid:
    """Return the clusters of one commodity and direction as a table that fits 80 columns."""
    grid = Grid(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    # How sharp a cluster is, where the terminal has room for it.
    figures = [("silhouette", "right"), ("stability", "right")] if console.width >= _WIDE else []
    for name, justify in [
        ("#", "right"),
        ("meters", "right"),
        ("0 h  working days  24 h", "left"),
        ("", "left"),
        *figures,
    ]:
        grid.add_column(name, justify=justify, overflow="fold", no_wrap=bool(name), header_style="dim")  # type: ignore[arg-type]
    for row in rows.iter_rows(named=True):
        middle = centroids.filter(pl.col("cluster_id") == row["cluster_id"], pl.col("as_of_utc") == row["as_of_utc"])
        shape = shape_of(middle.sort("position")["value"].to_numpy())
        grid.add_row(
            row["cluster_id"].rsplit(".", 1)[1],
            f"{counts.get(row['cluster_id'], 0):,}",
            bars_of(shape[:, 0].mean(axis=0)),
            row["name"],
            *(_figure(row[name]) for name, _ in figures),
        )
    return grid


def _title(newest: pl.DataFrame) -> str:
    if newest.is_empty():
        return "No clusters: no commodity and direction has enough meters with a profile"
    return f"Clusters of load profiles, fitted on the year up to {newest['as_of_utc'][0] - timedelta(days=1):%Y-%m-%d}"


def _print_cluster(assigned: pl.DataFrame, clusters: pl.DataFrame, *, meter: str) -> None:
    rows = assigned.filter(pl.col("meter_id") == meter)
    if rows.is_empty():
        console.print("Not looked at since it was registered.")
        return
    row = rows.row(0, named=True)
    names = dict(clusters.sort("as_of_utc").select("cluster_id", "name").iter_rows())
    if row["cluster_id"] is None:
        near = row["nearest_cluster_id"]
        beside = f"; the nearest is {near}, {names[near]}" if near in names else ""
        console.print(f"No cluster: {_words(row['unassigned_because'])}{beside}.")
        return
    console.print(
        f"Cluster [bold]{row['cluster_id']}[/]: {names[row['cluster_id']]} "
        f"(distance {row['distance']:.2f}, certainty {row['certainty']:.0%})"
    )


def _print_days(cells: pl.DataFrame) -> None:
    days = np.full((len(SEASONS), len(DAY_KINDS), HOURS), np.nan)
    for season, kind, hour, power in cells.select("season", "day_kind", "local_hour", "mean_kw").iter_rows():
        days[SEASONS.index(season), DAY_KINDS.index(kind), hour] = power
    grid = Grid(
        title="Mean days, each from zero to the meter's highest hour",
        title_justify="left", title_style="", box=None, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for name in ("season", *(f"0 h  {kind} days  24 h" for kind in DAY_KINDS)):
        grid.add_column(name, no_wrap=True, header_style="dim")
    grid.add_column("kWh a day", justify="right", no_wrap=True, header_style="dim")
    top = float(np.nanmax(days))
    for number, season in enumerate(SEASONS):
        known = days[number]
        if np.isfinite(known).any():
            totals = " / ".join(f"{np.nansum(day):,.1f}" if np.isfinite(day).any() else "–" for day in known)
            grid.add_row(season, *(_bars(day, top=top) for day in known), totals)
    console.print(grid)


def _bars(day: Floats, *, top: float) -> str:
    return "" if not np.isfinite(day).any() else bars_of(np.nan_to_num(day), top=top)


def _print_traits(about: dict[str, object]) -> None:
    slope = about["temperature_slope_per_c"]
    rows = {
        "mean power": f"{about['mean_kw']:,.3g} kW",
        "load factor": _figure(about["load_factor"]),
        "baseload share": _figure(about["baseload_share"]),
        "night to day": _figure(about["night_day_ratio"]),
        "weekend to working day": _figure(about["weekend_ratio"]),
        "per kelvin": f"{slope:+.1%} of a day's energy" if isinstance(slope, float) else "–",
        "peak hour": f"{about['peak_hour']} h",
    }
    console.print(",  ".join(f"[dim]{name}[/] {value}" for name, value in rows.items()))


def _figure(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "–"


def _words(reason: str) -> str:
    kind = reason.removeprefix("no_clusters_of_")
    said = f"too few meters of {kind.replace('.', ' ')} to be clustered" if kind != reason else reason
    return said.replace("_", " ")
