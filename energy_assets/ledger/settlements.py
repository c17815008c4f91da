"""Settlements in the log: one root a zone, month and publication, and what a household is given to prove its bill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime

import polars as pl

from energy_assets.contracts.settlement import AMOUNT_UNITS_PER_CURRENCY
from energy_assets.errors import LedgerError
from energy_assets.ledger.canonical import canonical_json
from energy_assets.ledger.commitments import Statement, open_statement, statements_root
from energy_assets.ledger.entries import Entry, settlement_entry
from energy_assets.ledger.log import Ledger

ENTRY_FILE = "entry.json"
PROOF_FILE = "proof.txt"
STATEMENT_FILE = "statement.json"
OPENING_FILE = "opening.txt"


def documents_of(statements: pl.DataFrame) -> list[Statement]:
    """Return statements, rows of SETTLEMENT_STATEMENTS of which one a premise, as they are committed to: by premise."""
    ordered = statements.sort("premise_id")
    if ordered["premise_id"].n_unique() != ordered.height:
        raise LedgerError("A premise has two statements in one publication; give those that stood together.")
    return [
        {"type": "statement", "amount_units_per_currency": AMOUNT_UNITS_PER_CURRENCY}
        | {name: _plain(value) for name, value in row.items()}
        for row in ordered.iter_rows(named=True)
    ]


def publication_entry(ledger: Ledger, statements: pl.DataFrame, *, publication: int, secret: bytes) -> Entry:
    """Return the entry of a publication of a zone's month; `statements` are those that stood after it."""
    zone_id, period = statements.select("zone_id", "period_start").row(0)
    before = None if publication == 0 else ledger.find(settlement_identity(zone_id, period, publication - 1))
    documents = documents_of(statements)
    return settlement_entry(
        zone_id=zone_id,
        period=period,
        revision=publication,
        statements=len(documents),
        root=statements_root(documents, secret=secret),
        supersedes=before,
    )


def log_publications(ledger: Ledger, publications: Mapping[int, pl.DataFrame], *, secret: bytes) -> list[int]:
    """Append the publications of one zone and month, in order, and return their places; one that is there stays.

    `publications` holds, per number, the statements that stood after it: rows of SETTLEMENT_STATEMENTS.
    """
    return [
        place
        for number, statements in sorted(publications.items())
        for place in ledger.append([publication_entry(ledger, statements, publication=number, secret=secret)])
    ]


def settlement_identity(zone_id: str, period: date, publication: int) -> dict[str, object]:
    """Return the identity of a settlement's entry."""
    return {"type": "settlement_root", "zone": zone_id, "date": period.isoformat(), "revision": publication}


def household_files(
    ledger: Ledger, statements: pl.DataFrame, *, premise_id: str, publication: int, secret: bytes
) -> dict[str, bytes]:
    """Return the files that prove one premise's statement: itself, its opening, the log's entry and its proof.

    Args:
        ledger: The log.
        statements: Those that stood after the publication, rows of SETTLEMENT_STATEMENTS of the zone and month.
        premise_id: Whose statement.
        publication: Number of the publication.
        secret: Of the salts.

    Raises:
        LedgerError: the premise has no statement, the log has no such entry, or it says something else.
    """
    documents = documents_of(statements)
    places = [place for place, document in enumerate(documents) if document["premise_id"] == premise_id]
    if not places:
        raise LedgerError(f"{premise_id} has no statement in publication {publication}; see `energy settlement show`.")
    zone_id, period = statements.select("zone_id", "period_start").row(0)
    found = ledger.find(settlement_identity(zone_id, period, publication))
    if found is None:
        raise LedgerError(
            f"The log has no settlement of {zone_id} for {period:%Y-%m}, publication {publication}: "
            f"materialise ledger/settlement_ledger."
        )
    entry = ledger.entry(found)
    opening = open_statement(documents, index=places[0], secret=secret)
    if not opening.holds(root=bytes.fromhex(json.loads(entry)["root_sha256"])):
        raise LedgerError(
            f"The statements of {zone_id} for {period:%Y-%m} are not those that were logged at {found}: the table or "
            f"the secret of the salts was changed. Compare settlement.statements with a backup."
        )
    return {
        STATEMENT_FILE: canonical_json(opening.statement),
        OPENING_FILE: opening.text.encode(),
        ENTRY_FILE: entry,
        PROOF_FILE: ledger.prove(found).encode(),
    }


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else value
