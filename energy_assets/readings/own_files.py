"""Tables that people bring as CSV or Parquet to the commands that need no instance: opened, and their cells read.

A file that is not what it should be stops with a `SourceError` that names file, row and remedy; a bad cell is never
guessed at. What the columns mean is the business of whoever asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import SourceError

_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".csv.gz", ".csv.zst")
_MISSING = ("", "nan", "null", "na", "none", "n/a", "-")
_ISO_TIME = (
    r"^(?<day>\d{4}-\d\d-\d\d)(?:[T ](?<minutes>\d\d:\d\d)(?<seconds>:\d\d(?:\.\d+)?)?\s*"
    r"(?<offset>[zZ]|[+-]\d\d(?::?\d\d)?)?)?$"
)


def read_table(path: Path, *, what: str, columns: Sequence[str]) -> pl.DataFrame:
    """Return the rows of a CSV or Parquet file that has at least `columns`; the cells of a CSV stay text.

    Raises:
        SourceError: the file is absent, empty, torn, of another kind, lacks a column, or has no rows.
    """
    return _with_rows(_opened(path, what=what, columns=columns, rows_inferred=0), path=path, what=what)


def read_typed_table(path: Path, *, what: str, columns: Sequence[str]) -> pl.DataFrame:
    """Return likewise a file whose further columns are anybody's: those of a CSV that hold only numbers are numbers.

    Raises:
        SourceError: the file is absent, empty, torn, of another kind, or lacks a column; it may have no rows.
    """
    return _opened(path, what=what, columns=columns, rows_inferred=None)


def _opened(path: Path, *, what: str, columns: Sequence[str], rows_inferred: int | None) -> pl.DataFrame:
    if not path.is_file():
        raise SourceError(f"{what} file {path} does not exist; give the path of a CSV or Parquet file.")
    if path.stat().st_size == 0:
        raise SourceError(f"{what} file {path} is empty; export it again.")
    name = path.name.lower()
    if not name.endswith((*_PARQUET, *_CSV)):
        raise SourceError(f"{what} file {path} is neither {', '.join(_CSV)} nor .parquet; convert or rename it.")
    try:
        if name.endswith(_PARQUET):
            rows = pl.read_parquet(path)
        else:
            rows = pl.read_csv(path, infer_schema_length=rows_inferred)
    except (pl.exceptions.PolarsError, OSError, EOFError, ValueError) as error:
        raise SourceError(f"{what} file {path} cannot be read: {error}. Is it complete? Export it again.") from error
    absent = [column for column in columns if column not in rows.columns]
    if absent:
        raise SourceError(
            f"{what} file {path} lacks the columns {absent}; it has {rows.columns}. Name its columns {list(columns)}."
        )
    return rows


def _with_rows(rows: pl.DataFrame, *, path: Path, what: str) -> pl.DataFrame:
    if rows.is_empty():
        raise SourceError(f"{what} file {path} has a header and no rows; export it again.")
    return rows


def utc_times(rows: pl.DataFrame, column: str, *, place: str) -> pl.Series:
    """Return a column as instants in UTC; a time without offset is taken as UTC.

    Raises:
        SourceError: a cell is empty or is no time.
    """
    values, dtype = rows[column], rows.schema[column]
    if isinstance(dtype, pl.Datetime):
        zoned = values.dt.replace_time_zone("UTC") if dtype.time_zone is None else values.dt.convert_time_zone("UTC")
        parsed = zoned.cast(UTC_TIME)
    elif dtype == pl.Date:
        parsed = values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    elif dtype == pl.String:
        parsed = rows.select(_parsed_time(pl.col(column))).to_series()
    else:
        raise SourceError(
            f"{place}: the column {column} holds {dtype}, not times; write UTC as 2024-01-31T23:00:00Z, or in Parquet "
            f"as a timestamp."
        )
    bad = parsed.is_null()
    refuse(bad, shown=values, place=place, fault=f"{column} is not a time; write UTC as 2024-01-31T23:00:00Z")
    return parsed.alias(column)


def numbers(rows: pl.DataFrame, column: str, *, place: str) -> pl.Series:
    """Return a column as float64; empty cells, NaN and infinities are null.

    Raises:
        SourceError: a cell is no number.
    """
    values, dtype = rows[column], rows.schema[column]
    if dtype == pl.Null:
        return values.cast(pl.Float64)
    if dtype.is_numeric() or dtype == pl.Boolean:
        parsed = values.cast(pl.Float64)
    elif dtype == pl.String:
        text = values.str.strip_chars()
        parsed = text.cast(pl.Float64, strict=False)
        bad = parsed.is_null() & text.is_not_null() & ~text.str.to_lowercase().is_in(_MISSING)
        refuse(
            bad, shown=values, place=place, fault=f"{column} is not a number; use a decimal point, leave missing empty"
        )
    else:
        raise SourceError(f"{place}: the column {column} holds {dtype}, not numbers; export it as numbers.")
    return rows.select(pl.when(parsed.is_finite()).then(parsed).alias(column)).to_series()


def texts(rows: pl.DataFrame, column: str) -> pl.Series:
    """Return a column as trimmed text, null where it is empty."""
    text = rows[column].cast(pl.String).str.strip_chars()
    return rows.select(pl.when(text != "").then(text).alias(column)).to_series()


def refuse(bad: pl.Series, *, shown: pl.Series, place: str, fault: str) -> None:
    """Stop at the first row that is bad.

    Raises:
        SourceError: a row is; the message names the first one, what it says, and how many there are.
    """
    count = int(bad.sum())
    if count:
        row = int(bad.arg_true()[0])
        more = f"; {count:,} rows are like that" if count > 1 else ""
        raise SourceError(f"{place}, data row {row + 1} of {len(bad):,}: {fault} (it says {str(shown[row])!r}{more}).")


def write_table(rows: pl.DataFrame, path: Path) -> None:
    """Write rows as CSV or Parquet by the path's ending, whole or not at all.

    Raises:
        SourceError: the ending is unknown or the folder does not exist.
    """
    check_writable(path)
    partial = path.with_name(path.name + ".partial")
    if path.suffix == ".csv":
        rows.write_csv(partial, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    else:
        rows.write_parquet(partial)
    partial.replace(path)


def check_writable(path: Path) -> None:
    """Stop before the work if its result could not be written.

    Raises:
        SourceError: the ending is unknown or the folder does not exist.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise SourceError(f"Cannot write {path}: its name must end in .csv or .parquet.")
    if not path.parent.is_dir():
        raise SourceError(f"Cannot write {path}: the folder {path.parent} does not exist; create it first.")


def _parsed_time(text: pl.Expr) -> pl.Expr:
    part = text.str.strip_chars().str.extract_groups(_ISO_TIME).struct
    minutes, seconds = part.field("minutes").fill_null("00:00"), part.field("seconds").fill_null(":00")
    offset = part.field("offset").fill_null("+00:00").str.replace("^[zZ]$", "+00:00")
    offset = pl.when(offset.str.len_chars() == 3).then(offset + ":00").otherwise(offset)
    whole = pl.concat_str(part.field("day"), pl.lit("T"), minutes, seconds, offset)
    return whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_zone="UTC", time_unit="us", strict=False)
