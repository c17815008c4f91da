"""How good past forecasts were, against plain baselines, and two judgements: is tonight's plausible, are bands honest.

Every metric is a share of the mean absolute energy of the same node and slots, so that nodes compare; coverage is a
share of slots. Metrics after Hyndman and Koehler (2006), pinball loss after Koenker and Bassett (1978).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from energy_assets.contracts import FORECASTS_SKILL, LEVELS
from energy_assets.forecasts.actuals import BASELINE_WEEKS, with_actuals
from energy_assets.forecasts.nodes import PORTFOLIO

PUBLISHED = "published"
_FEWEST_SLOTS = 6
_NOMINAL = 0.80


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether a statement about forecasts holds, with one sentence of evidence and the offending rows."""

    holds: bool
    evidence: str
    offenders: pl.DataFrame
    is_grave: bool = True
    """Whether what does not hold should stop what follows."""


def measure_skill(
    forecasts: pl.DataFrame, *, readings: pl.DataFrame, meters: pl.DataFrame, sites: pl.DataFrame
) -> pl.DataFrame:
    """Return rows of `forecasts.skill` for the issues in `forecasts`, as far as readings have arrived.

    Per node: model `published`, the ladder as it was published, with every metric, and each baseline with nmae, nrmse
    and bias. Per rung: the rung's name as model and node `portfolio`, all its meter slots pooled. Nodes with fewer than
    six measured slots, or without energy, have no row. Inputs as for `actuals.with_actuals`.
    """
    return skill_of_compared(with_actuals(forecasts, readings=readings, meters=meters, sites=sites))


def skill_of_compared(compared: pl.DataFrame) -> pl.DataFrame:
    """Return what `measure_skill` does, from what `actuals.with_actuals` returned."""
    compared = compared.filter(pl.col("actual_kwh").is_not_null())
    by_node = compared.select(pl.exclude("method")).with_columns(model=pl.lit(PUBLISHED))
    pooled = compared.filter(pl.col("node_kind") == "meter").with_columns(model="method", node_id=pl.lit(PORTFOLIO))
    frames = [_metrics(by_node, point="q50"), _metrics(pooled.select(by_node.columns), point="q50")]
    for baseline in BASELINE_WEEKS:
        both = by_node.filter(pl.col(baseline).is_not_null()).with_columns(model=pl.lit(baseline))
        frames.append(_metrics(both, point=baseline).filter(pl.col("metric").is_in(["nmae", "nrmse", "bias"])))
    return FORECASTS_SKILL.conform(pl.concat(frames).select(FORECASTS_SKILL.column_names).sort(FORECASTS_SKILL.key))


def judge_plausibility(forecasts: pl.DataFrame, *, known: pl.DataFrame, times: float = 5.0) -> Judgement:
    """Return whether the forecast level of every commodity and direction is within `times` of its recent level.

    `forecasts` are rows of one issue; `known` is what `standing.standing` says of the meters. A forecast a thousand
    times too big for a tenth of the meters fails; one meter alone is the ladder's business.
    """
    recent = known.filter(pl.col("mean_kwh") > 0).select("meter_id", "mean_kwh")
    levels = (
        forecasts.filter(pl.col("node_kind") == "meter")
        .join(recent, left_on="node_id", right_on="meter_id", how="inner", validate="m:1")
        .group_by("commodity", "direction")
        .agg(forecast_kwh=pl.col("q50").mean(), recent_kwh=pl.col("mean_kwh").mean())
        .with_columns(ratio=pl.col("forecast_kwh") / pl.col("recent_kwh"))
        .sort("commodity", "direction")
    )
    # Winter nights leave production near nothing, so too small is judged more leniently than too big; and it may be the
    # end of a season (chilled water in November), which is worth a word and no reason to keep a forecast back.
    offenders = levels.filter(~pl.col("ratio").is_between(1 / times**2, times))
    shown = ", ".join(f"{row['commodity']} {row['direction']} {row['ratio']:.3g}" for row in levels.to_dicts())
    return Judgement(
        holds=offenders.is_empty(),
        evidence=f"{levels.height} groups of meters, ratios of forecast to recent level: {shown}",
        offenders=offenders,
        is_grave=bool((offenders["ratio"] > times).any()),
    )


def judge_coverage(skill: pl.DataFrame, *, tolerance: float = 0.10) -> Judgement:
    """Return whether the q10-q90 bands of every rung cover 80 % within `tolerance`, over all issues in `skill`.

    `skill` are rows of `forecasts.skill` of some weeks. Holds where nothing has been measured yet, and says so.
    """
    coverage = (
        skill.filter(pl.col("metric") == "coverage_80", pl.col("node_id") == PORTFOLIO)
        .group_by("model")
        .agg(coverage=pl.col("value").mean(), issues=pl.col("window_start_utc").n_unique())
        .sort("model")
    )
    offenders = coverage.filter((pl.col("coverage") - _NOMINAL).abs() > tolerance)
    shown = ", ".join(f"{model} {share:.0%}" for model, share, _ in coverage.iter_rows()) or "nothing measured yet"
    return Judgement(holds=offenders.is_empty(), evidence=f"coverage of q10-q90: {shown}", offenders=offenders)


def _metrics(rows: pl.DataFrame, *, point: str) -> pl.DataFrame:
    """Return one row per model, node, issue and metric; nmae, nrmse and bias judge the column `point`."""
    actual, error = pl.col("actual_kwh"), pl.col(point) - pl.col("actual_kwh")
    pinball = pl.mean_horizontal(
        pl.max_horizontal((actual - pl.col(name)) * level, (pl.col(name) - actual) * (1 - level))
        for name, level in LEVELS.items()
    )
    both = pl.col("last_week").is_not_null()
    week_error = (pl.col("last_week") - actual).abs().filter(both)
    level = actual.abs().mean()
    table = rows.group_by("model", "node_id", window_start_utc="issued_at_utc").agg(
        slots=pl.len(),
        level=level,
        window_days=((pl.col("starts_at_utc").max() - pl.col("starts_at_utc").min()).dt.total_hours() // 24 + 1),
        nmae=error.abs().mean() / level,
        nrmse=(error**2).mean().sqrt() / level,
        bias=error.mean() / level,
        pinball=pinball.mean() / level,
        coverage_80=actual.is_between("q10", "q90").mean(),
        skill_last_week=1 - error.abs().filter(both).mean() / week_error.mean(),
    )
    metrics = ["nmae", "nrmse", "bias", "pinball", "coverage_80", "skill_last_week"]
    return (
        table.filter(pl.col("slots") >= _FEWEST_SLOTS, pl.col("level") > 0)
        .unpivot(metrics, index=["model", "node_id", "window_start_utc", "window_days"], variable_name="metric")
        .filter(pl.col("value").is_finite())
    )
