"""How wrong a point forecast will be: quantiles of its error from the features, corrected by how wrong it lately was.

The shape is learned by quantile trees from errors on days that the forecast had not seen, in units of the meter's own
noise. The correction is conformal (Romano, Patterson and Candès, 2019) and adapts: scores of recent days count more,
those of a meter's own days as far as there are enough of them, and scores of later days can be added (`later`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import LEVELS
from energy_assets.errors import ModelError
from energy_assets.features.history import Floats, Ints
from energy_assets.models import boosting
from energy_assets.models.design import ROWS_OF_A_DAY, noise_unit

HALF_LIFE_DAYS = 30.0
_SHAPE: dict[str, object] = {
    "objective": "reg:quantileerror",
    "quantile_alpha": list(LEVELS.values()),
    "multi_strategy": "one_output_per_tree",
    "learning_rate": 0.12,
    "max_leaves": 12,
    "min_child_weight": 50.0,
    "subsample": 0.7,
    "colsample_bytree": 0.5,
}
_WIDEST = 50.0
_LEVELS = np.array(list(LEVELS.values()))
_LOW, _MIDDLE, _HIGH = 0, 3, 6
_DAYS_FOR_METER = 40.0
_KEPT_SCORES = 40_000
_LEAST_ROWS = 300


def fit_shape(
    rows: pl.DataFrame, *, error: Floats, columns: tuple[str, ...], rounds: int, threads: int, seed: int
) -> Any:
    """Return a booster of the quantiles of errors [row], which are in multiples of the unit."""
    label = np.clip(error / noise_unit(rows), -_WIDEST, _WIDEST)
    matrix = boosting.streamed_matrix(rows, columns=columns, label=label, threads=threads)
    return boosting.train(_SHAPE, matrix, rounds=rounds, threads=threads, seed=seed)[0]


def departures_of(shape: Any, rows: pl.DataFrame, *, columns: tuple[str, ...]) -> Floats:
    """Return how far each quantile [row, level] lies from the point forecast, in order, in multiples of the unit.

    The point forecast is the median: what the trees say of its error is mostly chance, and cost up to four percent.
    """
    error = boosting.predict(shape, rows, columns=columns, outputs=len(LEVELS))
    error[:, _MIDDLE] = 0
    error[:, :_MIDDLE] = np.minimum(error[:, :_MIDDLE], 0)
    error[:, _MIDDLE + 1 :] = np.maximum(error[:, _MIDDLE + 1 :], 0)
    departures: Floats = np.sort(error, axis=1) * noise_unit(rows)[:, None]
    return departures


def quantiles_around(shape: Any, rows: pl.DataFrame, *, centre: Floats, columns: tuple[str, ...]) -> Floats:
    """Return quantiles [row, level] in order, in multiples of the unit, before any correction."""
    around: Floats = centre[:, None] + departures_of(shape, rows, columns=columns)
    return around


def unit_of(quantiles: Floats) -> Floats:
    """Return the unit of scores [row, side]: half bands below and above the median, never vanishingly small."""
    middle = quantiles[:, _MIDDLE]
    least = np.maximum(0.1 * (quantiles[:, _HIGH] - quantiles[:, _LOW]), np.maximum(np.abs(middle) * 1e-3, 1e-6))
    below, above = middle - quantiles[:, _LOW], quantiles[:, _HIGH] - middle
    units: Floats = np.stack([np.maximum(below, least), np.maximum(above, least)], axis=1).astype(np.float32)
    return units


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Errors of quantiles on days that were not learned from: score [row, level], and whose, when and how far ahead."""

    score: Floats
    meter: npt.NDArray[np.str_]
    issue_day: Ints
    lead_day: Ints

    def later(self, recent: Scores) -> Scores:
        """Return these scores with those of later days added, the newest ones kept where there are too many."""
        joined = {name: np.concatenate([getattr(self, name), getattr(recent, name)]) for name in _PARTS}
        newest = np.argsort(-joined["issue_day"], kind="stable")[:_KEPT_SCORES]
        return Scores(**{name: values[np.sort(newest)] for name, values in joined.items()})

    def save(self, folder: Path) -> None:
        """Write the scores into the folder."""
        for name in _PARTS:
            np.save(folder / f"scores_{name}.npy", getattr(self, name), allow_pickle=False)


_PARTS = ("score", "meter", "issue_day", "lead_day")


def load_scores(folder: Path) -> Scores:
    """Return the scores that `save` wrote.

    Raises:
        ModelError: a file is missing or torn.
    """
    try:
        return Scores(**{name: np.load(folder / f"scores_{name}.npy", allow_pickle=False) for name in _PARTS})
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no whole model: {error}; train and save it again.") from error


def scores_of(rows: pl.DataFrame, *, quantiles: Floats, target: Floats) -> Scores:
    """Return by how many half bands the target lay above each quantile, for rows with both known."""
    known = np.isfinite(target) & np.isfinite(quantiles).all(axis=1)
    chosen, missed = rows.filter(known), target[known, None] - quantiles[known]
    score = missed / _sides(unit_of(quantiles[known]))
    return Scores(
        score=score.astype(np.float32),
        meter=chosen["meter_id"].to_numpy().astype(str),
        issue_day=issue_day_of(chosen),
        lead_day=lead_day_of(chosen),
    )


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Conformal corrections in half bands: [lead day, level] for any meter, and the departure of single meters."""

    of_lead: Floats
    meters: tuple[str, ...]
    of_meter: Floats

    def apply(self, quantiles: Floats, *, rows: pl.DataFrame) -> Floats:
        """Return the corrected quantiles [row, level], in order."""
        place = {name: index for index, name in enumerate(self.meters)}
        names, inverse = np.unique(rows["meter_id"].to_numpy().astype(str), return_inverse=True)
        mine = np.array([place.get(name, -1) for name in names], dtype=np.int64)[inverse]
        departures = np.concatenate([self.of_meter, np.zeros((1, len(_LEVELS)), dtype=np.float32)])
        shift = self.of_lead[np.clip(lead_day_of(rows), 0, len(self.of_lead) - 1)] + departures[mine]
        moved = quantiles + shift * _sides(unit_of(quantiles))
        middle = quantiles[:, _MIDDLE]
        moved[:, :_MIDDLE] = np.minimum(moved[:, :_MIDDLE], middle[:, None])
        moved[:, _MIDDLE + 1 :] = np.maximum(moved[:, _MIDDLE + 1 :], middle[:, None])
        ordered: Floats = np.sort(moved, axis=1)
        return ordered


def correction_of(scores: Scores) -> Correction:
    """Return the corrections that give each level its share of recent targets, by day of lead and by meter.

    The median stays where the point forecast is: shares of experts are what moves that.
    """
    levels = len(_LEVELS)
    if not len(scores.score):
        return Correction(
            of_lead=np.zeros((1, levels), np.float32), meters=(), of_meter=np.zeros((0, levels), np.float32)
        )
    weight = 0.5 ** ((scores.issue_day.max() - scores.issue_day) / HALF_LIFE_DAYS)
    of_leads = [scores.lead_day == lead for lead in range(int(scores.lead_day.max()) + 1)]
    alone = [own.sum() >= _LEAST_ROWS for own in of_leads]
    pooled = None if all(alone) else _weighted_levels(scores.score, weight)
    of_lead = np.stack(
        [
            _weighted_levels(scores.score[own], weight[own]) if is_enough or pooled is None else pooled
            for own, is_enough in zip(of_leads, alone, strict=True)
        ]
    )
    left = scores.score - of_lead[scores.lead_day]
    meters, inverse = np.unique(scores.meter, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    edges = np.searchsorted(inverse[order], np.arange(len(meters) + 1))
    of_meter = np.zeros((len(meters), levels), dtype=np.float32)
    for index in range(len(meters) if len(meters) > 1 else 0):
        own = order[edges[index] : edges[index + 1]]
        days = _days(weight[own], scores.issue_day[own])
        of_meter[index] = _weighted_levels(left[own], weight[own]) * days / (days + _DAYS_FOR_METER)
    return Correction(of_lead=of_lead, meters=tuple(str(name) for name in meters), of_meter=of_meter)


def thinned(scores: Scores, *, seed: int) -> Scores:
    """Return a random part of the scores, few enough to be stored with a model."""
    if len(scores.score) <= _KEPT_SCORES:
        return scores
    chosen = np.sort(np.random.default_rng(seed).choice(len(scores.score), size=_KEPT_SCORES, replace=False))
    return Scores(**{name: getattr(scores, name)[chosen] for name in _PARTS})


def issue_day_of(rows: pl.DataFrame) -> Ints:
    """Return the day of the issue [row], counted from the epoch."""
    days: Ints = (rows["issued_at_utc"].to_physical() // 86_400_000_000).to_numpy().astype(np.int64)
    return days


def lead_day_of(rows: pl.DataFrame) -> Ints:
    """Return the whole days between issue and slot [row]."""
    return (rows["lead_hours"].to_numpy() // 24).astype(np.int64)


def _sides(units: Floats) -> Floats:
    """Return the unit of each level [row, level]: the lower half band below the median, else the upper one."""
    low, high = units[:, :1], units[:, 1:]
    middle = 0.5 * (low + high)
    return np.concatenate([low, low, low, middle, high, high, high], axis=1)


def _days(weight: Floats, issue_day: Ints) -> float:
    """Return how many days speak, older ones counting as they age; a day of fewer than ROWS_OF_A_DAY counts in part."""
    _, first = np.unique(issue_day, return_index=True)
    return float(min(weight[first].sum(), weight.sum() / ROWS_OF_A_DAY))


def _weighted_levels(scores: Floats, weight: Floats) -> Floats:
    """Return per level the score that a new one stays below with that probability, rounded to the wide side.

    A new score may lie beyond all that are known; that possibility gets the mean weight of one score.
    """
    corrections = np.zeros(len(_LEVELS), dtype=np.float32)
    for index, level in enumerate(_LEVELS):
        order = np.argsort(scores[:, index], kind="stable")
        total = weight.sum() + weight.mean()
        reached = np.cumsum(weight[order])
        wanted = level * total if level >= 0.5 else level * total - weight.mean()
        place = np.searchsorted(reached, wanted - 1e-9 * total)
        corrections[index] = scores[order[min(int(place), len(order) - 1)], index]
    corrections[_MIDDLE] = 0
    return corrections
