"""A rebuildable index of a log: which entry stands under which identity. The tiles are the truth, never this file.

It makes appends idempotent: an entry is known by (type, zone, date, revision).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from energy_assets.errors import LedgerError

IDENTITY = ("type", "zone", "date", "revision")
_BATCH = 500  # values in one statement


@dataclass(frozen=True, kw_only=True)
class Known:
    """Where an identity stands in the log, and the hash of what was said."""

    log_index: int
    leaf: bytes


def identity_of(document: Mapping[str, object]) -> str:
    """Return the identity of an entry as text: type, zone, date and revision, a line each.

    Raises:
        LedgerError: a field is absent, the revision is no whole number, or another is no text of one line.
    """
    kind, zone, date, revision = map(document.get, IDENTITY)
    if not (type(kind) is type(zone) is type(date) is str and type(revision) is int):
        raise LedgerError(
            f"A ledger entry needs {', '.join(IDENTITY)} (text, and a whole number): {str(document)[:80]}."
        )
    identity = f"{kind}\n{zone}\n{date}\n{revision}"
    if identity.count("\n") != 3:
        raise LedgerError(f"The fields {', '.join(IDENTITY)} of a ledger entry are of one line each: {identity!r}.")
    return identity


def identity_of_line(line: bytes) -> str:
    """Return the identity of an entry as it stands in the log.

    Raises:
        LedgerError: the entry is not a JSON object with an identity.
    """
    try:
        document = json.loads(line.decode())
    except ValueError as error:
        raise LedgerError(f"An entry of the log is not JSON: {line[:80]!r}.") from error
    if not isinstance(document, dict):
        raise LedgerError(f"An entry of the log is not a JSON object: {line[:80]!r}.")
    return identity_of(document)


class Index:
    """The identities of a log in a small SQLite file."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS entries (identity TEXT PRIMARY KEY, log_index INTEGER UNIQUE, leaf BLOB)"
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def size(self) -> int:
        """Return how many entries of the log the index knows."""
        (largest,) = self._connection.execute("SELECT max(log_index) FROM entries").fetchone()
        return 0 if largest is None else int(largest) + 1

    def find(self, identities: Sequence[str]) -> dict[str, Known]:
        """Return what is known of identities."""
        found: dict[str, Known] = {}
        for start in range(0, len(identities), _BATCH):
            batch = identities[start : start + _BATCH]
            marks = ",".join("?" * len(batch))
            rows = self._connection.execute(
                f"SELECT identity, log_index, leaf FROM entries WHERE identity IN ({marks})", batch
            )
            found.update({identity: Known(log_index=place, leaf=leaf) for identity, place, leaf in rows})
        return found

    def add(self, rows: Iterable[tuple[str, int, bytes]]) -> None:
        """Add (identity, log index, leaf hash) rows in one transaction."""
        self._connection.execute("BEGIN")
        try:
            self._connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)
        except sqlite3.IntegrityError as error:
            self._connection.execute("ROLLBACK")
            raise LedgerError(
                f"The log holds one identity twice ({error}); compare it with a witnessed copy."
            ) from error
        self._connection.execute("COMMIT")
