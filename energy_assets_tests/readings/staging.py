"""What the tests of parsers share: a connection, a landing time, and frames of what was staged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import polars as pl

from energy_assets import contracts
from energy_assets.contracts import Table
from energy_assets.readings.source import Staged
from energy_assets.sql import Query

NOW = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
ACCOUNT = ["rows_in", "stored", "duplicate", "quarantined"]


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Staged rows, brought to their contracts."""

    raw: pl.DataFrame
    quarantine: pl.DataFrame
    landings: pl.DataFrame

    @property
    def content(self) -> pl.DataFrame:
        """The stored readings without the batch that they came in, in one order."""
        return self.raw.drop("batch_id").sort("meter_id", "starts_at_utc", "payload_hash")


def utc_connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": False})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def tables_of(connection: duckdb.DuckDBPyConnection, staged: Staged) -> Tables:
    """Read what is staged, check it against the contracts and the account, and return it."""
    tables = Tables(
        raw=_read(connection, contracts.READINGS_RAW, staged.raw),
        quarantine=_read(connection, contracts.READINGS_QUARANTINE, staged.quarantine),
        landings=_read(connection, contracts.READINGS_LANDINGS, staged.landings),
    )
    landings = tables.landings
    assert (landings["rows_in"] == landings["stored"] + landings["duplicate"] + landings["quarantined"]).all()
    assert staged.counts.is_balanced
    assert staged.counts.rows_in == landings["rows_in"].sum()
    assert staged.counts.stored == tables.raw.height
    assert staged.counts.quarantined == tables.quarantine.height
    assert not tables.raw.select(contracts.READINGS_RAW.key).is_duplicated().any()
    assert not tables.quarantine.select(contracts.READINGS_QUARANTINE.key).is_duplicated().any()
    per_day = tables.raw.group_by("batch_id", pl.col("starts_at_utc").dt.truncate("1d")).len("stored")
    counted = landings.filter(pl.col("stored") > 0).select("batch_id", "starts_at_utc", "stored")
    assert per_day.sort("batch_id", "starts_at_utc")["stored"].to_list() == (
        counted.sort("batch_id", "starts_at_utc")["stored"].to_list()
    )
    return tables


def _read(connection: duckdb.DuckDBPyConnection, table: Table, query: Query) -> pl.DataFrame:
    frame = table.conform(connection.sql(query.text, params=dict(query.parameters)).pl())
    connection.register("checked_rows", frame)
    # All rules in one statement: a statement each took most of the time of these tests.
    rules = table.rules()
    counts = ", ".join(f"count(*) FILTER (WHERE {violation})" for violation in rules.values())
    broken = connection.execute(f"SELECT {counts} FROM checked_rows").fetchone() or ()
    connection.unregister("checked_rows")
    assert {rule: count for rule, count in zip(rules, broken, strict=True) if count} == {}, table.qualified_name
    return frame
