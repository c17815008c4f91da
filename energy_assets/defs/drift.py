"""Drift of the champions, and champions that cannot serve: a check that shows it, a sensor that asks for training.

Its clock is the issue time of the newest forecast, so that a back-filled instance is judged on its own days.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import dagster as dg
import polars as pl

from energy_assets.contracts import FEATURES_LOAD, FORECASTS_LOAD, FORECASTS_SKILL, METERS
from energy_assets.defs.reporting import table_of
from energy_assets.forecasts.champions import model_names
from energy_assets.forecasts.drift import Drift, judge_drift
from energy_assets.lake import Lake
from energy_assets.models.ranges import NEEDED, beyond, from_text
from energy_assets.models.registry import Registry, UnresolvedModelError, registered_name
from energy_assets.sql import Query

RECENT = timedelta(days=14)
EARLIER = timedelta(days=56)
BUDGET = timedelta(days=7)
"""A model that was trained on the readings of less than a week ago is not trained for drift again.

What training did not mend, the days since then have not changed enough to mend; and a first training of a back-filled
instance has learned from the season that its back-filled nights seem to drift into.
"""
BUDGET_OF_UNUSABLE = timedelta(days=3)
"""A champion that cannot serve is trained anew at once, and again after so long if what came out was no better."""
REASON_TAG = "energy_assets/reason"
_EVERY_DAYS = 3
"""Of the nights of two weeks every third says enough about the range of features."""
_UNUSABLE = ("model_broken", "archive_unavailable")


def drifts_of(lake: Lake, registry: Registry) -> tuple[date | None, list[Drift]]:
    """Return the day of the newest forecast, and what is found of each champion that served in the last two weeks."""
    newest = newest_issue_of(lake)
    if newest is None:
        return None, []
    recent_at = newest - RECENT
    span = {"starts_at_utc": recent_at, "ends_at_utc": newest}
    errors = lake.query(Query.from_file("energy_assets.defs", "champion_errors", **span))
    span = {"starts_at_utc": recent_at - EARLIER, "recent_at_utc": recent_at, "ends_at_utc": newest}
    levels = lake.query(Query.from_file("energy_assets.defs", "meter_levels", **span))
    champions = {name: registry.described(name) for name in errors["model"]}
    validated = {name: each.metrics.get("nmae", 0.0) for name, each in champions.items() if each is not None}
    asked = _features_of(lake, issues=[newest - timedelta(days=days) for days in range(0, RECENT.days, _EVERY_DAYS)])
    outside = {
        name: beyond(asked[name], ranges=from_text(each.tags["feature_ranges"]))
        for name, each in champions.items()
        if each is not None and name in asked and "feature_ranges" in each.tags
    }
    return newest.date(), judge_drift(errors, levels=levels, validated=validated, beyond=outside)


def _features_of(lake: Lake, *, issues: Sequence[datetime]) -> dict[str, pl.DataFrame]:
    """Return what the models are watched by, of some issues, by registered model."""
    columns = ["meter_id", "interval_minutes", *NEEDED]
    rows = lake.read(FEATURES_LOAD, columns=columns, where={"issued_at_utc": list(issues)})
    named = rows.join(lake.read(METERS, columns=["meter_id", "commodity"]), on="meter_id", how="inner", validate="m:1")
    groups = named.partition_by("commodity", "interval_minutes", as_dict=True)
    return {
        registered_name(str(commodity), interval_minutes=int(minutes)): of_class
        for (commodity, minutes), of_class in groups.items()
    }


def last_trained_on(registry: Registry, model: str) -> date | None:
    """Return the last day that the newest version of a model learned from or was judged on; None without a version."""
    newest = registry.described(model, alias="challenger")
    if newest is None:
        return None
    seen = newest.tags.get("unseen_ends_at_utc")
    return datetime.fromisoformat(seen).date() if seen else newest.registered_at_utc.date()


def unusable_champions(lake: Lake, registry: Registry, *, is_code_known: bool = True) -> dict[str, str]:
    """Return by model why no champion can serve its meters: it does not load, or there is none for meters old enough.

    A champion is loaded and let go, unless it served the newest forecast; with code that did not make that forecast
    (`is_code_known` says no) every one is, because after an upgrade older ones may not load any more.
    """
    newest = newest_issue_of(lake)
    query = Query.from_file("energy_assets.defs", "versions_served", since=newest)
    served = set(lake.query(query)["model_version"]) if newest is not None and is_code_known else set()
    found = {}
    for name in model_names(lake.read(METERS)):
        if f"{name}/{registry.version(name)}" in served:
            continue
        try:
            registry.resolve(name)
        except UnresolvedModelError as error:
            if error.reason in _UNUSABLE:
                found[name] = f"{name}: its champion cannot be used, lower rungs serve its meters: {error}"
    if newest is not None:
        query = Query.from_file("energy_assets.defs", "unserved_classes", issued_at_utc=newest)
        for name in lake.query(query)["model"]:
            if registry.version(name, alias="challenger") is None:
                found[name] = f"{name}: its meters have a history by now, and no model"
    return found


def newest_issue_of(lake: Lake) -> datetime | None:
    """Return the issue time of the newest forecast; None where there is none."""
    newest = lake.read(FORECASTS_LOAD, columns=["issued_at_utc"])["issued_at_utc"].max()
    return newest if isinstance(newest, datetime) else None


@dg.asset_check(asset=FORECASTS_SKILL.asset_key, name="champions_err_as_on_unseen_days")
def champions_err_as_on_unseen_days(
    lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]
) -> dg.AssetCheckResult:
    """Champions load, err about as much as when they were measured, and are asked about what they have learned."""
    _, found = drifts_of(lake, registry)
    unusable = unusable_champions(lake, registry)
    reasons = [f"{each}; `energy models train {name}`" for name, each in unusable.items()]
    reasons += [each.reason for each in found if each.reason]
    rows = pl.DataFrame(
        [(each.model, each.error_ratio, each.moved_share, each.strangest_feature, each.beyond_share) for each in found],
        schema={
            "model": pl.String,
            "error_ratio": pl.Float64,
            "moved_share": pl.Float64,
            "strangest_feature": pl.String,
            "beyond_share": pl.Float64,
        },
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
    description="Asks for training of the models whose error, meters or features drift, each at most once a week, "
    "and of those whose champion cannot be used, as after an upgrade.",
    required_resource_keys={"lake", "registry"},
)
def drift(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for training of champions that cannot serve or have drifted, within each one's budget.

    They are looked at after every new forecast and after every change of the code that loads them. A training that was
    asked for and failed is asked for again once the budget of its model has passed.
    """
    lake: Lake = context.resources.lake
    registry: Registry = context.resources.registry
    seen = json.loads(context.cursor or "{}")
    newest, code = newest_issue_of(lake), code_of_models()
    today = newest.date() if newest is not None else None
    if today is None or (today.isoformat(), code) == (seen.get("judged"), seen.get("code")):
        yield dg.SkipReason("no forecast since the last look")
        return
    _, found = drifts_of(lake, registry)
    drifted = {each.model: each.reason for each in found if each.reason}
    unusable = unusable_champions(lake, registry, is_code_known=code == seen.get("code"))
    asked = {model: date.fromisoformat(day) for model, day in seen.get("asked", {}).items()}
    spent = {model: trained_or_asked(registry, model, asked=asked, today=today) for model in drifted}
    for model in unusable:
        day = asked.get(model) if code == seen.get("code") else None
        spent[model] = day if day is not None and today - day < BUDGET_OF_UNUSABLE else None
    due = sorted(model for model, day in spent.items() if day is None)
    kept = {**{model: day.isoformat() for model, day in asked.items()}, **dict.fromkeys(due, today.isoformat())}
    context.update_cursor(json.dumps({"judged": today.isoformat(), "code": code, "asked": kept}))
    reasons = drifted | unusable
    if due:
        yield dg.RunRequest(
            run_key=f"drift {today} {code if unusable else ''} {' '.join(due)}",
            run_config={"ops": {"models__load": {"config": {"only": due}}}},
            tags={REASON_TAG: "; ".join(str(reasons[model]) for model in due)},
        )
    elif reasons:
        waits = (f"{reason}, but it was trained or asked for on {spent[model]}" for model, reason in reasons.items())
        yield dg.SkipReason("; ".join(waits))
    else:
        yield dg.SkipReason(f"{len(found)} champions are as they were measured")


@cache
def code_of_models() -> str:
    """Return a fingerprint of the code that saves, loads and feeds models, as this process runs it."""
    digest = hashlib.sha256()
    for package in ("models", "features"):
        for path in sorted((Path(__file__).parents[1] / package).glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def trained_or_asked(registry: Registry, model: str, *, asked: Mapping[str, date], today: date) -> date | None:
    """Return the day on which a model's budget was last spent, if that is less than BUDGET ago."""
    days = [day for day in (last_trained_on(registry, model), asked.get(model)) if day is not None]
    return max((day for day in days if today - day < BUDGET), default=None)


checks = [champions_err_as_on_unseen_days]
