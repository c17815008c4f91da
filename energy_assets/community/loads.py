"""The energy of buildings, a site and month at a time: habits, weather, drift, noise and machines, vectorised.

Frames of reference: the site's local standard time, an hour a column, meters along rows, kWh an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from energy_assets.community.archetypes import SLOTS, Characters
from energy_assets.community.calendars import WORKING, day_types, term_level
from energy_assets.community.faults import Fault
from energy_assets.community.places import Place
from energy_assets.community.streams import (
    Array,
    between,
    correlated,
    days_in,
    first_day_of,
    hour_of,
    month_noise,
)
from energy_assets.community.weather import Weather

WARM_UP_HOURS = 240
_INERTIA_HOURS = (3.0, 9.0, 22.0, 48.0)
_STATES = 6


@dataclass(frozen=True, kw_only=True)
class SiteMonth:
    """What all meters of a site share in one month: clock, days and weather with its memory."""

    place: Place
    block: int
    days: int
    kinds: Array
    level: Array
    lagged_c: Array
    humid_c: Array
    lagged_humid_c: Array
    dark: Array

    @property
    def hours(self) -> int:
        """Return the number of hours of the month."""
        return self.days * 24


def site_month(place: Place, *, block: int, weather: Weather) -> SiteMonth:
    """Return a site's month; `weather` must reach `WARM_UP_HOURS` before its first local hour."""
    from scipy.signal import lfilter

    days, first = days_in(block), first_day_of(block)
    start = hour_of(first) - place.utc_offset_hours
    past = weather.between(start - WARM_UP_HOURS, start + days * 24)
    # A sunny hour feels about as warm as a few more degrees: the sol-air temperature of a light wall.
    felt = past.temperature_c + 0.006 * past.global_horizontal_irradiance_w_m2 - 0.06 * past.wind_speed_ms
    humid = np.maximum(past.dew_point_c - 10, 0)

    def remembered(series: Array) -> Array:
        rows = []
        for memory in _INERTIA_HOURS:
            phi = np.exp(-1 / memory)
            rows.append(lfilter([1 - phi], [1, -phi], series - series[0])[WARM_UP_HOURS:] + series[0])
        return np.stack(rows).astype(np.float32)

    return SiteMonth(
        place=place,
        block=block,
        days=days,
        kinds=np.stack([day_types(place, first=first, days=days, has_terms=terms) for terms in (False, True)]),
        level=np.stack([np.ones(days, np.float32), term_level(place, first=first, days=days)]),
        lagged_c=remembered(felt),
        humid_c=humid[WARM_UP_HOURS:].astype(np.float32),
        lagged_humid_c=remembered(humid),
        dark=(past.global_horizontal_irradiance_w_m2[WARM_UP_HOURS:] < 12).astype(np.float32),
    )


def occupancy(
    month: SiteMonth, traits: Characters, *, names: Sequence[str], seed: int, behaviour: Sequence[list[Fault]]
) -> Array:
    """Return how much each building is in use, shape (buildings, hours), around 0 to 1.3.

    Days begin earlier or later and are busier or quieter than the habit; `behaviour` lists faults of the building.
    """
    noise, here, there = month_noise(seed, names, kind="use", block=month.block, size=3 * month.days, states=1)
    jitter, busy, tail = np.split(noise, 3, axis=1)
    mood = correlated(busy, coefficient=0.55, here=here[:, 0], there=there[:, 0])
    spread = traits.day_spread[:, None]
    # A few days are far busier or emptier: events, strikes, storms.
    amplitude = np.exp(spread * mood + 2.2 * spread * tail * (np.abs(tail) > 1.9))
    terms = traits.has_terms.astype(np.int64)
    amplitude *= month.level[terms]
    day = np.repeat(np.arange(month.days), 24)
    shift = np.rint(np.clip(jitter * traits.start_jitter[:, None], -6, 6)).astype(np.int64)
    slot = (np.tile(np.arange(24), month.days) * 4 + 2)[None, :] - shift[:, day]
    np.clip(slot, 0, SLOTS - 1, out=slot)
    kind = month.kinds[terms][:, day]
    rows = np.arange(len(names))[:, None]
    in_use: Array = traits.occupancy[rows, kind, slot] * amplitude[:, day]
    first = hour_of(first_day_of(month.block))
    for row, faults in enumerate(behaviour):
        for fault in faults:
            a, b = max(fault.first_hour - first, 0), min(fault.end_hour - first, month.hours)
            if fault.fault == "weekend_as_weekday":
                in_use[row, a:b] = traits.occupancy[row, WORKING, slot[row, a:b]]
            else:
                in_use[row, a:b] = np.maximum(in_use[row, a:b], 0.85 * traits.occupancy[row, WORKING].max())
    return in_use


def electricity(month: SiteMonth, traits: Characters, *, in_use: Array, names: Sequence[str], seed: int) -> Array:
    """Return electricity in kWh an hour, shape (buildings, hours)."""
    noise, here, there = month_noise(
        seed, names, kind="electricity", block=month.block, size=month.hours, states=_STATES
    )
    fast = correlated(noise, coefficient=0.72, here=here[:, 0], there=there[:, 0])
    slow = correlated(noise[:, ::-1], coefficient=0.975, here=here[:, 1], there=there[:, 1])
    felt = month.lagged_c[traits.inertia_class]
    base = traits.base_share[:, None]
    drift = between(here[:, 2], there[:, 2], size=month.hours)
    years = (month.block - 552) / 12
    trend = np.exp(traits.drift * years + 0.0)[:, None]
    cooling = np.maximum(felt - traits.cool_balance_c[:, None], 0) + 0.35 * month.humid_c[None]
    cooling *= felt > traits.cool_balance_c[:, None] - 2
    heating = np.maximum(traits.heat_balance_c[:, None] - felt, 0)
    conditioned = 0.4 + 0.6 * np.minimum(in_use, 1.2)
    load = base * (1 + 0.05 * slow) + (1 - base) * in_use
    load += (traits.cool_share[:, None] / 14) * cooling * conditioned
    load += (traits.heat_share[:, None] / 14) * heating * (0.55 + 0.45 * conditioned)
    lights = traits.lighting_share[:, None]
    load = load * (1 - lights) + lights * month.dark[None] * (1 + 0.02 * fast)
    # Machines: a compressor or pump that runs for hours at a time, more in working hours.
    machine = (0.8 * slow + 0.6 * fast + 0.7 * (in_use - 0.4) > 0.9) * traits.machine_share[:, None]
    load += machine * (0.35 + 0.65 * (1 - base))
    scatter = traits.noise[:, None] * (0.7 + 0.6 * np.minimum(in_use, 1.5)) * fast + traits.roughness[:, None] * noise
    kwh: Array = traits.level_kw[:, None] * load * trend * np.exp(0.03 * drift + 0.025 * slow + scatter)
    return kwh


def chilled_water(month: SiteMonth, traits: Characters, *, in_use: Array, names: Sequence[str], seed: int) -> Array:
    """Return cooling energy in kWh an hour, shape (buildings, hours): heat and moisture above a balance point."""
    noise, here, there = month_noise(
        seed, names, kind="chilled_water", block=month.block, size=month.hours, states=_STATES
    )
    wander = correlated(noise, coefficient=0.9, here=here[:, 0], there=there[:, 0])
    felt = month.lagged_c[traits.inertia_class]
    humid = month.lagged_humid_c[traits.inertia_class]
    excess = felt - (traits.cool_balance_c[:, None] - 3.0) + 0.6 * humid
    off = traits.winter_cool_off.astype(bool)[:, None] & (month.lagged_c[3][None] < traits.cool_balance_c[:, None] - 5)
    demand = 0.06 + np.logaddexp(0, excess * 0.9) / 0.9 / 16 * (0.5 + 0.5 * np.minimum(in_use, 1.3))
    drift = between(here[:, 1], there[:, 1], size=month.hours)
    kwh: Array = traits.cool_kw[:, None] * demand * np.exp(0.09 * wander + 0.06 * drift + 0.03 * noise)
    return np.where(off, 0.0, kwh)


def heat(month: SiteMonth, traits: Characters, *, in_use: Array, names: Sequence[str], seed: int, kind: str) -> Array:
    """Return steam or hot-water energy in kWh an hour: degrees below a balance point, set back at night, plus taps."""
    noise, here, there = month_noise(seed, names, kind=kind, block=month.block, size=month.hours, states=_STATES)
    wander = correlated(noise, coefficient=0.88, here=here[:, 0], there=there[:, 0])
    felt = month.lagged_c[traits.inertia_class]
    balance = traits.heat_balance_c[:, None] + 2.5
    shortage = np.logaddexp(0, (balance - felt) * 0.8) / 0.8
    rising = np.maximum(np.diff(in_use, axis=1, prepend=in_use[:, :1]), 0)
    warm_up = np.minimum(rising * 1.6, 0.7)
    held = 0.72 + 0.28 * np.minimum(in_use, 1.2) + warm_up
    taps = 0.10 + 0.10 * in_use if kind == "hot_water" else 0.05 + 0.05 * in_use
    off = traits.summer_heat_off.astype(bool)[:, None] & (month.lagged_c[3][None] > balance + 3.5)
    drift = between(here[:, 1], there[:, 1], size=month.hours)
    kwh: Array = (
        traits.heat_kw[:, None] * (shortage / 18 * held + taps) * np.exp(0.11 * wander + 0.06 * drift + 0.03 * noise)
    )
    return np.where(off, 0.0, kwh)
