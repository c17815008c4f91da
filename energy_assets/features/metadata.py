"""What is declared of a meter and its premise, as numbers over fixed vocabularies: nothing is fitted.

A value outside its vocabulary, or none, is NaN.
"""

from __future__ import annotations

import polars as pl

from energy_assets.contracts.metering import COMMODITIES, DIRECTIONS
from energy_assets.errors import ContractError
from energy_assets.features.calendar import Place
from energy_assets.features.closures import Spans, spans_of

METADATA_FEATURES = (
    "log_floor_area",
    "year_built",
    "primary_use_code",
    "commodity_code",
    "direction_code",
)
_ROOF = ("has_pv", "pv_tilt_deg", "pv_azimuth_deg")
PRIMARY_USES = (
    "Education",
    "Entertainment/public assembly",
    "Food sales and service",
    "Healthcare",
    "Lodging/residential",
    "Manufacturing/industrial",
    "Office",
    "Other",
    "Parking",
    "Public services",
    "Religious worship",
    "Residential",
    "Retail",
    "Services",
    "Technology/science",
    "Utility",
    "Warehouse/storage",
)
"""The uses of ASHRAE's building metadata, and Residential for dwellings; new ones go to the end."""


def described_meters(meters: pl.DataFrame, *, premises: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """Return the meters sorted by id with METADATA_FEATURES as float32, their place, and service bounds in minutes.

    Columns beside the features: meter_id, site_id, interval_minutes, timezone, country_code, subdivision_code,
    latitude, longitude, commodity, direction, has_pv, pv_tilt_deg, pv_azimuth_deg, from_minute, to_minute. A site that
    is not declared counts as UTC without holidays.

    Raises:
        ContractError: a meter, premise or site is declared twice.
    """
    for frame, key in ((meters, "meter_id"), (premises, "premise_id"), (sites, "site_id")):
        if frame[key].is_duplicated().any():
            twice = frame.filter(pl.col(key).is_duplicated())[key][0]
            raise ContractError(f"{key} {twice!r} is declared twice; give features one row per {key}.")
    uses = {use.lower(): code for code, use in enumerate(PRIMARY_USES)}
    minute = pl.col("valid_from_utc", "valid_to_utc").dt.epoch("us").floordiv(60_000_000)
    return (
        meters.join(
            premises.select("premise_id", "primary_use", "floor_area_m2", "year_built", *_ROOF),
            on="premise_id",
            how="left",
        )
        .join(
            sites.select("site_id", "timezone", "country_code", "subdivision_code", "latitude", "longitude"),
            on="site_id",
            how="left",
        )
        .with_columns(minute, pl.col("timezone").fill_null("UTC"))
        .select(
            "meter_id",
            "site_id",
            "interval_minutes",
            "timezone",
            "country_code",
            "subdivision_code",
            "latitude",
            "longitude",
            "commodity",
            "direction",
            *_ROOF,
            from_minute=pl.col("valid_from_utc").fill_null(-(2**40)),
            to_minute=pl.col("valid_to_utc").fill_null(2**40),
            log_floor_area=pl.when(pl.col("floor_area_m2") > 0).then(pl.col("floor_area_m2").log()).cast(pl.Float32),
            year_built=pl.col("year_built").cast(pl.Float32),
            primary_use_code=pl.col("primary_use")
            .str.to_lowercase()
            .replace_strict(uses, default=None, return_dtype=pl.Float32),
            commodity_code=_code("commodity", COMMODITIES),
            direction_code=_code("direction", DIRECTIONS),
        )
        .sort("meter_id")
    )


def place_of(row: dict[str, object], *, closures: pl.DataFrame | None = None) -> Place:
    """Return the place of one described meter, with what calendar files tell of it."""
    names = ("timezone", "country_code", "subdivision_code", "latitude", "longitude")
    spans: Spans = ()
    if closures is not None:
        where = {name: row[name] for name in ("site_id", "country_code", "subdivision_code")}
        spans = spans_of(closures, **where)  # type: ignore[arg-type]
    return Place(**{name: row[name] for name in names}, spans=spans)  # type: ignore[arg-type]


def _code(column: str, vocabulary: tuple[str, ...]) -> pl.Expr:
    codes = {value: code for code, value in enumerate(vocabulary)}
    return pl.col(column).replace_strict(codes, default=None, return_dtype=pl.Float32)
