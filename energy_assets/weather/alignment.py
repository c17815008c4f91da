"""Whether a site's clock and its weather agree: the warmest hour of a place comes in its early afternoon.

A weather file on another clock than the loader believes shows here as hours, long before it shows as a poor forecast.
"""

from __future__ import annotations

import numpy as np
import polars as pl

USUAL_PEAK_SOLAR_HOUR = 14.7
"""Solar hour at which the daily first harmonic of air temperature peaks on land, in the mean of a year."""
LARGEST_FIT_H = 3.0
"""Coasts, valleys and seasons move the peak by up to this much without any clock being wrong."""

_LEAST_DAYS = 20
_LEAST_AMPLITUDE_C = 0.8


def clock_fit(observed: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """Return how many hours each site's temperature runs from where the sun says that it should.

    Args:
        observed: rows of weather.observed; sites with fewer than 20 days, or hardly any daily cycle, are left out.
        sites: rows of metering.sites; the longitude gives solar time, and where it is null the time zone's winter.

    Returns:
        site_id, days, amplitude_c, peak_solar_hour, hours_off (-12 .. 12, positive: the peak comes late).
    """
    hourly = (
        observed.drop_nulls("temperature_c")
        .group_by("site_id", hour=pl.col("starts_at_utc").dt.hour())
        .agg(temperature_c=pl.col("temperature_c").mean(), days=pl.len())
        .sort("site_id", "hour")
    )
    found = []
    for (site_id,), cycle in hourly.group_by("site_id", maintain_order=True):
        place = sites.filter(pl.col("site_id") == site_id)
        if cycle.height < 24 or place.is_empty():
            continue
        days = int(cycle["days"].min())  # type: ignore[arg-type]
        harmonic = np.fft.rfft(cycle["temperature_c"].to_numpy())[1] / 12
        if days < _LEAST_DAYS or abs(harmonic) < _LEAST_AMPLITUDE_C:
            continue
        # The value of an hour stands for its middle.
        peak_utc = (-np.angle(harmonic) * 12 / np.pi + 0.5) % 24
        peak_solar = (peak_utc + solar_offset_h(place.row(0, named=True))) % 24
        off = (peak_solar - USUAL_PEAK_SOLAR_HOUR + 12) % 24 - 12
        found.append((site_id, days, float(abs(harmonic)), float(peak_solar), float(off)))
    schema = {"site_id": pl.String, "days": pl.Int64, "amplitude_c": pl.Float64, "peak_solar_hour": pl.Float64}
    return pl.DataFrame(found, schema=schema | {"hours_off": pl.Float64}, orient="row")


def solar_offset_h(site: dict[str, object]) -> float:
    """Return the hours from UTC to the mean solar time of a site: a row of metering.sites."""
    longitude = site.get("longitude")
    if isinstance(longitude, float):
        return longitude / 15
    winter = pl.Series(["2020-01-15 12:00:00"]).str.to_datetime(time_zone="UTC").dt.convert_time_zone(
        str(site["timezone"])
    )  # fmt: skip
    return float(winter.dt.base_utc_offset().dt.total_seconds()[0]) / 3600
