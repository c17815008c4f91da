"""What a local day costs each premise of a zone, in whole units that add up to the last one.

Energy is counted in Wh and prices in 1e-5 currency/kWh, so that every amount is a whole number of 1e-8 currency.
Sums over days are the concern of `statements`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import SETTLEMENT_DAYS, SETTLEMENT_POOLS
from energy_assets.contracts.prices import PRICE_UNITS_PER_CURRENCY
from energy_assets.errors import ContractError
from energy_assets.prices.community import Payments, community_payments
from energy_assets.prices.rounding import Integers
from energy_assets.prices.usage import DayUse


@dataclass(frozen=True, kw_only=True)
class DayPrices:
    """Prices on the slots of a day, 1e-5 currency/kWh; the flat rates where none was published."""

    import_units: Integers
    export_units: Integers
    is_published: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Rows of SETTLEMENT_DAYS and of SETTLEMENT_POOLS."""

    days: pl.DataFrame
    pools: pl.DataFrame

    @classmethod
    def together(cls, parts: Iterable[Settled]) -> Settled:
        """Return the rows of several days."""
        chosen = list(parts)
        return cls(
            days=pl.concat([SETTLEMENT_DAYS.empty(), *(part.days for part in chosen)]),
            pools=pl.concat([SETTLEMENT_POOLS.empty(), *(part.pools for part in chosen)]),
        )


def prices_on(use: DayUse, *, curves: pl.DataFrame) -> DayPrices:
    """Return the published prices on the slots of a day; of a slot the highest revision counts.

    `curves` are PRICES_CURVES rows of the zone, of any dates. Slots that no curve covers have the flat rates.
    """
    zone = use.day.zone
    known = dict(
        curves.sort("revision")
        .group_by("starts_at_utc")
        .agg(units=pl.concat_list(pl.col("price_units", "export_price_units").last()))
        .iter_rows()
    )
    flat = [_units(zone.flat_rate), _units(zone.bill.flat_feed_in_rate)]
    pairs = np.array([known.get(slot, flat) for slot in use.day.slots], dtype=np.int64)
    published = np.array([slot in known for slot in use.day.slots])
    return DayPrices(import_units=pairs[:, 0], export_units=pairs[:, 1], is_published=published)


def settle_day(use: DayUse, *, prices: DayPrices) -> Settled:
    """Return what a local day costs each premise, and the account of the zone's community.

    baseline_amount + deviation_amount + baseline_credit - feed_in_credit - community_credit is what a premise pays the
    grid and the other members: grid_amount + local_amount.

    Raises:
        ContractError: energy is negative, or the prices are not on the day's slots.
    """
    zone, day = use.day.zone, use.day
    drawn, fed, base = use.import_wh, use.export_wh, use.baseline_wh
    if min(array.min(initial=0) for array in (drawn, fed, base)) < 0 or len(prices.import_units) != len(drawn):
        raise ContractError(
            f"{day.local_date} of zone {zone.zone_id} cannot be settled: energy is negative, or the "
            f"{len(prices.import_units)} prices are not on its {len(drawn)} slots. Mend the readings or the curve."
        )
    flat, feed_in = _units(zone.flat_rate), _units(zone.bill.flat_feed_in_rate)
    bought, sold = prices.import_units, prices.export_units
    payments = payments_of(use, prices=prices)
    pays_alone = drawn * bought[:, None] - fed * sold[:, None]
    peak = int(drawn.sum(axis=1).argmax())
    unpriced = int((~prices.is_published).sum())
    facts = {
        "zone_id": zone.zone_id,
        "local_date": day.local_date,
        "starts_at_utc": day.bounds[0],
        "currency_code": zone.currency_code,
    }
    days = pl.DataFrame(
        {
            "premise_id": use.premise_ids,
            "estimated_slots": use.is_estimated.sum(axis=0),
            "import_wh": drawn.sum(axis=0),
            "export_wh": fed.sum(axis=0),
            "baseline_wh": base.sum(axis=0),
            "local_wh": payments.local_wh.sum(axis=0),
            "peak_wh": drawn[peak],
            "baseline_amount": base.sum(axis=0) * flat,
            "deviation_amount": ((drawn - base) * bought[:, None]).sum(axis=0),
            "baseline_credit": (base * (bought - flat)[:, None]).sum(axis=0),
            "feed_in_credit": (fed * sold[:, None]).sum(axis=0),
            "community_credit": (pays_alone - payments.amount).sum(axis=0),
            "grid_amount": (payments.amount - payments.local_amount).sum(axis=0),
            "local_amount": payments.local_amount.sum(axis=0),
            "flat_amount": drawn.sum(axis=0) * flat - fed.sum(axis=0) * feed_in,
        }
    ).with_columns(
        interval_minutes=pl.lit(day.interval_minutes, pl.Int64),
        slots=pl.lit(len(drawn), pl.Int64),
        unpriced_slots=pl.lit(unpriced, pl.Int64),
        **{name: pl.lit(value) for name, value in facts.items()},
    )
    return Settled(days=SETTLEMENT_DAYS.conform(days), pools=_pool(use, payments=payments, prices=prices, facts=facts))


def payments_of(use: DayUse, *, prices: DayPrices) -> Payments:
    """Return what members pay; alone where there is no community, or where the grid pays more than it takes."""
    terms = use.day.zone.community
    net = use.import_wh - use.export_wh
    bought, sold = prices.import_units, prices.export_units
    alone = use.import_wh * bought[:, None] - use.export_wh * sold[:, None]
    trades = (sold <= bought) & (terms.rule != "none")
    nothing = np.zeros_like(net)
    if terms.rule == "none" or not trades.any():
        return Payments(amount=alone, local_amount=nothing, local_wh=nothing, grid_amount=alone.sum(axis=1))
    shares = np.array([terms.shares.get(name, terms.share_of_others) for name in use.premise_ids], dtype=np.int64)
    made = community_payments(
        net[trades],
        import_units=bought[trades],
        export_units=sold[trades],
        rule=terms.rule,
        key=terms.key,
        # A zone of which nobody has a share is one in which all have the same.
        weights=shares if shares.any() else np.ones_like(shares),
    )
    amount, between, local, grid = alone.copy(), nothing.copy(), nothing.copy(), alone.sum(axis=1)
    amount[trades], between[trades] = made.amount, made.local_amount
    local[trades], grid[trades] = made.local_wh, made.grid_amount
    return Payments(amount=amount, local_amount=between, local_wh=local, grid_amount=grid)


def _pool(use: DayUse, *, payments: Payments, prices: DayPrices, facts: dict[str, object]) -> pl.DataFrame:
    terms = use.day.zone.community
    drawn, fed = use.import_wh.sum(axis=1), use.export_wh.sum(axis=1)
    traded = payments.local_wh.sum(axis=1)
    # Where members trade, the grid sees their nets; a premise's own import and export of one slot cancel as well.
    trades = (prices.export_units <= prices.import_units) & (terms.rule != "none")
    net = use.import_wh - use.export_wh
    wanted, offered = np.maximum(net, 0).sum(axis=1), np.maximum(-net, 0).sum(axis=1)
    account = {
        "rule": terms.rule,
        "key": terms.key,
        "members": len(use.premise_ids),
        "import_wh": int(drawn.sum()),
        "export_wh": int(fed.sum()),
        "grid_import_wh": int(np.where(trades, wanted - traded, drawn).sum()),
        "grid_export_wh": int(np.where(trades, offered - traded, fed).sum()),
        "local_wh": int(traded.sum()),
        "grid_amount": int(payments.grid_amount.sum()),
    }
    return SETTLEMENT_POOLS.conform(pl.DataFrame([{**facts, **account}]))


def _units(rate: float) -> int:
    return round(rate * PRICE_UNITS_PER_CURRENCY)
