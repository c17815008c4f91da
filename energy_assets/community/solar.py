"""The sun: where it stands, and how much of it arrives at the ground and on a tilted plane.

Position: NOAA's low-accuracy equations (Fourier series of declination and equation of time after Spencer 1971), good to
about 0.3 degrees. Clear sky: Haurwitz 1945. Split into beam and diffuse: Erbs, Klein and Duffie 1982. Tilted plane:
isotropic sky (Liu and Jordan 1963).
"""

from __future__ import annotations

import numpy as np

from energy_assets.community.streams import Array

SOLAR_CONSTANT_W_M2 = 1361.0
MINIMUM_COS_ZENITH = 0.065
SECONDS_PER_DAY = 86_400


def sun_position(seconds: Array, *, latitude: float, longitude: float) -> tuple[Array, Array, Array]:
    """Return cosine of zenith, azimuth (radians, clockwise from north) and extraterrestrial irradiance (W/m2).

    `seconds` are Unix seconds of the instants; give the middle of an interval for its mean.
    """
    days = seconds / SECONDS_PER_DAY
    year_angle = 2 * np.pi * ((days - 0.5) % 365.2425 + 0.5) / 365.2425
    declination = (
        0.006918
        - 0.399912 * np.cos(year_angle)
        + 0.070257 * np.sin(year_angle)
        - 0.006758 * np.cos(2 * year_angle)
        + 0.000907 * np.sin(2 * year_angle)
        - 0.002697 * np.cos(3 * year_angle)
        + 0.00148 * np.sin(3 * year_angle)
    )
    equation_of_time_minutes = 229.18 * (
        0.000075
        + 0.001868 * np.cos(year_angle)
        - 0.032077 * np.sin(year_angle)
        - 0.014615 * np.cos(2 * year_angle)
        - 0.040849 * np.sin(2 * year_angle)
    )
    solar_minutes = (seconds % SECONDS_PER_DAY) / 60 + 4 * longitude + equation_of_time_minutes
    hour_angle = np.deg2rad(solar_minutes / 4 - 180)
    phi = np.deg2rad(latitude)
    cos_zenith = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour_angle)
    azimuth = np.pi + np.arctan2(
        np.sin(hour_angle), np.cos(hour_angle) * np.sin(phi) - np.tan(declination) * np.cos(phi)
    )
    extraterrestrial = SOLAR_CONSTANT_W_M2 * (1 + 0.033 * np.cos(year_angle))
    return cos_zenith, azimuth, extraterrestrial


def irradiance(cos_zenith: Array, extraterrestrial: Array, transmittance: Array) -> tuple[Array, Array, Array]:
    """Return global horizontal, direct normal and diffuse horizontal irradiance in W/m2.

    `transmittance` is the share of the clear sky's global irradiance that the clouds leave (Kasten and Czeplak 1980 for
    its relation to cloud cover). The three close: global = direct x cos(zenith) + diffuse.
    """
    up = np.maximum(cos_zenith, 0.0)
    clear = np.where(up > 0, 1098 * up * np.exp(-0.057 / np.maximum(up, 1e-3)), 0.0)
    global_horizontal = clear * transmittance
    clearness = np.clip(global_horizontal / np.maximum(extraterrestrial * up, 1.0), 0, 1)
    middle = 0.9511 - 0.1604 * clearness + 4.388 * clearness**2 - 16.638 * clearness**3 + 12.336 * clearness**4
    diffuse_share = np.where(clearness <= 0.22, 1 - 0.09 * clearness, np.where(clearness <= 0.8, middle, 0.165))
    diffuse_share = np.where(up < MINIMUM_COS_ZENITH, 1.0, diffuse_share)
    diffuse = global_horizontal * diffuse_share
    direct = (global_horizontal - diffuse) / np.maximum(up, MINIMUM_COS_ZENITH)
    return global_horizontal, direct, diffuse


def plane_irradiance(
    *,
    direct: Array,
    diffuse: Array,
    global_horizontal: Array,
    cos_zenith: Array,
    azimuth: Array,
    tilt: Array,
    facing: Array,
) -> Array:
    """Return irradiance on tilted planes in W/m2, shape (planes, times); `tilt` and `facing` in radians per plane."""
    zenith = np.arccos(np.clip(cos_zenith, -1, 1))
    cos_incidence = np.cos(zenith)[None] * np.cos(tilt)[:, None] + np.sin(zenith)[None] * np.sin(tilt)[
        :, None
    ] * np.cos(azimuth[None] - facing[:, None])
    beam = direct[None] * np.maximum(cos_incidence, 0.0)
    sky = diffuse[None] * (1 + np.cos(tilt))[:, None] / 2
    ground = 0.2 * global_horizontal[None] * (1 - np.cos(tilt))[:, None] / 2
    plane: Array = beam + sky + ground
    return plane
