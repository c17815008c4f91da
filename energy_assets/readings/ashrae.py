"""ASHRAE Great Energy Predictor III as Kaggle ships it: train.csv and building_metadata.csv, of any year and size.

A clean train.csv is read once, by DuckDB, with types. Whether it was clean is not believed but counted: if the rows are
not as many as the lines, or one of them cannot become a reading, the file is read again line by line and every line is
judged. Values stay as reported, in the unit declared for the meter; negative ones too. The weather files belong to
`energy_assets.weather`.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from energy_assets import contracts
from energy_assets.contracts import UTC_TIME, Window
from energy_assets.parsing.lines import identity_of, numbered_lines
from energy_assets.readings import landing
from energy_assets.readings.ashrae_sites import ashrae_sites
from energy_assets.readings.landing import Fingerprint
from energy_assets.readings.source import Registry, Source, Staged
from energy_assets.readings.tables import plausible, read_table

_LOG = logging.getLogger(__name__)

COLUMNS = ("building_id", "meter", "timestamp", "meter_reading")
COMMODITIES = ("electricity", "chilled_water", "steam", "hot_water")
_SQUARE_METRES_PER_SQUARE_FOOT = 0.09290304
_BUILDING_BITS = 32


def stage(connection: duckdb.DuckDBPyConnection, source: Source, *, window: Window | None, now: datetime) -> Staged:
    """Stage the readings of a GEPIII folder.

    Raises:
        SourceError: a file is missing, empty, truncated, changed while read, or lacks a column.
    """
    buildings = read_buildings(source)
    mark, is_read = _read_fast(connection, landing.find_file(source.path, "train.csv"))
    landing.require_columns(mark, COLUMNS)
    landing.stage_meters(connection, _possible_meters(source, buildings, batch_id=mark.batch_id))
    landing.run(connection, "landing_no_quarantine")
    if not (is_read and _is_clean(connection, mark)):
        _LOG.info("%s is judged line by line", mark.path)
        _read_lines(connection, mark)
    registry = _registry(connection, source, buildings) if window is None else None
    return landing.account(connection, source, [mark], window=window, now=now, registry=registry)


def read_buildings(source: Source) -> pl.DataFrame:
    """Return the buildings with their sites' clocks; a site without a known clock leaves those columns null.

    Raises:
        SourceError: building_metadata.csv or site_metadata.csv is missing or broken.
    """
    buildings = read_table(
        landing.find_file(source.path, "building_metadata.csv"),
        required={"site_id": pl.Int64, "building_id": pl.Int64},
        optional={
            "primary_use": pl.String,
            "square_feet": pl.Float64,
            "year_built": pl.Int64,
            "floor_count": pl.Int64,
        },
        key="building_id",
    )
    sites = ashrae_sites(source.path)
    return buildings.rename({"site_id": "site_code"}).join(sites, on="site_code", how="left", validate="m:1")


def _possible_meters(source: Source, buildings: pl.DataFrame, *, batch_id: str) -> pl.DataFrame:
    codes = pl.DataFrame(list(enumerate(COMMODITIES)), schema={"code": pl.Int64, "commodity": pl.String}, orient="row")
    is_electricity = pl.col("commodity") == "electricity"
    return buildings.join(codes, how="cross").select(
        meter_key=pl.col("building_id") * 2**_BUILDING_BITS + pl.col("code"),
        meter_id=pl.format("{}.{}.{}", pl.lit(source.name), "building_id", "commodity"),
        unit=pl.when(is_electricity).then("electricity_unit").otherwise(pl.lit("kWh")).fill_null("kWh"),
        offset_us=pl.col("utc_offset_minutes") * 60_000_000,
        batch_id=pl.lit(batch_id),
    )


def _read_fast(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[Fingerprint, bool]:
    """Read the file with types while it is fingerprinted beside; return whether DuckDB could read it."""
    identity = identity_of(path)
    with ThreadPoolExecutor(max_workers=1) as beside:
        reading = beside.submit(landing.fingerprint, path, identity=identity)
        try:
            landing.run(connection, "ashrae_read", path=str(path))
            is_read = True
        except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.IOException) as error:
            _LOG.info("%s: %s", path, str(error).split("\n", 1)[0])
            is_read = False
        return reading.result(), is_read


def _is_clean(connection: duckdb.DuckDBPyConnection, mark: Fingerprint) -> bool:
    """Return whether every line of the file became a cell that can be a reading."""
    if mark.header != COLUMNS or landing.scalar(connection, "landing_count_cells") != mark.data_lines:
        return False
    landing.run(connection, "landing_days")
    return landing.scalar(connection, "landing_count_faulty_days") == 0


def _read_lines(connection: duckdb.DuckDBPyConnection, mark: Fingerprint) -> None:
    positions = {
        "building_at": mark.header.index("building_id") + 1,
        "meter_at": mark.header.index("meter") + 1,
        "timestamp_at": mark.header.index("timestamp") + 1,
        "reading_at": mark.header.index("meter_reading") + 1,
        "field_count": len(mark.header),
    }
    landing.run(connection, "landing_lines")
    for chunk in numbered_lines(mark.path):
        connection.register("incoming_lines", chunk)
        try:
            landing.run(connection, "ashrae_judge_lines", **positions)
        finally:
            connection.unregister("incoming_lines")
    landing.run(connection, "ashrae_cells")
    landing.run(connection, "ashrae_quarantine", batch_id=mark.batch_id)
    landing.run(connection, "landing_drop_lines")
    landing.run(connection, "landing_days")


def _registry(connection: duckdb.DuckDBPyConnection, source: Source, buildings: pl.DataFrame) -> Registry:
    located = buildings.filter(pl.col("timezone").is_not_null()).with_columns(
        site_id=pl.format("{}.{}", pl.lit(source.name), "site_code"),
        premise_id=pl.format("{}.b{}", pl.lit(source.name), "building_id"),
        source=pl.lit(source.name),
    )
    seen = (
        landing.query("landing_meters_seen")
        .frame(connection)
        .with_columns(
            building_id=pl.col("meter_key") // 2**_BUILDING_BITS,
            commodity=pl.col("meter_id").str.split(".").list.last(),
            valid_from_utc=pl.col("valid_from_utc").cast(UTC_TIME),
        )
    )
    meters = seen.join(located, on="building_id", validate="m:1", maintain_order="left").select(
        "meter_id",
        "premise_id",
        "site_id",
        "commodity",
        "unit",
        "valid_from_utc",
        "source",
        direction=pl.lit("consumption"),
        measure=pl.lit("interval_energy"),
        interval_minutes=pl.lit(landing.INTERVAL_MINUTES, dtype=pl.Int64),
    )
    return Registry(sites=_sites(located), premises=_premises(located), meters=contracts.METERS.conform(meters))


def _sites(located: pl.DataFrame) -> pl.DataFrame:
    names = [name for name in contracts.SITES.column_names if name in located.columns]
    return contracts.SITES.conform(located.select(names).unique("site_id", maintain_order=True))


def _premises(located: pl.DataFrame) -> pl.DataFrame:
    premises = located.select(
        "premise_id",
        "site_id",
        "primary_use",
        "source",
        floor_area_m2=plausible(pl.col("square_feet") * _SQUARE_METRES_PER_SQUARE_FOOT, 0, 1e7),
        year_built=plausible(pl.col("year_built"), 1000, 2200),
        floor_count=plausible(pl.col("floor_count"), 0, 1000),
    )
    return contracts.PREMISES.conform(premises)
