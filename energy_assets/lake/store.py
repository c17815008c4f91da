"""`Lake`: sessions, reads, and writes in whole transactions that are repeated when another writer was faster."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import duckdb
import polars as pl

from energy_assets import contracts
from energy_assets.contracts import Table, Window
from energy_assets.errors import LakeError
from energy_assets.lake.changes import Change, Commit, Filter, Rows, condition_of, conformed
from energy_assets.lake.locks import writing
from energy_assets.lake.opening import attach, ensure_tables, open_engine, rollback
from energy_assets.settings import Settings
from energy_assets.sql import Query

_LOG = logging.getLogger(__name__)

# Four writers on a SQLite catalog need three tries at most when each holds the catalog for 50 ms; a bulk load holds it
# for seconds. Twelve tries with doubling pauses wait for about half a minute before the conflict is called permanent.
_TRIES = 12
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 5.0
_CONFLICTS = ("conflict", "database is locked", "could not serialize", "deadlock", "already exists", "duplicate key")

_T = TypeVar("_T")


class Lake:
    """A DuckLake of the contract's tables.

    One instance serves one process; every session is a cursor with its own transaction. The catalog's tables are made
    on first use, and columns that a contract gained since are added.
    """

    def __init__(
        self,
        *,
        catalog: str,
        data_path: str,
        work_folder: Path,
        memory_limit_gb: float = 1.2,
        threads: int = 2,
        author: str = "energy_assets",
        code: str | None = None,
        tables: Sequence[Table] = contracts.TABLES,
    ) -> None:
        self.catalog = catalog
        self.data_path = data_path
        self.author = author
        self.code = code
        self._work_folder = work_folder
        self._memory_limit_gb = memory_limit_gb
        self._threads = threads
        self._tables = tables
        self._base: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings, *, author: str = "energy_assets", code: str | None = None) -> Self:
        """Return the lake that the settings describe; nothing is opened before the first use.

        Every commit carries its author, and the revision of the code that wrote it where that is given.
        """
        return cls(
            catalog=settings.catalog,
            data_path=settings.data_path,
            work_folder=settings.home / "work",
            memory_limit_gb=settings.memory_limit_gb,
            threads=settings.threads,
            author=author,
            code=code,
        )

    # Reading

    @contextmanager
    def session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection of its own with the lake in use: `readings.raw` names a table, times are UTC."""
        cursor = self._connection().cursor()
        try:
            cursor.execute("USE lake")
            yield cursor
        finally:
            cursor.close()

    def read(
        self,
        table: Table,
        window: Window | None = None,
        *,
        columns: Sequence[str] | None = None,
        where: Filter | None = None,
        snapshot_id: int | None = None,
    ) -> pl.DataFrame:
        """Return a table's rows, with window, columns and filter pushed down to the Parquet files.

        Args:
            table: what to read.
            window: keep rows whose window column falls in `[starts_at_utc, ends_at_utc)`.
            columns: names to return; all by default.
            where: column to value, or to a list of values of which one must match.
            snapshot_id: read the lake as it was at that snapshot, without the columns that the contract gained since.
        """
        names = [table.column(name).name for name in columns or table.column_names]
        condition, parameters = condition_of(table, window, where or {})
        version = "" if snapshot_id is None else f" AT (VERSION => {int(snapshot_id)})"
        with self.session() as session:
            if version:
                then = session.execute(f"SELECT * FROM lake.{table.qualified_name}{version} LIMIT 0").description or []
                names = [name for name in names if name in {column[0] for column in then}]
            selected = ", ".join(names)
            frame = session.execute(
                f"SELECT {selected} FROM lake.{table.qualified_name}{version} WHERE {condition}", parameters
            ).pl()
        return frame.cast({name: dtype for name, dtype in table.polars_schema.items() if name in frame.columns})

    def query(self, query: Query) -> pl.DataFrame:
        """Return the rows of a query over the lake."""
        with self.session() as session:
            return query.frame(session)

    def count(self, table: Table, window: Window | None = None, *, where: Filter | None = None) -> int:
        """Return the number of rows in the window that match the filter."""
        condition, parameters = condition_of(table, window, where or {})
        with self.session() as session:
            return _scalar(
                session.execute(f"SELECT count(*) FROM lake.{table.qualified_name} WHERE {condition}", parameters)
            )

    def snapshot_id(self) -> int:
        """Return the id of the newest snapshot."""
        with self.session() as session:
            return _scalar(session.execute("SELECT id FROM ducklake_current_snapshot('lake')"))

    def code_of(self, snapshot_id: int) -> str | None:
        """Return the revision of the code that wrote a snapshot; None where it was not given, or is not kept."""
        with self.session() as session:
            said = session.execute(
                "SELECT commit_extra_info FROM ducklake_snapshots('lake') WHERE snapshot_id = $id", {"id": snapshot_id}
            ).fetchone()
        return None if said is None or said[0] is None else str(said[0])

    # Writing

    def replace(
        self,
        table: Table,
        rows: Rows,
        *,
        window: Window | None = None,
        where: Filter | None = None,
        message: str = "",
    ) -> Commit:
        """Replace a window of a table (or the rows that match a filter, or all of it) in one transaction."""
        return self.commit([Change(table=table, rows=rows, window=window, where=where or {})], message=message)

    def append(self, table: Table, rows: Rows, *, message: str = "") -> Commit:
        """Append rows in one transaction. The caller answers for uniqueness; a replace is nearly always better."""
        return self.commit([Change(table=table, rows=rows, kind="append")], message=message)

    def commit(
        self, changes: Sequence[Change], *, message: str = "", session: duckdb.DuckDBPyConnection | None = None
    ) -> Commit:
        """Carry out all changes in one transaction; on a conflict with another writer, repeat it as a whole.

        Args:
            changes: one per table; queries run inside the transaction and see it.
            message: commit message, for instance the Dagster run id.
            session: the connection whose temporary tables the queries read; a new one by default.

        Raises:
            ContractError: rows do not have the columns of the contract, or lie outside the window.
            LakeError: the conflict did not heal, or the storage failed.
        """
        if session is None:
            with self.session() as own:
                return self.commit(changes, message=message, session=own)
        checked = [conformed(change) for change in changes]
        with writing(self.catalog, [change.table.qualified_name for change in checked]):
            return self.retry(lambda: self._transact(session, checked, message), what=f"commit {message!r}")

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            if self._base is not None:
                self._base.close()
                self._base = None

    # Opening

    def _connection(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._base is None:
                self._base = self._open()
            return self._base

    def _open(self) -> duckdb.DuckDBPyConnection:
        engine = open_engine(
            self._work_folder, catalog=self.catalog, memory_limit_gb=self._memory_limit_gb, threads=self._threads
        )
        try:
            self.retry(lambda: attach(engine, catalog=self.catalog, data_path=self.data_path), what="attach")
            self.retry(lambda: ensure_tables(engine, self._tables), what="create tables")
        except BaseException:
            engine.close()
            raise
        return engine

    # Transactions

    def _transact(self, session: duckdb.DuckDBPyConnection, changes: Sequence[Change], message: str) -> Commit:
        inserted: dict[str, int] = {}
        deleted: dict[str, int] = {}
        session.execute("BEGIN")
        try:
            for change in changes:
                name = change.table.qualified_name
                if change.kind == "replace":
                    condition, parameters = condition_of(change.table, change.window, change.where)
                    deleted[name] = deleted.get(name, 0) + _scalar(
                        session.execute(f"DELETE FROM lake.{name} WHERE {condition}", parameters)
                    )
                inserted[name] = inserted.get(name, 0) + _insert(session, change)
            session.execute(
                "CALL lake.set_commit_message($author, $message, extra_info => $code)",
                {"author": self.author, "message": message, "code": self.code},
            )
            session.execute("COMMIT")
        except BaseException:
            rollback(session)
            raise
        snapshot = session.execute("SELECT id FROM ducklake_last_committed_snapshot('lake')").fetchone()
        return Commit(
            # A transaction that changed nothing makes no snapshot: it stands for the one that it saw.
            snapshot_id=int(snapshot[0]) if snapshot and snapshot[0] is not None else self.snapshot_id(),
            inserted=inserted,
            deleted=deleted,
        )

    def retry(self, action: Callable[[], _T], *, what: str) -> _T:
        """Return what `action` returns; on a conflict with another writer, repeat the whole action.

        Raises:
            LakeError: the conflict did not heal, or the failure is of another kind.
        """
        place = _without_password(self.catalog)
        for attempt in range(_TRIES):
            try:
                return action()
            except duckdb.Error as error:
                fault = _without_password(error)
                if not any(sign in fault.lower() for sign in _CONFLICTS):
                    raise LakeError(f"The lake at {place} failed to {what}: {fault}") from error
                if attempt == _TRIES - 1:
                    raise LakeError(
                        f"The lake at {place} could not {what} in {_TRIES} tries, because of other writers; "
                        f"run fewer at once or use a Postgres catalog. Last conflict: {fault}"
                    ) from error
                pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt) * random.uniform(0.5, 1.5)  # noqa: S311
                _LOG.info("lake: %s met another writer, try %d of %d", what, attempt + 2, _TRIES)
                time.sleep(pause_s)
        raise AssertionError("unreachable")


def _insert(session: duckdb.DuckDBPyConnection, change: Change) -> int:
    name = f"lake.{change.table.qualified_name}"
    columns = ", ".join(change.table.column_names)
    if isinstance(change.rows, Query):
        return _scalar(
            session.execute(
                f"INSERT INTO {name} ({columns}) SELECT {columns} FROM ({change.rows.text.rstrip().rstrip(';')})",
                dict(change.rows.parameters),
            )
        )
    if change.rows.is_empty():
        return 0
    session.register("incoming_rows", change.rows)
    try:
        return _scalar(session.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM incoming_rows"))
    finally:
        session.unregister("incoming_rows")


def _scalar(result: duckdb.DuckDBPyConnection) -> int:
    row = result.fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def _without_password(message: object) -> str:
    return re.sub(r"(?i)(password=)(\S+)", r"\1***", str(message))
