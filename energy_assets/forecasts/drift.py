"""Whether the world has moved away from what the champions learned: error in use, level of meters, range of features.

Judgements over figures that the caller reads; what to do about a drift is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

WORST_ERROR_RATIO = 1.5
"""Error in use over error on unseen days at which a model counts as drifted: seasons alone stay below it."""
WORST_LEVEL_RATIO = 2.0
"""Factor by which a meter's level must change to count as moved."""
WORST_MOVED_SHARE = 0.3
"""Share of a model's meters that must have moved for its data to count as drifted."""
WORST_BEYOND_SHARE = 0.3
"""Share of the newest feature rows that must lie beyond what a model learned from for a feature to count as drifted."""
FEWEST_SLOTS = 7 * 24
"""Below a week of measured slots nothing is said."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What was found of one model, and why it counts as drifted; None where it does not."""

    model: str
    error_ratio: float | None
    moved_share: float | None
    strangest_feature: str | None
    beyond_share: float | None
    reason: str | None


def judge_drift(
    errors: pl.DataFrame,
    *,
    levels: pl.DataFrame,
    validated: Mapping[str, float],
    beyond: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Drift]:
    """Return what is found of every model in `errors`, sorted by name.

    `errors` has one row a model: model, error_kwh (sum of absolute errors of the median), actual_kwh (sum of absolute
    energy) and slots. `levels` has one row a meter: model, recent_kwh and earlier_kwh, mean absolute energy of a slot.
    `validated` gives the nmae of the champion on its unseen days; a model without one is judged by its data alone.
    `beyond` gives by model and feature the share of rows beyond what it learned from, as `ranges.beyond` counts it.
    """
    moved = levels.filter(pl.col("earlier_kwh") > 0).select(
        "model",
        has_moved=~(pl.col("recent_kwh") / pl.col("earlier_kwh")).is_between(1 / WORST_LEVEL_RATIO, WORST_LEVEL_RATIO),
    )
    shares = dict(moved.group_by("model").agg(pl.col("has_moved").mean()).iter_rows())
    found = []
    for row in errors.sort("model").iter_rows(named=True):
        model, before = row["model"], validated.get(row["model"])
        is_measured = row["slots"] >= FEWEST_SLOTS and row["actual_kwh"] > 0 and before
        ratio = row["error_kwh"] / row["actual_kwh"] / before if is_measured else None
        found.append(_judged(model, ratio=ratio, share=shares.get(model), beyond=(beyond or {}).get(model, {})))
    return found


def _judged(model: str, *, ratio: float | None, share: float | None, beyond: Mapping[str, float]) -> Drift:
    reasons = []
    if ratio is not None and ratio > WORST_ERROR_RATIO:
        reasons.append(f"its error is {ratio:.1f} times that of its unseen days")
    if share is not None and share > WORST_MOVED_SHARE:
        reasons.append(f"the level of {share:.0%} of its meters moved by more than a factor of {WORST_LEVEL_RATIO:g}")
    strangest = max(beyond, key=lambda name: (beyond[name], name), default=None)
    outside = None if strangest is None else beyond[strangest]
    if outside is not None and outside > WORST_BEYOND_SHARE:
        reasons.append(f"{outside:.0%} of its newest rows lie beyond the {strangest} that it learned from")
    return Drift(
        model=model,
        error_ratio=ratio,
        moved_share=share,
        strangest_feature=strangest,
        beyond_share=outside,
        reason=f"{model}: {' and '.join(reasons)}" if reasons else None,
    )
