"""From stamps as a file has them to instants in UTC, with the name of the fault where there is none.

Clock changes are dealt with here and nowhere else: an hour that the clock skips holds no instants, and of one that it
repeats the order of the rows says which is which.
"""

from __future__ import annotations

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.readings.mapping import TimeFormat

_PLAIN_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_OFFSET = r"[ T]\d\d:\d\d.*([+-]\d\d:?\d\d|Z)$"
_EARLIEST, _LATEST = pl.datetime(1970, 1, 3, time_zone="UTC"), pl.datetime(2200, 1, 1, time_zone="UTC")


def with_instants(rows: pl.DataFrame, *, time: TimeFormat) -> pl.DataFrame:
    """Return the rows, in their order, with `starts_at_utc` and `time_fault`.

    `rows` has meter_id, stamp, measure and interval_minutes. A stamp that carries an offset, is unix time or a Parquet
    time stamp with a zone is an instant already, whatever the declared zone. A stamp that marks the end of an interval
    is moved to its start; a register's stays. Both columns are null where the stamp cannot be read; instants before
    1970 or after 2199 count as such, because they are always faults of the clock or the format.
    """
    stamp = rows.schema["stamp"]
    if isinstance(stamp, pl.Datetime) and stamp.time_zone:
        timed = rows.with_columns(_instant(pl.col("stamp").dt.convert_time_zone("UTC")), _no_fault())
    elif time.format in ("unix_s", "unix_ms"):
        scale = 1_000_000 if time.format == "unix_s" else 1000
        micros = (pl.col("stamp").cast(pl.Float64, strict=False) * scale).cast(pl.Int64, strict=False)
        timed = rows.with_columns(_instant(micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")), _no_fault())
    elif time.format is not None and "%z" in time.format:
        text = pl.col("stamp").cast(pl.String).str.strip_chars()
        timed = rows.with_columns(
            _instant(text.str.to_datetime(time.format, time_unit="us", time_zone="UTC", strict=False)), _no_fault()
        )
    else:
        timed = _from_local(rows, time=time)
    if time.marks == "end":
        minutes = pl.when(pl.col("measure") == "register").then(0).otherwise("interval_minutes")
        timed = timed.with_columns(starts_at_utc=pl.col("starts_at_utc") - pl.duration(minutes=minutes))
    plausible = pl.col("starts_at_utc").is_between(_EARLIEST, _LATEST)
    return timed.with_columns(starts_at_utc=pl.when(plausible).then("starts_at_utc"))


def _from_local(rows: pl.DataFrame, *, time: TimeFormat) -> pl.DataFrame:
    rows = _with_local(rows, time=time)
    declared = time.offset_minutes
    if declared is None and rows["offset_minutes"].null_count():
        rows = _from_zone(rows, zone=time.zone)
    else:
        rows = rows.with_columns(_no_fault(), starts_at_utc=pl.lit(None, UTC_TIME))
    offset = pl.coalesce("offset_minutes", pl.lit(declared, pl.Int64))
    utc = (pl.col("local") - pl.duration(minutes=offset)).dt.replace_time_zone("UTC")
    return rows.with_columns(starts_at_utc=pl.coalesce(utc, "starts_at_utc").cast(UTC_TIME)).drop(
        "local", "offset_minutes"
    )


def _with_local(rows: pl.DataFrame, *, time: TimeFormat) -> pl.DataFrame:
    """Return the rows with `local`, the clock's reading, and `offset_minutes` where the stamp itself names one."""
    none = pl.lit(None, pl.Int64).alias("offset_minutes")
    if isinstance(rows.schema["stamp"], pl.Datetime | pl.Date):
        return rows.with_columns(none, local=pl.col("stamp").cast(pl.Datetime("us")))
    text = pl.col("stamp").cast(pl.String).str.strip_chars()
    if time.format is not None:
        return rows.with_columns(none, local=text.str.to_datetime(time.format, time_unit="us", strict=False))
    suffix = text.str.extract(_OFFSET)
    digits = suffix.str.replace_all(r"[^0-9]", "")
    minutes = digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(2, 2).cast(
        pl.Int64, strict=False
    )
    sign = pl.when(suffix.str.starts_with("-")).then(-1).otherwise(1)
    plain = text.str.strip_suffix(suffix.fill_null("")).str.replace("T", " ", literal=True)
    return rows.with_columns(
        offset_minutes=pl.when(suffix == "Z").then(0).otherwise(minutes * sign),
        local=pl.coalesce(plain.str.to_datetime(form, time_unit="us", strict=False) for form in _PLAIN_FORMATS),
    )


def _from_zone(rows: pl.DataFrame, *, zone: str) -> pl.DataFrame:
    """Return the rows with local times as UTC, or the fault that the clock change made."""
    is_local = pl.col("offset_minutes").is_null()
    rows = rows.with_columns(
        starts_at_utc=_utc(zone, "earliest"),
        second=_utc(zone, "latest"),
        position=pl.int_range(pl.len()),
    ).with_columns(is_repeated=is_local & (pl.col("starts_at_utc") != pl.col("second")))
    skipped = is_local & pl.col("local").is_not_null() & pl.col("starts_at_utc").is_null()
    rows = rows.with_columns(time_fault=pl.when(skipped).then(pl.lit("nonexistent_local_time")))
    if rows["is_repeated"].any():
        rows = _told_by_order(rows)
    return rows.drop("second", "position", "is_repeated")


def _told_by_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with those in a repeated hour resolved, where the order of a meter's rows tells.

    It tells where a meter has such a stamp exactly twice, and the instants that follow from the order (of a file that
    runs forwards or backwards in time) go one way through the whole local day.
    """
    forwards = (pl.col("local").drop_nulls().first() <= pl.col("local").drop_nulls().last()).over("meter_id")
    repeated = rows.with_columns(is_forwards=forwards).filter("is_repeated")
    nth = pl.int_range(pl.len()).over("meter_id", "local")
    repeated = repeated.select(
        "position",
        is_second=(nth == 1) == pl.col("is_forwards"),
        is_pair=pl.len().over("meter_id", "local") == 2,
    )
    rows = rows.join(repeated, on="position", how="left", maintain_order="left").with_columns(
        starts_at_utc=pl.when("is_second").then("second").otherwise("starts_at_utc")
    )
    step = pl.col("starts_at_utc").drop_nulls().diff()
    one_way = ((step >= pl.duration(microseconds=0)).all() | (step <= pl.duration(microseconds=0)).all()).over(
        "meter_id", pl.col("local").dt.date()
    )
    is_told = pl.col("is_pair") & one_way
    return rows.with_columns(
        starts_at_utc=pl.when(pl.col("is_repeated") & ~is_told).then(None).otherwise("starts_at_utc"),
        time_fault=pl.when(pl.col("is_repeated") & ~is_told)
        .then(pl.lit("ambiguous_local_time"))
        .otherwise("time_fault"),
    ).drop("is_second", "is_pair")


def _utc(zone: str, ambiguous: str) -> pl.Expr:
    local = pl.col("local").dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")  # type: ignore[arg-type]
    return local.dt.convert_time_zone("UTC").cast(UTC_TIME)


def _instant(expression: pl.Expr) -> pl.Expr:
    return expression.cast(UTC_TIME).alias("starts_at_utc")


def _no_fault() -> pl.Expr:
    return pl.lit(None, pl.String).alias("time_fault")
