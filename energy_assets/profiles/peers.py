"""The peers of a meter: what shares its cluster, else its site and use; a pure function on tables.

Who the peers of a meter too young for a cluster are when it is forecast stands in `newcomers`.
"""

from __future__ import annotations

import polars as pl

FEWEST_PEERS = 3


def peers_of(meter_id: str, *, members: pl.DataFrame, meters: pl.DataFrame, premises: pl.DataFrame) -> pl.DataFrame:
    """Return the peers of a meter that has no profile of its own: meter_id and `level`, which says what they share.

    `members` are rows of `profiles.meters`, `meters` of `metering.meters`, `premises` of `metering.premises`. With a
    cluster, peers are its members. Without one they are the meters of the same commodity and direction that have a
    profile, and share site and use of the premise, else the use, else the site, else nothing more: the first level
    that has three.
    """
    own = members.filter(pl.col("meter_id") == meter_id)
    others = members.filter(pl.col("meter_id") != meter_id, pl.col("cluster_id").is_not_null())
    cluster = own["cluster_id"].item() if own.height else None
    if cluster is not None:
        found = others.filter(pl.col("cluster_id") == cluster)
        return found.select("meter_id", level=pl.lit("cluster"))
    about = meters.join(premises.select("premise_id", "primary_use"), on="premise_id", how="left", validate="m:1")
    this = about.filter(pl.col("meter_id") == meter_id).row(0, named=True)
    near = about.filter(pl.col("commodity") == this["commodity"], pl.col("direction") == this["direction"]).join(
        others.select("meter_id"), on="meter_id", how="semi"
    )
    same_site = pl.col("site_id") == this["site_id"]
    same_use = pl.col("primary_use").eq_missing(pl.lit(this["primary_use"], dtype=pl.String))
    levels = (("site_and_use", same_site & same_use), ("use", same_use), ("site", same_site))
    for level, condition in levels:
        found = near.filter(condition)
        if found.height >= FEWEST_PEERS:
            return found.select("meter_id", level=pl.lit(level))
    return near.select("meter_id", level=pl.lit("commodity_and_direction"))
