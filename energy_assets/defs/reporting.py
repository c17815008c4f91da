"""How an asset reports: rows, snapshot and a few figures as metadata; and the shared looks of every asset."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from energy_assets.contracts import Table
from energy_assets.lake import Commit

OWNERS = ["team:energy-assets"]
BACKFILL_IN_ONE_RUN = dg.BackfillPolicy.single_run()


def looks_of(table: Table, *, kinds: Sequence[str] = ("ducklake",)) -> dict[str, Any]:
    """Return key, group, owners, kinds and column schema of the asset that writes a table."""
    return {
        "key": table.asset_key,
        "group_name": table.schema,
        "owners": OWNERS,
        "kinds": set(kinds),
        "metadata": {"dagster/column_schema": column_schema(table), "dagster/table_name": table.qualified_name},
    }


def specs_of(tables: Sequence[Table], *, deps: Sequence[Any] = (), **more: Any) -> list[dg.AssetSpec]:
    """Return the assets of tables that one step writes from the same inputs; `more` is what AssetSpec takes."""
    return [dg.AssetSpec(description=table.description, deps=deps, **looks_of(table), **more) for table in tables]


def column_schema(table: Table) -> dg.TableSchema:
    """Return a contract as the column schema that the UI shows."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.sql_type,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table.columns
        ]
    )


def run_message(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> str:
    """Return the commit message of a run's writes: run id and step."""
    return f"run {context.run.run_id} {context.op_execution_context.op.name}"


def report(commit: Commit, table: Table | None = None, **figures: object) -> dg.MaterializeResult[None]:
    """Return the result of an asset: rows written, the lake's snapshot, and figures by name."""
    return dg.MaterializeResult(
        asset_key=table.asset_key if table else None,
        metadata={
            "dagster/row_count": commit.inserted.get(table.qualified_name, 0) if table else commit.rows,
            "lake_snapshot": commit.snapshot_id,
            **{name: shown(value) for name, value in figures.items()},
        },
    )


def shown(value: object) -> Any:
    """Return a value as Dagster metadata; frames become tables, mappings JSON."""
    if isinstance(value, pl.DataFrame):
        return table_of(value)
    if isinstance(value, Mapping):
        return dg.MetadataValue.json(dict(value))
    return value


def table_of(frame: pl.DataFrame, *, rows: int = 20) -> dg.TableMetadataValue:
    """Return the first rows of a frame as a table in the UI."""
    records = [
        dg.TableRecord({name: _cell(value) for name, value in row.items()})
        for row in frame.head(rows).iter_rows(named=True)
    ]
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name, type=str(kind)) for name, kind in frame.schema.items()])
    return dg.TableMetadataValue(records=records, schema=schema)


def _cell(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, float):
        return round(value, 4)
    return str(value)
