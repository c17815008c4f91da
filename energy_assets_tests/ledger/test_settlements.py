"""Bills in the log: a root that hides them, and files with which one household proves its own."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from energy_assets.contracts import SETTLEMENT_STATEMENTS
from energy_assets.errors import LedgerError
from energy_assets.ledger import verifier
from energy_assets.ledger.findings import entry_problems, gap_problems
from energy_assets.ledger.keeping import open_ledger
from energy_assets.ledger.keys import SALT_FILE, salt_secret
from energy_assets.ledger.log import Ledger
from energy_assets.ledger.settlements import (
    ENTRY_FILE,
    OPENING_FILE,
    PROOF_FILE,
    STATEMENT_FILE,
    documents_of,
    household_files,
    log_publications,
    publication_entry,
    settlement_identity,
)
from energy_assets.prices.statements import next_revisions, standing
from energy_assets_tests.prices.test_settlement import settled

SECRET = bytes(range(32))
MONTH = date(2026, 6, 1)


def published() -> pl.DataFrame:
    """Return two publications: three premises, then a correction of one."""
    first = settled({"a": 1.0, "b": 2.0, "c": 3.0})
    again = next_revisions(first, fresh=settled({"a": 1.0, "b": 2.5, "c": 3.0}))
    return pl.concat([first, again])


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(tmp_path, name="example.org/test")


def stood(statements: pl.DataFrame) -> dict[int, pl.DataFrame]:
    return {number: standing(statements, publication=number) for number in (0, 1)}


def test_every_publication_has_an_entry_and_the_next_supersedes_it(ledger: Ledger) -> None:
    statements = published()
    assert log_publications(ledger, {0: stood(statements)[0]}, secret=SECRET) == [0]
    assert log_publications(ledger, stood(statements), secret=SECRET) == [0, 1]
    assert log_publications(ledger, stood(statements), secret=SECRET) == [0, 1]
    first, second = (json.loads(line) for line in ledger.entries())
    assert (first["type"], first["zone"], first["date"], first["statements"]) == (
        "settlement_root",
        "community",
        "2026-06-01",
        3,
    )
    assert "supersedes" not in first
    assert (second["revision"], second["supersedes"]) == (1, 0)
    assert first["root_sha256"] != second["root_sha256"]
    assert gap_problems(ledger, [settlement_identity("community", MONTH, number) for number in (0, 1)]) == []


def test_a_statement_that_is_edited_is_found(ledger: Ledger) -> None:
    statements = published()
    log_publications(ledger, stood(statements), secret=SECRET)

    def problems(frame: pl.DataFrame) -> list[str]:
        expected = [
            publication_entry(ledger, rows, publication=number, secret=SECRET) for number, rows in stood(frame).items()
        ]
        return entry_problems(ledger, expected)

    assert problems(statements) == []
    for name in ("total_amount", "saved_amount", "import_wh", "estimated_slots"):
        edited = statements.with_columns(pl.col(name) + ((pl.col("premise_id") == "b") & (pl.col("revision") == 0)))
        assert problems(edited) == ["settlement_root, community, 2026-06-01, 0 is not in the log as published."], name


@pytest.mark.parametrize("premise_id", ["a", "b", "c"])
@pytest.mark.parametrize("publication", [0, 1])
def test_a_household_verifies_with_one_file_and_nothing_of_ours(
    ledger: Ledger, tmp_path: Path, premise_id: str, publication: int
) -> None:
    statements = published()
    log_publications(ledger, stood(statements), secret=SECRET)
    files = household_files(
        ledger, stood(statements)[publication], premise_id=premise_id, publication=publication, secret=SECRET
    )
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command = [sys.executable, "-I", "-S", verifier.__file__, "statement", str(folder), ledger.verifier.text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    own = standing(statements, publication=publication).filter(premise_id=premise_id).row(0, named=True)
    said = f"HOLDS: {premise_id} pays {own['total_amount'] / 1e8:.2f} EUR for 2026-06, as settled and logged; the entry"
    assert done.stdout.startswith(said)
    # nothing of the neighbours is in the files
    others = b"".join(files.values())
    assert not any(b'"premise_id":"' + name.encode() in others for name in {"a", "b", "c"} - {premise_id})


def test_every_flipped_bit_of_what_a_household_has_is_found(ledger: Ledger) -> None:
    statements = published()
    log_publications(ledger, stood(statements), secret=SECRET)
    files = household_files(ledger, stood(statements)[1], premise_id="b", publication=1, secret=SECRET)
    statement, entry = files[STATEMENT_FILE], files[ENTRY_FILE]
    opening = files[OPENING_FILE].decode()
    verifier.check_opening(opening, statement, entry)
    verifier.check_proof(files[PROOF_FILE].decode(), ledger.verifier.text, entry)
    for raw, step, check in (
        (statement, 1, lambda each: verifier.check_opening(opening, each, entry)),
        # a signature in plain Python takes milliseconds: every 13th bit
        (entry, 13, lambda each: verifier.check_proof(files[PROOF_FILE].decode(), ledger.verifier.text, each)),
    ):
        for bit in range(0, len(raw) * 8, step):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(verifier.Unsound):
                check(bytes(flipped))
    for place in range(len(opening.rstrip("\n"))):
        if opening[place] not in "\n=":
            changed = opening[:place] + chr(ord(opening[place]) ^ 1) + opening[place + 1 :]
            with pytest.raises(verifier.Unsound):
                verifier.check_opening(changed, statement, entry)


def test_what_was_not_logged_or_is_not_there_is_named(ledger: Ledger) -> None:
    statements = published()
    with pytest.raises(LedgerError, match="has no settlement of community"):
        household_files(ledger, stood(statements)[0], premise_id="a", publication=0, secret=SECRET)
    log_publications(ledger, stood(statements), secret=SECRET)
    with pytest.raises(LedgerError, match="nobody has no statement"):
        household_files(ledger, stood(statements)[0], premise_id="nobody", publication=0, secret=SECRET)
    with pytest.raises(LedgerError, match="not those that were logged"):
        household_files(ledger, stood(statements)[0], premise_id="a", publication=0, secret=bytes(32))
    with pytest.raises(LedgerError, match="two statements"):
        documents_of(statements)


def test_a_statement_says_everything_in_whole_numbers_and_text() -> None:
    (document,) = documents_of(settled({"a": 1.0}))
    assert set(SETTLEMENT_STATEMENTS.column_names) < set(document)
    assert document["starts_at_utc"] == "2026-06-01T00:00:00Z"
    assert all(type(value) in {int, str} for value in document.values())


def test_the_secret_of_the_salts_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    secret = salt_secret(tmp_path)
    assert salt_secret(tmp_path) == secret
    assert len(secret) == 32
    assert (tmp_path / SALT_FILE).stat().st_mode & 0o077 == 0
    (tmp_path / SALT_FILE).write_text("abc")
    with pytest.raises(LedgerError, match="damaged"):
        salt_secret(tmp_path)
