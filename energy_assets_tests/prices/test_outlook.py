"""What is to come: prices past the published ones, and costs for ninety days."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from energy_assets.errors import ContractError
from energy_assets.prices.horizon import extended_prices
from energy_assets.prices.outlook import household_costs
from energy_assets.prices.zones import ZoneConfig
from energy_assets_tests.prices.strategies import DAY, PUBLISHED, curve, net_load

ZONE = ZoneConfig()
EVENING = [30.0] * 17 + [60.0, 80.0, 90.0, 80.0, 60.0] + [30.0] * 2
CURVE = curve(net_load(EVENING, zone=ZONE), zone=ZONE)


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
    with pytest.raises(ContractError, match="no price"):
        household_costs(forecast, curves=prices.head(1), zone=zone)
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
