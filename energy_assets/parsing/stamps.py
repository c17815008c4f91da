"""Stamps as files have them: an instant where they say which, else the reading of a clock; and what a clock means.

Columns of text, numbers or Parquet time stamps, as expressions over a frame. Who reads a file decides what becomes of
a reading that its clock skips or shows twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from energy_assets.contracts import UTC_TIME

UNIX_FORMATS = {"unix_s": 1_000_000, "unix_ms": 1000}
_PLAIN_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_OFFSET = r"[ T]\d\d:\d\d.*([+-]\d\d:?\d\d|Z)$"
_CLOCK_TIME = pl.Datetime("us")
_EARLIEST, _LATEST = pl.datetime(1970, 1, 3, time_zone="UTC"), pl.datetime(2200, 1, 1, time_zone="UTC")


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What a stamp says, as expressions: the instant where it names one, else what a clock showed; null is neither."""

    instant: pl.Expr
    local: pl.Expr


def stamp_of(stamp: pl.Expr, dtype: pl.DataType, *, form: str | None = None) -> Stamp:
    """Return what a column of a dtype says in ISO 8601, or in `form`: of strptime, `unix_s` or `unix_ms`.

    An offset in the stamp, unix time and a time stamp with a zone are instants, whatever clock is declared.
    """
    no_instant, no_local = pl.lit(None, UTC_TIME), pl.lit(None, _CLOCK_TIME)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return Stamp(instant=stamp.dt.convert_time_zone("UTC").cast(UTC_TIME), local=no_local)
    if form in UNIX_FORMATS:
        micros = (stamp.cast(pl.Float64, strict=False) * UNIX_FORMATS[form]).cast(pl.Int64, strict=False)
        return Stamp(instant=micros.cast(_CLOCK_TIME).dt.replace_time_zone("UTC"), local=no_local)
    if isinstance(dtype, pl.Datetime | pl.Date) and not (form and "%z" in form):
        return Stamp(instant=no_instant, local=stamp.cast(_CLOCK_TIME))
    text = stamp.cast(pl.String).str.strip_chars()
    if form is None:
        return _iso(text)
    if "%z" in form:
        return Stamp(instant=text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False), local=no_local)
    return Stamp(instant=no_instant, local=text.str.to_datetime(form, time_unit="us", strict=False))


def on_clock(local: pl.Expr, *, zone: str, which: Literal["earliest", "latest"]) -> pl.Expr:
    """Return the instant at which a zone's clock showed `local`: of two the one asked for, null where it skipped it."""
    shown = local.dt.replace_time_zone(zone, ambiguous=which, non_existent="null")
    return shown.dt.convert_time_zone("UTC").cast(UTC_TIME)


def plausible(instant: pl.Expr) -> pl.Expr:
    """Return instants from 1970 to 2199; others are always faults of a clock or a format, and become null."""
    return pl.when(instant.is_between(_EARLIEST, _LATEST)).then(instant)


def _iso(text: pl.Expr) -> Stamp:
    suffix = text.str.extract(_OFFSET)
    digits = suffix.str.replace_all(r"[^0-9]", "")
    hours, minutes = (digits.str.slice(start, 2).cast(pl.Int64, strict=False) for start in (0, 2))
    sign = pl.when(suffix.str.starts_with("-")).then(-1).otherwise(1)
    offset = pl.when(suffix == "Z").then(0).otherwise((hours * 60 + minutes) * sign)
    plain = text.str.strip_suffix(suffix.fill_null("")).str.replace("T", " ", literal=True)
    shown = pl.coalesce(plain.str.to_datetime(form, time_unit="us", strict=False) for form in _PLAIN_FORMATS)
    instant = (shown - pl.duration(minutes=offset)).dt.replace_time_zone("UTC").cast(UTC_TIME)
    return Stamp(instant=instant, local=pl.when(offset.is_null()).then(shown))
