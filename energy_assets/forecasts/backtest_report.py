"""The account of a back-test: errors per meter and in the median, skill over every rival, by horizon, hour and season.

All metrics are `models.evaluation`'s; errors are shares of a meter's mean absolute energy, not percent.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.errors import ContractError
from energy_assets.forecasts.backtest import Backtest
from energy_assets.forecasts.backtest_inputs import Inputs
from energy_assets.forecasts.backtest_plan import Plan
from energy_assets.models.evaluation import SKILL_METRICS, metrics_of, skill_of, skills_of

LADDER = "ladder"
SEASONS = {12: "Dec-Feb", 3: "Mar-May", 6: "Jun-Aug", 9: "Sep-Nov"}
_BOOTSTRAP_SEED = 1
_BLOCK_DAYS = 7
_FEWEST_BLOCKS = 4
_BUCKETS = ("lead_hours", "local_hour", "season")
_LEAD_STEP_HOURS = 3
_KEY = ("meter_id", "issued_at_utc", "starts_at_utc")


def report_of(result: Backtest, *, inputs: Inputs, plan: Plan) -> dict[str, object]:
    """Return the account as JSON-ready values; what cannot be measured is None.

    Keys: set, options, median (over meters), predicted (share of scored slots by model), pooled, skill, by (lead_hours,
    local_hour, season), rungs, trainings, meters, notes. What is told of the ladder for a meter or bucket has its
    `skill` by rival and metric.
    """
    scored = _scored(result, inputs=inputs)
    per_meter = metrics_of(scored)
    models = [LADDER, *(name for name in plan.rivals if name in set(scored["model"]))]
    meters = _nested(per_meter, ["node_id", "model"])
    _add_skills(meters, scored, by="node_id", rivals=models[1:])
    return {
        "set": _set(result, scored, inputs=inputs),
        "options": _options(result, plan=plan),
        "median": _medians(per_meter, models),
        "predicted": _predicted(scored, models),
        "pooled": _nested(metrics_of(scored, by=["model"]), ["model"]),
        "skill": {rival: _skill(scored, rival, per_meter) for rival in models[1:]},
        "by": _by(scored, rivals=models[1:]),
        "rungs": _rungs(result, scored),
        "trainings": [
            {
                "model": each.model,
                "trained_at_utc": each.trained_at_utc.isoformat(),
                "rows": each.rows,
                "trouble": each.trouble,
            }
            for each in result.trainings
        ],
        "meters": meters,
        "notes": list(inputs.notes),
    }


def _scored(result: Backtest, *, inputs: Inputs) -> pl.DataFrame:
    """Return every prediction beside the reading, in the columns of `evaluation`, with bucket columns."""
    zones = inputs.meters.select("meter_id", "site_id").join(inputs.sites.select("site_id", "timezone"), on="site_id")
    quantiles = pl.col(QUANTILE_COLUMNS).cast(pl.Float32)
    ladder = result.forecasts.select(*_KEY, quantiles, model=pl.lit(LADDER))
    rows = pl.concat([ladder, result.rivals.select(ladder.columns)])
    rows = rows.join(inputs.actual, on=["meter_id", "starts_at_utc"], how="inner", validate="m:1")
    rows = rows.join(zones.select("meter_id", "timezone"), on="meter_id", how="left", validate="m:1")
    lead = (pl.col("starts_at_utc") - pl.col("issued_at_utc")).dt.total_hours()
    parts = []
    for (zone,), group in rows.partition_by("timezone", as_dict=True, include_key=False).items():
        local = pl.col("starts_at_utc").dt.convert_time_zone(str(zone))
        parts.append(
            group.with_columns(
                lead_hours=(lead // _LEAD_STEP_HOURS * _LEAD_STEP_HOURS).cast(pl.Int64),
                local_hour=local.dt.hour().cast(pl.Int64),
                season=(local.dt.month() % 12 // 3 * 3).replace_strict(
                    {0: 12, 3: 3, 6: 6, 9: 9}, return_dtype=pl.Int64
                ),
            )
        )
    return (pl.concat(parts) if parts else rows).rename({"meter_id": "node_id"})


def _set(result: Backtest, scored: pl.DataFrame, *, inputs: Inputs) -> dict[str, object]:
    forecasts = result.forecasts
    filled = forecasts.select(pl.all_horizontal(pl.col(QUANTILE_COLUMNS).is_finite()).sum()).item()
    return {
        "meters": inputs.meters.height,
        "sites": inputs.sites.height,
        "readings": inputs.readings.height,
        "first_reading_utc": inputs.readings["starts_at_utc"][0].isoformat(),
        "last_reading_utc": inputs.readings["starts_at_utc"][-1].isoformat(),
        "has_weather": inputs.weather is not None,
        "first_tested_day": result.first_day.isoformat(),
        "last_tested_day": result.last_day.isoformat(),
        "tested_days": (result.last_day - result.first_day).days + 1,
        "slots": forecasts.height,
        "slots_filled": filled,
        "slots_scored": scored.filter(model=LADDER).height,
    }


def _options(result: Backtest, *, plan: Plan) -> dict[str, object]:
    return {
        "horizon_hours": plan.horizon_hours,
        "issue_hour": plan.issue_hour,
        "clock": plan.clock,
        "refit_days": result.refit_days,
        "rivals": list(plan.rivals),
        **{f"model_{name}": value for name, value in plan.spec.parameters().items()},
    }


def _medians(per_meter: pl.DataFrame, models: list[str]) -> dict[str, object]:
    medians = per_meter.group_by("model", "metric").agg(pl.col("value").median())
    named = _nested(medians, ["model"])
    return {model: named.get(model, {}) for model in models}


def _predicted(scored: pl.DataFrame, models: list[str]) -> dict[str, float | None]:
    """Return what share of the scored slots each model had something to say of; errors are of these alone."""
    said = scored.filter(pl.all_horizontal(pl.col("energy_kwh", *QUANTILE_COLUMNS).is_finite()))
    counts = dict(said.group_by("model").len().iter_rows())
    slots = counts.get(LADDER, 0)
    return {model: counts.get(model, 0) / slots if slots else None for model in models}


def _skill(scored: pl.DataFrame, rival: str, per_meter: pl.DataFrame) -> dict[str, object]:
    """Return by metric the share of the rival's error that the ladder saves, with its 90 % interval.

    None where either has no error to compare; no interval where days are too few to draw blocks of them.
    """
    days = scored["issued_at_utc"].n_unique()
    skills: dict[str, object] = {}
    for metric in SKILL_METRICS:
        errors = per_meter.filter(pl.col("metric") == metric, pl.col("model").is_in([LADDER, rival]))
        if errors["model"].n_unique() < 2 or not errors.filter(model=rival)["value"].median():
            skills[metric] = None
            continue
        # A rival that errs on few days may err on none of those drawn; infinite skill of a draw is no warning.
        with np.errstate(invalid="ignore", divide="ignore"):
            skill = skill_of(
                scored,
                model=LADDER,
                baseline=rival,
                metric=metric,
                seed=_BOOTSTRAP_SEED,
                block_days=_block(days),
            )
        bounds = {"low": skill.low, "high": skill.high} if days >= _FEWEST_BLOCKS else {"low": None, "high": None}
        skills[metric] = {"value": _finite(skill.value), **{name: _finite(value) for name, value in bounds.items()}}
    return skills


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _by(scored: pl.DataFrame, *, rivals: list[str]) -> dict[str, object]:
    """Return per bucket and model the medians over meters, and in each the ladder's skill."""
    buckets: dict[str, object] = {}
    for name in _BUCKETS:
        metrics = metrics_of(scored, by=["model", "node_id", name])
        medians = metrics.group_by(name, "model", "metric").agg(pl.col("value").median()).sort(name, "model", "metric")
        found = _nested(medians, [name, "model"])
        _add_skills(found, scored, by=name, rivals=rivals)
        if name == "season":
            found = {SEASONS[int(key)]: value for key, value in found.items()}
        elif name == "lead_hours":
            found = {f"{key}-{int(key) + _LEAD_STEP_HOURS}": value for key, value in found.items()}
        buckets[name] = found
    return buckets


def _add_skills(found: dict[str, dict], scored: pl.DataFrame, *, by: str, rivals: list[str]) -> None:  # type: ignore[type-arg]
    """Put the ladder's skill over every rival into what is told of it, group by group."""
    days = scored["issued_at_utc"].n_unique()
    for rival in rivals:
        try:
            skills = skills_of(
                scored, model=LADDER, baseline=rival, by=by, seed=_BOOTSTRAP_SEED, block_days=_block(days)
            )
        except ContractError:  # no slot that both have predicted
            continue
        for group, metric, value, low, high in skills.iter_rows():
            told = found.get(str(group), {}).get(LADDER)
            if told is not None:
                bounds = {"low": low, "high": high} if days >= _FEWEST_BLOCKS else {"low": None, "high": None}
                each = None if value is None else {"value": value, **bounds}
                told.setdefault("skill", {}).setdefault(rival, {})[metric] = each


def _block(days: int) -> int:
    return max(1, min(_BLOCK_DAYS, days // _FEWEST_BLOCKS))


def _rungs(result: Backtest, scored: pl.DataFrame) -> list[dict[str, object]]:
    """Return per method and reason how many slots it served, and how good it was over all of them together."""
    served = result.forecasts.select(*_KEY, "method", pl.col("reason").fill_null("")).rename({"meter_id": "node_id"})
    counts = served.group_by("method", "reason").len("slots").sort("slots", descending=True)
    rows = scored.filter(model=LADDER).join(served, on=["node_id", "issued_at_utc", "starts_at_utc"], how="left")
    metrics = _nested(metrics_of(rows, by=["method", "reason"]), ["method", "reason"])
    return [
        {
            "method": method,
            "reason": reason or None,
            "slots": slots,
            **{name: metrics.get(method, {}).get(reason, {}).get(name) for name in ("nmae", "coverage_80")},
        }
        for method, reason, slots in counts.iter_rows()
    ]


def _nested(metrics: pl.DataFrame, keys: list[str]) -> dict[str, dict]:  # type: ignore[type-arg]
    """Return metric and value as dictionaries inside those of the keys, in the order of the rows."""
    nested: dict[str, dict] = {}  # type: ignore[type-arg]
    for row in metrics.iter_rows(named=True):
        place = nested
        for key in keys:
            place = place.setdefault(str(row[key]), {})
        place[row["metric"]] = row["value"]
    return nested
