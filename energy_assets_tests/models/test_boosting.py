"""Matrices in files give the same boosters as those in memory; a GPU that is not there is named."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.errors import ModelError
from energy_assets.models import boosting

COLUMNS = ("a", "b_kwh")


def rows(count: int = 150_000) -> pl.DataFrame:
    draw = np.random.default_rng(1)
    values = draw.normal(size=(2, count)).astype(np.float32)
    values[0, ::7] = np.nan
    return pl.DataFrame({"a": values[0], "b_kwh": values[1], "scale_kwh": np.full(count, 2, dtype=np.float32)})


def grown(frame: pl.DataFrame, *, memory_gb: float) -> np.ndarray:
    label = np.sin(frame["b_kwh"].to_numpy())
    matrix = boosting.streamed_matrix(frame, columns=COLUMNS, label=label, threads=2, memory_gb=memory_gb)
    matrix.set_label(label * 2)
    parameters = {"objective": "reg:squarederror", "max_leaves": 8, "subsample": 0.7}
    booster, _ = boosting.train(parameters, matrix, rounds=6, threads=2, seed=1)
    return boosting.predict(booster, frame.head(2000), columns=COLUMNS)


def test_a_matrix_in_files_gives_the_same_booster_to_the_bit(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made: list[str] = []
    plain = boosting.tempfile.mkdtemp

    def watched(**options):
        made.append(plain(**options))
        return made[-1]

    monkeypatch.setattr(boosting.tempfile, "mkdtemp", watched)
    in_memory = grown(rows(), memory_gb=1)
    assert not made
    in_files = grown(rows(), memory_gb=1e-4)
    assert len(made) == 1
    assert not Path(made[0]).exists()  # gone with the matrix
    assert np.array_equal(in_memory, in_files)
    assert np.ptp(in_files) > 1


@pytest.mark.parametrize(("threads", "memory_gb"), [(1, 1.0), (2, 1.0), (3, 1.0), (2, 1e-4)])
def test_boosters_that_grow_side_by_side_are_those_that_grow_alone(threads: int, memory_gb: float):
    frame = rows(20_000)
    learned, watched = frame.head(16_000), frame.tail(4000)
    parameters = {"objective": "reg:squarederror", "eval_metric": "mae", "max_leaves": 8, "subsample": 0.7}
    shared = {"columns": COLUMNS, "threads": 2}

    def label(part: pl.DataFrame, number: int) -> np.ndarray:
        return np.sin((1 + number) * part["b_kwh"].to_numpy())

    tasks = [
        boosting.Task(
            parameters=parameters,
            label=label(learned, number),
            rounds=12,
            seed=number,
            watch=boosting.watched_matrix(watched, label=label(watched, number), **shared),
        )
        for number in range(3)
    ]
    together = boosting.train_each(tasks, rows=learned, columns=COLUMNS, threads=threads, memory_gb=memory_gb)
    for task, (booster, best) in zip(tasks, together, strict=True):
        matrix = boosting.streamed_matrix(learned, label=task.label, **shared)
        alone, wanted = boosting.train(parameters, matrix, rounds=12, threads=2, seed=task.seed, watch=task.watch)
        assert best == wanted
        assert booster.save_raw("ubj") == alone.save_raw("ubj")


def test_rounds_are_judged_alike_with_values_and_with_bins():
    frame, draw = rows(6000), np.random.default_rng(2)
    label = (np.sin(3 * frame["b_kwh"].to_numpy()) + draw.normal(size=6000)).astype(np.float32)
    learned, watched = frame.head(4000), frame.tail(2000)
    matrix = boosting.streamed_matrix(learned, columns=COLUMNS, label=label[:4000], threads=2)
    seen = {"columns": COLUMNS, "label": label[4000:], "threads": 2}
    parameters = {"objective": "reg:squarederror", "eval_metric": "mae", "max_leaves": 16, "learning_rate": 0.5}
    found = [
        boosting.train(parameters, matrix, rounds=200, threads=2, seed=1, watch=watch)
        for watch in (
            boosting.streamed_matrix(watched, reference=matrix, **seen),
            boosting.watched_matrix(watched, **seen),
        )
    ]
    (by_bins, rounds), (by_values, others) = found
    assert 1 < rounds == others < 200
    assert by_bins.save_raw("ubj") == by_values.save_raw("ubj")


@pytest.mark.parametrize(
    ("is_built", "gpus", "says"),
    [
        pytest.param(False, 0, "xgboost-cpu", id="package-without"),
        pytest.param(True, 0, "shows no GPU", id="machine-without"),
    ],
)
def test_a_gpu_that_is_not_there_is_named_with_its_remedy(monkeypatch, is_built: bool, gpus: int, says: str):
    monkeypatch.setattr(boosting.library(), "build_info", lambda: {"USE_CUDA": is_built})
    monkeypatch.setattr(boosting, "_gpus", lambda: gpus)
    with pytest.raises(ModelError, match=says) as refused:
        boosting.checked_device("cuda")
    assert "ENERGY_ASSETS_TRAINING_DEVICE" in str(refused.value)


def test_a_gpu_that_is_there_is_used(monkeypatch):
    monkeypatch.setattr(boosting.library(), "build_info", lambda: {"USE_CUDA": True})
    monkeypatch.setattr(boosting, "_gpus", lambda: 1)
    assert boosting.checked_device("cuda") == "cuda"
    assert boosting.checked_device("cpu") == "cpu"
