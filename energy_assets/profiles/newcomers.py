"""The peers of meters too young for a profile of their own: the cluster that their few days look most like.

Pure functions on frames. What a few days cannot tell stays untold: such a meter has no group, and whoever asks falls
back on what is declared of it.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from energy_assets.contracts import Window
from energy_assets.contracts.profiles import DAY_KINDS, SEASONS
from energy_assets.profiles.clocks import at_site_clocks
from energy_assets.profiles.vectors import HOURS, PARTS, Floats

PEER_GROUPS = pl.Schema({"meter_id": pl.String(), "peer_group": pl.String(), "is_provisional": pl.Boolean()})
LEAST_HOURS = 24
"""Hours of the clock that a meter must have shown: a part of a day looks like anything."""
LEAST_CERTAINTY = 0.15
"""How much nearer the nearest cluster must be than the second, as a share of the second's distance."""
MOST_DISTANCE = 0.6
"""Farther from every cluster than this, at unit length over the hours seen, a meter is like none (cosine 0.82)."""
_YOUNG = ("no_readings", "fewer_than_")


def peer_groups(
    readings: pl.DataFrame,
    *,
    members: pl.DataFrame,
    centroids: pl.DataFrame,
    meters: pl.DataFrame,
    sites: pl.DataFrame,
    calendar: pl.DataFrame,
    issued_at_utc: datetime,
) -> pl.DataFrame:
    """Return PEER_GROUPS: the cluster of each meter that has one, and of young meters that their first days point to.

    Fits as of later than the issue and readings that were not known then count for nothing. `members` are rows of
    `profiles.meters`, `centroids` of `profiles.centroids`, `readings` of `readings.interval`, `calendar` of
    `features.site_days`. A meter that had days enough and is like no cluster gets none here either.
    """
    settled = _settled(members, issued_at_utc=issued_at_utc)
    young = young_of(meters, members=members, issued_at_utc=issued_at_utc)
    newest = centroids.filter(
        pl.col("as_of_utc") <= issued_at_utc, pl.col("cluster_id").is_in(settled["peer_group"].unique().implode())
    ).filter(pl.col("as_of_utc") == pl.col("as_of_utc").max().over("cluster_id"))
    parts = [PEER_GROUPS.to_frame(), settled]
    known = readings.filter(pl.col("available_at_utc") <= issued_at_utc)
    if young.height and newest.height and known.height:
        days = _first_days(known, meters=young, sites=sites, calendar=calendar)
        for population, rows in young.with_columns(
            population=pl.concat_str("commodity", "direction", separator=".")
        ).group_by("population"):
            parts.append(
                _nearest(
                    days.join(rows.select("meter_id"), on="meter_id", how="semi"),
                    centroids=newest.filter(pl.col("cluster_id").str.starts_with(f"{population[0]}.")),
                )
            )
    return pl.concat(parts).sort("meter_id")


def young_of(meters: pl.DataFrame, *, members: pl.DataFrame, issued_at_utc: datetime) -> pl.DataFrame:
    """Return the meters that had no cluster at an issue for want of days, rather than because they are like none."""
    known = members.filter(pl.col("as_of_utc") <= issued_at_utc)
    old = known.filter(
        pl.col("unassigned_because").is_not_null(),
        ~pl.any_horizontal(pl.col("unassigned_because").str.starts_with(each) for each in _YOUNG),
    )
    settled = _settled(members, issued_at_utc=issued_at_utc)
    return meters.join(pl.concat([settled.select("meter_id"), old.select("meter_id")]), on="meter_id", how="anti")


def _settled(members: pl.DataFrame, *, issued_at_utc: datetime) -> pl.DataFrame:
    return members.filter(
        pl.col("cluster_id").is_not_null(),
        pl.col("as_of_utc") <= issued_at_utc,
        pl.col("fitted_as_of_utc") <= issued_at_utc,
    ).select("meter_id", peer_group="cluster_id", is_provisional=pl.lit(value=False))


def _first_days(
    readings: pl.DataFrame, *, meters: pl.DataFrame, sites: pl.DataFrame, calendar: pl.DataFrame
) -> pl.DataFrame:
    """Return mean power and hours per meter, season, kind of day and local hour of what was read of young meters."""
    rows = readings.filter(pl.col("energy_kwh").is_finite(), pl.col("interval_minutes") <= 60).join(
        meters.select("meter_id"), on="meter_id", how="semi"
    )
    if rows.is_empty():
        return rows.select("meter_id").with_columns(position=pl.lit(0), mean_kw=pl.lit(0.0), hours=pl.lit(0.0))
    begin, end = rows.select(first=pl.col("starts_at_utc").min(), last=pl.col("starts_at_utc").max()).row(0)
    places = pl.DataFrame(
        PARTS, schema={"season": pl.String, "day_kind": pl.String, "local_hour": pl.Int64}, orient="row"
    ).with_row_index("position")
    return (
        at_site_clocks(rows, meters=meters, sites=sites, window=Window.of_days(begin.date(), end.date()))
        .join(calendar, on=["site_id", "local_date"], how="inner", validate="m:1")
        .join(places, on=["season", "day_kind", "local_hour"], how="inner", validate="m:1")
        .group_by("meter_id", "position")
        .agg(pl.col("energy_kwh").sum(), hours=pl.col("interval_minutes").sum() / 60)
        .select("meter_id", "position", "hours", mean_kw=pl.col("energy_kwh") / pl.col("hours"))
    )


def _nearest(days: pl.DataFrame, *, centroids: pl.DataFrame) -> pl.DataFrame:
    """Return the group of each meter whose days are clearly nearest to one centroid over the hours that it showed."""
    ids = centroids["cluster_id"].unique().sort().to_list()
    shape = centroids.filter(pl.col("part") == "shape").sort("cluster_id", "position")["value"].to_numpy()
    if not ids or days.is_empty():
        return PEER_GROUPS.to_frame()
    middles = shape.reshape(len(ids), len(PARTS))
    names = days["meter_id"].unique().sort()
    power, weight = np.zeros((len(names), len(PARTS))), np.zeros((len(names), len(PARTS)))
    place = days["meter_id"].cast(pl.Enum(names)).to_physical().to_numpy(), days["position"].to_numpy()
    power[place], weight[place] = days["mean_kw"].to_numpy(), days["hours"].to_numpy()
    distance = _distances(power, weight=weight, middles=middles)
    ranked = np.sort(distance, axis=1)
    second = ranked[:, 1] if len(ids) > 1 else np.full(len(names), np.inf)
    clear = (ranked[:, 0] <= MOST_DISTANCE) & (ranked[:, 0] <= (1 - LEAST_CERTAINTY) * second)
    clear &= _clock_hours(weight) >= LEAST_HOURS
    return pl.DataFrame(
        {"meter_id": names, "peer_group": [ids[each] for each in distance.argmin(axis=1)]},
        schema_overrides={"peer_group": pl.String},
    ).filter(pl.Series(clear)).with_columns(is_provisional=pl.lit(value=True))  # fmt: skip


def _distances(power: Floats, *, weight: Floats, middles: Floats) -> Floats:
    """Return [meter, cluster] distances of what was seen from centroids, both at unit length over the hours seen."""

    def unit(values: Floats) -> Floats:
        length = np.sqrt((weight * values**2).sum(axis=-1, keepdims=True))
        scaled: Floats = values / np.maximum(length, 1e-12)
        return scaled

    own = unit(power)
    columns = [
        np.sqrt((weight * (own - unit(np.broadcast_to(each, power.shape))) ** 2).sum(axis=1)) for each in middles
    ]
    return np.stack(columns, axis=1)


def _clock_hours(weight: Floats) -> Floats:
    """Return [meter] how many of the 24 hours of the clock were seen, on any kind of day."""
    seen: Floats = (weight.reshape(len(weight), len(SEASONS) * len(DAY_KINDS), HOURS) > 0).any(axis=1).sum(axis=1)
    return seen
