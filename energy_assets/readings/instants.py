"""From stamps as a file has them to instants in UTC, with the name of the fault where there is none.

Clock changes are dealt with here and nowhere else: an hour that the clock skips holds no instants, and of one that it
repeats the order of the rows says which is which.
"""

from __future__ import annotations

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.parsing.stamps import on_clock, plausible, stamp_of
from energy_assets.readings.mapping import TimeFormat


def with_instants(rows: pl.DataFrame, *, time: TimeFormat) -> pl.DataFrame:
    """Return the rows, in their order, with `starts_at_utc` and `time_fault`.

    `rows` has meter_id, stamp, measure and interval_minutes. A stamp that carries an offset, is unix time or a Parquet
    time stamp with a zone is an instant already, whatever the declared zone. A stamp that marks the end of an interval
    is moved to its start; a register's stays. Both columns are null where the stamp cannot be read; instants before
    1970 or after 2199 count as such, because they are always faults of the clock or the format.
    """
    timed = _from_local(rows, time=time)
    if time.marks == "end":
        minutes = pl.when(pl.col("measure") == "register").then(0).otherwise("interval_minutes")
        timed = timed.with_columns(starts_at_utc=pl.col("starts_at_utc") - pl.duration(minutes=minutes))
    return timed.with_columns(starts_at_utc=plausible(pl.col("starts_at_utc")))


def _from_local(rows: pl.DataFrame, *, time: TimeFormat) -> pl.DataFrame:
    stamp = stamp_of(pl.col("stamp"), rows.schema["stamp"], form=time.format)
    rows = rows.with_columns(local=stamp.local, instant=stamp.instant)
    fixed = time.offset_minutes
    if fixed is None and rows["local"].count():
        rows = _from_zone(rows, zone=time.zone)
    else:
        of_clock = (pl.col("local") - pl.duration(minutes=fixed or 0)).dt.replace_time_zone("UTC")
        rows = rows.with_columns(time_fault=pl.lit(None, pl.String), starts_at_utc=of_clock)
    return rows.with_columns(starts_at_utc=pl.coalesce("instant", "starts_at_utc").cast(UTC_TIME)).drop(
        "local", "instant"
    )


def _from_zone(rows: pl.DataFrame, *, zone: str) -> pl.DataFrame:
    """Return the rows with local times as UTC, or the fault that the clock change made."""
    local = pl.col("local")
    rows = rows.with_columns(
        starts_at_utc=on_clock(local, zone=zone, which="earliest"),
        second=on_clock(local, zone=zone, which="latest"),
        position=pl.int_range(pl.len()),
    ).with_columns(is_repeated=pl.col("starts_at_utc") != pl.col("second"))
    skipped = local.is_not_null() & pl.col("starts_at_utc").is_null()
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
