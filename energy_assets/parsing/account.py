"""The account of a landing, whatever was landed: every row that came in was stored, was a repeat, or was refused."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

PARTS = ("stored", "duplicate", "quarantined")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Sums over batches, and the batches of which rows are gone: those whose parts are not the rows that came in."""

    rows_in: int
    stored: int
    duplicate: int
    quarantined: int
    unbalanced: pl.DataFrame

    @property
    def is_balanced(self) -> bool:
        """Return whether every row of every batch went somewhere."""
        return self.unbalanced.is_empty()

    @property
    def statement(self) -> str:
        """Return the account as a sentence for people."""
        parts = f"{self.stored:,} stored + {self.duplicate:,} duplicate + {self.quarantined:,} quarantined"
        return f"{self.rows_in:,} rows in = {parts}" if self.is_balanced else f"{self.rows_in:,} rows in, {parts}"


def account_of(batches: pl.DataFrame) -> Account:
    """Return the account of rows with rows_in, stored, duplicate and quarantined; two faults do not cancel out."""
    totals = batches.select(pl.col("rows_in", *PARTS).sum()).row(0, named=True)
    return Account(**totals, unbalanced=batches.filter(unaccounted() != 0))


def unaccounted() -> pl.Expr:
    """Return how many of the rows that came in are neither stored nor repeats nor refused."""
    return pl.col("rows_in") - pl.sum_horizontal(PARTS)
