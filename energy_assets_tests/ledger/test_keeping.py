"""Published curves in the log: kept once, corrected by revision, and found when anything is changed."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.contracts import LEDGER_CHECKPOINTS, LEDGER_ENTRIES, PRICES_CURVES, PRICES_DAYS
from energy_assets.errors import LedgerError
from energy_assets.ledger import verifier
from energy_assets.ledger.findings import curve_problems, gap_problems, memory_problems, published_curves
from energy_assets.ledger.keeping import checkpoint_rows, entry_rows, log_curves, log_promotions, open_ledger
from energy_assets.models.versions import Promotion
from energy_assets.prices.daily import PricedDelivery
from energy_assets.prices.revisions import latest, revised
from energy_assets.settings import load_settings

DAY = date(2026, 3, 20)
NOW = datetime(2026, 3, 19, tzinfo=UTC)
NAME = "example.org/test"


def curve(zone: str = "z", *, day: date = DAY, revision: int = 0, price: int = 30_000) -> pl.DataFrame:
    hours = [datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour) for hour in range(24)]
    facts: dict[str, object] = {
        "zone_id": zone, "delivery_date": day, "revision": revision, "interval_minutes": 60, "currency_code": "EUR",
        "export_price_units": 8000, "net_load_q10_kwh": 1.0, "net_load_q50_kwh": 2.0, "net_load_q90_kwh": 3.0,
        "rung": "welfare", "solver_status": "solved", "inputs_hash": "ab" * 32, "published_at_utc": NOW,
    }  # fmt: skip
    parts = {name: 0.0 for name in PRICES_CURVES.column_names if name.endswith("_component")}
    return PRICES_CURVES.conform(
        pl.DataFrame({"starts_at_utc": hours}).with_columns(
            **{name: pl.lit(value) for name, value in (facts | parts).items()},
            price_units=pl.int_range(pl.len()) + price,
        )
    )


def test_a_curve_keeps_its_place_and_a_correction_names_what_it_supersedes(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, name=NAME)
    first = pl.concat([curve("a"), curve("b")])
    assert log_curves(ledger, first) == [0, 1]
    assert log_curves(ledger, first) == [0, 1]
    assert log_curves(ledger, pl.concat([first, curve("b", revision=1, price=31_000)])) == [0, 1, 2]
    correction = json.loads(ledger.entry(2))
    assert (correction["type"], correction["supersedes"]) == ("price_correction", 1)
    with pytest.raises(LedgerError, match="a published entry is never changed"):
        log_curves(ledger, curve("a", price=1))
    assert (tmp_path / "keys" / "signing.key").stat().st_mode & 0o077 == 0


def test_what_is_changed_afterwards_is_found(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, name=NAME)
    curves = pl.concat([curve("a"), curve("b"), curve("b", revision=1, price=31_000)])
    log_curves(ledger, curves)
    entries, checkpoints = entry_rows(ledger, start=0, now=NOW), checkpoint_rows(ledger, now=NOW)
    assert entries.schema == LEDGER_ENTRIES.polars_schema
    assert checkpoints.schema == LEDGER_CHECKPOINTS.polars_schema
    assert ledger.verify().problems == ()
    assert memory_problems(ledger, checkpoints=checkpoints, entries=entries) == []
    assert curve_problems(ledger, curves) == []
    published = published_curves(curves.unique(["zone_id", "delivery_date", "revision"]))
    assert gap_problems(ledger, published) == []

    edited = curves.with_columns(price_units=pl.col("price_units") + (pl.col("zone_id") == "a"))
    assert curve_problems(ledger, edited) == ["price_curve, a, 2026-03-20, 0 is not in the log as published."]
    absent = published_curves(curve("c").head(1))
    assert gap_problems(ledger, [*published, *absent]) == [
        "price_curve, c, 2026-03-20, 0 was published and never logged."
    ]

    rewritten = open_ledger(tmp_path / "other", name=NAME)
    log_curves(rewritten, curve("a", price=29_000))
    problems = memory_problems(rewritten, checkpoints=checkpoints, entries=entries)
    assert [problem.split(";")[0] for problem in problems] == [
        "The log was cut to 1 entries",
        "The log has 1 entries",
    ]
    log_curves(rewritten, pl.concat([curve("b"), curve("c"), curve("d")]))
    assert rewritten.verify().problems == ()
    assert memory_problems(rewritten, checkpoints=checkpoints, entries=entries) == [
        "The first 3 entries are not those of the checkpoint that was seen: the log was rewritten.",
        "The first 3 entries are not those that were indexed.",
    ]
    assert memory_problems(ledger, checkpoints=checkpoints, entries=entries.tail(2)) == [
        "The index lacks entries or has some twice; delete ledger.entries and materialise it."
    ]


def test_a_change_of_champion_is_logged_once(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path, name=NAME)
    first = Promotion(
        name="load-electricity-60min", version=1, previous=None, at_utc=NOW, how="judged", reason="better",
        archive_sha256="ab", figures={},
    )  # fmt: skip
    back = Promotion(
        name="load-electricity-60min", version=1, previous=2, at_utc=NOW + timedelta(days=1), how="rollback",
        reason="worse in use", archive_sha256="ab", figures={},
    )  # fmt: skip
    assert log_promotions(ledger, [first]) == [0]
    assert log_promotions(ledger, [first, back]) == [0, 1]
    said = json.loads(ledger.entry(1))
    assert (said["date"], said["version"], said["previous_version"], said["how"]) == ("2026-03-20", 1, 2, "rollback")


def test_a_day_priced_anew_gets_a_revision_only_when_it_differs() -> None:
    def priced(price: int) -> PricedDelivery:
        return PricedDelivery(curves=curve(price=price), days=PRICES_DAYS.empty(), skipped={})

    def again(price: int, before: pl.DataFrame) -> pl.DataFrame:
        return revised(priced(price), curves=before, days=PRICES_DAYS.empty()).curves

    first = again(30_000, PRICES_CURVES.empty())
    assert first.equals(curve())
    assert again(30_000, first).equals(first)
    second = again(31_000, first)
    assert second.filter(pl.col("revision") == 0).equals(first)
    assert latest(second)["price_units"].min() == 31_000
    assert again(30_000, second)["revision"].max() == 2


def test_the_commands_let_a_stranger_check_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(tmp_path / "home"))
    load_settings.cache_clear()
    runner = CliRunner()

    def energy(*words: str) -> str:
        done = runner.invoke(app, ["ledger", *words])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    try:
        log_curves(open_ledger(tmp_path / "home" / "ledger", name=NAME), pl.concat([curve("a"), curve("b")]))
        assert "2 entries" in energy("verify")
        kept = tmp_path / "kept"
        kept.write_text(energy("checkpoint"))
        key = (tmp_path / "home" / "ledger" / "keys" / "verifier.key").read_text().strip()
        energy("prove", "--zone", "b", "--date", "2026-03-20", "--out", str(tmp_path / "proof"))
        stranger = [sys.executable, "-I", verifier.__file__, "proof", str(tmp_path / "proof" / "proof.txt"), key]
        done = subprocess.run(
            [*stranger, str(tmp_path / "proof" / "entry.json")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

        energy("keygen", str(tmp_path / "witness"), "--name", "example.org/witness", "--witness")
        assert energy("witness", str(tmp_path / "witness")).count("\u2014 ") == 2
        more = tmp_path / "more.jsonl"
        more.write_text(json.dumps({"type": "note", "zone": "z", "date": "2026-03-20", "revision": 0}) + "\n")
        assert energy("append", str(more)) == "2\n"
        assert "3 entries" in energy("verify", "--trusted", str(kept))

        entries = next((tmp_path / "home" / "ledger" / "log" / "tile" / "entries").rglob("*.p/*"))
        entries.write_bytes(entries.read_bytes().replace(b"30000", b"10000"))
        done_wrong = runner.invoke(app, ["ledger", "verify"])
        assert done_wrong.exit_code == 1
        assert "do not have the signed root" in done_wrong.output
    finally:
        load_settings.cache_clear()
