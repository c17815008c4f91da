"""Golden vectors of the predecessors' formulas, multiplied by hand."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from energy_assets.prices.legacy import system_000_price, system_003_band, system_003_price
from energy_assets.prices.zones import LegacyHouse, ZoneConfig
from energy_assets_tests.prices.strategies import curve, net_load


@pytest.mark.parametrize(
    ("consumption", "production", "price"),
    [
        pytest.param([3.0, 8.0, 5.0], [1.0, 2.0, 4.0], 0.35, id="(8 - 1) / 20"),
        pytest.param([1.0], [5.0], 0.2, id="surplus"),
        pytest.param([2.0], [2.0], 0.0, id="balance is not a surplus"),
    ],
)
def test_system_000(consumption: list[float], production: list[float], price: float) -> None:
    assert system_000_price(consumption, production_kwh=production) == pytest.approx(price)


HOUSE = LegacyHouse()
BIG = LegacyHouse(region="Milano", members=5, area_m2=160, heating_type="electric", year_built=1970)
SMALL = LegacyHouse(members=2, area_m2=50, heating_type="heat_pump", year_built=2018)
WOOD = LegacyHouse(heating_type="biomass")


@pytest.mark.parametrize(
    ("house", "month", "hour", "temperature_c", "kwh", "price"),
    [
        # .12 x 1.05 x 1.10 x 1.07 x .90 x 1.10 x 1.15 x 1.40 x 1.25 x 1.15
        pytest.param(BIG, 1, 20, 0.0, 4.0, 0.3398, id="every factor up"),
        # .12 x .95 x .98 x .85 x .92 x .75 x .90
        pytest.param(SMALL, 4, 3, 20.0, 1.0, 0.0590, id="every factor down"),
        # .12 x 1.05 x 1.10 x 1.05 x 1.20
        pytest.param(HOUSE, 7, 13, 33.0, 1.0, 0.1746, id="hot afternoon"),
        pytest.param(WOOD, 10, 7, 10.0, 3.0, 0.0900, id="7 is night"),
        pytest.param(WOOD, 10, 8, 10.0, 3.0, 0.1560, id="8 is morning"),
        pytest.param(WOOD, 10, 12, 10.0, 3.0, 0.1560, id="12 is morning"),
        pytest.param(WOOD, 10, 18, 10.0, 3.0, 0.1260, id="18 is day"),
        pytest.param(WOOD, 10, 19, 10.0, 3.0, 0.1680, id="19 is evening"),
        pytest.param(WOOD, 10, 21, 10.0, 3.0, 0.1680, id="21 is evening"),
        pytest.param(WOOD, 10, 22, 10.0, 3.0, 0.1260, id="22 is day"),
        pytest.param(WOOD, 10, 23, 10.0, 3.0, 0.0900, id="23 is night"),
    ],
)
def test_system_003(  # noqa: PLR0917  a column of the table each
    house: LegacyHouse, month: int, hour: int, temperature_c: float, kwh: float, price: float
) -> None:
    when = datetime(2026, month, 15, hour)  # noqa: DTZ001  local wall time
    assert system_003_price(house, local_time=when, temperature_c=temperature_c, consumption_kwh=kwh) == price


def test_system_003_bands() -> None:
    assert [system_003_band(price) for price in (0.079, 0.08, 0.11, 0.13, 0.14)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rule", "units"),
    [
        # 10 kWh / 20 = 0.50; -5 kWh is a surplus: 0.20
        pytest.param("system_000", [50_000] * 12 + [20_000] * 12, id="system 000"),
        # June in UTC, 15 C, gas: .12 x 1.05 x 1.10 = .1386, x .75, 1.30, 1.05, 1.40; above 3 kWh until noon: x 1.15
        pytest.param(
            "system_003",
            [11_950] * 8 + [20_720] * 4 + [18_020] + [14_550] * 6 + [19_400] * 3 + [14_550] + [10_400],
            id="system 003",
        ),
    ],
)
def test_a_zone_can_choose_a_formula(rule: str, units: list[int]) -> None:
    zone = ZoneConfig(rule=rule, floor=0.0)
    made = curve(net_load([10.0] * 12 + [-5.0] * 12, zone=zone), zone=zone)
    assert made.rows["price_units"].to_list() == units
    assert made.rows["rung"].unique().to_list() == ["legacy"]
    parts = made.rows.select(pl.sum_horizontal(pl.selectors.ends_with("_component"))).to_series()
    assert (parts - made.rows["price_units"]).abs().max() == 0
