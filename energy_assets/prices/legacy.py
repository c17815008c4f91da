"""The price formulas of two predecessors, as pure functions that a zone can choose as its rule.

System 000 called its rule a bargain; it settles at a twentieth of the spread between the highest consumption and the
lowest production. System 003 multiplies a base rate by factors of the house, the season, the hour and the weather.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from energy_assets.prices.days import DayForecast, Floats
from energy_assets.prices.zones import LegacyHouse, ZoneConfig

SYSTEM_000_DIVISOR = 20.0
SYSTEM_000_SURPLUS_PRICE = 0.2
SYSTEM_003_BASE = 0.12
SYSTEM_003_TEMPERATURE_C = 15.0  # what its forecast assumed for every hour
SYSTEM_003_BANDS = (0.08, 0.10, 0.12, 0.14)
SYSTEM_003_REGIONS = {
    "lombardia": 1.05,
    "milano": 1.05,
    "sicilia": 1.12,
    "sardegna": 1.12,
    "lazio": 1.08,
    "roma": 1.08,
}
SYSTEM_003_HEATING = {"electric": 0.90, "heat_pump": 0.85, "natural_gas": 1.05, "biomass": 1.0}


def system_000_price(consumption_kwh: Sequence[float], *, production_kwh: Sequence[float]) -> float:
    """Return the price of system 000 in EUR from the households' consumption and production of one moment."""
    price = (max(consumption_kwh) - min(production_kwh)) / SYSTEM_000_DIVISOR
    return SYSTEM_000_SURPLUS_PRICE if price < 0 else price


def system_003_price(
    house: LegacyHouse, *, local_time: datetime, temperature_c: float, consumption_kwh: float, noise: float = 1.0
) -> float:
    """Return the price of system 003 in EUR/kWh, to 4 decimals.

    Args:
        house: What the formula knows about the house.
        local_time: Local time; its month and hour count.
        temperature_c: Outdoor temperature.
        consumption_kwh: Reported consumption.
        noise: The factor 0.97..1.03 that the original took from the wall clock.
    """
    price = (
        SYSTEM_003_BASE
        * SYSTEM_003_REGIONS.get(house.region.strip().lower(), 1.0)
        * _house_factor(house)
        * _season_factor(local_time.month)
        * _hour_factor(local_time.hour)
        * _temperature_factor(temperature_c)
        * (1.15 if consumption_kwh > 3 else 1.0)
        * noise
    )
    return round(price, 4)


def system_003_band(price: float) -> int:
    """Return the band of a price: 0 is the cheapest of five."""
    return sum(price >= limit for limit in SYSTEM_003_BANDS)


def legacy_curve(zone: ZoneConfig, *, day: DayForecast) -> Floats:
    """Return the curve of the zone's legacy rule, currency/kWh per slot.

    System 000 sees the zone as one household; system 003 prices the zone's `legacy_house` at its share of the load.
    """
    if zone.rule == "system_000":
        net = day.net_load_kwh[1]
        production = np.maximum(day.consumption_kwh - net, 0.0)
        pairs = zip(day.consumption_kwh, production, strict=True)
        return np.array([system_000_price([used], production_kwh=[made]) for used, made in pairs])
    house = zone.legacy_house
    return np.array(
        [
            system_003_price(
                house,
                local_time=start.astimezone(zone.zoneinfo),
                temperature_c=SYSTEM_003_TEMPERATURE_C if day.temperature_c is None else float(day.temperature_c[slot]),
                consumption_kwh=float(day.consumption_kwh[slot]) / house.households,
            )
            for slot, start in enumerate(day.starts_at_utc)
        ]
    )


def _house_factor(house: LegacyHouse) -> float:
    members = 1.10 if house.members > 4 else 0.95 if house.members <= 2 else 1.0
    area = 1.07 if house.area_m2 > 150 else 0.98 if house.area_m2 < 60 else 1.0
    built = 1.10 if house.year_built < 1980 else 0.92 if house.year_built > 2015 else 1.0
    return members * area * SYSTEM_003_HEATING[house.heating_type] * built


def _season_factor(month: int) -> float:
    return {12: 1.15, 1: 1.15, 2: 1.15, 6: 1.10, 7: 1.10, 8: 1.10}.get(month, 1.0)


def _hour_factor(hour: int) -> float:
    if hour >= 23 or hour <= 7:
        return 0.75
    if hour <= 12:
        return 1.30
    return 1.40 if 19 <= hour <= 21 else 1.05


def _temperature_factor(temperature_c: float) -> float:
    if temperature_c < 2:
        return 1.25
    if temperature_c > 32:
        return 1.20
    return 0.90 if 18 <= temperature_c <= 24 else 1.0
