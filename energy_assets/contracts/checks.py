"""The query that finds what breaks a contract in the lake: one pass over the window for all rules and the key."""

from __future__ import annotations

from energy_assets.contracts.table import Table, Window
from energy_assets.sql import Query


def violations_query(table: Table, window: Window | None) -> Query:
    """Return a query for the rules that rows of `window` (None: all) break: `rule`, `rows`; empty when all hold.

    Rule texts and predicates come from the contract, never from data; the window's bounds are parameters.
    """
    rules = table.rules()
    statements = ", ".join(f"'{_quoted(rule)}'" for rule in rules)
    counts = ", ".join(f"count(*) FILTER (WHERE {predicate})" for predicate in rules.values())
    parameters: dict[str, object] = {}
    where = "true"
    if window is not None and table.window_column is not None:
        where = f"{table.window_column} >= $window_start AND {table.window_column} < $window_end"
        parameters = {"window_start": window.starts_at_utc, "window_end": window.ends_at_utc}
    source = f"(SELECT * FROM lake.{table.qualified_name} WHERE {where})"
    key = ", ".join(table.key)
    # Grouping by a 64-bit hash of the key keeps the uniqueness count of millions of rows small; a collision could
    # only raise a false alarm, of odds one in a billion at 100,000 rows, and never hide a repeat.
    text = f"""
        SELECT rule, rows FROM (
            SELECT unnest([{statements}]) AS rule, unnest([{counts}]) AS rows FROM {source}
            UNION ALL
            SELECT 'key ({key}) is unique' AS rule, count(*) - count(DISTINCT hash({key})) AS rows FROM {source}
        ) WHERE rows > 0 ORDER BY rows DESC
    """
    return Query(text=text, parameters=parameters)


def _quoted(text: str) -> str:
    return text.replace("'", "''")
