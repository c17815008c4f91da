"""Where the community stands: real coordinates and clocks, with climate normals written down from general knowledge.

The sixteen campuses follow the clocks that published solutions found for the sites of GEPIII; the towns are for the
households. Normals are rounded and serve the generator only: they are no climatological reference.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Place:
    """A site with its clock, coordinates and climate; `utc_offset_hours` is standard time, without daylight saving."""

    site_id: str
    name: str
    timezone: str
    country_code: str
    subdivision_code: str
    latitude: float
    longitude: float
    utc_offset_hours: int
    mean_c: float
    season_c: float
    diurnal_c: float
    synoptic_c: float
    cloud: float
    dew_depression_c: float
    wind_ms: float


def _place(site_id: str, name: str, where: tuple[str, str, str, float, float, int], *normals: float) -> Place:
    timezone, country_code, subdivision_code, latitude, longitude, offset = where
    mean_c, season_c, diurnal_c, synoptic_c, cloud, dew_depression_c, wind_ms = normals
    return Place(
        site_id=site_id,
        name=name,
        timezone=timezone,
        country_code=country_code,
        subdivision_code=subdivision_code,
        latitude=latitude,
        longitude=longitude,
        utc_offset_hours=offset,
        mean_c=mean_c,
        season_c=season_c,
        diurnal_c=diurnal_c,
        synoptic_c=synoptic_c,
        cloud=cloud,
        dew_depression_c=dew_depression_c,
        wind_ms=wind_ms,
    )


_NEW_YORK, _CHICAGO, _DENVER = "America/New_York", "America/Chicago", "America/Denver"

# Normals: annual mean, half the seasonal range, diurnal range, day-to-day deviation (C); cloud share; dew depression
# (C); mean wind (m/s).
CAMPUSES: tuple[Place, ...] = (
    _place("0", "Orlando", (_NEW_YORK, "US", "FL", 28.54, -81.38, -5), 22.8, 6.2, 10.5, 2.9, 0.48, 6.5, 3.3),
    _place("1", "London", ("Europe/London", "GB", "ENG", 51.52, -0.13, 0), 11.5, 6.6, 7.2, 3.0, 0.66, 3.8, 3.8),
    _place("2", "Tempe", ("America/Phoenix", "US", "AZ", 33.42, -111.93, -7), 23.9, 10.6, 14.5, 2.8, 0.22, 18.0, 2.8),
    _place("3", "Washington", (_NEW_YORK, "US", "DC", 38.90, -77.04, -5), 14.6, 11.8, 10.0, 4.4, 0.53, 6.6, 3.6),
    _place(
        "4", "Berkeley", ("America/Los_Angeles", "US", "CA", 37.87, -122.26, -8), 14.4, 3.6, 7.8, 2.3, 0.42, 4.6, 3.4
    ),
    _place("5", "Cardiff", ("Europe/London", "GB", "WLS", 51.48, -3.18, 0), 11.0, 5.9, 6.8, 2.8, 0.68, 3.0, 4.4),
    _place("6", "Richmond", (_NEW_YORK, "US", "VA", 37.54, -77.43, -5), 15.1, 11.1, 11.4, 4.3, 0.52, 6.0, 3.2),
    _place("7", "Ottawa", ("America/Toronto", "CA", "ON", 45.42, -75.70, -5), 6.9, 15.6, 9.6, 5.0, 0.58, 5.2, 3.9),
    _place("8", "Gainesville", (_NEW_YORK, "US", "FL", 29.65, -82.32, -5), 20.9, 7.1, 11.8, 3.3, 0.47, 5.6, 2.9),
    _place("9", "Austin", (_CHICAGO, "US", "TX", 30.27, -97.74, -6), 20.8, 9.5, 11.5, 4.2, 0.48, 8.0, 3.7),
    _place("10", "Salt Lake City", (_DENVER, "US", "UT", 40.76, -111.89, -7), 11.9, 13.8, 12.5, 4.0, 0.44, 11.0, 3.8),
    _place("11", "Kingston", ("America/Toronto", "CA", "ON", 44.23, -76.49, -5), 7.6, 14.2, 8.6, 4.7, 0.57, 4.6, 4.1),
    _place("12", "Dublin", ("Europe/Dublin", "IE", "", 53.34, -6.26, 0), 9.9, 5.1, 6.6, 2.6, 0.70, 2.9, 5.2),
    _place("13", "Minneapolis", (_CHICAGO, "US", "MN", 44.98, -93.27, -6), 8.1, 16.6, 9.8, 5.2, 0.54, 6.0, 4.5),
    _place("14", "Princeton", (_NEW_YORK, "US", "NJ", 40.35, -74.66, -5), 12.0, 12.2, 10.6, 4.4, 0.53, 6.0, 3.4),
    _place("15", "Ithaca", (_NEW_YORK, "US", "NY", 42.44, -76.50, -5), 8.6, 12.9, 10.5, 4.6, 0.61, 4.8, 3.6),
)

_BERLIN = "Europe/Berlin"
TOWNS: tuple[Place, ...] = (
    _place("freiburg", "Freiburg", (_BERLIN, "DE", "BW", 47.99, 7.85, 1), 11.6, 9.2, 9.4, 3.6, 0.60, 5.2, 2.6),
    _place("utrecht", "Utrecht", ("Europe/Amsterdam", "NL", "", 52.09, 5.12, 1), 10.6, 7.4, 7.8, 3.2, 0.65, 3.8, 3.9),
    _place("graz", "Graz", ("Europe/Vienna", "AT", "6", 47.07, 15.44, 1), 10.2, 10.3, 10.0, 3.5, 0.57, 4.8, 1.9),
    _place("lyon", "Lyon", ("Europe/Paris", "FR", "", 45.76, 4.84, 1), 12.9, 9.4, 9.8, 3.5, 0.54, 5.8, 3.1),
    _place("aarhus", "Aarhus", ("Europe/Copenhagen", "DK", "", 56.16, 10.20, 1), 8.9, 8.2, 6.6, 2.9, 0.66, 3.2, 4.6),
)
