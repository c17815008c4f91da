"""A town of known truth for the chaos matrix: 96 meters with areas, uses and weather, and models trained on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from statistics import NormalDist

import numpy as np
import polars as pl

from energy_assets.contracts import METERS, PREMISES, SITES, UTC_TIME
from energy_assets.features.horizon import Horizon
from energy_assets.features.matrix import Thinning, build_features
from energy_assets.features.weather import as_its_own_forecast
from energy_assets.forecasts.daily import forecast_issue
from energy_assets.forecasts.ladder import Champion
from energy_assets.models.archive import FULL, WITHOUT_WEATHER
from energy_assets.models.evaluation import known_by
from energy_assets.models.fitting import fit
from energy_assets.models.registry import LoadedModel
from energy_assets.models.spec import ModelSpec

START = datetime(2025, 1, 6, tzinfo=UTC)  # a Monday
DAYS, METER_COUNT = 90, 96
ISSUES = [START + timedelta(days=day) for day in (79, 80, 82, 83, 85, 87)]
HORIZON = Horizon.of_hours(24)
NAME = "load-electricity-60min"
SPEC = ModelSpec(family="trees", rounds=40, spread_rounds=12, training_rows=10_000, spread_rows=8_000)
HIT = pl.col("meter_id").str.slice(1).cast(pl.Int64) % 2 == 0
"""Every other meter is the one that trouble hits; the others keep the portfolio alive."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What a night reads; a disturbance returns a changed copy."""

    readings: pl.DataFrame
    weather: pl.DataFrame
    champions: dict[str, Champion]


Disturbance = Callable[[World, datetime], World]

NAMES = [f"m{number:03d}" for number in range(METER_COUNT)]
_RANDOM = np.random.default_rng(7)
AREAS = _RANDOM.uniform(500, 5000, METER_COUNT)
_KWH_PER_M2, _SPREAD = 0.01, 0.35
LEVELS_KWH = AREAS * _KWH_PER_M2 * np.exp(_RANDOM.normal(0, _SPREAD, METER_COUNT))
SITE_ROWS = SITES.conform(
    pl.DataFrame({"site_id": ["t"], "name": ["T"], "timezone": ["UTC"], "country_code": ["GB"], "source": ["t"]})
)
PREMISE_ROWS = PREMISES.conform(
    pl.DataFrame({"premise_id": NAMES, "floor_area_m2": AREAS}).with_columns(
        site_id=pl.lit("t"), primary_use=pl.lit("Office"), source=pl.lit("t")
    )
)
METER_ROWS = METERS.conform(
    pl.DataFrame({"meter_id": NAMES, "premise_id": NAMES}).with_columns(
        site_id=pl.lit("t"),
        commodity=pl.lit("electricity"),
        direction=pl.lit("consumption"),
        measure=pl.lit("interval_energy"),
        unit=pl.lit("kWh"),
        interval_minutes=pl.lit(60, pl.Int64),
        source=pl.lit("t"),
    )
)


@cache
def world() -> World:
    """The town with nothing wrong: readings of all days, weather of all days, and the champion of day 79."""
    hours = np.arange(DAYS * 24)
    random = np.random.default_rng(11)
    warmth = random.normal(0, 1.5, DAYS)
    for day in range(1, DAYS):
        warmth[day] += 0.7 * warmth[day - 1]
    degrees = 8 + 4 * np.sin((hours % 24 - 9) * np.pi / 12) + np.repeat(warmth, 24)
    times = pl.Series("starts_at_utc", [START + timedelta(hours=int(hour)) for hour in hours], dtype=UTC_TIME)
    shape = (0.6 + 0.8 * np.exp(-(((hours % 24) - 13) ** 2) / 18)) * np.where((hours // 24) % 7 < 5, 1.0, 0.65)
    frames = []
    for name, level in zip(NAMES, LEVELS_KWH, strict=True):
        heating = 1 + random.uniform(0, 0.05) * np.maximum(12 - degrees, 0)
        of_days = np.repeat(random.normal(1, 0.05, DAYS), 24)
        energy = level * shape * heating * of_days * random.lognormal(0, 0.1, len(hours))
        frames.append(pl.DataFrame({"starts_at_utc": times, "energy_kwh": energy}).with_columns(meter_id=pl.lit(name)))
    readings = pl.concat(frames).with_columns(
        interval_minutes=pl.lit(60, pl.Int64), available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1)
    )
    weather = pl.DataFrame({"starts_at_utc": times, "temperature_c": degrees}).with_columns(site_id=pl.lit("t"))
    healthy = World(readings=readings, weather=weather, champions={})
    past = [START + timedelta(days=day) for day in range(15, 78)]
    known = known_by(features_of(healthy, past, thinning=Thinning(share=0.12, seed=0)), trained_at=ISSUES[0])
    variants = {FULL: fit(known, spec=SPEC, seed=0), WITHOUT_WEATHER: fit(known, spec=SPEC.without("weather"), seed=0)}
    return replace(healthy, champions={NAME: LoadedModel(name=NAME, version=1, variants=variants, tags={})})


def features_of(state: World, issues: list[datetime], *, thinning: Thinning | None = None) -> pl.DataFrame:
    return build_features(
        state.readings,
        meters=METER_ROWS,
        sites=SITE_ROWS,
        premises=PREMISE_ROWS,
        weather=as_its_own_forecast(state.weather, issues=issues),
        issues=issues,
        horizon=HORIZON,
        thinning=thinning,
    )


def nights(
    disturb: Disturbance, *, premises: pl.DataFrame = PREMISE_ROWS, issues: Sequence[datetime] = ISSUES
) -> pl.DataFrame:
    """Forecast the tested issues in a world that is disturbed before each, beside what truly happened."""
    rows = []
    for issue in issues:
        state = disturb(world(), issue)
        rows.append(
            forecast_issue(
                features_of(state, [issue]),
                readings=state.readings,
                meters=METER_ROWS,
                premises=premises,
                sites=SITE_ROWS,
                champions=state.champions,
                issued_at_utc=issue,
                features_hash="f",
                horizon=HORIZON,
            )
        )
    truth = world().readings.select("meter_id", "starts_at_utc", "energy_kwh")
    return pl.concat(rows).rename({"node_id": "meter_id"}).join(truth, on=["meter_id", "starts_at_utc"], how="left")


def coverage_of(rows: pl.DataFrame) -> float:
    """Return the share of readings within q10-q90."""
    return float(rows.select(pl.col("energy_kwh").is_between("q10", "q90").mean()).item())


def coverage_over_levels(rows: pl.DataFrame, *, is_area_known: bool) -> float:
    """Return the coverage of meters whose level is not known, over all the levels that they may have.

    Where a level itself is guessed, its error is that of all slots: 48 meters alone say coverage to ten points only.
    """
    scores = np.array([NormalDist().inv_cdf((place + 0.5) / 40) for place in range(40)])
    factors = _KWH_PER_M2 * np.exp(_SPREAD * scores)
    meter = rows["meter_id"].str.slice(1).cast(pl.Int64).to_numpy()
    unit = rows["energy_kwh"].to_numpy() / LEVELS_KWH[meter]
    low, high = rows["q10"].to_numpy(), rows["q90"].to_numpy()
    areas = [AREAS[meter]] if is_area_known else np.linspace(500, 5000, 19)
    energies = (unit * area * factor for area in areas for factor in factors)
    return float(np.mean([((energy >= low) & (energy <= high)).mean() for energy in energies]))
