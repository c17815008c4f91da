"""One blocking check per contract, generated: keys are unique, required values present, values in their range."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import dagster as dg

from energy_assets.contracts import Table, Window
from energy_assets.contracts.checks import violations_query
from energy_assets.defs.reporting import table_of
from energy_assets.lake import Lake

CONTRACT_CHECK = "meets_its_contract"


def contract_check(table: Table, *, around: timedelta = timedelta(0)) -> dg.AssetChecksDefinition:
    """Return the blocking check that a table's rows of the run's partitions, and `around` them, meet their contract."""

    @dg.asset_check(
        asset=table.asset_key,
        name=CONTRACT_CHECK,
        blocking=True,
        description=f"Every rule of the contract of {table.qualified_name} holds, and its key is unique.",
    )
    def meets_its_contract(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        window = checked_window(context) if table.window_column else None
        if window is not None:
            window = window.padded(before=around, after=around)
        return contract_result(lake, table, window)

    return meets_its_contract


def contract_result(lake: Lake, table: Table, window: Window | None) -> dg.AssetCheckResult:
    """Return whether the rows of a window (None: all) meet their contract, and which rules how many rows break."""
    broken = lake.query(violations_query(table, window))
    return dg.AssetCheckResult(
        passed=broken.is_empty(),
        description="; ".join(f"{rule}: {rows} rows" for rule, rows in broken.select("rule", "rows").iter_rows())
        or "every rule holds",
        metadata={"rules": len(table.rules()) + 1, "violations": table_of(broken)},
    )


def checked_window(context: dg.AssetCheckExecutionContext) -> Window | None:
    """Return the window of the run's partitions; None for a run without partitions, which is checked whole."""
    run = context.op_execution_context
    if not run.has_partition_key and not run.has_partition_key_range:
        return None
    span = run.partition_time_window
    return Window(starts_at_utc=span.start, ends_at_utc=span.end)


def contract_checks(tables: Iterable[Table]) -> Sequence[dg.AssetChecksDefinition]:
    """Return the contract checks of several tables."""
    return [contract_check(table) for table in tables]
