"""Maintenance of a lake: small files merged, old snapshots expired, files that nothing refers to deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from energy_assets.lake.store import Lake


@dataclass(frozen=True, kw_only=True)
class Maintenance:
    """What a maintenance run did."""

    files_merged: int
    snapshots_expired: int
    files_deleted: int
    orphans_deleted: int


def maintain(lake: Lake, *, now: datetime, keep_days: int = 30, keep_snapshots: Sequence[int] = ()) -> Maintenance:
    """Merge small files, expire old snapshots, and delete files that nothing refers to any more.

    Args:
        lake: the lake to tidy.
        now: present time.
        keep_days: snapshots younger than this stay; so do files that a running reader may still hold.
        keep_snapshots: snapshots that stay for ever, for instance those that registered models learned from.
    """
    before = now - timedelta(days=keep_days)
    older = f"older_than => TIMESTAMPTZ '{before:%Y-%m-%d %H:%M:%S}+00'"
    with lake.session() as session:

        def call(procedure: str, what: str) -> int:
            return len(lake.retry(lambda: session.execute(f"CALL {procedure}").fetchall(), what=what))

        merged = call("ducklake_merge_adjacent_files('lake')", "merge files")
        expired = sorted(_snapshots_before(session, before) - set(keep_snapshots))
        if expired:
            versions = ", ".join(str(snapshot) for snapshot in expired)
            call(f"ducklake_expire_snapshots('lake', versions => [{versions}])", "expire snapshots")
        return Maintenance(
            files_merged=merged,
            snapshots_expired=len(expired),
            files_deleted=call(f"ducklake_cleanup_old_files('lake', {older})", "clean up files"),
            orphans_deleted=call(f"ducklake_delete_orphaned_files('lake', {older})", "delete orphans"),
        )


def _snapshots_before(session: duckdb.DuckDBPyConnection, before: datetime) -> set[int]:
    """Return the ids of snapshots older than `before`; the newest is never among them."""
    rows = session.execute(
        "SELECT snapshot_id FROM ducklake_snapshots('lake') WHERE snapshot_time < $before "
        "AND snapshot_id < (SELECT max(snapshot_id) FROM ducklake_snapshots('lake'))",
        {"before": before},
    ).fetchall()
    return {int(row[0]) for row in rows}
