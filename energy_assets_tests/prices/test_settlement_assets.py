"""Settlement in the graph: nights add up to the month, late readings make revisions, and the log holds them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.contracts import (
    LEDGER_CHECKPOINTS,
    LEDGER_ENTRIES,
    METERS,
    READINGS_INTERVAL,
    SETTLEMENT_DAYS,
    SETTLEMENT_POOLS,
    SETTLEMENT_STATEMENTS,
    SETTLEMENT_TO_DATE,
)
from energy_assets.ledger import verifier
from energy_assets.ledger.keeping import open_ledger
from energy_assets.settings import load_settings
from energy_assets_tests.prices.month import FIRST, JUNE, LAST, Village
from energy_assets_tests.prices.use import readings


@pytest.fixture(scope="module")
def unsettled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    village = Village(tmp_path_factory.mktemp("unsettled"))
    village.furnish()
    yield village
    village.lake.close()


@pytest.fixture(scope="module")
def settled(settled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    """The month settled in one run, and remembered."""
    village = Village(settled_home).copy(tmp_path_factory.mktemp("remembered"))
    assert village.bills(LAST + timedelta(days=2)).success
    yield village
    village.lake.close()


@pytest.fixture
def fresh(unsettled: Village, tmp_path: Path) -> Iterator[Village]:
    village = unsettled.copy(tmp_path / "fresh")
    yield village
    village.lake.close()


@pytest.fixture
def again(settled: Village, tmp_path: Path) -> Iterator[Village]:
    village = settled.copy(tmp_path / "again")
    yield village
    village.lake.close()


def test_every_day_is_settled_once_and_by_the_zones_own_clock(settled: Village) -> None:
    days = settled.lake.read(SETTLEMENT_DAYS)
    assert days.group_by("premise_id").len().sort("premise_id").rows() == [("a", 39), ("b", 39), ("c", 39)]
    assert (days["local_date"].min(), days["local_date"].max()) == (FIRST, LAST)
    assert set(days["starts_at_utc"].dt.hour()) == {22}
    # the readings begin at 02:00 by the village's clock
    assert days.filter(local_date=FIRST)["estimated_slots"].to_list() == [2, 2, 2]
    june = days.filter(pl.col("local_date").dt.month() == 6)
    assert june["unpriced_slots"].sum() == 0
    assert june["estimated_slots"].sum() == 0
    assert days.filter(pl.col("local_date").dt.month() == 5)["unpriced_slots"].unique().to_list() == [24]


def test_the_energy_of_a_statement_is_what_was_read(settled: Village) -> None:
    statements = settled.lake.read(SETTLEMENT_STATEMENTS, where={"period_start": JUNE}).sort("premise_id")
    assert statements["days"].to_list() == [30, 30, 30]
    start = datetime(2026, 5, 31, 22, tzinfo=UTC)
    rows = settled.lake.read(READINGS_INTERVAL).filter(
        pl.col("starts_at_utc").is_between(start, start + timedelta(days=30), closed="left")
    )
    read = dict(rows.group_by("meter_id").agg((pl.col("energy_kwh").sum() * 1000).round().cast(pl.Int64)).iter_rows())
    assert statements["import_wh"].to_list() == [read["a"], read["b"], read["i"]]
    assert statements["export_wh"].to_list() == [0, 0, read["e"]]
    assert statements["fixed_amount"].to_list() == [600_000_000] * 3


def test_nights_make_what_one_run_makes(settled: Village, fresh: Village) -> None:
    whole = fresh.lake.read(READINGS_INTERVAL)
    for last in (date(2026, 6, 30), date(2026, 7, 2)):
        # as of that night: what came later is not there
        fresh.lake.replace(
            READINGS_INTERVAL,
            whole.filter(
                pl.col("starts_at_utc") < datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(1)
            ),
        )
        first = FIRST if last.day == 30 else last - timedelta(days=1)  # a night reads the day before once more
        assert fresh.settle(first, last).success
    for table in (SETTLEMENT_DAYS, SETTLEMENT_POOLS, SETTLEMENT_STATEMENTS):
        key = list(table.key)
        assert fresh.lake.read(table).sort(key).equals(settled.lake.read(table).sort(key)), table.name


def test_a_late_reading_makes_a_revision_and_what_stood_stays(fresh: Village) -> None:
    absent = [datetime(2026, 6, 10, hour, tzinfo=UTC) for hour in (18, 19)]
    rows = fresh.lake.read(READINGS_INTERVAL)
    gone = (pl.col("meter_id") == "a") & pl.col("starts_at_utc").is_in(absent)
    fresh.lake.replace(READINGS_INTERVAL, rows.filter(~gone))
    assert fresh.settle(FIRST, LAST).success
    before = fresh.lake.read(SETTLEMENT_STATEMENTS).sort("premise_id", "period_start")
    assert before.filter(period_start=JUNE)["estimated_slots"].to_list() == [2, 0, 0]

    fresh.read(readings({"a": dict.fromkeys(absent, 5.0)}, late=absent))
    assert fresh.settle(absent[0].date(), absent[0].date()).success  # the day that changed, as the sensor asks for it
    after = fresh.lake.read(SETTLEMENT_STATEMENTS)
    assert after.join(before, on=before.columns, how="semi").height == before.height
    new = after.join(before, on=before.columns, how="anti").sort("premise_id")
    # the peak of the month is now in that hour: all shares of it change
    assert new.select("premise_id", "revision", "publication").rows() == [("a", 1, 1), ("b", 1, 1), ("c", 1, 1)]
    assert new["estimated_slots"].to_list() == [0, 0, 0]
    assert new["import_wh"][0] > before["import_wh"][1]

    entries = [json.loads(line) for line in open_ledger(fresh.settings.ledger_folder, name="x").entries()]
    june = [entry for entry in entries if entry["date"] == "2026-06-01"]
    assert [entry["revision"] for entry in june] == [0, 1]
    assert june[1]["supersedes"] == entries.index(june[0])

    size = len(entries)
    assert fresh.settle(LAST, LAST).success  # nothing has changed
    assert fresh.lake.read(SETTLEMENT_STATEMENTS).height == after.height
    assert open_ledger(fresh.settings.ledger_folder, name="x").checkpoint().size == size


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        pytest.param(
            "statement",
            {"statements_are_the_sum_of_their_days", "matches_the_statement_table"},
            id="a statement is edited",
        ),
        pytest.param("log", {"root_matches", "matches_the_statement_table"}, id="an entry is edited"),
        pytest.param("day", {"payments_sum_to_the_grid_bill", "parts_sum_to_what_is_paid"}, id="a day is edited"),
        pytest.param("other log", {"consistent_with_the_last_checkpoint", "no_gap"}, id="the log is made anew"),
    ],
)
def test_what_is_changed_is_found(again: Village, change: str, broken: set[str]) -> None:
    assert again.failed_checks() == set()
    log, lake = again.settings.ledger_folder / "log", again.lake
    if change == "statement":
        rows = lake.read(SETTLEMENT_STATEMENTS)
        cheaper = pl.when(pl.col("premise_id") == "a").then(pl.col("total_amount") - 1).otherwise("total_amount")
        lake.replace(SETTLEMENT_STATEMENTS, rows.with_columns(total_amount=cheaper))
    elif change == "day":
        rows = lake.read(SETTLEMENT_DAYS)
        lake.replace(SETTLEMENT_DAYS, rows.with_columns(grid_amount=pl.col("grid_amount") + 1))
    elif change == "log":
        for path in (log / "tile" / "entries").rglob("*.p/*"):
            path.write_bytes(path.read_bytes().replace(b"village", b"pillage"))
    else:
        log.rename(log.with_name("kept"))
        ledger = open_ledger(again.settings.ledger_folder, name="localhost/energy_assets")
        ledger.append(
            [{"type": "settlement_root", "zone": f"z{i}", "date": "2026-06-01", "revision": 0} for i in (1, 2)]
        )
    failed = again.failed_checks()
    assert broken <= failed, failed


def test_the_bill_to_date_is_of_the_running_month(settled: Village) -> None:
    rows = settled.lake.read(SETTLEMENT_TO_DATE).sort("premise_id")
    assert rows["period_start"].unique().to_list() == [date(2026, 7, 1)]
    assert rows["settled_until"].unique().to_list() == [date(2026, 7, 3)]
    assert rows.select("days", "forecast_days", "typical_days").unique().rows() == [(2, 0, 29)]
    assert (rows["low_amount"] <= rows["expected_amount"]).all()
    assert (rows["expected_amount"] <= rows["high_amount"]).all()
    entries = settled.lake.read(LEDGER_ENTRIES)
    ledger = open_ledger(settled.settings.ledger_folder, name="x")
    assert entries.height == ledger.checkpoint().size == settled.lake.read(LEDGER_CHECKPOINTS)["size"].max()
    assert settled.bills(LAST + timedelta(days=2)).success
    assert settled.lake.count(LEDGER_ENTRIES) == entries.height
    assert settled.lake.count(LEDGER_CHECKPOINTS) == 1


def test_the_commands_show_a_bill_and_prove_it(
    settled: Village, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(settled.settings.home))
    monkeypatch.setenv("COLUMNS", "120")
    load_settings.cache_clear()
    runner = CliRunner()
    try:
        shown = runner.invoke(app, ["settlement", "show", "c", "--month", "2026-06"])
        assert shown.exit_code == 0, shown.output
        assert "c: statement of June 2026" in shown.output
        assert "Fixed charge" in shown.output
        amounts = [float(found) for found in re.findall(r"(-?[\d.]+) EUR │", shown.output)]
        *lines, total, flat, saved = amounts
        assert sum(lines) == pytest.approx(total)
        assert abs(flat - total) == pytest.approx(saved)
        row = settled.lake.read(SETTLEMENT_STATEMENTS, where={"premise_id": "c", "period_start": JUNE})
        assert total == pytest.approx(row["total_amount"][0] / 1e8, abs=0.005)

        running = runner.invoke(app, ["settlement", "show", "c"])
        assert "bill to date, July 2026" in running.output
        assert "At the month's end" in running.output
        unknown = runner.invoke(app, ["settlement", "show", "x", "--month", "2026-06"])
        assert "x has no bill of 2026-06" in str(unknown.exception)

        ahead = runner.invoke(app, ["settlement", "outlook", "c", "--days", "30"])
        assert ahead.exit_code == 0, (ahead.output, ahead.exception)
        assert "c: from 03.07.2026" in ahead.output
        assert re.findall(r"^│ +(\d+) │", ahead.output, flags=re.MULTILINE) == ["7", "30"]
        assert "x has no settled day" in str(runner.invoke(app, ["settlement", "outlook", "x"]).exception)

        proven = runner.invoke(app, ["ledger", "prove", "--premise", "c", "--month", "2026-06", "--out", str(tmp_path)])
        assert proven.exit_code == 0, (proven.output, proven.exception)
        key = (settled.settings.ledger_folder / "keys" / "verifier.key").read_text().strip()
        done = subprocess.run(
            [sys.executable, "-I", verifier.__file__, "statement", str(tmp_path), key],
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"HOLDS: c pays {total:.2f} EUR for 2026-06" in done.stdout, done.stdout + done.stderr
    finally:
        load_settings.cache_clear()


def test_a_premise_without_a_meter_that_counts_has_no_bill(fresh: Village) -> None:
    rows = fresh.lake.read(METERS)
    fresh.lake.replace(METERS, rows.with_columns(commodity=pl.lit("gas")))
    assert fresh.settle(LAST, LAST).success
    assert fresh.lake.count(SETTLEMENT_DAYS) == 0
    assert fresh.lake.count(SETTLEMENT_STATEMENTS) == 0
    fresh.lake.replace(READINGS_INTERVAL, READINGS_INTERVAL.empty())
    assert fresh.settle(LAST, LAST).success
    assert fresh.bills(LAST).success
    assert fresh.lake.count(SETTLEMENT_TO_DATE) == 0


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        pytest.param("day", {"settlement/days", "settlement/statements", "ledger/settlement_ledger"}, id="the night"),
        pytest.param(
            "derived", {"settlement/days", "settlement/statements", "ledger/settlement_ledger"}, id="late readings"
        ),
        pytest.param(
            "delivery", {"settlement/to_date", "ledger/price_ledger", "ledger/entries"}, id="once prices are there"
        ),
    ],
)
def test_bills_and_their_log_are_part_of_every_night(job: str, expected: set[str]) -> None:
    from energy_assets.definitions import defs

    keys = {key.to_user_string() for key in defs.resolve_job_def(job).asset_layer.selected_asset_keys}
    assert expected <= keys
