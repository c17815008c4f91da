"""Random zones and days that the price tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
from hypothesis import settings
from hypothesis import strategies as st

from energy_assets.contracts import UTC_TIME
from energy_assets.contracts.prices import PRICE_COMPONENTS
from energy_assets.prices.days import day_slots
from energy_assets.prices.welfare import PriceCurve, price_curve
from energy_assets.prices.zones import ProfileGroup, ZoneConfig

PUBLISHED = datetime(2026, 5, 31, 12, tzinfo=UTC)
DAY = date(2026, 6, 1)
# The tests take as many examples as a suite has time for; `bench/prices.py promises` takes thousands.
TIMES = int(os.environ.get("ENERGY_ASSETS_EXAMPLES_TIMES", "1"))
PARTS = [f"{name}_component" for name in PRICE_COMPONENTS]


def often(examples: int) -> Callable[[Any], Any]:
    """Return settings of a property: so many examples, or as many times more as the environment asks for."""
    return settings(max_examples=examples * TIMES, deadline=None)


def net_load(
    median: list[float] | np.ndarray[Any, Any],
    *,
    zone: ZoneConfig,
    delivery_date: date = DAY,
    interval_minutes: int = 60,
    band: float | list[float] | np.ndarray[Any, Any] = 0.0,
) -> pl.DataFrame:
    """Return a net load frame with a symmetric band around the median."""
    slots = day_slots(delivery_date, zone=zone, interval_minutes=interval_minutes)
    middle, half = np.asarray(median, dtype=float), np.asarray(band, dtype=float) * np.ones(len(median))
    return pl.DataFrame(
        {"starts_at_utc": slots, "q10": middle - half, "q50": middle, "q90": middle + half},
        schema_overrides={"starts_at_utc": UTC_TIME},
    )


def curve(frame: pl.DataFrame, *, zone: ZoneConfig, delivery_date: date = DAY, **changes: Any) -> PriceCurve:
    """Return the first revision of a day's curve."""
    arguments: dict[str, Any] = {"revision": 0, "published_at_utc": PUBLISHED} | changes
    return price_curve(frame, zone=zone, delivery_date=delivery_date, **arguments)


@st.composite
def zones(draw: st.DrawFn) -> ZoneConfig:
    """Zones of which the flat rate is inside floor and cap."""
    flat = draw(st.floats(0.05, 0.6))
    return ZoneConfig(
        flat_rate=flat,
        floor=flat * draw(st.floats(0.0, 1.0)),
        cap=flat * draw(st.floats(1.0, 4.0)) + 1e-5,
        ramp_per_hour=draw(st.none() | st.floats(0.0, 0.3)),
        capacity_price_per_kw_day=draw(st.floats(0, 1)),
        carbon_price_per_t=draw(st.floats(0, 300)),
        groups=draw(
            st.lists(
                st.builds(
                    ProfileGroup,
                    name=st.just("g"),
                    share=st.floats(0.1, 2),
                    own_elasticity=st.floats(0.01, 0.4),
                    shift_elasticity=st.floats(0, 0.5),
                    hourly_weights=st.none() | st.lists(st.floats(0.1, 3), min_size=24, max_size=24).map(tuple),
                    bill_protection=st.none() | st.floats(0, 0.2),
                ),
                min_size=1,
                max_size=3,
            ).map(tuple)
        ),
    )


@st.composite
def days(draw: st.DrawFn) -> tuple[list[float], list[float], int]:
    """Median net loads, half bands and the interval of a day of 24 hours."""
    interval = draw(st.sampled_from([60, 60, 60, 30, 15]))
    seed = draw(st.integers(0, 2**32 - 1))
    scale = draw(st.sampled_from([0.01, 1.0, 500.0, 1e5]))
    sun = draw(st.floats(0, 2))
    rng = np.random.default_rng(seed)
    hour = np.arange(1440 // interval) * interval / 60
    shape = 0.5 + np.exp(-(((hour - 19) / 2.5) ** 2)) - sun * np.exp(-(((hour - 13) / 2.5) ** 2))
    median = scale * (shape + rng.normal(0, draw(st.floats(0, 0.4)), len(hour)))
    band = scale * rng.gamma(2, 0.1, len(hour))
    return median.tolist(), band.tolist(), interval


def keeps_its_promises(
    made: PriceCurve, *, zone: ZoneConfig, median: list[float] | np.ndarray[Any, Any], interval_minutes: int
) -> None:
    """Check bounds, ramp, explanation, social cost and revenue of a curve that no true-up went into."""
    account = made.day.row(0, named=True)
    units = made.rows["price_units"].to_numpy()
    billed = np.maximum(np.asarray(median), 0)
    floor, cap = np.ceil(zone.floor * 1e5 - 1e-6), np.floor(zone.cap * 1e5 + 1e-6)
    assert units.min() >= floor
    assert units.max() <= cap
    if account["rung"] != "flat" and zone.ramp_per_hour is not None:
        assert np.abs(np.diff(units)).max() <= zone.ramp_per_hour * interval_minutes / 60 * 1e5 + 1e-6
    explained = made.rows.select(pl.sum_horizontal(PARTS)).to_series() - made.rows["price_units"]
    assert explained.abs().max() < 1e-9
    assert account["social_cost"] <= account["social_cost_flat"] + 1e-12 * abs(account["social_cost_flat"])
    if billed.sum() > 0 and floor / 1e5 <= zone.flat_rate <= cap / 1e5:
        assert abs(billed @ made.unrounded - account["revenue_target"]) <= 1e-6 * max(account["revenue_target"], 1)
        assert abs(account["revenue_error"]) <= 0.5e-5 * billed.sum() * (1 + 1e-6)
    assert (made.rows["export_price_units"] <= made.rows["price_units"]).all()
