"""Units of raw values and what one of each is in kWh: the only place that knows conversion factors.

Water is metered in volume and has no energy of its own: its readings stay in `readings.raw` in m3 or litres and never
enter `readings.interval`, whose columns are kWh and whose sums over a premise or portfolio would otherwise add volumes.
Gas metered in volume becomes energy through the declared calorific value.
"""

from __future__ import annotations

from types import MappingProxyType

from energy_assets.contracts.metering import COMMODITIES, MEASURES, UNITS
from energy_assets.errors import ConfigError

# 1 Btu (international table) = 1055.05585262 J, so 1 kBtu = 0.29307107 kWh to eight digits (ISO 31-4).
KWH_PER_KBTU = 0.29307107

KWH_PER_UNIT = MappingProxyType({"Ws": 1 / 3_600_000, "Wh": 1e-3, "kWh": 1.0, "MWh": 1e3, "kBtu": KWH_PER_KBTU})
KW_PER_UNIT = MappingProxyType({"W": 1e-3, "kW": 1.0, "MW": 1e3})
M3_PER_UNIT = MappingProxyType({"m3": 1.0, "l": 1e-3})

ENERGY_COMMODITIES = tuple(commodity for commodity in COMMODITIES if commodity != "water")
VOLUME_COMMODITIES = ("gas", "water")


def units_of(measure: str) -> tuple[str, ...]:
    """Return the units that a raw value of `measure` may have.

    Raises:
        ConfigError: the measure is unknown.
    """
    if measure not in MEASURES:
        raise ConfigError(f"Measure {measure!r} is unknown; it is one of {', '.join(MEASURES)}.")
    return tuple(KW_PER_UNIT) if measure == "power" else (*KWH_PER_UNIT, *M3_PER_UNIT)


def energy_factor(unit: str, *, measure: str, kwh_per_m3: float | None = None) -> float | None:
    """Return what one `unit` is in kWh, or in kW where the measure is power; None where it is no energy.

    Energy = power x hours is left to the caller, who knows the interval. None says that the pair of unit and measure
    cannot be converted: a volume without calorific value, a power that claims to be an energy, or the reverse.

    Raises:
        ConfigError: the unit or the measure is unknown.
    """
    if unit not in UNITS:
        raise ConfigError(f"Unit {unit!r} is unknown; it is one of {', '.join(UNITS)}.")
    if unit not in units_of(measure):
        return None
    if unit in M3_PER_UNIT:
        return None if kwh_per_m3 is None else M3_PER_UNIT[unit] * kwh_per_m3
    return KW_PER_UNIT[unit] if measure == "power" else KWH_PER_UNIT[unit]


def declaration_faults(*, commodity: str, measure: str, unit: str) -> list[str]:
    """Return what is wrong with a meter's declaration, one sentence a fault; empty when it makes sense."""
    faults = []
    if unit not in units_of(measure):
        faults.append(f"unit {unit} is no unit of measure {measure} (one of {', '.join(units_of(measure))})")
    if unit in M3_PER_UNIT and commodity not in VOLUME_COMMODITIES:
        faults.append(f"unit {unit} is a volume, but {commodity} is not metered in volume")
    if commodity == "water" and unit not in M3_PER_UNIT:
        faults.append(f"water is metered in m3 or l, not in {unit}")
    return faults
