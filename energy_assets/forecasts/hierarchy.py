"""Forecasts of premises, sites and the portfolio as sums over their meters, and the net load that prices need.

The median of a node is the exact sum of its meters' medians. Its other quantiles come from joint scenarios, held
between what independent and what fully dependent meters would give: never narrower, never wider. Scheme of the nodes:
`forecasts.nodes`. A node has the slots in which all its sites have forecasts, at the cadence of its coarsest meter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import FORECASTS_LOAD, QUANTILE_COLUMNS, UTC_TIME
from energy_assets.errors import ContractError
from energy_assets.forecasts.nodes import NET, NET_COMMODITY, memberships, node_id
from energy_assets.forecasts.sampling import sampled_deviations
from energy_assets.forecasts.scenarios import Dependence

_SIDES = {name: name for name in QUANTILE_COLUMNS if name != "q50"}
_REASONS = 1000  # more than there are reasons; rung and reason travel as one number
_NODE = ("node_kind", "site_id", "commodity", "direction", "interval_minutes")
_MIRROR = {"q05": "q95", "q10": "q90", "q25": "q75", "q75": "q25", "q90": "q10", "q95": "q05"}


def aggregate(
    forecasts: pl.DataFrame,
    *,
    meters: pl.DataFrame,
    dependence: Dependence,
    seed: int,
    scenarios: int = 200,
) -> pl.DataFrame:
    """Return the rows of every node above the meters of one issue time, in the columns of `contracts.FORECASTS_LOAD`.

    `forecasts` holds meter rows of one `issued_at_utc`; `meters` follows `contracts.METERS`. Deterministic by `seed`
    and independent of the order of rows. `scenarios` is even.

    Raises:
        ContractError: a forecast's meter is not registered, or an interval does not divide the coarser one of its node.
    """
    if forecasts.is_empty():
        return FORECASTS_LOAD.empty()
    registered = meters.join(forecasts.select(meter_id="node_id").unique(), on="meter_id", how="semi")
    if registered.height != forecasts["node_id"].n_unique():
        raise ContractError("Forecasts name meters that metering.meters lacks; register them before they are summed.")
    members = memberships(registered)
    odd = members.filter(pl.col("interval_minutes") % pl.col("member_minutes") != 0)
    if odd.height:
        raise ContractError(
            f"{odd['node_id'][0]} sums intervals of {odd['member_minutes'][0]} and {odd['interval_minutes'][0]} "
            f"minutes; the shorter must divide the longer."
        )
    sums = pl.concat(_exact_sums(forecasts, group) for group in members.partition_by("commodity", maintain_order=True))
    sampled = sampled_deviations(forecasts, members, dependence=dependence, seed=seed, scenarios=scenarios)
    return _combine(sums, sampled)


def net_load(forecasts: pl.DataFrame, *, zone_id: str) -> pl.DataFrame:
    """Return the net electricity load of a zone: starts_at_utc, interval_minutes, q10, q50, q90 in kWh, by time.

    A zone is a site, a premise or `portfolio`; `forecasts` are rows of one issue time as `aggregate` makes them.
    Empty where the zone has no electricity meters.
    """
    node = node_id(zone_id, commodity=NET_COMMODITY, direction=NET)
    return (
        forecasts.filter(pl.col("node_id") == node)
        .select("starts_at_utc", "interval_minutes", "q10", "q50", "q90")
        .sort("starts_at_utc")
    )


def _exact_sums(forecasts: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Return per node and slot the sum of medians, and the deviations of independent and of dependent members.

    Rows are keyed by numbers while they are many; what a node is called comes back at the end.
    """
    nodes = members.unique("node_id", maintain_order=True).select("node_id", *_NODE, "sites").with_row_index("node")
    reasons = forecasts.select("reason").unique(maintain_order=True).sort("reason").with_row_index("reason_code")
    rows = _signed_rows(forecasts, members, nodes=nodes, reasons=reasons)
    sums = (
        _added_up(rows)
        .join(nodes, on="node", how="inner")
        .filter("is_whole", pl.col("sites_present") == pl.col("sites"))
        .with_columns(rung=pl.col("worst") // _REASONS, reason_code=(pl.col("worst") % _REASONS).cast(pl.UInt32))
        .join(reasons, on="reason_code", how="left")
        .rename({"slot": "starts_at_utc"})
        .drop("node", "worst", "reason_code", "sites", "sites_present", "is_whole")
    )
    issued, fingerprint = forecasts.select("issued_at_utc", "features_hash").row(0)
    return sums.with_columns(issued_at_utc=pl.lit(issued, UTC_TIME), features_hash=pl.lit(fingerprint))


def _signed_rows(
    forecasts: pl.DataFrame, members: pl.DataFrame, *, nodes: pl.DataFrame, reasons: pl.DataFrame
) -> pl.DataFrame:
    """Return one row per node, member and slot of the node: signed median, deviations, worst rung with its reason.

    The slots of one member inside a coarser one are taken as fully dependent on each other.
    """
    signed = pl.col("sign") > 0
    away = {
        f"_{name}": pl.when(signed).then(pl.col(name) - pl.col("q50")).otherwise(pl.col("q50") - pl.col(_MIRROR[name]))
        for name in _SIDES
    }
    sites = pl.col("member_site").rank("dense")
    numbered = members.join(nodes.select("node_id", "node"), on="node_id").with_columns(member_site=sites)
    numbered = numbered.with_columns(member=pl.col("meter_id").rank("dense"))
    numbered = numbered.select(
        "node", "meter_id", "member", "sign", "member_site", "member_minutes", "interval_minutes"
    )
    slim = (
        forecasts.lazy()
        .join(reasons.lazy(), on="reason", how="left", nulls_equal=True)
        .select(
            "starts_at_utc",
            *QUANTILE_COLUMNS,
            meter_id="node_id",
            worst=pl.col("rung") * _REASONS + pl.col("reason_code"),
        )
    )
    rows = slim.join(numbered.lazy(), on="meter_id", how="inner").with_columns(pl.col("q50") * pl.col("sign"), **away)
    summed = ["q50", *away]
    same = rows.filter(pl.col("member_minutes") == pl.col("interval_minutes")).select(
        "node", "member", "member_site", "worst", *summed, slot="starts_at_utc", is_whole=pl.lit(value=True)
    )
    finer = rows.filter(pl.col("member_minutes") != pl.col("interval_minutes")).with_columns(
        slot=pl.col("starts_at_utc").dt.truncate(pl.concat_str("interval_minutes", pl.lit("m")))
    )
    # Sorting inside the group fixes the order of addition, which decides the last bit.
    coarsened = finer.group_by("node", "member", "member_site", "slot").agg(
        pl.col("worst").max(),
        pl.col(summed).sort_by("starts_at_utc").sum(),
        is_whole=(pl.len() * pl.col("member_minutes") == pl.col("interval_minutes")).first(),
    )
    return pl.concat([same, coarsened.select(same.collect_schema().names())]).collect()


def _added_up(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per node and slot. NumPy adds in the order of the rows, so that a rebuild is equal to the bit."""
    ordered = rows.sort("node", "slot", "member_site", "member")
    is_new = {name: (ordered[name] != ordered[name].shift(1)).fill_null(value=True) for name in ("node", "slot")}
    opens_group = is_new["node"] | is_new["slot"]
    opens_site = opens_group | (ordered["member_site"] != ordered["member_site"].shift(1)).fill_null(value=True)
    firsts = np.flatnonzero(opens_group.to_numpy())

    def added(values: pl.Series) -> npt.NDArray[np.float64]:
        return np.add.reduceat(values.cast(pl.Float64).to_numpy(), firsts)

    deviations = {name: ordered[f"_{name}"] for name in _SIDES}
    return ordered.select("node", "slot")[firsts].with_columns(
        pl.Series("q50", added(ordered["q50"])),
        pl.Series("worst", np.maximum.reduceat(ordered["worst"].to_numpy(), firsts)),
        pl.Series("is_whole", np.logical_and.reduceat(ordered["is_whole"].to_numpy(), firsts)),
        pl.Series("sites_present", added(opens_site)).cast(pl.UInt32),
        *(pl.Series(f"dependent_{name}", added(values)) for name, values in deviations.items()),
        *(pl.Series(f"independent_{name}", np.sqrt(added(values**2))) for name, values in deviations.items()),
    )


def _combine(sums: pl.DataFrame, sampled: pl.DataFrame) -> pl.DataFrame:
    """Return the contract's rows: median plus sampled deviation, clipped between independent and dependent."""
    joined = sums.join(sampled, on=["node_id", "starts_at_utc"], how="inner", validate="1:1")
    bounded = {}
    for name in _SIDES:
        size = pl.col(f"sampled_{name}").abs()
        size = pl.min_horizontal(pl.max_horizontal(size, f"independent_{name}"), pl.col(f"dependent_{name}").abs())
        bounded[name] = pl.col("q50") + (size if name > "q50" else -size)
    # A narrower outer than inner level can come of clipping; the outer one is widened.
    rows = joined.with_columns(**bounded)
    rows = rows.with_columns(q10=pl.min_horizontal("q10", "q25"), q90=pl.max_horizontal("q90", "q75"))
    rows = rows.with_columns(q05=pl.min_horizontal("q05", "q10"), q95=pl.max_horizontal("q95", "q90"))
    rows = rows.with_columns(method=pl.lit("sum"), model_version=pl.lit(None, pl.String))
    return FORECASTS_LOAD.conform(rows.select(FORECASTS_LOAD.column_names).sort("node_id", "starts_at_utc"))
