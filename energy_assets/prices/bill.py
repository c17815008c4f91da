"""A bill in words: the lines that a household reads, in cents that add up to the cent.

The exact amounts stay in the tables; here each line is rounded so that the lines sum to the rounded total.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from energy_assets.contracts.settlement import AMOUNT_UNITS_PER_CURRENCY

_UNITS_PER_CENT = AMOUNT_UNITS_PER_CURRENCY // 100


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line: what it is for, energy in kWh where it has one, and cents to pay (negative: in your favour)."""

    label: str
    energy_kwh: float | None
    cents: int


@dataclass(frozen=True, kw_only=True)
class Bill:
    """Lines that sum to the total, what a flat tariff would have cost, and what should be known about the figures."""

    lines: tuple[Line, ...]
    total_cents: int
    flat_cents: int
    currency_code: str
    remarks: tuple[str, ...]

    @property
    def saved_cents(self) -> int:
        """Return what was saved against the flat tariff; negative is what it cost more."""
        return self.flat_cents - self.total_cents


def bill_of(row: Mapping[str, Any]) -> Bill:
    """Return the bill of a row of SETTLEMENT_STATEMENTS or of SETTLEMENT_TO_DATE."""
    deviation_wh = row["import_wh"] - row["baseline_wh"]
    parts: list[tuple[str, int | None, int]] = [
        ("Your usual use, at the flat rate", row["baseline_wh"], row["baseline_amount"]),
        (
            "Used beyond it, at the price of the hour"
            if deviation_wh >= 0
            else "Used less than it, at the price of the hour",
            deviation_wh,
            row["deviation_amount"],
        ),
        ("Fixed charge", None, row["fixed_amount"]),
        ("Your share of the month's peak", None, row["peak_amount"]),
        ("Fed in, at the feed-in price", row["export_wh"], -row["feed_in_credit"]),
        # A premise that only gives has a credit and got no energy.
        ("Spared by sharing with your neighbours", row["local_wh"] or None, -row["community_credit"]),
    ]
    shown = [part for place, part in enumerate(parts) if place < 2 or part[1] or part[2]]
    cents = rounded_together([amount for _, _, amount in shown])
    return Bill(
        lines=tuple(
            Line(label=label, energy_kwh=None if wh is None else wh / 1000.0, cents=cent)
            for (label, wh, _), cent in zip(shown, cents, strict=True)
        ),
        total_cents=sum(cents),
        flat_cents=_cents(row["flat_amount"]),
        currency_code=row["currency_code"],
        remarks=tuple(_remarks(row)),
    )


def rounded_together(amounts: Sequence[int]) -> list[int]:
    """Return amounts (1e-8 currency) as cents that sum to the rounded sum: largest remainders, the earlier first."""
    floors = [amount // _UNITS_PER_CENT for amount in amounts]
    left = _cents(sum(amounts)) - sum(floors)
    order = sorted(range(len(amounts)), key=lambda place: (-(amounts[place] % _UNITS_PER_CENT), place))
    for place in order[:left]:
        floors[place] += 1
    return floors


def money(cents: int, *, currency_code: str) -> str:
    """Return cents as `12.34 EUR`."""
    sign, cents = "-" if cents < 0 else "", abs(cents)
    return f"{sign}{cents // 100:,}.{cents % 100:02d} {currency_code}"


def _remarks(row: Mapping[str, Any]) -> list[str]:
    remarks = []
    if row["estimated_slots"]:
        remarks.append(
            f"{row['estimated_slots']:,} of {row['slots']:,} intervals were not read. They count as your usual use, "
            f"and as nothing fed in, until they are."
        )
    if row["unpriced_slots"]:
        remarks.append(
            f"{row['unpriced_slots']:,} of {row['slots']:,} intervals had no published price and are billed at the "
            f"flat rate."
        )
    credit = _cents(row["baseline_credit"])
    if credit:
        against = "less" if credit > 0 else "more"
        amount = money(abs(credit), currency_code=row["currency_code"])
        remarks.append(
            f"Your usual use cost {amount} {against} at the flat rate than at the prices of the hours: "
            f"{'they were dear' if credit > 0 else 'they were cheap'} when you use most."
        )
    return remarks


def _cents(amount: int) -> int:
    """Return an amount rounded to cents, halves up."""
    return (2 * amount + _UNITS_PER_CENT) // (2 * _UNITS_PER_CENT)
