"""The catalogue of households: who lives there, what is on the roof, in the cellar and in the garage, and its meters.

Household k is the same in a community of any size; a hundred of them make a town.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from energy_assets.community.places import TOWNS, Place
from energy_assets.community.streams import Array, stream

SOURCE = "households"
HOUSEHOLDS_PER_TOWN = 100
_PEOPLE_SHARES = (0.27, 0.27, 0.20, 0.13, 0.07, 0.06)  # commuters, family, retired, home office, student, shift
_METERING = ("interval", "register", "power")
_METERING_SHARES = (0.45, 0.40, 0.15)
_BREAKER_KW = 43.6  # three phases at 63 A


@dataclass(frozen=True, kw_only=True)
class Dwellings:
    """Traits of households, arrays along them; powers in kW, energies in kWh, temperatures in C."""

    number: Array
    people: Array
    occupants: Array
    floor_area_m2: Array
    year_built: Array
    metering: Array
    unit_wh: Array
    base_kw: Array
    appliance_kwh_per_day: Array
    rise_shift_h: Array
    pv_kwp: Array
    pv_tilt: Array
    pv_facing: Array
    pv_inverter_kw: Array
    battery_kwh: Array
    battery_kw: Array
    heat_loss_kw_per_c: Array
    heat_balance_c: Array
    has_heat_pump: Array
    supply_c: Array
    ev_kw: Array
    ev_kwh_per_trip: Array
    ev_arrival_h: Array
    away_share: Array

    @property
    def names(self) -> list[str]:
        """Return the device names, `h0001` and so on."""
        return [f"h{int(number):04d}" for number in self.number]

    def __len__(self) -> int:
        return int(self.number.size)


def town_of(number: int) -> Place:
    """Return the place of a household."""
    return TOWNS[(number // HOUSEHOLDS_PER_TOWN) % len(TOWNS)]


def site_id_of(number: int) -> str:
    """Return the site of a household; the towns repeat after the last one, as further districts."""
    town, district = number // HOUSEHOLDS_PER_TOWN % len(TOWNS), number // HOUSEHOLDS_PER_TOWN // len(TOWNS)
    return f"{SOURCE}.{TOWNS[town].site_id}" + (f"_{district + 1}" if district else "")


def dwellings(first: int, count: int, *, seed: int) -> Dwellings:
    """Return the traits of households `first` to `first + count - 1`."""
    drawn = [_dwelling(number, seed=seed) for number in range(first, first + count)]
    return Dwellings(**{f.name: np.array([one[f.name] for one in drawn]) for f in fields(Dwellings)})


def _dwelling(number: int, *, seed: int) -> dict[str, float]:
    g = stream(seed, "dwelling", number)
    n, u = g.standard_normal(12), g.random(16)
    people = int(np.searchsorted(np.cumsum(_PEOPLE_SHARES), u[0]))
    occupants = int(np.clip(np.round({0: 1.8, 1: 3.9, 2: 1.7, 3: 2.3, 4: 1.3, 5: 2.2}[people] + 0.6 * n[0]), 1, 7))
    year = int(np.clip(1968 + 26 * n[1], 1890, 2024))
    area = float(np.clip(42 + 27 * occupants * np.exp(0.2 * n[2]), 28, 320)) * (0.5 if people == 4 else 1.0)
    has_pv = u[1] < (0.12 if people == 4 else 0.46)
    has_heat_pump = u[2] < (0.55 if year > 1998 else 0.22)
    # Transmission: about 1.6 W/(m2 K) of floor area in an old house, 0.6 in a recent one.
    loss = area * (0.6 + 1.1 / (1 + np.exp((year - 1985) / 12))) / 1000 * np.exp(0.15 * n[3])
    pv = float(np.round(np.clip(6.8 * np.exp(0.38 * n[4]), 2.2, 17) / 0.42) * 0.42) if has_pv else 0.0
    battery = float(np.round(np.clip(pv * 1.15 * np.exp(0.2 * n[5]), 3, 16))) if has_pv and u[3] < 0.55 else 0.0
    has_ev = u[4] < (0.0 if people == 4 else 0.45 if has_pv else 0.22)
    return {
        "number": number,
        "people": people,
        "occupants": occupants,
        "floor_area_m2": round(area, 1),
        "year_built": year,
        "metering": int(np.searchsorted(np.cumsum(_METERING_SHARES), u[5])),
        "unit_wh": u[6] < 0.3,
        "base_kw": 0.075 * occupants**0.35 * np.exp(0.4 * n[6]),
        "appliance_kwh_per_day": 2.0 * occupants**0.6 * (area / 100) ** 0.25 * np.exp(0.28 * n[7]),
        "rise_shift_h": 0.5 * n[8],
        "pv_kwp": pv,
        "pv_tilt": np.deg2rad(np.clip(32 + 9 * n[9], 5, 55)),
        "pv_facing": np.deg2rad((90, 180, 180, 180, 270, 200, 160)[int(u[7] * 7)] + 10 * n[10]),
        "pv_inverter_kw": pv * 0.9,
        "battery_kwh": battery,
        "battery_kw": battery * 0.5,
        "heat_loss_kw_per_c": loss if has_heat_pump else 0.0,
        "heat_balance_c": 15.5 - 2.5 * (year > 2000) + 0.6 * n[11],
        "has_heat_pump": has_heat_pump,
        "supply_c": 35.0 if year > 2000 else 46.0,
        "ev_kw": (3.7, 11.0, 11.0, 7.4)[int(u[8] * 4)] if has_ev else 0.0,
        "ev_kwh_per_trip": 4.0 + 9.0 * u[9],
        "ev_arrival_h": 17.6 + 1.2 * n[8] - 3.5 * (people == 2),
        "away_share": {0: 0.85, 1: 0.75, 2: 0.35, 3: 0.35, 4: 0.7, 5: 0.7}[people],
    }


def sites(count: int) -> pl.DataFrame:
    """Return the towns in the columns of metering.sites, without `source`."""
    firsts = {site_id_of(number): number for number in range(count - 1, -1, -HOUSEHOLDS_PER_TOWN)} | (
        {site_id_of(0): 0} if count else {}
    )
    rows = [(site_id, town_of(number)) for site_id, number in sorted(firsts.items())]
    return pl.DataFrame(
        {
            "site_id": [site_id for site_id, _ in rows],
            "name": [place.name for _, place in rows],
            "timezone": [place.timezone for _, place in rows],
            "latitude": [place.latitude for _, place in rows],
            "longitude": [place.longitude for _, place in rows],
            "country_code": [place.country_code for _, place in rows],
            "subdivision_code": [place.subdivision_code or None for _, place in rows],
        },
        schema_overrides={"subdivision_code": pl.String},
    )


def premises(homes: Dwellings) -> pl.DataFrame:
    """Return households in the columns of metering.premises, without `source`."""
    heating = ["heat_pump" if pump else "natural_gas" for pump in homes.has_heat_pump]
    return pl.DataFrame(
        {
            "premise_id": [f"{SOURCE}.{name}" for name in homes.names],
            "site_id": [site_id_of(int(number)) for number in homes.number],
            "primary_use": ["Residential"] * len(homes),
            "floor_area_m2": homes.floor_area_m2,
            "year_built": homes.year_built,
            "floor_count": [None] * len(homes),
            "occupants": homes.occupants,
            "heating_type": heating,
            "hot_water_type": heating,
            "has_pv": homes.pv_kwp > 0,
            "has_battery": homes.battery_kwh > 0,
            "has_ev_charger": homes.ev_kw > 0,
            "consumer_type": ["individual"] * len(homes),
            "annual_kwh_hint": np.round(365 * (homes.appliance_kwh_per_day + 24 * homes.base_kw), -2),
        },
        schema_overrides={"floor_count": pl.Int64},
    )


def meters(homes: Dwellings, *, interval_minutes: int) -> pl.DataFrame:
    """Return the meters of households in the columns of metering.meters, without `source`, plus nothing else.

    A home without panels has one meter of its consumption; one with panels has import, export and production.
    """
    rows: list[dict[str, object]] = []
    for index, name in enumerate(homes.names):
        kind = _METERING[int(homes.metering[index])]
        wh = bool(homes.unit_wh[index])
        unit = "W" if kind == "power" else "Wh" if kind == "register" and wh else "kWh"
        measure = {"interval": "interval_energy", "register": "register", "power": "power"}[kind]
        directions = ("grid_import", "grid_export", "production") if homes.pv_kwp[index] > 0 else ("consumption",)
        for direction in directions:
            rows.append(
                {
                    "meter_id": f"{SOURCE}.{name}.{'electricity' if direction == 'consumption' else direction}",
                    "premise_id": f"{SOURCE}.{name}",
                    "site_id": site_id_of(int(homes.number[index])),
                    "commodity": "electricity",
                    "direction": direction,
                    "measure": measure,
                    "unit": unit,
                    "interval_minutes": interval_minutes,
                    "capacity_kw": round(float(homes.pv_kwp[index]) * 1.1, 1)
                    if direction == "production"
                    else _BREAKER_KW,
                }
            )
    return pl.DataFrame(rows)
