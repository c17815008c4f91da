"""Statements: what each premise pays for a period, in whole units that add up to the last one.

Energy is counted in Wh and prices in 1e-5 currency/kWh, so that every amount is a whole number of 1e-8 currency. A
corrected reading makes a new revision; nothing here changes a statement that exists.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from energy_assets.contracts import SETTLEMENT_STATEMENTS
from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY
from energy_assets.contracts.settlement import AMOUNT_UNITS_PER_CURRENCY
from energy_assets.errors import ContractError
from energy_assets.prices.rounding import share_exactly
from energy_assets.prices.zones import ZoneConfig

AMOUNTS = [
    "baseline_amount",
    "deviation_amount",
    "baseline_credit",
    "fixed_amount",
    "peak_amount",
    "feed_in_credit",
    "total_amount",
    "flat_amount",
    "saved_amount",
]
CONTENT = ["slots", "import_wh", "export_wh", "baseline_wh", *AMOUNTS]


class BillTerms(BaseModel):
    """What a bill has beside the price of energy, in currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fixed_charge: Annotated[float, Field(ge=0)] = Field(0.0, description="Fixed charge per premise and period.")
    peak_cost_per_kw: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Cost of the zone's highest hour-mean import in the period, currency/kW; shared by who drew."
    )
    flat_feed_in_rate: Annotated[float, Field(ge=0)] = Field(
        0.08, description="Feed-in rate of the flat tariff that bills are compared with, currency/kWh."
    )


def settle(
    usage: pl.LazyFrame,
    *,
    curves: pl.DataFrame,
    zone: ZoneConfig,
    terms: BillTerms,
    period: tuple[date, date],
    revision: int,
) -> pl.DataFrame:
    """Return one statement per premise, in the shape of SETTLEMENT_STATEMENTS.

    Args:
        usage: premise_id, starts_at_utc, import_kwh, export_kwh, baseline_kwh per slot of the period, no nulls;
            unsettled gaps are filled upstream, with their reason.
        curves: PRICES_CURVES rows of the zone that cover the period; of a slot the highest revision counts.
        zone: The price zone; its flat rate is the baseline's.
        terms: Fixed charge and peak cost.
        period: First local day, and first local day after it.
        revision: Of the statements that come out.

    Raises:
        ContractError: a value is missing or negative, a slot comes twice, or a slot of use has no price.
    """
    prices = _latest_prices(curves)
    flat_units = round(zone.flat_rate * PRICE_UNITS_PER_CURRENCY)
    feed_in_units = round(terms.flat_feed_in_rate * PRICE_UNITS_PER_CURRENCY)
    slots = _in_watt_hours(usage).join(prices.lazy(), on="starts_at_utc", how="left", validate="m:1")
    used, base, sold, price = pl.col("import_wh"), pl.col("baseline_wh"), pl.col("export_wh"), pl.col("price_units")
    sums = (
        slots.group_by("premise_id")
        .agg(
            slots=pl.len().cast(pl.Int64),
            distinct=pl.col("starts_at_utc").n_unique(),
            unusable=(price.is_null() | used.is_null() | base.is_null() | sold.is_null()).sum(),
            negative=((used < 0) | (base < 0) | (sold < 0)).sum(),
            import_wh=used.sum(),
            export_wh=sold.sum(),
            baseline_wh=base.sum(),
            baseline_amount=base.sum() * flat_units,
            deviation_amount=((used - base) * price).sum(),
            baseline_credit=(base * (flat_units - price)).sum(),
            feed_in_credit=(sold * pl.col("export_price_units")).sum(),
            flat_energy=used.sum() * flat_units - sold.sum() * feed_in_units,
        )
        .sort("premise_id")
        .collect(engine="streaming")
    )
    _refuse_faults(sums, zone=zone)
    fixed = round(terms.fixed_charge * AMOUNT_UNITS_PER_CURRENCY)
    statements = sums.with_columns(
        peak_amount=_peak_shares(slots, premises=sums["premise_id"], curves=curves, terms=terms), fixed_amount=fixed
    ).with_columns(
        total_amount=pl.col("baseline_amount")
        + pl.col("deviation_amount")
        + pl.col("fixed_amount")
        + pl.col("peak_amount")
        - pl.col("feed_in_credit"),
        flat_amount=pl.col("flat_energy") + pl.col("fixed_amount") + pl.col("peak_amount"),
    )
    start = datetime.combine(period[0], time(0), tzinfo=zone.zoneinfo).astimezone(UTC)
    return SETTLEMENT_STATEMENTS.conform(
        statements.select(
            "premise_id",
            pl.col(*(name for name in CONTENT if name != "saved_amount")),
            saved_amount=pl.col("flat_amount") - pl.col("total_amount"),
            zone_id=pl.lit(zone.zone_id),
            period_start=pl.lit(period[0]),
            period_end=pl.lit(period[1]),
            revision=pl.lit(revision, dtype=pl.Int64),
            starts_at_utc=pl.lit(start),
            currency_code=pl.lit(zone.currency_code),
        )
    )


def next_revisions(previous: pl.DataFrame, *, fresh: pl.DataFrame) -> pl.DataFrame:
    """Return the statements of `fresh` that say something else than the last revision, numbered as the next one.

    Both are in the shape of SETTLEMENT_STATEMENTS and of one period. What has not changed is not in the answer.
    """
    last = previous.sort("revision").group_by("premise_id").last()
    joined = fresh.join(last, on="premise_id", how="left", suffix="_before", validate="1:1")
    same = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_before") for name in CONTENT)
    return SETTLEMENT_STATEMENTS.conform(
        joined.filter(~same.fill_null(value=False))
        .with_columns(revision=(pl.col("revision_before") + 1).fill_null(0))
        .select(SETTLEMENT_STATEMENTS.column_names)
    )


def _latest_prices(curves: pl.DataFrame) -> pl.DataFrame:
    return (
        curves.sort("revision")
        .group_by("starts_at_utc")
        .agg(pl.col("price_units", "export_price_units").last())
        .sort("starts_at_utc")
    )


def _in_watt_hours(usage: pl.LazyFrame) -> pl.LazyFrame:
    names = ("import", "export", "baseline")
    return usage.select(
        "premise_id",
        "starts_at_utc",
        *((pl.col(f"{name}_kwh") * 1000.0).round().cast(pl.Int64).alias(f"{name}_wh") for name in names),
    )


def _refuse_faults(sums: pl.DataFrame, *, zone: ZoneConfig) -> None:
    bad = sums.filter((pl.col("unusable") > 0) | (pl.col("negative") > 0) | (pl.col("distinct") != pl.col("slots")))
    if bad.height:
        first = bad.row(0, named=True)
        raise ContractError(
            f"{bad.height} premises of zone {zone.zone_id} cannot be settled, first {first['premise_id']}: "
            f"{first['unusable']} slots without energy or price, {first['negative']} negative, "
            f"{first['slots'] - first['distinct']} twice. Fill the gaps, publish the prices, remove the doubles."
        )


def _peak_shares(slots: pl.LazyFrame, *, premises: pl.Series, curves: pl.DataFrame, terms: BillTerms) -> pl.Series:
    """Return each premise's share of the peak's cost: by what it drew in the slot of the zone's highest import."""
    nothing = pl.Series("peak_amount", np.zeros(len(premises), dtype=np.int64))
    if terms.peak_cost_per_kw == 0 or premises.is_empty():
        return nothing
    totals = slots.group_by("starts_at_utc").agg(pl.col("import_wh").sum()).collect(engine="streaming")
    peak = totals.sort(["import_wh", "starts_at_utc"], descending=[True, False]).row(0, named=True)
    hours = curves["interval_minutes"][0] / 60.0
    cost = round(peak["import_wh"] / 1000.0 / hours * terms.peak_cost_per_kw * AMOUNT_UNITS_PER_CURRENCY)
    if cost == 0:
        return nothing
    drawn = (
        slots.filter(pl.col("starts_at_utc") == peak["starts_at_utc"])
        .select("premise_id", "import_wh")
        .collect(engine="streaming")
    )
    ordered = premises.to_frame("premise_id").join(drawn, on="premise_id", how="left", maintain_order="left")
    weights = ordered["import_wh"].fill_null(0).to_numpy()
    return pl.Series("peak_amount", share_exactly(np.array([cost]), weights=weights[None, :])[0])
