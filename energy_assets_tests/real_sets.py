"""The real data sets, written out in the layouts that people bring them in."""

from __future__ import annotations

from pathlib import Path

import polars as pl


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
