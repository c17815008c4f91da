"""Times and tables of people's own files: CSV or Parquet with starts_at_utc in any ISO 8601 form. Nothing of prices."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import SourceError

_ISO_TIME = (
    r"^(?<day>\d{4}-\d\d-\d\d)[T ](?<minutes>\d\d:\d\d)(?<seconds>:\d\d(\.\d+)?)?\s*(?<offset>[zZ]|[+-]\d\d:?\d\d)?$"
)


def read_table(path: Path, *, subject: str) -> pl.DataFrame:
    """Return a CSV or Parquet file as it is; `subject` names it in errors.

    Raises:
        SourceError: the file cannot be read, or its name has no known format.
    """
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        if path.suffix == ".csv":
            return pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(f"{subject} {path} cannot be read: {error}") from error
    raise SourceError(f"{subject} {path} has no known format: give a .csv or .parquet file.")


def with_utc(frame: pl.DataFrame, *, path: Path, subject: str) -> pl.DataFrame:
    """Return the frame with starts_at_utc as UTC times; times without zone are taken as UTC.

    Raises:
        SourceError: the column is absent, or holds something that is not a time.
    """
    if "starts_at_utc" not in frame.columns:
        raise SourceError(f"{subject} {path} lacks the column starts_at_utc; it has {frame.columns}.")
    if frame["starts_at_utc"].null_count():
        raise SourceError(f"{subject} {path} has rows without starts_at_utc; remove them or fill the times in.")
    dtype = frame.schema["starts_at_utc"]
    starts = pl.col("starts_at_utc")
    if dtype == pl.String:
        part = starts.str.strip_chars().str.extract_groups(_ISO_TIME).struct
        seconds, offset = part.field("seconds").fill_null(":00"), part.field("offset").fill_null("+00:00")
        text = pl.concat_str(
            part.field("day"), pl.lit("T"), part.field("minutes"), seconds, offset.str.replace("[zZ]", "+00:00")
        )
        parsed = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_zone="UTC", strict=False)
        wrong = frame.filter(frame.select(parsed.is_null()).to_series())
        if wrong.height:
            shown = wrong["starts_at_utc"][0]
            raise SourceError(f"{subject} {path} has a starts_at_utc that is not an ISO 8601 time: {shown!r}.")
    elif isinstance(dtype, pl.Datetime):
        parsed = starts.dt.replace_time_zone("UTC") if dtype.time_zone is None else starts.dt.convert_time_zone("UTC")
    else:
        raise SourceError(f"Column starts_at_utc of {path} is {dtype}, not a time.")
    return frame.with_columns(parsed.cast(UTC_TIME).alias("starts_at_utc"))
