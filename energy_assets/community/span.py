"""The span of a community and the weather over it: which hours are wanted, and the truth that everything follows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from energy_assets.community.places import Place
from energy_assets.community.streams import block_of, hour_of
from energy_assets.community.weather import Weather, simulate_weather


@dataclass(frozen=True, kw_only=True)
class Span:
    """The hours that are wanted, since 1970: on the UTC clock, or on each site's own for Kaggle's calendar years."""

    first: date
    last: date
    is_local: bool

    def hours(self, offset_hours: int) -> tuple[int, int]:
        """Return the first and the past-the-end hour on a clock that is `offset_hours` ahead of UTC."""
        shift = 0 if self.is_local else offset_hours
        return hour_of(self.first) + shift, hour_of(self.last + timedelta(days=1)) + shift

    def blocks(self) -> range:
        """Return the months that any clock touches."""
        return range(block_of(self.first - timedelta(days=1)), block_of(self.last + timedelta(days=1)) + 1)


class Truth:
    """The weather of every place, simulated once: a month and more before the span to a week after it."""

    def __init__(self, *, seed: int, span: Span) -> None:
        self.seed = seed
        self.span = span
        self._known: dict[str, Weather] = {}

    def of(self, place: Place) -> Weather:
        """Return the weather of a place."""
        if place.site_id not in self._known:
            self._known[place.site_id] = simulate_weather(
                place,
                seed=self.seed,
                first_block=block_of(self.span.first) - 2,
                last_block=block_of(self.span.last + timedelta(days=6)) + 1,
            )
        return self._known[place.site_id]
