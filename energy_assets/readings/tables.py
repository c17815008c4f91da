"""Small tables beside the readings (buildings, sites): read whole, typed strictly, with errors that name the cell."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from energy_assets.errors import SourceError

_LOG = logging.getLogger(__name__)

_ABSENT = ["", "NA", "N/A", "NaN", "nan", "null", "None"]


def read_table(
    path: Path,
    *,
    required: Mapping[str, pl.DataType | type[pl.DataType]],
    optional: Mapping[str, pl.DataType | type[pl.DataType]],
    key: str,
) -> pl.DataFrame:
    """Return a CSV file's required and optional columns, typed; optional columns that are absent are null.

    An optional cell that cannot be read becomes null and is logged; integers may be written as `5.0`.

    Raises:
        SourceError: the file is missing, empty or not CSV, lacks a required column, has an unreadable or empty
            required cell, or repeats a key.
    """
    try:
        table = pl.read_csv(path, infer_schema=False, null_values=_ABSENT, encoding="utf8-lossy")
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist. Check the folder, or download the source again.") from error
    except pl.exceptions.NoDataError as error:
        raise SourceError(f"{path} is empty. Download or export it again.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"{path} cannot be read as CSV: {error}. Mend the line or download it again.") from error
    table = table.rename(lambda name: name.strip().removeprefix("\ufeff"))
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise SourceError(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}. "
            f"Check that it is the right file and that its header is the first line."
        )
    present = {name: dtype for name, dtype in (*required.items(), *optional.items()) if name in table.columns}
    typed = table.select(_typed(name, dtype) for name, dtype in present.items())
    _refuse_unreadable(path, table, typed, required)
    repeated = typed.filter(pl.col(key).is_duplicated())
    if not repeated.is_empty():
        raise SourceError(f"{path} repeats {key} {repeated[key][0]!r}. Each may stand once: remove the wrong row.")
    return typed.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in optional.items() if name not in typed.columns
    )


def plausible(values: pl.Expr, least: float, most: float) -> pl.Expr:
    """Return the values that lie in `[least, most]`, and null for the others."""
    return pl.when(values.is_between(least, most)).then(values)


def _typed(name: str, dtype: pl.DataType | type[pl.DataType]) -> pl.Expr:
    text = pl.col(name).str.strip_chars()
    if dtype == pl.Int64:
        number = text.cast(pl.Float64, strict=False)
        return pl.when(number == number.round()).then(number).cast(pl.Int64, strict=False).alias(name)
    return text.cast(dtype, strict=False)


def _refuse_unreadable(
    path: Path,
    table: pl.DataFrame,
    typed: pl.DataFrame,
    required: Mapping[str, pl.DataType | type[pl.DataType]],
) -> None:
    for name in typed.columns:
        unreadable = typed[name].is_null() & (table[name].is_not_null() | (name in required))
        if not unreadable.any():
            continue
        row = unreadable.arg_true()[0]
        place = f"{path}, line {row + 2}: {name} is {table[name][row]!r}"
        if name in required:
            raise SourceError(f"{place}, which is not a value it can have. Mend the line or download the file again.")
        _LOG.warning("%s, which cannot be read; %d such cells of the column stay null", place, unreadable.sum())
