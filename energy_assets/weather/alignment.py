"""Whether a site's clocks agree: of its weather with the sun, and of its readings with the weather.

The warmest hour of a place comes in its early afternoon; and where a load follows the weather, its departures from the
usual day come with those of the temperature. A file on another clock than the loader believes shows here as hours, long
before it shows as a poor forecast.
"""

from __future__ import annotations

import numpy as np
import polars as pl

USUAL_PEAK_SOLAR_HOUR = 14.7
"""Solar hour at which the daily first harmonic of air temperature peaks on land, in the mean of a year."""
LARGEST_FIT_H = 3.0
"""Coasts, valleys and seasons move the peak by up to this much without any clock being wrong."""

LARGEST_LAG_H = 3
"""Buildings answer the weather within this many hours; gas and air conditioning within one."""

_LEAST_DAYS = 20
_LEAST_RESPONSE_DAYS = 40
_LEAST_RESPONSE = 0.45
"""Correlation below which a load does not follow the weather clearly enough to tell its clock; above it, 60 to 90 days
of the real sets (gas and electricity of 22 buildings, 7 meters of another town, a whole state) were within 3 hours."""
_LAGS_H = range(-12, 13)
_SEASON_DAYS = 30
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


def response_fit(load: pl.DataFrame, observed: pl.DataFrame) -> pl.DataFrame:
    """Return by how many hours the load of each site follows the temperature, hour against hour.

    Compared are departures: from the mean of the hour (of working days and days of rest apart, within a month) and from
    the day's own mean. Schedules and seasons are gone then; fronts, clouds and the heat of the hour remain.

    Args:
        load: site_id, commodity, starts_at_utc (hours), energy_kwh: the mean or sum of the site's meters.
        observed: rows of weather.observed of the same time.

    Returns:
        site_id, commodity, days, correlation (the strongest, of either sign), hours_off (positive: the load comes
        late). Loads that hardly follow the weather, or that have fewer than 40 days, are left out.
    """
    weather = {
        str(site): frame.select("starts_at_utc", value="temperature_c")
        for (site,), frame in observed.group_by("site_id", maintain_order=True)
    }
    found = []
    for (site, commodity), own in load.group_by("site_id", "commodity", maintain_order=True):
        if str(site) not in weather:
            continue
        both = own.select("starts_at_utc", load="energy_kwh").join(
            weather[str(site)], on="starts_at_utc", how="full", coalesce=True
        )
        hours = both.sort("starts_at_utc").upsample("starts_at_utc", every="1h")
        days = hours.drop_nulls().height // 24
        if days < _LEAST_RESPONSE_DAYS:
            continue
        departures = hours.select(_departure("load"), _departure("value")).fill_null(float("nan")).to_numpy()
        correlations = [_correlation(departures[:, 0], np.roll(departures[:, 1], lag)) for lag in _LAGS_H]
        strongest = int(np.argmax(np.abs(correlations)))
        if abs(correlations[strongest]) >= _LEAST_RESPONSE:
            found.append((site, commodity, days, correlations[strongest], _LAGS_H[strongest]))
    schema = {"site_id": pl.String, "commodity": pl.String, "days": pl.Int64, "correlation": pl.Float64}
    return pl.DataFrame(found, schema=schema | {"hours_off": pl.Int64}, orient="row")


def _departure(name: str) -> pl.Expr:
    at = pl.col("starts_at_utc").dt
    season = at.epoch("d") // _SEASON_DAYS
    from_hour = pl.col(name) - pl.col(name).mean().over(season, at.hour(), at.weekday() > 5)
    return (from_hour - from_hour.mean().over(at.date())).alias(name)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 24 or not one[both].std() or not other[both].std():
        return 0.0
    return float(np.corrcoef(one[both], other[both])[0, 1])


def solar_offset_h(site: dict[str, object]) -> float:
    """Return the hours from UTC to the mean solar time of a site: a row of metering.sites."""
    longitude = site.get("longitude")
    if isinstance(longitude, float):
        return longitude / 15
    winter = pl.Series(["2020-01-15 12:00:00"]).str.to_datetime(time_zone="UTC").dt.convert_time_zone(
        str(site["timezone"])
    )  # fmt: skip
    return float(winter.dt.base_utc_offset().dt.total_seconds()[0]) / 3600
