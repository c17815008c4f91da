"""Where the sun stands, how bright a cloudless sky is, and how much of the light falls on a tilted plane.

Plain arithmetic on arrays, no weather service and no state; pvlib agrees (a test compares them) but takes a second to
load, which every forecast would pay. Angles in degrees, azimuth from north by east; irradiance in W/m2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

SOLAR_CONSTANT_W_M2 = 1361.0
_ALBEDO = 0.2
"""Of grass and of most ground, as everybody assumes who does not know better."""
_LEAST_ZENITH_COSINE = 0.065
"""Below some 4 degrees the direct light divided by the sine of the elevation grows without meaning."""


@dataclass(frozen=True, kw_only=True)
class Sun:
    """Position of the sun [time]: sine of its elevation, its direction, and the light outside of the air."""

    elevation_sine: Doubles
    east: Doubles
    north: Doubles
    extraterrestrial_w_m2: Doubles

    @property
    def clear_sky_w_m2(self) -> Doubles:
        """Return the global horizontal irradiance of a cloudless sky (Haurwitz 1945)."""
        cosine = np.maximum(self.elevation_sine, 0.0)
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(1098.0 * cosine * np.exp(-0.059 / np.maximum(cosine, 1e-3)))


def sun_at(minute: npt.NDArray[np.int64], *, latitude: float, longitude: float) -> Sun:
    """Return the sun at minutes since the epoch; declination, equation of time and distance after Spencer (1971)."""
    g = day_angle(minute)
    declination = declination_of(g)
    hour_angle = hour_angle_of(g, utc_hour=(minute % 1440) / 60, longitude=longitude)
    phi = np.pi / 180 * latitude
    distance = 1.00011 + 0.034221 * np.cos(g) + 0.00128 * np.sin(g)
    distance += 0.000719 * np.cos(2 * g) + 0.000077 * np.sin(2 * g)
    return Sun(
        elevation_sine=np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour_angle),
        east=-np.cos(declination) * np.sin(hour_angle),
        north=np.cos(phi) * np.sin(declination) - np.sin(phi) * np.cos(declination) * np.cos(hour_angle),
        extraterrestrial_w_m2=SOLAR_CONSTANT_W_M2 * distance,
    )


def day_angle(minute: npt.NDArray[np.int64]) -> Doubles:
    """Return the day of the year as an angle in radians."""
    date = (minute // 1440).astype("datetime64[D]")
    of_year: Doubles = (date - date.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.float64)
    return 2 * np.pi * of_year / 365


def declination_of(g: Doubles) -> Doubles:
    """Return the sun's declination in radians at a day's angle."""
    declination: Doubles = (
        0.006918
        - 0.399912 * np.cos(g)
        + 0.070257 * np.sin(g)
        - 0.006758 * np.cos(2 * g)
        + 0.000907 * np.sin(2 * g)
        - 0.002697 * np.cos(3 * g)
        + 0.00148 * np.sin(3 * g)
    )
    return declination


def hour_angle_of(g: Doubles, *, utc_hour: Doubles, longitude: float) -> Doubles:
    """Return the angle in radians by which the sun is past the meridian."""
    equation_minutes = 229.18 * (
        0.000075 + 0.001868 * np.cos(g) - 0.032077 * np.sin(g) - 0.014615 * np.cos(2 * g) - 0.040849 * np.sin(2 * g)
    )
    angle: Doubles = np.pi / 180 * (15 * (utc_hour - 12) + longitude + equation_minutes / 4)
    return angle


def incidence_of(sun: Sun, *, tilt_deg: float, azimuth_deg: float) -> Doubles:
    """Return the cosine of the angle between the sun and a plane's normal, 0 behind the plane."""
    tilt, azimuth = np.pi / 180 * tilt_deg, np.pi / 180 * azimuth_deg
    level = np.sin(azimuth) * sun.east + np.cos(azimuth) * sun.north
    return np.asarray(np.maximum(np.cos(tilt) * sun.elevation_sine + np.sin(tilt) * level, 0.0))


def on_plane(global_w_m2: Doubles, *, sun: Sun, incidence: Doubles, tilt_deg: float) -> Doubles:
    """Return the irradiance on a plane from that on the level ground.

    Direct and diffuse light are told apart after Erbs, Klein and Duffie (1982) and turned to the plane after Hay and
    Davies (1980), with light from the ground.
    """
    cosine = np.maximum(sun.elevation_sine, _LEAST_ZENITH_COSINE)
    clearness = np.clip(global_w_m2 / (sun.extraterrestrial_w_m2 * cosine), 0.0, 1.0)
    diffuse = global_w_m2 * diffuse_share(clearness)
    direct = np.where(sun.elevation_sine > 0, (global_w_m2 - diffuse) / cosine, 0.0)
    around_sun = direct / sun.extraterrestrial_w_m2
    tilt = np.cos(np.pi / 180 * tilt_deg)
    from_sky = diffuse * (around_sun * incidence / cosine + (1 - around_sun) * (1 + tilt) / 2)
    return np.asarray(direct * incidence + from_sky + global_w_m2 * _ALBEDO * (1 - tilt) / 2)


def diffuse_share(clearness: Doubles) -> Doubles:
    """Return the diffuse share of global irradiance by its clearness index (Erbs, Klein and Duffie 1982)."""
    k = clearness
    between = 0.9511 - 0.1604 * k + 4.388 * k**2 - 16.638 * k**3 + 12.336 * k**4
    return np.where(k <= 0.22, 1 - 0.09 * k, np.where(k > 0.8, 0.165, between))


def beneath_clouds(clear_sky_w_m2: Doubles, cloud_cover_fraction: Doubles) -> Doubles:
    """Return the global irradiance under a share of clouds (Kasten and Czeplak 1980)."""
    return np.asarray(clear_sky_w_m2 * (1 - 0.75 * np.clip(cloud_cover_fraction, 0, 1) ** 3.4))
