"""Readings, weather and meters from anybody's CSV or Parquet file, and results into such files; no instance needed.

A file that is not what it should be stops with a `SourceError` that names file, column or line, and the remedy.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from energy_assets.anomalies.grid import MINUTES_PER_DAY
from energy_assets.contracts import UTC_TIME
from energy_assets.errors import SourceError

METER_COLUMNS = {
    "site_id": pl.String(),
    "commodity": pl.String(),
    "capacity_kw": pl.Float64(),
    "interval_minutes": pl.Int64(),
    "timezone": pl.String(),
    "country_code": pl.String(),
}
LARGEST_KWH = 1e12


def read_table(path: Path, *, what: str) -> pl.DataFrame:
    """Return the rows of a CSV (`.csv`, `.csv.gz`) or Parquet file; CSV columns stay text.

    Raises:
        SourceError: the file is absent, empty, of another kind, or cannot be read to its end.
    """
    if not path.is_file():
        raise SourceError(f"{what} file {path} does not exist; give the path of a CSV or Parquet file.")
    if path.stat().st_size == 0:
        raise SourceError(f"{what} file {path} is empty; export it again.")
    suffix = path.name.lower()
    try:
        if suffix.endswith((".parquet", ".pq")):
            rows = pl.read_parquet(path)
        elif suffix.endswith((".csv", ".csv.gz")):
            rows = pl.read_csv(path, infer_schema=False)
        else:
            raise SourceError(f"{what} file {path} is neither .csv, .csv.gz nor .parquet; convert or rename it.")
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise SourceError(f"{what} file {path} cannot be read: {error}. Is it complete? Export it again.") from error
    if rows.is_empty():
        raise SourceError(f"{what} file {path} has a header and no rows; export it again.")
    return rows


def read_readings(path: Path) -> pl.DataFrame:
    """Return readings as `meter_id, starts_at_utc, reported_kwh` from a file with `energy_kwh`; empty means missing.

    Raises:
        SourceError: a column is absent, or a value cannot be read; the message names its first row.
    """
    rows = read_table(path, what="Readings")
    _need(rows, ("meter_id", "starts_at_utc", "energy_kwh"), path=path, what="Readings")
    return as_readings(rows, place=f"Readings file {path}")


def as_readings(rows: pl.DataFrame, *, place: str) -> pl.DataFrame:
    """Return a person's readings with our dtypes; infinite and NaN values count as missing.

    Raises:
        SourceError: an identifier or time is absent, or a value cannot be read.
    """
    named = rows.select(
        pl.col("meter_id").cast(pl.String),
        _time("starts_at_utc", rows.schema["starts_at_utc"]),
        reported_kwh=_number("energy_kwh", rows.schema["energy_kwh"]),
        raw_time=pl.col("starts_at_utc").cast(pl.String),
        raw_kwh=pl.col("energy_kwh").cast(pl.String).str.strip_chars(),
    )
    _refuse(named, pl.col("meter_id").is_null(), "meter_id is empty", place=place, shown="raw_time")
    _refuse(
        named, pl.col("starts_at_utc").is_null(),
        "starts_at_utc is not a time; write UTC as 2024-01-31T23:00:00Z", place=place, shown="raw_time",
    )  # fmt: skip
    unreadable = pl.col("reported_kwh").is_null() & pl.col("raw_kwh").is_not_null() & ~_means_missing(pl.col("raw_kwh"))
    _refuse(named, unreadable, "energy_kwh is not a number; leave missing values empty", place=place, shown="raw_kwh")
    _refuse(
        named, pl.col("reported_kwh").is_finite() & (pl.col("reported_kwh").abs() > LARGEST_KWH),
        f"energy_kwh is beyond {LARGEST_KWH:g}; check its unit", place=place, shown="raw_kwh",
    )  # fmt: skip
    return named.select(
        "meter_id",
        "starts_at_utc",
        pl.when(pl.col("reported_kwh").is_finite()).then(pl.col("reported_kwh")).alias("reported_kwh"),
    )


def read_meters(path: Path) -> pl.DataFrame:
    """Return `meter_id` and those of METER_COLUMNS that the file has.

    Raises:
        SourceError: `meter_id` is absent or repeats, or a value cannot be read.
    """
    rows = read_table(path, what="Meters")
    _need(rows, ("meter_id",), path=path, what="Meters")
    present = {name: dtype for name, dtype in METER_COLUMNS.items() if name in rows.columns}
    try:
        meters = rows.select(pl.col("meter_id").cast(pl.String), *(pl.col(n).cast(d) for n, d in present.items()))
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"Meters file {path} has a value of the wrong kind: {error}") from error
    repeated = meters.filter(pl.col("meter_id").is_duplicated())
    if repeated.height:
        raise SourceError(
            f"Meters file {path} declares {repeated['meter_id'][0]} more than once; keep one row a meter."
        )
    return meters


def read_weather(path: Path) -> pl.DataFrame:
    """Return `starts_at_utc, temperature_c` and `site_id` where the file has it.

    Raises:
        SourceError: a column is absent or a value cannot be read.
    """
    rows = read_table(path, what="Weather")
    _need(rows, ("starts_at_utc", "temperature_c"), path=path, what="Weather")
    weather = rows.select(
        *([pl.col("site_id").cast(pl.String)] if "site_id" in rows.columns else []),
        _time("starts_at_utc", rows.schema["starts_at_utc"]),
        _number("temperature_c", rows.schema["temperature_c"]).alias("temperature_c"),
        raw_time=pl.col("starts_at_utc").cast(pl.String),
    )
    _refuse(
        weather, pl.col("starts_at_utc").is_null(), "starts_at_utc is not a time; write UTC as 2024-01-31T23:00:00Z",
        place=f"Weather file {path}", shown="raw_time",
    )  # fmt: skip
    return weather.drop("raw_time").filter(pl.col("temperature_c").is_finite())


def write_table(rows: pl.DataFrame, path: Path) -> None:
    """Write rows as CSV or Parquet by the path's ending, whole or not at all.

    Raises:
        SourceError: the ending is unknown or the folder does not exist.
    """
    if not path.parent.is_dir():
        raise SourceError(f"Folder {path.parent} does not exist; create it or give another path.")
    partial = path.with_name(path.name + ".partial")
    if path.suffix == ".parquet":
        rows.write_parquet(partial)
    elif path.suffix == ".csv":
        rows.write_csv(partial, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    else:
        raise SourceError(f"Cannot write {path}: its name must end in .csv or .parquet.")
    partial.replace(path)


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


def _need(rows: pl.DataFrame, columns: tuple[str, ...], *, path: Path, what: str) -> None:
    missing = [column for column in columns if column not in rows.columns]
    if missing:
        raise SourceError(
            f"{what} file {path} lacks the columns {missing}; it has {rows.columns}. "
            f"Rename its columns to {list(columns)}."
        )


def _time(column: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    if dtype == pl.String:
        text = value.str.strip_chars().str.replace(" ", "T").str.replace(r"(Z|\+00:?00)$", "")
        padded = pl.when(text.str.len_chars() == 16).then(text + ":00").otherwise(text)
        plain = padded.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us").dt.replace_time_zone("UTC")
        # An offset says which instant is meant, so that it may differ from zero.
        offset = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_unit="us", time_zone="UTC")
        days = text.str.to_datetime("%Y-%m-%d", strict=False, time_unit="us").dt.replace_time_zone("UTC")
        return pl.coalesce(plain, offset, days).alias(column)
    if dtype == pl.Date:
        return value.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(column)
    if isinstance(dtype, pl.Datetime):
        zoned = value.dt.replace_time_zone("UTC") if dtype.time_zone is None else value.dt.convert_time_zone("UTC")
        return zoned.cast(UTC_TIME).alias(column)
    return pl.lit(None, dtype=UTC_TIME).alias(column)


def _number(column: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    return value.str.strip_chars().cast(pl.Float64, strict=False) if dtype == pl.String else value.cast(pl.Float64)


def _means_missing(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().is_in(["", "nan", "null", "na", "none"])


def _refuse(rows: pl.DataFrame, bad: pl.Expr, fault: str, *, place: str, shown: str) -> None:
    found = rows.with_row_index("row").filter(bad)
    if found.height:
        raise SourceError(
            f"{place}, data row {found['row'][0] + 1} of {rows.height}: {fault} (it says {found[shown][0]!r}; "
            f"{found.height} such rows)."
        )
