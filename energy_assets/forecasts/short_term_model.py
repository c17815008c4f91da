"""A model of the next hours: what any family says, drawn per interval ahead to the last reading and how days go on.

A family made for the day ahead says too little of what is going on right now. How far it is drawn, and how wide the
band is at each interval ahead, is learned from the last quarter of the issues, which the family has not seen.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS
from energy_assets.errors import ModelError
from energy_assets.features.history import Floats, Ints
from energy_assets.models.calibration import Calibration, calibrate, from_rows
from energy_assets.models.design import SCALE, TARGET, learnable, noise_kwh, split_tail
from energy_assets.models.fitting import fit
from energy_assets.models.quantiles import quantile_frame
from energy_assets.models.spec import Model, ModelSpec, read_json, write_json

_INNER = "inner"
_HELD_OUT = 0.25
_LEAST_ROWS = 100
_STEPS = 10
_LEAST_BAND = 0.02
_ISSUE_OF_METER = ["meter_id", "issued_at_utc"]


@dataclass(frozen=True, kw_only=True)
class ShortTermModel:
    """Weights [interval ahead, candidate] over `_candidates`, and the corrections of the band by interval ahead."""

    inner: Model
    weights: npt.NDArray[np.float64]
    calibration: Calibration

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return KEY and q05 .. q95 in kWh for every row; null where the inner family says nothing."""
        candidates, band = _candidates(features, self.inner)
        ahead = _ahead(features)
        weights = self.weights[np.clip(ahead, 0, len(self.weights) - 1)]
        centre = (weights * candidates).sum(axis=1).astype(np.float32)
        around = np.repeat(centre[:, None], len(LEVELS), axis=1)
        return quantile_frame(features, self.calibration.apply(around, unit=band, lead_day=ahead))

    def save(self, folder: Path) -> None:
        """Write `model.json` and the family's own files below it into the folder."""
        inner = folder / _INNER
        inner.mkdir()
        self.inner.save(inner)
        write_json(
            folder,
            {
                "family": type(self.inner).__module__,
                "weights": self.weights.tolist(),
                "calibration": self.calibration.corrections,
            },
        )


def load(folder: Path) -> ShortTermModel:
    """Return the model that `save` wrote into the folder.

    Raises:
        ModelError: a file is missing or torn.
    """
    content: dict[str, Any] = read_json(folder)
    if not content["family"].startswith("energy_assets."):
        raise ModelError(f"{folder} wants to be loaded by {content['family']}, which is no module of ours.")
    return ShortTermModel(
        inner=importlib.import_module(content["family"]).load(folder / _INNER),
        weights=np.array(content["weights"], dtype=np.float64),
        calibration=from_rows(content["calibration"]),
    )


def fit_short_term(training: pl.DataFrame, *, spec: ModelSpec, seed: int, threads: int = 2) -> ShortTermModel:
    """Return the model of feature rows whose issues lie at all hours and reach a few hours ahead.

    Raises:
        ModelError: there is too little to learn from.
    """
    head, tail = split_tail(learnable(training), share=_HELD_OUT)
    inner = fit(head, spec=spec, seed=seed, threads=threads)
    candidates, band = _candidates(tail, inner)
    target, ahead = tail[TARGET].cast(pl.Float32).to_numpy(), _ahead(tail)
    with np.errstate(invalid="ignore", divide="ignore"):
        # In units of each meter's own noise, or the wildest meters would decide for all.
        errors = (candidates - target[:, None]) / noise_kwh(tail).astype(np.float64)[:, None]
    known = np.isfinite(errors).all(axis=1)
    if not known.any():
        raise ModelError("No held-out interval has both a prediction and a last reading; read more history.")
    pooled = _best_weights(errors[known])
    count = int(ahead.max()) + 1
    weights = np.stack(
        [
            _best_weights(errors[chosen]) if (chosen := known & (ahead == step)).sum() >= _LEAST_ROWS else pooled
            for step in range(count)
        ]
    )
    centre = (weights[ahead] * candidates).sum(axis=1).astype(np.float32)
    around = np.repeat(centre[:, None], len(LEVELS), axis=1)
    issues = tail["issued_at_utc"].n_unique()
    calibration = calibrate(around, target=target, unit=band, lead_day=ahead, issues=issues)
    return ShortTermModel(inner=inner, weights=weights, calibration=calibration)


def _candidates(features: pl.DataFrame, inner: Model) -> tuple[npt.NDArray[np.float64], Floats]:
    """Return [row, candidate] in kWh (the family, the last reading, that moved as such days move), and the band's unit.

    The last reading is unknown where the meter was silent; the family stands in for it.
    """
    said = inner.predict(features).select(pl.col(QUANTILE_COLUMNS).fill_null(np.nan)).to_numpy()
    family = said[:, 3]
    usual = pl.col("kind_mean_kwh").fill_nan(None)
    moved = features.select(
        (pl.col("last_kwh") + usual - usual.sort_by("starts_at_utc").first().over(_ISSUE_OF_METER)).fill_null(np.nan)
    )
    last = features["last_kwh"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    on = moved.to_series().cast(pl.Float64).to_numpy()
    last = np.where(np.isfinite(last), last, family)
    on = np.where(np.isfinite(on), on, last)
    scale = features[SCALE].cast(pl.Float64).fill_null(0).to_numpy()
    band = np.maximum(said[:, 5] - said[:, 1], _LEAST_BAND * np.nan_to_num(scale)).astype(np.float32)
    return np.stack([family, last, on], axis=1), band


def _ahead(features: pl.DataFrame) -> Ints:
    """Return how many whole intervals lie between the issue and the slot."""
    return (features["lead_hours"] * 60 / features["interval_minutes"]).round().to_numpy().astype(np.int64)


def _best_weights(errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the weights on a grid, none negative and their sum one, with the least mean absolute error."""
    steps = range(_STEPS + 1)
    grid = np.array([(a, b, _STEPS - a - b) for a in steps for b in steps if a + b <= _STEPS]) / _STEPS
    losses = [np.abs(errors @ weights).mean() for weights in grid]
    best: npt.NDArray[np.float64] = grid[int(np.argmin(losses))]
    return best
