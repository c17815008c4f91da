"""A small instance for tests of what people do with models: eight weeks of four offices, and a registry to fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.contracts import METERS, PREMISES, READINGS_INTERVAL, SITES, WEATHER_OBSERVED, Table
from energy_assets.defs.features import features_of
from energy_assets.defs.resources import registry_from
from energy_assets.lake import Lake
from energy_assets.models.archive import FULL, WITHOUT_WEATHER, Model
from energy_assets.models.fitting import fit
from energy_assets.models.promotion import Decision
from energy_assets.models.registry import Registry
from energy_assets.models.spec import ModelSpec
from energy_assets.settings import Settings
from energy_assets_tests.features.frames import START, meters, office_week, premises, readings_of, sites, weather_of
from energy_assets_tests.models.test_registry import FACTS

NAME = "load-electricity-60min"
DAYS = 56
LEARNED_UNTIL = START + timedelta(days=40)
METER_IDS = ("m0", "m1", "m2", "m3")


@dataclass(frozen=True)
class Instance:
    """Settings, lake and registry of a home in which four offices have eight weeks of readings and weather."""

    settings: Settings
    lake: Lake
    registry: Registry

    def features(self, issues: list[datetime]) -> pl.DataFrame:
        return features_of(self.lake, issues=issues, is_actual_allowed=True)

    def fitted(self, *, seed: int = 0, rounds: int = 30) -> Model:
        issues = [START + timedelta(days=day) for day in range(8, 39)]
        spec = ModelSpec(family="trees", rounds=rounds, spread_rounds=10)
        return fit(self.features(issues), spec=spec, seed=seed)

    def register(
        self, model: Model, *, decision: Decision | None = None, learned_until: datetime = LEARNED_UNTIL
    ) -> int:
        facts = replace(FACTS, training_ends_at_utc=learned_until, unseen_ends_at_utc=START + timedelta(days=DAYS - 2))
        example = self.features([START + timedelta(days=10)]).head(3).drop("energy_kwh", "energy_known_at_utc")
        made = self.registry.register(
            {FULL: model, WITHOUT_WEATHER: model},
            name=NAME,
            facts=facts,
            metrics={"model": {"nmae": 0.08, "coverage_80": 0.8}, "last_week": {"nmae": 0.1}},
            plots={},
            input_example=example,
            decision=decision,
        )
        return made.version


def open_instance(home: Path) -> Instance:
    """Return the instance of a home that `make_instance` made, or of a copy of it."""
    settings = Settings(home=home, actual_weather_as_forecast=True)
    return Instance(settings=settings, lake=Lake.from_settings(settings), registry=registry_from(settings))


def make_instance(home: Path) -> Instance:
    """Return an instance with readings and weather, no model and no forecast."""
    made = open_instance(home)
    weather = weather_of(DAYS + 3, seed=9)
    heating = 1 + 0.06 * np.maximum(13 - weather["temperature_c"].to_numpy()[: DAYS * 24], 0)
    readings = pl.concat(
        readings_of(heating * office_week(DAYS, seed=index, level=5.0 * 2**index, noise=0.1), meter_id=name)
        for index, name in enumerate(METER_IDS)
    )
    hour = pl.col("starts_at_utc") + timedelta(hours=1)
    filled = {
        METERS: meters(*METER_IDS),
        SITES: sites(),
        PREMISES: premises(*METER_IDS),
        READINGS_INTERVAL: readings.with_columns(quality=pl.lit("measured")),
        WEATHER_OBSERVED: weather.with_columns(source=pl.lit("test"), available_at_utc=hour),
    }
    for table, rows in filled.items():
        made.lake.append(table, rows_of(table, rows))
    return made


def rows_of(table: Table, frame: pl.DataFrame, defaults: Mapping[str, object] | None = None) -> pl.DataFrame:
    """Return a frame with every column of a contract, null or the default where it has none."""
    absent = [
        pl.lit((defaults or {}).get(name)).alias(name) for name in table.column_names if name not in frame.columns
    ]
    return table.conform(frame.with_columns(absent).select(table.column_names))
