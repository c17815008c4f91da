"""Rows in = stored + duplicate + quarantined, batch by batch."""

import polars as pl
import pytest

from energy_assets.parsing.account import account_of
from energy_assets.readings.judgements import judge_account


def batches(*rows: tuple[str, int, int, int, int]) -> pl.DataFrame:
    names = ["batch_id", "rows_in", "stored", "duplicate", "quarantined"]
    return pl.DataFrame(rows, schema=dict(zip(names, [pl.String] + [pl.Int64] * 4, strict=True)), orient="row")


@pytest.mark.parametrize(
    ("rows", "gone", "statement"),
    [
        pytest.param(
            [("a", 1200, 1000, 150, 50)],
            [],
            "1,200 rows in = 1,000 stored + 150 duplicate + 50 quarantined",
            id="balanced",
        ),
        pytest.param([("a", 10, 8, 1, 0)], ["a"], "10 rows in, 8 stored + 1 duplicate + 0 quarantined", id="one gone"),
        pytest.param(
            [("a", 10, 9, 0, 0), ("b", 10, 11, 0, 0), ("c", 1, 1, 0, 0)],
            ["a", "b"],
            "21 rows in, 21 stored + 0 duplicate + 0 quarantined",
            id="two faults do not cancel out",
        ),
        pytest.param([], [], "0 rows in = 0 stored + 0 duplicate + 0 quarantined", id="nothing came"),
    ],
)
def test_an_account_names_the_batches_of_which_rows_are_gone(rows, gone: list[str], statement: str):
    account = account_of(batches(*rows))
    assert account.unbalanced["batch_id"].to_list() == gone
    assert account.is_balanced == (not gone)
    assert account.statement == statement


@pytest.mark.parametrize(
    ("held", "holds"), [pytest.param(8, True, id="as the account says"), pytest.param(7, False, id="a row less")]
)
def test_a_table_holds_what_the_account_says(held: int, holds: bool):
    account = batches(("a", 10, 8, 1, 1)).rename({"batch_id": "source"}).with_columns(rows_held=held)
    judged = judge_account(account)
    assert judged.holds == holds
    assert ("wrong for a" in judged.statement) != holds
