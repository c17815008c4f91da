"""A delivery date in the graph's terms: what a zone carries over from the day before, and the same bytes twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from io import BytesIO

import polars as pl
import pytest

from energy_assets.contracts import FORECASTS_LOAD, PRICES_DAYS
from energy_assets.contracts.forecasts import QUANTILE_COLUMNS
from energy_assets.prices.daily import PricedDelivery, carried_into, price_delivery
from energy_assets.prices.zones import ZoneConfig

DAY = date(2026, 3, 20)
ISSUED = datetime(2026, 3, 19, tzinfo=UTC)
ZONE = ZoneConfig(zone_id="z", timezone="UTC")


def forecasts() -> pl.DataFrame:
    """Ten kWh an hour, imported by site z on the whole delivery day."""
    starts = [datetime(2026, 3, 20, tzinfo=UTC) + timedelta(hours=hour) for hour in range(24)]
    facts: dict[str, object] = {
        "node_id": "z|electricity|net", "node_kind": "site", "site_id": "z", "commodity": "electricity",
        "direction": "net", "issued_at_utc": ISSUED, "interval_minutes": 60, "method": "sum", "rung": 0,
        "features_hash": "ab",
    }  # fmt: skip
    facts |= dict.fromkeys(QUANTILE_COLUMNS, 10.0)
    return FORECASTS_LOAD.conform(
        pl.DataFrame({"starts_at_utc": starts}).with_columns(**{name: pl.lit(value) for name, value in facts.items()})
    )


def priced(carried: dict[str, float]) -> PricedDelivery:
    return price_delivery(forecasts(), zones=[ZONE], delivery_date=DAY, published_at_utc=ISSUED, carried=carried)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], {}, id="nothing-published"),
        pytest.param([("a", 0, 1.0), ("b", 0, -2.0)], {"a": 1.0, "b": -2.0}, id="every-zone-its-own"),
        pytest.param([("a", 1, 5.0), ("a", 0, 1.0)], {"a": 5.0}, id="the-last-revision-counts"),
    ],
)
def test_what_is_carried(rows: list[tuple[str, int, float]], expected: dict[str, float]) -> None:
    names = ("zone_id", "revision", "true_up_carried")
    frame = pl.DataFrame(rows, schema={name: PRICES_DAYS.polars_schema[name] for name in names}, orient="row")
    assert carried_into(frame) == expected


def test_a_day_earns_what_the_day_before_withheld() -> None:
    plain, more = priced({"other": 99.0}), priced({"z": 24.0})
    assert plain.skipped == {}
    # 240 kWh at the flat rate; the day after a shortfall of 24 has 24 more to earn.
    assert plain.days["revenue_target"][0] == pytest.approx(240 * ZONE.flat_rate)
    assert more.days["revenue_target"][0] == pytest.approx(240 * ZONE.flat_rate + 24.0)
    assert more.curves["inputs_hash"][0] != plain.curves["inputs_hash"][0]


def test_the_same_inputs_give_the_same_bytes() -> None:
    def as_bytes(frame: pl.DataFrame) -> bytes:
        frame.write_ipc(buffer := BytesIO())
        return buffer.getvalue()

    first, second = priced({"z": 0.3}), priced({"z": 0.3})
    assert as_bytes(first.curves) == as_bytes(second.curves)
    assert as_bytes(first.days) == as_bytes(second.days)
