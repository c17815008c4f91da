"""The cheapest hours of a curve: in one piece or wherever they are.

Works on any frame with starts_at_utc, interval_minutes and price_units; ties go to the earlier slot.
"""

from __future__ import annotations

import math

import polars as pl

from energy_assets.errors import ConfigError


def cheapest_slots(rows: pl.DataFrame, *, hours: float) -> pl.DataFrame:
    """Return the cheapest slots of a curve that make up `hours`, in order of time; they need not touch.

    Raises:
        ConfigError: the curve is shorter than `hours`, or its slots differ in length.
    """
    count = _slots(rows, hours=hours)
    return rows.sort("price_units", "starts_at_utc").head(count).sort("starts_at_utc")


def cheapest_window(rows: pl.DataFrame, *, hours: float) -> pl.DataFrame:
    """Return the consecutive slots of a curve that make up `hours` at the lowest mean price.

    Raises:
        ConfigError: no `hours` in one piece are in the curve, or its slots differ in length.
    """
    count = _slots(rows, hours=hours)
    ordered = rows.sort("starts_at_utc")
    span = (pl.col("starts_at_utc") - pl.col("starts_at_utc").shift(count - 1)).dt.total_minutes()
    whole = span == (count - 1) * pl.col("interval_minutes")
    ends = ordered.with_row_index("end").filter(whole)
    sums = ordered.select(total=pl.col("price_units").rolling_sum(count)).with_row_index("end")
    candidates = ends.join(sums, on="end", how="inner", validate="1:1").sort("total", "end")
    if candidates.is_empty():
        raise ConfigError(f"The curve has no {hours:g} hours in one piece; ask for fewer hours.")
    return ordered.slice(candidates["end"][0] - count + 1, count)


def _slots(rows: pl.DataFrame, *, hours: float) -> int:
    lengths = rows["interval_minutes"].unique().to_list()
    if len(lengths) != 1:
        raise ConfigError(f"A curve needs slots of one length, these have {sorted(lengths)} minutes; give one curve.")
    count: int = math.ceil(hours * 60 / lengths[0] - 1e-9)
    if count < 1:
        raise ConfigError(f"{hours:g} hours are no time to look for; ask for one slot of {lengths[0]} minutes or more.")
    if count > rows.height:
        raise ConfigError(
            f"{hours:g} hours are not in a curve of {rows.height} slots of {lengths[0]} minutes; ask for fewer."
        )
    return count
