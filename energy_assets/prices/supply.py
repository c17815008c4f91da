"""What another kilowatt-hour costs a zone: convex supply cost per slot, from blocks or from wholesale prices.

A slot's cost is the highest of straight lines through the corners of its merit order. Responses and prices are not
known here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_assets.prices.days import MEDIAN, SCENARIO_WEIGHTS, DayForecast, Floats
from energy_assets.prices.zones import SupplyBlock, ZoneConfig


@dataclass(frozen=True, kw_only=True)
class SupplyCost:
    """Lines of the cost of supply: cost(n) = max_k(price_k n + intercept_k), arrays of (slots, lines).

    `energy_price` and `carbon_kg` split a line's price: price = energy_price + carbon price x carbon_kg.
    """

    energy_price: Floats
    carbon_kg: Floats
    intercept: Floats
    carbon_price: float

    @property
    def price(self) -> Floats:
        """Return the slope of each line, currency/kWh with carbon."""
        return self.energy_price + self.carbon_price * self.carbon_kg

    def cost(self, net_load_kwh: Floats) -> Floats:
        """Return the cost per slot, in currency, of net loads of shape (slots,) or (scenarios, slots)."""
        lines = net_load_kwh[..., None] * self.price + self.intercept
        return np.asarray(lines.max(axis=-1), dtype=np.float64)

    def active(self, net_load_kwh: Floats) -> Floats:
        """Return one-hot weights (slots, lines) of the line that sets the marginal price of each slot."""
        lines = net_load_kwh[:, None] * self.price + self.intercept
        weights = np.zeros_like(lines)
        weights[np.arange(len(lines)), lines.argmax(axis=1)] = 1.0
        return weights

    def expected_cost(self, net_load_kwh: Floats, *, weights: Floats) -> float:
        """Return the day's mean cost over scenarios of shape (scenarios, slots)."""
        return float(weights @ self.cost(net_load_kwh).sum(axis=1))


@dataclass(frozen=True, kw_only=True)
class Marginal:
    """Parts of the marginal cost per slot, currency/kWh, and its greenhouse-gas intensity, kg/kWh."""

    energy: Floats
    carbon: Floats
    risk: Floats
    intensity: Floats


def marginal_parts(supply: SupplyCost, *, line_weights: Floats, net_load_kwh: Floats) -> Marginal:
    """Return the parts of the marginal cost from weights (scenarios, slots, lines) that sum to the scenario's weight.

    Energy and carbon are those of the median; risk is what the other scenarios add to the mean. Scenarios that agree
    with the median count with it: at a corner of the merit order a solver may split its weights between them at will.
    """
    alike = np.isclose(net_load_kwh, net_load_kwh[MEDIAN], rtol=1e-9, atol=0.0)
    shares = alike * SCENARIO_WEIGHTS[:, None]
    median = (line_weights * alike[:, :, None]).sum(axis=0) / shares.sum(axis=0)[:, None]
    energy = np.asarray((median * supply.energy_price).sum(axis=1))
    intensity = np.asarray((median * supply.carbon_kg).sum(axis=1))
    carbon = supply.carbon_price * intensity
    expected = np.asarray((line_weights * supply.price).sum(axis=(0, 2)))
    return Marginal(energy=energy, carbon=carbon, risk=expected - energy - carbon, intensity=intensity)


def marginal_at(supply: SupplyCost, *, net_load_kwh: Floats) -> Marginal:
    """Return the parts of the marginal cost at given net loads of shape (scenarios, slots)."""
    weights = [share * supply.active(load) for share, load in zip(SCENARIO_WEIGHTS, net_load_kwh, strict=True)]
    return marginal_parts(supply, line_weights=np.array(weights), net_load_kwh=net_load_kwh)


def supply_cost(zone: ZoneConfig, *, day: DayForecast) -> SupplyCost:
    """Return the cost of supply of a zone on a delivery day."""
    if zone.supply_kind == "wholesale":
        return _wholesale(zone, day=day)
    peak_kw = zone.reference_peak_kw or max(float(day.net_load_kwh[MEDIAN].max()) / day.hours, 1e-9)
    imports = sorted(zone.supply, key=lambda block: block.price + zone.carbon_price * block.carbon_kg_per_kwh)
    exports = sorted(zone.export, key=lambda block: -block.price)
    lines = [*_export_lines(exports, peak_kw=peak_kw), *_import_lines(imports, zone=zone, peak_kw=peak_kw)]
    table = np.array(lines)
    slots = len(day.starts_at_utc)
    return SupplyCost(
        energy_price=np.tile(table[:, 0], (slots, 1)),
        carbon_kg=np.tile(table[:, 1], (slots, 1)),
        intercept=np.tile(table[:, 2] * day.hours, (slots, 1)),
        carbon_price=zone.carbon_price,
    )


def _import_lines(blocks: list[SupplyBlock], *, zone: ZoneConfig, peak_kw: float) -> list[tuple[float, float, float]]:
    """Return (energy price, carbon, intercept per hour) of the merit order; it ends with a block without limit."""
    lines: list[tuple[float, float, float]] = []
    reached_kw, cost = 0.0, 0.0
    for block in blocks:
        price = block.price + zone.carbon_price * block.carbon_kg_per_kwh
        lines.append((block.price, block.carbon_kg_per_kwh, cost - price * reached_kw))
        capacity = block.capacity(reference_peak_kw=peak_kw)
        if capacity == float("inf"):
            return lines
        reached_kw, cost = reached_kw + capacity, cost + price * capacity
    last = blocks[-1]
    scarcity = max(zone.scarcity_price, last.price + zone.carbon_price * last.carbon_kg_per_kwh)
    lines.append((scarcity, 0.0, cost - scarcity * reached_kw))
    return lines


def _export_lines(blocks: list[SupplyBlock], *, peak_kw: float) -> list[tuple[float, float, float]]:
    """Return the lines of net loads below zero; past the last block surplus is curtailed for nothing."""
    lines: list[tuple[float, float, float]] = []
    reached_kw, earned = 0.0, 0.0
    for block in blocks:
        lines.append((block.price, 0.0, -earned + block.price * reached_kw))
        capacity = block.capacity(reference_peak_kw=peak_kw)
        if capacity == float("inf"):
            return lines
        reached_kw, earned = reached_kw + capacity, earned + block.price * capacity
    lowest = min(0.0, blocks[-1].price) if blocks else 0.0
    lines.append((lowest, 0.0, -earned + lowest * reached_kw))
    return lines


def _wholesale(zone: ZoneConfig, *, day: DayForecast) -> SupplyCost:
    assert day.wholesale_price is not None
    carbon = np.zeros(len(day.starts_at_utc)) if day.wholesale_carbon is None else day.wholesale_carbon
    half = zone.wholesale_spread / 2
    energy = np.stack([day.wholesale_price - half, day.wholesale_price + half], axis=1)
    return SupplyCost(
        energy_price=energy,
        carbon_kg=np.stack([carbon, carbon], axis=1),
        intercept=np.zeros_like(energy),
        carbon_price=zone.carbon_price,
    )
