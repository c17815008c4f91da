"""Champions that follow what becomes known: between trainings the outcomes of their own nights move shares and bands.

What a model says at an issue depends on the registered version and on the outcomes of the six weeks before alone, not
on what was computed on other nights: a past forecast is rebuilt from its snapshot, and a back-test makes the numbers
of the night. Outcomes count from fixed days on, every third one, so that nights share their state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

import polars as pl

from energy_assets.errors import ModelError
from energy_assets.forecasts.ladder import Champion
from energy_assets.models.archive import FULL, Model
from energy_assets.models.blend import Blend, Outcomes, joined
from energy_assets.models.registry import LoadedModel, registered_name

REMEMBERED = timedelta(days=42)
_EVERY = timedelta(days=3)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS = 60_000
"""Slots that are enough to judge by; where six weeks have more, the hours of the day are met in turn."""
_STRIDES = (1, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)
"""Hours from a slot that counts to the next; no factor in common with 24, so that every hour of the day is met."""


def follows_until(issued_at_utc: datetime) -> datetime:
    """Return the instant up to which outcomes count at an issue: the last third midnight in UTC."""
    return issued_at_utc - (issued_at_utc - _EPOCH) % _EVERY


def stride_of(meters: pl.DataFrame, *, horizon_hours: float) -> int:
    """Return how many hours apart the slots are that count, so that six weeks of all meters are not too many."""
    of_a_day = float((horizon_hours * 60 / meters["interval_minutes"]).sum()) if meters.height else 0.0
    wanted = of_a_day * REMEMBERED.days / _ROWS
    return next((stride for stride in _STRIDES if stride >= wanted), _STRIDES[-1])


def is_counted(*, stride: int) -> pl.Expr:
    """Return whether a slot is one of those that count."""
    return pl.col("starts_at_utc").dt.epoch("s").floordiv(3600) % stride == 0


@runtime_checkable
class Deferred(Protocol):
    """A model that is trained when it is first asked for."""

    def fitted(self) -> Model:
        """Return the model, trained by now."""


class Followers:
    """The champions of some meters, and the outcomes of issues that these have not learned from."""

    def __init__(self, champions: Mapping[str, Champion], *, meters: pl.DataFrame, stride: int) -> None:
        self._champions, self._stride = champions, stride
        self._members: dict[str, pl.Series] = {}
        self._variants: dict[str, dict[str, Follower]] = {}
        for commodity, minutes, meter_ids in meters.group_by("commodity", "interval_minutes").agg("meter_id").rows():
            name = registered_name(commodity, interval_minutes=minutes)
            champion = champions.get(name)
            if isinstance(champion, LoadedModel) and (since := _unseen_since(champion)) is not None:
                self._members[name] = pl.Series(meter_ids)
                self._variants[name] = {
                    variant: Follower(model, since=since, needs_weather=variant == FULL)
                    for variant, model in champion.variants.items()
                }

    @property
    def unseen_since(self) -> datetime | None:
        """Return since when there may be outcomes that a champion has not learned from; None where none follows."""
        return min((each.since for of in self._variants.values() for each in of.values()), default=None)

    def learn(self, rows: pl.DataFrame) -> None:
        """Take in feature rows with targets, of issues after those before; what is not known at an issue waits."""
        counted = rows.filter(is_counted(stride=self._stride))
        for name, variants in self._variants.items():
            mine = counted.filter(pl.col("meter_id").is_in(self._members[name].implode()))
            for follower in variants.values():
                follower.learn(by_issue(mine))

    def at(self, issued_at_utc: datetime) -> dict[str, Champion]:
        """Return the champions as an issue may know them; issues are asked for in their order."""
        until = follows_until(issued_at_utc)
        following: dict[str, Champion] = dict(self._champions)
        for name, variants in self._variants.items():
            champion = self._champions[name]
            assert isinstance(champion, LoadedModel)
            moved = {variant: _At(follower, until=until) for variant, follower in variants.items()}
            following[name] = replace(champion, variants=moved)
        return following


def by_issue(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the rows of each issue, in order of issue, meter and slot."""
    return rows.sort("issued_at_utc", "meter_id", "starts_at_utc").partition_by("issued_at_utc", maintain_order=True)


class Follower:
    """One model and the outcomes of issues from `since` on, each predicted by itself: no bit depends on another."""

    def __init__(self, model: Model, *, since: datetime, needs_weather: bool) -> None:
        self.since = since
        self._model, self._needs_weather = model, needs_weather
        self._waiting: list[pl.DataFrame] = []
        self._outcomes: list[Outcomes] = []
        self._made: tuple[datetime, Model] | None = None

    def learn(self, issues: Sequence[pl.DataFrame]) -> None:
        """Take in feature rows with targets, one frame per issue, in their order."""
        self._waiting += [rows for rows in issues if rows["issued_at_utc"][0] >= self.since]

    def model(self) -> Model:
        """Return the model as it was trained."""
        return self._model.fitted() if isinstance(self._model, Deferred) else self._model

    def at(self, until: datetime) -> Model:
        """Return the model as what was known at an instant makes it; instants are asked for in their order."""
        if self._made is None or self._made[0] != until:
            self._made = until, self._adapted(until)
        return self._made[1]

    def _adapted(self, until: datetime) -> Model:
        model = self.model()
        if not isinstance(model, Blend):
            return model
        over = [rows for rows in self._waiting if rows["issued_at_utc"][0] < until]
        self._waiting = self._waiting[len(over) :]
        made = (model.outcomes_of(self._served(rows)) for rows in over)
        self._outcomes += [each for each in made if each.rows.height]
        self._outcomes = [each for each in self._outcomes if _issued(each) >= until - REMEMBERED]
        if not self._outcomes:
            return model
        return model.adapted(joined(self._outcomes).only(pl.col("energy_known_at_utc") <= until))

    def _served(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.filter(pl.col("temperature_c").is_finite()) if self._needs_weather else rows


class _At:
    """A variant as it stands at an instant; adapted when the ladder first asks for it."""

    def __init__(self, follower: Follower, *, until: datetime) -> None:
        self._follower, self._until = follower, until

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        return self._follower.at(self._until).predict(features)

    def save(self, folder: Path) -> None:
        self._follower.model().save(folder)


def _unseen_since(champion: LoadedModel) -> datetime | None:
    try:
        return champion.learned_until_utc
    except ModelError:
        return None


def _issued(outcomes: Outcomes) -> datetime:
    issued: datetime = outcomes.rows["issued_at_utc"][0]
    return issued
