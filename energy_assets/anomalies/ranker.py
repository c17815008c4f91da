"""The supervised ranker: how likely a slot is a fault, learned from labels and from what people said about events.

Gradient-boosted trees on value changes correct what the detectors' score alone would say; the outcome becomes a
probability by a logistic curve with an offset per site, fitted on meters that the trees have not seen. Off until labels
suffice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from energy_assets.anomalies.grid import Bools, Floats, Ints
from energy_assets.anomalies.ranker_calibration import SiteCurve, fit_site_curve, shared_curve
from energy_assets.anomalies.ranker_features import SCORE, Sides, feature_names
from energy_assets.anomalies.ranker_gain import gain_over_detectors
from energy_assets.anomalies.ranker_labels import LabelMinimum, shortage
from energy_assets.models.boosting import library, load_booster, save_booster, train
from energy_assets.models.spec import read_json, write_json

NAME = "anomaly-ranker"
UNSUPERVISED = "unsupervised"


class RankerSpec(BaseModel):
    """How the ranker is trained; `bench/ranker.py` measures what the defaults reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sides: Sides = Field("past", description="Look only back, as a nightly run must, or also ahead, for history.")
    with_score: bool = Field(default=True, description="Whether the detectors' score is one of the features.")
    rounds: Annotated[int, Field(ge=1)] = Field(120, description="Trees.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="Step of the trees.")
    leaves: Annotated[int, Field(ge=2)] = Field(31, description="Leaves of a tree.")
    least_weight: Annotated[float, Field(ge=0)] = Field(4.0, description="Least sum of curvature in a leaf.")
    long_fault_hours: Annotated[float, Field(gt=0)] = Field(
        24.0, description="Slots of a fault with more of them count less, so that long faults do not drown short ones."
    )
    good_per_fault: Annotated[int, Field(ge=1)] = Field(15, description="Good slots that are learned from per fault.")
    folds: Annotated[int, Field(ge=2)] = Field(3, description="Groups of meters for predictions out of sample.")
    minimum: LabelMinimum = Field(LabelMinimum(), description="The fewest labels with which it is trained.")

    @property
    def features(self) -> tuple[str, ...]:
        """Return the columns that the trees see."""
        names = feature_names(self.sides)
        return names if self.with_score else tuple(name for name in names if name != SCORE)


@dataclass(frozen=True)
class Trees:
    """Trees, and the line (slope, intercept) over the detectors' logit that they correct; (0, 0) without the score."""

    booster: Any
    line: tuple[float, float]

    def logits(self, rows: pl.DataFrame, *, names: tuple[str, ...]) -> Floats:
        """Return the logit of a fault for every row, computed in pieces."""
        parts = [np.empty(0)]
        for piece in rows.iter_slices(262_144):
            given = piece.select(pl.col(name).cast(pl.Float32) for name in names).to_numpy()
            start = _on_line(piece, self.line)
            parts.append(self.booster.inplace_predict(given, predict_type="margin", base_margin=start).reshape(-1))
        return np.concatenate(parts).astype(np.float64)


@dataclass(frozen=True)
class Ranker:
    """A trained ranker; the registry stores it by `save` and `load`."""

    trees: Trees
    features: tuple[str, ...]
    curve: SiteCurve

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return meter_id, starts_at_utc and `score`, the probability of a fault, for every row of features."""
        raw = self.trees.logits(features, names=self.features)
        score = self.curve.probability(raw, sites=features["site_id"])
        return features.select("meter_id", "starts_at_utc").with_columns(score=pl.Series(score, dtype=pl.Float64))

    def save(self, folder: Path) -> None:
        """Write the ranker into a folder that exists."""
        save_booster(self.trees.booster, folder / "trees.ubj")
        line = list(self.trees.line)
        write_json(folder, {"features": list(self.features), "curve": self.curve.as_json(), "line": line})


def load(folder: Path) -> Ranker:
    """Return the ranker that `save` wrote.

    Raises:
        ModelError: a file is missing or torn.
    """
    content = read_json(folder)
    names, curve, line = content["features"], content["curve"], content["line"]
    if not isinstance(names, list) or not isinstance(curve, Mapping) or not isinstance(line, list):
        raise ValueError(f"{folder} holds no ranker")
    trees = Trees(load_booster(folder / "trees.ubj"), (float(line[0]), float(line[1])))
    return Ranker(trees, tuple(map(str, names)), SiteCurve.from_json(curve))


@dataclass(frozen=True, kw_only=True)
class TrainedRanker:
    """A ranker, and what it reached on meters that its trees had not seen.

    `metrics` by method (`model`, `unsupervised`): average_precision; of the model also its calibration_error, its gain
    over the detectors and the lower bound of that, gain_at_least. `unseen` holds meter_id, site_id, starts_at_utc,
    is_fault, score and detector_score of every labelled slot.
    """

    ranker: Ranker
    metrics: dict[str, dict[str, float]]
    unseen: pl.DataFrame
    rows: int


def train_ranker(
    features: pl.DataFrame,
    *,
    labels: pl.DataFrame,
    spec: RankerSpec | None = None,
    seed: int = 0,
    threads: int = 2,
) -> TrainedRanker | str:
    """Return a ranker trained on the labelled slots, or what labels are lacking.

    `features` are rows of `ranker_features`, `labels` of ranker_labels.LABELS; rows without the other are left out.
    """
    spec = spec or RankerSpec()
    rows = features.join(labels, on=["meter_id", "starts_at_utc"], how="inner", validate="1:1")
    lacking = shortage(rows.select("meter_id", "starts_at_utc", "is_fault"), minimum=spec.minimum)
    if lacking is not None:
        return lacking
    rows = rows.sort("meter_id", "starts_at_utc")
    fault = rows["is_fault"].to_numpy()
    fold = _folds(rows["meter_id"], count=spec.folds, seed=seed)
    raw = np.full(rows.height, np.nan)
    for number in range(spec.folds):
        trees = _fit(rows, fault, chosen=fold != number, spec=spec, seed=seed, threads=threads)
        raw[fold == number] = trees.logits(rows.filter(pl.Series(fold == number)), names=spec.features)
    curve = fit_site_curve(raw, fault=fault, sites=rows["site_id"])
    everything = np.ones(rows.height, dtype=bool)
    ranker = Ranker(_fit(rows, fault, chosen=everything, spec=spec, seed=seed, threads=threads), spec.features, curve)
    probability = curve.probability(raw, sites=rows["site_id"])
    unseen = rows.select("meter_id", "site_id", "starts_at_utc", "is_fault", SCORE).with_columns(
        score=pl.Series(probability)
    )
    gain = gain_over_detectors(unseen, seed=seed)
    metrics = {
        "model": {
            "gain": gain.measured,
            "gain_at_least": gain.at_least,
            "average_precision": average_precision(fault, probability),
            "average_precision_per_site": precision_per_site(unseen, "score"),
            "calibration_error": calibration_error(fault, probability),
        },
        UNSUPERVISED: {
            "average_precision": average_precision(fault, rows[SCORE].fill_null(0).fill_nan(0).to_numpy()),
            "average_precision_per_site": precision_per_site(unseen, SCORE),
        },
    }
    return TrainedRanker(ranker=ranker, metrics=metrics, unseen=unseen, rows=rows.height)


def average_precision(fault: Bools, score: Floats) -> float:
    """Return the area under precision and recall as a sum over thresholds; equal scores are one threshold."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(fault[order])
    last = np.append(np.diff(score[order]) != 0, True)
    hits, seen = hits[last], np.flatnonzero(last) + 1
    if not hits.size or hits[-1] == 0:
        return 0.0
    return float(np.sum(np.diff(np.concatenate([[0], hits])) * hits / seen) / hits[-1])


def precision_per_site(rows: pl.DataFrame, column: str) -> float:
    """Return the mean average precision of a score over the sites that have a fault, so that no large site decides."""
    parts = [
        average_precision(part["is_fault"].to_numpy(), part[column].fill_null(0).fill_nan(0).to_numpy())
        for part in rows.partition_by("site_id")
        if part["is_fault"].any()
    ]
    return float(np.mean(parts)) if parts else 0.0


def calibration_error(fault: Bools, probability: Floats, *, bins: int = 15) -> float:
    """Return the mean distance of stated and observed shares over bins of equal count, in the likelier half of slots.

    The other half is nearly certainly good, and would make any curve look calibrated.
    """
    order = np.argsort(probability, kind="stable")[len(probability) // 2 :]
    parts = np.array_split(order, bins)
    gaps = [abs(float(probability[part].mean()) - float(fault[part].mean())) for part in parts if len(part)]
    return float(np.mean(gaps)) if gaps else 0.0


def judge_ranker(metrics: Mapping[str, Mapping[str, float]]) -> str | None:
    """Return why a ranker must not be used; None where it surely beats the detectors on unseen meters.

    Sure is a gain in average precision whose lower bound over draws of meters is above zero; in the mean of the sites
    it must not lose either.
    """
    ours, theirs = metrics["model"], metrics[UNSUPERVISED]
    if ours["gain_at_least"] <= 0:
        return (
            f"no sure gain: average precision {ours['average_precision']:.3f} on unseen meters against "
            f"{theirs['average_precision']:.3f} of the detectors' score, {ours['gain_at_least']:+.3f} at least"
        )
    name = "average_precision_per_site"
    if ours[name] < theirs[name]:
        return f"per site {ours[name]:.3f} on unseen meters against {theirs[name]:.3f} of the detectors' score"
    return None


def _folds(meters: pl.Series, *, count: int, seed: int) -> Ints:
    """Return the fold of each row: whole meters, in an order that the seed mixes."""
    names = meters.unique().sort()
    place = np.random.default_rng(seed).permutation(len(names)) % count
    codes = meters.cast(pl.Enum(names)).to_physical().to_numpy()
    fold: Ints = place[codes]
    return fold


def _fit(rows: pl.DataFrame, fault: Bools, *, chosen: Bools, spec: RankerSpec, seed: int, threads: int) -> Trees:
    """Return trees learned from the chosen rows: all faults, and so many good slots each."""
    generator = np.random.default_rng(seed)
    faults, good = np.flatnonzero(chosen & fault), np.flatnonzero(chosen & ~fault)
    most = spec.good_per_fault * len(faults)
    if len(good) > most:
        good = np.sort(generator.choice(good, most, replace=False))
    taken = np.sort(np.concatenate([faults, good]))
    line = _line(rows, fault, chosen=chosen) if spec.with_score else (0.0, 0.0)
    weight = _weights(rows, fault, most=spec.long_fault_hours)[taken]
    matrix = library().QuantileDMatrix(
        rows[taken].select(spec.features).to_numpy(),
        label=fault[taken].astype(np.float32),
        weight=weight,
        base_margin=_on_line(rows[taken], line),
        max_bin=128,
        nthread=threads,
    )
    booster, _ = train(
        {
            "objective": "binary:logistic",
            "max_leaves": spec.leaves,
            "learning_rate": spec.learning_rate,
            "min_child_weight": spec.least_weight,
            "subsample": 0.8,
            "colsample_bytree": 0.7,
            # A higher score of the detectors never makes a fault less likely.
            "monotone_constraints": tuple(int(name == SCORE) for name in spec.features),
        },
        matrix,
        rounds=spec.rounds,
        threads=threads,
        seed=seed,
    )
    return Trees(booster, line)


def _weights(rows: pl.DataFrame, fault: Bools, *, most: float) -> Floats:
    """Return 1 for every slot, and for those of a fault with n > `most` slots the square root of most / n."""
    run = pl.struct("meter_id", "is_fault").rle_id()
    length = rows.select(pl.len().over(run).alias("length"))["length"].to_numpy()
    weight: Floats = np.where(fault, np.sqrt(np.minimum(1.0, most / length)), 1.0)
    return weight


def _line(rows: pl.DataFrame, fault: Bools, *, chosen: Bools) -> tuple[float, float]:
    """Return slope and intercept of the logit of a fault over that of the detectors' score, on the chosen rows."""
    return shared_curve(_detectors_logit(rows)[chosen], fault[chosen].astype(np.float64))


def _on_line(rows: pl.DataFrame, line: tuple[float, float]) -> Floats:
    slope, intercept = line
    start: Floats = (slope * _detectors_logit(rows) + intercept).astype(np.float32)
    return start


def _detectors_logit(rows: pl.DataFrame) -> Floats:
    score = np.clip(rows[SCORE].cast(pl.Float64).fill_null(0).fill_nan(0).to_numpy(), 0, 1)
    logit: Floats = np.log(score + 0.01) - np.log(1.01 - score)
    return logit
