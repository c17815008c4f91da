"""The sites of GEPIII: their clocks, and where they are as far as that is public knowledge.

Readings carry local standard time all year: 24 rows a day in every season, so daylight saving is not in them. Hence one
fixed offset a site. The offsets are those that published solutions of the competition agree on for aligning the
weather (UTC) with the readings; they equal the standard time of the zones that BDG2's metadata gives for the same
sites. `energy_assets_tests/readings/test_ashrae.py` holds zone and offset together.

A folder can bring its own `site_metadata.csv`, which then replaces this table as a whole: columns site_id, timezone,
and optionally name, utc_offset_minutes (default: the zone's standard time), electricity_unit (default kWh), latitude,
longitude, country_code, subdivision_code.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from energy_assets.contracts.metering import UNITS
from energy_assets.errors import SourceError
from energy_assets.readings.tables import read_table

SITE_SCHEMA = pl.Schema(
    {
        "site_code": pl.Int64,
        "name": pl.String,
        "timezone": pl.String,
        "utc_offset_minutes": pl.Int64,
        "electricity_unit": pl.String,
        "latitude": pl.Float64,
        "longitude": pl.Float64,
        "country_code": pl.String,
        "subdivision_code": pl.String,
    }
)

# Country: the holiday calendars that public solutions settled on. Coordinates, rounded to the town: only the five
# campuses whose public meter pages were matched with the competition's readings; all others stay null.
_GEPIII: tuple[tuple[int, str, str, int, str, float | None, float | None, str, str | None], ...] = (
    (0, "Orlando, University of Central Florida", "America/New_York", -300, "kBtu", 28.6, -81.2, "US", "FL"),
    (1, "London, University College", "Europe/London", 0, "kWh", 51.5, -0.1, "GB", "ENG"),
    (2, "Tempe, Arizona State University", "America/Phoenix", -420, "kWh", 33.4, -111.9, "US", "AZ"),
    (3, "GEPIII site 3", "America/New_York", -300, "kWh", None, None, "US", None),
    (4, "Berkeley, University of California", "America/Los_Angeles", -480, "kWh", 37.9, -122.3, "US", "CA"),
    (5, "GEPIII site 5", "Europe/London", 0, "kWh", None, None, "GB", None),
    (6, "GEPIII site 6", "America/New_York", -300, "kWh", None, None, "US", None),
    (7, "GEPIII site 7", "America/Toronto", -300, "kWh", None, None, "CA", None),
    (8, "GEPIII site 8", "America/New_York", -300, "kWh", None, None, "US", None),
    (9, "GEPIII site 9", "America/Chicago", -360, "kWh", None, None, "US", None),
    (10, "GEPIII site 10", "America/Denver", -420, "kWh", None, None, "US", None),
    (11, "GEPIII site 11", "America/Toronto", -300, "kWh", None, None, "CA", None),
    (12, "GEPIII site 12", "Europe/Dublin", 0, "kWh", None, None, "IE", None),
    (13, "GEPIII site 13", "America/Chicago", -360, "kWh", None, None, "US", None),
    (14, "GEPIII site 14", "America/New_York", -300, "kWh", None, None, "US", None),
    (15, "Ithaca, Cornell University", "America/New_York", -300, "kWh", 42.4, -76.5, "US", "NY"),
)

GEPIII_SITES = pl.DataFrame(_GEPIII, schema=SITE_SCHEMA, orient="row")


def ashrae_sites(folder: Path) -> pl.DataFrame:
    """Return the sites of a GEPIII folder in `SITE_SCHEMA`: its own `site_metadata.csv`, or the competition's table.

    Raises:
        SourceError: the folder's table has a wrong column, zone, unit or number.
    """
    path = folder / "site_metadata.csv"
    if not path.exists():
        return GEPIII_SITES
    declared = read_table(
        path,
        required={"site_id": pl.Int64, "timezone": pl.String},
        optional={name: dtype for name, dtype in SITE_SCHEMA.items() if name not in ("site_code", "timezone")},
        key="site_id",
    )
    offsets = [standard_offset_minutes(zone, place=str(path)) for zone in declared["timezone"]]
    sites = (
        declared.rename({"site_id": "site_code"})
        .with_columns(
            name=pl.col("name").fill_null(pl.format("Site {}", "site_code")),
            utc_offset_minutes=pl.col("utc_offset_minutes").fill_null(pl.Series(offsets, dtype=pl.Int64)),
            electricity_unit=pl.col("electricity_unit").fill_null("kWh"),
        )
        .select(SITE_SCHEMA.names())
    )
    unknown = set(sites["electricity_unit"]) - set(UNITS)
    if unknown:
        raise SourceError(f"{path}: electricity_unit {sorted(unknown)} is unknown; use one of {', '.join(UNITS)}.")
    return sites


def standard_offset_minutes(zone: str, *, place: str) -> int:
    """Return the standard-time offset of an IANA zone from UTC in minutes: the lesser of January's and July's in 2016.

    Raises:
        SourceError: the zone is unknown; the message names `place`.
    """
    try:
        clock = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SourceError(f"{place}: time zone {zone!r} is unknown; use an IANA name such as Europe/Berlin.") from error
    offsets = [datetime(2016, month, 1, tzinfo=clock).utcoffset() or timedelta(0) for month in (1, 7)]
    return int(min(offsets).total_seconds() // 60)
