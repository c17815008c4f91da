"""The ranker in the graph: off without words, trained and registered from them, and then it ranks events."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from energy_assets.anomalies.ranker import NAME
from energy_assets.contracts import (
    ANOMALIES_EVENTS,
    ANOMALIES_FEEDBACK,
    ANOMALIES_FLAGS,
    ANOMALIES_RANKING,
    METERS,
    READINGS_INTERVAL,
    SITES,
)
from energy_assets.defs.ranker import event_ranking, ranker_model
from energy_assets.lake import Lake
from energy_assets.models.registry import Registry
from energy_assets.settings import Settings
from energy_assets_tests.anomalies.meters import MONDAY, clean_kwh, readings

DAYS, METER_COUNT, REAL = 64, 108, 102


def fill(lake: Lake) -> None:
    """Fill the lake with 108 offices: 102 had a day of a third more, 36 a busy morning that is no fault."""
    ids = [f"m{number:03d}" for number in range(METER_COUNT)]
    registry = pl.DataFrame({"meter_id": ids}).with_columns(
        premise_id="meter_id", site_id=pl.lit("s"), commodity=pl.lit("electricity"), direction=pl.lit("consumption"),
        measure=pl.lit("interval_energy"), unit=pl.lit("kWh"), interval_minutes=pl.lit(60), source=pl.lit("test"),
    )  # fmt: skip
    lake.replace(METERS, METERS.conform(registry))
    site = {"site_id": "s", "name": "s", "timezone": "UTC", "source": "test"}
    lake.replace(SITES, SITES.conform(pl.DataFrame([site])))
    kwh, events = {}, []
    for number, meter_id in enumerate(ids):
        kwh[meter_id] = clean_kwh(days=DAYS, seed=number, scale=1 + number)
        if number < REAL:
            day = 57 + number % 6
            kwh[meter_id][day * 24 : day * 24 + 24] *= 1.35
            events.append((f"real{number}", meter_id, MONDAY + timedelta(days=day), 24, "acknowledged"))
        if number % 3 == 0:
            kwh[meter_id][56 * 24 + 7 : 56 * 24 + 10] *= 6
            events.append((f"wrong{number}", meter_id, MONDAY + timedelta(days=56, hours=7), 3, "false"))
    lake.replace(READINGS_INTERVAL, readings(kwh))
    lake.replace(ANOMALIES_FLAGS, _flags(events))
    lake.replace(ANOMALIES_EVENTS, _events(events))
    said = [
        {"event_id": event_id, "recorded_at_utc": MONDAY + timedelta(days=DAYS), "author": "test", "verdict": verdict}
        for event_id, _, _, _, verdict in events
    ]
    lake.replace(ANOMALIES_FEEDBACK, ANOMALIES_FEEDBACK.conform(pl.DataFrame(said)))


def _flags(events: list[tuple[str, str, datetime, int, str]]) -> pl.DataFrame:
    rows = [
        {"meter_id": meter_id, "starts_at_utc": starts + timedelta(hours=hour)}
        for _, meter_id, starts, hours, _ in events
        for hour in range(hours)
    ]
    flags = pl.DataFrame(rows).with_columns(rule=pl.lit("residual_high"), score=pl.lit(0.5), reason=pl.lit("."))
    return ANOMALIES_FLAGS.conform(flags)


def _events(events: list[tuple[str, str, datetime, int, str]]) -> pl.DataFrame:
    rows = [
        {
            "event_id": event_id, "site_id": "s", "meter_id": meter_id, "meters": 1, "family": "over",
            "cause": "residual_high", "confidence": 1.0, "starts_at_utc": starts,
            "ends_at_utc": starts + timedelta(hours=hours), "slots": hours, "score": 0.5, "severity": "low",
            "is_alert": True, "state": "open", "evidence": ".",
        }
        for event_id, meter_id, starts, hours, _ in events
    ]  # fmt: skip
    return ANOMALIES_EVENTS.conform(pl.DataFrame(rows))


def said_by(result: dg.ExecuteInProcessResult, name: str) -> dict[str, object]:
    found = result.asset_materializations_for_node(name)[0].metadata
    return {key: value.value for key, value in found.items()}


@pytest.mark.slow
def test_it_is_off_until_people_said_enough_and_then_ranks_their_events(lake: Lake, tmp_path: Path) -> None:
    registry = Registry(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.sqlite'}", artifact_folder=tmp_path / "artifacts")
    resources = {"lake": lake, "registry": registry, "settings": Settings(home=tmp_path)}
    ranks = {
        "dagster/asset_partition_range_start": (MONDAY + timedelta(days=56)).date().isoformat(),
        "dagster/asset_partition_range_end": (MONDAY + timedelta(days=DAYS - 1)).date().isoformat(),
    }
    quiet = said_by(dg.materialize([ranker_model], resources=resources), "models__ranker")
    assert quiet["state"].startswith("off: too few labels: 0 of 30 faults")  # type: ignore[attr-defined]
    silent = said_by(dg.materialize([event_ranking], resources=resources, tags=ranks), "anomalies__ranking")
    assert silent["state"] == "off: nobody has said anything about an event"
    fill(lake)
    off = said_by(dg.materialize([event_ranking], resources=resources, tags=ranks), "anomalies__ranking")
    assert off["state"] == "off: registry_empty"
    taught = said_by(dg.materialize([ranker_model], resources=resources), "models__ranker")
    assert taught["state"].startswith("champion"), taught  # type: ignore[attr-defined]
    assert taught["faults"] == REAL * 24
    assert registry.version(NAME) == 1
    dg.materialize([event_ranking], resources=resources, tags=ranks)
    ranking = lake.read(ANOMALIES_RANKING)
    real = pl.col("event_id").str.starts_with("real")
    assert ranking.height == REAL + 36
    assert ranking["model_version"].unique().to_list() == ["anomaly-ranker/1"]
    assert ranking.filter(real)["probability"].min() > ranking.filter(~real)["probability"].max()  # type: ignore[operator]
    days = ranking.group_by(pl.col("starts_at_utc").dt.date()).agg(pl.col("place").sort())
    assert all(places == list(range(1, len(places) + 1)) for places in days["place"].to_list())

    # People change their minds, and what they say follows nothing any more: the ranker in use is off again.
    words = lake.read(ANOMALIES_FEEDBACK)
    thrown = pl.Series(np.random.default_rng(1).random(words.height) < 0.5)
    words = words.with_columns(verdict=pl.when(thrown).then(pl.lit("acknowledged")).otherwise(pl.lit("false")))
    lake.replace(ANOMALIES_FEEDBACK, words)
    confused = said_by(dg.materialize([ranker_model], resources=resources), "models__ranker")
    assert confused["state"].startswith("no sure gain"), confused  # type: ignore[attr-defined]
    assert registry.version(NAME) == 1
    again = said_by(dg.materialize([event_ranking], resources=resources, tags=ranks), "anomalies__ranking")
    assert again["state"] == "off: the newest training found no sure gain over the detectors"
    assert lake.count(ANOMALIES_RANKING) == 0
