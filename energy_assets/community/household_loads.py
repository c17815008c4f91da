"""What flows in a home: appliances, heat pump, car, panels and battery, balanced in every slot.

Series have shape (homes, slots) and are kWh a slot on the UTC clock; a month is drawn alone and warmed up by the end of
the month before it. grid_import - grid_export = load - production + charge - discharge, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta

import numpy as np
import polars as pl

from energy_assets.community.calendars import BREAK, SATURDAY, SUNDAY, day_types, is_break
from energy_assets.community.dwellings import SOURCE, Dwellings
from energy_assets.community.places import Place
from energy_assets.community.solar import irradiance, plane_irradiance, sun_position
from energy_assets.community.streams import Array, correlated, days_in, first_day_of, hour_of, month_noise, stream
from energy_assets.community.weather import Weather

WARM_UP_DAYS = 5
ONE_WAY_EFFICIENCY = 0.95
STANDBY_KW = 0.006
_EVENT_SHARE = 0.66
_EVENT_KWH = 0.24

# Chance weights over the day of being at home and doing things: (centre, width, height) on working days and free days.
_BUMPS: dict[int, tuple[tuple[tuple[float, float, float], ...], tuple[tuple[float, float, float], ...]]] = {
    0: (((6.9, 0.9, 0.9), (19.2, 2.2, 1.6), (13, 4, 0.12)), ((10.0, 2.2, 0.9), (13.5, 3.0, 0.7), (19.3, 2.4, 1.3))),
    1: (
        ((6.7, 0.8, 1.1), (12.8, 1.6, 0.5), (16.5, 2.2, 0.6), (19.0, 1.9, 1.6)),
        ((9.5, 2.0, 0.9), (12.8, 2.2, 1.1), (18.8, 2.4, 1.3)),
    ),
    2: (
        ((8.0, 1.6, 0.8), (11.9, 1.5, 1.2), (15.5, 2.5, 0.5), (18.6, 2.0, 1.1)),
        ((8.5, 1.6, 0.8), (11.9, 1.6, 1.3), (18.4, 2.2, 1.0)),
    ),
    3: (
        ((7.4, 1.2, 0.8), (12.4, 1.4, 0.9), (15, 4.0, 0.5), (19.2, 2.1, 1.3)),
        ((9.8, 2.0, 0.9), (13.0, 2.6, 0.8), (19.2, 2.4, 1.2)),
    ),
    4: (((9.5, 1.8, 0.6), (19.5, 2.6, 0.9), (23.0, 1.8, 0.8)), ((12.0, 2.2, 0.8), (19.0, 3.0, 0.8), (23.5, 1.8, 0.8))),
    5: (((5.2, 0.9, 0.7), (15.5, 2.0, 0.9), (21.0, 2.2, 0.9)), ((9.5, 2.5, 0.8), (14.0, 3.0, 0.7), (19.5, 2.6, 1.1))),
}


@dataclass(frozen=True, kw_only=True)
class Flows:
    """Energy in kWh a slot, shape (homes, slots), from `first_hour` (hours since 1970 UTC); stored at slot ends."""

    first_hour: int
    load: Array
    production: Array
    charge: Array
    discharge: Array
    stored_kwh: Array
    grid_import: Array
    grid_export: Array

    def last(self, slots: int) -> Flows:
        """Return the last `slots` slots; `first_hour` keeps its meaning only for whole hours."""
        cut = {f.name: getattr(self, f.name)[:, -slots:] for f in fields(self) if f.name != "first_hour"}
        return Flows(first_hour=self.first_hour, **cut)


def simulate_homes(
    homes: Dwellings, *, place: Place, weather: Weather, block: int, seed: int, interval_minutes: int
) -> Flows:
    """Return the flows of homes of one town for one month; `weather` must reach a month before it."""
    before = _before_battery(
        homes, place=place, weather=weather, block=block - 1, seed=seed, interval_minutes=interval_minutes
    )
    own = _before_battery(
        homes, place=place, weather=weather, block=block, seed=seed, interval_minutes=interval_minutes
    )
    warm = WARM_UP_DAYS * 24 * 60 // interval_minutes
    load, production = (np.concatenate([b[:, -warm:], o], axis=1) for b, o in zip(before, own, strict=True))
    charge, discharge, stored = _dispatch(homes, load=load, production=production, hours=interval_minutes / 60)
    net = load - production + charge - discharge
    flows = Flows(
        first_hour=hour_of(first_day_of(block)),
        load=load,
        production=production,
        charge=charge,
        discharge=discharge,
        stored_kwh=stored,
        grid_import=np.maximum(net, 0),
        grid_export=np.maximum(-net, 0),
    )
    return flows.last(own[0].shape[1])


def _before_battery(
    homes: Dwellings, *, place: Place, weather: Weather, block: int, seed: int, interval_minutes: int
) -> tuple[Array, Array]:
    hours = interval_minutes / 60
    slots = round(days_in(block) * 24 / hours)
    start = hour_of(first_day_of(block))
    local = _local_clock(place, block=block, interval_minutes=interval_minutes)
    sky = weather.between(start, start + days_in(block) * 24)
    away = _vacation(homes, block=block, seed=seed)[:, local.day] if len(homes) else np.zeros((0, slots), bool)
    load = _appliances(homes, place=place, local=local, sky=sky, away=away, block=block, seed=seed, hours=hours)
    load += _heat_pump(homes, local=local, sky=sky, away=away, block=block, seed=seed, hours=hours)
    load += _car(homes, local=local, away=away, block=block, seed=seed, hours=hours)
    return load, _panels(homes, place=place, sky=sky, start=start, block=block, seed=seed, hours=hours)


@dataclass(frozen=True, kw_only=True)
class _Clock:
    """The local clock of the slots: hour of day, index of the local day from the day before the month, its kind."""

    hour: Array
    day: Array
    kind: Array


def _local_clock(place: Place, *, block: int, interval_minutes: int) -> _Clock:
    first, days = first_day_of(block), days_in(block)
    stamps = pl.datetime_range(
        pl.lit(first).cast(pl.Datetime("us")),
        pl.lit(first + timedelta(days=days)).cast(pl.Datetime("us")),
        interval=f"{interval_minutes}m",
        closed="left",
        eager=True,
    )
    wall = stamps.dt.replace_time_zone("UTC").dt.convert_time_zone(place.timezone).dt.replace_time_zone(None)
    hour = (wall.dt.hour().cast(pl.Float64) + wall.dt.minute() / 60).to_numpy() + interval_minutes / 120
    day = (wall.dt.date().to_physical() - (first - timedelta(days=1)).toordinal() + 719_163).to_numpy()
    kinds = day_types(place, first=first - timedelta(days=1), days=days + 2, has_terms=True)
    return _Clock(hour=hour, day=day, kind=kinds[day])


def _vacation(homes: Dwellings, *, block: int, seed: int) -> Array:
    """Return whether a home is empty on each local day, from the day before the month to the day after."""
    first = (hour_of(first_day_of(block)) // 24) - 1
    days = first + np.arange(days_in(block) + 2)
    empty = np.zeros((len(homes), days.size), dtype=bool)
    for row, name in enumerate(homes.names):
        for year in {first_day_of(block).year - 1, first_day_of(block).year}:
            g = stream(seed, SOURCE, name, "vacation", block=year)
            begin = hour_of(first_day_of((year - 1970) * 12)) // 24
            season = np.where(g.random(3) < 0.6, 182 + 50 * g.random(3), 365 * g.random(3))
            for start, length in zip(begin + season.astype(int), g.integers(2, 16, 3), strict=True):
                empty[row] |= (days >= start) & (days < start + length) & (length > 3)
    return empty


def _activity(homes: Dwellings, local: _Clock) -> Array:
    """Return the intensity of household life per slot; its mean over a day is about 1."""
    free = np.isin(local.kind, (SATURDAY, SUNDAY))
    hour = local.hour[None] - homes.rise_shift_h[:, None]
    level = np.full(hour.shape, 0.12)
    for people, (working, free_days) in _BUMPS.items():
        rows = homes.people == people
        if not rows.any():
            continue
        for mask, bumps in ((~free, working), (free, free_days)):
            for centre, width, height in bumps:
                apart = (hour[np.ix_(rows, mask)] - centre + 12) % 24 - 12
                level[np.ix_(rows, mask)] += height * np.exp(-0.5 * (apart / width) ** 2)
    pause = (local.kind == BREAK)[None] & (homes.people == 1)[:, None]
    level = np.where(pause, 0.75 * level + 0.25, level)
    return level / 0.45


def _habits(homes: Dwellings, local: _Clock, *, seed: int) -> Array:
    """Return what each home does more and less than others at its own hours, of working and of free days; mean 1."""
    centres = np.arange(24) + 0.5
    apart = np.minimum(np.abs(centres[:, None] - centres), 24 - np.abs(centres[:, None] - centres))
    smooth = np.exp(-0.5 * (apart / 0.9) ** 2)
    free = np.isin(local.kind, (SATURDAY, SUNDAY)).astype(int)
    own = np.empty((len(homes), local.hour.size))
    for row, name in enumerate(homes.names):
        g = stream(seed, SOURCE, name, "habits", block=0)
        usual = g.standard_normal(24)
        curves = np.exp(0.45 * np.stack([usual, 0.6 * usual + 0.8 * g.standard_normal(24)]) @ smooth)
        own[row] = (curves / curves.mean(axis=1, keepdims=True))[free, local.hour.astype(int) % 24]
    return own


def _lasting(hours: float) -> Array:
    """Return how an event spreads over its slot and those after it: half of what runs is over within forty minutes."""
    ends = np.arange(1, round(4 / hours) + 1) * hours
    share = np.diff(np.concatenate([[0.0], 1 - np.exp(-ends / 0.9)]))
    return np.asarray(share / share.sum())


def _appliances(
    homes: Dwellings, *, place: Place, local: _Clock, sky: Weather, away: Array, block: int, seed: int, hours: float
) -> Array:
    slots = local.hour.size
    life = _activity(homes, local) * _habits(homes, local, seed=seed)
    dark = np.repeat(np.exp(-sky.global_horizontal_irradiance_w_m2 / 60), round(1 / hours))[None]
    rate = homes.appliance_kwh_per_day[:, None] / 24 * hours * life * (0.85 + 0.3 * dark)
    load = np.empty((len(homes), slots))
    for row, name in enumerate(homes.names):
        g = stream(seed, SOURCE, name, "appliances", block=block)
        mood = np.exp(0.2 * g.standard_normal(days_in(block) + 2) - 0.02)[local.day]
        # Events are few and large: kettles, ovens, washing; their number is what varies from day to day.
        events = g.poisson(_EVENT_SHARE * rate[row] * mood / _EVENT_KWH)
        sizes = g.gamma(np.maximum(events, 1) * 0.9, 1 / 0.9) * _EVENT_KWH * (events > 0)
        lasting = np.convolve(sizes, _lasting(hours))[:slots]
        steady = (1 - _EVENT_SHARE) * rate[row] * mood * np.exp(0.2 * g.standard_normal(slots) - 0.02)
        cooler = 0.035 * hours * (1 + 0.6 * (g.random(slots) < 0.35))
        present = np.where(away[row], 0.04, 1.0)
        base = homes.base_kw[row] * hours * np.where(away[row], 0.75, 1.0) * (1 + 0.04 * g.standard_normal(slots))
        load[row] = np.maximum(base, 0.01 * hours) + cooler + present * (lasting + steady)
    if place.country_code != "GB":
        load *= 1 + 0.012 * is_break(place, first_day_of(block))
    return load


def _heat_pump(
    homes: Dwellings, *, local: _Clock, sky: Weather, away: Array, block: int, seed: int, hours: float
) -> Array:
    """Return the electricity of heat pumps: heat demand over a coefficient of performance, 40 % of Carnot's."""
    from scipy.signal import lfilter

    per_hour = round(1 / hours)
    phi = np.exp(-1 / 16.0)
    outdoor = sky.temperature_c
    felt = lfilter([1 - phi], [1, -phi], outdoor - outdoor[0]) + outdoor[0]
    felt, outdoor, sun = (np.repeat(x, per_hour)[None] for x in (felt, outdoor, sky.global_horizontal_irradiance_w_m2))
    noise, here, there = month_noise(
        seed,
        [f"{SOURCE}.{name}" for name in homes.names],
        kind="heat_pump",
        block=block,
        size=local.hour.size,
        states=1,
    )
    cycle = correlated(noise, coefficient=0.45 ** (hours), here=here[:, 0], there=there[:, 0])
    night = (local.hour < 5.5) | (local.hour > 22.5)
    gain = 0.25 * np.minimum(sun / 400, 1.5)
    shortage = np.maximum(homes.heat_balance_c[:, None] - felt - 2.5 * gain - 1.2 * night[None] - 2.5 * away, 0)
    heat_kw = homes.heat_loss_kw_per_c[:, None] * shortage * np.exp(0.16 * cycle)
    # Part load cycles on and off; the mean over the hour follows the demand.
    heat_kw *= np.where(shortage < 2.5, 2.0 * (cycle > 0), 1.0)
    tap = np.exp(-0.5 * ((local.hour - 5.0) / 0.8) ** 2) + 0.8 * np.exp(-0.5 * ((local.hour - 14.5) / 1.0) ** 2)
    tap_kw = 0.55 * homes.occupants[:, None] * tap[None] * np.exp(0.3 * noise) * np.where(away, 0.0, 1.0)

    def performance(supply: Array) -> Array:
        return np.clip(0.4 * (supply + 273.15) / np.maximum(supply - outdoor + 4, 8), 1.6, 6.0)

    electric = heat_kw / performance(homes.supply_c[:, None]) + tap_kw / performance(np.full((1, 1), 52.0))
    return electric * hours * homes.has_heat_pump[:, None]


def _car(homes: Dwellings, *, local: _Clock, away: Array, block: int, seed: int, hours: float) -> Array:
    """Return the charging of cars: from arrival at full power until what the trip took is back."""
    days = days_in(block) + 2
    load = np.zeros((len(homes), local.hour.size))
    for row in np.flatnonzero(homes.ev_kw > 0):
        arrival, need = np.zeros(days + 1), np.zeros(days + 1)
        # A month reaches into the local days of its neighbours: each day's trip belongs to the day's own stream.
        for index in range(days):
            day = hour_of(first_day_of(block)) // 24 - 1 + index
            g = stream(seed, SOURCE, homes.names[row], "car", block=day)
            weekend = (day + 3) % 7 >= 5
            drives = g.random() < (0.55 if weekend else homes.away_share[row])
            arrival[index + 1] = np.clip(
                homes.ev_arrival_h[row] - 1.5 * weekend + (2.2 if weekend else 0.9) * g.standard_normal(), 9, 23.4
            )
            # Most plug in every second or third day, for several trips at once.
            trips = 1 + (g.random() < 0.5) + 2 * (g.random() < 0.12)
            plugs = drives and g.random() < 0.62
            need[index + 1] = homes.ev_kwh_per_trip[row] * trips * np.exp(0.35 * g.standard_normal()) * plugs
        need = np.minimum(need, 55)
        for back in (0, 1):
            begins = arrival[local.day + 1 - back] - 24 * back
            ends = begins + need[local.day + 1 - back] / homes.ev_kw[row]
            overlap = np.minimum(local.hour + hours / 2, ends) - np.maximum(local.hour - hours / 2, begins)
            load[row] += np.clip(overlap, 0, hours) * homes.ev_kw[row]
        load[row] = np.where(away[row], 0.0, np.minimum(load[row], homes.ev_kw[row] * hours))
    return load


def _panels(homes: Dwellings, *, place: Place, sky: Weather, start: int, block: int, seed: int, hours: float) -> Array:
    """Return the production of the panels: tilted irradiance, losses of heat and wiring, clipped by the inverter."""
    per_hour = round(1 / hours)
    slots = sky.temperature_c.size * per_hour
    middle = (start + (np.arange(slots) + 0.5) * hours) * 3600.0
    cos_zenith, azimuth, beyond = sun_position(middle, latitude=place.latitude, longitude=place.longitude)
    through = np.repeat(sky.transmittance, per_hour)
    if per_hour > 1:
        scatter = stream(seed, place.name, "passing clouds", block=block).standard_normal(slots)
        cloud = np.repeat(sky.cloud_cover_fraction, per_hour)
        through = np.clip(through * (1 + 0.5 * cloud * (1 - cloud) * scatter), 0.04, 1.08)
    total, direct, diffuse = irradiance(cos_zenith, beyond, through)
    plane = plane_irradiance(
        direct=direct,
        diffuse=diffuse,
        global_horizontal=total,
        cos_zenith=cos_zenith,
        azimuth=azimuth,
        tilt=homes.pv_tilt,
        facing=homes.pv_facing,
    )
    cell_c = np.repeat(sky.temperature_c, per_hour)[None] + 0.028 * plane
    direct_current_kw = homes.pv_kwp[:, None] * plane / 1000 * (1 - 0.0038 * (cell_c - 25)) * 0.9
    kw = np.minimum(direct_current_kw, homes.pv_inverter_kw[:, None])
    # The sun below the row of houses across the street, and an inverter that needs a little to wake up.
    return np.where((cos_zenith[None] > 0.05) & (kw > 0.012 * homes.pv_kwp[:, None]), kw, 0.0) * hours


def _dispatch(homes: Dwellings, *, load: Array, production: Array, hours: float) -> tuple[Array, Array, Array]:
    """Return charge, discharge and stored energy of batteries that only serve their own home."""
    charge, discharge, stored = (np.zeros_like(load) for _ in range(3))
    rows = np.flatnonzero(homes.battery_kwh > 0)
    capacity, power = homes.battery_kwh[rows], homes.battery_kw[rows] * hours
    level = 0.35 * capacity
    surplus = (production - load)[rows]
    for slot in range(load.shape[1]):
        level = np.maximum(level - STANDBY_KW * hours, 0.0)
        put = np.minimum(np.minimum(np.maximum(surplus[:, slot], 0), power), (capacity - level) / ONE_WAY_EFFICIENCY)
        take = np.minimum(np.minimum(np.maximum(-surplus[:, slot], 0), power), level * ONE_WAY_EFFICIENCY)
        level = level + put * ONE_WAY_EFFICIENCY - take / ONE_WAY_EFFICIENCY
        charge[rows, slot], discharge[rows, slot], stored[rows, slot] = put, take, level
    return charge, discharge, stored
