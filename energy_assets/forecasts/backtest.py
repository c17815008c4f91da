"""Rolling-origin back-test: at every past issue the forecast that the night would have made, and nothing known later.

Features, training and ladder are the functions of the nightly run. Models are fitted anew at intervals, from what was
known by then; between them the same model serves, as a champion does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.errors import ConfigError, ModelError
from energy_assets.features.horizon import Horizon
from energy_assets.features.matrix import Thinning, build_features
from energy_assets.forecasts.backtest_inputs import Inputs
from energy_assets.forecasts.daily import forecast_issue
from energy_assets.forecasts.ladder import KEY, Champion
from energy_assets.forecasts.standing import HISTORY
from energy_assets.models.archive import FULL, WITHOUT_WEATHER, Model
from energy_assets.models.evaluation import known_by
from energy_assets.models.fitting import fit
from energy_assets.models.registry import LoadedModel, UnresolvedModelError, registered_name
from energy_assets.models.spec import ModelSpec

FORECAST_COLUMNS = ("meter_id", "issued_at_utc", "starts_at_utc", *QUANTILE_COLUMNS, "method", "rung", "reason")
LONGEST_HORIZON_HOURS = 96
SEED = 0
PREVIOUS_DAY = "previous_day"
"""The rival that needs no training: the newest day of which the same clock time is known."""
BASELINES = (PREVIOUS_DAY, "last_week", "weekday_mean", "analogue")
_DAYS_BEFORE_LEARNING = 8
_TRAINING_ROWS = 400_000
"""Rows of a class that are made for training; families take a random part of these where they want fewer."""
_ISSUES_AT_ONCE = 60
_REFIT_DAYS = 28
_LEARNED_ROWS = 450_000
"""Rows learned from in all refits together before these become rarer: a few minutes on two cores."""
_WEATHER_BEYOND = timedelta(days=1)

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many steps of it are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to back-test.

    Attributes:
        horizon_hours: hours from an issue to its last slot, on the clock: 24 from midnight are the whole local day.
        issue_hour: hour of the day at which forecasts are issued, on the clock that `clock` names.
        clock: `local` for that of each meter's site, `utc` for one clock for all.
        last_days: days at the end that are tested, or None for a share.
        last_share: share of all days that is tested, counted from the end.
        first_day: first day that is tested; goes before the two above.
        refit_days: days between trainings; None for four weeks, or more where training is costly.
        spec: family and budget of the champion.
        rivals: baselines and families that are measured beside the ladder.
        threads: of training.
    """

    horizon_hours: int = 24
    issue_hour: int = 0
    clock: Literal["local", "utc"] = "local"
    last_days: int | None = None
    last_share: float = 0.2
    first_day: date | None = None
    refit_days: int | None = None
    spec: ModelSpec = field(default_factory=ModelSpec)
    rivals: tuple[str, ...] = BASELINES
    threads: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.horizon_hours <= LONGEST_HORIZON_HOURS:
            raise ConfigError(f"--horizon-hours is {self.horizon_hours}; give 1 to {LONGEST_HORIZON_HOURS}.")
        if not 0 <= self.issue_hour <= 23:
            raise ConfigError(f"--issue-hour is {self.issue_hour}; give 0 to 23.")
        if self.refit_days is not None and self.refit_days < 1:
            raise ConfigError(f"--refit-days is {self.refit_days}; give 1 or more.")


@dataclass(frozen=True, kw_only=True)
class Training:
    """One fit: the registered name that it stands for, when, from how many rows, or why there is no model."""

    model: str
    trained_at_utc: datetime
    rows: int
    trouble: str | None


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """Forecasts with FORECAST_COLUMNS, what rivals said (KEY, quantiles, model), and the trainings behind them."""

    forecasts: pl.DataFrame
    rivals: pl.DataFrame
    trainings: tuple[Training, ...]
    first_day: date
    last_day: date
    refit_days: int


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Meters that are forecast at the same instants, and the instant of the issue of every day."""

    meters: pl.DataFrame
    issues: dict[date, datetime]
    hours: dict[datetime, int]


def backtest(inputs: Inputs, *, plan: Plan, progress: Progress) -> Backtest:
    """Return the forecasts of every meter and slot of the tested days, each from what was known at its issue.

    Raises:
        ConfigError: the tested days lie outside the readings.
    """
    days, first_test = tested_days(inputs, plan=plan)
    groups = list(_groups(inputs, plan=plan, days=days))
    tested = [day for day in days if day >= first_test]
    refit_days = plan.refit_days or _refit_days(inputs, plan=plan, learned=len(days) - len(tested), tested=len(tested))
    starts = tested[::refit_days]
    learning = _Learning(inputs=inputs, plan=plan, groups=groups, until=starts[-1], progress=progress)
    forecasts, rivals, done = [], [], 0
    total = len(tested) * len(groups)
    for number, start in enumerate(starts, start=1):
        champions, others = learning.champions(start, number=number, of=len(starts))
        for group in groups:
            issues = [group.issues[day] for day in tested if start <= day < start + timedelta(days=refit_days)]
            for features, at_once in _test_features(inputs, group, issues=issues):
                rivals.append(_of_rivals(features, others, inputs=inputs, families=plan.rivals))
                for issue in at_once:
                    forecasts.append(_one_issue(features, inputs, group, issue=issue, champions=champions))
                    done += 1
                    progress("forecasting", done, total)
    return Backtest(
        forecasts=pl.concat(forecasts).select(FORECAST_COLUMNS).sort("meter_id", "issued_at_utc", "starts_at_utc"),
        rivals=pl.concat(rivals),
        trainings=tuple(learning.trainings),
        first_day=tested[0],
        last_day=tested[-1],
        refit_days=refit_days,
    )


def tested_days(inputs: Inputs, *, plan: Plan) -> tuple[list[date], date]:
    """Return the days of the readings, on the clock of most meters, and the first of those that are tested.

    Raises:
        ConfigError: no day would be tested, or none would be left to learn from.
    """
    zone = "UTC" if plan.clock == "utc" else str(inputs.sites["timezone"].mode().sort()[0])
    span = inputs.readings.select(
        first=pl.col("starts_at_utc").min().dt.convert_time_zone(zone).dt.date(),
        last=pl.col("starts_at_utc").max().dt.convert_time_zone(zone).dt.date(),
    )
    first, last = span.row(0)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    count = plan.last_days if plan.last_days is not None else max(1, round(len(days) * plan.last_share))
    first_test = plan.first_day or days[-min(count, len(days))]
    if not first < first_test <= last:
        raise ConfigError(
            f"The readings reach from {first} to {last}; a back-test from {first_test} has "
            f"{'no day to test' if first_test > last else 'nothing before it to learn from'}. Choose --from or --last "
            f"so that it begins within them."
        )
    return days, first_test


class _Learning:
    """Training rows of all days up to the last refit, made once, and the champions learned from what was known."""

    def __init__(
        self, *, inputs: Inputs, plan: Plan, groups: Sequence[_Group], until: date, progress: Progress
    ) -> None:
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
            champions[name] = self._champion(name, known, number=number)
            champion = champions[name]
            trouble = str(champion) if isinstance(champion, UnresolvedModelError) else None
            self.trainings.append(Training(model=name, trained_at_utc=trained_at, rows=known.height, trouble=trouble))
            rivals[name] = {
                family: self._rival(known, family) for family in self._plan.rivals if family != PREVIOUS_DAY
            }
        self._progress("training", number, of)
        return champions, rivals

    def _champion(self, name: str, known: pl.DataFrame, *, number: int) -> Champion:
        spec, threads = self._plan.spec, self._plan.threads
        without = _FittedWhenAsked(known, spec=spec.without("weather"), threads=threads)
        try:
            full: Model = (
                without.fitted() if not self._has_weather else fit(known, spec=spec, seed=SEED, threads=threads)
            )
        except ModelError as error:
            return UnresolvedModelError(str(error), reason="no_champion")
        return LoadedModel(name=name, version=number, variants={FULL: full, WITHOUT_WEATHER: without}, tags={})

    def _rival(self, known: pl.DataFrame, family: str) -> Model | None:
        spec = self._plan.spec.model_copy(update={"family": family})
        try:
            return fit(known, spec=spec, seed=SEED, threads=self._plan.threads)
        except ModelError:
            return None


Rivals = dict[str, Model | None]


class _FittedWhenAsked:
    """A variant that is trained when the ladder first needs it: most back-tests never miss their weather."""

    def __init__(self, rows: pl.DataFrame, *, spec: ModelSpec, threads: int) -> None:
        self._rows, self._spec, self._threads = rows, spec, threads
        self._model: Model | None = None

    def fitted(self) -> _FittedWhenAsked:
        if self._model is None:
            self._model = fit(self._rows, spec=self._spec, seed=SEED, threads=self._threads)
        return self

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        self.fitted()
        assert self._model is not None
        return self._model.predict(features)

    def save(self, folder: object) -> None:
        raise ModelError(f"A variant of a back-test is not kept; train a model to save it into {folder}.")


def _groups(inputs: Inputs, *, plan: Plan, days: Sequence[date]) -> Iterator[_Group]:
    zones = inputs.sites.select("site_id", zone=pl.lit("UTC") if plan.clock == "utc" else pl.col("timezone"))
    placed = inputs.meters.join(zones, on="site_id", how="left", validate="m:1", maintain_order="left")
    for (zone,), meters in sorted(placed.partition_by("zone", as_dict=True).items(), key=str):
        issues = {day: _instant(day, hour=plan.issue_hour, zone=str(zone)) for day in days}
        ends = (
            datetime.combine(day, clock_time(plan.issue_hour)) + timedelta(hours=plan.horizon_hours) for day in days
        )
        hours = {
            issues[day]: max(1, round((_instant_of(end, zone=str(zone)) - issues[day]) / timedelta(hours=1)))
            for day, end in zip(days, ends, strict=True)
        }
        yield _Group(meters=meters.drop("zone"), issues=issues, hours=hours)


def _instant(day: date, *, hour: int, zone: str) -> datetime:
    return _instant_of(datetime.combine(day, clock_time(hour)), zone=zone)


def _instant_of(local: datetime, *, zone: str) -> datetime:
    return local.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))


def _refit_days(inputs: Inputs, *, plan: Plan, learned: int, tested: int) -> int:
    """Return four weeks, or longer where that many trainings would learn from more rows than two cores should."""
    per_day = plan.horizon_hours * 60 / inputs.meters["interval_minutes"]
    slots = inputs.meters.select("commodity", "interval_minutes").with_columns(rows=per_day * learned)
    of_classes = slots.group_by("commodity", "interval_minutes").agg(pl.col("rows").sum())
    rows = of_classes.select(pl.col("rows").clip(10_000, plan.spec.training_rows).sum()).item()
    affordable = max(2, int(_LEARNED_ROWS / rows))
    return max(_REFIT_DAYS, -(-tested // affordable))


def _training_rows(
    inputs: Inputs, groups: Sequence[_Group], *, of_class: pl.Expr, until: date, plan: Plan
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
            _features(inputs, meters, issues=part, horizon=horizon, thinning=thinning)
            for part in _batches(issues)
            if meters.height
        ]
    return pl.concat(frames) if frames else _features(inputs, inputs.meters, issues=[], horizon=Horizon.of_hours(1))


def _test_features(
    inputs: Inputs, group: _Group, *, issues: Sequence[datetime]
) -> Iterator[tuple[pl.DataFrame, list[datetime]]]:
    """Yield feature rows of a few issues at a time; days of 23 and 25 hours have as many slots as they have."""
    for part in _batches(issues):
        for hours in sorted({group.hours[issue] for issue in part}):
            alike = [issue for issue in part if group.hours[issue] == hours]
            yield _features(inputs, group.meters, issues=alike, horizon=Horizon.of_hours(hours)), alike


def _batches(issues: Sequence[datetime]) -> Iterator[Sequence[datetime]]:
    """Yield the issues a few at a time, so that weather and features of a long test never stand in memory at once."""
    for start in range(0, len(issues), _ISSUES_AT_ONCE):
        yield issues[start : start + _ISSUES_AT_ONCE]


def _features(
    inputs: Inputs,
    meters: pl.DataFrame,
    *,
    issues: Sequence[datetime],
    horizon: Horizon,
    thinning: Thinning | None = None,
) -> pl.DataFrame:
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
    )


def _one_issue(
    features: pl.DataFrame, inputs: Inputs, group: _Group, *, issue: datetime, champions: dict[str, Champion]
) -> pl.DataFrame:
    recent = pl.col("starts_at_utc").is_between(issue - HISTORY, issue, closed="left")
    rows = forecast_issue(
        features.filter(pl.col("issued_at_utc") == issue),
        readings=inputs.readings.filter(recent),
        meters=group.meters,
        premises=inputs.premises,
        sites=inputs.sites,
        champions=champions,
        issued_at_utc=issue,
        features_hash="backtest",
        horizon=Horizon.of_hours(group.hours[issue]),
    )
    return rows.rename({"node_id": "meter_id"}).select(FORECAST_COLUMNS)


def _of_rivals(
    features: pl.DataFrame, rivals: dict[str, Rivals], *, inputs: Inputs, families: Sequence[str]
) -> pl.DataFrame:
    """Return KEY, quantiles and model of what every rival says of the rows of its class; nothing where it has none."""
    schema = {**features.select(KEY).schema, **dict.fromkeys(QUANTILE_COLUMNS, pl.Float32()), "model": pl.String()}
    frames = [pl.Schema(schema).to_frame()]
    classes = inputs.meters.group_by("commodity", "interval_minutes").agg("meter_id").iter_rows()
    for commodity, minutes, meter_ids in classes:
        rows = features.filter(pl.col("meter_id").is_in(meter_ids))
        for family, model in rivals[registered_name(commodity, interval_minutes=minutes)].items():
            if model is not None and rows.height:
                said = model.predict(rows).select(*KEY, pl.col(QUANTILE_COLUMNS).cast(pl.Float32))
                frames.append(said.with_columns(model=pl.lit(family)))
    if PREVIOUS_DAY in families:
        frames.append(
            features.select(*KEY, **dict.fromkeys(QUANTILE_COLUMNS, "latest_1_kwh"), model=pl.lit(PREVIOUS_DAY))
        )
    return pl.concat(frames)
