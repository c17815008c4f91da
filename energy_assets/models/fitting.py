"""One `fit` for every family: from a specification and training rows to a model that predicts and saves itself."""

from __future__ import annotations

import polars as pl

from energy_assets.models import blend, trees
from energy_assets.models.analogue import fit_analogue
from energy_assets.models.baselines import fit_baseline
from energy_assets.models.row_store import Shards
from energy_assets.models.spec import Model, ModelSpec


def fit(training: pl.DataFrame, *, spec: ModelSpec, seed: int, threads: int = 2, shards: Shards | None = None) -> Model:
    """Return a fitted model of the family that the specification names.

    `training` are rows of `build_features` of one commodity and interval class; rows whose target is null are left out.
    The caller decides what was known: it passes issues whose slots had been read at the time of training. A blend
    learns from all `shards` where these are given; the training rows are a part of them that memory holds.

    Raises:
        ModelError: there is too little to learn from.
    """
    if spec.family == "blend":
        return blend.fit(training, spec=spec, seed=seed, threads=threads, shards=shards)
    if spec.family in ("trees", "trees_only", "linear"):
        return trees.fit(training, spec=spec, seed=seed, threads=threads)
    if spec.family == "analogue":
        return fit_analogue(training)
    return fit_baseline(training, family=spec.family)
