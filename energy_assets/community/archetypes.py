"""The character of each building: hours, intensity, response to weather, noise and rounding, by use and by luck.

Everything here is drawn once a building; what happens in a month is in `loads`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from energy_assets.community.calendars import BREAK, SATURDAY, SUNDAY, WORKING
from energy_assets.community.places import CAMPUSES
from energy_assets.community.streams import Array, stream

SLOTS = 96
SQUARE_FEET_PER_M2 = 10.7639

# Use: electric intensity (W/m2), share of it that never sleeps, opening, closing, Saturday, Sunday, break level.
_HABITS: dict[str, tuple[float, float, float, float, float, float, float]] = {
    "Education": (17, 0.50, 7.2, 18.0, 0.35, 0.25, 0.62),
    "Office": (18, 0.48, 7.0, 18.2, 0.28, 0.15, 0.92),
    "Entertainment/public assembly": (14, 0.42, 9.0, 21.5, 0.85, 0.70, 0.80),
    "Public services": (12, 0.50, 7.5, 17.5, 0.40, 0.30, 0.97),
    "Lodging/residential": (12, 0.55, 6.5, 23.0, 0.97, 1.0, 0.75),
    "Other": (12, 0.55, 7.5, 18.0, 0.45, 0.35, 0.9),
    "Healthcare": (30, 0.66, 6.5, 18.5, 0.70, 0.65, 0.98),
    "Parking": (3.5, 0.45, 18.0, 6.5, 0.95, 0.95, 0.95),
    "Warehouse/storage": (7, 0.50, 6.0, 17.0, 0.35, 0.10, 0.9),
    "Manufacturing/industrial": (35, 0.35, 6.0, 20.0, 0.40, 0.20, 0.95),
    "Retail": (17, 0.35, 8.0, 21.0, 1.0, 0.85, 1.0),
    "Services": (18, 0.50, 8.0, 18.5, 0.5, 0.3, 0.95),
    "Technology/science": (45, 0.78, 8.0, 19.0, 0.5, 0.4, 0.95),
    "Food sales and service": (45, 0.60, 6.5, 22.5, 1.0, 0.95, 0.8),
    "Utility": (60, 0.75, 6.0, 20.0, 0.9, 0.9, 1.0),
    "Religious worship": (8, 0.40, 9.0, 15.0, 0.8, 2.2, 1.0),
}
_TERM_USES = ("Education", "Lodging/residential", "Entertainment/public assembly")
_MILD_SITES = (1, 4, 5, 12)
_LEAN_SITES = (1, 5, 12)


@dataclass(frozen=True, kw_only=True)
class Characters:
    """Traits of buildings, each an array along the buildings; `occupancy` has shape (buildings, day types, 96)."""

    occupancy: Array
    has_terms: Array
    level_kw: Array
    floor_area_m2: Array
    base_share: Array
    day_spread: Array
    start_jitter: Array
    cool_share: Array
    cool_balance_c: Array
    heat_share: Array
    heat_balance_c: Array
    inertia_class: Array
    noise: Array
    roughness: Array
    machine_share: Array
    lighting_share: Array
    drift: Array
    step: Array
    cool_kw: Array
    heat_kw: Array
    summer_heat_off: Array
    winter_cool_off: Array

    def take(self, rows: Array) -> Characters:
        """Return the traits of some buildings."""
        return Characters(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def characters(frame: pl.DataFrame, *, seed: int) -> Characters:
    """Return the traits of the buildings of a catalogue frame, row by row."""
    drawn = [
        _character(
            int(b),
            int(site),
            str(use),
            float(area),
            has_cooling=1 in meters,
            has_heat=2 in meters or 3 in meters,
            seed=seed,
        )
        for b, site, use, area, meters in frame.select(
            "building_id", "site", "primary_use", "square_feet", "meters"
        ).iter_rows()
    ]
    return Characters(**{f.name: np.stack([one[f.name] for one in drawn]) for f in fields(Characters)})


def _character(
    building: int, site: int, use: str, square_feet: float, *, has_cooling: bool, has_heat: bool, seed: int
) -> dict[str, Array]:
    g = stream(seed, "building", building)
    n, u = g.standard_normal(16), g.random(16)
    place = CAMPUSES[site % len(CAMPUSES)]
    intensity, base, *_ = _HABITS[use]
    area = square_feet / SQUARE_FEET_PER_M2
    lean = 0.6 if site in _LEAN_SITES else 1.0
    small = area < 1500
    level = intensity * lean * area / 1000 * np.exp(0.55 * n[0] - 0.15)
    base_share = 1 / (1 + np.exp(-(np.log(base / (1 - base)) + 0.1 - 0.9 * (lean < 1) + 0.65 * n[1])))
    warm = np.clip((place.mean_c + place.season_c - 15) / 12, 0, 1.2)
    cool = 0.0 if has_cooling else warm * (0.12 if site in _MILD_SITES else 0.5) * np.exp(0.5 * n[2]) * (u[0] < 0.85)
    electric_heat = not has_heat and u[1] < (0.3 if place.mean_c > 5 else 0.15)
    traits: dict[str, object] = {
        "occupancy": _occupancy(use, n=n, u=u, building=building, seed=seed),
        "has_terms": use in _TERM_USES,
        "level_kw": level,
        "floor_area_m2": area,
        "base_share": base_share,
        "day_spread": 0.026 * np.exp(0.5 * n[3]) * (2.2 if use.startswith(("Enter", "Relig", "Manuf")) else 1.0),
        "start_jitter": 0.6 + 1.6 * u[2] * (use != "Healthcare"),
        "cool_share": cool,
        "cool_balance_c": 15.5 + 1.6 * n[4],
        "heat_share": 0.45 * np.exp(0.4 * n[5]) if electric_heat else 0.04 * u[3],
        "heat_balance_c": 14.5 + 1.5 * n[6],
        "inertia_class": int(np.searchsorted([0.3, 0.65, 0.9], u[4])),
        "noise": 0.02 * np.exp(0.45 * n[7]) * (1.8 if small else 1.0),
        "roughness": 0.013 * np.exp(0.8 * n[8]) * (3.0 if small and u[5] < 0.3 else 1.0),
        "machine_share": (0.03 + 0.2 * u[6] ** 3) * (2.2 if use.startswith("Manuf") else 1.0),
        "lighting_share": 0.75 if use == "Parking" or u[7] < 0.015 else 0.06 * u[8],
        "drift": 0.02 * n[9] - 0.004,
        "step": _meter_step(level, u[9]),
        "cool_kw": area / 1000 * 26 * np.exp(0.6 * n[10]) * (0.6 if site in _MILD_SITES else 1.0),
        "heat_kw": area / 1000 * 34 * np.exp(0.6 * n[11]),
        "summer_heat_off": u[10] < 0.35,
        "winter_cool_off": u[11] < (0.55 if place.mean_c < 16 else 0.1),
    }
    return {
        name: np.asarray(value, dtype=np.float32 if not isinstance(value, bool | int) else None)
        for name, value in traits.items()
    }


def _occupancy(use: str, *, n: Array, u: Array, building: int, seed: int) -> Array:
    """Return the quarter-hourly use of a building for each type of day, between 0 and about 1."""
    _, _, opens, closes, saturday, sunday, pause = _HABITS[use]
    t = (np.arange(SLOTS) + 0.5) / 4
    opens, closes = opens + 0.7 * n[12], closes + 0.9 * n[13]
    if u[12] < 0.06 and use not in {"Parking", "Lodging/residential"}:
        closes += 4.0  # late shifts and laboratories
    if use == "Lodging/residential":
        shape = (
            0.35
            + 0.35 * _bump(t, 7.8 + 0.4 * n[12], 1.3)
            + 0.25 * _bump(t, 13, 3.5)
            + 0.65 * _bump(t, 20.3 + 0.5 * n[13], 2.6)
        )
        shape -= 0.3 * _bump(t, 3.6, 2.2)
        week_end = np.roll(shape, 4)
    elif use == "Parking":
        shape = week_end = 0.3 + 0.7 * _plateau(t, 7.0, 19.0 + n[13], 1.0)
    else:
        ramp = 0.45 + 0.5 * u[13]
        shape = _plateau(t, opens, closes, ramp) * (
            1 + 0.10 * _bump(t, 11.3, 1.6) - 0.05 * _bump(t, 12.6, 0.7) + 0.07 * _bump(t, 14.8, 1.8)
        )
        shape += 0.16 * u[14] * _plateau(t, closes, closes + 3.2, 0.8)  # cleaning
        week_end = _plateau(t, opens + 1.6, closes - 1.4, ramp * 1.5)
    ripple = np.cumsum(stream(seed, "ripple", building).standard_normal((4, SLOTS)), axis=1)
    ripple = 0.012 * (ripple - ripple.mean(axis=1, keepdims=True))
    days = np.empty((4, SLOTS))
    luck = np.exp(0.35 * n[14])
    days[WORKING], days[SATURDAY] = shape, week_end * saturday * luck
    days[SUNDAY], days[BREAK] = week_end * sunday * luck, shape * pause
    if u[15] < 0.1:
        # The ventilation's clock was never told about weekends.
        days[SATURDAY] = days[WORKING] * 0.95
    elif u[15] < 0.25:
        days[[SATURDAY, SUNDAY]] = np.maximum(days[[SATURDAY, SUNDAY]], 0.55 * _plateau(t, opens, closes, 0.4))
    if u[15] > 0.6 and use not in {"Parking", "Lodging/residential"}:
        # Hump instead of plateau: people come and go all day.
        days *= 0.72 + 0.34 * _bump(t, 13.2 + 0.5 * n[15], 3.6)
    return np.clip(days * (1 + ripple), 0, 2.5)


def _plateau(t: Array, opens: float, closes: float, ramp: float) -> Array:
    level: Array = 1 / (1 + np.exp(-(t - opens) / ramp * 2)) - 1 / (1 + np.exp(-(t - closes) / ramp * 1.6))
    return np.clip(level, 0, 1)


def _bump(t: Array, centre: float, width: float) -> Array:
    apart = (t - centre + 12) % 24 - 12
    bump: Array = np.exp(-0.5 * (apart / width) ** 2)
    return bump


def _meter_step(level_kw: float, luck: float) -> float:
    """Return the resolution of a meter: pulses of a transformer ratio, tenths, whole units, or finer than is read."""
    choices = (0.0001, 0.01, 0.1, 0.25, 1.0)
    step = choices[int(np.searchsorted([0.25, 0.45, 0.7, 0.85], luck))]
    return float(step if level_kw > 25 * step else 0.01)
