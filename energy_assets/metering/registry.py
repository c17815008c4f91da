"""Declared registries: files of sites, premises and meters in the contracts' columns become contract frames.

A registry is small and written by people, so every fault is collected and named with its line before anything is
refused; a half-read registry would send good readings to quarantine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from zoneinfo import available_timezones

import polars as pl

from energy_assets.contracts import METERS, SITES, UTC_TIME, Column, Table
from energy_assets.errors import SourceError
from energy_assets.metering.units import declaration_faults

_ABSENT = ["", "NA", "N/A", "NaN", "null", "None"]
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.fZ", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d")
_FAULTS_SHOWN = 8


def read_declared(
    path: Path, table: Table, *, source: str, defaults: Mapping[str, object] | None = None
) -> pl.DataFrame:
    """Return the rows of a CSV or Parquet file as `table` (metering.sites, .premises or .meters), conforming to it.

    Columns that the contract does not know are ignored, `source` is filled in, and cells that are empty or whose column
    is absent take the value in `defaults`. A time without offset is UTC.

    Raises:
        SourceError: the file is missing or not a table, lacks a required column, or has faulty rows, named by line.
    """
    rows = _text_of(path)
    defaults = {**(defaults or {}), "source": source}
    missing = [
        column.name
        for column in table.columns
        if not column.nullable and column.name not in rows.columns and defaults.get(column.name) is None
    ]
    if missing:
        raise SourceError(
            f"{path} lacks the columns {', '.join(missing)} of {table.qualified_name}; it has "
            f"{', '.join(rows.columns[1:])}. Add them, or name the file that has them."
        )
    typed = rows.select("line_number", *(_typed(column, rows, defaults) for column in table.columns))
    faults = sorted([*_cell_faults(table, rows, typed), *_row_faults(table, typed)])
    if faults:
        shown = "; ".join(f"line {line}: {what}" for line, what in faults[:_FAULTS_SHOWN])
        more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise SourceError(f"{path} cannot be {table.qualified_name}: {shown}{more}. Mend these lines.")
    return table.conform(typed.drop("line_number"))


def _text_of(path: Path) -> pl.DataFrame:
    """Return the file with all cells as stripped text, empty ones null, and `line_number` (the header is line 1)."""
    try:
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
        else:
            table = pl.read_csv(path, infer_schema=False, encoding="utf8-lossy")
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist. Check the path in the mapping's [registry].") from error
    except pl.exceptions.NoDataError as error:
        raise SourceError(f"{path} is empty. Write its header and rows.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}. It must be CSV or Parquet.") from error
    table = table.rename(lambda name: name.strip().removeprefix("\ufeff"))
    text = table.select(pl.all().cast(pl.String).str.strip_chars())
    text = text.with_columns(pl.when(~pl.all().is_in(_ABSENT)).then(pl.all()))
    return text.with_row_index("line_number", offset=2).cast({"line_number": pl.Int64})


def _typed(column: Column, rows: pl.DataFrame, defaults: Mapping[str, object]) -> pl.Expr:
    default = pl.lit(defaults.get(column.name), dtype=column.dtype)
    if column.name not in rows.columns or column.name == "source":
        return default.alias(column.name)
    text = pl.col(column.name)
    if column.dtype == pl.String:
        value = text
    elif column.dtype == pl.Boolean:
        value = text.str.to_lowercase().replace_strict(_TRUTHS, default=None, return_dtype=pl.Boolean)
    elif column.dtype == UTC_TIME:
        plain = text.str.replace("T", " ", literal=True)
        value = pl.coalesce(_time(plain, form) for form in _TIME_FORMATS)
    elif column.dtype == pl.Int64:
        number = text.cast(pl.Float64, strict=False)
        value = pl.when(number == number.round()).then(number).cast(pl.Int64, strict=False)
    else:
        value = text.cast(column.dtype, strict=False)
    return pl.when(text.is_null()).then(default).otherwise(value).alias(column.name)


def _time(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)


def _cell_faults(table: Table, rows: pl.DataFrame, typed: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """Yield line and fault of cells that cannot be read, are absent, outside the vocabulary or out of range."""
    for column in table.columns:
        values = typed[column.name]
        given = rows[column.name] if column.name in rows.columns else None
        wrong = values.is_null() if given is None else values.is_null() & given.is_not_null()
        for at in wrong.arg_true() if given is not None else ():
            yield typed["line_number"][at], f"{column.name} {given[at]!r} cannot be read as {column.sql_type}"  # type: ignore[index]
        if not column.nullable:
            absent = values.is_null() & ~wrong if given is not None else wrong
            for at in absent.arg_true():
                yield typed["line_number"][at], f"{column.name} is empty"
        if column.allowed:
            for at in (~values.is_in(column.allowed) & values.is_not_null()).arg_true():
                yield (
                    typed["line_number"][at],
                    f"{column.name} {values[at]!r} is not one of {', '.join(column.allowed)}",
                )
        for bound, beyond in ((column.minimum, values.__lt__), (column.maximum, values.__gt__)):
            if bound is not None:
                for at in beyond(bound).fill_null(value=False).arg_true():
                    yield typed["line_number"][at], f"{column.name} {values[at]!r} is beyond {bound:g}"


def _row_faults(table: Table, typed: pl.DataFrame) -> Iterator[tuple[int, str]]:
    """Yield line and fault of rows that repeat a key or make no sense as a whole."""
    key = table.key[0]
    for line, value in typed.filter(~pl.col(key).is_first_distinct()).select("line_number", key).iter_rows():
        yield line, f"{key} {value!r} stands in an earlier line already"
    if table is SITES:
        for line, zone in typed.select("line_number", "timezone").drop_nulls().iter_rows():
            if zone not in available_timezones():
                yield line, f"timezone {zone!r} is no IANA time zone"
    if table is METERS:
        whole = typed.drop_nulls(["commodity", "measure", "unit", "interval_minutes"])
        known = pl.all_horizontal(
            pl.col(name).is_in(METERS.column(name).allowed) for name in ("commodity", "measure", "unit")
        )
        for row in whole.filter(known).iter_rows(named=True):
            facts = {name: str(row[name]) for name in ("commodity", "measure", "unit")}
            yield from ((row["line_number"], fault) for fault in declaration_faults(**facts))
            if row["interval_minutes"] < 1 or 1440 % row["interval_minutes"]:
                yield row["line_number"], f"interval_minutes {row['interval_minutes']} does not divide a day"
