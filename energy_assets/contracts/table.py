"""What a contract is: a table's name, columns, key, window and layout, and the checks that follow from them.

The tables themselves stand in the sibling modules, one per domain. Nothing here knows DuckDB or Dagster: a contract
renders SQL text and validates frames, and `Lake` and the generated checks use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from energy_assets.errors import ContractError

UTC_TIME = pl.Datetime("us", "UTC")

_SQL_TYPES: dict[str, str] = {
    "String": "VARCHAR",
    "Float64": "DOUBLE",
    "Float32": "FLOAT",
    "Int64": "BIGINT",
    "Int32": "INTEGER",
    "Int16": "SMALLINT",
    "UInt64": "UBIGINT",
    "Boolean": "BOOLEAN",
    "Date": "DATE",
}


@dataclass(frozen=True, kw_only=True)
class Window:
    """A half-open span of time `[starts_at_utc, ends_at_utc)`."""

    starts_at_utc: datetime
    ends_at_utc: datetime

    def __post_init__(self) -> None:
        if self.starts_at_utc.tzinfo is None or self.ends_at_utc.tzinfo is None:
            raise ContractError("A window needs time zone aware bounds; pass datetimes with tzinfo=UTC.")
        if self.starts_at_utc >= self.ends_at_utc:
            raise ContractError(f"A window must end after it starts: {self.starts_at_utc} .. {self.ends_at_utc}.")

    @classmethod
    def of_days(cls, first: date, last: date | None = None) -> Window:
        """Return the window of whole UTC days from `first` to `last`, both included."""
        start = datetime(first.year, first.month, first.day, tzinfo=UTC)
        end = last or first
        return cls(starts_at_utc=start, ends_at_utc=datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(1))

    def padded(self, *, before: timedelta = timedelta(0), after: timedelta = timedelta(0)) -> Window:
        """Return the window widened on either side."""
        return Window(starts_at_utc=self.starts_at_utc - before, ends_at_utc=self.ends_at_utc + after)

    def pieces(self, *, days: int) -> Iterator[Window]:
        """Yield the window in pieces of at most `days` days, so that work on a year stays in memory."""
        starts = self.starts_at_utc
        while starts < self.ends_at_utc:
            ends = min(starts + timedelta(days), self.ends_at_utc)
            yield Window(starts_at_utc=starts, ends_at_utc=ends)
            starts = ends

    def days(self) -> Iterator[date]:
        """Yield every UTC day that the window touches."""
        day = self.starts_at_utc.astimezone(UTC).date()
        while datetime(day.year, day.month, day.day, tzinfo=UTC) < self.ends_at_utc:
            yield day
            day += timedelta(1)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its name carries the unit; bounds are of plausibility, each with its reason."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    description: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    because: str = ""
    allowed: tuple[str, ...] = ()

    @property
    def sql_type(self) -> str:
        """Return the DuckDB type of the column."""
        if self.dtype == UTC_TIME:
            return "TIMESTAMPTZ"
        return _SQL_TYPES[str(self.dtype)]

    def violation_sql(self) -> Iterator[tuple[str, str]]:
        """Yield `(rule, predicate)` pairs; a row for which a predicate is true breaks the rule."""
        if not self.nullable:
            yield f"{self.name} is present", f"{self.name} IS NULL"
        if self.minimum is not None:
            yield f"{self.name} >= {self.minimum:g}: {self.because}", f"{self.name} < {self.minimum!r}"
        if self.maximum is not None:
            yield f"{self.name} <= {self.maximum:g}: {self.because}", f"{self.name} > {self.maximum!r}"
        if self.dtype in (pl.Float64, pl.Float32):
            yield f"{self.name} is finite", f"NOT isfinite({self.name})"
        if self.allowed:
            values = ", ".join(f"'{value}'" for value in self.allowed)
            yield f"{self.name} is one of {values}", f"{self.name} NOT IN ({values})"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the lake. `window_column` is the time by which its rows are replaced; None: replaced as a whole."""

    schema: str
    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    window_column: str | None = None
    partitioned_by: tuple[str, ...] = ()
    sorted_by: tuple[str, ...] = ()
    row_rules: tuple[tuple[str, str], ...] = ()
    """Rules over several columns: statement, and SQL predicate of its violation."""

    def __post_init__(self) -> None:
        unknown = {*self.key, *self.sorted_by, *filter(None, [self.window_column])} - set(self.column_names)
        if unknown:
            raise ContractError(f"{self.qualified_name} names columns that it does not have: {sorted(unknown)}.")

    @property
    def qualified_name(self) -> str:
        """Return `schema.name`, which is also the asset key with a slash."""
        return f"{self.schema}.{self.name}"

    @property
    def asset_key(self) -> list[str]:
        """Return the asset key of the table."""
        return [self.schema, self.name]

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns in order."""
        return [column.name for column in self.columns]

    @property
    def polars_schema(self) -> pl.Schema:
        """Return the Polars schema that a frame for this table has."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def column(self, name: str) -> Column:
        """Return one column by name."""
        return next(column for column in self.columns if column.name == name)

    def empty(self) -> pl.DataFrame:
        """Return a frame without rows in this table's schema."""
        return self.polars_schema.to_frame()

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` with this table's columns, order and dtypes; nullable columns that are absent become null.

        Raises:
            ContractError: a required column is absent, an extra one is present, or a cast would lose values.
        """
        extra = set(frame.columns) - set(self.column_names)
        missing = {c.name for c in self.columns if not c.nullable} - set(frame.columns)
        if extra or missing:
            raise ContractError(
                f"A frame for {self.qualified_name} lacks {sorted(missing)} and has unknown {sorted(extra)}; "
                f"its contract is in energy_assets/contracts."
            )
        absent = [pl.lit(None, dtype=c.dtype).alias(c.name) for c in self.columns if c.name not in frame.columns]
        try:
            return frame.with_columns(absent).select(pl.col(c.name).cast(c.dtype, strict=True) for c in self.columns)
        except pl.exceptions.PolarsError as error:
            raise ContractError(f"A frame for {self.qualified_name} cannot be cast to its contract: {error}") from error

    def rules(self) -> dict[str, str]:
        """Return every row rule of the contract as `{statement: SQL predicate of its violation}`."""
        return dict([*(rule for column in self.columns for rule in column.violation_sql()), *self.row_rules])


def text(name: str, description: str, *, nullable: bool = False, allowed: tuple[str, ...] = ()) -> Column:
    """Return a string column."""
    return Column(name=name, dtype=pl.String, description=description, nullable=nullable, allowed=allowed)


def time(name: str, description: str, *, nullable: bool = False) -> Column:
    """Return a UTC time stamp column."""
    return Column(name=name, dtype=UTC_TIME, description=description, nullable=nullable)


def day(name: str, description: str, *, nullable: bool = False) -> Column:
    """Return a calendar date column."""
    return Column(name=name, dtype=pl.Date, description=description, nullable=nullable)


def number(
    name: str,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    because: str = "",
    *,
    nullable: bool = False,
) -> Column:
    """Return a float column with plausibility bounds."""
    return Column(
        name=name,
        dtype=pl.Float64,
        description=description,
        nullable=nullable,
        minimum=minimum,
        maximum=maximum,
        because=because,
    )


def integer(
    name: str, description: str, minimum: float | None = None, because: str = "", *, nullable: bool = False
) -> Column:
    """Return a 64-bit integer column."""
    return Column(
        name=name, dtype=pl.Int64, description=description, nullable=nullable, minimum=minimum, because=because
    )


def flag(name: str, description: str, *, nullable: bool = False) -> Column:
    """Return a boolean column."""
    return Column(name=name, dtype=pl.Boolean, description=description, nullable=nullable)
