"""A model store whose folder was moved or copied: MLflow keeps absolute addresses of artifacts, and these follow here.

Only for the embedded store whose SQLite file lies beside its artifacts; a server's artifacts are its own affair.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

EXPERIMENT = "load forecasts"
"""The experiment of the registered models; where its artifacts are tells where the store was made."""
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's schema keeps addresses of artifacts; a column that a version of it lacks is passed over."""


def point_to_where_it_lies(tracking_uri: str, *, artifact_folder: Path) -> int:
    """Let the addresses of a store that lies elsewhere than it was made point to where it lies; return how many did.

    Nothing is done where the SQLite file is not in the parent of `artifact_folder`, or the address is right.
    """
    if not tracking_uri.startswith("sqlite:///"):
        return 0
    file = Path(tracking_uri.removeprefix("sqlite:///"))
    if not file.is_file() or file.resolve().parent != artifact_folder.resolve().parent:
        return 0
    present = artifact_folder.resolve().as_uri()
    with closing(sqlite3.connect(file, timeout=30)) as store, store:
        if not store.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'experiments'").fetchall():
            return 0
        rows = store.execute("SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchall()
        moved = [each for (each,) in rows if each and each.startswith("file:") and each != present]
        return sum(_point(store, table, column, before, present) for before in moved for table, column in _kept(store))


def _kept(store: sqlite3.Connection) -> list[tuple[str, str]]:
    columns = {table: {row[1] for row in store.execute(f"PRAGMA table_info({table})")} for table, _ in _ADDRESSES}
    return [(table, column) for table, column in _ADDRESSES if column in columns[table]]


def _point(store: sqlite3.Connection, table: str, column: str, before: str, after: str) -> int:
    changed = store.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
        (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
    )
    return changed.rowcount
