"""People's own files with a time in every row and columns of any name, as prices take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from energy_assets.readings.own_files import read_typed_table, utc_times


def read_timed(path: Path, *, what: str, columns: Sequence[str] = ()) -> pl.DataFrame:
    """Return a CSV or Parquet file with starts_at_utc as UTC times, and at least `columns`; it may have no rows.

    Raises:
        SourceError: the file cannot be read, lacks a column, or has a row without a time.
    """
    rows = read_typed_table(path, what=what, columns=("starts_at_utc", *columns))
    if rows.is_empty():
        return rows.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("starts_at_utc"))
    return rows.with_columns(utc_times(rows, "starts_at_utc", place=f"{what} file {path}"))
