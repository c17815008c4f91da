"""What is known of a meter at an issue, and the slots that it must be forecast for."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from energy_assets.errors import ContractError
from energy_assets.features.matrix import build_features
from energy_assets.forecasts.slots import delivery_slots
from energy_assets.forecasts.standing import standing
from energy_assets_tests.forecasts import portfolio as given

READINGS = given.readings(days_before=20)
METER = "t.a.electricity"


def of_meter(readings=READINGS, meter: str = METER, **changes) -> dict:
    arguments = {"meters": given.METER_ROWS, "premises": given.PREMISE_ROWS, "issued_at_utc": given.ISSUE} | changes
    return standing(readings, **arguments).filter(pl.col("meter_id") == meter).to_dicts()[0]


def test_level_peak_and_history_of_a_meter():
    row = of_meter()
    assert row["known_days"] == 20
    assert row["days_since_reading"] == pytest.approx(1 / 24)
    assert row["mean_kwh"] == pytest.approx(2.0, rel=0.01)
    assert row["peak_kwh"] == pytest.approx(3.0, rel=0.05)
    assert row["scale_source"] == "own_readings"
    assert not row["is_signed"]


def test_quarter_hours_count_as_quarters_of_an_hour():
    row = of_meter(meter="t.g.electricity")
    assert row["known_days"] == 20
    assert row["scale_kwh"] == pytest.approx(1.5 / 4, rel=0.01)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"available_at_utc": pl.lit(given.ISSUE + timedelta(minutes=1))}, id="known-too-late"),
        pytest.param({"energy_kwh": pl.lit(None, pl.Float64)}, id="missing"),
        pytest.param({"energy_kwh": pl.lit(float("nan"))}, id="not-a-number"),
    ],
)
def test_reading_that_was_not_known_counts_for_nothing(change):
    last_day = pl.col("starts_at_utc") >= given.ISSUE - timedelta(days=1)
    spiked = READINGS.with_columns(energy_kwh=pl.when(last_day).then(1e6).otherwise("energy_kwh"))
    hidden = spiked.with_columns(
        pl.when(last_day).then(value).otherwise(name).alias(name) for name, value in change.items()
    )
    row = of_meter(hidden)
    assert row["known_days"] == 19
    assert row["peak_kwh"] < 4


@pytest.mark.parametrize(
    ("premise", "readings", "source", "scale"),
    [
        # Every other premise has 100 m2 per kWh/h, t.a 200 m2.
        pytest.param({}, READINGS.filter(pl.col("meter_id") != METER), "floor_area", 2.0, id="floor-area"),
        pytest.param(
            {"annual_kwh_hint": 8766.0},
            READINGS.filter(pl.col("meter_id") != METER),
            "declared_year",
            1.0,
            id="declared",
        ),
        pytest.param(
            {"floor_area_m2": None}, READINGS.filter(pl.col("meter_id") != METER), "portfolio", 4.0, id="portfolio"
        ),
        pytest.param({}, READINGS.clear(), "default", 0.4, id="default"),
    ],
)
def test_scale_comes_from_the_best_source_there_is(premise: dict, readings, source: str, scale: float):
    premises = given.PREMISE_ROWS.with_columns(
        pl.when(pl.col("premise_id") == "t.a").then(pl.lit(value)).otherwise(name).alias(name)
        for name, value in premise.items()
    )
    row = of_meter(readings, premises=premises)
    assert row["scale_source"] == source
    assert row["scale_kwh"] == pytest.approx(scale, rel=0.02)


def test_scale_of_all_zero_readings_is_not_zero():
    assert of_meter(READINGS.with_columns(energy_kwh=pl.lit(0.0)))["scale_kwh"] > 0


@pytest.mark.parametrize(
    ("issued", "hours"),
    [
        pytest.param(datetime(2026, 3, 10, tzinfo=UTC), {"t.berlin": 47, "t.boston": 52}, id="ordinary"),
        pytest.param(datetime(2026, 3, 28, tzinfo=UTC), {"t.berlin": 46, "t.boston": 52}, id="berlin-loses-an-hour"),
        pytest.param(datetime(2026, 10, 24, tzinfo=UTC), {"t.berlin": 47, "t.boston": 52}, id="berlin-gains-an-hour"),
        pytest.param(datetime(2026, 3, 10, 9, tzinfo=UTC), {"t.berlin": 38, "t.boston": 43}, id="issued-at-nine"),
    ],
)
def test_slots_reach_to_the_end_of_the_local_delivery_date(issued: datetime, hours: dict[str, int]):
    slots = delivery_slots(given.METER_ROWS, sites=given.SITE_ROWS, issued_at_utc=issued)
    hourly = slots.filter(pl.col("interval_minutes") == 60).join(
        given.METER_ROWS.select("meter_id", "site_id"), on="meter_id"
    )
    counts = hourly.group_by("site_id", "meter_id").len()
    assert {row["site_id"]: row["len"] for row in counts.to_dicts()} == hours
    assert slots.filter(pl.col("meter_id") == "t.g.electricity").height == 4 * hours["t.boston"]


def test_slots_are_those_of_the_feature_rows():
    features = build_features(
        READINGS,
        meters=given.METER_ROWS,
        sites=given.SITE_ROWS,
        premises=given.PREMISE_ROWS,
        weather=None,
        issues=[given.ISSUE],
    )
    slots = delivery_slots(given.METER_ROWS, sites=given.SITE_ROWS, issued_at_utc=given.ISSUE)
    key = ["meter_id", "issued_at_utc", "starts_at_utc"]
    assert features.select(key).sort(key).equals(slots.select(key).sort(key))


def test_unknown_time_zone_is_named():
    sites = given.SITE_ROWS.with_columns(timezone=pl.lit("Mars/Olympus"))
    with pytest.raises(ContractError, match="Mars/Olympus"):
        delivery_slots(given.METER_ROWS, sites=sites, issued_at_utc=given.ISSUE)
