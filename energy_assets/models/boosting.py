"""XGBoost as this package uses it: matrices streamed in chunks, boosters trained, stored as UBJSON, and predicted with.

The only module that imports xgboost. Chunks keep the float matrix from existing twice; a matrix that is larger than it
may be lies in files and is read a page at a time, which gives the same boosters to the bit.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from energy_assets.errors import ModelError
from energy_assets.features.history import Floats
from energy_assets.models.design import scaled

CHUNK_ROWS = 65_536
_BINS = 128


def library() -> Any:
    """Return the xgboost module; its waiting threads sleep: spinning took ten times as long on a busy machine."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import xgboost

    return xgboost


def checked_device(device: str) -> str:
    """Return the device where boosters can be grown on it here.

    Raises:
        ModelError: a GPU is wanted, and this xgboost was built without one, or the machine has none. XGBoost itself
            would go on with the processor and only say so in a warning.
    """
    if device == "cpu":
        return device
    remedy = "set training_device to cpu (ENERGY_ASSETS_TRAINING_DEVICE), or"
    if not library().build_info().get("USE_CUDA"):
        raise ModelError(
            f"Training on {device} is asked for, but the xgboost that is installed cannot: {remedy} install the "
            f"package xgboost in place of xgboost-cpu."
        )
    if not _gpus():
        raise ModelError(f"Training on {device} is asked for, but this machine shows no GPU: {remedy} see nvidia-smi.")
    return device


def _gpus() -> int:
    """Return how many GPUs the driver shows."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    return 0 if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) else count.value


def streamed_matrix(
    rows: pl.DataFrame,
    *,
    columns: tuple[str, ...],
    label: Floats,
    threads: int,
    reference: Any = None,
    memory_gb: float = float("inf"),
) -> Any:
    """Return a quantile matrix of the rows' scaled features, made chunk by chunk; `reference` lends its bins.

    A cell takes a byte. With more of them than `memory_gb` the matrix lies in files of a temporary folder as long as
    it lives.
    """
    xgb = library()
    folder = None if rows.height * len(columns) <= memory_gb * 1e9 else tempfile.mkdtemp(prefix="matrix-")

    class Chunks(xgb.DataIter):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self._parts = _parts(rows, label)
            super().__init__(cache_prefix=None if folder is None else str(Path(folder, "pages")))

        def next(self, input_data: Any) -> bool:
            part = next(self._parts, None)
            if part is None:
                return False
            frame, labels = part
            input_data(data=scaled(frame, columns), label=labels)
            return True

        def reset(self) -> None:
            self._parts = _parts(rows, label)

    kind = xgb.QuantileDMatrix if folder is None else xgb.ExtMemQuantileDMatrix
    matrix = kind(Chunks(), ref=reference, max_bin=_BINS, nthread=threads)
    if folder is not None:
        weakref.finalize(matrix, shutil.rmtree, folder, ignore_errors=True)
    return matrix


def watched_matrix(rows: pl.DataFrame, *, columns: tuple[str, ...], label: Floats, threads: int) -> Any:
    """Return a matrix of the rows' scaled features to judge rounds on, at a fifth of what a quantile matrix takes.

    Each new tree is read with the values themselves instead of their bins, which gives the same errors to the bit.
    """
    return library().DMatrix(scaled(rows, columns), label=label, nthread=threads)


def train(
    parameters: dict[str, object], matrix: Any, *, rounds: int, threads: int, seed: int, watch: Any = None
) -> tuple[Any, int]:
    """Return a booster and its number of rounds; with `watch` the best round on that matrix."""
    settings = _settings(parameters, threads=threads, seed=seed)
    checked_device(str(parameters.get("device", "cpu")))
    stopping = {} if watch is None else {"evals": [(watch, "tail")], "early_stopping_rounds": 30}
    booster = library().train(settings, matrix, rounds, verbose_eval=False, **stopping)
    best = rounds if watch is None else int(booster.best_iteration) + 1
    return booster[:best], best


@dataclass(frozen=True, kw_only=True)
class Task:
    """A booster to train: its parameters, label [row], most rounds and seed; with `watch` it stops at its best."""

    parameters: dict[str, object]
    label: Floats
    rounds: int
    seed: int
    watch: Any = None


def train_each(
    tasks: Sequence[Task],
    *,
    rows: pl.DataFrame,
    columns: tuple[str, ...],
    threads: int,
    memory_gb: float = float("inf"),
) -> list[tuple[Any, int]]:
    """Return what `train` returns for each task on the same rows, to the bit.

    As many boosters as there are threads grow side by side on one thread each, because the threads of one booster wait
    for each other; those left over have all threads. Where memory is short, or on a GPU, one grows after the other.
    """
    shared: dict[str, Any] = {"columns": columns, "threads": threads}
    matrix = streamed_matrix(rows, label=tasks[0].label, memory_gb=memory_gb, **shared)
    is_small = rows.height * len(columns) * (1 + len(tasks)) <= memory_gb * 1e9
    on_processor = all(task.parameters.get("device", "cpu") == "cpu" for task in tasks)
    beside = len(tasks) // threads * threads if threads > 1 and is_small and on_processor else 0

    def trained(task: Task, own: Any, number: int) -> tuple[Any, int]:
        return train(task.parameters, own, rounds=task.rounds, threads=number, seed=task.seed, watch=task.watch)

    # Made one after the other: they lend their bins to each other.
    matrices = [streamed_matrix(rows, label=task.label, reference=matrix, **shared) for task in tasks[:beside]]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        made = list(pool.map(lambda task, own: trained(task, own, 1), tasks[:beside], matrices))
    for task in tasks[beside:]:
        matrix.set_label(task.label)
        made.append(trained(task, matrix, threads))
    return made


def grown_on(
    booster: Any, parameters: dict[str, object], matrix: Any, *, rounds: range, threads: int, seed: int
) -> Any:
    """Return a booster (a new one for None) grown on with rows that it has not seen: `rounds` by their numbers."""
    if booster is None:
        checked_device(str(parameters.get("device", "cpu")))
        # A number of its own per round: boosters that grow in turn would share one stream of chance.
        settings = {**_settings(parameters, threads=threads, seed=seed), "seed_per_iteration": True}
        booster = library().Booster(settings, [matrix])
    for number in rounds:
        booster.update(matrix, number)
    return booster


def predict(booster: Any, rows: pl.DataFrame, *, columns: tuple[str, ...], outputs: int = 1) -> Floats:
    """Return predictions [row] or [row, output], computed in chunks."""
    parts = [np.empty((0, outputs), dtype=np.float32)]
    parts += [
        booster.inplace_predict(scaled(part, columns)).reshape(part.height, outputs)
        for part in rows.iter_slices(CHUNK_ROWS)
    ]
    values: Floats = np.concatenate(parts).astype(np.float32)
    return values[:, 0] if outputs == 1 else values


def predict_each(boosters: Sequence[Any], rows: pl.DataFrame, *, columns: tuple[str, ...]) -> Floats:
    """Return predictions [row, booster] of boosters with one output that share their columns, computed in chunks."""
    parts = [np.empty((0, len(boosters)), dtype=np.float32)]
    for part in rows.iter_slices(CHUNK_ROWS):
        values = scaled(part, columns)
        parts.append(np.column_stack([booster.inplace_predict(values).reshape(-1) for booster in boosters]))
    return np.concatenate(parts).astype(np.float32)


def save_booster(booster: Any, path: Path) -> None:
    """Write a booster as UBJSON."""
    booster.save_model(path)


def load_booster(path: Path) -> Any:
    """Return the booster in a UBJSON file.

    Raises:
        ModelError: the file is missing or not a booster.
    """
    xgb = library()
    booster = xgb.Booster()
    try:
        booster.load_model(path)
    except xgb.core.XGBoostError as error:
        raise ModelError(f"{path} is not a booster: {str(error).splitlines()[0]}; train the model again.") from error
    return booster


def _settings(parameters: dict[str, object], *, threads: int, seed: int) -> dict[str, object]:
    return {
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_depth": 0,
        "max_bin": _BINS,
        "nthread": threads,
        "seed": seed,
        "verbosity": 0,
        **parameters,
    }


def _parts(rows: pl.DataFrame, label: Floats) -> Iterator[tuple[pl.DataFrame, Floats]]:
    for start in range(0, rows.height, CHUNK_ROWS):
        yield rows.slice(start, CHUNK_ROWS), label[start : start + CHUNK_ROWS]
