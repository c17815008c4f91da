"""Opening a lake: DuckDB with its extensions, the catalog attached, and the contract's tables made."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

import duckdb

from energy_assets.contracts import Table
from energy_assets.errors import LakeError

_LOG = logging.getLogger(__name__)

# Pages of version 2 with LZ4 are written a fifth faster than the default, and read faster, for files of the same size.
_WRITING = {"parquet_version": "2", "parquet_compression": "lz4_raw"}
_SCANNERS = {"sqlite": "sqlite_scanner", "postgres": "postgres_scanner"}

# Extensions whose signature was found right in this process. DuckDB reads and hashes all of a file for it, 0.15 s of
# CPU each, on every connection: sensors and tests open many.
_checked: set[str] = set()


def open_engine(work_folder: Path, *, catalog: str, memory_limit_gb: float, threads: int) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB with what the catalog needs loaded, spilling to `work_folder`, on UTC.

    Raises:
        LakeError: the catalog is of no known kind, or an extension is missing or of another version.
    """
    kind = catalog.partition(":")[0]
    if kind not in _SCANNERS:
        raise LakeError(f"The catalog {catalog!r} is neither sqlite:PATH nor postgres:CONNECTION; mend it.")
    extensions = ("ducklake", _SCANNERS[kind])
    work_folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "temp_directory": str(work_folder / "spill"),
            "memory_limit": f"{memory_limit_gb}GB",
            "threads": threads,
            "preserve_insertion_order": False,
            "allow_unsigned_extensions": _checked.issuperset(extensions),
        }
    )
    for name in extensions:
        _load_extension(connection, name)
    _checked.update(extensions)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def attach(connection: duckdb.DuckDBPyConnection, *, catalog: str, data_path: str) -> None:
    """Attach the DuckLake as `lake`."""
    kind, _, place = catalog.partition(":")
    # Inlined rows would live in the catalog: every row belongs in Parquet, where any engine can read it.
    options = "DATA_INLINING_ROW_LIMIT 0"
    if kind == "sqlite":
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        options += ", META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 5000"
    if "://" not in data_path:
        Path(data_path).mkdir(parents=True, exist_ok=True)
        # The catalog remembers where its files were; a home that was moved or restored has them where we say.
        if any(Path(data_path).iterdir()):
            options += ", OVERRIDE_DATA_PATH true"
    target = f"ducklake:{catalog}".replace("'", "''")
    folder = data_path.replace("'", "''")
    connection.execute(f"ATTACH IF NOT EXISTS '{target}' AS lake (DATA_PATH '{folder}', {options})")


def ensure_tables(connection: duckdb.DuckDBPyConnection, tables: Sequence[Table]) -> None:
    """Create the tables that are missing and add nullable columns that contracts gained since, in one transaction.

    A table that holds nothing is made anew where its columns are others than those of its contract.

    Raises:
        LakeError: a table of the lake cannot be brought to its contract.
    """
    present = dict(_present_columns(connection))
    outdated = [
        table.qualified_name
        for table in tables
        if table.qualified_name in present
        and present[table.qualified_name] != set(table.column_names)
        and connection.execute(f"SELECT count(*) FROM lake.{table.qualified_name}").fetchone() == (0,)
    ]
    for name in outdated:
        del present[name]
    statements = [f"DROP TABLE lake.{name}" for name in outdated]
    statements += [
        statement for table in tables for statement in _definition(table, present.get(table.qualified_name, set()))
    ]
    if not statements:
        return
    connection.execute("BEGIN")
    try:
        if not present:
            for option, value in _WRITING.items():
                connection.execute("CALL lake.set_option($option, $value)", {"option": option, "value": value})
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
    except duckdb.Error:
        rollback(connection)
        raise


def rollback(connection: duckdb.DuckDBPyConnection) -> None:
    """End the connection's transaction, if the failure has not ended it already."""
    try:
        connection.execute("ROLLBACK")
    except duckdb.TransactionException:
        _LOG.debug("nothing to roll back: the failed commit ended the transaction itself")


def _present_columns(connection: duckdb.DuckDBPyConnection) -> Mapping[str, set[str]]:
    present: dict[str, set[str]] = {}
    for schema, table, column in connection.execute(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns WHERE table_catalog = 'lake'"
    ).fetchall():
        present.setdefault(f"{schema}.{table}", set()).add(column)
    return present


def _load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    packaged = resources.files(f"duckdb_extension_{name}") / "extensions"
    file = packaged / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    try:
        # Loaded from where its package lies: installing a copy first costs every new process a second.
        with resources.as_file(file) as path:
            connection.load_extension(str(path))
    except (duckdb.Error, FileNotFoundError) as error:
        raise LakeError(
            f"DuckDB {duckdb.__version__} cannot load its extension {name}: {error}. Its package "
            f"duckdb-extension-{name.replace('_', '-')} must be of DuckDB's own version; run `make setup`."
        ) from error


def _definition(table: Table, present: set[str]) -> Iterator[str]:
    if not present:
        columns = ", ".join(
            f"{column.name} {column.sql_type}{'' if column.nullable else ' NOT NULL'}" for column in table.columns
        )
        yield f"CREATE SCHEMA IF NOT EXISTS lake.{table.schema}"
        yield f"CREATE TABLE IF NOT EXISTS lake.{table.qualified_name} ({columns})"
        if table.partitioned_by:
            yield f"ALTER TABLE lake.{table.qualified_name} SET PARTITIONED BY ({', '.join(table.partitioned_by)})"
        if table.sorted_by:
            yield f"ALTER TABLE lake.{table.qualified_name} SET SORTED BY ({', '.join(table.sorted_by)})"
        return
    for column in table.columns:
        if column.name in present:
            continue
        if not column.nullable:
            raise LakeError(
                f"The lake's {table.qualified_name} lacks the column {column.name}, which may not be null; "
                f"re-create the table or start a new lake folder and ingest again."
            )
        yield f"ALTER TABLE lake.{table.qualified_name} ADD COLUMN {column.name} {column.sql_type}"
