"""What a back-test covers: its days, the instant of every issue, how far each looks, when models are trained anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from energy_assets.errors import ConfigError
from energy_assets.forecasts.backtest_inputs import Inputs
from energy_assets.models.spec import ModelSpec

LONGEST_HORIZON_HOURS = 96
PREVIOUS_DAY = "previous_day"
"""The rival that needs no training: the newest day of which the same clock time is known."""
BASELINES = (PREVIOUS_DAY, "last_week", "weekday_mean", "analogue")
_REFIT_DAYS = 28
_LEARNED_ROWS = 240_000
"""Rows learned from in all refits together before these become rarer: a minute or two on two cores."""
_LEAST_COST_ROWS = 40_000
"""What a training costs at least, in rows: folds and early stopping take their time with few of them too."""


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
        learns_from_nights: widths and centre of an issue are learned from those measured before it; not where the
            caller learns by itself.
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
    learns_from_nights: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.horizon_hours <= LONGEST_HORIZON_HOURS:
            raise ConfigError(f"--horizon-hours is {self.horizon_hours}; give 1 to {LONGEST_HORIZON_HOURS}.")
        if not 0 <= self.issue_hour <= 23:
            raise ConfigError(f"--issue-hour is {self.issue_hour}; give 0 to 23.")
        if self.refit_days is not None and self.refit_days < 1:
            raise ConfigError(f"--refit-days is {self.refit_days}; give 1 or more.")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Meters that are forecast at the same instants, and the instant of the issue of every day."""

    meters: pl.DataFrame
    issues: dict[date, datetime]
    hours: dict[datetime, int]


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


def groups_of(inputs: Inputs, *, plan: Plan, days: Sequence[date]) -> Iterator[Group]:
    """Yield the meters of each clock with the instants at which the days are issued, and how many hours each looks."""
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
        yield Group(meters=meters.drop("zone"), issues=issues, hours=hours)


def _instant(day: date, *, hour: int, zone: str) -> datetime:
    return _instant_of(datetime.combine(day, clock_time(hour)), zone=zone)


def _instant_of(local: datetime, *, zone: str) -> datetime:
    return local.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))


def refit_days_of(inputs: Inputs, *, plan: Plan, learned: int, tested: int) -> int:
    """Return four weeks, or longer where that many trainings would learn from more rows than two cores should."""
    per_day = plan.horizon_hours * 60 / inputs.meters["interval_minutes"]
    slots = inputs.meters.select("commodity", "interval_minutes").with_columns(rows=per_day * learned)
    of_classes = slots.group_by("commodity", "interval_minutes").agg(pl.col("rows").sum())
    rows = of_classes.select(pl.col("rows").clip(_LEAST_COST_ROWS, plan.spec.training_rows).sum()).item()
    affordable = max(2, int(_LEARNED_ROWS / rows))
    return max(_REFIT_DAYS, -(-tested // affordable))
