"""The range of what a model learned from, and how much of what it is asked since lies beyond: drift of its features.

Trees say beyond what they have seen what they said at its edge; the share of rows that lie there tells before the error
does that a model is asked about another world.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl

WATCHED = (
    *("temperature_c", "dew_point_c", "wind_speed_ms", "global_horizontal_irradiance_w_m2"),
    *("day_ratio", "hours_3_mean_kwh", "week_mean_kwh"),
)
"""Weather of the coming days, and the load of the last ones; energies count in multiples of the meter's month."""
_UNIT = "month_mean_kwh"
NEEDED = (*WATCHED, _UNIT)
_OUTER = 0.005

Ranges = Mapping[str, tuple[float, float, float]]
"""By feature: the lowest and the highest value but for one in two hundred, and the share of rows that had one."""


def ranges_of(features: pl.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Return the ranges of the WATCHED features in rows of `build_features`; those that no row has are left out."""
    rows = _comparable(features)
    found = {}
    for name in rows.columns:
        known = rows[name].drop_nulls()
        if known.len():
            low, high = (known.quantile(share, "linear") for share in (_OUTER, 1 - _OUTER))
            found[name] = (float(low or 0.0), float(high or 0.0), known.len() / rows.height)
    return found


def beyond(features: pl.DataFrame, *, ranges: Ranges) -> dict[str, float]:
    """Return by feature the share of rows that lie beyond a range, or that lack a value which rows had before."""
    rows = _comparable(features)
    if rows.is_empty():
        return {}
    shares = {}
    for name, (low, high, known) in ranges.items():
        outside = pl.col(name).is_between(low, high).not_().sum() / pl.len()
        lost = pl.col(name).is_null().mean() - (1 - known)
        outer, missing = rows.select(outside.alias("outer"), lost.alias("missing")).row(0)
        shares[name] = max(float(outer), float(missing))
    return shares


def to_text(ranges: Ranges) -> str:
    """Return ranges as a tag of a model version holds them."""
    return json.dumps({name: [float(f"{value:.5g}") for value in values] for name, values in ranges.items()})


def from_text(text: str) -> dict[str, tuple[float, float, float]]:
    """Return the ranges that `to_text` wrote."""
    return {name: (low, high, known) for name, (low, high, known) in json.loads(text).items()}


def _comparable(features: pl.DataFrame) -> pl.DataFrame:
    unit = pl.when(pl.col(_UNIT) > 0).then(pl.col(_UNIT))
    return features.select(
        (pl.col(name) / unit if name.endswith("_kwh") else pl.col(name)).cast(pl.Float64).fill_nan(None).alias(name)
        for name in WATCHED
    )
