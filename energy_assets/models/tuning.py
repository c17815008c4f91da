"""Hyper-parameters of a blend by their error on days that were not learned from, within a stated time.

Optuna proposes and prunes where it is installed (the extra `tune`); without it a fixed list of sensible variations is
tried in order until the time is up. Either way the specification that was given is tried first and kept unless another
one is better, so tuning never makes a model worse on the days that it judges by.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import polars as pl

from energy_assets.models.blend import out_of_fold
from energy_assets.models.design import TARGET, at_most, learnable, noise_unit, scaled
from energy_assets.models.experts import PRIOR
from energy_assets.models.spec import ModelSpec

TUNED = ("learning_rate", "leaves", "column_share")
_LEAVES, _LEARNING_RATES, _COLUMN_SHARES = (12, 128), (0.03, 0.2), (0.25, 0.9)
_BORDERS = (0.6, 0.8)
_ROWS = 60_000
_LEAST_GAIN = 0.002
"""What a variation must gain: less is chance."""
_VARIATIONS: tuple[dict[str, float | int], ...] = (
    {"leaves": 24},
    {"leaves": 96},
    {"column_share": 0.3},
    {"column_share": 0.8},
    {"learning_rate": 0.04},
    {"leaves": 24, "column_share": 0.3},
    {"leaves": 96, "column_share": 0.3},
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The specification that was found, its error and that of the given one, and how many were tried."""

    spec: ModelSpec
    error: float
    error_before: float
    trials: int


def tune(
    training: pl.DataFrame, *, spec: ModelSpec, seconds: float, seed: int, threads: int = 2, most_trials: int = 100
) -> Tuned:
    """Return the best specification that was found within `seconds`; the trial that is under way is finished.

    `training` is what `fit` takes, thinned to 60,000 rows. The error is the mean absolute one out of fold, in units of
    the meter's noise, of the experts mixed by their prior shares.

    Raises:
        ModelError: there is too little to learn from.
    """
    rows = at_most(learnable(training), count=_ROWS, seed=seed)
    began = time.monotonic()

    def error_of(changed: dict[str, float | int]) -> float:
        return _out_of_fold_error(rows, spec=spec.model_copy(update=changed), seed=seed, threads=threads)

    def is_over() -> bool:
        return time.monotonic() - began >= seconds

    before = error_of({})
    search = _search(error_of, spec=spec, before=before, seed=seed, is_over=is_over)
    tried = list(islice(search, most_trials))
    best, error = min(tried, key=lambda each: each[1], default=({}, before))
    if error > before * (1 - _LEAST_GAIN):
        best, error = {}, before
    _log.info("%d trials in %.0f s: error %.4f from %.4f with %s", len(tried), seconds, error, before, best)
    return Tuned(spec=spec.model_copy(update=best), error=error, error_before=before, trials=len(tried))


Changes = dict[str, float | int]


def _search(
    error_of: Callable[[Changes], float], *, spec: ModelSpec, before: float, seed: int, is_over: Callable[[], bool]
) -> Iterator[tuple[Changes, float]]:
    if importlib.util.find_spec("optuna") is None:
        for variation in _VARIATIONS:
            if is_over():
                return
            yield variation, error_of(variation)
        return
    study = _study(seed)
    study.add_trial(_known_trial(spec, before))
    while not is_over():
        trial = study.ask()
        changes: Changes = {
            "leaves": trial.suggest_int("leaves", *_LEAVES, log=True),
            "learning_rate": trial.suggest_float("learning_rate", *_LEARNING_RATES, log=True),
            "column_share": trial.suggest_float("column_share", *_COLUMN_SHARES),
        }
        error = error_of(changes)
        study.tell(trial, error)
        yield changes, error


def _study(seed: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=6))


def _known_trial(spec: ModelSpec, error: float) -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.trial import create_trial

    limits = {
        "leaves": IntDistribution(*_LEAVES, log=True),
        "learning_rate": FloatDistribution(*_LEARNING_RATES, log=True),
        "column_share": FloatDistribution(*_COLUMN_SHARES),
    }
    borders = dict(zip(TUNED, (_LEARNING_RATES, _LEAVES, _COLUMN_SHARES), strict=True))
    given = {name: min(max(getattr(spec, name), low), high) for name, (low, high) in borders.items()}
    return create_trial(params=given, distributions=limits, value=error)


def _out_of_fold_error(rows: pl.DataFrame, *, spec: ModelSpec, seed: int, threads: int) -> float:
    folds = spec.model_copy(update={"borders": _BORDERS})
    unseen, predictions = out_of_fold(rows, spec=folds, seed=seed, threads=threads)
    missed = np.abs(predictions @ PRIOR - scaled(unseen, (TARGET,))[:, 0]) / np.maximum(noise_unit(unseen), 0.05)
    return float(missed.mean())
