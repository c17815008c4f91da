"""Calendar files: school holidays of a region and closures of a site, as a person writes them down; nothing is fetched.

A closure makes a day one of rest, so that like days are found among Sundays; a school holiday is a feature only.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl

from energy_assets.errors import ConfigError

SCHOOL_HOLIDAY, CLOSURE = "school_holiday", "closure"
CLOSURES_SCHEMA = pl.Schema(
    {
        "kind": pl.String(),
        "country_code": pl.String(),
        "subdivision_code": pl.String(),
        "site_id": pl.String(),
        "first_date": pl.Date(),
        "last_date": pl.Date(),
    }
)
Spans = tuple[tuple[str, date, date], ...]
"""Kind, first and last day."""


def read_closures(folder: Path) -> pl.DataFrame:
    """Return the rows of all `*.csv` files in a folder, with the columns of CLOSURES_SCHEMA.

    `kind` is `school_holiday` or `closure`; the days are inclusive. Of country_code, subdivision_code and site_id those
    that are given must be those of a site for the row to hold there; at least one is needed.

    Raises:
        ConfigError: a file lacks a column, or a row has an unknown kind, no place, or ends before it begins.
    """
    frames = [CLOSURES_SCHEMA.to_frame(), *(_read(path) for path in sorted(folder.glob("*.csv")))]
    return pl.concat(frames)


def spans_of(
    closures: pl.DataFrame | None, *, site_id: str, country_code: str | None, subdivision_code: str | None
) -> Spans:
    """Return the spans that hold at a site."""
    if closures is None:
        return ()
    there = {"site_id": site_id, "country_code": country_code, "subdivision_code": subdivision_code}
    fits = [pl.col(name).is_null() | pl.col(name).eq_missing(pl.lit(value, pl.String)) for name, value in there.items()]
    return tuple(closures.filter(*fits).select("kind", "first_date", "last_date").sort(pl.all()).iter_rows())


def is_within(day: pl.Expr, spans: Spans, *, kind: str) -> pl.Expr:
    """Return whether a date lies in a span of a kind."""
    inside = [day.is_between(first, last) for each, first, last in spans if each == kind]
    return pl.any_horizontal(pl.lit(value=False), *inside)


def _read(path: Path) -> pl.DataFrame:
    rows = pl.read_csv(path, infer_schema=False, null_values=[""])
    absent = set(CLOSURES_SCHEMA) - set(rows.columns)
    if absent:
        raise ConfigError(f"{path} lacks the columns {sorted(absent)}; its first line needs {list(CLOSURES_SCHEMA)}.")
    dated = rows.select(CLOSURES_SCHEMA.names()).with_columns(
        pl.col("first_date", "last_date").str.to_date("%Y-%m-%d", strict=False)
    )
    no_place = pl.all_horizontal(pl.col("country_code", "subdivision_code", "site_id").is_null())
    odd = (
        ~pl.col("kind").is_in([SCHOOL_HOLIDAY, CLOSURE])
        | no_place
        | (pl.col("last_date") < pl.col("first_date"))
        | pl.any_horizontal(pl.col("kind", "first_date", "last_date").is_null())
    )
    wrong = dated.with_row_index("line", offset=2).filter(odd)
    if wrong.height:
        raise ConfigError(
            f"{path}, line {wrong['line'][0]}: give kind {SCHOOL_HOLIDAY} or {CLOSURE}, a place, and a first and last "
            f"day (YYYY-MM-DD) in order."
        )
    return dated
