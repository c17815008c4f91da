"""The two assets and their checks, materialised by Dagster on a lake of a few meters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from energy_assets.contracts import ANOMALIES_DAYS, ANOMALIES_EVENTS, ANOMALIES_FLAGS, METERS, READINGS_INTERVAL
from energy_assets.defs import anomalies
from energy_assets.defs.partitions import DAILY
from energy_assets.defs.resources import RESOURCES
from energy_assets.lake import Lake
from energy_assets.settings import load_settings
from energy_assets_tests.anomalies.meters import clean_kwh, readings

DAYS = 40


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """A lake of three meters up to yesterday: one that was switched off all day, one that doubled, one as ever."""
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(tmp_path / "home"))
    load_settings.cache_clear()
    opened = Lake.from_settings(load_settings())
    kwh = {name: clean_kwh(days=DAYS, seed=seed) for seed, name in enumerate(("off", "twice", "quiet"))}
    kwh["off"][-24:] = 0
    kwh["twice"][-24:] *= 2
    yesterday = datetime.fromisoformat(str(DAILY.get_last_partition_key())).replace(tzinfo=UTC)
    rows = readings(kwh, starts_at_utc=yesterday - timedelta(days=DAYS - 1))
    meters = pl.DataFrame({"meter_id": list(kwh)}).with_columns(
        premise_id=pl.col("meter_id"), site_id=pl.lit("s"), commodity=pl.lit("electricity"),
        direction=pl.lit("consumption"), measure=pl.lit("interval_energy"), unit=pl.lit("kWh"), interval_minutes=60,
        source=pl.lit("test"),
    )  # fmt: skip
    opened.replace(METERS, METERS.conform(meters))
    opened.replace(READINGS_INTERVAL, rows.with_columns(reason=pl.when(pl.col("meter_id") == "off").then(pl.lit("x"))))
    yield opened
    opened.close()
    load_settings.cache_clear()


def materialised() -> tuple[dict[str, bool], dict[str, Any]]:
    """Return what the checks said of yesterday, and the metadata of the events."""
    assets = [anomalies.anomaly_flags, anomalies.anomaly_events, *anomalies.checks]
    done = dg.materialize(assets, resources=RESOURCES, partition_key=DAILY.get_last_partition_key())
    passed = {evaluation.check_name: evaluation.passed for evaluation in done.get_asset_check_evaluations()}
    shown = [event for event in done.get_asset_materialization_events() if event.asset_key.path[-1] == "events"]
    return passed, dict(shown[0].materialization.metadata)


def test_a_day_becomes_flags_events_and_a_list_for_people(lake: Lake) -> None:
    passed, metadata = materialised()
    # A reason that nothing knows is shown by its check, and so is one faulty meter of three; the rest holds.
    assert {name for name, ok in passed.items() if not ok} == {"every_reason_has_a_rule", "flags_are_the_exception"}
    assert lake.count(ANOMALIES_FLAGS) > 0
    assert lake.read(ANOMALIES_DAYS).select("commodity", "meters").rows() == [("electricity", 2)]
    events = lake.read(ANOMALIES_EVENTS)
    assert {"off", "twice"} == set(events.filter("is_alert")["meter_id"])
    listed = {record.data["where"]: record.data["cause"] for record in metadata["to_look_at"].records}
    assert listed["off"] == "zero run"
    assert metadata["new_alerts"].value == 2
    _, again = materialised()
    assert again["dagster/row_count"].value == 0
    assert lake.read(ANOMALIES_EVENTS).sort("event_id").equals(events.sort("event_id"))
