"""The wholesale forecast: a market's days as arrays, members, weights and bands; none of them looks ahead."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import SourceError
from energy_assets.prices import wholesale
from energy_assets.prices.market import MarketDays, market_days, read_market, slots_of
from energy_assets.prices.wholesale import MEMBER_NAMES, forecast_wholesale
from energy_assets.prices.wholesale_blend import blend
from energy_assets.prices.wholesale_linear import LinearMember, lasso, linear_forecasts
from energy_assets.prices.wholesale_trees import TREE_MEMBERS, tree_forecasts

FIRST = date(2024, 1, 1)


def market(days: int, *, seed: int = 0, noise: float = 1.0) -> MarketDays:
    """A market whose price follows its load of the day, with a slow level."""
    chance = np.random.default_rng(seed)
    hours = np.arange(24)
    load = 40 + 8 * np.sin((hours - 8) / 24 * 2 * np.pi) + np.repeat(chance.normal(0, 4, (days, 1)), 24, axis=1)
    wind = np.repeat(chance.gamma(2, 2, (days, 1)), 24, axis=1)
    level = 20 + np.cumsum(chance.normal(0, 0.3, days))[:, None]
    price = level + 0.8 * (load - wind - 36) + chance.normal(0, noise, (days, 24))
    return MarketDays(
        days=[FIRST + timedelta(days=n) for n in range(days)],
        price=price,
        driver_names=("load_forecast", "wind_forecast"),
        drivers=np.stack([load, wind]),
        holiday=np.zeros(days + 1),
    )


def frame(timezone: str, *, first: date, days: int) -> pl.DataFrame:
    starts = pl.concat([slots_of(first + timedelta(days=n), timezone=timezone) for n in range(days)])
    return starts.with_columns(price_per_mwh=pl.col("hour").cast(pl.Float64)).drop("hour")


@pytest.mark.parametrize(
    ("first", "hour", "expected"),
    [
        pytest.param(date(2026, 3, 28), 2, 2.0, id="spring leaves 02 out: the mean of 01 and 03"),
        pytest.param(date(2026, 10, 24), 2, 2.0, id="autumn repeats 02"),
    ],
)
def test_days_of_23_and_25_hours_become_24(first: date, hour: int, expected: float) -> None:
    made = market_days(frame("Europe/Rome", first=first, days=3), timezone="Europe/Rome")
    assert made.price.shape == (3, 24)
    assert made.price[1, hour] == expected
    assert np.array_equal(made.price[0], np.arange(24.0))


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        pytest.param(date(2026, 3, 29), 23, id="spring"),
        pytest.param(date(2026, 10, 25), 25, id="autumn"),
        pytest.param(date(2026, 6, 1), 24, id="usual"),
    ],
)
def test_slots_of_a_market_day(day: date, hours: int) -> None:
    slots = slots_of(day, timezone="Europe/Rome")
    assert slots.height == hours
    assert slots["starts_at_utc"].diff().drop_nulls().unique().to_list() == [timedelta(hours=1)]
    assert set(slots["hour"].to_list()) == set(range(24)) - ({2} if hours == 23 else set())


def test_quarter_hours_are_averaged_and_coming_days_are_without_price() -> None:
    starts = [datetime(2026, 6, 1, tzinfo=UTC) + timedelta(minutes=15 * n) for n in range(192)]
    table = pl.DataFrame(
        {
            "starts_at_utc": starts,
            "price_per_mwh": [float(n % 4) for n in range(96)] + [None] * 96,
            "load": [1.0] * 192,
        },
        schema_overrides={"starts_at_utc": UTC_TIME},
    )
    made = market_days(table, timezone="UTC")
    assert made.known_days == 1
    assert np.array_equal(made.price[0], np.full(24, 1.5))
    assert made.driver_names == ("load",)


def test_holidays_are_shares_of_the_countries() -> None:
    made = market_days(frame("UTC", first=date(2026, 12, 24), days=3), timezone="UTC", country_codes=("NO", "DE"))
    assert made.holiday.tolist() == [0.0, 1.0, 1.0, 0.0]  # 25 and 26 December in both; one day more than there is


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda f: f.drop("price_per_mwh"), r"lacks the columns \['price_per_mwh'\]", id="no price"),
        pytest.param(lambda f: pl.concat([f, f.head(1)]), "repeats a starts_at_utc", id="twice"),
        pytest.param(lambda f: f.with_columns(starts_at_utc=pl.lit("noon")), "is not a time", id="no time"),
        pytest.param(lambda f: f.filter(pl.col("starts_at_utc").dt.hour() != 4), "no whole day", id="23 of 24"),
        pytest.param(
            lambda f: f.with_row_index().filter(pl.col("index") != 30).drop("index"), "2026-06-02 at 06:00", id="hole"
        ),
        pytest.param(lambda f: f.with_columns(price_per_mwh=pl.lit(None)), "no price_per_mwh at all", id="no prices"),
    ],
)
def test_a_bad_market_is_named(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "market.csv"
    good = frame("UTC", first=date(2026, 6, 1), days=3)
    if "no whole" in message:
        good = good.filter(pl.col("starts_at_utc").dt.hour() != 5)
    change(good).write_csv(path)  # type: ignore[operator]
    with pytest.raises(SourceError, match=message):
        market_days(read_market(path), timezone="UTC")


def test_lasso_against_coordinate_descent() -> None:
    chance = np.random.default_rng(1)
    inputs = chance.normal(size=(200, 12)) @ (np.eye(12) + 0.3)
    targets = inputs[:, :2] @ np.array([[1.0, 0.0, 0.5], [0.0, -2.0, 0.5]]) + chance.normal(0, 0.1, (200, 3))
    gram, moment = inputs.T @ inputs / 200, inputs.T @ targets / 200
    made = lasso(gram, moment=moment, penalties=(0.05, 0.2)).reshape(12, 2, 3)
    for place, penalty in enumerate((0.05, 0.2)):
        for target in range(3):
            slow = np.zeros(12)
            for _ in range(3000):
                for i in range(12):
                    rest = moment[i, target] - gram[i] @ slow + gram[i, i] * slow[i]
                    slow[i] = np.sign(rest) * max(abs(rest) - penalty, 0.0) / gram[i, i]
            assert np.abs(made[:, place, target] - slow).max() < 1e-3


@pytest.mark.parametrize("family", ["lear", "steps"])
def test_linear_members_learn_the_load(family: str) -> None:
    made = market(200)
    member = LinearMember(family=family, window_days=150, penalties=(0.02,))
    forecast = linear_forecasts(made, member=member, days=range(180, 200))
    error = np.abs(forecast - made.price[180:]).mean()
    naive = np.abs(np.diff(made.price, axis=0))[-20:].mean()
    assert error < 0.6 * naive


def test_no_member_looks_ahead() -> None:
    made = market(160)
    changed = market(160)
    changed.price[150:] += 1000.0  # the day itself and later
    changed.drivers[:, 151:] += 1000.0  # drivers of later days
    linear = LinearMember(family="lear", window_days=56, penalties=(0.03,))
    steps = LinearMember(family="steps", window_days=100, penalties=(0.03,))
    for member in (linear, steps):
        here, there = (linear_forecasts(m, member=member, days=range(150, 151)) for m in (made, changed))
        assert np.array_equal(here, there)
    for tree in TREE_MEMBERS:
        here, there = (tree_forecasts(m, member=tree, days=range(150, 151), seed=0, threads=1) for m in (made, changed))
        assert np.array_equal(here, there)


def test_a_currency_changes_nothing_but_the_unit() -> None:
    made = market(150)
    other = MarketDays(
        days=made.days,
        price=7.46 * made.price,
        driver_names=made.driver_names,
        drivers=made.drivers,
        holiday=made.holiday,
    )
    for family in ("lear", "steps"):
        member = LinearMember(family=family, window_days=84, penalties=(0.03,))
        here, there = (linear_forecasts(m, member=member, days=range(140, 143)) for m in (made, other))
        assert np.abs(7.46 * here - there).max() < 1e-6 * np.abs(there).max()
    here, there = (
        tree_forecasts(m, member=TREE_MEMBERS[0], days=range(140, 143), seed=0, threads=1) for m in (made, other)
    )
    assert np.abs(7.46 * here - there).mean() < 0.02 * np.abs(there - np.roll(there, 1)).mean() + 0.5


def test_a_price_that_never_moves_is_forecast_as_it_is() -> None:
    made = market(140)
    made.price[:] = 31.0
    for family in ("lear", "steps"):
        member = LinearMember(family=family, window_days=84, penalties=(0.03,))
        assert np.allclose(linear_forecasts(made, member=member, days=range(138, 140)), 31.0)


def test_weights_by_hand() -> None:
    price = np.zeros((3, 24))
    members = np.stack([np.full((3, 24), 1.0), np.full((3, 24), -2.0)])
    made = blend(members, price=price)
    assert made.weights[:, 0].tolist() == [0.5, 0.5]
    # Errors 1 and 2: the eighth powers of their inverses are 256 to 1.
    assert made.weights[:, 2] == pytest.approx([256 / 257, 1 / 257])
    assert made.q50[2, 0] == pytest.approx((256 - 2) / 257)


@given(seed=st.integers(0, 2**31), spread=st.floats(0.1, 50))
@settings(max_examples=15, deadline=None)
def test_bands_hold_what_they_say_and_do_not_cross(seed: int, spread: float) -> None:
    chance = np.random.default_rng(seed)
    price = 30 + chance.normal(0, spread, (300, 24))
    members = price + chance.standard_t(4, (3, 300, 24)) * spread * (1 + np.arange(24) / 6)
    made = blend(members, price=price)
    late = np.s_[100:]
    assert (made.q10[late] <= made.q50[late]).all()
    assert (made.q50[late] <= made.q90[late]).all()
    inside = (price[late] >= made.q10[late]) & (price[late] <= made.q90[late])
    assert 0.77 < inside.mean() < 0.83
    assert inside.mean(axis=0).min() > 0.7


def test_the_future_does_not_change_a_band() -> None:
    chance = np.random.default_rng(3)
    price = chance.normal(30, 5, (90, 24))
    members = price + chance.normal(0, 2, (2, 90, 24))
    later = price.copy()
    later[60:] += 500.0
    here, there = blend(members, price=price), blend(members, price=later)
    assert np.array_equal(here.q50[:61], there.q50[:61])
    assert np.array_equal(here.q90[7:61], there.q90[7:61])


def test_a_night_with_and_without_a_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wholesale, "BACKCAST_DAYS", 14)  # quicker than 56, and all that this test needs
    made = market(150)
    last = made.days[-1] + timedelta(days=3)
    first = forecast_wholesale(made, timezone="Europe/Rome", last_day=last, remembered={}, threads=1)
    assert first.unused == ("load_forecast", "wind_forecast")  # they are not known for the day after the last
    assert set(first.weights) == set(MEMBER_NAMES)
    assert sum(first.weights.values()) == pytest.approx(1.0)
    kinds = first.slots.group_by("origin", maintain_order=True).len()
    assert kinds.rows() == [("published", 24), ("forecast", 24), ("profile", 48)]
    assert (first.slots["q10"] <= first.slots["q50"]).all()
    assert (first.slots["q50"] <= first.slots["q90"]).all()
    again = forecast_wholesale(made, timezone="Europe/Rome", last_day=last, remembered=first.remembered, threads=1)
    assert again.slots.equals(first.slots)


def test_too_short_a_history_is_refused() -> None:
    with pytest.raises(SourceError, match="120 are needed"):
        forecast_wholesale(market(60), timezone="UTC", last_day=FIRST, remembered={})


@pytest.mark.skipif(
    "ENERGY_ASSETS_REAL_DATA" not in os.environ, reason="ENERGY_ASSETS_REAL_DATA names no folder of real sets"
)
def test_two_members_on_real_prices_beat_the_day_before() -> None:
    table = pl.read_parquet(Path(os.environ["ENERGY_ASSETS_REAL_DATA"]) / "epf_np.parquet")
    real = market_days(
        table.select(
            starts_at_utc=pl.col("ts_local").dt.replace_time_zone("UTC"),
            price_per_mwh="price",
            load_forecast="load_forecast",
            wind_forecast="wind_forecast",
        ),
        timezone="UTC",
    )
    days = range(len(real.days) - 28, len(real.days))
    naive = np.abs(np.diff(real.price, axis=0))[-28:].mean()
    short = linear_forecasts(real, member=LinearMember(family="lear", window_days=84, penalties=(0.016,)), days=days)
    long = linear_forecasts(real, member=LinearMember(family="steps", window_days=182, penalties=(0.06,)), days=days)
    assert np.abs(0.5 * (short + long) - real.price[-28:]).mean() < 0.75 * naive
