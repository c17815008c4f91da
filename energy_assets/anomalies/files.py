"""Readings, weather and meters of `energy detect` from anybody's files, and the raster that readings lie on."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from energy_assets.anomalies.grid import MINUTES_PER_DAY
from energy_assets.errors import SourceError
from energy_assets.readings.own_files import numbers, read_table, refuse, texts, utc_times

METER_COLUMNS = {
    "site_id": pl.String(),
    "commodity": pl.String(),
    "capacity_kw": pl.Float64(),
    "interval_minutes": pl.Int64(),
    "timezone": pl.String(),
    "country_code": pl.String(),
}
LARGEST_KWH = 1e12


def read_readings(path: Path) -> pl.DataFrame:
    """Return readings as `meter_id, starts_at_utc, reported_kwh` from a file with `energy_kwh`; empty means missing.

    Raises:
        SourceError: a column is absent, or a value cannot be read; the message names its first row.
    """
    rows = read_table(path, what="Readings", columns=("meter_id", "starts_at_utc", "energy_kwh"))
    return as_readings(rows, place=f"Readings file {path}")


def as_readings(rows: pl.DataFrame, *, place: str) -> pl.DataFrame:
    """Return a person's readings with our dtypes; infinite and NaN values count as missing.

    Raises:
        SourceError: an identifier or time is absent, or a value cannot be read.
    """
    meter, starts = texts(rows, "meter_id"), utc_times(rows, "starts_at_utc", place=place)
    refuse(meter.is_null(), shown=rows["starts_at_utc"].cast(pl.String), place=place, fault="meter_id is empty")
    kwh = numbers(rows, "energy_kwh", place=place)
    refuse(
        kwh.abs().fill_null(0) > LARGEST_KWH,
        shown=rows["energy_kwh"],
        place=place,
        fault=f"energy_kwh is beyond {LARGEST_KWH:g}; check its unit",
    )
    return pl.DataFrame([meter, starts, kwh.alias("reported_kwh")])


def read_meters(path: Path) -> pl.DataFrame:
    """Return `meter_id` and those of METER_COLUMNS that the file has.

    Raises:
        SourceError: `meter_id` is absent or repeats, or a value cannot be read.
    """
    place = f"Meters file {path}"
    rows = read_table(path, what="Meters", columns=("meter_id",))
    columns = [texts(rows, "meter_id")]
    for name, dtype in METER_COLUMNS.items():
        if name in rows.columns:
            columns.append(texts(rows, name) if dtype == pl.String else numbers(rows, name, place=place).cast(dtype))
    meters = pl.DataFrame(columns)
    refuse(
        meters["meter_id"].is_duplicated(),
        shown=meters["meter_id"],
        place=place,
        fault="the meter is declared more than once; keep one row a meter",
    )
    return meters


def read_weather(path: Path) -> pl.DataFrame:
    """Return `starts_at_utc, temperature_c` and `site_id` where the file has it.

    Raises:
        SourceError: a column is absent or a value cannot be read.
    """
    place = f"Weather file {path}"
    rows = read_table(path, what="Weather", columns=("starts_at_utc", "temperature_c"))
    sites = [texts(rows, "site_id")] if "site_id" in rows.columns else []
    times, degrees = utc_times(rows, "starts_at_utc", place=place), numbers(rows, "temperature_c", place=place)
    return pl.DataFrame([*sites, times, degrees]).drop_nulls("temperature_c")


def with_raster(readings: pl.DataFrame, *, meters: pl.DataFrame) -> pl.DataFrame:
    """Return readings with `interval_minutes`, and as `starts_at_utc` the slot that each stands for on a whole raster.

    The cadence is as declared, or the most frequent step of the meter; a meter with one reading takes the commonest.
    `shift` is how far the meter's raster lies behind the whole one (its commonest remainder: readings of India come at
    half past), `given_at_utc` the time as it was given, which may jitter around its slot.

    Raises:
        SourceError: no cadence can be told, or one does not divide a day.
    """
    step = pl.col("starts_at_utc").unique().sort().diff().drop_nulls().dt.total_seconds()
    found = readings.group_by("meter_id").agg(seconds=step.filter(step > 0).mode().min())
    found = found.with_columns(
        interval_minutes=(pl.col("seconds") / 60).round().clip(1).cast(pl.Int64)
    ).drop("seconds")  # fmt: skip
    if "interval_minutes" in meters.columns:
        declared = meters.select("meter_id", declared="interval_minutes")
        found = found.join(declared, on="meter_id", how="left", validate="1:1").with_columns(
            interval_minutes=pl.coalesce("declared", "interval_minutes")
        ).drop("declared")  # fmt: skip
    found = found.with_columns(
        pl.col("interval_minutes").fill_null(pl.col("interval_minutes").drop_nulls().mode().min())
    )
    odd = found.filter(
        pl.col("interval_minutes").is_null()
        | (pl.col("interval_minutes") < 1)
        | (MINUTES_PER_DAY % pl.col("interval_minutes").clip(1) != 0)
    ).sort("meter_id")
    if odd.height:
        meter_id, minutes = odd.row(0)
        fault = (
            "only one reading" if minutes is None else f"readings every {minutes} minutes, which does not divide a day"
        )
        raise SourceError(
            f"Meter {meter_id} has {fault}; declare interval_minutes in the meters file, or resample the readings."
        )
    micros = pl.col("interval_minutes") * 60_000_000
    since = pl.col("starts_at_utc").dt.epoch("us")
    behind = (since % micros).mode().min().over("meter_id")
    # A raster that runs ahead by little is not one that lies behind by nearly an interval.
    rows = readings.join(found, on="meter_id", validate="m:1").with_columns(
        shift=behind - pl.when(behind > micros // 2).then(micros).otherwise(0)
    )
    slot = (since - pl.col("shift") + micros // 2) // micros * micros
    return rows.with_columns(
        given_at_utc=pl.col("starts_at_utc"),
        starts_at_utc=slot.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        shift=pl.duration(microseconds=pl.col("shift")),
    )
