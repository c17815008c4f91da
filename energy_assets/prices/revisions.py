"""Published curves are never edited: a day that is priced anew with another outcome gets the next revision."""

from __future__ import annotations

import polars as pl

from energy_assets.contracts import PRICES_CURVES, PRICES_DAYS
from energy_assets.prices.daily import PricedDelivery


def revised(priced: PricedDelivery, *, curves: pl.DataFrame, days: pl.DataFrame) -> PricedDelivery:
    """Return what stands published of a delivery date after it was priced (again).

    Args:
        priced: the curves of one delivery date as they come out now, revision 0.
        curves: rows of PRICES_CURVES that are published for that date, all revisions.
        days: rows of PRICES_DAYS that are published for that date, all revisions.

    Returns:
        The published rows, unchanged, and a further revision for each zone whose curve differs from its last one in
        anything. A zone that has no curve any more keeps what was published.
    """
    added_curves, added_days = [curves], [days]
    for (zone,), fresh in priced.curves.group_by("zone_id", maintain_order=True):
        before = curves.filter(pl.col("zone_id") == zone)
        revisions = before["revision"].unique().sort().to_list()
        if revisions and _is_same(before.filter(pl.col("revision") == revisions[-1]), fresh):
            continue
        revision = pl.lit(revisions[-1] + 1 if revisions else 0, dtype=pl.Int64)
        of_zone = priced.days.filter(pl.col("zone_id") == zone)
        added_curves.append(fresh.with_columns(revision=revision))
        added_days.append(of_zone.with_columns(revision=revision))
    return PricedDelivery(
        curves=pl.concat([PRICES_CURVES.conform(frame) for frame in added_curves]).sort(PRICES_CURVES.key),
        days=pl.concat([PRICES_DAYS.conform(frame) for frame in added_days]).sort(PRICES_DAYS.key),
        skipped=priced.skipped,
    )


def latest(curves: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the last revision of every zone and delivery date."""
    return curves.filter(pl.col("revision") == pl.col("revision").max().over("zone_id", "delivery_date"))


def _is_same(published: pl.DataFrame, fresh: pl.DataFrame) -> bool:
    order = ["starts_at_utc"]
    return published.drop("revision").sort(order).equals(PRICES_CURVES.conform(fresh).drop("revision").sort(order))
