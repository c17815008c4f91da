"""Experts that learn from more rows than memory holds: a shard at a time, each booster from every third of them.

The regression, the bins and the number of rounds come from rows in memory. The rounds of a booster are spread evenly
over its shards, so the work is that of as many rounds on one shard, and each few trees see rows that are new to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from energy_assets.errors import ModelError
from energy_assets.models import boosting
from energy_assets.models.experts import BOOSTED, Experts, Recipe, growth_of, labels_of
from energy_assets.models.linear import fit_linear
from energy_assets.models.row_store import Shards


def fit_streamed(held: pl.DataFrame, *, shards: Shards, recipe: Recipe, rounds: Mapping[str, int]) -> Experts:
    """Return experts that learned from all shards; `held` are rows in memory, drawn from the same.

    With fewer rounds than shards a booster leaves out the shards that get none.

    Raises:
        ModelError: the shards are empty.
    """
    linear = fit_linear(held, has_weather=recipe.has_weather, seed=recipe.seed)
    shared: dict[str, Any] = {"columns": recipe.columns, "threads": recipe.threads}
    bins = boosting.streamed_matrix(held, label=labels_of(held, linear)["direct"], **shared)
    names = tuple(BOOSTED)
    boosters: dict[str, Any] = dict.fromkeys(names)
    for index, rows in enumerate(shards):
        turn, place = divmod(index, len(names))
        name, turns = names[place], len(range(place, len(shards), len(names)))
        mine = range(rounds[name] * turn // turns, rounds[name] * (turn + 1) // turns)
        if not rows.height or not mine:
            continue
        matrix = boosting.streamed_matrix(rows, label=labels_of(rows, linear)[name], reference=bins, **shared)
        boosters[name] = boosting.grown_on(
            boosters[name],
            growth_of(BOOSTED[name], spec=recipe.spec),
            matrix,
            rounds=mine,
            threads=recipe.threads,
            seed=recipe.seed + place,
        )
    if any(booster is None for booster in boosters.values()):
        raise ModelError("The files of training rows hold none that may be learned from; train from rows in memory.")
    return Experts(linear=linear, boosters=boosters, columns=recipe.columns, rounds=dict(rounds))
