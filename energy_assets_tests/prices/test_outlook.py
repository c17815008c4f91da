"""What is to come: prices past the published ones, and costs for ninety days."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from energy_assets.errors import ContractError
from energy_assets.prices.horizon import extended_prices
from energy_assets.prices.outlook import costs_ahead, daily_use
from energy_assets.prices.settlement import settle_day
from energy_assets.prices.zones import ZoneConfig
from energy_assets_tests.prices.strategies import DAY, PUBLISHED, curve, net_load
from energy_assets_tests.prices.use import priced, use_of

ZONE = ZoneConfig()
EVENING = [30.0] * 17 + [60.0, 80.0, 90.0, 80.0, 60.0] + [30.0] * 2
CURVE = curve(net_load(EVENING, zone=ZONE), zone=ZONE)


def test_prices_for_ninety_days() -> None:
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


def test_the_next_months_at_what_a_kwh_cost_lately() -> None:
    first = date(2026, 6, 1)
    uses, settled = [], []
    for back in range(70, 0, -1):
        kwh = {"a": [(2.0, 0.0, 2.0)] * 24, "b": [(1.0, 3.0, 1.0)] * 24}
        use = use_of(kwh, zone=ZONE, local_date=first - timedelta(back))
        uses.append(use)
        if back <= 28:
            settled.append(settle_day(use, prices=priced(use, [40_000], [10_000])).days)
    history = daily_use(uses)
    assert history.filter(pl.col("meter_id") == "b|fed")["energy_kwh"].unique().to_list() == [72.0]
    of_b = pl.concat(settled).filter(premise_id="b")
    made = costs_ahead(history, premise_id="b", settled=of_b, first_day=first, days=60)
    assert made["days"].to_list() == [7, 30, 60]
    week = made.row(0, named=True)
    # The two draw 3 kWh and b feeds in 3, all at the import price of 0.40: it paid 0.40 for its own kWh and got
    # 0.40 for three; alone it would have paid 0.40 and got 0.30. Its usual use costs it the flat 0.30.
    assert of_b["community_credit"].sum() == 28 * 24 * 90_000_000
    assert week["drawn_kwh_q50"] == pytest.approx(168, rel=0.01)
    assert week["fed_kwh_q50"] == pytest.approx(504, rel=0.01)
    assert week["cost_q50"] == pytest.approx(168 * 0.30, rel=0.01)
    assert week["profit_q50"] == pytest.approx(504 * (0.10 + 0.30), rel=0.01)
    assert week["balance_q50"] == pytest.approx(week["profit_q50"] - week["cost_q50"])
    for name in ("drawn_kwh", "fed_kwh", "cost", "profit", "balance"):
        assert (made[f"{name}_q10"] <= made[f"{name}_q50"]).all(), name
        assert (made[f"{name}_q50"] <= made[f"{name}_q90"]).all(), name
    with pytest.raises(ContractError, match="is settled"):
        costs_ahead(history, premise_id="b", settled=of_b.clear(), first_day=first)
    with pytest.raises(ContractError, match="too few"):
        costs_ahead(history, premise_id="c", settled=of_b, first_day=first)


def test_who_feeds_nothing_in_has_lower_costs_by_what_the_community_spares() -> None:
    first = date(2026, 6, 1)
    uses, settled = [], []
    for back in range(60, 0, -1):
        # Two cheap sellers and one buyer: the buyer pays the feed-in price for all that it draws.
        kwh = {"buys": [(1.0, 0.0, 1.0)] * 24, "sells": [(0.0, 3.0, 0.0)] * 24}
        use = use_of(kwh, zone=ZONE, local_date=first - timedelta(back))
        uses.append(use)
        settled.append(settle_day(use, prices=priced(use, [30_000], [10_000])).days)
    own = pl.concat(settled).filter(premise_id="buys")
    made = costs_ahead(daily_use(uses), premise_id="buys", settled=own, first_day=first, days=7)
    assert made["cost_q50"][0] == pytest.approx(7 * 24 * (0.30 - 0.20), rel=0.01)
    assert made.select("profit_q10", "profit_q50", "profit_q90").row(0) == (0.0, 0.0, 0.0)


def test_what_is_fed_in_follows_the_sun_where_the_latitude_is_known() -> None:
    """From the middle of January on days grow longer at 45 degrees north, and shorter as far south."""
    first = date(2027, 1, 15)
    uses, settled = [], []
    for back in range(70, 0, -1):
        use = use_of(
            {"a": [(1.0, 0.0, 1.0)] * 12 + [(0.0, 2.0, 0.0)] * 12}, zone=ZONE, local_date=first - timedelta(back)
        )
        uses.append(use)
        settled.append(settle_day(use, prices=priced(use, [30_000], [10_000])).days)
    facts = {"premise_id": "a", "settled": pl.concat(settled), "first_day": first}
    blind, north, south = (
        costs_ahead(daily_use(uses), latitude=latitude, **facts)  # type: ignore[arg-type]
        for latitude in (None, 45.0, -45.0)
    )
    for name in ("fed_kwh_q50", "profit_q50"):
        rise, fall = (made[name][-1] / blind[name][-1] for made in (north, south))
        assert 1.5 < rise < 2.2
        assert 0.6 < fall < 0.9
    assert north["drawn_kwh_q50"].to_list() == blind["drawn_kwh_q50"].to_list()


def test_a_day_that_was_not_read_says_nothing() -> None:
    use = use_of({"a": [(2.0, 0.0, 2.0)] * 24}, zone=ZONE, local_date=DAY)
    use.is_estimated[:3] = True
    assert daily_use([use])["energy_kwh"].to_list() == [None, None]
    use.is_estimated[2] = False
    assert daily_use([use])["energy_kwh"].to_list() == [48.0, 0.0]


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
