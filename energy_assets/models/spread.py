"""How wrong a band lately was, and what that corrects it by.

The correction is conformal (Romano, Patterson and Candès, 2019) and adapts: scores of recent days count more, those of
a meter's own days as far as there are enough of them, and scores of later days can be added (`later`). Scores of one
day hang together, so a band errs on the wide side by what one independent score weighs, not one reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import LEVELS
from energy_assets.errors import ModelError
from energy_assets.features.history import Floats, Ints
from energy_assets.models.design import ROWS_OF_A_DAY

Doubles = npt.NDArray[np.float64]

HALF_LIFE_DAYS = 30.0
_LEVELS = np.array(list(LEVELS.values()))
_LOW, _MIDDLE, _HIGH = 0, 3, 6
_DAYS_FOR_METER = 40.0
_KEPT_SCORES = 40_000
_LEAST_ROWS = 300


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
    pooled = None if all(alone) else _corrections(scores.score, weight, day=scores.issue_day)
    of_lead = np.stack(
        [
            _corrections(scores.score[own], weight[own], day=scores.issue_day[own])
            if is_enough or pooled is None
            else pooled
            for own, is_enough in zip(of_leads, alone, strict=True)
        ]
    )
    meters, inverse = np.unique(scores.meter, return_inverse=True)
    left = scores.score - of_lead[scores.lead_day]
    of_meter = _departures(left, weight, meter=inverse, day=scores.issue_day)
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


def _alike(scores: Floats, reached: Floats | Doubles, group: Ints) -> Doubles:
    """Return how much the rows of a group stay below a score [level] together: from 0, not at all, to 1, all or none.

    The intraclass correlation of a one-way analysis of variance; a group alone is one observation.
    """
    _, place, size = np.unique(group, return_inverse=True, return_counts=True)
    rows, groups = len(group), len(size)
    if groups == 1:
        return np.ones(len(_LEVELS))
    if groups == rows:
        return np.zeros(len(_LEVELS))
    below = scores <= reached
    counts = np.stack([np.bincount(place, weights=column, minlength=groups) for column in below.T], axis=1)
    share, whole = counts / size[:, None], below.mean(axis=0)
    between = (size[:, None] * (share - whole) ** 2).sum(axis=0) / (groups - 1)
    within = (counts * (1 - share)).sum(axis=0) / (rows - groups)
    typical = (rows - (size.astype(np.float64) ** 2).sum() / rows) / (groups - 1)
    spread = between + (typical - 1) * within
    alike: Doubles = np.divide(between - within, spread, out=np.zeros(len(_LEVELS)), where=spread > 0)
    return np.clip(alike, 0, 1)


def _weight_of_one(weight: Floats, *, group: Ints, alike: Doubles) -> Doubles:
    """Return the weight [level] that one independent score would have: all weight by how many such scores there are.

    The variance of a weighted share is that of one score times [sum w^2 + alike x (sum over groups of (sum w)^2 - sum
    w^2)] / (sum w)^2 (Kish, Survey Sampling, 1965): scores of one weight that are not alike weigh one each, and all of
    a group that are wholly alike weigh as much as the group.
    """
    rows = float((weight**2).sum())
    groups = float((np.bincount(np.unique(group, return_inverse=True)[1], weights=weight) ** 2).sum())
    one: Doubles = (rows + alike * (groups - rows)) / weight.sum()
    return one


def _corrections(scores: Floats, weight: Floats, *, day: Ints) -> Floats:
    """Return the corrections [level] that scores of days ask for; those of one day hang together."""
    reached = _levels(scores, weight, unseen=np.zeros(len(_LEVELS)))
    return _levels(scores, weight, unseen=_weight_of_one(weight, group=day, alike=_alike(scores, reached, day)))


def _departures(left: Floats, weight: Floats, *, meter: Ints, day: Ints) -> Floats:
    """Return what meters [meter, level] need beyond the corrections of all, as far as days speak for it.

    How much the scores of a meter's day hang together is taken from all meters, since one has few days.
    """
    count = int(meter.max()) + 1
    departures = np.zeros((count, len(_LEVELS)), dtype=np.float32)
    if count == 1:
        return departures
    alike = _alike(left, np.zeros(len(_LEVELS)), meter * (day.max() + 1) + day)
    order = np.argsort(meter, kind="stable")
    edges = np.searchsorted(meter[order], np.arange(count + 1))
    for index in range(count):
        own = order[edges[index] : edges[index + 1]]
        days = _days(weight[own], day[own])
        unseen = _weight_of_one(weight[own], group=day[own], alike=alike)
        departures[index] = _levels(left[own], weight[own], unseen=unseen) * days / (days + _DAYS_FOR_METER)
    return departures


def _levels(scores: Floats, weight: Floats, *, unseen: Doubles) -> Floats:
    """Return per level the score that a new one stays below with that probability, rounded to the wide side.

    A new score may lie beyond all that are known; that possibility has the weight `unseen` [level].
    """
    corrections = np.zeros(len(_LEVELS), dtype=np.float32)
    for index, level in enumerate(_LEVELS):
        order = np.argsort(scores[:, index], kind="stable")
        total = weight.sum() + unseen[index]
        reached = np.cumsum(weight[order])
        wanted = level * total if level >= 0.5 else level * total - unseen[index]
        place = np.searchsorted(reached, wanted - 1e-9 * total)
        corrections[index] = scores[order[min(int(place), len(order) - 1)], index]
    corrections[_MIDDLE] = 0
    return corrections
