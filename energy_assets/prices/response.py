"""How load answers a price: a linear response around the flat rate, and the utility that people lose by it.

Each group loses own_elasticity of its load per relative rise of a slot's price, and moves shift_elasticity of it
between the slots of the day, which keeps the day's energy. The response matrix is symmetric and positive
semi-definite, so the lost utility is a convex function of the price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_assets.prices.days import DayForecast, Floats
from energy_assets.prices.zones import ZoneConfig

# A slot without forecast load still answers a little, so that its price is determined.
LEAST_SHARE_OF_MEAN = 0.01


@dataclass(frozen=True, kw_only=True)
class Response:
    """Slopes of the response: `own` (slots) and `shift` (groups, slots), kWh per currency/kWh; loads of the groups."""

    flat_rate: float
    own: Floats
    shift: Floats
    group_kwh: Floats

    def matrix(self) -> Floats:
        """Return the response matrix B (slots, slots): load changes by -B (price - flat rate)."""
        matrix = np.diag(self.own + self.shift.sum(axis=0))
        for shift in self.shift:
            total = shift.sum()
            if total > 0:
                matrix -= np.outer(shift, shift) / total
        return matrix

    def reduction_kwh(self, deviation: Floats) -> Floats:
        """Return the load given up per slot, kWh, at a price deviation from the flat rate, currency/kWh."""
        reduction = self.own * deviation
        for shift in self.shift:
            total = shift.sum()
            if total > 0:
                reduction = reduction + shift * (deviation - (shift @ deviation) / total)
        return np.asarray(reduction, dtype=np.float64)

    def lost_utility(self, deviation: Floats) -> float:
        """Return the utility lost against the flat rate, in currency: f 1'Bx + x'Bx / 2."""
        reduction = self.reduction_kwh(deviation)
        return float(self.flat_rate * reduction.sum() + 0.5 * deviation @ reduction)


def linear_response(zone: ZoneConfig, *, day: DayForecast) -> Response:
    """Return the response of a zone's groups on a delivery day."""
    load = day.consumption_kwh
    responding = np.maximum(load, LEAST_SHARE_OF_MEAN * load.mean())
    weights = np.array(
        [
            group.share * (np.ones(len(load)) if group.hourly_weights is None else _profile(group.hourly_weights, day))
            for group in zone.groups
        ]
    )
    total = weights.sum(axis=0)
    shares = np.where(total > 0, weights / np.where(total > 0, total, 1.0), 1.0 / len(zone.groups))
    own = np.array([group.own_elasticity for group in zone.groups])
    shift = np.array([group.shift_elasticity for group in zone.groups])
    slope = shares * responding / zone.flat_rate
    return Response(
        flat_rate=zone.flat_rate,
        own=np.asarray((own[:, None] * slope).sum(axis=0)),
        shift=shift[:, None] * slope,
        group_kwh=shares * day.billed_kwh,
    )


def _profile(hourly_weights: tuple[float, ...], day: DayForecast) -> Floats:
    return np.asarray(hourly_weights, dtype=np.float64)[day.local_hours] / np.mean(hourly_weights)
