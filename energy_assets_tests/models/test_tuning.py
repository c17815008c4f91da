"""Tuning never makes worse, keeps to its time, and works with and without Optuna."""

import importlib.util

import polars as pl
import pytest

from energy_assets.models import tuning
from energy_assets.models.spec import ModelSpec
from energy_assets_tests.models.worlds import office_features

SMALL = ModelSpec(rounds=8, leaves=2, learning_rate=0.05)


def rows() -> pl.DataFrame:
    return office_features(days=28, meter_count=2)


@pytest.mark.parametrize("has_optuna", [pytest.param(True, id="optuna"), pytest.param(False, id="without")])
def test_what_is_found_is_better_than_what_was_given(has_optuna, monkeypatch):
    if has_optuna:
        pytest.importorskip("optuna", reason="the extra `tune` is not installed")
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = tuning.tune(rows(), spec=SMALL, seconds=1e6, seed=1, most_trials=3)
    assert found.trials == 3
    assert found.error < found.error_before
    assert found.spec.leaves > SMALL.leaves
    assert found.spec.rounds == SMALL.rounds


def test_without_time_the_given_one_is_kept():
    found = tuning.tune(rows(), spec=SMALL, seconds=0, seed=1)
    assert (found.spec, found.trials, found.error) == (SMALL, 0, found.error_before)


def test_chance_is_no_gain(monkeypatch):
    errors = iter([1.0, 0.9985, 0.999, *[1.2] * 5000])
    monkeypatch.setattr(tuning, "_out_of_fold_error", lambda *_, **__: next(errors))
    assert tuning.tune(rows(), spec=SMALL, seconds=1e6, seed=1, most_trials=20).spec == SMALL
