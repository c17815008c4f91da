"""Who pays what inside an energy community: rules that share one grid bill among members, slot by slot, exactly.

Energy is in Wh and prices are in 1e-5 currency/kWh, so that amounts are whole numbers of 1e-8 currency and the members'
payments sum to the grid's bill in every slot; what they pay each other sums to zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_assets.errors import ContractError
from energy_assets.prices.rounding import Integers, share_exactly
from energy_assets.prices.terms import Key, Rule

__all__ = ["Key", "Payments", "Rule", "allocate", "alone", "community_payments"]


@dataclass(frozen=True, kw_only=True)
class Payments:
    """Amounts in 1e-8 currency (slots, members), positive to pay, and energy in Wh."""

    amount: Integers
    local_amount: Integers  # the part of `amount` that goes to other members; sums to zero in every slot
    local_wh: Integers  # local energy that each member bought
    grid_amount: Integers  # (slots,)


def community_payments(
    net_wh: Integers,
    *,
    import_units: Integers,
    export_units: Integers,
    rule: Rule = "d_nem",
    key: Key = "proportional",
    weights: Integers | None = None,
) -> Payments:
    """Return what each member pays in each slot; nobody pays more than alone.

    Args:
        net_wh: (slots, members) consumption less production, Wh.
        import_units: (slots,) price of the grid's energy, 1e-5 currency/kWh.
        export_units: (slots,) what the grid pays; not above the import price.
        rule: `d_nem`: everybody at the grid price of the community's own direction (after Alahmed and Tong).
            `mid_market`: local energy half-way between import and export price.
            `supply_demand_ratio`: local price falls from import to export price as local supply meets demand.
            `bill_sharing`: the bill of the community's net by who drew, its earnings by who fed in; who would pay more
            than alone pays as alone, and those who gain make up for it in proportion to their gain.
        key: Who gets local energy under `mid_market` and `supply_demand_ratio`: in proportion to demand; by fixed
            shares that lapse when not used; or by shares that are passed on until supply or demand is met.
        weights: (members,) the shares of keys `static` and `dynamic`.

    Raises:
        ContractError: an export price is above its import price, or a key lacks its weights.
    """
    if np.any(export_units > import_units):
        raise ContractError("An export price is above the import price of its slot; members would trade in circles.")
    demand, supply = np.maximum(net_wh, 0), np.maximum(-net_wh, 0)
    if rule == "bill_sharing":
        return _shared_bill(net_wh, import_units=import_units, export_units=export_units)
    wanted, offered = demand.sum(axis=1), supply.sum(axis=1)
    if rule == "d_nem":
        local = share_exactly(np.minimum(wanted, offered), weights=demand)
        inner = np.where(wanted >= offered, import_units, export_units)
    else:
        local = allocate(demand, supply_wh=offered, key=key, weights=weights)
        inner = _local_price(rule, demand=wanted, supply=offered, import_units=import_units, export_units=export_units)
    sold = share_exactly(local.sum(axis=1), weights=supply)
    between = (local - sold) * inner[:, None]
    with_grid = (demand - local) * import_units[:, None] - (supply - sold) * export_units[:, None]
    # Of the community's own sums, not of what its members pay: the two are compared.
    left = local.sum(axis=1)
    grid = (wanted - left) * import_units - (offered - left) * export_units
    return Payments(amount=with_grid + between, local_amount=between, local_wh=local, grid_amount=grid)


def alone(net_wh: Integers, *, import_units: Integers, export_units: Integers) -> Integers:
    """Return what each member would pay without the community, 1e-8 currency (slots, members)."""
    return np.asarray(net_wh * np.where(net_wh >= 0, import_units[:, None], export_units[:, None]), dtype=np.int64)


def allocate(demand_wh: Integers, *, supply_wh: Integers, key: Key, weights: Integers | None) -> Integers:
    """Return the local energy that each member gets, Wh (slots, members); never above demand or supply."""
    if key == "proportional":
        return share_exactly(np.minimum(supply_wh, demand_wh.sum(axis=1)), weights=demand_wh)
    if weights is None or len(weights) != demand_wh.shape[1] or np.any(weights < 0) or weights.sum() == 0:
        raise ContractError(f"The key {key!r} needs a weight per member ({demand_wh.shape[1]}), one of them positive.")
    shares = np.broadcast_to(weights, demand_wh.shape)
    if key == "static":
        return np.minimum(share_exactly(supply_wh, weights=shares), demand_wh)
    given = np.zeros_like(demand_wh)
    for _ in range(demand_wh.shape[1] + 1):
        wanting = np.where(given < demand_wh, np.maximum(shares, 0), 0)
        left = np.where(wanting.sum(axis=1) > 0, supply_wh - given.sum(axis=1), 0)
        if not left.any():
            break
        given = np.minimum(given + share_exactly(left, weights=wanting), demand_wh)
    return given


def _local_price(
    rule: Rule, *, demand: Integers, supply: Integers, import_units: Integers, export_units: Integers
) -> Integers:
    gap = import_units - export_units
    if rule == "mid_market":
        return np.asarray(export_units + gap // 2, dtype=np.int64)
    # Sell price of the supply-demand ratio (Liu et al., 2017): P E / ((P - E) r + E), here with E lifted off zero.
    ratio = np.where(demand > 0, np.minimum(supply / np.maximum(demand, 1), 1.0), 1.0)
    low, high = export_units.astype(np.float64), import_units.astype(np.float64)
    below = gap * ratio + low
    price = np.where(below > 0, high * low / np.where(below > 0, below, 1.0), high)
    return np.clip(np.floor(price).astype(np.int64), export_units, import_units)


def _shared_bill(net_wh: Integers, *, import_units: Integers, export_units: Integers) -> Payments:
    demand, supply = np.maximum(net_wh, 0), np.maximum(-net_wh, 0)
    total: Integers = net_wh.sum(axis=1)
    cost, earnings = np.maximum(total, 0) * import_units, np.maximum(-total, 0) * export_units
    shared = share_exactly(cost, weights=demand) - share_exactly(earnings, weights=supply)
    gain = alone(net_wh, import_units=import_units, export_units=export_units) - shared
    lacking = np.maximum(-gain, 0)
    between = share_exactly(lacking.sum(axis=1), weights=np.maximum(gain, 0)) - lacking
    local = share_exactly(np.minimum(demand.sum(axis=1), supply.sum(axis=1)), weights=demand)
    return Payments(amount=shared + between, local_amount=between, local_wh=local, grid_amount=cost - earnings)
