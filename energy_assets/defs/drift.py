"""Drift of the champions: a check that shows it, and a sensor that asks for training, within a budget.

Its clock is the issue time of the newest forecast, so that a back-filled instance is judged on its own days.
"""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import dagster as dg
import polars as pl

from energy_assets.contracts import FORECASTS_LOAD, FORECASTS_SKILL
from energy_assets.defs.reporting import table_of
from energy_assets.forecasts.drift import Drift, judge_drift
from energy_assets.lake import Lake
from energy_assets.models.registry import Registry
from energy_assets.sql import Query

RECENT = timedelta(days=14)
EARLIER = timedelta(days=56)
BUDGET = timedelta(days=3)
"""Trainings that drift asks for lie at least this far apart: what training does not mend, it need not repeat daily."""
REASON_TAG = "energy_assets/reason"


def drifts_of(lake: Lake, registry: Registry) -> tuple[date | None, list[Drift]]:
    """Return the day of the newest forecast, and what is found of each champion that served in the last two weeks."""
    newest = lake.read(FORECASTS_LOAD, columns=["issued_at_utc"])["issued_at_utc"].max()
    if not isinstance(newest, datetime):
        return None, []
    recent_at = newest - RECENT
    span = {"starts_at_utc": recent_at, "ends_at_utc": newest}
    errors = lake.query(Query.from_file("energy_assets.defs", "champion_errors", **span))
    span = {"starts_at_utc": recent_at - EARLIER, "recent_at_utc": recent_at, "ends_at_utc": newest}
    levels = lake.query(Query.from_file("energy_assets.defs", "meter_levels", **span))
    validated = {name: registry.metrics(name).get("nmae", 0.0) for name in errors["model"]}
    return newest.date(), judge_drift(errors, levels=levels, validated=validated)


@dg.asset_check(asset=FORECASTS_SKILL.asset_key, name="champions_err_as_on_unseen_days")
def champions_err_as_on_unseen_days(
    lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]
) -> dg.AssetCheckResult:
    """Champions err about as much as when they were measured, on meters whose level is about what it was."""
    _, found = drifts_of(lake, registry)
    reasons = [each.reason for each in found if each.reason]
    rows = pl.DataFrame(
        [(each.model, each.error_ratio, each.moved_share) for each in found],
        schema={"model": pl.String, "error_ratio": pl.Float64, "moved_share": pl.Float64},
        orient="row",
    )
    return dg.AssetCheckResult(
        passed=not reasons,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(reasons) or f"{len(found)} champions are as they were measured",
        metadata={"models": table_of(rows)},
    )


@dg.sensor(
    job_name="training",
    minimum_interval_seconds=3600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for training when a champion's error or its meters drift, at most once in three days.",
    required_resource_keys={"lake", "registry"},
)
def drift(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for training once a champion has drifted; the weekly training goes on beside it."""
    lake: Lake = context.resources.lake
    seen = json.loads(context.cursor or "{}")
    newest = lake.read(FORECASTS_LOAD, columns=["issued_at_utc"])["issued_at_utc"].max()
    today = newest.date().isoformat() if isinstance(newest, datetime) else None
    if today is None or today == seen.get("judged"):
        yield dg.SkipReason("no forecast since the last look")
        return
    _, found = drifts_of(lake, context.resources.registry)
    reasons = [each.reason for each in found if each.reason]
    asked = seen.get("asked")
    is_spent = asked is not None and date.fromisoformat(today) - date.fromisoformat(asked) < BUDGET
    context.update_cursor(json.dumps({"judged": today, "asked": today if reasons and not is_spent else asked}))
    if not reasons:
        yield dg.SkipReason(f"{len(found)} champions are as they were measured")
    elif is_spent:
        yield dg.SkipReason(f"training was asked for on {asked}; {'; '.join(reasons)}")
    else:
        yield dg.RunRequest(run_key=f"drift {today}", tags={REASON_TAG: "; ".join(reasons)})


checks = [champions_err_as_on_unseen_days]
