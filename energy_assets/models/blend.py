"""The champion family: experts blended by how good they were on days that they had not seen, and an honest band.

Folds go forward in time: what is learned up to a border predicts what comes after it. These errors say how long the
boosters should grow, how much each expert counts for each meter and stretch of horizon, how wide the band is, and how
it must be corrected. `adapted` lets later days say the same without any booster learning anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import LEVELS
from energy_assets.features.history import Floats
from energy_assets.models import spread
from energy_assets.models.bias import Bias, load_bias, no_bias
from energy_assets.models.design import (
    SCALE,
    TARGET,
    alternating,
    at_most,
    learnable,
    learned_target,
    noise_unit,
    scaled,
    unit_kwh,
)
from energy_assets.models.experts import PRIOR, Experts, Recipe, fit_experts, load_experts, recipe_for
from energy_assets.models.quantiles import quantile_frame
from energy_assets.models.row_store import Shards
from energy_assets.models.shape import Shape, belief_in_trees, fit_shape, load_shape
from energy_assets.models.spec import ModelSpec, read_json, write_json
from energy_assets.models.streaming import fit_streamed
from energy_assets.models.weights import Evidence, Shares, gather_evidence, load_evidence, shares_of

_WATCHED_ROWS = 15_000
_MORE_ROUNDS = 1.1
"""All rows bear a little more learning than those before a border."""


OUTCOME_COLUMNS = (
    *("meter_id", "issued_at_utc", "energy_known_at_utc", "lead_hours", TARGET, SCALE),
    *("week_change_kwh", "week_mean_kwh", "day_mean_kwh", "month_max_kwh", "local_hour", "interval_minutes"),
)
"""What a slot's units and its place among the others are made of."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Slots with OUTCOME_COLUMNS, predictions [row, expert] and departures of the quantiles [row, level] in units."""

    rows: pl.DataFrame
    predictions: Floats
    departures: Floats

    def only(self, chosen: pl.Expr) -> Outcomes:
        """Return the slots for which an expression over the rows holds."""
        mask = self.rows.select(chosen.fill_null(value=False)).to_series().to_numpy()
        return Outcomes(
            rows=self.rows.filter(mask), predictions=self.predictions[mask], departures=self.departures[mask]
        )


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Return the slots of all parts, in their order."""
    return Outcomes(
        rows=pl.concat([part.rows for part in parts]),
        predictions=np.concatenate([part.predictions for part in parts]),
        departures=np.concatenate([part.departures for part in parts]),
    )


@dataclass(frozen=True, kw_only=True)
class Blend:
    """A fitted blend; predicts every row with a scale, zero where all known readings are zero."""

    spec: ModelSpec
    experts: Experts
    shape: Shape
    evidence: Evidence
    scores: spread.Scores
    shares: Shares
    bias: Bias
    correction: spread.Correction

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return KEY and q05 .. q95 in kWh for every row; null where the meter has no scale."""
        unit = unit_kwh(features)
        values = np.full((features.height, len(LEVELS)), np.nan, dtype=np.float32)
        values[unit == 0] = 0
        usable = unit > 0
        rows = features.filter(usable)
        values[usable] = self.correction.apply(self._around(rows), rows=rows) * unit[usable, None]
        return quantile_frame(features, values)

    def outcomes_of(self, rows: pl.DataFrame) -> Outcomes:
        """Return what the experts say of feature rows that they have not learned from, with targets or yet without."""
        known = rows.filter(pl.col(SCALE) > 0)
        return Outcomes(
            rows=known.select(OUTCOME_COLUMNS),
            predictions=self.experts.predict(known),
            departures=self.shape.departures(known, columns=self.experts.columns),
        )

    def adapted(self, outcomes: Outcomes) -> Blend:
        """Return this blend with shares, bias and band as `outcomes` say: all that count since it was trained, at once.

        It starts from the training, not from an earlier adaptation, so that its bits depend on no other night.
        """
        outcomes = outcomes.only(pl.col(TARGET).is_finite())
        rows, predictions = outcomes.rows, outcomes.predictions
        if rows.is_empty():
            return self
        fresh = evidence_of(rows, predictions=predictions)
        now, then = int(spread.issue_day_of(rows).max()), int(self.scores.issue_day.max())
        evidence = self.evidence.later(fresh, days_passed=max(now - then, 0))
        shares = shares_of(evidence, prior=PRIOR)
        centre = blended(shares, rows, predictions)
        bias, moved = self.bias.followed(rows, error=learned_target(rows) - centre)
        around = (centre + moved)[:, None] + outcomes.departures
        scores = self.scores.later(spread.scores_of(rows, quantiles=around, target=scaled(rows, (TARGET,))[:, 0]))
        correction = spread.correction_of(scores)
        return replace(self, evidence=evidence, shares=shares, bias=bias, scores=scores, correction=correction)

    def save(self, folder: Path) -> None:
        """Write `model.json`, the boosters, the evidence, the bias and the scores into the folder."""
        self.evidence.save(folder)
        self.scores.save(folder)
        write_json(
            folder,
            {
                "spec": self.spec.model_dump(),
                "meters": self.evidence.meters,
                "experts": self.experts.save(folder),
                "shape": self.shape.save(folder / "shape.ubj"),
                "bias": self.bias.save(folder),
            },
        )

    def _around(self, rows: pl.DataFrame) -> Floats:
        centre = blended(self.shares, rows, self.experts.predict(rows)) + self.bias.apply(rows)
        return self.shape.around(centre, rows=rows, columns=self.experts.columns)


def load(folder: Path) -> Blend:
    """Return the blend that `save` wrote into the folder.

    Raises:
        ModelError: a file is missing or torn, or the blend is that of another version of this package.
    """
    content: dict[str, Any] = read_json(folder)
    evidence = load_evidence(folder, meters=tuple(content["meters"]))
    scores = spread.load_scores(folder)
    return Blend(
        spec=ModelSpec.model_validate(content["spec"]),
        experts=load_experts(folder, content["experts"]),
        shape=load_shape(folder / "shape.ubj", content.get("shape")),
        evidence=evidence,
        scores=scores,
        shares=shares_of(evidence, prior=PRIOR),
        bias=load_bias(folder, meters=tuple(content["bias"]["meters"]), day=content["bias"]["day"]),
        correction=spread.correction_of(scores),
    )


def fit(training: pl.DataFrame, *, spec: ModelSpec, seed: int, threads: int = 2, shards: Shards | None = None) -> Blend:
    """Return a blend of the training rows, which are of one commodity and interval class.

    With `shards`, of which the training rows are a part, the boosters that are kept learn from all of these.

    Raises:
        ModelError: there are too few rows or issues.
    """
    rows = learnable(training)
    recipe = recipe_for(rows, spec=spec, seed=seed, threads=threads)
    unseen, predictions, rounds = _forward(rows, recipe=recipe)
    target = scaled(unseen, (TARGET,))[:, 0]
    evidence = evidence_of(unseen, predictions=predictions)
    shares = shares_of(evidence, prior=PRIOR)
    centre = blended(shares, unseen, predictions)
    bias, moved = no_bias().followed(unseen, error=learned_target(unseen) - centre)
    centre += moved
    scores = _cross_scores(unseen, centre=centre, target=target, recipe=recipe)
    held = at_most(rows, count=spec.training_rows, seed=seed)
    if shards is None:
        experts = fit_experts(held, recipe=recipe, rounds=rounds)
    else:
        experts = fit_streamed(held, shards=shards, recipe=recipe, rounds=rounds)
    return Blend(
        spec=spec,
        experts=experts,
        shape=_shape(unseen, error=target - centre, belief=belief_in_trees(unseen), recipe=recipe),
        evidence=evidence,
        scores=scores,
        shares=shares,
        bias=bias,
        correction=spread.correction_of(scores),
    )


def out_of_fold(rows: pl.DataFrame, *, spec: ModelSpec, seed: int, threads: int = 2) -> tuple[pl.DataFrame, Floats]:
    """Return rows after the first border and what experts [row, expert] said of them who had not seen them.

    `rows` are in the order of `design.learnable`; predictions are in multiples of the scale.
    """
    recipe = recipe_for(rows, spec=spec, seed=seed, threads=threads)
    unseen, predictions, _ = _forward(rows, recipe=recipe)
    return unseen, predictions


def evidence_of(rows: pl.DataFrame, *, predictions: Floats) -> Evidence:
    """Return what the errors of predictions [row, expert] say about the experts."""
    noise = np.maximum(noise_unit(rows), np.float32(0.05))
    errors: Floats = ((predictions - learned_target(rows)[:, None]) / noise[:, None]).astype(np.float32)
    return gather_evidence(
        errors,
        meter_ids=rows["meter_id"].to_numpy(),
        lead_hours=rows["lead_hours"].to_numpy(),
        issue_day=spread.issue_day_of(rows),
        shares=PRIOR,
    )


def blended(shares: Shares, rows: pl.DataFrame, predictions: Floats) -> Floats:
    """Return the point forecast [row] in multiples of the scale."""
    return shares.blend(
        predictions, meter_ids=rows["meter_id"].to_numpy(), lead_hours=rows["lead_hours"].to_numpy()
    ).astype(np.float32)


def _forward(rows: pl.DataFrame, *, recipe: Recipe) -> tuple[pl.DataFrame, Floats, dict[str, int]]:
    """Return rows after the first border, what experts said who had not seen them, how long boosters grow best."""
    spec, seed = recipe.spec, recipe.seed
    issues = rows["issued_at_utc"].unique().sort()
    borders = sorted({min(max(round(share * len(issues)), 1), len(issues) - 1) for share in spec.borders})
    parts, said, rounds = [], [], []
    for index, border in enumerate(borders):
        begin = issues[border]
        before = pl.col("issued_at_utc") < begin
        until = issues[borders[index + 1]] if index + 1 < len(borders) else None
        after = ~before if until is None else ~before & (pl.col("issued_at_utc") < until)
        learned = at_most(rows.filter(before), count=spec.fold_rows, seed=seed)
        judged = at_most(rows.filter(after), count=spec.spread_rows // len(borders), seed=seed)
        watch = at_most(judged, count=_WATCHED_ROWS, seed=seed)
        experts = fit_experts(learned, recipe=recipe, watch=watch)
        parts.append(judged)
        said.append(experts.predict(judged))
        rounds.append(experts.rounds)
    kept = {
        name: max(1, round(_MORE_ROUNDS * float(np.mean([each[name] for each in rounds[-2:]])))) for name in rounds[0]
    }
    return pl.concat(parts), np.concatenate(said), kept


def _cross_scores(rows: pl.DataFrame, *, centre: Floats, target: Floats, recipe: Recipe) -> spread.Scores:
    """Return scores of quantiles whose shape was learned on the other one of alternating stretches of days."""
    side = alternating(rows)
    if not side.any():  # a single day
        side = np.arange(rows.height) % 2 == 1
    around, belief = np.empty((rows.height, len(LEVELS)), dtype=np.float32), belief_in_trees(rows)
    error, of_half = target - centre, replace(recipe, threads=max(1, recipe.threads // 2))

    def learned_without(half: npt.NDArray[np.bool_]) -> Shape:
        return _shape(rows.filter(~half), error=error[~half], belief=belief, recipe=of_half)

    with ThreadPoolExecutor(max_workers=min(2, recipe.threads)) as pool:
        for half, shape in zip((side, ~side), pool.map(learned_without, (side, ~side)), strict=True):
            around[half] = shape.around(centre[half], rows=rows.filter(half), columns=recipe.columns)
    return spread.thinned(spread.scores_of(rows, quantiles=around, target=target), seed=recipe.seed)


def _shape(rows: pl.DataFrame, *, error: Floats, belief: float, recipe: Recipe) -> Shape:
    return fit_shape(
        rows,
        error=error,
        belief=belief,
        columns=recipe.columns,
        rounds=recipe.spec.spread_rounds,
        threads=recipe.threads,
        seed=recipe.seed,
    )
