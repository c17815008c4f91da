"""The real data sets, written out in the layouts that people bring them in."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import polars as pl

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def write_gepiii_slice(folder: Path, real_data: Path) -> Path:
    """Write the real ASHRAE slice (25 electricity meters, last four months of 2016) as Kaggle ships the set.

    There is no weather: it is not part of the slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    readings = pl.scan_parquet(real_data / "ashrae_elec_2016.parquet").select(
        "building_id",
        meter=pl.lit(0),
        timestamp=pl.col("ts_local").dt.strftime("%Y-%m-%d %H:%M:%S"),
        meter_reading="meter_reading",
    )
    readings.sort("timestamp", "building_id").sink_csv(folder / "train.csv")
    pl.scan_parquet(real_data / "ashrae_building_metadata.parquet").select(
        "site_id", "building_id", "primary_use", "square_feet", "year_built", "floor_count"
    ).sink_csv(folder / "building_metadata.csv")
    return folder


def write_cambridge(folder: Path, real_data: Path, *, first: date, last: date) -> Path:
    """Write six of the Cambridge buildings (electricity, and gas where they have it) and their weather.

    Both ends of the span are included. The mappings beside them are those of docs/examples.
    """
    folder.mkdir(parents=True, exist_ok=True)
    during = pl.col("ts_utc").dt.date().is_between(first, last)
    meters = pl.scan_parquet(real_data / "cambridge_dev_meters.parquet")
    chosen = meters.filter(pl.col("meter") == "gas").select("building_id").unique().sort("building_id").head(6)
    meters.filter(during).join(chosen, on="building_id", how="semi").sink_parquet(folder / "readings.parquet")
    weather = pl.scan_parquet(real_data / "cambridge_dev_weather_carbon.parquet").filter(during)
    weather.select("ts_utc", "temp_c", "rh_pct", "ghi_wm2").sink_parquet(folder / "weather.parquet")
    for name in ("mapping.toml", "weather.toml"):
        shutil.copy(EXAMPLES / "cambridge" / name, folder / name)
    return folder
