"""Units: each factor against its definition, and declarations that cannot be."""

from __future__ import annotations

import pytest

from energy_assets.contracts.metering import MEASURES, UNITS
from energy_assets.errors import ConfigError
from energy_assets.metering.units import declaration_faults, energy_factor, units_of


@pytest.mark.parametrize(
    ("unit", "measure", "factor"),
    [
        pytest.param("Ws", "interval_energy", 1 / 3_600_000, id="3.6 million Ws are a kWh"),
        pytest.param("Wh", "interval_energy", 0.001, id="Wh"),
        pytest.param("kWh", "register", 1.0, id="kWh"),
        pytest.param("MWh", "interval_energy", 1000.0, id="MWh"),
        pytest.param("kBtu", "interval_energy", 1055.05585262 / 3600, id="kBtu: 1055.05585262 kJ over 3600 kJ"),
        pytest.param("W", "power", 0.001, id="W"),
        pytest.param("kW", "power", 1.0, id="kW"),
        pytest.param("MW", "power", 1000.0, id="MW"),
        pytest.param("m3", "register", 10.5, id="gas"),
        pytest.param("l", "interval_energy", 0.0105, id="a litre of gas"),
        pytest.param("kW", "interval_energy", None, id="a power is no energy"),
        pytest.param("kWh", "power", None, id="an energy is no power"),
        pytest.param("m3", "power", None, id="a volume is no power"),
    ],
)
def test_factors(unit: str, measure: str, factor: float | None) -> None:
    found = energy_factor(unit, measure=measure, kwh_per_m3=10.5)
    assert found == (None if factor is None else pytest.approx(factor, rel=1e-7))


def test_a_volume_without_calorific_value_is_no_energy() -> None:
    assert energy_factor("m3", measure="interval_energy") is None


@pytest.mark.parametrize("measure", MEASURES)
def test_every_unit_is_known_to_every_measure(measure: str) -> None:
    for unit in UNITS:
        assert (energy_factor(unit, measure=measure, kwh_per_m3=1.0) is not None) == (unit in units_of(measure))


@pytest.mark.parametrize(("unit", "measure"), [("furlong", "power"), ("kW", "guess")])
def test_unknown_words_are_refused(unit: str, measure: str) -> None:
    with pytest.raises(ConfigError, match="is one of"):
        energy_factor(unit, measure=measure)


@pytest.mark.parametrize(
    ("commodity", "measure", "unit", "fault"),
    [
        pytest.param("electricity", "interval_energy", "kWh", None, id="plain"),
        pytest.param("gas", "register", "m3", None, id="gas in volume"),
        pytest.param("water", "interval_energy", "l", None, id="water"),
        pytest.param("electricity", "power", "kWh", "no unit of measure power", id="power in kWh"),
        pytest.param("steam", "interval_energy", "m3", "not metered in volume", id="steam in volume"),
        pytest.param("water", "interval_energy", "kWh", "metered in m3 or l", id="water in kWh"),
    ],
)
def test_declarations_that_cannot_be(commodity: str, measure: str, unit: str, fault: str | None) -> None:
    faults = declaration_faults(commodity=commodity, measure=measure, unit=unit)
    assert (fault is None) == (not faults)
    assert fault is None or fault in faults[0]
