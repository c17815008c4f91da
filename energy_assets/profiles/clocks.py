"""The clocks of sites as offsets from UTC, so that SQL finds local days and hours by addition and division.

Calendar functions of time stamps with zones take seconds for a million rows; a site has two or three offsets a year.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from energy_assets.contracts import Window
from energy_assets.errors import ConfigError

CLOCKS = pl.Schema({"meter_id": pl.String, "from_us": pl.Int64, "to_us": pl.Int64, "offset_us": pl.Int64})
_STEP = timedelta(minutes=15)  # every zone has changed its clock at quarters of an hour since 1972
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_HOUR_US = 3_600_000_000


def meter_clocks(meters: pl.DataFrame, *, sites: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return CLOCKS: per meter the spans of a window with one offset from UTC, in microseconds since 1970.

    `meters` needs meter_id and site_id, `sites` site_id and timezone; a meter without a known site has UTC.

    Raises:
        ConfigError: a time zone is not an IANA name.
    """
    zones = meters.select("meter_id", "site_id").join(
        sites.select("site_id", "timezone"), on="site_id", how="left", validate="m:1"
    )
    zones = zones.with_columns(pl.col("timezone").fill_null("UTC"))
    spans = [
        (name, (starts - _EPOCH) // _US, (ends - _EPOCH) // _US, offset // _US)
        for name in zones["timezone"].unique().sort()
        for starts, ends, offset in offsets_of(name, window=window)
    ]
    schema = {"timezone": pl.String} | {name: CLOCKS[name] for name in list(CLOCKS)[1:]}
    found = pl.DataFrame(spans, schema=schema, orient="row")
    return zones.join(found, on="timezone", how="inner", validate="m:m").select(CLOCKS.names())


def at_site_clocks(
    readings: pl.DataFrame, *, meters: pl.DataFrame, sites: pl.DataFrame, window: Window
) -> pl.DataFrame:
    """Return the readings of some meters in a window with site_id, and local_hour and local_date of the site's clock.

    `readings` needs meter_id and starts_at_utc; `meters` and `sites` as for `meter_clocks`.
    """
    clocks = meter_clocks(meters, sites=sites, window=window)
    local = pl.col("_at") + pl.col("offset_us")
    return (
        readings.filter(
            pl.col("starts_at_utc") >= window.starts_at_utc, pl.col("starts_at_utc") < window.ends_at_utc
        )
        .join(meters.select("meter_id", "site_id"), on="meter_id", how="inner", validate="m:1")
        .with_columns(_at=pl.col("starts_at_utc").dt.epoch("us"))
        .join(clocks, on="meter_id", how="inner")
        .filter(pl.col("_at") >= pl.col("from_us"), pl.col("_at") < pl.col("to_us"))
        .with_columns(
            local_hour=local // _HOUR_US % 24, local_date=(local // (24 * _HOUR_US)).cast(pl.Int32).cast(pl.Date)
        )
        .drop("_at", "from_us", "to_us", "offset_us")
    )  # fmt: skip


def offsets_of(timezone: str, *, window: Window) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Yield start, end and offset from UTC of the spans of a window in which a zone keeps one offset.

    Raises:
        ConfigError: the name is not an IANA time zone.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"Time zone {timezone!r} of a site is not an IANA name; correct it in metering.sites."
        ) from error
    starts = window.starts_at_utc
    while starts < window.ends_at_utc:
        offset = _offset(starts, zone)
        ends = _next_change(starts, zone, before=window.ends_at_utc)
        yield starts, ends, offset
        starts = ends


def local_dates(clocks: pl.DataFrame) -> tuple[date, date] | None:
    """Return the first and the last local date that any clock shows in its spans; None without clocks."""
    if clocks.is_empty():
        return None
    first = clocks.select((pl.col("from_us") + pl.col("offset_us")).min()).item()
    last = clocks.select((pl.col("to_us") + pl.col("offset_us") - 1).max()).item()
    return (_EPOCH + first * _US).date(), (_EPOCH + last * _US).date()


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _next_change(starts: datetime, zone: ZoneInfo, *, before: datetime) -> datetime:
    """Return the first instant after `starts` at which the offset differs, at most `before`: by days, then halving."""
    offset = _offset(starts, zone)
    low = starts
    while low < before:
        high = min(low + timedelta(days=1), before)
        if _offset(high, zone) != offset:
            while high - low > _STEP:
                middle = low + (high - low) / 2
                low, high = (middle, high) if _offset(middle, zone) == offset else (low, middle)
            change = _floored(high)
            return min(change if _offset(change, zone) != offset else high, before)
        low = high
    return before


def _floored(moment: datetime) -> datetime:
    return moment - (moment - _EPOCH) % _STEP
