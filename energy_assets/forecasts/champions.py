"""Which models a forecast needs, and what the registry answers for each: a model, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from energy_assets.errors import ModelError
from energy_assets.forecasts.ladder import Champion
from energy_assets.models.registry import LoadedModel, Registry, UnresolvedModelError, registered_name


def model_names(meters: pl.DataFrame) -> list[str]:
    """Return the names of the registered models of the meters' commodities and interval classes."""
    classes = meters.select("commodity", "interval_minutes").unique().sort("commodity", "interval_minutes")
    return [registered_name(commodity, interval_minutes=minutes) for commodity, minutes in classes.iter_rows()]


def champions_of(registry: Registry, *, meters: pl.DataFrame) -> dict[str, Champion]:
    """Return the champion of every model that the meters need, or the error that names why it cannot serve."""
    answers: dict[str, Champion] = {}
    for name in model_names(meters):
        try:
            answers[name] = registry.resolve(name)
        except UnresolvedModelError as error:
            answers[name] = error
    return answers


def known_at(champions: Mapping[str, Champion], *, issued_at_utc: datetime) -> dict[str, Champion]:
    """Return the champions, without those that have learned from what became known after the issue.

    A night made afterwards is then no better than it would have been; lower rungs serve it. A version that does not say
    up to when it learned is believed.
    """
    return {name: _as_of(name, champion, issued_at_utc=issued_at_utc) for name, champion in champions.items()}


def _as_of(name: str, champion: Champion, *, issued_at_utc: datetime) -> Champion:
    if not isinstance(champion, LoadedModel):
        return champion
    try:
        learned_until = champion.learned_until_utc
    except ModelError:
        return champion
    if learned_until <= issued_at_utc:
        return champion
    return UnresolvedModelError(
        f"{name} version {champion.version} learned up to {learned_until:%Y-%m-%d}, after the issue of "
        f"{issued_at_utc:%Y-%m-%d}; a version of before would have to be champion.",
        reason="learned_later",
    )
