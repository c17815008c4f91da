"""Forecasts of premises, sites and the portfolio as sums over their meters, and the net load that prices need.

The median of a node is the exact sum of its meters' medians; its other quantiles, its peaks and the hours of these are
those of the joint scenarios that the night publishes. Scheme of the nodes: `forecasts.nodes`. A node has the slots in
which all its sites have forecasts, at the cadence of its coarsest meter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from energy_assets.contracts import FORECASTS_LIMITS, FORECASTS_LOAD, FORECASTS_PEAKS, QUANTILE_COLUMNS, UTC_TIME
from energy_assets.errors import ContractError
from energy_assets.forecasts.limits import NO_LIMITS, chances_of
from energy_assets.forecasts.nodes import NET, NET_COMMODITY, memberships, node_id, zone_of_node
from energy_assets.forecasts.peak_learning import AS_DRAWN, PeakCorrection, subject_of
from energy_assets.forecasts.peaks import DayPeaks, DaySlots, day_slots, peaks_of, rows_of
from energy_assets.forecasts.sampling import MICROSECONDS, Summed, axis_of, dense_of, summed
from energy_assets.forecasts.scenarios import SCENARIOS, Dependence, Draw, opposite_kind

_REASONS = 1000  # more than there are reasons; rung and reason travel as one number
_NODE = ("node_kind", "site_id", "commodity", "direction")


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """The nodes above the meters of one issue: rows of `forecasts.load`, `forecasts.peaks` and `forecasts.limits`."""

    rows: pl.DataFrame
    peaks: pl.DataFrame
    limits: pl.DataFrame


def aggregate(
    forecasts: pl.DataFrame,
    *,
    meters: pl.DataFrame,
    sites: pl.DataFrame | None = None,
    dependence: Mapping[str, Dependence] | None = None,
    peaks: Mapping[str, PeakCorrection] | None = None,
    limits_kw: Mapping[str, float] | None = None,
    seed: int,
    scenarios: int = SCENARIOS,
) -> Aggregate:
    """Return every node above the meters of one issue time.

    `forecasts` holds meter rows of one `issued_at_utc`; `meters` and `sites` follow their contracts; a place without a
    site in `sites` has its days in UTC. As learned are `dependence` by kind, `<commodity>|<direction>`, and `peaks` by
    level and kind; `limits_kw` is by node. Deterministic by `seed` and independent of the order of rows. `scenarios` is
    even.

    Raises:
        ContractError: a forecast's meter is not registered, or an interval does not divide the coarser one of its node.
    """
    if forecasts.is_empty():
        return Aggregate(rows=FORECASTS_LOAD.empty(), peaks=FORECASTS_PEAKS.empty(), limits=FORECASTS_LIMITS.empty())
    members = members_of(forecasts, meters=meters)
    reasons = forecasts["reason"].unique().sort()
    codes = pl.DataFrame({"reason": reasons, "code": range(reasons.len())}, schema_overrides={"code": pl.Int64})
    ranked = forecasts.join(codes, on="reason", how="left", nulls_equal=True, validate="m:1").with_columns(
        rank=pl.col("rung") * _REASONS + pl.col("code")
    )
    axis = axis_of(forecasts, members)
    dense = dense_of(ranked, axis)
    draw = Draw(seed=seed, axis=axis, dependence=dependence or {}, scenarios=scenarios)
    zones = dict(sites.select("site_id", "timezone").iter_rows()) if sites is not None else {}
    about = members.select("node_id", *_NODE).unique("node_id", maintain_order=True)
    zone_of = {node: zone_of_node(site, zones) for node, site in about.select("node_id", "site_id").iter_rows()}
    subjects = {
        node: subject_of(level, commodity=commodity, direction=direction)
        for node, level, commodity, direction in about.select(
            "node_id", "node_kind", "commodity", "direction"
        ).iter_rows()
    }
    correction_of = {node: (peaks or {}).get(subject, AS_DRAWN) for node, subject in subjects.items()}
    rows: list[pl.DataFrame] = []
    highest: list[DayPeaks] = []
    chances = [NO_LIMITS]
    for _, of_commodity in sorted(members.partition_by("commodity", as_dict=True).items(), key=str):
        for nodes in summed(of_commodity, dense=dense, draw=draw):
            rows.append(_rows(nodes, start=axis.start))
            highest += _peaks(nodes, start=axis.start, zone_of=zone_of, correction_of=correction_of)
            chances.append(chances_of(nodes, start=axis.start, limits_kw=limits_kw or {}))
    issued, fingerprint = forecasts.select("issued_at_utc", "features_hash").row(0)
    made = (
        pl.concat(rows)
        .with_columns(rung=pl.col("rank") // _REASONS, code=pl.col("rank") % _REASONS)
        .join(codes, on="code", how="left", validate="m:1")
        .join(about, on="node_id", how="left", validate="m:1")
        .with_columns(
            issued_at_utc=pl.lit(issued, UTC_TIME),
            features_hash=pl.lit(fingerprint),
            method=pl.lit("sum"),
            model_version=pl.lit(None, pl.String),
        )
    )
    at = pl.lit(issued, UTC_TIME).alias("issued_at_utc")
    return Aggregate(
        rows=FORECASTS_LOAD.conform(made.select(FORECASTS_LOAD.column_names).sort("node_id", "starts_at_utc")),
        peaks=FORECASTS_PEAKS.conform(rows_of(highest).with_columns(at).sort("node_id", "local_date")),
        limits=FORECASTS_LIMITS.conform(pl.concat(chances).with_columns(at).sort("node_id", "starts_at_utc")),
    )


def members_of(forecasts: pl.DataFrame, *, meters: pl.DataFrame) -> pl.DataFrame:
    """Return the memberships of the meters that an issue has, with kind, shared_premise and opposite as drawing wants.

    Raises:
        ContractError: as `aggregate`.
    """
    registered = meters.join(forecasts.select(meter_id="node_id").unique(), on="meter_id", how="semi")
    if registered.height != forecasts["node_id"].n_unique():
        raise ContractError("Forecasts name meters that metering.meters lacks; register them before they are summed.")
    members = memberships(registered).with_columns(
        kind=pl.concat_str("commodity", "member_direction", separator="|"),
    )
    alike = pl.col("meter_id").n_unique().over("member_premise", "kind")
    members = members.with_columns(shared_premise=pl.when(alike > 1).then("member_premise"))
    members = _with_opposites(members, registered)
    odd = members.filter(pl.col("interval_minutes") % pl.col("member_minutes") != 0)
    if odd.height:
        raise ContractError(
            f"{odd['node_id'][0]} sums intervals of {odd['member_minutes'][0]} and {odd['interval_minutes'][0]} "
            f"minutes; the shorter must divide the longer."
        )
    return members


def _with_opposites(members: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """Return members with `opposite`: of a meter that feeds in, the first of its premise and cadence that draws."""
    kind = pl.concat_str("commodity", "direction", separator="|")
    drawing = meters.group_by(member_premise="premise_id", opposite_kind=kind, member_minutes="interval_minutes").agg(
        opposite=pl.col("meter_id").min()
    )
    kinds = {each: opposite_kind(each) for each in members["kind"].unique()}
    with_kind = members.with_columns(
        opposite_kind=pl.col("kind").replace_strict(kinds, default=None, return_dtype=pl.String)
    )
    key = ["member_premise", "opposite_kind", "member_minutes"]
    return with_kind.join(drawing, on=key, how="left", validate="m:1", maintain_order="left").drop("opposite_kind")


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


def _rows(nodes: Summed, *, start: int) -> pl.DataFrame:
    node, slot = np.nonzero(nodes.is_there)
    starts = (start + slot * nodes.minutes) * MICROSECONDS
    return pl.DataFrame(
        {
            "node_id": pl.Series(nodes.node_ids, dtype=pl.String).gather(node),
            "starts_at_utc": pl.Series(starts, dtype=pl.Int64).cast(UTC_TIME),
            "interval_minutes": np.full(len(node), nodes.minutes, dtype=np.int64),
            **{name: nodes.quantiles[node, slot, index] for index, name in enumerate(QUANTILE_COLUMNS)},
            "rank": nodes.rank[node, slot],
        }
    )


def _peaks(
    nodes: Summed, *, start: int, zone_of: Mapping[str, str], correction_of: Mapping[str, PeakCorrection]
) -> Iterator[DayPeaks]:
    """Yield the peaks of the whole local days that nodes have."""
    of_zones = np.array([zone_of[name] for name in nodes.node_ids])
    for zone in sorted(set(of_zones.tolist())):
        chosen = np.flatnonzero(of_zones == zone)
        for day in _days(start, slots=nodes.energy.shape[1], minutes=nodes.minutes, timezone=zone):
            there = chosen[nodes.is_there[np.ix_(chosen, day.slots)].all(axis=1)]
            if day.is_whole and there.size:
                energy = nodes.energy[there][:, day.slots]
                names = [nodes.node_ids[index] for index in there]
                corrections = [correction_of[name] for name in names]
                yield peaks_of(energy, node_ids=names, minutes=nodes.minutes, day=day, corrections=corrections)


@lru_cache(maxsize=256)
def _days(start: int, *, slots: int, minutes: int, timezone: str) -> tuple[DaySlots, ...]:
    """Return the local days of slots from a minute since 1970 on: many nodes of an issue share them."""
    return tuple(day_slots(start + minutes * np.arange(slots, dtype=np.int64), minutes=minutes, timezone=timezone))
