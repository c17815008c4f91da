"""Whether what was published adds up: medians of nodes and their meters, and bands and the scenarios drawn again.

Looks at rows as they were stored, so that what rounding, storage or a later write did to them is seen too.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS
from energy_assets.forecasts.nodes import PORTFOLIO, memberships
from energy_assets.forecasts.outcomes import published_scenarios
from energy_assets.forecasts.skill import Judgement

MOST_KWH = 1e-6
"""Largest difference of a sum, kWh, and as a share of sums beyond one kWh."""
_MOST_DRAWN = 500
_OUTER = [name for name in QUANTILE_COLUMNS if name != "q50"]


def judge_sums(forecasts: pl.DataFrame, *, meters: pl.DataFrame, recipe: pl.DataFrame) -> Judgement:
    """Return whether in every slot the medians of one issue add up, and its bands are those of its scenarios.

    `forecasts` are all rows of `forecasts.load` of the issue, `recipe` its rows of `forecasts.recipes`; `meters`
    follows its contract. Every median is looked at. The scenarios are drawn again for the largest node of no more than
    500 meters and for the nodes below it: these must add up to it, and its quantiles be the published ones.
    """
    sums = pl.concat([_medians(forecasts, meters=meters), *_scenarios(forecasts, meters=meters, recipe=recipe)])
    offenders = sums.filter(pl.col("difference") > MOST_KWH).sort("difference", descending=True)
    found = sums.group_by("what", maintain_order=True).agg(pl.len(), pl.col("difference").max())
    return Judgement(
        holds=offenders.is_empty(),
        evidence="; ".join(f"{what}: {count:,}, off by {most:.1e} at most" for what, count, most in found.iter_rows()),
        offenders=offenders,
    )


def _medians(forecasts: pl.DataFrame, *, meters: pl.DataFrame) -> pl.DataFrame:
    """Return what, node_id, starts_at_utc and difference: of a node's median from the sum of its meters'."""
    of_meters = forecasts.filter(pl.col("node_kind") == "meter")
    served = meters.join(of_meters.select(meter_id="node_id").unique(), on="meter_id", how="semi")
    members = memberships(served).select("node_id", "meter_id", "sign", minutes="interval_minutes")
    sums = (
        of_meters.select("starts_at_utc", "q50", meter_id="node_id")
        .join(members, on="meter_id", how="inner")
        .group_by("node_id", pl.col("starts_at_utc").dt.truncate(pl.format("{}m", "minutes")))
        .agg(sum=(pl.col("q50") * pl.col("sign")).sum())
    )
    nodes = forecasts.filter(pl.col("node_kind") != "meter").select("node_id", "starts_at_utc", "q50")
    met = nodes.join(sums, on=["node_id", "starts_at_utc"], how="left", validate="1:1")
    return _differences(met, "q50", "sum", what="medians")


def _scenarios(forecasts: pl.DataFrame, *, meters: pl.DataFrame, recipe: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the differences of a node's scenarios from the sums of those below it, and of its published quantiles."""
    published = published_scenarios(forecasts, recipe=recipe, meters=meters)
    sizes = (
        published.members.filter(pl.col("node_kind") != "premise")
        .group_by("node_id", "node_kind", "commodity", "direction", "site_id")
        .agg(meters=pl.len(), cadences=pl.col("member_minutes").n_unique())
        .filter(pl.col("meters").is_between(2, _MOST_DRAWN), pl.col("cadences") == 1)
        .sort("meters", "node_kind", "node_id", descending=[True, False, False])
    )
    if sizes.is_empty():
        return
    node = sizes.row(0, named=True)
    below = published.members.filter(
        pl.col("node_kind") == ("site" if node["node_kind"] == PORTFOLIO else "premise"),
        pl.col("commodity") == node["commodity"],
        pl.col("direction") == node["direction"],
        pl.col("site_id") == node["site_id"] if node["site_id"] else True,
    )
    whole = published.of(node["node_id"]).rows()
    parts = pl.concat(published.of(name).rows() for name in below["node_id"].unique().sort())
    slot = ["scenario", "starts_at_utc"]
    sums = parts.group_by(slot).agg(sum=pl.col("energy_kwh").sum())
    yield _differences(whole.join(sums, on=slot, how="left"), "energy_kwh", "sum", what="scenarios")
    levels = {f"drawn_{name}": pl.col("energy_kwh").quantile(LEVELS[name], "linear") for name in _OUTER}
    stored = forecasts.filter(pl.col("node_id") == node["node_id"])
    both = stored.join(whole.group_by("starts_at_utc").agg(**levels), on="starts_at_utc", how="left")
    for name in _OUTER:
        # The median is the sum of medians, and what lies beyond it on the wrong side gives way.
        side = pl.min_horizontal if name < "q50" else pl.max_horizontal
        yield _differences(both.with_columns(drawn=side(f"drawn_{name}", "q50")), name, "drawn", what="quantiles")


def _differences(rows: pl.DataFrame, one: str, other: str, *, what: str) -> pl.DataFrame:
    difference = (pl.col(one) - pl.col(other)).abs() / pl.col(one).abs().clip(1.0)
    return rows.select(
        pl.lit(what).alias("what"), "node_id", "starts_at_utc", difference=difference.fill_null(float("inf"))
    )
