"""Load that moved to cheap hours is what a price asks for, and no anomaly."""

from __future__ import annotations

import polars as pl

BALANCE = 0.5
LEAST_DISCOUNT = 0.05


def without_moved_load(slots: pl.LazyFrame) -> pl.LazyFrame:
    """Return slots (meter_id, starts_at_utc, family, off_kwh, price_per_kwh) without load that only moved.

    On a meter's UTC day load moved when what is above and what is below the expectation balance to within half of the
    larger (the side that is spread over more hours is not flagged in all of them), and the hours above are at least 5 %
    cheaper on average than those below. Days without both stay.
    """
    day = ["meter_id", pl.col("starts_at_utc").dt.truncate("1d")]
    over, under = pl.col("family") == "over", pl.col("family") == "under"
    gained = pl.col("off_kwh").filter(over).sum().over(day)
    saved = -pl.col("off_kwh").filter(under).sum().over(day)
    paid = pl.col("price_per_kwh").filter(over).mean().over(day)
    avoided = pl.col("price_per_kwh").filter(under).mean().over(day)
    balanced = (gained > 0) & (saved > 0) & ((gained - saved).abs() <= BALANCE * pl.max_horizontal(gained, saved))
    moved = (balanced & (paid <= (1 - LEAST_DISCOUNT) * avoided)).fill_null(value=False)
    return slots.filter(~(moved & pl.col("family").is_in(["over", "under"])))
