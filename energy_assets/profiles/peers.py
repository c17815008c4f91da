"""What profiles say of one meter: which meters are its peers, and which of its days are unlike its own profile.

Pure functions on the tables of `profiles`; who wants to use them calls them with frames.
"""

from __future__ import annotations

import polars as pl

from energy_assets.contracts.profiles import SEASONS

FEWEST_PEERS = 3
LEAST_SIMILARITY_DAYS = 10
_SHAPE_SCHEMA = {
    "meter_id": pl.String,
    "local_date": pl.Date,
    "similarity": pl.Float64,
    "other_kind_similarity": pl.Float64,
    "score": pl.Float64,
}
_CELL = ("season", "day_kind", "local_hour")


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


def shape_scores(days: pl.DataFrame, *, shapes: pl.DataFrame) -> pl.DataFrame:
    """Return how unlike its own profile each day of a meter is: meter_id, local_date, similarities and score.

    `days` has meter_id, local_date, local_hour, season, day_kind and energy_kwh (or any multiple of power); `shapes`
    are rows of `profiles.shapes`. `similarity` is the cosine of the day's hours with the profile of its own season
    and kind, `other_kind_similarity` with that of the other kind; the score, 0 to 1, is how far the day lies from its
    own profile, and above a half only where it is more like the other kind than its own: a weekend left on.
    """
    profile = shapes.filter(pl.col("season").is_in(SEASONS)).select("meter_id", *_CELL, "mean_kw")
    other = profile.with_columns(
        day_kind=pl.when(pl.col("day_kind") == "rest").then(pl.lit("working")).otherwise(pl.lit("rest"))
    ).rename({"mean_kw": "other_kw"})
    key = ["meter_id", *_CELL]
    rows = (
        days.drop_nulls("energy_kwh")
        .join(profile, on=key, how="inner", validate="m:1")
        .join(other, on=key, how="left", validate="m:1")
    )
    if rows.is_empty():
        return pl.DataFrame(schema=_SHAPE_SCHEMA)
    energy = pl.col("energy_kwh")

    def cosine(name: str) -> pl.Expr:
        size = (energy.pow(2).sum() * pl.col(name).pow(2).sum()).sqrt()
        return pl.when(size > 0).then((energy * pl.col(name)).sum() / size)

    found = rows.group_by("meter_id", "local_date").agg(
        similarity=cosine("mean_kw"), other_kind_similarity=cosine("other_kw"), hours=pl.len()
    )
    away = (1 - pl.col("similarity")).clip(0, 1)
    toward = (pl.col("other_kind_similarity") - pl.col("similarity")).clip(0, 1).fill_null(0)
    score = 0.5 * away / (away + 0.05) + 0.5 * toward / (toward + 0.02)
    return (
        found.filter(pl.col("hours") >= LEAST_SIMILARITY_DAYS)
        .with_columns(score=score)
        .select(*_SHAPE_SCHEMA)
        .cast(pl.Schema(_SHAPE_SCHEMA))
        .sort("meter_id", "local_date")
    )
