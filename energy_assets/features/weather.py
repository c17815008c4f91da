"""What the weather, as it was known at the issue, says of a slot: hourly values, their means and degrees.

Takes the as-known frame of `energy_assets.weather` and never asks how it came about; hours that are not in it are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import UTC_TIME, WEATHER_QUANTITIES
from energy_assets.features.history import Floats, Ints
from energy_assets.features.horizon import minute_of
from energy_assets.features.lags import mean_of_known
from energy_assets.features.response import COOLING_BASE_C, HEATING_BASE_C, Response
from energy_assets.weather.derived import wind_chill

DIRECT_QUANTITIES = (
    "temperature_c",
    "dew_point_c",
    "relative_humidity_fraction",
    "wind_speed_ms",
    "cloud_cover_fraction",
    "global_horizontal_irradiance_w_m2",
)
WIND_CHILL_FEATURES = ("wind_chill_c",)
"""Known with wind; a group of its own, as it helps few."""
_HELD = (*DIRECT_QUANTITIES, *WIND_CHILL_FEATURES)
WEATHER_FEATURES = (
    *DIRECT_QUANTITIES,
    "temperature_24h_mean_c",
    "temperature_72h_mean_c",
    "irradiance_24h_mean_w_m2",
    "heating_degrees_c",
    "cooling_degrees_c",
    "temperature_change_day_c",
    "temperature_change_week_c",
    "temperature_since_yesterday_c",
    "temperature_since_last_week_c",
    "degree_shift_kwh",
)
HOURS_BEFORE = 168
HOURS_AFTER = 96


@dataclass(frozen=True, kw_only=True)
class KnownWeather:
    """Weather as known: `values` [issue, site, hour, quantity], hour 0 being HOURS_BEFORE the issue's hour."""

    values: Floats
    site_index: dict[str, int]
    issue_index: dict[int, int]


def to_known_weather(weather: pl.DataFrame | None, *, issues: Sequence[datetime]) -> KnownWeather | None:
    """Return the as-known frame (site_id, issued_at_utc, starts_at_utc, quantities) as an array, None without rows.

    Quantities that the frame lacks are NaN. Rows for other issues or hours too far away are left out.
    """
    if weather is None or weather.is_empty():
        return None
    present = [name for name in DIRECT_QUANTITIES if name in weather.columns]
    minutes = {minute_of(issue): index for index, issue in enumerate(issues)}
    sites = {site: index for index, site in enumerate(weather["site_id"].unique().sort())}
    rows = weather.lazy().select(
        pl.col("site_id").replace_strict(sites, return_dtype=pl.Int64).alias("site"),
        pl.col("issued_at_utc").dt.epoch("us").floordiv(60_000_000).alias("issue"),
        pl.col("starts_at_utc").dt.epoch("us").floordiv(3_600_000_000).alias("hour"),
        *(pl.col(name).cast(pl.Float32) for name in present),
    )
    rows = rows.with_columns(offset=pl.col("hour") - pl.col("issue").floordiv(60) + HOURS_BEFORE)
    known = rows.filter(
        pl.col("issue").is_in(list(minutes)), pl.col("offset").is_between(0, HOURS_BEFORE + HOURS_AFTER - 1)
    ).collect()
    if {"temperature_c", "wind_speed_ms"} <= set(present):
        known = known.with_columns(wind_chill_c=wind_chill(pl.col("temperature_c"), pl.col("wind_speed_ms")))
        present += WIND_CHILL_FEATURES
    shape = (len(issues), len(sites), HOURS_BEFORE + HOURS_AFTER, len(_HELD))
    values = np.full(shape, np.nan, dtype=np.float32)
    issue = known["issue"].replace_strict(minutes, return_dtype=pl.Int64).to_numpy()
    place = issue, known["site"].to_numpy(), known["offset"].to_numpy()
    for name in present:
        values[(*place, _HELD.index(name))] = known[name].to_numpy()
    return KnownWeather(values=values, site_index=sites, issue_index=minutes)


def hours_of(known: KnownWeather | None, *, site_id: str, issue_minute: int) -> Floats | None:
    """Return the weather [hour, quantity] of a site at an issue, None where there is none."""
    if known is None or site_id not in known.site_index or issue_minute not in known.issue_index:
        return None
    of_site: Floats = known.values[known.issue_index[issue_minute], known.site_index[site_id]]
    return of_site


def hour_positions(slot_minute: Ints, *, issue_minute: int) -> Ints:
    """Return the position of the hour of slots [row] in the weather of an issue, -1 beyond it."""
    column = slot_minute // 60 - issue_minute // 60 + HOURS_BEFORE
    return np.where((column >= 0) & (column < HOURS_BEFORE + HOURS_AFTER), column, -1)


def weather_features(
    hours: Floats | None, *, response: Response, meter: Ints, issue_minute: int, slot_minute: Ints
) -> dict[str, Floats]:
    """Return WEATHER_FEATURES and WIND_CHILL_FEATURES for rows of (meter, slot) of a site from its `hours_of`.

    NaN where nothing is known.

    `response` is that of all meters that `meter` counts.
    """
    if hours is None:
        return dict.fromkeys(
            (*WEATHER_FEATURES, *WIND_CHILL_FEATURES), np.full(len(slot_minute), np.nan, dtype=np.float32)
        )
    column = hour_positions(slot_minute, issue_minute=issue_minute)
    inside = column >= 0
    column = np.where(inside, column, 0)

    def at_slots(series: Floats) -> Floats:
        return np.where(inside, series[column], np.float32(np.nan))

    temperature = hours[:, DIRECT_QUANTITIES.index("temperature_c")]
    mean_24h = trailing_mean(temperature, hours=24)
    of_day = at_slots(mean_24h)
    before_day = mean_24h[HOURS_BEFORE - 1]
    before_week = mean_of_known(temperature[None, :HOURS_BEFORE])[0]
    irradiance = hours[:, DIRECT_QUANTITIES.index("global_horizontal_irradiance_w_m2")]
    return {
        **{name: at_slots(hours[:, index]) for index, name in enumerate(_HELD)},
        "temperature_24h_mean_c": of_day,
        "temperature_72h_mean_c": at_slots(trailing_mean(temperature, hours=72)),
        "irradiance_24h_mean_w_m2": at_slots(trailing_mean(irradiance, hours=24)),
        "temperature_change_day_c": of_day - before_day,
        "temperature_change_week_c": of_day - before_week,
        "temperature_since_yesterday_c": at_slots(temperature - _earlier(temperature, hours=24)),
        "temperature_since_last_week_c": at_slots(temperature - _earlier(temperature, hours=168)),
        **_degrees(response, meter=meter, of_day=of_day, before=mean_24h[:HOURS_BEFORE]),
    }


def _degrees(response: Response, *, meter: Ints, of_day: Floats, before: Floats) -> dict[str, Floats]:
    """Return degrees beyond the usual balance points, and what the meter's own answer asks for beyond last week's.

    Degrees keep to one balance point for all: points that differ by meter and week cost trees more than they tell.
    """
    columns: dict[str, Floats] = {}
    shift, known = np.zeros(len(meter), dtype=np.float32), np.zeros(len(meter), dtype=np.bool_)
    sides = (
        ("heating_degrees_c", HEATING_BASE_C, response.heating_base_c, response.heating_kwh_per_c, -1),
        ("cooling_degrees_c", COOLING_BASE_C, response.cooling_base_c, response.cooling_kwh_per_c, 1),
    )
    for name, usual_base, base, slope, sign in sides:
        serves = np.isfinite(base[meter])
        degrees = np.maximum(np.float32(sign) * (of_day - np.float32(usual_base)), 0)
        columns[name] = np.where(serves, degrees, np.float32(np.nan))
        bases, position = np.unique(base[meter], return_inverse=True)
        usual = mean_of_known(np.maximum(np.float32(sign) * (before[None, :] - bases[:, None]), 0))
        beyond = np.maximum(np.float32(sign) * (of_day - base[meter]), 0) - usual[position]
        shift += np.where(serves, slope[meter] * beyond, 0)
        known |= serves
    return {**columns, "degree_shift_kwh": np.where(known, shift, np.float32(np.nan))}


def trailing_mean(series: Floats, *, hours: int) -> Floats:
    """Return the mean of what is known in the last `hours` values, this one included."""
    padded = np.concatenate([np.full(hours - 1, np.nan, dtype=np.float32), series])
    return mean_of_known(np.lib.stride_tricks.sliding_window_view(padded, hours))


def _earlier(series: Floats, *, hours: int) -> Floats:
    return np.concatenate([np.full(hours, np.nan, dtype=np.float32), series[:-hours]])


def as_its_own_forecast(observed: pl.DataFrame, *, issues: Sequence[datetime]) -> pl.DataFrame:
    """Return an as-known frame in which the observed weather stands for a perfect forecast at every issue.

    For back-tests on data without stored forecasts; the skill it shows is an upper bound.
    """
    quantities = [name for name in WEATHER_QUANTITIES if name in observed.columns]
    before, after = timedelta(hours=HOURS_BEFORE), timedelta(hours=HOURS_AFTER)
    spans = pl.DataFrame({"issued_at_utc": list(issues)}, schema={"issued_at_utc": UTC_TIME}).with_columns(
        from_utc=pl.col("issued_at_utc") - before, to_utc=pl.col("issued_at_utc") + after
    )
    hours = spans.select(
        "issued_at_utc",
        starts_at_utc=pl.datetime_ranges(pl.col("from_utc").dt.truncate("1h"), "to_utc", "1h", closed="left"),
    ).explode("starts_at_utc")
    return hours.join(
        observed.select("site_id", "starts_at_utc", *quantities), on="starts_at_utc", how="inner", validate="m:m"
    )
