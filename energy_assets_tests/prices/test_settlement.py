"""Statements and community payments: whole units, conserved in every slot."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.contracts import SETTLEMENT_STATEMENTS
from energy_assets.errors import ContractError
from energy_assets.prices.community import Key, Rule, alone, community_payments
from energy_assets.prices.horizon import extended_prices
from energy_assets.prices.outlook import bill_range, household_costs
from energy_assets.prices.rounding import share_exactly
from energy_assets.prices.settlement import BillTerms, next_revisions, settle
from energy_assets.prices.zones import ZoneConfig
from energy_assets_tests.prices.strategies import DAY, PUBLISHED, curve, net_load

ZONE = ZoneConfig()
PERIOD = (DAY, DAY + timedelta(days=1))
EVENING = [30.0] * 17 + [60.0, 80.0, 90.0, 80.0, 60.0] + [30.0] * 2
CURVE = curve(net_load(EVENING, zone=ZONE), zone=ZONE)


def usage(rows: dict[str, list[tuple[float, float, float]]]) -> pl.LazyFrame:
    """Return use from (import, export, baseline) per slot from the start of the day."""
    starts = CURVE.rows["starts_at_utc"]
    return pl.DataFrame(
        [
            {"premise_id": name, "starts_at_utc": starts[slot], "import_kwh": a, "export_kwh": b, "baseline_kwh": c}
            for name, slots in rows.items()
            for slot, (a, b, c) in enumerate(slots)
        ],
        schema_overrides={"starts_at_utc": CURVE.rows.schema["starts_at_utc"]},
    ).lazy()


def statements(frame: pl.LazyFrame, terms: BillTerms | None = None, *, revision: int = 0) -> pl.DataFrame:
    return settle(frame, curves=CURVE.rows, zone=ZONE, terms=terms or BillTerms(), period=PERIOD, revision=revision)


def test_a_bill_by_hand() -> None:
    prices = CURVE.rows.head(2).with_columns(
        price_units=pl.Series([20_000, 50_000]), export_price_units=pl.Series([4_000, 10_000])
    )
    frame = usage({"a": [(1.0, 0.0, 2.0), (3.0, 0.0, 2.5)], "b": [(0.0, 0.0, 0.0), (1.0, 0.4, 0.5)]})
    terms = BillTerms(fixed_charge=0.5, peak_cost_per_kw=0.1, flat_feed_in_rate=0.08)
    made = settle(frame, curves=prices, zone=ZONE, terms=terms, period=PERIOD, revision=0)
    assert made.schema == SETTLEMENT_STATEMENTS.polars_schema
    first, second = made.rows(named=True)
    # baseline 4.5 kWh x 0.30; deviation -1 kWh x 0.20 + 0.5 kWh x 0.50; peak of 4 kW costs 0.40, three parts of four
    assert first["baseline_amount"] == 135_000_000
    assert first["deviation_amount"] == -20_000_000 + 25_000_000
    assert first["baseline_credit"] == 2 * 10_000_000 - 25 * 2_000_000
    assert first["peak_amount"] == 30_000_000
    assert first["total_amount"] == 135_000_000 + 5_000_000 + 50_000_000 + 30_000_000
    assert first["flat_amount"] == 120_000_000 + 50_000_000 + 30_000_000
    assert first["saved_amount"] == -20_000_000
    # 0.5 kWh x 0.30 + 0.5 kWh x 0.50 + 0.50 + 0.10 - 0.4 kWh x 0.10
    assert second["total_amount"] == 15_000_000 + 25_000_000 + 50_000_000 + 10_000_000 - 4_000_000
    assert second["flat_amount"] == 30_000_000 - 3_200_000 + 50_000_000 + 10_000_000


def test_unchanged_behaviour_pays_the_revenue_and_credits_cancel() -> None:
    share = np.array([0.2, 0.3, 0.5])
    load = np.asarray(EVENING)[:, None] * share
    made = statements(usage({f"p{i}": [(kwh, 0.0, kwh) for kwh in load[:, i]] for i in range(3)}))
    assert made["total_amount"].sum() == sum(EVENING) * 1000 * 30_000  # Wh at the flat rate
    assert made["deviation_amount"].to_list() == [0, 0, 0]
    error = CURVE.day["revenue_error"][0] * 1e8
    assert made["baseline_credit"].sum() == pytest.approx(-error, abs=1)


def test_a_premise_that_moves_load_saves() -> None:
    cheap, dear = int(CURVE.rows["price_units"].arg_min()), int(CURVE.rows["price_units"].arg_max())  # type: ignore[arg-type]
    slots = [(1.0, 0.0, 1.0)] * 24
    slots[cheap], slots[dear] = (1.5, 0.0, 1.0), (0.5, 0.0, 1.0)
    made = statements(usage({"mover": slots}))
    difference = CURVE.rows["price_units"][dear] - CURVE.rows["price_units"][cheap]
    assert made["saved_amount"][0] == 500 * difference


def test_corrections_are_revisions() -> None:
    slots = [(1.0, 0.0, 1.0)] * 24
    first = statements(usage({"a": slots, "b": slots}))
    again = statements(usage({"a": slots, "b": slots}))
    assert next_revisions(first, fresh=again).is_empty()
    corrected = statements(usage({"a": slots, "b": [(2.0, 0.0, 1.0), *slots[1:]], "c": slots}))
    changed = next_revisions(first, fresh=corrected)
    assert changed.select("premise_id", "revision").rows() == [("b", 1), ("c", 0)]
    assert next_revisions(pl.concat([first, changed]), fresh=corrected).is_empty()
    back = next_revisions(pl.concat([first, changed]), fresh=first)
    assert back.select("premise_id", "revision").rows() == [("b", 2)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: pl.concat([f, f.head(1)]), id="twice"),
        pytest.param(lambda f: f.with_columns(import_kwh=pl.lit(None, dtype=pl.Float64)), id="missing"),
        pytest.param(lambda f: f.with_columns(import_kwh=-pl.col("import_kwh")), id="negative"),
        pytest.param(lambda f: f.with_columns(pl.col("starts_at_utc").dt.offset_by("2d")), id="no price"),
    ],
)
def test_what_cannot_be_settled_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    frame = usage({"a": [(1.0, 0.0, 1.0)] * 3}).collect()
    with pytest.raises(ContractError, match="cannot be settled, first a"):
        statements(change(frame).lazy())


@given(
    totals=st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=5),
    weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=6).filter(lambda w: sum(w) > 0),
)
@settings(max_examples=100, deadline=None)
def test_shares_are_exact_and_fair(totals: list[int], weights: list[int]) -> None:
    shares = share_exactly(np.array(totals), weights=np.tile(weights, (len(totals), 1)))
    assert shares.sum(axis=1).tolist() == totals
    for row, total in zip(shares.tolist(), totals, strict=True):
        for share, weight in zip(row, weights, strict=True):
            assert abs(share * sum(weights) - total * weight) < sum(weights)


RULES: list[Rule] = ["d_nem", "mid_market", "supply_demand_ratio", "bill_sharing"]
KEYS: list[Key] = ["proportional", "static", "dynamic"]


@given(
    seed=st.integers(0, 2**32 - 1), members=st.integers(1, 8), rule=st.sampled_from(RULES), key=st.sampled_from(KEYS)
)
@settings(max_examples=150, deadline=None)
def test_payments_sum_to_the_grid_bill_and_nobody_loses(seed: int, members: int, rule: Rule, key: Key) -> None:
    chance = np.random.default_rng(seed)
    net = chance.integers(-5000, 5000, size=(24, members)) * chance.integers(0, 2, size=(24, members))
    bought = chance.integers(0, 60_000, 24)
    sold = chance.integers(-2_000, bought + 1)
    weights = chance.integers(1, 10, members)
    made = community_payments(net, import_units=bought, export_units=sold, rule=rule, key=key, weights=weights)
    assert made.amount.sum(axis=1).tolist() == made.grid_amount.tolist()
    supply = np.maximum(-net, 0).sum(axis=1)
    assert (made.local_wh <= np.maximum(net, 0)).all()
    assert (made.local_wh.sum(axis=1) <= supply).all()
    if key == "dynamic" and rule in ("mid_market", "supply_demand_ratio"):
        assert (made.local_wh.sum(axis=1) == np.minimum(supply, np.maximum(net, 0).sum(axis=1))).all()
    if rule != "bill_sharing":
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
        # 2 kWh x 0.40 = 0.80, three parts of four
        pytest.param("bill_sharing", "proportional", [60, 20, 0], id="bill"),
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


def test_a_bill_range_by_hand() -> None:
    prices = CURVE.rows.head(2).with_columns(
        price_units=pl.Series([20_000, 50_000]), export_price_units=pl.Series([4_000, 10_000])
    )
    frame = prices.select(
        "starts_at_utc", q10=pl.Series([1.0, -1.0]), q50=pl.Series([2.0, 1.0]), q90=pl.Series([3.0, 2.0])
    )
    made = bill_range(7, forecast=frame, curves=prices)
    assert (made.low_amount, made.expected_amount, made.high_amount) == (10_000_007, 90_000_007, 160_000_007)
    with pytest.raises(ContractError, match="no price"):
        bill_range(0, forecast=frame, curves=prices.head(1))


def test_prices_and_costs_for_ninety_days() -> None:
    zone = ZoneConfig(timezone="Europe/Rome")
    day = date(2026, 10, 20)
    published = curve(net_load(EVENING, zone=zone, delivery_date=day), zone=zone, delivery_date=day).rows
    second = net_load(EVENING, zone=zone, delivery_date=day + timedelta(days=1))
    last = day + timedelta(days=89)
    prices = extended_prices(
        published, net_load=second, zone=zone, last_day=last, interval_minutes=60, published_at_utc=PUBLISHED
    )
    assert prices.height == 90 * 24 + 1  # summer time ends on 25 October
    assert prices["starts_at_utc"].n_unique() == prices.height
    assert prices.group_by("origin").len().sort("origin").rows() == [
        ("forecast", 24),
        ("profile", 88 * 24 + 1),
        ("published", 24),
    ]
    forecast = prices.select("starts_at_utc", consumption_kwh=pl.lit(0.5), production_kwh=pl.lit(0.2))
    costs = household_costs(forecast, curves=prices, zone=zone)
    assert costs.height == 90
    assert costs["published_share"].sum() == 1
    assert costs["cost"][0] == pytest.approx(0.3 * published["price_units"].sum() / 1e5)
    assert costs["balance"].sum() == pytest.approx(-costs["cost"].sum())


def test_nothing_published_yet_is_flat() -> None:
    prices = extended_prices(
        CURVE.rows.clear(),
        net_load=net_load(EVENING, zone=ZONE).clear(),
        zone=ZONE,
        last_day=DAY,
        interval_minutes=30,
        published_at_utc=PUBLISHED,
    )
    assert prices["price_units"].unique().to_list() == [30_000]
    assert prices.height == 2 * 48
