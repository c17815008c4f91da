"""What a back-test learns: features with targets of past days, made once, and the models that could have been trained.

A champion holds the two variants that the ladder asks for; rivals are the families and baselines beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from energy_assets.errors import ModelError
from energy_assets.features.horizon import Horizon
from energy_assets.features.matrix import Thinning, build_features
from energy_assets.forecasts.backtest_inputs import Inputs
from energy_assets.forecasts.backtest_plan import LONGEST_HORIZON_HOURS, PREVIOUS_DAY, Group, Plan
from energy_assets.forecasts.ladder import MODEL_FAILURES, Champion
from energy_assets.models.archive import FULL, WITHOUT_WEATHER, Model
from energy_assets.models.evaluation import known_by
from energy_assets.models.fitting import fit
from energy_assets.models.registry import LoadedModel, UnresolvedModelError, registered_name
from energy_assets.models.spec import ModelSpec

SEED = 0
_DAYS_BEFORE_LEARNING = 8
_TRAINING_ROWS = 400_000
"""Rows of a class that are made for training; families take a random part of these where they want fewer."""
_ISSUES_AT_ONCE = 60
_ROWS_AT_ONCE = 200_000
"""Feature rows of issues that are forecast, about 0.2 GB; a portfolio's 60 issues would be many times that."""
_WEATHER_BEYOND = timedelta(days=1)

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many steps of it are done, and how many there are."""

Rivals = dict[str, Model | None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One fit: the registered name that it stands for, when, from how many rows, or why there is no model."""

    model: str
    trained_at_utc: datetime
    rows: int
    trouble: str | None


class Learning:
    """Training rows of all days up to the last refit, made once, and the champions learned from what was known."""

    def __init__(self, *, inputs: Inputs, plan: Plan, groups: Sequence[Group], until: date, progress: Progress) -> None:
        self._plan, self._groups, self._progress = plan, groups, progress
        self.trainings: list[Training] = []
        self._has_weather = inputs.weather is not None
        self._rows: dict[str, pl.DataFrame] = {}
        classes = inputs.meters.select("commodity", "interval_minutes").unique().sort("commodity", "interval_minutes")
        for done, (commodity, minutes) in enumerate(classes.iter_rows()):
            progress("building features", done, classes.height)
            name = registered_name(commodity, interval_minutes=minutes)
            of_class = (pl.col("commodity") == commodity) & (pl.col("interval_minutes") == minutes)
            self._rows[name] = _training_rows(inputs, groups, of_class=of_class, until=until, plan=plan)
        progress("building features", classes.height, classes.height)

    def champions(self, start: date, *, number: int, of: int) -> tuple[dict[str, Champion], dict[str, Rivals]]:
        """Return by registered name the champion and the rivals that could have been trained when a day was issued."""
        trained_at = min(group.issues[start] for group in self._groups)
        champions: dict[str, Champion] = {}
        rivals: dict[str, Rivals] = {}
        for name, rows in self._rows.items():
            self._progress("training", number - 1, of)
            known = known_by(rows, trained_at=trained_at)
            champions[name] = self._champion(name, known, number=number, trained_at=trained_at)
            champion = champions[name]
            trouble = str(champion) if isinstance(champion, UnresolvedModelError) else None
            self.trainings.append(Training(model=name, trained_at_utc=trained_at, rows=known.height, trouble=trouble))
            rivals[name] = {
                family: self._rival(known, family) for family in self._plan.rivals if family != PREVIOUS_DAY
            }
        self._progress("training", number, of)
        return champions, rivals

    def _champion(self, name: str, known: pl.DataFrame, *, number: int, trained_at: datetime) -> Champion:
        spec, threads = self._plan.spec, self._plan.threads
        without = _FittedWhenAsked(known, spec=spec.without("weather"), threads=threads)
        try:
            full: Model = (
                without.fitted() if not self._has_weather else fit(known, spec=spec, seed=SEED, threads=threads)
            )
        except MODEL_FAILURES as error:
            return UnresolvedModelError(str(error), reason="no_champion")
        tags = {"training_ends_at_utc": trained_at.isoformat()}
        return LoadedModel(name=name, version=number, variants={FULL: full, WITHOUT_WEATHER: without}, tags=tags)

    def _rival(self, known: pl.DataFrame, family: str) -> Model | None:
        spec = self._plan.spec.model_copy(update={"family": family})
        try:
            return fit(known, spec=spec, seed=SEED, threads=self._plan.threads)
        except MODEL_FAILURES:
            return None


class _FittedWhenAsked:
    """A variant that is trained when the ladder first needs it: most back-tests never miss their weather."""

    def __init__(self, rows: pl.DataFrame, *, spec: ModelSpec, threads: int) -> None:
        self._rows, self._spec, self._threads = rows, spec, threads
        self._model: Model | None = None

    def fitted(self) -> Model:
        if self._model is None:
            self._model = fit(self._rows, spec=self._spec, seed=SEED, threads=self._threads)
        return self._model

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        return self.fitted().predict(features)

    def save(self, folder: object) -> None:
        raise ModelError(f"A variant of a back-test is not kept; train a model to save it into {folder}.")


def _training_rows(
    inputs: Inputs, groups: Sequence[Group], *, of_class: pl.Expr, until: date, plan: Plan
) -> pl.DataFrame:
    """Return features with targets of the days before `until`, about 400,000 rows of them at most."""
    parts = [(group.meters.filter(of_class), group) for group in groups]
    per_day = sum(float((plan.horizon_hours * 60 / meters["interval_minutes"]).sum()) for meters, _ in parts)
    frames = []
    for meters, group in parts:
        days = [day for day in group.issues if day < until][_DAYS_BEFORE_LEARNING:]
        expected = per_day * len(days)
        thinning = Thinning(share=_TRAINING_ROWS / expected, seed=SEED) if expected > _TRAINING_ROWS else None
        issues = [group.issues[day] for day in days]
        horizon = Horizon.of_hours(plan.horizon_hours)
        frames += [
            features_of(inputs, meters, issues=part, horizon=horizon, thinning=thinning)
            for part in batches(issues)
            if meters.height
        ]
    return pl.concat(frames) if frames else features_of(inputs, inputs.meters, issues=[], horizon=Horizon.of_hours(1))


def batches(issues: Sequence[datetime], *, rows_each: float = 0) -> Iterator[Sequence[datetime]]:
    """Yield the issues a few at a time, so that weather and features of a long test never stand in memory at once."""
    at_once = int(min(_ISSUES_AT_ONCE, max(1, _ROWS_AT_ONCE // max(rows_each, 1))))
    for start in range(0, len(issues), at_once):
        yield issues[start : start + at_once]


def features_of(
    inputs: Inputs,
    meters: pl.DataFrame,
    *,
    issues: Sequence[datetime],
    horizon: Horizon,
    thinning: Thinning | None = None,
) -> pl.DataFrame:
    """Return the feature rows of the issues by the functions of the night, with the weather as it was known at each."""
    ahead = timedelta(hours=horizon.hours or LONGEST_HORIZON_HOURS) + _WEATHER_BEYOND
    weather = inputs.weather.as_known(issues, horizon=ahead) if inputs.weather is not None and issues else None
    return build_features(
        inputs.readings,
        meters=meters,
        sites=inputs.sites,
        premises=inputs.premises,
        weather=weather,
        issues=list(issues),
        horizon=horizon,
        thinning=thinning,
        closures=inputs.closures,
        observed=None if inputs.weather is None else inputs.weather.observed,
    )
