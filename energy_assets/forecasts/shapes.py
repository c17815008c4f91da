"""The rungs that need no history of the meter: a shape of its peers, or of the whole portfolio, times its scale.

The shape is taken from forecasts of other meters that better rungs already made for the same slots, divided by their
scale, by local hour and weekend; so weather and calendar of the coming days are in it. What a young
meter showed of itself counts as far as it goes.
"""

from __future__ import annotations

import math

import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.forecasts.first_days import with_first_days
from energy_assets.forecasts.scenarios import LEVEL_SCORES

KNOWN_SCALES = ("own_readings", "declared_year", "floor_area")
_FEWEST_PEERS = 3
_CLOCK = ["local_hour", "is_weekend"]
_LEAST_SPREAD = 0.25


def peers(
    slots: pl.DataFrame, *, served: pl.DataFrame, known: pl.DataFrame, own: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return quantiles for slots of meters whose own scale is known and which have three peers; others are left out.

    `slots` as `delivery_slots` gives them; `served` the same slots of other meters with quantiles in kWh; `known` as
    `standing` gives it, with `peer_group` where load profiles know one; `own` the meters' own first days. Peers share
    commodity and direction, and the first of these that three of them do: peer group, primary use, nothing more.
    """
    if "peer_group" not in known.columns:
        known = known.with_columns(peer_group=pl.lit(None, pl.String))
    scaled = known.filter(pl.col("scale_source").is_in(KNOWN_SCALES))
    unit = _unit_shapes(served, known=known)
    group = ["commodity", "direction"]
    alike = _shape_of(unit.drop_nulls("peer_group"), [*group, "peer_group", *_CLOCK], fewest=_FEWEST_PEERS)
    close = _shape_of(unit, [*group, "primary_use", *_CLOCK], fewest=_FEWEST_PEERS)
    wide = _shape_of(unit, [*group, *_CLOCK], fewest=_FEWEST_PEERS)
    rows = slots.join(scaled.drop("interval_minutes"), on="meter_id", how="inner", validate="m:1")
    rows = rows.join(alike, on=[*group, "peer_group", *_CLOCK], how="left")
    rows = rows.join(close, on=[*group, "primary_use", *_CLOCK], how="left", nulls_equal=True, suffix="_close")
    rows = rows.join(wide, on=[*group, *_CLOCK], how="left", suffix="_wide")
    rows = rows.with_columns(
        pl.coalesce(name, f"{name}_close", f"{name}_wide").alias(name) for name in (*_UNIT, "between_peers")
    )
    quantiles = _scaled(rows.filter(pl.col("unit_q50").is_not_null()))
    return quantiles if own is None else with_first_days(quantiles, slots=slots, own=own)


def climatology(slots: pl.DataFrame, *, served: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return quantiles for every slot: the portfolio's shape, else a flat one (a bell of daylight for production)."""
    unit = _unit_shapes(served, known=known)
    by_direction = _shape_of(unit, ["direction", *_CLOCK], fewest=1)
    rows = slots.join(known.drop("interval_minutes"), on="meter_id", how="left", validate="m:1")
    rows = rows.join(by_direction, on=["direction", *_CLOCK], how="left")
    daylight = (math.pi * (pl.col("local_hour").cast(pl.Float64) - 5.5) / 14).sin().clip(0, 1) * (24 * math.pi / 28)
    fallback = pl.when(pl.col("direction") == "production").then(daylight).otherwise(1.0)
    rows = rows.with_columns(
        *(pl.col(name).fill_null(fallback) for name in _UNIT), between_peers=pl.col("between_peers").fill_null(0.5)
    )
    return _scaled(rows)


_UNIT = tuple(f"unit_{name}" for name in QUANTILE_COLUMNS)


def _unit_shapes(served: pl.DataFrame, *, known: pl.DataFrame) -> pl.DataFrame:
    attributes = known.filter(pl.col("scale_source") == "own_readings", ~pl.col("is_signed")).select(
        "meter_id", "commodity", "direction", "primary_use", "scale_kwh", pl.col("^peer_group$")
    )
    unit = {f"unit_{name}": pl.col(name) / pl.col("scale_kwh") for name in QUANTILE_COLUMNS}
    return served.join(attributes, on="meter_id", how="inner", validate="m:1").with_columns(**unit)


def _shape_of(unit: pl.DataFrame, keys: list[str], *, fewest: int) -> pl.DataFrame:
    """Return the mean unit quantiles of a group, and the standard deviation of medians between its meters."""
    # Sorting inside the group fixes the order of addition, which decides the last bit.
    per_meter = unit.group_by([*keys, "meter_id"]).agg(pl.col(_UNIT).sort().mean())
    shapes = per_meter.group_by(keys).agg(
        pl.col(_UNIT).sort().mean(), between_peers=pl.col("unit_q50").sort().std().fill_null(0.5), peers=pl.len()
    )
    return shapes.filter(pl.col("peers") >= fewest).drop("peers")


def _scaled(rows: pl.DataFrame) -> pl.DataFrame:
    """Return quantiles in kWh: shape times scale, the band from within, between peers and the scale's own spread.

    The three are taken as independent, so their deviations add in squares; the lower side stays at or above zero.
    """
    spread = pl.max_horizontal("scale_spread", pl.lit(_LEAST_SPREAD))
    quantiles = {}
    for name, score in zip(QUANTILE_COLUMNS, LEVEL_SCORES.tolist(), strict=True):
        within = pl.col(f"unit_{name}") - pl.col("unit_q50")
        between = pl.col("between_peers") * score
        scale = pl.col("unit_q50") * ((spread * score).exp() - 1)
        deviation = (within**2 + between**2 + scale**2).sqrt() * (-1 if score < 0 else 1)
        quantiles[name] = ((pl.col("unit_q50") + (deviation if score else 0.0)).clip(lower_bound=0)) * pl.col(
            "scale_kwh"
        )
    return rows.select("meter_id", "issued_at_utc", "starts_at_utc", **quantiles)
