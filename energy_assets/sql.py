"""A query is the text of one `.sql` file and the values for its `$parameters`; text is never built from values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import polars as pl


@dataclass(frozen=True, kw_only=True)
class Query:
    """One SQL statement with its parameters, ready for a DuckDB connection to run."""

    text: str
    parameters: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_file(cls, package: str, name: str, **parameters: object) -> Query:
        """Return the query in `<package>/sql/<name>.sql`, for instance `("energy_assets.readings", "intervals")`."""
        return cls(text=_read(package, name), parameters=parameters)

    def frame(self, connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
        """Return its rows on a connection."""
        # Never `connection.sql` with parameters: it takes 12 s for the 4.5 million rows that `execute` gives in 0.3 s.
        return connection.execute(self.text, dict(self.parameters)).pl()


@cache
def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
