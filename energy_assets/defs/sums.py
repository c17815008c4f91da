"""What is said of premises, sites and the portfolio beyond their bands: does it add up, and did it come true."""

from datetime import datetime, timedelta

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    FORECASTS_LIMITS,
    FORECASTS_LOAD,
    FORECASTS_RECIPES,
    FORECASTS_SKILL,
    METERS,
)
from energy_assets.defs.contract_checks import contract_check
from energy_assets.defs.reporting import table_of
from energy_assets.forecasts.coherence import judge_sums
from energy_assets.forecasts.limit_skill import judge_limits, reliability
from energy_assets.forecasts.nodes import PORTFOLIO
from energy_assets.lake import Lake

_JUDGED = timedelta(weeks=4)
_PEAKS = ("peak_nmae", "peak_bias", "peak_coverage_80", "peak_hour_share")


@dg.asset_check(asset=FORECASTS_LOAD.asset_key, name="sums_add_up")
def sums_add_up(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Of the newest forecast as it is stored, medians are the sums of their meters', bands of the scenarios."""
    newest = lake.read(FORECASTS_RECIPES, columns=["issued_at_utc"])["issued_at_utc"].max()
    if not isinstance(newest, datetime):
        return dg.AssetCheckResult(passed=True, description="there is no forecast with a recipe yet")
    issue = {"issued_at_utc": newest}
    judged = judge_sums(
        lake.read(FORECASTS_LOAD, where=issue),
        meters=lake.read(METERS),
        recipe=lake.read(FORECASTS_RECIPES, where=issue),
    )
    return dg.AssetCheckResult(
        passed=judged.holds, description=judged.evidence, metadata={"offenders": table_of(judged.offenders)}
    )


@dg.asset_check(asset=FORECASTS_SKILL.asset_key, name="limits_are_passed_as_often_as_said")
def limits_are_passed_as_often_as_said(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Of the slots of four weeks that were given some chance to pass a limit, about that share did."""
    skill = lake.read(FORECASTS_SKILL, where={"node_id": PORTFOLIO})
    newest = skill["window_start_utc"].max()
    if isinstance(newest, datetime):
        skill = skill.filter(pl.col("window_start_utc") > newest - _JUDGED)
    judged = judge_limits(skill)
    return dg.AssetCheckResult(
        passed=judged.holds,
        severity=dg.AssetCheckSeverity.WARN,
        description=judged.evidence,
        metadata={"reliability": table_of(reliability(skill)), "offenders": table_of(judged.offenders)},
    )


def peaks_in_weeks(skill: pl.DataFrame) -> pl.DataFrame:
    """Return how the peaks of days held over the issues in `skill`: of all nodes, and of the portfolio alone.

    Coverage and share of the hour are means over nodes and nights, errors medians: a net load may peak near nothing.
    """
    rows = skill.filter(pl.col("metric").is_in(_PEAKS))
    of_portfolio = rows.filter(pl.col("node_id").str.starts_with("portfolio|"))
    both = pl.concat([rows.with_columns(nodes=pl.lit("all")), of_portfolio.with_columns(nodes=pl.lit("portfolio"))])
    return both.group_by("nodes").agg(_typical(name) for name in _PEAKS).sort("nodes")


def _typical(metric: str) -> pl.Expr:
    values = pl.col("value").filter(pl.col("metric") == metric)
    return (values.median() if metric in ("peak_nmae", "peak_bias") else values.mean()).alias(metric)


checks = [contract_check(FORECASTS_LIMITS), sums_add_up, limits_are_passed_as_often_as_said]
