"""One writer at a time: locks that a killed process cannot keep, held around a transaction that writes.

DuckLake sees no conflict between two transactions that each insert into the same table, so two replacements of one
empty window at once would both be kept. On a Postgres catalog a writer holds an advisory lock for each table that it
writes; a SQLite catalog takes one writer anyway, so there the whole catalog is held and nobody repeats work in vain.
"""

from __future__ import annotations

import fcntl
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from energy_assets.errors import LakeError

# Advisory locks of one Postgres server share one space of pairs: this half says that the lock is a lake's table.
_NAMESPACE = 0x454E4741


@contextmanager
def writing(catalog: str, tables: Sequence[str]) -> Iterator[None]:
    """Hold the right to write `tables` of the lake at `catalog`, waiting for whoever holds it now.

    Raises:
        LakeError: the lock cannot be asked for.
    """
    kind, _, place = catalog.partition(":")
    if kind == "sqlite":
        with _file_lock(Path(f"{place}.lock")):
            yield
    else:
        with _advisory_locks(place, tables):
            yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    try:
        file = path.open("a")
    except OSError as error:
        raise LakeError(
            f"The lake's lock file {path} cannot be opened: {error}. Mend its folder's permissions."
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _advisory_locks(connection_text: str, tables: Sequence[str]) -> Iterator[None]:
    import psycopg2

    try:
        connection = psycopg2.connect(connection_text)
        # Autocommit: the locks belong to the connection, which waits idle and not inside a transaction.
        connection.autocommit = True
        with connection.cursor() as cursor:
            # In one order everywhere, so that two writers of the same tables cannot wait for one another.
            for table in sorted(set(tables)):
                cursor.execute("SELECT pg_advisory_lock(%s, %s)", (_NAMESPACE, _key_of(table)))
    except psycopg2.Error as error:
        raise LakeError(
            f"The lake's Postgres catalog gave no lock: {str(error).strip()}. See that it is up."
        ) from error
    try:
        yield
    finally:
        connection.close()


def _key_of(table: str) -> int:
    return zlib.crc32(table.encode()) - 2**31
