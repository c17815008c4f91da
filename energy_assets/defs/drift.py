"""Drift of the champions: a check that shows it, and a sensor that asks for training, within a budget.

Its clock is the issue time of the newest forecast, so that a back-filled instance is judged on its own days.
"""

import json
from collections.abc import Iterator, Mapping
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
BUDGET = timedelta(days=7)
"""A model that was trained on the readings of less than a week ago is not trained for drift again.

What training did not mend, the days since then have not changed enough to mend; and a first training of a back-filled
instance has learned from the season that its back-filled nights seem to drift into.
"""
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
    champions = {name: registry.described(name) for name in errors["model"]}
    validated = {name: each.metrics.get("nmae", 0.0) for name, each in champions.items() if each is not None}
    return newest.date(), judge_drift(errors, levels=levels, validated=validated)


def last_trained_on(registry: Registry, model: str) -> date | None:
    """Return the last day that the newest version of a model learned from or was judged on; None without a version."""
    newest = registry.described(model, alias="challenger")
    if newest is None:
        return None
    seen = newest.tags.get("unseen_ends_at_utc")
    return datetime.fromisoformat(seen).date() if seen else newest.registered_at_utc.date()


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
    description="Asks for training of the models whose error or meters drift, each at most once a week.",
    required_resource_keys={"lake", "registry"},
)
def drift(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for training of champions that have drifted, within each one's budget; the weekly training goes on beside it.

    A training that was asked for and failed is asked for again once the budget of its model has passed.
    """
    lake: Lake = context.resources.lake
    registry: Registry = context.resources.registry
    seen = json.loads(context.cursor or "{}")
    newest = lake.read(FORECASTS_LOAD, columns=["issued_at_utc"])["issued_at_utc"].max()
    today = newest.date() if isinstance(newest, datetime) else None
    if today is None or today.isoformat() == seen.get("judged"):
        yield dg.SkipReason("no forecast since the last look")
        return
    _, found = drifts_of(lake, registry)
    drifted = {each.model: each.reason for each in found if each.reason}
    asked = {model: date.fromisoformat(day) for model, day in seen.get("asked", {}).items()}
    spent = {model: trained_or_asked(registry, model, asked=asked, today=today) for model in drifted}
    due = sorted(model for model, day in spent.items() if day is None)
    kept = {**{model: day.isoformat() for model, day in asked.items()}, **dict.fromkeys(due, today.isoformat())}
    context.update_cursor(json.dumps({"judged": today.isoformat(), "asked": kept}))
    if due:
        yield dg.RunRequest(
            run_key=f"drift {today} {' '.join(due)}",
            run_config={"ops": {"models__load": {"config": {"only": due}}}},
            tags={REASON_TAG: "; ".join(str(drifted[model]) for model in due)},
        )
    elif drifted:
        waits = (f"{reason}, but it was trained or asked for on {spent[model]}" for model, reason in drifted.items())
        yield dg.SkipReason("; ".join(waits))
    else:
        yield dg.SkipReason(f"{len(found)} champions are as they were measured")


def trained_or_asked(registry: Registry, model: str, *, asked: Mapping[str, date], today: date) -> date | None:
    """Return the day on which a model's budget was last spent, if that is less than BUDGET ago."""
    days = [day for day in (last_trained_on(registry, model), asked.get(model)) if day is not None]
    return max((day for day in days if today - day < BUDGET), default=None)


checks = [champions_err_as_on_unseen_days]
