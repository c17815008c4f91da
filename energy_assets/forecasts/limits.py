"""Loads beyond what a connection carries: which limits are stated, and how likely each slot is beyond them.

The chances are shares of the joint scenarios that the night publishes, counted while it sums them. A limit holds both
ways: what is drawn and what is fed in pass the same connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import polars as pl

from energy_assets.contracts import FORECASTS_LIMITS, UTC_TIME
from energy_assets.forecasts.nodes import NET, NET_COMMODITY, PORTFOLIO, node_id, with_net_sign
from energy_assets.forecasts.sampling import MICROSECONDS, Summed

NO_LIMITS = pl.Schema(
    {name: dtype for name, dtype in FORECASTS_LIMITS.polars_schema.items() if name != "issued_at_utc"}
).to_frame()


def limits_of(
    *,
    meters: pl.DataFrame,
    premises: pl.DataFrame,
    sites: pl.DataFrame,
    issued_at_utc: datetime,
    portfolio_limit_kw: float | None = None,
) -> Mapping[str, float]:
    """Return the limit in kW of every node that has one.

    `limit_kw` of a premise or site, and that of the portfolio, are of its net load of electricity. A premise without
    one has the capacities of the meters that draw, where all of them declare theirs; so it is with other commodities.
    """
    ends = pl.col("valid_to_utc")
    drawing = with_net_sign(meters.filter(ends.is_null() | (ends > issued_at_utc))).filter(
        pl.when(pl.col("commodity") == NET_COMMODITY)
        .then(pl.col("net_sign") > 0)
        .otherwise(pl.col("direction") == "consumption")
    )
    capacity = pl.col("capacity_kw")
    of_capacity = (
        drawing.group_by("premise_id", "commodity", maintain_order=True)
        .agg(limit_kw=pl.when(capacity.is_not_null().all()).then(capacity.sum()))
        .drop_nulls()
    )
    limits = {
        node_id(place, commodity=commodity, direction=NET if commodity == NET_COMMODITY else "consumption"): limit
        for place, commodity, limit in of_capacity.iter_rows()
    }
    stated = pl.concat(
        [premises.select(place="premise_id", limit="limit_kw"), sites.select(place="site_id", limit="limit_kw")]
    ).drop_nulls()
    of_net = dict(stated.iter_rows())
    if portfolio_limit_kw is not None:
        of_net[PORTFOLIO] = portfolio_limit_kw
    return limits | {node_id(place, commodity=NET_COMMODITY, direction=NET): limit for place, limit in of_net.items()}


def chances_of(nodes: Summed, *, start: int, limits_kw: Mapping[str, float]) -> pl.DataFrame:
    """Return rows of `forecasts.limits`, without their issue, of the nodes that have a limit.

    `start` is the minute since 1970 at which the slots begin.
    """
    chosen = [place for place, name in enumerate(nodes.node_ids) if name in limits_kw]
    if not chosen:
        return NO_LIMITS
    limits = np.array([limits_kw[nodes.node_ids[place]] for place in chosen])
    most = (limits * nodes.minutes / 60)[:, None, None]
    above = (nodes.energy[chosen] > most).mean(axis=2)
    below = (nodes.energy[chosen] < -most).mean(axis=2)
    node, slot = np.nonzero(nodes.is_there[chosen])
    starts = pl.Series((start + slot * nodes.minutes) * MICROSECONDS, dtype=pl.Int64).cast(UTC_TIME)
    return pl.DataFrame(
        {
            "node_id": pl.Series([nodes.node_ids[place] for place in chosen], dtype=pl.String).gather(node),
            "starts_at_utc": starts,
            "interval_minutes": np.full(len(node), nodes.minutes, dtype=np.int64),
            "limit_kw": limits[node],
            "probability": above[node, slot],
            "probability_fed_in": below[node, slot],
        }
    ).select(NO_LIMITS.columns)


def likeliest_beyond(limits: pl.DataFrame) -> pl.DataFrame:
    """Return per node of an issue when it is likeliest beyond its limit, and the hours that are to be expected."""
    chance = pl.col("probability") + pl.col("probability_fed_in")
    return (
        limits.group_by("node_id")
        .agg(
            pl.col("limit_kw").first(),
            highest_probability=chance.max(),
            likeliest_at_utc=pl.col("starts_at_utc").sort_by(chance, "starts_at_utc", descending=[True, False]).first(),
            hours_expected=(chance * pl.col("interval_minutes") / 60).sum(),
        )
        .sort("hours_expected", "node_id", descending=[True, False])
    )
