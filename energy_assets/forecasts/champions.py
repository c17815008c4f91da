"""Which models a forecast needs, and what the registry answers for each: a model, or the reason why there is none."""

from __future__ import annotations

import polars as pl

from energy_assets.forecasts.ladder import Champion
from energy_assets.models.registry import Registry, UnresolvedModelError, registered_name


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
