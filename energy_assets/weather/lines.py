"""Rows of weather files as they came: text for text files, with their line numbers, and none dropped on the way.

A line with another number of fields than the header is kept and marked, because what a torn line says is not known.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from energy_assets.errors import SourceError
from energy_assets.parsing.lines import (
    confirm_unchanged,
    digest_of,
    header_of,
    identity_of,
    numbered_lines,
    unpacked_blocks,
)

LINE_NUMBER, PAYLOAD, IS_MALFORMED = "__line_number", "__payload", "__is_malformed"
_REMEDY = "Export it again."
_LONGEST_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A file's rows: its columns, and three of our own (number from 1, the line itself, whether it is malformed).

    The payload is null where a table has no lines of text (Parquet); `payloads` then tells the row.
    """

    batch_id: str
    rows: pl.DataFrame

    def require(self, columns: Iterable[str], *, because: str) -> None:
        """Raise SourceError, naming what is there, unless all the columns are."""
        missing = sorted(set(columns) - set(self.rows.columns))
        if missing:
            there = ", ".join(name for name in self.rows.columns if not name.startswith("__"))
            name = self.batch_id.rpartition(":")[0]
            raise SourceError(f"{name} lacks the columns {', '.join(missing)} {because}; it has {there or 'none'}.")


def read_lines(path: Path) -> Lines:
    """Return all rows of a CSV (plain or gzip) or Parquet file.

    Raises:
        SourceError: the file is missing, empty, truncated, not readable, or changed while it was read.
    """
    if not path.is_file():
        raise SourceError(f"{path}, a weather file, does not exist. Check its path in the source's options.")
    before = identity_of(path)
    batch_id = f"{path.name}:{digest_of(path)[:16]}"
    try:
        table = pl.read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    except (pl.exceptions.PolarsError, OSError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {error}. {_REMEDY}") from error
    confirm_unchanged(path, before)
    if path.suffix == ".parquet":
        return lines_of(batch_id, table)
    if not table.columns[3:]:
        raise SourceError(f"{path} is empty. {_REMEDY}")
    return Lines(batch_id=batch_id, rows=table)


def lines_of(batch_id: str, table: pl.DataFrame) -> Lines:
    """Return a table's rows as lines without text: of a Parquet file, or of what a service answered."""
    rows = table.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(LINE_NUMBER),
        pl.lit(None, pl.String).alias(PAYLOAD),
        pl.lit(value=False).alias(IS_MALFORMED),
        pl.all(),
    )
    return Lines(batch_id=batch_id, rows=rows)


def _csv(path: Path) -> pl.DataFrame:
    """Return the cells as text. Fields in quotes may hold separators, but not the ends of lines."""
    header = header_of(next(unpacked_blocks(path, size=_LONGEST_HEADER_BYTES), b""))
    names = [name.strip() for name in next(csv.reader([header]), [])]
    numbered = pl.concat(numbered_lines(path)).select(
        pl.col("line_number").alias(LINE_NUMBER), pl.col("line").alias(PAYLOAD)
    )
    # Blank lines say nothing and are no rows.
    numbered = numbered.filter(pl.col(PAYLOAD).str.strip_chars() != "")
    if numbered[PAYLOAD].str.contains('"', literal=True).any():
        cells = pl.Series([next(csv.reader([line]), []) for line in numbered[PAYLOAD]], dtype=pl.List(pl.String))
    else:
        cells = numbered[PAYLOAD].str.split(",")
    is_malformed = (cells.list.len() != len(names)).alias(IS_MALFORMED)
    fields = [cells.list.get(index, null_on_oob=True).str.strip_chars().alias(name) for index, name in enumerate(names)]
    return pl.DataFrame([numbered[LINE_NUMBER], numbered[PAYLOAD], is_malformed, *(fields if any(names) else ())])
