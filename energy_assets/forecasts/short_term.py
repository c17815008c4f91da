"""The next minutes and hours: quantiles of the coming intervals and of their sum, from readings up to a moment ago.

The same features, families and ladder as for the delivery date, learned from issues at all hours of the day and the
next three hours only; what is new counts most there, and the last readings are among the features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS
from energy_assets.errors import ModelError
from energy_assets.features.horizon import Horizon
from energy_assets.features.matrix import Thinning, build_features
from energy_assets.forecasts.centre import KIND
from energy_assets.forecasts.daily import forecast_issue
from energy_assets.forecasts.ladder import Champion
from energy_assets.forecasts.outcomes import joint_scenarios
from energy_assets.forecasts.scenarios import Dependence
from energy_assets.forecasts.short_term_model import fit_short_term
from energy_assets.forecasts.standing import HISTORY
from energy_assets.models.archive import FULL, WITHOUT_WEATHER
from energy_assets.models.evaluation import known_by
from energy_assets.models.registry import LoadedModel, UnresolvedModelError, registered_name
from energy_assets.models.spec import ModelSpec

KnownWeather = Callable[[Sequence[datetime]], pl.DataFrame]
"""The as-known frame of `energy_assets.weather` for issues."""

HOURS = 3
_STEP_HOURS = 7
"""Between the issues learned from: prime to 24, so that a week of them meets every hour of the day."""
_DAYS_LEARNED = 120
_DAYS_BEFORE_LEARNING = 8
_ISSUES_AT_ONCE = 60
_TRAINING_ROWS = 150_000
_PERSISTENCE = 0.9
_SCENARIOS = 1000


@dataclass(frozen=True, kw_only=True)
class Places:
    """What is registered (rows of `metering.meters`, `metering.sites` and `metering.premises`), and the weather there.

    `observed` are rows of `weather.observed`, from which the answers of meters to the weather are fitted.
    """

    meters: pl.DataFrame
    sites: pl.DataFrame
    premises: pl.DataFrame
    observed: pl.DataFrame | None = None


@dataclass(frozen=True, kw_only=True)
class ShortTerm:
    """Meter rows of `forecasts.load` for the coming intervals, and per meter the quantiles of their sum.

    `sums` has meter_id, issued_at_utc, hours and q05 .. q95 in kWh.
    """

    intervals: pl.DataFrame
    sums: pl.DataFrame


def learn_short_term(
    readings: pl.DataFrame,
    *,
    places: Places,
    weather: KnownWeather | None,
    trained_at: datetime,
    spec: ModelSpec,
    seed: int,
    threads: int = 2,
    hours: int = HOURS,
) -> dict[str, Champion]:
    """Return by registered name a model of the next hours from what was known at `trained_at`, or why there is none."""
    first = readings["starts_at_utc"].min()
    assert isinstance(first, datetime)
    start = max(first + timedelta(days=_DAYS_BEFORE_LEARNING), trained_at - timedelta(days=_DAYS_LEARNED))
    count = max(int((trained_at - timedelta(hours=hours) - start) / timedelta(hours=_STEP_HOURS)) + 1, 0)
    issues = [trained_at - timedelta(hours=hours + _STEP_HOURS * number) for number in range(count)][::-1]
    champions: dict[str, Champion] = {}
    for (commodity, minutes), meters in places.meters.group_by("commodity", "interval_minutes"):
        name = registered_name(str(commodity), interval_minutes=int(minutes))
        expected = len(issues) * meters.height * hours * 60 / int(minutes)
        thinning = Thinning(share=_TRAINING_ROWS / expected, seed=seed) if expected > _TRAINING_ROWS else None
        frames = [
            _features(
                readings, meters, places=places, weather=weather, issues=issues[at : at + _ISSUES_AT_ONCE],
                hours=hours, thinning=thinning,
            )
            for at in range(0, max(len(issues), 1), _ISSUES_AT_ONCE)
        ]  # fmt: skip
        known = known_by(pl.concat(frames), trained_at=trained_at)
        try:
            variants = {
                variant: fit_short_term(known, spec=chosen, seed=seed, threads=threads)
                for variant, chosen in ((FULL, spec), (WITHOUT_WEATHER, spec.without("weather")))
                if weather is not None or variant == WITHOUT_WEATHER
            }
        except ModelError as error:
            champions[name] = UnresolvedModelError(str(error), reason="no_champion")
            continue
        champions[name] = LoadedModel(name=name, version=1, variants=variants, tags={})
    return champions


def forecast_short_term(
    readings: pl.DataFrame,
    *,
    places: Places,
    weather: KnownWeather | None,
    champions: dict[str, Champion],
    issued_at_utc: datetime,
    seed: int,
    hours: int = HOURS,
) -> ShortTerm:
    """Return the coming intervals of every meter in service and their sums, through the ladder: none is missing.

    `readings` are rows of `readings.interval`; what was not known at the issue, a whole minute, is not looked at.
    """
    features = _features(
        readings, places.meters, places=places, weather=weather, issues=[issued_at_utc], hours=hours, thinning=None
    )
    intervals = forecast_issue(
        features,
        readings=readings.filter(
            pl.col("starts_at_utc").is_between(issued_at_utc - HISTORY, issued_at_utc, closed="left")
        ),
        meters=places.meters,
        premises=places.premises,
        sites=places.sites,
        champions=champions,
        issued_at_utc=issued_at_utc,
        features_hash="short_term",
        horizon=Horizon.of_hours(hours),
    )
    return ShortTerm(intervals=intervals, sums=sums_of(intervals, meters=places.meters, seed=seed))


def sums_of(intervals: pl.DataFrame, *, meters: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return meter_id, issued_at_utc, hours and the quantiles of the sum of each meter's intervals.

    Errors of neighbouring intervals hang together, so quantiles do not add; scenarios of the intervals do.
    """
    if intervals.is_empty():
        quantiles = dict.fromkeys(QUANTILE_COLUMNS, pl.Float64())
        return intervals.select(meter_id="node_id", issued_at_utc="issued_at_utc").with_columns(
            pl.lit(None, pl.Float64).alias("hours"), *(pl.lit(None, dtype).alias(n) for n, dtype in quantiles.items())
        )
    kinds = meters.select(KIND.unique()).to_series()
    dependence = dict.fromkeys(kinds, Dependence(hour_to_hour=_PERSISTENCE, lasting=0.0))
    drawn = joint_scenarios(intervals, meters=meters, dependence=dependence, seed=seed, scenarios=_SCENARIOS)
    rows = []
    for meter_id in intervals["node_id"].unique().sort():
        of_meter = drawn.of(meter_id)
        total = of_meter.energy_kwh.sum(axis=1)
        rows.append(
            {
                "meter_id": meter_id,
                "issued_at_utc": intervals["issued_at_utc"][0],
                "hours": of_meter.energy_kwh.shape[1] * of_meter.minutes / 60,
                **dict(zip(QUANTILE_COLUMNS, np.quantile(total, list(LEVELS.values())).tolist(), strict=True)),
            }
        )
    return pl.DataFrame(rows).with_columns(pl.col("issued_at_utc").cast(intervals.schema["issued_at_utc"]))


def _features(
    readings: pl.DataFrame,
    meters: pl.DataFrame,
    *,
    places: Places,
    weather: KnownWeather | None,
    issues: Sequence[datetime],
    hours: int,
    thinning: Thinning | None,
) -> pl.DataFrame:
    return build_features(
        readings,
        meters=meters,
        sites=places.sites,
        premises=places.premises,
        weather=weather(issues) if weather is not None and issues else None,
        issues=list(issues),
        horizon=Horizon.of_hours(hours),
        thinning=thinning,
        observed=places.observed,
    )
