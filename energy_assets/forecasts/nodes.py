"""The nodes above meters, which meters they sum, and with which sign.

A node is `<premise_id, site_id or portfolio>|<commodity>|<direction>`: one per premise, site and portfolio for every
commodity and direction that has meters there, and one more with the direction `net` for electricity. Net load is
energy drawn minus energy fed in: grid_import minus grid_export at premises that have grid meters (whatever else they
have is behind those), consumption minus production at all others, so that nothing counts twice.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

PORTFOLIO = "portfolio"
NET = "net"
NET_COMMODITY = "electricity"
_GRID = ["grid_import", "grid_export"]
_SIGNS = {"consumption": 1, "grid_import": 1, "production": -1, "grid_export": -1}


def node_id(place: str, *, commodity: str, direction: str) -> str:
    """Return the identifier of a node above meters."""
    return f"{place}|{commodity}|{direction}"


def zone_of_node(site_id: object, zones: Mapping[str, str]) -> str:
    """Return the time zone of a node's days, by those of sites; of the portfolio (None) that of all sites, or UTC."""
    if site_id is None:
        return next(iter(zones.values())) if len(set(zones.values())) == 1 else "UTC"
    return zones.get(str(site_id), "UTC")


def with_net_sign(meters: pl.DataFrame) -> pl.DataFrame:
    """Return meters with `net_sign`: +1 or -1 where the meter counts in its premise's net load, else 0."""
    has_grid = (pl.col("direction").is_in(_GRID) & (pl.col("commodity") == NET_COMMODITY)).any().over("premise_id")
    counts = (pl.col("commodity") == NET_COMMODITY) & (pl.col("direction").is_in(_GRID) == has_grid)
    sign = pl.col("direction").replace_strict(_SIGNS, return_dtype=pl.Int64)
    return meters.with_columns(net_sign=pl.when(counts).then(sign).otherwise(0))


def memberships(meters: pl.DataFrame) -> pl.DataFrame:
    """Return one row per node and member meter, with the sign of the meter in the node.

    `meters` follows `contracts.METERS`. Columns: node_id, node_kind, site_id (null for the portfolio), commodity,
    direction, interval_minutes and sites (how many) of the node; meter_id, member_minutes, member_site,
    member_premise, member_direction and sign of the member.
    """
    signed = with_net_sign(meters).with_columns(pl.lit(PORTFOLIO).alias(PORTFOLIO), own_direction="direction")
    own = signed.with_columns(sign=pl.lit(1, pl.Int64))
    net = signed.filter(pl.col("net_sign") != 0).with_columns(sign=pl.col("net_sign"), direction=pl.lit(NET))
    rows = pl.concat([own, net])
    levels = [
        rows.select(
            node_id=pl.concat_str(place, "commodity", "direction", separator="|"),
            node_kind=pl.lit(kind),
            site_id=pl.lit(None, pl.String) if kind == PORTFOLIO else pl.col("site_id"),
            commodity="commodity",
            direction="direction",
            meter_id="meter_id",
            sign="sign",
            member_minutes="interval_minutes",
            member_site=pl.col("site_id"),
            member_premise=pl.col("premise_id"),
            member_direction=pl.col("own_direction"),
        )
        for kind, place in (("premise", "premise_id"), ("site", "site_id"), (PORTFOLIO, PORTFOLIO))
    ]
    return pl.concat(levels).with_columns(
        interval_minutes=pl.col("member_minutes").max().over("node_id"),
        sites=pl.col("member_site").n_unique().over("node_id"),
    )
