"""The weather that drives everything: hourly truth per place, drawn month by month, alike in neighbouring places.

Pressure systems, air masses, fronts and clouds are smooth random fields on a coarse grid of anchors; a place sees the
anchors around it by distance. Climate normals, sun and cloud then make temperature, humidity, wind, rain, irradiance.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from energy_assets.community.places import Place
from energy_assets.community.solar import irradiance, sun_position
from energy_assets.community.streams import Array, days_in, first_day_of, hour_of, stream

REACH_KM = 650.0
KM_PER_DEGREE = 111.2
ANCHOR_LATITUDE_STEP, ANCHOR_LONGITUDE_STEP = 5, 6
# Memory of the latent fields in hours: air mass, pressure, cloud, wind, gusts and showers.
_MEMORY_HOURS = (64.0, 40.0, 9.0, 14.0, 2.5)
_FRONTS_PER_DAY = 0.22


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Hourly series from `first_hour` (hours since 1970 in UTC, start of the hour); units in the names."""

    first_hour: int
    temperature_c: Array
    dew_point_c: Array
    wind_speed_ms: Array
    wind_direction_deg: Array
    cloud_cover_fraction: Array
    transmittance: Array
    precipitation_mm: Array
    sea_level_pressure_hpa: Array
    global_horizontal_irradiance_w_m2: Array
    direct_normal_irradiance_w_m2: Array
    diffuse_horizontal_irradiance_w_m2: Array

    def between(self, start: int, end: int) -> Weather:
        """Return the hours `[start, end)`, given in hours since 1970 UTC."""
        cut = slice(start - self.first_hour, end - self.first_hour)
        series = {f.name: getattr(self, f.name)[cut] for f in fields(self) if f.name != "first_hour"}
        return Weather(first_hour=start, **series)


def simulate_weather(place: Place, *, seed: int, first_block: int, last_block: int) -> Weather:
    """Return the truth of a place for whole months; a month is the same whichever months are asked for."""
    months = [_month(place, seed=seed, block=block) for block in range(first_block, last_block + 1)]
    series = {
        f.name: np.concatenate([getattr(month, f.name) for month in months])
        for f in fields(Weather)
        if f.name != "first_hour"
    }
    return Weather(first_hour=months[0].first_hour, **series)


def relative_humidity(temperature_c: Array, dew_point_c: Array) -> Array:
    """Return relative humidity as a fraction (Magnus form with the coefficients of Alduchov and Eskridge 1996)."""
    ratio: Array = np.exp(
        17.625 * dew_point_c / (243.04 + dew_point_c) - 17.625 * temperature_c / (243.04 + temperature_c)
    )
    return ratio


def transmittance_of(cloud: Array, flicker: Array) -> Array:
    """Return the share of clear-sky irradiance below clouds (Kasten and Czeplak 1980), with broken-cloud scatter."""
    broken = 4 * cloud * (1 - cloud)
    share: Array = np.clip((1 - 0.75 * cloud**3.4) * (1 + (0.03 + 0.16 * broken) * flicker), 0.04, 1.08)
    return share


@lru_cache(maxsize=4096)
def _anchor(seed: int, row: int, column: int, block: int) -> tuple[Array, Array]:
    """Return the latent fields (5, hours) of one anchor for the month before and the month, and its front series."""
    from scipy.signal import lfilter

    noise, fronts = [], []
    for month in (block - 1, block):
        hours = days_in(month) * 24
        generator = stream(seed, "anchor", row, column, block=month)
        noise.append(generator.standard_normal((len(_MEMORY_HOURS), hours)))
        fronts.append((generator.random(hours) < _FRONTS_PER_DAY / 24) * generator.gamma(2.0, 1.6, hours))
    latent = np.concatenate(noise, axis=1)
    for index, memory in enumerate(_MEMORY_HOURS):
        phi = np.exp(-1 / memory)
        latent[index] = lfilter([np.sqrt(1 - phi**2)], [1, -phi], latent[index])
    # A second pass makes the pressure field smooth: systems pass, they do not jump.
    phi = np.exp(-1 / 14.0)
    latent[1] = lfilter([1 - phi], [1, -phi], latent[1]) * 1.16
    strength = np.concatenate(fronts)
    fall = lfilter([1.0], [1, -np.exp(-1 / 30.0)], lfilter([1 / 3, 1 / 3, 1 / 3], [1.0], strength))
    return latent, np.stack([fall - _FRONTS_PER_DAY / 24 * 3.2 / (1 - np.exp(-1 / 30.0)), strength])


def _nearby(place: Place) -> list[tuple[int, int, float]]:
    shrink = np.cos(np.deg2rad(place.latitude))
    rows = range(
        int((place.latitude - 16) // ANCHOR_LATITUDE_STEP), int((place.latitude + 16) // ANCHOR_LATITUDE_STEP) + 1
    )
    columns = range(
        int((place.longitude - 22) // ANCHOR_LONGITUDE_STEP), int((place.longitude + 22) // ANCHOR_LONGITUDE_STEP) + 1
    )
    near = []
    for row in rows:
        for column in columns:
            north = (row * ANCHOR_LATITUDE_STEP - place.latitude) * KM_PER_DEGREE
            east = (column * ANCHOR_LONGITUDE_STEP - place.longitude) * KM_PER_DEGREE * shrink
            weight = float(np.exp(-(north**2 + east**2) / REACH_KM**2))
            if weight > 0.01:
                near.append((row, column, weight))
    return near


def _latent(place: Place, *, seed: int, block: int) -> tuple[Array, Array]:
    near = _nearby(place)
    scale = np.sqrt(sum(weight**2 for _, _, weight in near))
    latent = sum(weight / scale * _anchor(seed, row, column, block)[0] for row, column, weight in near)
    # One front at a time: averaging the fronts of several anchors would smooth them away.
    row, column, _ = max(near, key=lambda item: item[2])
    return np.asarray(latent), _anchor(seed, row, column, block)[1]


def _month(place: Place, *, seed: int, block: int) -> Weather:
    latent, (front, front_strength) = _latent(place, seed=seed, block=block)
    air, pressure, cloudiness, windiness, gust = latent
    hours = hour_of(first_day_of(block - 1)) + np.arange(latent.shape[1])
    own = days_in(block) * 24
    local = np.concatenate(
        [stream(seed, "place", place.name, block=b).standard_normal((4, days_in(b) * 24)) for b in (block - 1, block)],
        axis=1,
    )
    season = -np.cos(2 * np.pi * (hours / 24 - 23 - 4 * (place.season_c < 8)) / 365.2425)
    cold_half = (1 - season) / 2
    cloud = _cloud(
        place, pressure=pressure, cloudiness=cloudiness + 0.25 * local[0], front=front_strength, cold=cold_half
    )
    cos_zenith, _, beyond = sun_position((hours + 0.5) * 3600.0, latitude=place.latitude, longitude=place.longitude)
    transmittance = transmittance_of(cloud, local[1])
    sun = irradiance(cos_zenith, beyond, transmittance)
    temperature = _temperature(
        place, hours=hours, season=season, cloud=cloud, air=air, pressure=pressure, front=front, noise=local[2]
    )
    dew = _dew_point(place, temperature=temperature, cloud=cloud, air=air, season=season, noise=windiness)
    wind = _wind_speed(place, hours=hours, windiness=windiness, pressure=pressure, gust=gust, cold=cold_half)
    raining = (cloud > 0.8) & (gust + 0.5 * cloudiness - 0.5 * pressure > 1.15)
    rain = np.where(raining, 0.35 * np.exp(0.9 * local[3] + 0.5 * (1 + season)), 0.0)
    direction = (250 + 70 * pressure + 60 * windiness + 25 * gust - 6 * front) % 360
    series = {
        "temperature_c": temperature,
        "dew_point_c": dew,
        "wind_speed_ms": wind,
        "wind_direction_deg": direction,
        "cloud_cover_fraction": cloud,
        "transmittance": transmittance,
        "precipitation_mm": np.minimum(rain, 60.0),
        "sea_level_pressure_hpa": 1015.5
        + (4.0 + 5.0 * cold_half) * pressure * np.clip((place.latitude - 15) / 30, 0.4, 1.3),
        "global_horizontal_irradiance_w_m2": sun[0],
        "direct_normal_irradiance_w_m2": sun[1],
        "diffuse_horizontal_irradiance_w_m2": sun[2],
    }
    return Weather(first_hour=int(hours[-own]), **{name: values[-own:] for name, values in series.items()})


def _cloud(place: Place, *, pressure: Array, cloudiness: Array, front: Array, cold: Array) -> Array:
    """Return cloud cover: mostly clear or overcast, seldom between, as observers report it."""
    inclination = 2.6 * (place.cloud - 0.5) + 0.35 * (cold - 0.5) * (place.latitude > 40)
    latent = inclination - 0.75 * pressure + 0.95 * cloudiness + 0.5 * np.minimum(front, 4)
    cover: Array = 1 / (1 + np.exp(-2.4 * latent))
    return cover


def _temperature(
    place: Place, *, hours: Array, season: Array, cloud: Array, air: Array, pressure: Array, front: Array, noise: Array
) -> Array:
    from scipy.signal import lfilter

    phi = np.exp(-1 / 8.0)
    clear = 1 - lfilter([1 - phi], [1, -phi], cloud)
    solar_hour = (hours + 0.5 + place.longitude / 15) % 24
    wave = np.cos(2 * np.pi * (solar_hour - 15.2) / 24) + 0.22 * np.cos(4 * np.pi * (solar_hour - 14.4) / 24)
    diurnal = place.diurnal_c / 2 * (0.45 + 0.95 * clear) * (1 + 0.22 * season) * wave
    spread = place.synoptic_c * (1 - 0.4 * season)
    departure = 0.85 * air - 0.25 * pressure - 0.16 * front
    # Overcast keeps winter nights mild and summer days cool.
    blanket = -1.6 * season * (cloud - place.cloud)
    temperature: Array = (
        place.mean_c
        + place.season_c * season
        + spread * (departure - 0.05 * departure**2)
        + diurnal
        + blanket
        + 0.22 * noise
    )
    return np.clip(temperature, -60, 52)


def _dew_point(place: Place, *, temperature: Array, cloud: Array, air: Array, season: Array, noise: Array) -> Array:
    from scipy.signal import lfilter

    phi = np.exp(-1 / 20.0)
    mean = lfilter([1 - phi], [1, -phi], temperature - place.mean_c) + place.mean_c
    dryness = place.dew_depression_c * np.exp(0.25 * season + 0.25 * noise - 0.15 * air) * (1.45 - 0.8 * cloud)
    dew: Array = np.minimum(mean - dryness, temperature - 0.05)
    return dew


def _wind_speed(place: Place, *, hours: Array, windiness: Array, pressure: Array, gust: Array, cold: Array) -> Array:
    solar_hour = (hours + 0.5 + place.longitude / 15) % 24
    breeze = 1 + 0.28 * np.cos(2 * np.pi * (solar_hour - 15) / 24)
    storm = np.exp(0.36 * windiness - 0.20 * pressure + 0.16 * gust - 0.10)
    speed: Array = np.clip(place.wind_ms * breeze * storm * (0.9 + 0.25 * cold), 0, 40)
    return speed
