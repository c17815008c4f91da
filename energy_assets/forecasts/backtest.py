"""Rolling-origin back-test: at every past issue the forecast that the night would have made, and nothing known later.

Features, training and ladder are the functions of the nightly run. Models are fitted anew at intervals, from what was
known by then; between them the same model serves and follows what becomes known, as a champion does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.features.horizon import Horizon
from energy_assets.forecasts.backtest_inputs import Inputs
from energy_assets.forecasts.backtest_learning import Learning, Progress, Rivals, Training, batches, features_of
from energy_assets.forecasts.backtest_nights import Nights
from energy_assets.forecasts.backtest_plan import PREVIOUS_DAY, Group, Plan, groups_of, refit_days_of, tested_days
from energy_assets.forecasts.centre import centred
from energy_assets.forecasts.daily import NOTHING_LEARNED, forecast_issue
from energy_assets.forecasts.following import Followers, stride_of
from energy_assets.forecasts.ladder import KEY, Champion
from energy_assets.forecasts.standing import HISTORY
from energy_assets.models.registry import registered_name

FORECAST_COLUMNS = ("meter_id", "issued_at_utc", "starts_at_utc", *QUANTILE_COLUMNS, "method", "rung", "reason")


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """Forecasts with FORECAST_COLUMNS, what rivals said (KEY, quantiles, model), and the trainings behind them."""

    forecasts: pl.DataFrame
    rivals: pl.DataFrame
    trainings: tuple[Training, ...]
    first_day: date
    last_day: date
    refit_days: int


def backtest(inputs: Inputs, *, plan: Plan, progress: Progress) -> Backtest:
    """Return the forecasts of every meter and slot of the tested days, each from what was known at its issue.

    Raises:
        ConfigError: the tested days lie outside the readings.
    """
    days, first_test = tested_days(inputs, plan=plan)
    groups = list(groups_of(inputs, plan=plan, days=days))
    tested = [day for day in days if day >= first_test]
    refit_days = plan.refit_days or refit_days_of(
        inputs, plan=plan, learned=len(days) - len(tested), tested=len(tested)
    )
    starts = tested[::refit_days]
    learning = Learning(inputs=inputs, plan=plan, groups=groups, until=starts[-1], progress=progress)
    nights = [
        Nights(meters=group.meters, readings=inputs.readings) if plan.learns_from_nights else None for group in groups
    ]
    forecasts, rivals, done = [], [], 0
    total = len(tested) * len(groups)
    for number, start in enumerate(starts, start=1):
        champions, others = learning.champions(start, number=number, of=len(starts))
        for group, known in zip(groups, nights, strict=True):
            stride = stride_of(inputs.meters, horizon_hours=plan.horizon_hours)
            followers = Followers(champions, meters=group.meters, stride=stride)
            issues = [group.issues[day] for day in tested if start <= day < start + timedelta(days=refit_days)]
            for features, at_once in _test_features(inputs, group, issues=issues):
                rivals.append(_of_rivals(features, others, inputs=inputs, families=plan.rivals))
                followers.learn(features)
                for issue in at_once:
                    forecasts.append(
                        _one_issue(features, inputs, group, issue=issue, champions=followers.at(issue), nights=known)
                    )
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


def _test_features(
    inputs: Inputs, group: Group, *, issues: Sequence[datetime]
) -> Iterator[tuple[pl.DataFrame, Sequence[datetime]]]:
    """Yield feature rows of a few issues at a time; days of 23 and 25 hours have as many slots as they have."""
    of_an_hour = float((60 / group.meters["interval_minutes"]).sum())
    for part in batches(issues, rows_each=of_an_hour * max(group.hours.values())):
        frames = []
        for hours in sorted({group.hours[issue] for issue in part}):
            alike = [issue for issue in part if group.hours[issue] == hours]
            frames.append(features_of(inputs, group.meters, issues=alike, horizon=Horizon.of_hours(hours)))
        yield pl.concat(frames), part


def _one_issue(
    features: pl.DataFrame,
    inputs: Inputs,
    group: Group,
    *,
    issue: datetime,
    champions: dict[str, Champion],
    nights: Nights | None,
) -> pl.DataFrame:
    learned = NOTHING_LEARNED if nights is None else nights.learned_at(issue)
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
        widening=learned.widening,
        horizon=Horizon.of_hours(group.hours[issue]),
    )
    rows = centred(rows, shares=learned.centre)
    if nights is not None:
        nights.measure(rows, learned=learned, issued_at_utc=issue)
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
