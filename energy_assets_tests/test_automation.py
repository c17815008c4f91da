"""What runs by itself, on a fake clock: schedules, the sensors of sources and of drift, and automation conditions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from energy_assets.contracts import (
    FEATURES_LOAD,
    FORECASTS_LOAD,
    METERS,
    QUANTILE_COLUMNS,
    READINGS_INTERVAL,
    Table,
    Window,
)
from energy_assets.definitions import defs
from energy_assets.defs.drift import REASON_TAG, champions_err_as_on_unseen_days, drift
from energy_assets.defs.jobs import (
    PARTITION_RANGE_END,
    PARTITION_RANGE_START,
    changed_sources,
    nightly_day,
    nightly_delivery,
    nightly_skill,
)
from energy_assets.lake import Lake
from energy_assets.models.card import TrainingFacts
from energy_assets.models.registry import Registry
from energy_assets.readings.source import Source, save_source
from energy_assets.settings import Settings
from energy_assets_tests.models.constant_model import ConstantModel
from energy_assets_tests.models.test_registry import FACTS, FEATURES

NOW = datetime(2026, 3, 30, tzinfo=UTC)
MODEL = "load-electricity-60min"


@pytest.mark.parametrize(
    ("schedule", "partitions"),
    [
        # The night of 29 March 2026, on which clocks in Europe change.
        pytest.param(nightly_day, ("2026-03-27", "2026-03-28"), id="yesterday and the day before"),
        pytest.param(nightly_delivery, ("2026-03-30", "2026-03-30"), id="tomorrow"),
        pytest.param(nightly_skill, ("2026-03-27", "2026-03-27"), id="delivered and read"),
    ],
)
def test_a_nightly_schedule_asks_for_its_days_once(
    schedule: dg.ScheduleDefinition, partitions: tuple[str, str]
) -> None:
    asked = []
    for minute in (30, 31):
        context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 3, 29, 2, minute, tzinfo=UTC))
        asked.append(schedule(context))
    tags = asked[0].tags
    span = (tags.get(PARTITION_RANGE_START), tags.get(PARTITION_RANGE_END))
    assert partitions in (span, (asked[0].partition_key, asked[0].partition_key))
    assert asked[0].run_key == asked[1].run_key


def test_every_schedule_and_sensor_is_on_from_the_start() -> None:
    repository = defs.get_repository_def()
    assert {each.default_status for each in repository.schedule_defs} == {dg.DefaultScheduleStatus.RUNNING}
    assert {each.default_status for each in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}


def test_a_changed_file_asks_for_the_history_and_an_unchanged_one_does_not(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    file = tmp_path / "set" / "train.csv"
    file.parent.mkdir()
    file.write_text("1")
    save_source(settings.sources_folder, Source(name="ashrae", kind="ashrae", path=file.parent))
    cursor: str | None = None

    def asked() -> int:
        nonlocal cursor
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"settings": settings})
            found = changed_sources.evaluate_tick(context)
        cursor = found.cursor
        return len(found.run_requests or [])

    looks = [asked(), asked()]
    file.write_text("22")
    os.utime(file, ns=(1, 1))
    looks += [asked(), asked()]
    assert looks == [0, 0, 1, 0]


class World:
    """A lake in which one champion forecast 100 kWh for every hour, and a registry that knows its error before."""

    def __init__(self, folder: Path, *, facts: TrainingFacts = FACTS) -> None:
        self.lake = Lake.from_settings(Settings(home=folder))
        self.registry = Registry(
            tracking_uri=f"sqlite:///{folder / 'mlflow.sqlite'}", artifact_folder=folder / "artifacts"
        )
        self.registry.register(
            {"full": ConstantModel(1.0), "without_weather": ConstantModel(1.0)},
            name=MODEL,
            facts=facts,
            metrics={"model": {"nmae": 0.10}, "last_week": {"nmae": 0.20}},
            plots={"skill.png": b"\x89PNG"},
            input_example=FEATURES,
        )
        self.cursor: str | None = None
        meter = {
            "meter_id": "a.1.electricity",
            "premise_id": "a.1",
            "site_id": "a.main",
            "commodity": "electricity",
            "direction": "consumption",
            "measure": "interval_energy",
            "unit": "kWh",
            "interval_minutes": 60,
            "source": "a",
        }
        self.lake.append(METERS, _rows(METERS, pl.DataFrame([meter])))

    def live(self, *, earlier_kwh: float, recent_kwh: float, now: datetime = NOW) -> None:
        """Fill ten weeks of readings and two weeks of forecasts up to `now`; what was there is replaced."""
        hours = pl.datetime_range(now - timedelta(days=70), now, "1h", closed="left", eager=True, time_zone="UTC")
        recent = pl.col("starts_at_utc") >= now - timedelta(days=14)
        readings = pl.DataFrame({"starts_at_utc": hours}).with_columns(
            meter_id=pl.lit("a.1.electricity"),
            interval_minutes=60,
            energy_kwh=pl.when(recent).then(recent_kwh).otherwise(earlier_kwh),
            quality=pl.lit("measured"),
            available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1),
        )
        forecasts = readings.filter(recent).select(
            "starts_at_utc",
            node_id=pl.lit("a.1.electricity"),
            node_kind=pl.lit("meter"),
            site_id=pl.lit("a.main"),
            commodity=pl.lit("electricity"),
            direction=pl.lit("consumption"),
            issued_at_utc=pl.col("starts_at_utc").dt.truncate("1d"),
            interval_minutes=60,
            **dict.fromkeys(QUANTILE_COLUMNS, pl.lit(100.0)),
            method=pl.lit("champion"),
            rung=0,
            model_version=pl.lit(f"{MODEL}/1"),
            features_hash=pl.lit("x"),
        )
        tonight = forecasts.tail(24).with_columns(pl.col("starts_at_utc", "issued_at_utc") + timedelta(days=1))
        whole = Window(starts_at_utc=NOW - timedelta(days=365), ends_at_utc=NOW + timedelta(days=365))
        self.lake.replace(READINGS_INTERVAL, _rows(READINGS_INTERVAL, readings), window=whole)
        self.lake.replace(FORECASTS_LOAD, _rows(FORECASTS_LOAD, pl.concat([forecasts, tonight])), window=whole)

    def asked(self) -> list[str]:
        """Return the reasons of the trainings that the sensor asks for."""
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(
                instance=instance, cursor=self.cursor, resources={"lake": self.lake, "registry": self.registry}
            )
            found = drift.evaluate_tick(context)
        self.cursor = found.cursor
        return [request.tags[REASON_TAG] for request in found.run_requests or []]


def _rows(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    absent = [pl.lit(None).alias(name) for name in table.column_names if name not in frame.columns]
    return table.conform(frame.with_columns(absent).select(table.column_names))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.lake.close()


@pytest.mark.parametrize(
    ("earlier_kwh", "recent_kwh", "expected"),
    [
        # |100 - x| / x over 0.10 before: at 110 kWh 0.9 times, at 130 kWh 2.3 times.
        pytest.param(110.0, 110.0, None, id="as validated"),
        pytest.param(130.0, 130.0, "its error is 2.3 times that of its unseen days", id="its error grew"),
        pytest.param(
            45.0, 100.0, "the level of 100% of its meters moved by more than a factor of 2", id="its data moved"
        ),
        pytest.param(55.0, 100.0, None, id="a level within a factor of two"),
    ],
)
def test_drift_asks_for_training_with_the_reason(
    world: World, earlier_kwh: float, recent_kwh: float, expected: str | None
) -> None:
    world.cursor = None
    world.live(earlier_kwh=earlier_kwh, recent_kwh=recent_kwh)
    checked = champions_err_as_on_unseen_days(lake=world.lake, registry=world.registry)
    assert checked.passed == (expected is None)  # type: ignore[union-attr]
    assert world.asked() == ([] if expected is None else [f"{MODEL}: {expected}"])


def test_drift_is_judged_once_a_forecast_and_asks_at_most_once_a_week(world: World) -> None:
    world.cursor = None
    asked = []
    for day in range(9):
        world.live(earlier_kwh=130.0, recent_kwh=130.0, now=NOW + timedelta(days=day))
        asked.append(len(world.asked()))
        assert world.asked() == []
    assert asked == [1, 0, 0, 0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("days_since", "expected"),
    [
        # A back-filled instance is trained on yesterday's readings just before its sensors look for the first time.
        pytest.param(1, 0, id="the first start after energy run"),
        pytest.param(6, 0, id="six days later"),
        pytest.param(7, 1, id="a week later"),
    ],
)
def test_a_model_that_was_trained_lately_is_not_trained_for_drift_again(
    tmp_path: Path, days_since: int, expected: int
) -> None:
    trained_to = NOW - timedelta(days=days_since)
    world = World(tmp_path, facts=replace(FACTS, unseen_ends_at_utc=trained_to))
    world.live(earlier_kwh=130.0, recent_kwh=130.0)
    assert len(world.asked()) == expected
    world.lake.close()


def test_drift_asks_for_the_models_that_drifted_only(world: World) -> None:
    world.cursor = None
    world.live(earlier_kwh=130.0, recent_kwh=130.0)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"lake": world.lake, "registry": world.registry})
        request = (drift.evaluate_tick(context).run_requests or [])[0]
    assert request.run_config == {"ops": {"models__load": {"config": {"only": [MODEL]}}}}
    assert dg.validate_run_config(defs.resolve_job_def("training"), request.run_config)


def test_a_champion_that_does_not_load_is_trained_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained yesterday, it would not be trained for drift; after an upgrade it does not load any more."""
    world = World(tmp_path, facts=replace(FACTS, unseen_ends_at_utc=NOW - timedelta(days=1)))
    world.live(earlier_kwh=110.0, recent_kwh=110.0)
    monkeypatch.setattr("energy_assets.defs.drift.code_of_models", lambda: "old")
    assert world.asked() == []
    for path in tmp_path.rglob("variants.zip"):
        path.write_bytes(b"")
    assert world.asked() == []  # the same forecast, the same code: not looked at
    monkeypatch.setattr("energy_assets.defs.drift.code_of_models", lambda: "new")
    (reason,) = world.asked()
    assert reason.startswith(f"{MODEL}: its champion cannot be used, lower rungs serve its meters")
    asked = []
    for day in range(1, 5):  # the night was served by a lower rung, and what was trained beat no baseline
        world.live(earlier_kwh=110.0, recent_kwh=110.0, now=NOW + timedelta(days=day))
        rows = world.lake.read(FORECASTS_LOAD).with_columns(
            model_version=pl.lit(None, pl.String),
            method=pl.lit("analogue"),
            rung=pl.lit(2),
            reason=pl.lit("model_broken"),
        )
        world.lake.replace(FORECASTS_LOAD, FORECASTS_LOAD.conform(rows))
        asked.append(len(world.asked()))
    checked = champions_err_as_on_unseen_days(lake=world.lake, registry=world.registry)
    assert not checked.passed  # type: ignore[union-attr]
    assert f"`energy models train {MODEL}`" in str(checked.description)  # type: ignore[union-attr]
    assert asked == [0, 0, 1, 0]
    world.lake.close()


def test_features_beyond_what_was_learned_ask_for_training(tmp_path: Path) -> None:
    """Trained on 10 to 25 °C; in the last week of two it freezes: three of five nights lie beyond."""
    world = World(tmp_path, facts=replace(FACTS, feature_ranges={"temperature_c": (10.0, 25.0, 1.0)}))
    world.live(earlier_kwh=110.0, recent_kwh=110.0)
    forecasts = world.lake.read(FORECASTS_LOAD)
    cold = pl.col("issued_at_utc") >= NOW - timedelta(days=7)
    features = forecasts.select(
        "issued_at_utc",
        "starts_at_utc",
        "interval_minutes",
        meter_id="node_id",
        temperature_c=pl.when(cold).then(-5.0).otherwise(20.0),
    )
    world.lake.append(FEATURES_LOAD, _rows(FEATURES_LOAD, features))
    assert world.asked() == [f"{MODEL}: 60% of its newest rows lie beyond the temperature_c that it learned from"]
    world.lake.close()


def test_meters_with_a_history_and_no_model_ask_for_one(world: World) -> None:
    world.cursor = None
    world.live(earlier_kwh=110.0, recent_kwh=110.0)
    gas = {"commodity": "gas", "model_version": None, "rung": 2, "method": "analogue"}
    for node, reason in (("old", "registry_empty+weather_missing"), ("young", "too_little_history")):
        newest = world.lake.read(FORECASTS_LOAD, where={"issued_at_utc": NOW})
        rows = newest.filter(pl.col("commodity") == "electricity").with_columns(
            *(pl.lit(value).alias(name) for name, value in gas.items()), node_id=pl.lit(node), reason=pl.lit(reason)
        )
        commodity = "gas" if node == "old" else "steam"
        world.lake.append(FORECASTS_LOAD, FORECASTS_LOAD.conform(rows.with_columns(commodity=pl.lit(commodity))))
    assert world.asked() == ["load-gas-60min: its meters have a history by now, and no model"]


def test_new_readings_of_a_day_ask_for_what_follows_of_that_day_only() -> None:
    """Automation: when yesterday's readings are new, its flags and energy follow; older days stay as they are."""
    raw, interval = dg.AssetKey(["readings", "raw"]), dg.AssetKey(["readings", "interval"])
    automated = [asset for asset in defs.resolve_all_asset_specs() if asset.automation_condition is not None]
    assert interval in {asset.key for asset in automated}
    clock = datetime(2026, 3, 29, 3, tzinfo=UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        first = dg.evaluate_automation_conditions(defs, instance=instance, evaluation_time=clock)
        assert first.get_num_requested(interval) == 0  # nothing was ever landed
        for upstream in defs.resolve_asset_graph().get(interval).parent_keys:
            partition = "2026-03-28" if upstream == raw else None
            instance.report_runless_asset_event(dg.AssetMaterialization(upstream, partition=partition))
        instance.report_runless_asset_event(dg.AssetMaterialization(raw, partition="2026-03-01"))
        second = dg.evaluate_automation_conditions(
            defs, instance=instance, evaluation_time=clock + timedelta(minutes=1), cursor=first.cursor
        )
        assert second.get_requested_partitions(interval) == {"2026-03-28"}
        third = dg.evaluate_automation_conditions(
            defs, instance=instance, evaluation_time=clock + timedelta(minutes=2), cursor=second.cursor
        )
        assert third.get_num_requested(interval) == 0
