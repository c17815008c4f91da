"""What is fitted to each meter's own past, once a week: its answer to temperature, and the roofs behind it.

A fit takes what was known at the start of the issue's week, so that all issues of a week share it and none looks ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from energy_assets.features.calendar import Calendar
from energy_assets.features.history import Bools, Floats, History, Ints, as_known
from energy_assets.features.past_weather import PastWeather
from energy_assets.features.response import (
    COOLS,
    HEATS,
    RECENT_FIT_DAYS,
    Response,
    daily_means,
    daily_temperature,
    fit_response,
    fit_spans,
    fitted_at,
    unfitted,
)
from energy_assets.features.roofs import (
    CANDIDATES_DEG,
    Roofs,
    Sky,
    fit_roofs,
    hourly_recent,
    light_of,
    no_roofs,
    sky_of,
)

_GRID = ("grid_import", "grid_export")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Of all meters of a block, in order."""

    response: Response
    roofs: Roofs


@dataclass(frozen=True, kw_only=True)
class Fits:
    """Fits of a block of meters of one interval class, made when they are asked for and then kept."""

    described: pl.DataFrame
    history: History
    calendars: Mapping[str, Calendar]
    past: PastWeather | None
    members: Mapping[str, Ints]
    """Positions of the meters of each site."""
    skies: dict[str, tuple[Sky, Sky] | None] = field(default_factory=dict)
    _made: dict[int, Fit] = field(default_factory=dict)

    def at(self, issue_minute: int) -> Fit:
        """Return the fit that serves an issue."""
        minute = fitted_at(issue_minute)
        if minute not in self._made:
            self._made[minute] = self._fit(minute)
        return self._made[minute]

    def sky(self, site_id: str) -> tuple[Sky, Sky] | None:
        """Return the sky over a site in slots and in hours, None where nobody says where the site is."""
        if site_id not in self.skies:
            self.skies[site_id] = self._sky(site_id)
        return self.skies[site_id]

    def _fit(self, minute: int) -> Fit:
        known = as_known(self.history, issue_minute=minute)
        heats, cools = (self._serves(commodities) for commodities in (HEATS, COOLS))
        response, roofs = _blank(unfitted(heats=heats, cools=cools)), _blank(no_roofs(self.described.height))
        days, hours = daily_means(known), hourly_recent(known)
        sees_sun = self._may_have_sun(known.recent)
        for site_id, members in self.members.items():
            if self.past is not None:
                found = fit_response(
                    days[members],
                    temperature_c=daily_temperature(self._past(site_id, "temperature_c", minute=minute)),
                    rest=self._rest(site_id, minute=minute),
                    heats=heats[members],
                    cools=cools[members],
                )
                _put(response, members, found)
            sunny = members[sees_sun[members]]
            if len(sunny) and (skies := self.sky(site_id)) is not None:
                _put(roofs, sunny, self._roofs(site_id, sunny, minute=minute, hours=hours, sky=skies[1]))
        return Fit(response=Response(**response), roofs=Roofs(**roofs))

    def _serves(self, commodities: set[str]) -> Bools:
        """Return the meters whose commodity may grow with cold or with warmth; what a roof yields does not."""
        is_one = self.described["commodity"].is_in(list(commodities)) & (self.described["direction"] != "production")
        serves: Bools = is_one.to_numpy()
        return serves

    def _roofs(self, site_id: str, members: Ints, *, minute: int, hours: Floats, sky: Sky) -> Roofs:
        recent = RECENT_FIT_DAYS * 24
        first_hour = minute // 60 - recent
        names = ("global_horizontal_irradiance_w_m2", "cloud_cover_fraction", "temperature_c")
        light, clouds, air = (self._past(site_id, name, minute=minute)[-recent:] for name in names)
        place = slice(first_hour - sky.first, first_hour - sky.first + recent)
        direction = self.described["direction"].gather(members)
        return fit_roofs(
            hours[members],
            sky=sky,
            first_hour=first_hour,
            global_w_m2=light_of(light, clouds, clear_sky_w_m2=sky.clear_sky_w_m2[place]),
            temperature_c=air,
            is_production=(direction == "production").to_numpy(),
            sign=np.where(direction.is_in(["production", "grid_export"]).to_numpy(), 1, -1).astype(np.float32),
            declared_plane=self._declared_planes(site_id, members),
        )

    def _past(self, site_id: str, quantity: str, *, minute: int) -> Floats:
        """Return the hours of both spans of a fit, as known then, in a row."""
        spans = fit_spans(minute, step_minutes=60)
        if self.past is None:
            return np.full(sum(high - low for low, high in spans), np.nan, dtype=np.float32)
        parts = [self.past.of(site_id, quantity=quantity, hours=span, known_by=minute) for span in spans]
        return np.concatenate(parts)

    def _rest(self, site_id: str, *, minute: int) -> Floats:
        calendar, step = self.calendars[site_id], self.history.interval_minutes
        slots = np.concatenate([np.arange(low, high) for low, high in fit_spans(minute, step_minutes=step)])
        is_rest = calendar.day_kind[calendar.columns_of(slots)] > 0
        shares: Floats = is_rest.reshape(-1, 1440 // step).mean(axis=1).astype(np.float32)
        return shares

    def _may_have_sun(self, recent: Floats) -> Bools:
        """Return the meters that count production or feed-in, that have a roof by declaration, or feed in at times."""
        direction = self.described["direction"]
        told = direction.is_in(["production", *_GRID]) | self.described["has_pv"].fill_null(value=False)
        with np.errstate(invalid="ignore"):
            feeds_in = (recent < 0).any(axis=1)
        sees: Bools = (told.to_numpy() | feeds_in) & (self.described["commodity"] == "electricity").to_numpy()
        return sees

    def _sky(self, site_id: str) -> tuple[Sky, Sky] | None:
        row = self.described.filter(pl.col("site_id") == site_id).row(0, named=True)
        if row["latitude"] is None or row["longitude"] is None:
            return None
        calendar, step = self.calendars[site_id], self.history.interval_minutes
        count = len(calendar.day_kind)
        place = {"latitude": row["latitude"], "longitude": row["longitude"], "declared_deg": self._declared(site_id)}
        of_slots = sky_of(first=calendar.first_slot, count=count, step_minutes=step, **place)
        if step == 60:
            return of_slots, of_slots
        per_hour = 60 // step
        hourly = sky_of(first=calendar.first_slot // per_hour, count=count // per_hour + 1, step_minutes=60, **place)
        return of_slots, hourly

    def _declared(self, site_id: str) -> tuple[tuple[float, float], ...]:
        rows = self.described.filter(pl.col("site_id") == site_id).select("pv_tilt_deg", "pv_azimuth_deg")
        return tuple(rows.drop_nulls().unique().sort("pv_tilt_deg", "pv_azimuth_deg").iter_rows())

    def _declared_planes(self, site_id: str, members: Ints) -> Ints:
        declared = {plane: len(CANDIDATES_DEG) + number for number, plane in enumerate(self._declared(site_id))}
        rows = self.described.select("pv_tilt_deg", "pv_azimuth_deg")[members].iter_rows()
        return np.array([declared.get(row, -1) for row in rows], dtype=np.int64)


def _blank(whole: Response | Roofs) -> dict[str, Any]:
    return {name: np.array(values) for name, values in vars(whole).items()}


def _put(whole: dict[str, Any], members: Ints, part: Response | Roofs) -> None:
    for name, values in vars(part).items():
        whole[name][members] = values
