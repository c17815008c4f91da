"""What photovoltaics behind a meter make of the light: the plane they lie in, and kWh per watt on that plane.

The plane is the declared one, else the candidate that follows the meter's own last weeks best. A meter that counts
production is compared with the light itself; one that counts what is left (net load, feed-in) with how the light of an
hour departs from that of the same hour on other days, since its people have hours too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_assets.features.history import Bools, Floats, Ints, Known
from energy_assets.features.lags import mean_of_known
from energy_assets.features.response import RECENT_FIT_DAYS
from energy_assets.features.sun import Doubles, Sun, beneath_clouds, incidence_of, on_plane, sun_at

CANDIDATES_DEG = ((0.0, 0.0), *((tilt, turn) for tilt in (20.0, 45.0) for turn in (-90.0, -45.0, 0.0, 45.0, 90.0)))
"""Tilt, and turn from the equator's side towards the west."""
ROOF_FEATURES = ("pv_clear_sky_kwh",)
"""Known without any weather."""
PV_FEATURES = ("plane_irradiance_w_m2", "pv_expected_kwh", "pv_shift_kwh")
_LESS_PER_KELVIN = 0.004
"""Of crystalline silicon (PVWatts 5: 0.35 to 0.47 %)."""
_CELL_ABOVE_AIR_K_PER_W_M2 = 25 / 800
"""Nominal operating cell temperature of 45 degrees at 800 W/m2 and 20 degrees (Ross 1976)."""
_REFERENCE_CELL_C, _ASSUMED_AIR_C = 25.0, 15.0
_LEAST_KNOWN_HOURS = 7 * 24
_LEAST_EXPLAINED_OF_PRODUCTION, _LEAST_EXPLAINED_OF_NET = 0.3, 0.03
_LEAST_CLEAR_SKY_W_M2 = 20.0


@dataclass(frozen=True, kw_only=True)
class Sky:
    """The sun over a place in consecutive steps: its position, the clear sky, and how it stands to each plane."""

    sun: Sun
    clear_sky_w_m2: Doubles
    incidence: Doubles
    planes_deg: tuple[tuple[float, float], ...]
    """Tilt and azimuth from north."""
    first: int

    def on_planes(self, place: slice, global_w_m2: Doubles) -> Doubles:
        """Return the irradiance [plane, step] on all planes."""
        return np.stack([self.on_one(index, place, global_w_m2) for index in range(len(self.planes_deg))])

    def on_one(self, plane: int, place: slice | Ints, global_w_m2: Doubles) -> Doubles:
        """Return the irradiance [step] on one plane."""
        sun = Sun(
            elevation_sine=self.sun.elevation_sine[place],
            east=self.sun.east[place],
            north=self.sun.north[place],
            extraterrestrial_w_m2=self.sun.extraterrestrial_w_m2[place],
        )
        tilt, _ = self.planes_deg[plane]
        return on_plane(global_w_m2, sun=sun, incidence=self.incidence[plane, place], tilt_deg=tilt)


def sky_of(
    *,
    latitude: float,
    longitude: float,
    first: int,
    count: int,
    step_minutes: int,
    declared_deg: tuple[tuple[float, float], ...] = (),
) -> Sky:
    """Return the sky over a place for steps since the epoch, in the middle of each; declared planes come last."""
    minute = (first + np.arange(count, dtype=np.int64)) * step_minutes + step_minutes // 2
    sun = sun_at(minute, latitude=latitude, longitude=longitude)
    towards = 180.0 if latitude >= 0 else 0.0
    side = 1.0 if latitude >= 0 else -1.0
    planes = (*((tilt, (towards + side * turn) % 360) for tilt, turn in CANDIDATES_DEG), *declared_deg)
    incidence = np.stack([incidence_of(sun, tilt_deg=tilt, azimuth_deg=azimuth) for tilt, azimuth in planes])
    return Sky(sun=sun, clear_sky_w_m2=sun.clear_sky_w_m2, incidence=incidence, planes_deg=planes, first=first)


@dataclass(frozen=True, kw_only=True)
class Roofs:
    """Plane and yield [meter]; the plane is -1 and the yield NaN where no sun is seen in the readings."""

    plane: Ints
    kwh_per_w_m2: Floats
    clear_plane: Ints
    clear_kwh_per_w_m2: Floats


def no_roofs(count: int) -> Roofs:
    """Return that nothing is known of a number of meters."""
    nothing, nowhere = np.full(count, np.nan, dtype=np.float32), np.full(count, -1, dtype=np.int64)
    return Roofs(plane=nowhere, kwh_per_w_m2=nothing, clear_plane=nowhere, clear_kwh_per_w_m2=nothing)


def hourly_recent(known: Known) -> Floats:
    """Return the mean energy per interval [meter, hour] of the last weeks, NaN where an hour is not whole."""
    slots = known.recent[:, -RECENT_FIT_DAYS * known.slots_per_day :]
    hourly: Floats = slots.reshape(len(slots), RECENT_FIT_DAYS * 24, -1).mean(axis=2)
    return hourly


def fit_roofs(
    hourly_kwh: Floats,
    *,
    sky: Sky,
    first_hour: int,
    global_w_m2: Floats,
    temperature_c: Floats,
    is_production: Bools,
    sign: Floats,
    declared_plane: Ints,
) -> Roofs:
    """Return the roofs of meters.

    Args:
        hourly_kwh: mean energy per interval [meter, hour] of whole days, NaN where unknown.
        sky: hours of the place.
        first_hour: first of the hours, since the epoch.
        global_w_m2: irradiance [hour] as it was known, NaN where it was not.
        temperature_c: of the air [hour].
        is_production: which meters count production itself.
        sign: 1 where more sun makes the reading larger, -1 where it makes it smaller.
        declared_plane: the plane of `sky` that is declared, -1 where none is.
    """
    count, hours = hourly_kwh.shape
    place = slice(first_hour - sky.first, first_hour - sky.first + hours)
    nothing = no_roofs(count)
    clear = sky.on_planes(place, sky.clear_sky_w_m2[place])
    clear_plane, clear_gain = _best(hourly_kwh, clear, is_production, sign, declared_plane, is_shape=True)
    if np.isfinite(global_w_m2).sum() < _LEAST_KNOWN_HOURS:
        return Roofs(
            plane=nothing.plane,
            kwh_per_w_m2=nothing.kwh_per_w_m2,
            clear_plane=clear_plane,
            clear_kwh_per_w_m2=clear_gain,
        )
    light = derated(sky.on_planes(place, global_w_m2.astype(np.float64)), temperature_c=temperature_c)
    plane, gain = _best(hourly_kwh, light, is_production, sign, declared_plane, is_shape=False)
    return Roofs(plane=plane, kwh_per_w_m2=gain, clear_plane=clear_plane, clear_kwh_per_w_m2=clear_gain)


def derated(plane_w_m2: Doubles, *, temperature_c: Floats) -> Doubles:
    """Return the irradiance less what warm cells make of it; air of which nothing is known counts as mild."""
    air = np.where(np.isfinite(temperature_c), temperature_c, _ASSUMED_AIR_C)
    warmer = air + _CELL_ABOVE_AIR_K_PER_W_M2 * plane_w_m2 - _REFERENCE_CELL_C
    return np.asarray(plane_w_m2 * (1 - _LESS_PER_KELVIN * warmer))


def light_of(global_w_m2: Floats, cloud_cover_fraction: Floats, *, clear_sky_w_m2: Doubles) -> Floats:
    """Return the irradiance [step], from the clouds where it is not known itself."""
    beneath = beneath_clouds(clear_sky_w_m2, cloud_cover_fraction.astype(np.float64)).astype(np.float32)
    return np.where(np.isfinite(global_w_m2), global_w_m2, beneath)


def clearness_of(global_w_m2: Floats, *, clear_sky_w_m2: Doubles) -> Doubles:
    """Return the share of the clear sky's light [step]; one at night, when it does not matter."""
    share = np.asarray(global_w_m2 / np.maximum(clear_sky_w_m2, _LEAST_CLEAR_SKY_W_M2))
    at_night = (clear_sky_w_m2 < _LEAST_CLEAR_SKY_W_M2) & np.isfinite(share)
    return np.where(at_night, 1.0, np.clip(share, 0, 1.4))


def _best(
    hourly_kwh: Floats,
    light: Doubles,
    is_production: Bools,
    sign: Floats,
    declared_plane: Ints,
    *,
    is_shape: bool,
) -> tuple[Ints, Floats]:
    """Return the plane and yield [meter] that explain most; `is_shape` asks for production only, not for net load."""
    lit = np.isfinite(light).all(axis=0)
    light = np.where(lit, light, 0.0)
    squared = light * light
    plane = np.full(len(hourly_kwh), -1, dtype=np.int64)
    gain = np.full(len(hourly_kwh), np.nan, dtype=np.float32)
    # A meter at a time: there are few, and each must come out the same whoever else is asked for.
    for meter, of_meter in enumerate(hourly_kwh):
        known = np.isfinite(of_meter) & lit
        if (is_shape and not is_production[meter]) or known.sum() < _LEAST_KNOWN_HOURS:
            continue
        y = np.where(known, of_meter, 0.0).astype(np.float64)
        with_itself = squared @ known.astype(np.float64)
        if not is_production[meter]:
            days = known.reshape(-1, 24)
            of_hour = np.maximum(days.sum(axis=0), 1)
            y = np.where(days, y.reshape(-1, 24) - y.reshape(-1, 24).sum(axis=0) / of_hour, 0.0).ravel()
            lit_by_hour = (light * known).reshape(len(light), -1, 24).sum(axis=1)
            with_itself = with_itself - (lit_by_hour**2 / of_hour).sum(axis=1)
        with_y = np.maximum((light @ y) * float(sign[meter]), 0.0)
        with_itself = np.maximum(with_itself, 1e-9)
        explained = with_y**2 / with_itself / max(float(y @ y), 1e-12)
        best = int(declared_plane[meter]) if declared_plane[meter] >= 0 else int(np.argmax(explained))
        least = _LEAST_EXPLAINED_OF_PRODUCTION if is_production[meter] else _LEAST_EXPLAINED_OF_NET
        if explained[best] >= least:
            plane[meter], gain[meter] = best, sign[meter] * with_y[best] / with_itself[best]
    return plane, gain


def roof_features(
    roofs: Roofs,
    *,
    sky: Sky,
    meter: Ints,
    slot: Ints,
) -> dict[str, Floats]:
    """Return ROOF_FEATURES for rows of (meter, slot); `sky` has the steps of the slots."""
    clear = np.full(len(slot), np.nan, dtype=np.float32)
    for plane in np.unique(roofs.clear_plane[meter]):
        rows = np.flatnonzero(roofs.clear_plane[meter] == plane)
        if plane >= 0:
            place = slot[rows] - sky.first
            clear[rows] = sky.on_one(int(plane), place, sky.clear_sky_w_m2[place])
    return {"pv_clear_sky_kwh": clear * roofs.clear_kwh_per_w_m2[meter]}


def pv_features(
    roofs: Roofs,
    *,
    skies: tuple[Sky, Sky],
    meter: Ints,
    slot: Ints,
    hour_of_slot: Ints,
    first_hour: int,
    past_hours: int,
    global_w_m2: Floats,
    cloud_cover_fraction: Floats,
    temperature_c: Floats,
) -> dict[str, Floats]:
    """Return PV_FEATURES for rows of (meter, slot).

    Args:
        roofs: of all meters that `meter` counts.
        skies: of the slots, and of the hours.
        meter: of the row.
        slot: of the row, since the epoch.
        hour_of_slot: position of the row's hour among the hours of the weather, -1 beyond it.
        first_hour: first of these hours, since the epoch.
        past_hours: how many of them, whole days, lie before the issue.
        global_w_m2: weather [hour] as it was known; likewise the clouds and the air.
        cloud_cover_fraction: stands in for the irradiance where that is not known.
        temperature_c: of the air.
    """
    of_slots, of_hours = skies
    place = slice(first_hour - of_hours.first, first_hour - of_hours.first + len(global_w_m2))
    clear_sky = of_hours.clear_sky_w_m2[place]
    light = light_of(global_w_m2, cloud_cover_fraction, clear_sky_w_m2=clear_sky)
    clearness = clearness_of(light, clear_sky_w_m2=clear_sky)
    columns = {name: np.full(len(slot), np.nan, dtype=np.float32) for name in PV_FEATURES}
    for plane in np.unique(roofs.plane[meter]):
        rows = np.flatnonzero((roofs.plane[meter] == plane) & (hour_of_slot >= 0))
        if plane < 0 or not len(rows):
            continue
        hour, at = hour_of_slot[rows], slot[rows] - of_slots.first
        here = of_slots.on_one(int(plane), at, clearness[hour] * of_slots.clear_sky_w_m2[at])
        useful = derated(here, temperature_c=temperature_c[hour])
        before = slice(place.start, place.start + past_hours)
        past = of_hours.on_one(int(plane), before, light[:past_hours].astype(np.float64))
        usual = usual_by_hour(derated(past, temperature_c=temperature_c[:past_hours]), first_hour=first_hour)
        gain = roofs.kwh_per_w_m2[meter[rows]]
        columns["plane_irradiance_w_m2"][rows] = here
        columns["pv_expected_kwh"][rows] = useful * gain
        columns["pv_shift_kwh"][rows] = (useful - usual[(first_hour + hour) % 24]) * gain
    return columns


def usual_by_hour(values: Doubles, *, first_hour: int) -> Doubles:
    """Return the mean [hour of the day] of consecutive hours of whole days, from hour 0 of the UTC day on."""
    turned = mean_of_known(values.astype(np.float32).reshape(-1, 24), axis=0)
    return np.roll(turned, first_hour % 24).astype(np.float64)
