"""The embedded instance's event log: Dagster's SQLite storage, with the asset events of a batch in one transaction.

A backfill of a year writes thousands of events. Dagster hands them over in batches (DAGSTER_EVENT_BATCH_SIZE), but its
SQLite storage stores each by itself, at 10 ms apiece; here a batch costs what an event does. The tables are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from dagster import EventLogEntry
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData


class BatchedSqliteEventLog(SqliteEventLogStorage):
    """Dagster's SQLite event log, but for `store_event_batch`. Written against the Dagster that pyproject.toml pins."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Return the storage that dagster.yaml describes."""
        return cls(inst_data=inst_data, **config_value)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run: asset events together, in the run's file and in the index; others one by one."""
        together = [event for event in events if event.dagster_event and event.dagster_event_type in ASSET_EVENTS]
        rows = [self._event_to_row(event) for event in together]
        if rows:
            with self.run_connection(together[0].run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), rows)
            with self.index_transaction() as connection:
                insert = SqlEventLogStorageTable.insert()
                ids = [connection.execute(insert, row).lastrowid for row in rows]
                self._store_asset_event_tags(connection, together, ids)
                # The index keeps the latest event of a kind per asset: earlier ones of this batch leave no trace.
                latest = {(row["asset_key"], row["dagster_event_type"]): at for at, row in enumerate(rows)}
                for at in sorted(latest.values()):
                    self._store_asset_event(connection, together[at], ids[at])
        stored = {id(event) for event in together}
        for event in events:
            if id(event) not in stored:
                self.store_event(event)
