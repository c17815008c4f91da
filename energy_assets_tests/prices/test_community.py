"""Payments inside a community: whole units, conserved in every slot, and nobody pays more than alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.errors import ContractError
from energy_assets.prices.community import Key, Rule, alone, community_payments
from energy_assets.prices.rounding import share_exactly
from energy_assets_tests.prices.strategies import often


@given(
    totals=st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=5),
    weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=6).filter(lambda w: sum(w) > 0),
)
@often(100)
def test_shares_are_exact_and_fair(totals: list[int], weights: list[int]) -> None:
    shares = share_exactly(np.array(totals), weights=np.tile(weights, (len(totals), 1)))
    assert shares.sum(axis=1).tolist() == totals
    for row, total in zip(shares.tolist(), totals, strict=True):
        for share, weight in zip(row, weights, strict=True):
            assert abs(share * sum(weights) - total * weight) < sum(weights)


RULES: list[Rule] = ["d_nem", "mid_market", "supply_demand_ratio", "bill_sharing"]
KEYS: list[Key] = ["proportional", "static", "dynamic"]


@given(
    seed=st.integers(0, 2**32 - 1),
    members=st.integers(1, 8),
    rule=st.sampled_from(RULES),
    key=st.sampled_from(KEYS),
    reach_wh=st.sampled_from([(-5000, 5000), (-5000, 5000), (-5000, 1), (0, 5000), (0, 1)]),
)
@often(300)
def test_payments_sum_to_the_grid_bill_and_nobody_loses(
    seed: int, members: int, rule: Rule, key: Key, reach_wh: tuple[int, int]
) -> None:
    """Also on days on which all draw, all feed in, or nobody does anything."""
    chance = np.random.default_rng(seed)
    net = chance.integers(*reach_wh, size=(24, members)) * chance.integers(0, 2, size=(24, members))
    bought = chance.integers(0, 60_000, 24)
    sold = chance.integers(-2_000, bought + 1)
    weights = chance.integers(1, 10, members)
    made = community_payments(net, import_units=bought, export_units=sold, rule=rule, key=key, weights=weights)
    assert made.amount.sum(axis=1).tolist() == made.grid_amount.tolist()
    assert made.local_amount.sum(axis=1).tolist() == [0] * 24
    supply = np.maximum(-net, 0).sum(axis=1)
    assert (made.local_wh <= np.maximum(net, 0)).all()
    assert (made.local_wh.sum(axis=1) <= supply).all()
    if key == "dynamic" and rule in ("mid_market", "supply_demand_ratio"):
        assert (made.local_wh.sum(axis=1) == np.minimum(supply, np.maximum(net, 0).sum(axis=1))).all()
    assert (made.amount <= alone(net, import_units=bought, export_units=sold)).all()
    if rule in {"d_nem", "bill_sharing"} or key != "static":
        total = net.sum(axis=1)
        assert made.grid_amount.tolist() == (total * np.where(total >= 0, bought, sold)).tolist()


@pytest.mark.parametrize(
    ("rule", "key", "amounts"),
    [
        # two draw 3 and 1 kWh, one feeds in 2 kWh; grid 0.40, feed-in 0.10; the community draws 2 kWh
        pytest.param("d_nem", "proportional", [120, 40, -80], id="all at the import price"),
        pytest.param("mid_market", "proportional", [1.5 * 25 + 1.5 * 40, 0.5 * 25 + 0.5 * 40, -50], id="half-way"),
        # equal shares: 1 kWh each
        pytest.param("mid_market", "static", [1 * 25 + 2 * 40, 25, -50], id="equal shares"),
        # ratio 1/2: 0.4 x 0.1 / (0.3 x 0.5 + 0.1) = 0.16
        pytest.param("supply_demand_ratio", "dynamic", [16 + 80, 16, -32], id="ratio"),
        # 2 kWh x 0.40 = 0.80, three parts of four: 60 and 20. Alone the producer earned 20: those who gain 60 and 20
        # make up for it, three parts of four again
        pytest.param("bill_sharing", "proportional", [60 + 15, 20 + 5, -20], id="bill"),
    ],
)
def test_community_rules_by_hand(rule: Rule, key: Key, amounts: list[float]) -> None:
    made = community_payments(
        np.array([[3000, 1000, -2000]]),
        import_units=np.array([40_000]),
        export_units=np.array([10_000]),
        rule=rule,
        key=key,
        weights=np.array([1, 1, 0]),
    )
    assert made.amount[0].tolist() == [round(cents * 1_000_000) for cents in amounts]


def test_a_static_share_that_is_not_used_lapses() -> None:
    net = np.array([[100, 3000, -2000]])
    price = {"import_units": np.array([40_000]), "export_units": np.array([10_000]), "weights": np.array([1, 1, 0])}
    static = community_payments(net, rule="mid_market", key="static", **price)
    dynamic = community_payments(net, rule="mid_market", key="dynamic", **price)
    assert static.local_wh[0].tolist() == [100, 1000, 0]
    assert dynamic.local_wh[0].tolist() == [100, 1900, 0]


def test_circles_and_absent_weights_are_refused() -> None:
    net = np.array([[1, -1]])
    with pytest.raises(ContractError, match="circles"):
        community_payments(net, import_units=np.array([1]), export_units=np.array([2]))
    with pytest.raises(ContractError, match="weight per member"):
        community_payments(net, import_units=np.array([2]), export_units=np.array([1]), rule="mid_market", key="static")
