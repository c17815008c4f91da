"""How good predictions are: errors, quantile scores, coverage, skill with an interval, and folds that respect time.

Errors of a group are shares of its mean absolute energy, so that small and large meters compare. Inputs are rows with
`energy_kwh` and q05 .. q95; a point forecast has the same value in all levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS
from energy_assets.errors import ContractError

METRICS = ("nrmse", "nmae", "rmsle", "pinball", "crps", "rcrps", "coverage_80", "coverage_90", "bias")
PINBALL_LEVELS = ("q10", "q50", "q90")
SKILL_METRICS = ("nrmse", "nmae", "pinball")

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One refit: what was known at `trained_at_utc` may be learned from, `issues` are predicted."""

    trained_at_utc: datetime
    issues: tuple[datetime, ...]


@dataclass(frozen=True, kw_only=True)
class Skill:
    """`1 - metric / metric of the baseline`, and the interval that resampled weeks leave for it."""

    value: float
    low: float
    high: float


def metrics_of(rows: pl.DataFrame, *, by: Sequence[str] = ("model", "node_id")) -> pl.DataFrame:
    """Return `by`, metric and value, one row per group and metric of METRICS.

    nrmse, nmae, bias and pinball (mean over q10, q50, q90) are divided by the group's mean absolute energy, as
    BuildingsBench does; rmsle compares log(1 + kWh), negatives counting as 0; crps is the quantile approximation of the
    continuous ranked probability score in units of mean absolute energy, rcrps in units of P99 - P1 of the readings.
    Coverages are shares of readings within q10..q90 and q05..q95. Rows with an unknown reading or prediction are left
    out; groups without energy too, except for rmsle and the coverages.
    """
    known = pl.all_horizontal(pl.col("energy_kwh", *QUANTILE_COLUMNS).is_finite())
    values = (
        rows.lazy()
        .with_columns(pl.col("energy_kwh", *QUANTILE_COLUMNS).cast(pl.Float64))
        .filter(known)
        .group_by(by)
        .agg(_expressions())
        .collect()
    )
    long = values.unpivot(METRICS, index=list(by), variable_name="metric", value_name="value")
    return long.filter(pl.col("value").is_finite()).sort(*by, "metric")


def summary_of(rows: pl.DataFrame) -> dict[str, float]:
    """Return the metrics of one method over many meters: medians over meters, coverages over all their readings.

    `rows` have meter_id, energy_kwh and q05 .. q95; a metric that no meter has is left out.
    """
    medians = metrics_of(rows, by=["meter_id"]).group_by("metric").agg(pl.col("value").median()).sort("metric")
    pooled = metrics_of(rows.with_columns(all_meters=pl.lit(value=True)), by=["all_meters"])
    coverages = pooled.filter(pl.col("metric").str.starts_with("coverage"))
    return dict(medians.iter_rows()) | dict(coverages.select("metric", "value").iter_rows())


def _expressions() -> list[pl.Expr]:
    y, point = pl.col("energy_kwh"), pl.col("q50")
    level = y.abs().mean()
    logs = (point.clip(0).log1p() - y.clip(0).log1p()) ** 2
    losses = {name: pinball(name) for name in LEVELS}
    crps = pl.sum_horizontal(2 * weight * losses[name] for name, weight in _crps_weights().items()).mean()
    spread = y.quantile(0.99, "linear") - y.quantile(0.01, "linear")
    return [
        (((point - y) ** 2).mean().sqrt() / level).alias("nrmse"),
        ((point - y).abs().mean() / level).alias("nmae"),
        logs.mean().sqrt().alias("rmsle"),
        (pl.mean_horizontal(losses[name] for name in PINBALL_LEVELS).mean() / level).alias("pinball"),
        (crps / level).alias("crps"),
        (crps / spread).alias("rcrps"),
        y.is_between("q10", "q90").mean().alias("coverage_80"),
        y.is_between("q05", "q95").mean().alias("coverage_90"),
        ((point - y).mean() / level).alias("bias"),
    ]


def pinball(name: str) -> pl.Expr:
    """Return the pinball loss in kWh of one quantile column (Koenker and Bassett, 1978)."""
    missed = pl.col("energy_kwh") - pl.col(name)
    return pl.max_horizontal(LEVELS[name] * missed, (LEVELS[name] - 1) * missed)


def _crps_weights() -> dict[str, float]:
    """Return the share of the unit interval that each level stands for: up to half way to its neighbours."""
    levels = list(LEVELS.values())
    edges = [0.0, *((low + high) / 2 for low, high in pairwise(levels)), 1.0]
    return dict(zip(LEVELS, np.diff(edges).tolist(), strict=True))


def skill_of(
    rows: pl.DataFrame,
    *,
    model: str,
    baseline: str,
    metric: str,
    seed: int,
    repeats: int = 1000,
    block_days: int = 7,
    confidence: float = 0.9,
) -> Skill:
    """Return the skill of a model over a baseline with a paired block bootstrap interval.

    The metric is taken per node and its median over nodes compared. Blocks of consecutive issue days are drawn with
    replacement, the same for both methods and all nodes, because errors of neighbouring days and of neighbours hang
    together (Künsch, 1989). `rows` have model, node_id, issued_at_utc, energy_kwh and q05 .. q95.

    Raises:
        ContractError: the metric is not one of SKILL_METRICS, or the two have no rows in common.
    """
    if metric not in SKILL_METRICS:
        raise ContractError(f"Skill is measured in one of {SKILL_METRICS}, not in {metric!r}.")
    sums = _arrays(_daily_sums(rows, model=model, baseline=baseline))
    days = sums["count"].shape[0]
    once = _ratio(sums, np.ones((1, days)), metric=metric)[0]
    weights = _block_weights(days, block=min(block_days, days), repeats=repeats, seed=seed)
    low, high = np.quantile(_ratio(sums, weights, metric=metric), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Skill(value=1 - float(once), low=1 - float(high), high=1 - float(low))


def skills_of(
    rows: pl.DataFrame,
    *,
    model: str,
    baseline: str,
    by: str,
    seed: int,
    repeats: int = 200,
    block_days: int = 7,
    confidence: float = 0.9,
) -> pl.DataFrame:
    """Return `by`, metric, value, low and high: what `skill_of` says of every group of rows apart, in SKILL_METRICS.

    `by` is a column of the rows, as an hour of the day; by node_id every node is compared by itself. Blocks are drawn
    of the days of all rows, the same for all groups. Null where either method has no error to compare.

    Raises:
        ContractError: the two have no rows in common.
    """
    sums = _daily_sums(rows, model=model, baseline=baseline, by=by)
    days = sums["day"].n_unique()
    drawn_days = _block_weights(days, block=min(block_days, days), repeats=repeats, seed=seed)
    weights = np.vstack([np.ones((1, days)), drawn_days])
    confident = [(1 - confidence) / 2, (1 + confidence) / 2]
    found = []
    for (group,), part in sums.partition_by([by], as_dict=True).items():
        arrays = _arrays(part, days=days)
        for metric in SKILL_METRICS:
            value, *drawn = (1 - _ratio(arrays, weights, metric=metric)).tolist()
            usable = [each for each in drawn if np.isfinite(each)]
            low, high = np.quantile(usable, confident).tolist() if usable else (np.nan, np.nan)
            found.append((group, metric, value, low, high))
    bounds = dict.fromkeys(("value", "low", "high"), pl.Float64())
    skills = pl.DataFrame(found, schema={by: rows.schema[by], "metric": pl.String(), **bounds}, orient="row")
    return skills.with_columns(pl.when(pl.col(name).is_finite()).then(name) for name in bounds).sort(by, "metric")


def _daily_sums(rows: pl.DataFrame, *, model: str, baseline: str, by: str = "node_id") -> pl.DataFrame:
    """Return per group, day and node: count, sum of energy, and the summed losses of either method on rows of both.

    Days are numbered from 0 on; the losses are named as their metric, with `_theirs` for the baseline.
    """
    error = pl.col("q50") - pl.col("energy_kwh")
    losses = {
        "nrmse": error**2,
        "nmae": error.abs(),
        "pinball": pl.mean_horizontal(pinball(name) for name in PINBALL_LEVELS),
    }
    key = ["node_id", "issued_at_utc", "starts_at_utc"]
    kept = list(dict.fromkeys([*key, by]))
    known = rows.filter(pl.all_horizontal(pl.col("energy_kwh", *QUANTILE_COLUMNS).is_finite()))
    ours, theirs = (
        known.filter(model=name).select(*kept, pl.col("energy_kwh").abs().alias("energy"), **losses)
        for name in (model, baseline)
    )
    theirs = theirs.select(*key, pl.col(list(losses)).name.suffix("_theirs"))
    both = ours.join(theirs, on=key, how="inner", validate="1:1")
    if both.is_empty():
        raise ContractError(f"{model!r} and {baseline!r} have no predicted rows in common; predict the same issues.")
    groups = list(dict.fromkeys([by, "node_id"]))
    daily = both.group_by(*groups, day=pl.col("issued_at_utc").dt.date()).agg(
        pl.len().alias("count"), pl.col("energy", *losses, *(f"{name}_theirs" for name in losses)).sum()
    )
    return daily.with_columns(pl.col("day").rank("dense").cast(pl.Int64) - 1)


def _arrays(sums: pl.DataFrame, *, days: int | None = None) -> dict[str, Doubles]:
    """Return arrays [day, node] of the counts, energies and losses; zero where a node has none on a day."""
    day = sums["day"].to_numpy()
    node = sums["node_id"].rank("dense").to_numpy().astype(np.int64) - 1
    arrays = {}
    for name in (name for name in sums.columns if sums.schema[name].is_numeric() and name != "day"):
        arrays[name] = np.zeros((days or day.max() + 1, node.max() + 1))
        arrays[name][day, node] = sums[name].to_numpy()
    return arrays


def _block_weights(days: int, *, block: int, repeats: int, seed: int) -> Doubles:
    """Return how often each day is drawn [repeat, day]; blocks wrap around the end, so all days count alike."""
    random = np.random.default_rng(seed)
    starts = random.integers(0, days, size=(repeats, -(-days // block)))
    drawn = ((starts[:, :, None] + np.arange(block)) % days).reshape(repeats, -1)[:, :days]
    weights = np.zeros((repeats, days))
    np.add.at(weights, (np.arange(repeats)[:, None], drawn), 1)
    return weights


def _ratio(sums: dict[str, Doubles], weights: Doubles, *, metric: str) -> Doubles:
    count, energy = weights @ sums["count"], weights @ sums["energy"]
    with np.errstate(divide="ignore", invalid="ignore"):
        level = energy / count
        losses = [weights @ sums[name] / count for name in (metric, f"{metric}_theirs")]
        errors = [(np.sqrt(loss) if metric == "nrmse" else loss) / level for loss in losses]
        usable = np.isfinite(errors[0]) & np.isfinite(errors[1])
        ratio: Doubles = np.full(len(weights), np.nan)
        some = usable.any(axis=1)
        medians = [np.nanmedian(np.where(usable, error, np.nan)[some], axis=1) for error in errors]
        ratio[some] = medians[0] / medians[1]
    return ratio


def rolling_origin(issues: Sequence[datetime], *, first_test: datetime, refit_days: int) -> Iterator[Fold]:
    """Yield folds in order of time: each is trained at its first issue and predicts the issues of `refit_days` days.

    Raises:
        ContractError: no issue is as late as `first_test`.
    """
    tested = sorted(issue for issue in issues if issue >= first_test)
    if not tested:
        raise ContractError(f"No issue is at or after {first_test}; the last is {max(issues, default=None)}.")
    while tested:
        until = tested[0] + timedelta(days=refit_days)
        yield Fold(trained_at_utc=tested[0], issues=tuple(issue for issue in tested if issue < until))
        tested = [issue for issue in tested if issue >= until]


def known_by(features: pl.DataFrame, *, trained_at: datetime) -> pl.DataFrame:
    """Return the feature rows that a model trained at an instant may learn from: their target was known by then."""
    return features.filter(
        pl.col("issued_at_utc") < trained_at,
        pl.col("energy_kwh").is_not_null(),
        pl.col("energy_known_at_utc") <= trained_at,
    )
