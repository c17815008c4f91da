"""The buildings and sites of BDG2's metadata.csv, brought to the registry's vocabulary; what is missing stays null."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from energy_assets import contracts
from energy_assets.readings.ashrae_sites import GEPIII_SITES, standard_offset_minutes
from energy_assets.readings.landing import find_file
from energy_assets.readings.source import Source
from energy_assets.readings.tables import plausible, read_table

_ZONES = {
    "US/Eastern": "America/New_York",
    "US/Central": "America/Chicago",
    "US/Mountain": "America/Denver",
    "US/Pacific": "America/Los_Angeles",
}
_COUNTRIES = {"Europe/London": "GB", "Europe/Dublin": "IE"}
_HEATING_TYPES = {
    "gas": "natural_gas",
    "gas boiler": "natural_gas",
    "electricity": "electric",
    "electric": "electric",
    "heat network": "district_heating",
    "heat network and steam": "district_heating",
    "district heating": "district_heating",
    "steam": "district_heating",
    "biomass": "biomass",
    "oil": "oil",
}


def read_buildings(root: Path) -> pl.DataFrame:
    """Return the rows of metadata/metadata.csv (or metadata.csv) with IANA zones and their standard offsets.

    Raises:
        SourceError: the file is missing or broken, or a zone is unknown.
    """
    folder = root / "metadata" if (root / "metadata").is_dir() else root
    path = find_file(folder, "metadata.csv")
    buildings = read_table(
        path,
        required={"building_id": pl.String, "site_id": pl.String, "timezone": pl.String},
        optional={
            "site_id_kaggle": pl.Int64,
            "primaryspaceusage": pl.String,
            "sqm": pl.Float64,
            "yearbuilt": pl.Int64,
            "numberoffloors": pl.Int64,
            "occupants": pl.Int64,
            "heatingtype": pl.String,
            "solar": pl.String,
            "lat": pl.Float64,
            "lng": pl.Float64,
        },
        key="building_id",
    ).with_columns(timezone=pl.col("timezone").replace(_ZONES))
    zones = buildings["timezone"].unique().to_list()
    offsets = {zone: standard_offset_minutes(zone, place=str(path)) for zone in zones}
    return buildings.with_columns(utc_offset_minutes=pl.col("timezone").replace_strict(offsets, return_dtype=pl.Int64))


def sites_of(source: Source, buildings: pl.DataFrame) -> pl.DataFrame:
    """Return metering.sites: the middle of each site's buildings; zone and country by GEPIII's table where it knows.

    The table is finer than the metadata: it tells Arizona, which has no daylight saving, from the Mountain zone.
    """
    known = GEPIII_SITES.select(site_id_kaggle="site_code", gepiii_country="country_code", gepiii_zone="timezone")
    sites = (
        buildings.join(known, on="site_id_kaggle", how="left", validate="m:1", maintain_order="left")
        .group_by("site_id", maintain_order=True)
        .agg(
            timezone=pl.coalesce(pl.col("gepiii_zone"), pl.col("timezone")).mode().sort().first(),
            latitude=pl.col("lat").mean(),
            longitude=pl.col("lng").mean(),
            gepiii_country=pl.col("gepiii_country").drop_nulls().first(),
        )
        .select(
            "timezone",
            "latitude",
            "longitude",
            site_id=pl.format("{}.{}", pl.lit(source.name), "site_id"),
            name=pl.col("site_id"),
            country_code=pl.coalesce(
                pl.col("gepiii_country"),
                pl.col("timezone").replace_strict(_COUNTRIES, default=None, return_dtype=pl.String),
            ),
            source=pl.lit(source.name),
        )
    )
    return contracts.SITES.conform(sites)


def premises_of(source: Source, buildings: pl.DataFrame) -> pl.DataFrame:
    """Return metering.premises; values outside the contract's ranges are taken as missing."""
    heating = pl.col("heatingtype").str.strip_chars().str.to_lowercase()
    premises = buildings.select(
        premise_id=pl.format("{}.{}", pl.lit(source.name), "building_id"),
        site_id=pl.format("{}.{}", pl.lit(source.name), "site_id"),
        primary_use=pl.col("primaryspaceusage"),
        floor_area_m2=plausible(pl.col("sqm"), 0, 1e7),
        year_built=plausible(pl.col("yearbuilt"), 1000, 2200),
        floor_count=plausible(pl.col("numberoffloors"), 0, 1000),
        occupants=plausible(pl.col("occupants"), 0, 1e6),
        heating_type=heating.replace_strict(_HEATING_TYPES, default=None, return_dtype=pl.String),
        has_pv=pl.col("solar").str.to_lowercase() == "yes",
        source=pl.lit(source.name),
    )
    return contracts.PREMISES.conform(premises)
