"""The lake: DuckLake tables read, replaced and appended in whole transactions, on any catalog.

DuckDB executes, Parquet holds, a SQL catalog (SQLite or Postgres) commits. Only `defs`, the CLI, `ingestion` and the
long-running processes come here; libraries take frames or return `Query` objects for the lake to run. What a table
means stands in `contracts`.
"""

from energy_assets.lake.changes import Change, Commit, Filter, Rows
from energy_assets.lake.maintenance import Maintenance, maintain
from energy_assets.lake.store import Lake

__all__ = ["Change", "Commit", "Filter", "Lake", "Maintenance", "Rows", "maintain"]
