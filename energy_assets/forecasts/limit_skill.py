"""How the chances of loads beyond their limits held: Brier score beside what was usual, and reliability by class.

A forecast of a chance is right when of all slots that were given 30 % three in ten come true, and useful when it tells
them apart better than the past month does.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl

from energy_assets.contracts import FORECASTS_SKILL
from energy_assets.forecasts.nodes import PORTFOLIO, memberships
from energy_assets.forecasts.skill import PUBLISHED, Judgement

PAST_MONTH = "past_month"
"""Baseline: the share of the 28 days before that were beyond the limit at the same hour."""
_MEMORY = timedelta(days=28)
_CLASSES = (0.0, 0.05, 0.2, 0.5, 0.8, 1.0)
_FEWEST_SLOTS = 100


def skill_of_limits(
    limits: pl.DataFrame, *, compared: pl.DataFrame, readings: pl.DataFrame, meters: pl.DataFrame
) -> pl.DataFrame:
    """Return rows of `forecasts.skill` that say how the chances held.

    `limits` are rows of `forecasts.limits`, `compared` is what `actuals.with_actuals` returns for the same issues,
    `readings` are those of their slots and of the 28 days before. Per node at which something was at stake, and for all
    together (node `portfolio`): the Brier score (mean squared error of the chance, Brier 1950) of `published` and of
    `past_month`; and for all, by class of chance, how many slots there were, what was expected and what came.
    """
    if limits.is_empty():
        return FORECASTS_SKILL.empty()
    beyond = pl.col("actual_kwh").abs() * 60 / pl.col("interval_minutes") > pl.col("limit_kw")
    key = ["node_id", "issued_at_utc", "starts_at_utc"]
    rows = limits.join(compared.select(*key, "actual_kwh"), on=key, how="inner", validate="1:1").filter(
        pl.col("actual_kwh").is_not_null()
    )
    rows = rows.select(
        *key,
        window_days=(pl.col("starts_at_utc") - pl.col("issued_at_utc")).dt.total_hours() // 24 + 1,
        beyond=beyond.cast(pl.Float64),
        published=(pl.col("probability") + pl.col("probability_fed_in")),
    )
    usual = _usual(limits, readings=readings, meters=meters)
    hour = pl.col("starts_at_utc").dt.hour()
    rows = rows.with_columns(hour=hour).join(usual, on=["node_id", "issued_at_utc", "hour"], how="left", validate="m:1")
    at_stake = (pl.col("published") + pl.col("beyond") + pl.col(PAST_MONTH).fill_null(0)).sum() > 0
    index = ["model", "node_id", "issued_at_utc", "window_days", "metric"]
    parts = []
    for model in (PUBLISHED, PAST_MONTH):
        known = rows.filter(pl.col(model).is_not_null()).with_columns(
            model=pl.lit(model), error=(pl.col(model) - pl.col("beyond")) ** 2
        )
        score = {"window_days": pl.col("window_days").max(), "value": pl.col("error").mean()}
        of_nodes = known.group_by("model", "node_id", "issued_at_utc").agg(**score, at_stake=at_stake)
        of_all = known.group_by("model", "issued_at_utc").agg(**score)
        parts += [
            of_nodes.filter("at_stake").with_columns(metric=pl.lit("limit_brier")).select(*index, "value"),
            of_all.with_columns(node_id=pl.lit(PORTFOLIO), metric=pl.lit("limits_brier")).select(*index, "value"),
        ]
    parts.append(_by_class(rows).select(*index, "value"))
    made = pl.concat(parts).rename({"issued_at_utc": "window_start_utc"})
    return FORECASTS_SKILL.conform(made.select(FORECASTS_SKILL.column_names).sort(FORECASTS_SKILL.key))


def _usual(limits: pl.DataFrame, *, readings: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """Return by node, issue and UTC hour the share of the slots of the 28 days before that were beyond the limit."""
    stated = limits.select("node_id", "issued_at_utc", "limit_kw", "interval_minutes").unique()
    members = memberships(meters).join(stated.select("node_id").unique(), on="node_id", how="semi")
    members = members.select("node_id", "meter_id", "sign", minutes="interval_minutes")
    parts = [limits.clear().select("node_id", "issued_at_utc", hour=pl.lit(0, pl.Int8), past_month=pl.lit(0.0))]
    for (issued,), of_issue in stated.partition_by("issued_at_utc", as_dict=True).items():
        assert isinstance(issued, datetime)
        recent = readings.filter(pl.col("starts_at_utc").is_between(issued - _MEMORY, issued, closed="left"))
        sums = (
            recent.select("meter_id", "starts_at_utc", "energy_kwh")
            .join(members, on="meter_id", how="inner")
            .group_by("node_id", pl.col("starts_at_utc").dt.truncate(pl.format("{}m", "minutes")))
            .agg(
                load=(pl.col("energy_kwh") * pl.col("sign")).sum(),
                is_known=pl.col("energy_kwh").is_not_null().all(),
            )
            .filter("is_known")
            .join(of_issue, on="node_id", how="inner", validate="m:1")
        )
        beyond = pl.col("load").abs() * 60 / pl.col("interval_minutes") > pl.col("limit_kw")
        parts.append(
            sums.group_by("node_id", "issued_at_utc", hour=pl.col("starts_at_utc").dt.hour()).agg(
                past_month=beyond.mean()
            )
        )
    return pl.concat(parts)


def _by_class(rows: pl.DataFrame) -> pl.DataFrame:
    """Return by issue and class of chance how many slots there were, what was expected, and what came, as shares."""
    label = pl.coalesce(
        pl.when(pl.col("published") <= high).then(pl.lit(f"{low * 100:02.0f}_{high * 100:02.0f}"))
        for low, high in pairwise(_CLASSES)
    )
    classed = rows.with_columns(label=label)
    table = classed.group_by("issued_at_utc", "label").agg(
        window_days=pl.col("window_days").max(),
        slots=pl.len().cast(pl.Float64),
        expected=pl.col("published").mean(),
        observed=pl.col("beyond").mean(),
    )
    long = table.unpivot(["slots", "expected", "observed"], index=["issued_at_utc", "label", "window_days"])
    return long.with_columns(
        model=pl.lit(PUBLISHED),
        node_id=pl.lit(PORTFOLIO),
        metric=pl.format("limits_{}_{}", "variable", "label"),
    )


def reliability(skill: pl.DataFrame) -> pl.DataFrame:
    """Return by class of chance the slots, the share expected and the share that came, over all issues in `skill`.

    `skill` are rows of `forecasts.skill` of some weeks.
    """
    parts = pl.col("metric").str.extract_groups(r"^limits_(?<what>slots|expected|observed)_(?<label>\d+_\d+)$")
    found = (
        skill.filter(model=PUBLISHED, node_id=PORTFOLIO)
        .with_columns(parts.alias("parts"))
        .unnest("parts")
        .drop_nulls("what")
    )
    wide = found.select("window_start_utc", "label", "what", "value").pivot(
        "what", index=["window_start_utc", "label"], values="value"
    )
    if wide.is_empty():
        names = ("slots", "expected", "observed")
        return pl.Schema({"chance_percent": pl.String(), **{name: pl.Float64() for name in names}}).to_frame()
    weighted = {
        name: (pl.col(name) * pl.col("slots")).sum() / pl.col("slots").sum() for name in ("expected", "observed")
    }
    return (
        wide.group_by(chance_percent="label").agg(slots=pl.col("slots").sum(), **weighted).sort("chance_percent")
    ).select("chance_percent", "slots", "expected", "observed")


def judge_limits(skill: pl.DataFrame, *, tolerance: float = 0.15) -> Judgement:
    """Return whether chances came true as often as they said, within `tolerance` in every class of a hundred slots.

    `skill` are rows of `forecasts.skill` of some weeks. Holds where nothing has been measured yet, and says so.
    """
    table = reliability(skill)
    offenders = table.filter(
        pl.col("slots") >= _FEWEST_SLOTS, (pl.col("observed") - pl.col("expected")).abs() > tolerance
    )
    brier = dict(skill.filter(metric="limits_brier").group_by("model").agg(pl.col("value").mean()).iter_rows())
    shown = "; ".join(
        f"{row['chance_percent'].replace('_', '-')} %: {row['observed']:.1%} of {row['slots']:,.0f} slots"
        for row in table.to_dicts()
    )
    scores = ", ".join(f"{model} {value:.4f}" for model, value in sorted(brier.items(), reverse=True))
    return Judgement(
        holds=offenders.is_empty(),
        evidence=f"beyond the limit, by chance said: {shown}. Brier score: {scores}"
        if shown
        else "nothing measured yet",
        offenders=offenders,
    )
