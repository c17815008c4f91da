"""What a transaction consists of, and the conditions and rows that it is made from. No connection is opened here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import polars as pl

from energy_assets.contracts import Table, Window
from energy_assets.errors import ContractError
from energy_assets.sql import Query

Rows: TypeAlias = pl.DataFrame | Query
Filter: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One table's part of a transaction: what is deleted (window and filter), and what takes its place."""

    table: Table
    rows: Rows
    window: Window | None = None
    where: Filter = field(default_factory=dict)
    kind: Literal["replace", "append"] = "replace"


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What a transaction did: the snapshot that it made, and rows inserted and deleted per table."""

    snapshot_id: int
    inserted: Mapping[str, int]
    deleted: Mapping[str, int]

    @classmethod
    def together(cls, commits: Sequence[Commit]) -> Commit:
        """Return what several commits did, as of the last of them."""
        inserted: Counter[str] = Counter()
        deleted: Counter[str] = Counter()
        for commit in commits:
            inserted.update(commit.inserted)
            deleted.update(commit.deleted)
        return cls(snapshot_id=commits[-1].snapshot_id, inserted=inserted, deleted=deleted)

    @property
    def rows(self) -> int:
        """Return the number of rows inserted in all."""
        return sum(self.inserted.values())


def condition_of(table: Table, window: Window | None, where: Filter) -> tuple[str, dict[str, object]]:
    """Return a SQL condition with `$parameters`, and their values, for a window and a filter.

    A filter value of None asks for null; a list, tuple or set asks for any of its values.
    """
    clauses = ["true"]
    parameters: dict[str, object] = {}
    if window is not None:
        if table.window_column is None:
            raise ContractError(f"{table.qualified_name} has no window column; replace or read it as a whole.")
        clauses.append(f"{table.window_column} >= $window_start AND {table.window_column} < $window_end")
        parameters |= {"window_start": window.starts_at_utc, "window_end": window.ends_at_utc}
    for name, value in where.items():
        column = table.column(name).name
        if value is None:
            clauses.append(f"{column} IS NULL")
        elif isinstance(value, list | tuple | set | frozenset):
            clauses.append(f"{column} IN (SELECT unnest($where_{column}))")
            parameters[f"where_{column}"] = sorted(value)
        else:
            clauses.append(f"{column} = $where_{column}")
            parameters[f"where_{column}"] = value
    return " AND ".join(clauses), parameters


def conformed(change: Change) -> Change:
    """Return the change with its frame cast to the contract; rows outside their window are refused."""
    if isinstance(change.rows, Query):
        return change
    frame = change.table.conform(change.rows)
    if change.window is not None and change.table.window_column is not None:
        moment = frame[change.table.window_column]
        outside = ((moment < change.window.starts_at_utc) | (moment >= change.window.ends_at_utc)).sum()
        if outside:
            raise ContractError(
                f"{outside} of {frame.height} rows for {change.table.qualified_name} lie outside the window "
                f"{change.window.starts_at_utc} .. {change.window.ends_at_utc} that they replace."
            )
    return Change(table=change.table, rows=frame, window=change.window, where=change.where, kind=change.kind)
