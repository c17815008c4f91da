"""Building Data Genome 2: wide hourly CSV files, one a meter type and one column a building, with their metadata.

A row of the account is a cell that is not empty: blanks and NaN are how the set says "no reading", and are absent, not
refused. A line without a readable time, or with another number of fields than the header, is refused as one row. Stamps
are local standard time, 24 a day all year, so each site has one fixed offset: the standard time of its zone in the
metadata. Energy is in kWh, water and irrigation in litres as in the data descriptor (Miller et al., 2020); the option
`water_unit` says otherwise. The weather file belongs to `energy_assets.weather`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from energy_assets import contracts
from energy_assets.contracts import Window
from energy_assets.contracts.metering import UNITS
from energy_assets.errors import ConfigError, SourceError
from energy_assets.parsing.lines import numbered_lines
from energy_assets.readings import landing
from energy_assets.readings.bdg2_buildings import premises_of, read_buildings, sites_of
from energy_assets.readings.landing import Fingerprint
from energy_assets.readings.source import Registry, Source, Staged

_LOG = logging.getLogger(__name__)

VARIANTS = ("raw", "cleaned")
_FILE_BITS = 32


@dataclass(frozen=True, kw_only=True)
class MeterType:
    """One wide file: its name, and what its meters measure."""

    name: str
    commodity: str
    direction: str = "consumption"
    is_water: bool = False
    suffix: str = ""

    @property
    def meter_suffix(self) -> str:
        """Return the last part of the meter ids: the commodity, where that does not name two meters of a building."""
        return self.suffix or self.commodity


METER_TYPES = (
    MeterType(name="electricity", commodity="electricity"),
    MeterType(name="chilledwater", commodity="chilled_water"),
    MeterType(name="steam", commodity="steam"),
    MeterType(name="hotwater", commodity="hot_water"),
    MeterType(name="gas", commodity="gas"),
    MeterType(name="water", commodity="water", is_water=True),
    MeterType(name="irrigation", commodity="water", is_water=True, suffix="irrigation"),
    MeterType(name="solar", commodity="electricity", direction="production", suffix="solar"),
)


def stage(connection: duckdb.DuckDBPyConnection, source: Source, *, window: Window | None, now: datetime) -> Staged:
    """Stage the readings of a BDG2 folder: a checkout of the repository, or its `data` folder.

    Options: `variant` raw (default) or cleaned; `water_unit` l (default) or m3.

    Raises:
        ConfigError: an option is unknown or out of range.
        SourceError: a file is missing, empty, truncated, changed while read, or lacks a column.
    """
    variant, water_unit = _options(source)
    root = source.path / "data" if (source.path / "data").is_dir() else source.path
    buildings = read_buildings(root)
    files = _files(root, variant)
    marks = [landing.fingerprint(path) for _, path in files]
    meters = pl.concat(
        _columns(source, kind, mark, buildings, index=index, water_unit=water_unit)
        for index, ((kind, _), mark) in enumerate(zip(files, marks, strict=True))
    )
    landing.stage_meters(connection, meters.filter(pl.col("building_id").is_not_null()))
    landing.run(connection, "landing_no_quarantine")
    landing.run(connection, "bdg2_no_cells")
    for index, mark in enumerate(marks):
        _stage_file(connection, mark, meters.filter(pl.col("meter_key") // 2**_FILE_BITS == index))
    landing.run(connection, "landing_days")
    registry = _registry(connection, source, buildings, meters) if window is None else None
    return landing.account(connection, source, marks, window=window, now=now, registry=registry)


def _options(source: Source) -> tuple[str, str]:
    unknown = set(source.options) - {"variant", "water_unit"}
    if unknown:
        raise ConfigError(f"Source {source.name}: options {sorted(unknown)} are unknown; use variant or water_unit.")
    variant = str(source.options.get("variant", "raw"))
    water_unit = str(source.options.get("water_unit", "l"))
    if variant not in VARIANTS:
        raise ConfigError(f"Source {source.name}: options.variant is {variant!r}; use one of {', '.join(VARIANTS)}.")
    if water_unit not in UNITS:
        raise ConfigError(f"Source {source.name}: options.water_unit is {water_unit!r}; use l or m3.")
    return variant, water_unit


def _files(root: Path, variant: str) -> list[tuple[MeterType, Path]]:
    folder = root / "meters" / variant
    ending = "_cleaned.csv" if variant == "cleaned" else ".csv"
    found = [
        (kind, path)
        for kind in METER_TYPES
        for name in (f"{kind.name}{ending}", f"{kind.name}{ending}.gz")
        if (path := folder / name).is_file()
    ]
    if not found:
        raise SourceError(
            f"{folder} holds none of the files {', '.join(kind.name + ending for kind in METER_TYPES)}. "
            f"Check the folder and the option variant, or run `energy download bdg2`."
        )
    return found


def _columns(
    source: Source, kind: MeterType, mark: Fingerprint, buildings: pl.DataFrame, *, index: int, water_unit: str
) -> pl.DataFrame:
    landing.require_columns(mark, ["timestamp"])
    names = pl.DataFrame({"position": range(1, len(mark.header) + 1), "column_name": mark.header})
    repeated = names.filter(pl.col("column_name").is_duplicated())
    if not repeated.is_empty():
        raise SourceError(f"{mark.path} has two columns {repeated['column_name'][0]!r}. Remove the wrong one.")
    known = buildings.select("building_id", "utc_offset_minutes", column_name="building_id")
    return (
        names.filter(pl.col("column_name") != "timestamp")
        .join(known, on="column_name", how="left", validate="1:1", maintain_order="left")
        .with_columns(
            meter_key=pl.lit(index * 2**_FILE_BITS, dtype=pl.Int64) + pl.col("position"),
            meter_id=pl.format("{}.{}.{}", pl.lit(source.name), "column_name", pl.lit(kind.meter_suffix)),
            unit=pl.lit(water_unit if kind.is_water else "kWh"),
            offset_us=pl.col("utc_offset_minutes") * 60_000_000,
            batch_id=pl.lit(mark.batch_id),
            commodity=pl.lit(kind.commodity),
            direction=pl.lit(kind.direction),
        )
    )


def _stage_file(connection: duckdb.DuckDBPyConnection, mark: Fingerprint, columns: pl.DataFrame) -> None:
    known = pl.col("building_id").is_not_null()
    incoming = columns.select("position", "column_name", meter_key=pl.when(known).then("meter_key"))
    connection.register("incoming_columns", incoming)
    try:
        landing.run(connection, "bdg2_columns")
    finally:
        connection.unregister("incoming_columns")
    if not _read_fast(connection, mark):
        _LOG.info("%s is judged line by line", mark.path)
        _read_lines(connection, mark)
    landing.run(connection, "bdg2_cells")
    landing.run(connection, "bdg2_drop_file")


def _read_fast(connection: duckdb.DuckDBPyConnection, mark: Fingerprint) -> bool:
    """Read the file by columns and return whether every line fitted and every cell became a reading."""
    try:
        if landing.scalar(connection, "bdg2_count_lines", path=str(mark.path)) != mark.data_lines:
            return False
        landing.run(connection, "bdg2_read", path=str(mark.path))
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.BinderException) as error:
        _LOG.info("%s: %s", mark.path, str(error).split("\n", 1)[0])
        return False
    return landing.scalar(connection, "bdg2_count_faults") == 0


def _read_lines(connection: duckdb.DuckDBPyConnection, mark: Fingerprint) -> None:
    landing.run(connection, "landing_lines")
    for chunk in numbered_lines(mark.path):
        connection.register("incoming_lines", chunk)
        try:
            landing.run(
                connection,
                "bdg2_judge_lines",
                timestamp_at=mark.header.index("timestamp") + 1,
                field_count=len(mark.header),
            )
        finally:
            connection.unregister("incoming_lines")
    landing.run(connection, "bdg2_file_from_lines")
    landing.run(connection, "bdg2_quarantine", batch_id=mark.batch_id)
    landing.run(connection, "landing_drop_lines")


def _registry(
    connection: duckdb.DuckDBPyConnection, source: Source, buildings: pl.DataFrame, columns: pl.DataFrame
) -> Registry:
    seen = landing.query("landing_meters_seen").frame(connection)
    declared = columns.select("meter_key", "building_id", "commodity", "direction")
    premises = premises_of(source, buildings)
    meters = (
        seen.join(declared, on="meter_key", validate="1:1", maintain_order="left")
        .with_columns(premise_id=pl.format("{}.{}", pl.lit(source.name), "building_id"))
        .join(premises.select("premise_id", "site_id"), on="premise_id", validate="m:1", maintain_order="left")
        .select(
            "meter_id",
            "premise_id",
            "site_id",
            "commodity",
            "direction",
            "unit",
            "valid_from_utc",
            measure=pl.lit("interval_energy"),
            interval_minutes=pl.lit(landing.INTERVAL_MINUTES, dtype=pl.Int64),
            source=pl.lit(source.name),
        )
    )
    return Registry(sites=sites_of(source, buildings), premises=premises, meters=contracts.METERS.conform(meters))
