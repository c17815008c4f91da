"""Bills of a month from its settled days: statements that are never edited, and the bill to date.

A corrected reading makes the next revision of a statement. All that is new or changed in a zone and month at once is
one publication, so that what stood published at any time can be put together again.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import SETTLEMENT_STATEMENTS
from energy_assets.contracts.settlement import AMOUNT_UNITS_PER_CURRENCY, DAY_SUMS
from energy_assets.prices.rounding import share_exactly
from energy_assets.prices.zones import ZoneConfig

BILL = ("fixed_amount", "peak_amount", "total_amount", "flat_amount", "saved_amount")
CONTENT = ("days", *DAY_SUMS, *BILL)
_PERIOD = ("zone_id", "period_start")


def month_of(day: date) -> tuple[date, date]:
    """Return the first day of a day's month, and of the month after it."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def bills_of(days: pl.DataFrame, *, zone: ZoneConfig) -> pl.DataFrame:
    """Return one bill per premise from its days of one period, rows of SETTLEMENT_DAYS of one zone.

    Columns: premise_id and CONTENT. The total is baseline, deviation, fixed charge and peak share, less the credits of
    feed-in and community.
    """
    sums = (
        days.group_by("premise_id")
        .agg(
            pl.col(DAY_SUMS).sum(),
            days=pl.col("local_date").n_unique().cast(pl.Int64),
            flat_energy=pl.col("flat_amount").sum(),
        )
        .sort("premise_id")
    )
    fixed = round(zone.bill.fixed_charge * AMOUNT_UNITS_PER_CURRENCY)
    parts = ("baseline_amount", "deviation_amount", "fixed_amount", "peak_amount")
    credited = ("feed_in_credit", "community_credit")
    return (
        sums.with_columns(_peak_shares(days, premises=sums["premise_id"], zone=zone), fixed_amount=pl.lit(fixed))
        .with_columns(
            total_amount=pl.sum_horizontal(parts) - pl.sum_horizontal(credited),
            flat_amount=pl.col("flat_energy") + pl.col("fixed_amount") + pl.col("peak_amount"),
        )
        .with_columns(saved_amount=pl.col("flat_amount") - pl.col("total_amount"))
        .select("premise_id", *CONTENT)
    )


def statements_of(days: pl.DataFrame, *, zone: ZoneConfig, period_start: date) -> pl.DataFrame:
    """Return one statement per premise for a month, rows of SETTLEMENT_STATEMENTS with revision 0.

    `days` are the rows of SETTLEMENT_DAYS of the zone and month.
    """
    first, after = month_of(period_start)
    start = datetime.combine(first, time(0), tzinfo=zone.zoneinfo).astimezone(UTC)
    return SETTLEMENT_STATEMENTS.conform(
        bills_of(days, zone=zone).with_columns(
            zone_id=pl.lit(zone.zone_id),
            period_start=pl.lit(first),
            period_end=pl.lit(after),
            revision=pl.lit(0, pl.Int64),
            publication=pl.lit(0, pl.Int64),
            starts_at_utc=pl.lit(start),
            currency_code=pl.lit(zone.currency_code),
        )
    )


def next_revisions(previous: pl.DataFrame, *, fresh: pl.DataFrame) -> pl.DataFrame:
    """Return the statements of `fresh` that say something else than the last revision, numbered as the next one.

    Both are rows of SETTLEMENT_STATEMENTS; `previous` holds all revisions of the zones and periods of `fresh`. What
    has not changed is not in the answer; what comes together in a zone and period is its next publication.
    """
    last = standing(previous)
    published = previous.group_by(_PERIOD).agg(published=pl.col("publication").max())
    joined = fresh.join(last, on=["premise_id", "period_start"], how="left", suffix="_before", validate="1:1")
    same = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_before") for name in CONTENT)
    return SETTLEMENT_STATEMENTS.conform(
        joined.filter(~same.fill_null(value=False))
        .join(published, on=_PERIOD, how="left", validate="m:1")
        .with_columns(
            revision=(pl.col("revision_before") + 1).fill_null(0), publication=(pl.col("published") + 1).fill_null(0)
        )
        .select(SETTLEMENT_STATEMENTS.column_names)
    )


def standing(statements: pl.DataFrame, *, publication: int | None = None) -> pl.DataFrame:
    """Return the statements that stood after a publication of their zone and period; None: after the last one."""
    chosen = statements if publication is None else statements.filter(pl.col("publication") <= publication)
    return chosen.filter(pl.col("revision") == pl.col("revision").max().over("premise_id", "period_start"))


def _peak_shares(days: pl.DataFrame, *, premises: pl.Series, zone: ZoneConfig) -> pl.Series:
    """Return each premise's share of the peak's cost: by what it drew in the slot of the zone's highest import."""
    nothing = pl.Series("peak_amount", np.zeros(len(premises), dtype=np.int64))
    if zone.bill.peak_cost_per_kw == 0 or premises.is_empty():
        return nothing
    power = pl.col("peak_wh").sum() * 60.0 / pl.col("interval_minutes").first() / 1000.0
    highest = days.group_by("local_date").agg(kw=power).sort(["kw", "local_date"], descending=[True, False])
    on, kw = highest.select("local_date", "kw").row(0)
    cost = round(kw * zone.bill.peak_cost_per_kw * AMOUNT_UNITS_PER_CURRENCY)
    if cost == 0:
        return nothing
    drawn = days.filter(pl.col("local_date") == on).select("premise_id", "peak_wh")
    ordered = premises.to_frame("premise_id").join(drawn, on="premise_id", how="left", maintain_order="left")
    weights = ordered["peak_wh"].fill_null(0).to_numpy()
    return pl.Series("peak_amount", share_exactly(np.array([cost]), weights=weights[None, :])[0])
