"""A bill in words: cents that add up, and what should be known about the figures."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.prices.bill import bill_of, money, rounded_together
from energy_assets.prices.settlement import settle_day
from energy_assets.prices.statements import statements_of
from energy_assets.prices.zones import ZoneConfig
from energy_assets_tests.prices.use import priced, use_of

CENT = 1_000_000


@given(st.lists(st.integers(-(10**13), 10**13), min_size=1, max_size=8))
def test_lines_sum_to_the_rounded_total(amounts: list[int]) -> None:
    cents = rounded_together(amounts)
    assert abs(sum(cents) * CENT - sum(amounts)) <= CENT // 2
    assert all(abs(cent * CENT - amount) < 2 * CENT for cent, amount in zip(cents, amounts, strict=True))


@pytest.mark.parametrize(
    ("amounts", "cents"),
    [
        pytest.param([33 * CENT // 100] * 3, [1, 0, 0], id="three thirds are one"),
        pytest.param([-CENT, CENT], [-1, 1], id="whole"),
        pytest.param([CENT // 2], [1], id="a half goes up"),
        pytest.param([], [], id="none"),
    ],
)
def test_rounding_by_hand(amounts: list[int], cents: list[int]) -> None:
    assert rounded_together(amounts) == cents


def test_money_is_read_as_people_write_it() -> None:
    assert [money(cents, currency_code="EUR") for cents in (123_456, -5, 0)] == [
        "1,234.56 EUR",
        "-0.05 EUR",
        "0.00 EUR",
    ]


def test_a_bill_says_what_it_is_made_of() -> None:
    zone = ZoneConfig()
    use = use_of({"a": [(1.0, 0.0, 2.0)], "b": [(0.0, 0.5, 0.0)]}, zone=zone, local_date=date(2026, 6, 1))
    use.is_estimated[5, 0] = True
    made = settle_day(use, prices=priced(use, [40_000], [10_000]))
    row = statements_of(made.days, zone=zone, period_start=date(2026, 6, 1)).row(0, named=True)
    bill = bill_of(row)
    # usual 2 kWh x 0.30; 1 kWh less at 0.40; half a kWh from the neighbour, all at the import price: nothing spared
    assert [(line.label.split(",")[0], line.energy_kwh, line.cents) for line in bill.lines] == [
        ("Your usual use", 2.0, 60),
        ("Used less than it", -1.0, -40),
        ("Spared by sharing with your neighbours", 0.5, 0),
    ]
    assert (bill.total_cents, bill.flat_cents, bill.saved_cents) == (20, 30, 10)
    assert [remark.split(".")[0] for remark in bill.remarks] == [
        "1 of 24 intervals were not read",
        "Your usual use cost 0",
    ]
