"""The bill to date and its range, and which local days are settled, by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from energy_assets.contracts import PRICES_CURVES, SETTLEMENT_DAYS, SETTLEMENT_TO_DATE, Window
from energy_assets.prices.periods import closed_days, on_slots, pieces_of
from energy_assets.prices.settlement import Settled, settle_day
from energy_assets.prices.to_date import bills_to_date
from energy_assets.prices.usage import counted_meters
from energy_assets.prices.zones import BillTerms, ZoneConfig
from energy_assets_tests.prices.use import meters, priced, use_of

ZONE = ZoneConfig(bill=BillTerms(fixed_charge=1.0))
EUR = 100_000_000
NO_FORECAST = pl.DataFrame(
    schema={
        "premise_id": pl.String,
        "starts_at_utc": pl.Datetime("us", "UTC"),
        "interval_minutes": pl.Int64,
        "q10": pl.Float64,
        "q50": pl.Float64,
        "q90": pl.Float64,
    }
)


def days_of(kwh: list[float], *, first: date) -> pl.DataFrame:
    """Return settled days on which a premise drew so much in one hour at 0.30, as usual."""
    parts = []
    for offset, each in enumerate(kwh):
        use = use_of({"a": [(each, 0.0, each)]}, zone=ZONE, local_date=first + timedelta(days=offset))
        parts.append(settle_day(use, prices=priced(use, [30_000], [0])))
    return Settled.together(parts).days


def test_the_rest_of_the_month_is_like_the_last_weeks() -> None:
    made = bills_to_date(
        days_of([10.0, 10.0, 20.0], first=date(2026, 6, 26)),
        forecast=NO_FORECAST,
        curves=PRICES_CURVES.empty(),
        zone=ZONE,
    )
    assert made.schema == SETTLEMENT_TO_DATE.polars_schema
    (row,) = made.rows(named=True)
    assert (row["settled_until"], row["days"], row["typical_days"]) == (date(2026, 6, 29), 3, 2)
    assert row["total_amount"] == (3 + 3 + 6 + 1) * EUR
    # a day cost 4 on average; its tenth and ninetieth percent are 3 and 5.40
    assert row["expected_amount"] == (13 + 2 * 4) * EUR
    assert row["low_amount"] == (13 + 2 * 3) * EUR
    assert row["high_amount"] == round((13 + 2 * 5.4) * EUR)


def test_on_the_last_day_of_a_month_the_next_one_begins() -> None:
    made = bills_to_date(
        days_of([10.0], first=date(2026, 6, 30)), forecast=NO_FORECAST, curves=PRICES_CURVES.empty(), zone=ZONE
    )
    (row,) = made.rows(named=True)
    assert (row["period_start"], row["period_end"], row["days"]) == (date(2026, 7, 1), date(2026, 8, 1), 0)
    assert (row["total_amount"], row["flat_amount"], row["saved_amount"]) == (EUR, EUR, 0)
    assert row["expected_amount"] == (1 + 31 * 3) * EUR
    assert bills_to_date(SETTLEMENT_DAYS.empty(), forecast=NO_FORECAST, curves=made, zone=ZONE).is_empty()


def forecast(start: datetime, *, hours: int, quantiles: tuple[float, float, float]) -> pl.DataFrame:
    q10, q50, q90 = quantiles
    return NO_FORECAST.clear().vstack(
        pl.DataFrame({"starts_at_utc": [start + timedelta(hours=hour) for hour in range(hours)]})
        .with_columns(premise_id=pl.lit("a"), interval_minutes=pl.lit(60, pl.Int64), q10=q10, q50=q50, q90=q90)
        .select(NO_FORECAST.columns)
        .cast(NO_FORECAST.schema)
    )


@pytest.mark.parametrize(
    ("hours", "days"), [pytest.param(24, 1, id="a whole day"), pytest.param(23, 0, id="a part is no day")]
)
def test_a_forecast_says_more_than_the_last_weeks(hours: int, days: int) -> None:
    ahead = forecast(datetime(2026, 6, 30, tzinfo=UTC), hours=hours, quantiles=(-1.0, 1.0, 2.0))
    made = bills_to_date(
        days_of([10.0], first=date(2026, 6, 29)), forecast=ahead, curves=PRICES_CURVES.empty(), zone=ZONE
    )
    (row,) = made.rows(named=True)
    assert (row["forecast_days"], row["typical_days"]) == (days, 1 - days)
    if days:
        # at the flat rates: 24 kWh x 0.30; the ends draw 24 more, or 24 less and feed in 24 at 0.08
        assert row["expected_amount"] == round((4 + 7.2) * EUR)
        assert row["high_amount"] == round((4 + 14.4) * EUR)
        assert row["low_amount"] == round((4 - 1.92) * EUR)


@pytest.mark.parametrize(
    ("timezone", "expected"),
    [
        pytest.param("UTC", [date(2026, 6, 1)], id="utc"),
        pytest.param("Europe/Berlin", [date(2026, 6, 2)], id="ahead"),
        # 1 June there ends at 05:00 of 2 June
        pytest.param("America/Chicago", [date(2026, 6, 1)], id="behind, ended by then"),
    ],
)
def test_a_local_day_is_settled_when_it_has_ended(timezone: str, expected: list[date]) -> None:
    zone = ZoneConfig(timezone=timezone)
    found = closed_days([zone], window=Window.of_days(date(2026, 6, 1)), until=datetime(2026, 6, 2, 23, tzinfo=UTC))
    assert [day for _, day in found] == expected
    early = closed_days([zone], window=Window.of_days(date(2026, 6, 1)), until=datetime(2026, 6, 1, 23, tzinfo=UTC))
    assert early == []


def test_slots_are_those_of_the_prices_else_of_the_coarsest_meter() -> None:
    members = counted_meters(
        pl.concat([meters(("a", "a", "consumption"), minutes=15), meters(("b", "b", "consumption"), minutes=30)])
    )
    day = date(2026, 6, 1)
    curve = PRICES_CURVES.empty().select("zone_id", "delivery_date", "revision", "interval_minutes")
    priced_day = pl.concat([curve, pl.DataFrame([("community", day, 0, 60)], schema=curve.schema, orient="row")])
    zone, elsewhere = ZoneConfig(), ZoneConfig(zone_id="elsewhere")
    both = [(zone, day), (zone, day + timedelta(days=1)), (elsewhere, day)]
    assert [each.interval_minutes for each in on_slots(both, curves=priced_day, members=members)] == [60, 30]


@pytest.mark.parametrize(
    ("meters_of_a_zone", "zones", "days"),
    [
        pytest.param(2, 1, [31, 30], id="a small zone, by months"),
        pytest.param(2, 40, [31, 30], id="many small zones are gathered one after the other"),
        # 80,000,000 cells, 96 a day: 41 days of 20,000 meters, of which 28 come before
        pytest.param(20_000, 1, [13] * 4 + [9], id="a large zone"),
        pytest.param(300_000, 1, [1] * 61, id="a zone of which not even a day fits"),
    ],
)
def test_days_are_settled_in_pieces_that_fit_in_memory(meters_of_a_zone: int, zones: int, days: list[int]) -> None:
    members = pl.DataFrame({"zone_id": [f"z{i}" for i in range(zones)] * meters_of_a_zone, "meter_minutes": 15})
    first = date(2026, 6, 1)
    pieces = list(pieces_of(Window.of_days(first, first + timedelta(days=60)), members=members))
    assert [(piece.ends_at_utc - piece.starts_at_utc).days for piece in pieces] == days
