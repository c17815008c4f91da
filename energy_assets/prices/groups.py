"""Who answers a price on a day: groups of a zone that its file declares by clusters of load profiles.

A zone's file names the clusters of a group and how elastic it is; how much of the load it is and at which hours comes
from the profiles of the site's own meters on days like the delivery date. Without profiles the file's numbers hold.
"""

from __future__ import annotations

import polars as pl

from energy_assets.contracts.profiles import SEASONS
from energy_assets.prices.zones import ProfileGroup, ZoneConfig

_DRAWING = ("consumption", "grid_import")
_LEAST_SHARE = 1e-6


def names_clusters(zone: ZoneConfig) -> bool:
    """Return whether a group of the zone is declared by clusters."""
    return any(group.clusters for group in zone.groups)


def with_profiles(
    zone: ZoneConfig, *, meters: pl.DataFrame, members: pl.DataFrame, shapes: pl.DataFrame, season: str, day_kind: str
) -> ZoneConfig:
    """Return the zone with share and hourly weights of its groups from the profiles of its meters on such a day.

    A group that names clusters is the site's consumers in them; those without are the other consumers together, by the
    shares that the file gives them. A group whose clusters have no meter here is left out. `meters`, `members` and
    `shapes` are rows of `metering.meters`, `profiles.meters` and `profiles.shapes`. The zone stays as it is declared
    when it names no cluster, or none of its consumers has a profile.
    """
    if not names_clusters(zone):
        return zone
    here = meters.filter(
        pl.col("site_id") == zone.zone_id, pl.col("commodity") == "electricity", pl.col("direction").is_in(_DRAWING)
    ).select("meter_id")
    named = {cluster: number for number, group in enumerate(zone.groups) for cluster in group.clusters}
    placed = here.join(members.select("meter_id", "cluster_id"), on="meter_id", how="left", validate="1:1").select(
        "meter_id", group=pl.col("cluster_id").replace_strict(named, default=-1, return_dtype=pl.Int64).fill_null(-1)
    )
    loads = _loads(placed, shapes=shapes, season=season, day_kind=day_kind)
    total = sum(sum(hours) for hours in loads.values())
    if not any(number >= 0 for number in loads) or total <= 0:
        return zone
    others = sum(group.share for group in zone.groups if not group.clusters)
    groups = []
    for number, group in enumerate(zone.groups):
        hours = loads.get(number if group.clusters else -1)
        if hours is None:
            continue
        part = 1.0 if group.clusters else group.share / others
        groups.append(_filled(group, hours=hours, share=part * sum(hours) / total))
    return zone.model_copy(update={"groups": tuple(groups)}) if groups else zone


def _filled(group: ProfileGroup, *, hours: list[float], share: float) -> ProfileGroup:
    mean = sum(hours) / len(hours)
    weights = tuple(hour / mean for hour in hours) if mean > 0 else group.hourly_weights
    return group.model_copy(update={"share": max(share, _LEAST_SHARE), "hourly_weights": weights})


def _loads(placed: pl.DataFrame, *, shapes: pl.DataFrame, season: str, day_kind: str) -> dict[int, list[float]]:
    """Return the mean power of each group at the 24 hours of such a day, kW.

    A meter that was never seen in the season counts with the mean of the seasons that it was seen in.
    """
    cells = shapes.filter(pl.col("day_kind") == day_kind, pl.col("season").is_in(SEASONS)).join(
        placed, on="meter_id", how="inner", validate="m:1"
    )
    of_season = pl.col("mean_kw").filter(pl.col("season") == season).mean()
    hourly = (
        cells.group_by("group", "meter_id", "local_hour")
        .agg(kw=pl.coalesce(of_season, pl.col("mean_kw").mean()).clip(lower_bound=0))
        .group_by("group", "local_hour")
        .agg(pl.col("kw").sort().sum())
    )
    clock = pl.DataFrame({"local_hour": range(24)}, schema={"local_hour": pl.Int64})
    return {
        int(group): clock.join(rows, on="local_hour", how="left").sort("local_hour")["kw"].fill_null(0.0).to_list()
        for (group,), rows in hourly.partition_by("group", as_dict=True).items()
    }
