"""Supply learned from history: monotone whatever the history, exact where it is simple, and usable as a zone."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.errors import ConfigError, SourceError
from energy_assets.prices.days import read_forecast
from energy_assets.prices.fitted_supply import SupplyHistory, blocks_of, fitted_blocks, isotonic
from energy_assets.prices.supply import marginal_at, supply_cost
from energy_assets.prices.zones import ZoneConfig, load_zone
from energy_assets_tests.prices.strategies import DAY, curve, net_load, often


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        pytest.param([1, 2, 3], [1, 1, 1], [1, 2, 3], id="rising stays"),
        pytest.param([3, 1], [1, 1], [2, 2], id="a fall is pooled"),
        pytest.param([3, 1], [3, 1], [2.5, 2.5], id="by weight"),
        pytest.param([1, 4, 3, 2, 5], [1, 1, 1, 1, 1], [1, 3, 3, 3, 5], id="pools join"),
        pytest.param([2, 3, 0], [1, 1, 2], [1.25, 1.25, 1.25], id="back to the first"),
    ],
)
def test_isotonic_by_hand(values: list[float], weights: list[float], expected: list[float]) -> None:
    assert isotonic(np.array(values, dtype=float), weights=np.array(weights, dtype=float)).tolist() == expected


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 10)), min_size=1, max_size=12))
def test_isotonic_against_its_min_max_formula(pairs: list[tuple[float, float]]) -> None:
    values, weights = (np.array(part) for part in zip(*pairs, strict=True))
    count = len(values)

    def mean(low: int, high: int) -> float:
        return float(np.average(values[low : high + 1], weights=weights[low : high + 1]))

    slow = [max(min(mean(low, high) for high in range(at, count)) for low in range(at + 1)) for at in range(count)]
    assert isotonic(values, weights=weights) == pytest.approx(slow, abs=1e-9)


def test_blocks_by_hand() -> None:
    load = np.repeat([10.0, 20.0, 30.0, 40.0], 20)
    price = np.repeat([0.05, 0.05, 0.20, 0.10], 20)
    made = blocks_of(load, price=price, steps=4)
    # 10 and 20 cost the same; 30 and 40 fall and are pooled to 0.15; the border is half way between 20 and 30.
    assert [(block.price, block.capacity_kw) for block in made] == [(0.05, 25.0), (pytest.approx(0.15), None)]


@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(2, 15),
    slope=st.floats(-3, 3),
    ties=st.booleans(),
    shift=st.floats(-200, 100),
)
@often(120)
def test_more_load_never_costs_less(seed: int, steps: int, slope: float, ties: bool, shift: float) -> None:
    chance = np.random.default_rng(seed)
    load = chance.normal(300, 60, 600) + shift
    load = np.abs(np.round(load / 40) * 40) + 1 if ties else np.abs(load) + 1
    price = slope * load / 1000 + chance.normal(0, 0.2, 600)
    made = blocks_of(load, price=price, steps=steps)
    assert 1 <= len(made) <= steps
    assert all(low.price < high.price for low, high in pairwise(made))
    assert [block.capacity_kw is None for block in made] == [False] * (len(made) - 1) + [True]
    zone = ZoneConfig(supply=made, supply_kind="blocks", export=(), carbon_price_per_t=0.0)
    ladder = np.sort(chance.uniform(1, 700, 24))
    day = read_forecast(net_load(ladder, zone=zone), zone=zone, delivery_date=DAY)
    marginal = marginal_at(supply_cost(zone, day=day), net_load_kwh=day.net_load_kwh)
    assert np.diff(marginal.energy).min() >= 0


def history(path: Path) -> Path:
    chance = np.random.default_rng(5)
    load = chance.uniform(5, 120, 3000)
    price = 40 + 0.8 * load + chance.normal(0, 10, 3000)
    pl.DataFrame({"net_load_kw": load, "price_per_mwh": price}).write_csv(path / "history.csv")
    return path


def test_a_zone_learns_its_supply_from_a_file(tmp_path: Path) -> None:
    history(tmp_path)
    (tmp_path / "zone.toml").write_text(
        'supply_kind = "fitted"\ncarbon_price_per_t = 0\n[supply_history]\nfile = "history.csv"\nsteps = 8\n'
    )
    zone = load_zone(tmp_path / "zone.toml")
    assert 2 <= len(zone.supply) <= 8
    assert zone.supply[0].price == pytest.approx(0.04 + 0.8 * 12 / 1000, abs=0.004)  # the median of the lowest eighth
    assert zone.supply[-1].price == pytest.approx(0.04 + 0.8 * 113 / 1000, abs=0.004)
    assert zone.export[0].price == 0.04  # less than the cheapest import
    evening = [30.0] * 17 + [60.0, 80.0, 90.0, 80.0, 60.0] + [30.0] * 2
    made = curve(net_load(evening, zone=zone, band=4.0), zone=zone)
    assert made.rows["rung"][0] == "welfare"
    energy = made.rows.sort("net_load_q50_kwh")["energy_component"].to_numpy()
    assert np.diff(energy).min() > -1e-6
    assert zone.model_dump() == load_zone(tmp_path / "zone.toml").model_dump()


def test_a_system_is_scaled_to_the_peak_of_the_zone(tmp_path: Path) -> None:
    history(tmp_path)
    own = fitted_blocks(SupplyHistory(file="history.csv"), folder=tmp_path)
    scaled = fitted_blocks(SupplyHistory(file="history.csv", peak_kw=12_000.0), folder=tmp_path)
    top = pl.read_csv(tmp_path / "history.csv")["net_load_kw"].max()
    assert isinstance(top, float)
    assert [block.price for block in own] == [block.price for block in scaled]
    assert scaled[0].capacity_kw == pytest.approx((own[0].capacity_kw or 0) * 12_000 / top)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param('supply_kind = "fitted"\n', ConfigError, "needs supply_history", id="nothing to learn from"),
        pytest.param(
            'supply_kind = "fitted"\n[supply_history]\nfile = "none.csv"\n', SourceError, "does not exist", id="absent"
        ),
        pytest.param(
            'supply_kind = "fitted"\n[supply_history]\nfile = "history.csv"\nload_column = "mw"\n',
            SourceError,
            "lacks",
            id="column",
        ),
        pytest.param(
            'supply_kind = "fitted"\n[supply_history]\nfile = "history.csv"\nsteps = 200\n',
            ConfigError,
            "fewer steps",
            id="too fine",
        ),
    ],
)
def test_a_bad_history_is_named(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    history(tmp_path)
    (tmp_path / "zone.toml").write_text(text)
    with pytest.raises(error, match=message):
        load_zone(tmp_path / "zone.toml")


@pytest.mark.skipif(
    "ENERGY_ASSETS_REAL_DATA" not in os.environ, reason="ENERGY_ASSETS_REAL_DATA names no folder of real sets"
)
def test_the_real_nord_pool_curve_rises_and_explains_the_price() -> None:
    table = pl.read_parquet(Path(os.environ["ENERGY_ASSETS_REAL_DATA"]) / "epf_np.parquet").filter(
        pl.col("ts_local").dt.year() == 2017
    )
    load = (table["load_forecast"] - table["wind_forecast"]).to_numpy()
    price = table["price"].to_numpy()
    made = blocks_of(load, price=price, steps=12)
    ends = np.cumsum([block.capacity_kw or np.inf for block in made])
    fitted = np.array([block.price for block in made])[np.searchsorted(ends, load)]
    assert len(made) > 5
    assert np.abs(fitted - price).mean() < 0.85 * np.abs(np.median(price) - price).mean()
