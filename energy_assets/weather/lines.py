"""Rows of weather files as they came: text for text files, with their line numbers, and none dropped on the way.

A line with another number of fields than the header is kept and marked, because what a torn line says is not known.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from energy_assets.errors import SourceError

LINE_NUMBER, PAYLOAD, IS_MALFORMED = "__line_number", "__payload", "__is_malformed"
_REMEDY = "Export it again."


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
    before = _identity(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Check its rights.") from error
    if _identity(path) != before:
        raise SourceError(f"{path} changed while it was read. Run again when its writer is done.")
    batch_id = f"{path.name}:{hashlib.sha256(content).hexdigest()[:16]}"
    try:
        if path.suffix == ".parquet":
            return lines_of(batch_id, pl.read_parquet(io.BytesIO(content)))
        rows = _csv(_text(path, content))
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {error}. {_REMEDY}") from error
    if not rows.columns[3:]:
        raise SourceError(f"{path} is empty. {_REMEDY}")
    return Lines(batch_id=batch_id, rows=rows)


def _identity(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        raise SourceError(f"{path}, a weather file, does not exist. Check its path in the source's options.") from error
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _text(path: Path, content: bytes) -> str:
    plain = gzip.decompress(content) if path.suffix == ".gz" else content
    return plain.decode("utf-8-sig", errors="replace")


def lines_of(batch_id: str, table: pl.DataFrame) -> Lines:
    """Return a table's rows as lines without text: of a Parquet file, or of what a service answered."""
    rows = table.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(LINE_NUMBER),
        pl.lit(None, pl.String).alias(PAYLOAD),
        pl.lit(value=False).alias(IS_MALFORMED),
        pl.all(),
    )
    return Lines(batch_id=batch_id, rows=rows)


def _csv(text: str) -> pl.DataFrame:
    """Return the cells as text. Fields in quotes may hold separators, but not the ends of lines."""
    header, *lines = text.splitlines() or [""]
    names = [name.strip() for name in next(csv.reader([header]), [])]
    numbered = pl.DataFrame({PAYLOAD: lines}, schema={PAYLOAD: pl.String}).with_columns(
        # The header is line 1; blank lines say nothing and are no rows.
        pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias(LINE_NUMBER)
    )
    numbered = numbered.filter(pl.col(PAYLOAD).str.strip_chars() != "")
    if '"' in text:
        cells = pl.Series([next(csv.reader([line]), []) for line in numbered[PAYLOAD]], dtype=pl.List(pl.String))
    else:
        cells = numbered[PAYLOAD].str.split(",")
    is_malformed = (cells.list.len() != len(names)).alias(IS_MALFORMED)
    fields = [cells.list.get(index, null_on_oob=True).str.strip_chars().alias(name) for index, name in enumerate(names)]
    return pl.DataFrame([numbered[LINE_NUMBER], numbered[PAYLOAD], is_malformed, *(fields if any(names) else ())])
