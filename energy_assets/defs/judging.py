"""Two versions of a model compared on what the lake holds of days that neither has seen.

The same judgement as after a training, at any time, for a person who asks before promoting.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from energy_assets.contracts import METERS
from energy_assets.defs.features import features_of
from energy_assets.defs.models import meters_of, newest_issue
from energy_assets.defs.training_rows import thinning_share
from energy_assets.errors import ModelError
from energy_assets.features.matrix import Thinning
from energy_assets.lake import Lake
from energy_assets.models.archive import FULL
from energy_assets.models.promotion import Decision, decide, judge_first, side_by_side
from energy_assets.models.registry import LoadedModel, Registry
from energy_assets.settings import Settings

_MOST_ROWS = 400_000
_MOST_DAYS = 56


def compare_versions(
    lake: Lake, registry: Registry, *, name: str, version: int, champion: int | None, settings: Settings, seed: int = 0
) -> Decision:
    """Return the judgement on a version against another, or against the baselines where `champion` is None.

    Uses the newest eight weeks of issues that neither has learned from and whose slots have been read.

    Raises:
        ModelError: a version cannot be loaded, or no day is left that neither has seen.
    """
    challenger = registry.load(name, version=version)
    rival = None if champion is None else registry.load(name, version=champion)
    features = _unseen_features(lake, [each for each in (challenger, rival) if each], name=name, settings=settings)
    if rival is None:
        rows = side_by_side(features, challenger=challenger.variants[FULL], starts_at_utc=challenger.learned_until_utc)
        return judge_first(rows, seed=seed)
    return decide(
        features,
        challenger=challenger.variants[FULL],
        learned_until_utc=challenger.learned_until_utc,
        champion=rival,
        seed=seed,
    )


def _unseen_features(lake: Lake, models: list[LoadedModel], *, name: str, settings: Settings) -> pl.DataFrame:
    newest = newest_issue(lake, settings=settings)
    learned = max(each.learned_until_utc for each in models)
    issues = [] if newest is None else _days_between(learned, newest)
    meters = meters_of(lake.read(METERS), names=[name])
    if not issues or meters.is_empty():
        raise ModelError(
            f"{name}: "
            + (
                f"no issue since {learned:%Y-%m-%d %H:%M} UTC, up to when they learned, has been read; wait."
                if not issues
                else "it serves no meter of the lake, and only models of loads can be compared."
            )
        )
    return features_of(
        lake,
        issues=issues,
        is_actual_allowed=settings.actual_weather_as_forecast,
        thinning=Thinning(share=thinning_share(meters, issues=len(issues), rows=_MOST_ROWS), seed=1),
        meters=meters,
        calendar_folder=settings.calendar_folder,
    )


def _days_between(learned: datetime, newest: datetime) -> list[datetime]:
    """Return the issues of whole days back from the newest one, as far as they were not learned from."""
    days = min(_MOST_DAYS, (newest - learned).days + 1)
    return [newest - timedelta(days=day) for day in range(max(days, 0)) if newest - timedelta(days=day) >= learned][
        ::-1
    ]
