"""Pure judgements over what was landed: does the account balance, and are the readings complete?"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from energy_assets.parsing.account import account_of, unaccounted

ENOUGH_FRACTION = 0.9


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether a claim holds, the sentence that says so, and the rows that show it best."""

    holds: bool
    statement: str
    rows: pl.DataFrame


def judge_account(account: pl.DataFrame) -> Judgement:
    """Return whether rows in = stored + duplicate + quarantined, and whether the table holds what is accounted for.

    `account` has source, rows_in, stored, duplicate, quarantined and rows_held, a row per source.
    """
    judged = account.with_columns(unaccounted=unaccounted(), not_held=pl.col("stored") - pl.col("rows_held"))
    wrong = judged.filter((pl.col("unaccounted") != 0) | (pl.col("not_held") != 0))
    statement = account_of(account).statement
    if wrong.height:
        statement += f"; wrong for {', '.join(wrong['source'])}: land their days again"
    return Judgement(holds=wrong.is_empty(), statement=statement, rows=wrong if wrong.height else judged)


def judge_completeness(intervals: pl.DataFrame) -> Judgement:
    """Return whether at least `ENOUGH_FRACTION` of all intervals are known, and the meters that know least.

    `intervals` has meter_id, intervals and known, a row per meter.
    """
    total, known = intervals.select(pl.col("intervals", "known").sum()).row(0)
    fraction = known / total if total else 0.0
    least = intervals.with_columns(known_fraction=pl.col("known") / pl.col("intervals")).sort(
        "known_fraction", "meter_id"
    )
    statement = f"{fraction:.1%} of {total:,} intervals of {intervals.height:,} meters are known"
    return Judgement(holds=bool(total) and fraction >= ENOUGH_FRACTION, statement=statement, rows=least)
