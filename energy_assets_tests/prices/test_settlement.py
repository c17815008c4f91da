"""Settled days and statements: whole units, conserved in every slot, and never edited."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.contracts import PRICES_CURVES, SETTLEMENT_DAYS, SETTLEMENT_POOLS, SETTLEMENT_STATEMENTS
from energy_assets.contracts.settlement import COMMUNITY_KEYS, COMMUNITY_RULES
from energy_assets.errors import ContractError
from energy_assets.prices.gathering import LocalDay
from energy_assets.prices.rounding import share_exactly
from energy_assets.prices.settlement import DayPrices, Settled, prices_on, settle_day
from energy_assets.prices.statements import month_of, next_revisions, standing, statements_of
from energy_assets.prices.terms import BillTerms, CommunityTerms
from energy_assets.prices.usage import DayUse
from energy_assets.prices.zones import ZoneConfig
from energy_assets_tests.prices.strategies import DAY, curve, days, net_load, often
from energy_assets_tests.prices.use import priced, use_of

ZONE = ZoneConfig()
EVENING = [30.0] * 17 + [60.0, 80.0, 90.0, 80.0, 60.0] + [30.0] * 2
CURVE = curve(net_load(EVENING, zone=ZONE), zone=ZONE)
CENT = 1_000_000


def test_a_day_and_its_bill_by_hand() -> None:
    zone = ZoneConfig(bill=BillTerms(fixed_charge=0.5, peak_cost_per_kw=0.1), community=CommunityTerms(rule="none"))
    use = use_of(
        {"a": [(1.0, 0.0, 2.0), (3.0, 0.0, 2.5)], "b": [(0.0, 0.0, 0.0), (1.0, 0.4, 0.5)]}, zone=zone, local_date=DAY
    )
    made = settle_day(use, prices=priced(use, [20_000, 50_000], [4_000, 10_000]))
    assert made.days.schema == SETTLEMENT_DAYS.polars_schema
    assert made.pools.schema == SETTLEMENT_POOLS.polars_schema
    first = made.days.row(0, named=True)
    # baseline 4.5 kWh x 0.30; deviation -1 kWh x 0.20 + 0.5 kWh x 0.50
    assert first["baseline_amount"] == 135 * CENT
    assert first["deviation_amount"] == (-20 + 25) * CENT
    # what the flat rate spares on the baseline: 2 kWh x (0.20 - 0.30) + 2.5 kWh x (0.50 - 0.30)
    assert first["baseline_credit"] == (-20 + 50) * CENT
    assert (first["slots"], first["unpriced_slots"], first["peak_wh"]) == (24, 0, 3000)

    bills = statements_of(made.days, zone=zone, period_start=DAY)
    assert bills.schema == SETTLEMENT_STATEMENTS.polars_schema
    first, second = bills.rows(named=True)
    # fixed 0.50; the peak of 4 kW costs 0.40, three parts of four
    assert (first["fixed_amount"], first["peak_amount"]) == (50 * CENT, 30 * CENT)
    assert first["total_amount"] == (135 + 5 + 50 + 30) * CENT
    assert first["flat_amount"] == (120 + 50 + 30) * CENT
    assert first["saved_amount"] == -20 * CENT
    # 0.5 kWh x 0.30 + 0.5 kWh x 0.50 + 0.50 + 0.10 - 0.4 kWh x 0.10; flat: 1 kWh x 0.30 - 0.4 kWh x 0.08
    assert second["total_amount"] == (15 + 25 + 50 + 10 - 4) * CENT
    assert second["flat_amount"] == (30 + 50 + 10) * CENT - 3_200_000


def test_neighbours_trade_and_the_bill_shows_what_it_spares() -> None:
    use = use_of({"draws": [(2.0, 0.0, 2.0)], "feeds": [(0.0, 3.0, 0.0)]}, zone=ZONE, local_date=DAY)
    made = settle_day(use, prices=priced(use, [30_000], [10_000]))
    draws, feeds = made.days.rows(named=True)
    # 1 kWh is left over: under D-NEM all pay and earn the feed-in price. Alone: 2 x 0.30 to pay.
    assert (draws["local_wh"], draws["local_amount"], draws["grid_amount"]) == (2000, 20 * CENT, 0)
    assert draws["community_credit"] == (60 - 20) * CENT
    assert (feeds["local_amount"], feeds["grid_amount"], feeds["community_credit"]) == (-20 * CENT, -10 * CENT, 0)
    bills = statements_of(made.days, zone=ZONE, period_start=DAY)
    assert bills["total_amount"].to_list() == [20 * CENT, -30 * CENT]
    (pool,) = made.pools.rows(named=True)
    assert (pool["grid_import_wh"], pool["grid_export_wh"], pool["local_wh"]) == (0, 1000, 2000)
    assert pool["grid_amount"] == -10 * CENT


@given(day=days(), seed=st.integers(0, 2**32 - 1), members=st.integers(1, 6), true_up=st.floats(-2, 2))
@often(25)
def test_unchanged_behaviour_pays_the_revenue_and_credits_cancel(
    day: tuple[list[float], list[float], int], seed: int, members: int, true_up: float
) -> None:
    """Whoever draws what share of the load when: the bills sum to the revenue, the credits to zero around it."""
    zone = ZONE.model_copy(update={"community": CommunityTerms(rule="none")})
    total_wh = np.round(np.maximum(np.asarray(day[0]), 0.0) * 100).astype(np.int64) * 10
    shares = np.random.default_rng(seed).integers(0, 10, (len(total_wh), members)) + np.eye(1, members, dtype=np.int64)
    load = share_exactly(total_wh, weights=shares)
    frame = net_load(total_wh / 1000.0, zone=zone, interval_minutes=day[2])
    priced_day = curve(frame, zone=zone, true_up=true_up)
    use = DayUse(
        day=LocalDay(zone=zone, local_date=DAY, interval_minutes=day[2]), premise_ids=[f"p{i}" for i in range(members)],
        import_wh=load, export_wh=np.zeros_like(load), baseline_wh=load, is_estimated=np.zeros(load.shape, dtype=bool),
    )  # fmt: skip
    settled = settle_day(use, prices=prices_on(use, curves=priced_day.rows)).days
    made = statements_of(settled, zone=zone, period_start=DAY)
    assert made["total_amount"].sum() == total_wh.sum() * 30_000  # Wh at the flat rate
    assert made["deviation_amount"].to_list() == [0] * members
    # The rounding of published prices, and what is owed from before, are all that the credits do not cancel.
    owed = true_up if total_wh.any() else 0.0
    error = priced_day.day["revenue_error"][0] + owed
    assert made["baseline_credit"].sum() == pytest.approx(error * 1e8, rel=1e-9, abs=2)


def test_a_premise_that_moves_load_saves() -> None:
    cheap, dear = int(CURVE.rows["price_units"].arg_min()), int(CURVE.rows["price_units"].arg_max())  # type: ignore[arg-type]
    slots = [(1.0, 0.0, 1.0)] * 24
    slots[cheap], slots[dear] = (1.5, 0.0, 1.0), (0.5, 0.0, 1.0)
    use = use_of({"mover": slots}, zone=ZONE, local_date=DAY)
    made = statements_of(settle_day(use, prices=prices_on(use, curves=CURVE.rows)).days, zone=ZONE, period_start=DAY)
    difference = CURVE.rows["price_units"][dear] - CURVE.rows["price_units"][cheap]
    assert made["saved_amount"][0] == 500 * difference


def test_slots_without_a_price_are_billed_flat_and_the_last_revision_counts() -> None:
    first = CURVE.rows.head(2)
    again = first.with_columns(revision=pl.lit(1, pl.Int64), price_units=pl.lit(7, pl.Int64))
    use = use_of({"a": [(1.0, 0.0, 0.0)] * 24}, zone=ZONE, local_date=DAY)
    prices = prices_on(use, curves=pl.concat([again, first]))
    assert prices.import_units[:3].tolist() == [7, 7, 30_000]
    assert prices.export_units[2] == 8_000
    made = settle_day(use, prices=prices).days
    assert made["unpriced_slots"][0] == 22
    assert made["deviation_amount"][0] == 1000 * (7 + 7 + 22 * 30_000)
    assert prices_on(use, curves=PRICES_CURVES.empty()).import_units.tolist() == [30_000] * 24


ZONES = {
    name: ZoneConfig(timezone="Europe/Berlin", community=CommunityTerms(rule=rule, key=key, shares={"p0": 3}))  # type: ignore[arg-type]
    for rule in COMMUNITY_RULES
    for key in COMMUNITY_KEYS
    for name in [f"{rule} {key}"]
}


@given(
    seed=st.integers(0, 2**32 - 1),
    terms=st.sampled_from(sorted(ZONES)),
    kind=st.sampled_from(["mixed", "mixed", "mixed", "no use", "all export", "all import", "dear exports"]),
    local_date=st.sampled_from([DAY, date(2026, 3, 29), date(2026, 10, 25)]),
    shape=st.tuples(st.integers(1, 7), st.sampled_from([15, 60])),
)
@often(300)
def test_energy_and_money_are_conserved(
    seed: int, terms: str, kind: str, local_date: date, shape: tuple[int, int]
) -> None:
    zone = ZONES[terms]
    members, minutes = shape
    day = LocalDay(zone=zone, local_date=local_date, interval_minutes=minutes)
    size = (len(day.slots), members)
    chance = np.random.default_rng(seed)

    def some(present: bool) -> np.ndarray:
        drawn = chance.integers(0, 5000, size=size) * chance.integers(0, 2, size=size)
        return drawn if present else np.zeros(size, dtype=np.int64)

    drawn = some(kind not in {"no use", "all export"})
    fed = some(kind not in {"no use", "all import"})
    use = DayUse(
        day=day, premise_ids=[f"p{i}" for i in range(members)], import_wh=drawn, export_wh=fed,
        baseline_wh=some(kind != "no use"), is_estimated=np.zeros(size, dtype=bool),
    )  # fmt: skip
    bought = chance.integers(0, 60_000, size[0])
    sold = chance.integers(-2_000, bought + (20_000 if kind == "dear exports" else 1))
    prices = DayPrices(import_units=bought, export_units=sold, is_published=np.ones(size[0], dtype=bool))
    made = settle_day(use, prices=prices)
    days, (pool,) = made.days, made.pools.rows(named=True)
    assert len(day.slots) * minutes == {29: 23, 25: 25}.get(local_date.day, 24) * 60
    # what members pay is the grid's bill, and what they pay each other is nothing
    assert (days["grid_amount"] + days["local_amount"]).sum() == pool["grid_amount"]
    assert days["local_amount"].sum() == 0
    # nobody pays more than alone
    assert (days["community_credit"] >= 0).all()
    # the parts of a bill are what is paid
    parts = days["baseline_amount"] + days["deviation_amount"] + days["baseline_credit"]
    paid = parts - days["feed_in_credit"] - days["community_credit"]
    assert paid.to_list() == (days["grid_amount"] + days["local_amount"]).to_list()
    # energy
    assert pool["import_wh"] - pool["export_wh"] == pool["grid_import_wh"] - pool["grid_export_wh"]
    assert pool["import_wh"] == days["import_wh"].sum() == drawn.sum()
    assert pool["export_wh"] == days["export_wh"].sum() == fed.sum()
    assert pool["local_wh"] == days["local_wh"].sum()
    assert (days["local_wh"] <= days["import_wh"]).all()
    # the bill of an average is the average of bills: days add up to the statement
    bill = statements_of(days, zone=zone, period_start=local_date)
    assert bill["total_amount"].sum() == pool["grid_amount"] - days["baseline_credit"].sum()
    if kind == "no use":
        assert bill["total_amount"].to_list() == [0] * members


@pytest.mark.parametrize(
    ("kwh", "slots"),
    [pytest.param((-1.0, 0.0, 0.0), 24, id="negative"), pytest.param((1.0, 0.0, 0.0), 23, id="prices of another day")],
)
def test_what_cannot_be_settled_is_refused(kwh: tuple[float, float, float], slots: int) -> None:
    use = use_of({"a": [kwh]}, zone=ZONE, local_date=DAY)
    flat = np.full(slots, 30_000)
    with pytest.raises(ContractError, match="cannot be settled"):
        settle_day(use, prices=DayPrices(import_units=flat, export_units=flat, is_published=flat > 0))


def settled(kwh: dict[str, float], *, zone: ZoneConfig = ZONE) -> pl.DataFrame:
    """Return a month of one settled day, in which premises drew so much in each hour."""
    use = use_of({name: [(each, 0.0, 1.0)] * 24 for name, each in kwh.items()}, zone=zone, local_date=DAY)
    days = settle_day(use, prices=prices_on(use, curves=CURVE.rows)).days
    return statements_of(days, zone=zone, period_start=DAY)


def test_corrections_are_revisions() -> None:
    first = settled({"a": 1.0, "b": 1.0})
    assert next_revisions(SETTLEMENT_STATEMENTS.empty(), fresh=first).equals(first)
    assert next_revisions(first, fresh=settled({"a": 1.0, "b": 1.0})).is_empty()
    corrected = settled({"a": 1.0, "b": 2.0, "c": 1.0})
    changed = next_revisions(first, fresh=corrected)
    assert changed.select("premise_id", "revision", "publication").rows() == [("b", 1, 1), ("c", 0, 1)]
    everything = pl.concat([first, changed])
    assert next_revisions(everything, fresh=corrected).is_empty()
    back = next_revisions(everything, fresh=first)
    assert back.select("premise_id", "revision", "publication").rows() == [("b", 2, 2)]
    assert (
        standing(everything)
        .sort("premise_id")
        .equals(
            corrected.with_columns(
                revision=pl.Series([0, 1, 0], dtype=pl.Int64), publication=pl.Series([0, 1, 1], dtype=pl.Int64)
            )
        )
    )
    assert standing(pl.concat([everything, back]), publication=0).sort("premise_id").equals(first)


def test_periods_are_months() -> None:
    assert month_of(date(2026, 12, 31)) == (date(2026, 12, 1), date(2027, 1, 1))
    assert month_of(date(2024, 2, 1)) == (date(2024, 2, 1), date(2024, 3, 1))


def test_the_peak_of_the_month_is_paid_for_by_who_drew_in_it() -> None:
    zone = ZoneConfig(bill=BillTerms(peak_cost_per_kw=1.0))
    flat = [30_000]
    parts = []
    for offset, drawn in enumerate([{"a": 1.0, "b": 1.0}, {"a": 4.0, "b": 1.0}, {"b": 3.0}]):
        use = use_of(
            {name: [(kwh, 0.0, kwh)] for name, kwh in drawn.items()}, zone=zone, local_date=DAY + timedelta(offset)
        )
        parts.append(settle_day(use, prices=priced(use, flat, [0])))
    made = statements_of(Settled.together(parts).days, zone=zone, period_start=DAY)
    assert made.select("premise_id", "days", "peak_amount").rows() == [("a", 2, 400 * CENT), ("b", 3, 100 * CENT)]
