"""Profiles and usage in the graph: a real lake, a real MLflow store, a refit whose clusters' usage is added up anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import (
    MARTS_USAGE_DAILY,
    METERS,
    PROFILES_CLUSTERS,
    PROFILES_METERS,
    READINGS_INTERVAL,
    SITES,
)
from energy_assets.defs.marts import usage
from energy_assets.defs.profile_sensor import first_profiles
from energy_assets.defs.profiles import load_shapes, moved, profile_clusters, profile_meters
from energy_assets.lake import Lake
from energy_assets.models.registry import Registry
from energy_assets.settings import Settings
from energy_assets_tests.anomalies.meters import readings
from energy_assets_tests.profiles.planted import KINDS

FIRST, DAYS = datetime(2024, 6, 3, tzinfo=UTC), 28
RANGE = {
    "dagster/asset_partition_range_start": FIRST.date().isoformat(),
    "dagster/asset_partition_range_end": (FIRST + timedelta(days=DAYS - 1)).date().isoformat(),
}


def kwh_of(kind: str, *, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    days = [KINDS[kind][int(day % 7 >= 5)] for day in range(DAYS)]
    return np.round(np.concatenate(days) * random.lognormal(0, 0.05, DAYS * 24), 3)


@pytest.mark.slow
def test_profiles_and_usage_through_the_graph(lake: Lake, tmp_path: Path) -> None:
    kinds = {f"{kind}.{number:02d}": kind for kind in ("office", "home") for number in range(12)}
    registry_rows = pl.DataFrame({"meter_id": list(kinds)}).with_columns(
        premise_id="meter_id", site_id=pl.lit("s"), commodity=pl.lit("electricity"), direction=pl.lit("consumption"),
        measure=pl.lit("interval_energy"), unit=pl.lit("kWh"), interval_minutes=pl.lit(60), source=pl.lit("test"),
    )  # fmt: skip
    lake.replace(METERS, METERS.conform(registry_rows))
    lake.replace(SITES, SITES.conform(pl.DataFrame([{"site_id": "s", "name": "s", "timezone": "UTC", "source": "t"}])))
    kwh = {meter_id: kwh_of(kind, seed=row) for row, (meter_id, kind) in enumerate(kinds.items())}
    lake.replace(READINGS_INTERVAL, readings(kwh, starts_at_utc=FIRST))
    registry = Registry(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.sqlite'}", artifact_folder=tmp_path / "artifacts")
    resources = {"lake": lake, "registry": registry, "settings": Settings(home=tmp_path)}
    assert dg.materialize([usage], resources=resources, tags=RANGE).success
    profiles = [load_shapes, profile_clusters, profile_meters]
    done = dg.materialize(profiles, resources=resources)
    assert done.success

    members = lake.read(PROFILES_METERS)
    clusters = {kind: set(members.filter(pl.col("meter_id").str.starts_with(kind))["cluster_id"]) for kind in KINDS}
    assert [len(clusters[kind]) for kind in ("office", "home")] == [1, 1]
    assert clusters["office"] != clusters["home"]
    run_ids = lake.read(PROFILES_CLUSTERS)["run_id"].unique().to_list()
    assert len(run_ids) == 1
    picture = tmp_path / "artifacts" / run_ids[0] / "artifacts" / "centroids" / "electricity_consumption.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    shown = done.asset_materializations_for_node("profile_clusters")[0].metadata
    assert "data:image/png;base64," in shown["centroids_electricity_consumption"].value  # type: ignore[operator]

    # The usage was there before the clusters; a fit that puts meters into clusters adds those up for all its days.
    for kind, (cluster_id,) in ((kind, clusters[kind]) for kind in ("office", "home")):
        total = sum(values.sum() for meter_id, values in kwh.items() if meter_id.startswith(kind))
        rows = lake.read(MARTS_USAGE_DAILY, where={"node_id": cluster_id})
        assert rows.height == DAYS
        assert rows["energy_kwh"].sum() == pytest.approx(total, rel=1e-9)
    premises = lake.read(MARTS_USAGE_DAILY, where={"node_kind": "premise", "direction": "consumption"})
    assert premises["energy_kwh"].sum() == pytest.approx(sum(values.sum() for values in kwh.values()), rel=1e-9)


def test_moved_counts_meters_that_changed_their_cluster() -> None:
    before = pl.DataFrame({"meter_id": ["a", "b", "c", "d"], "cluster_id": ["1", "1", None, "2"]})
    after = pl.DataFrame({"meter_id": ["a", "b", "c", "e"], "cluster_id": ["1", "2", "1", "1"]})
    assert moved(before, after) == 0.5
    assert moved(before.head(0), after) == 0.0


def test_the_first_profiles_are_asked_for_once_when_readings_suffice(lake: Lake, tmp_path: Path) -> None:
    def asked(cursor: str | None) -> tuple[bool, str | None]:
        context = dg.build_sensor_context(cursor=cursor, resources={"lake": lake})
        return isinstance(first_profiles(context), dg.RunRequest), context.cursor

    assert asked(None) == (False, None)
    lake.replace(READINGS_INTERVAL, readings({"m": np.ones(15 * 24)}, starts_at_utc=FIRST))
    assert asked(None) == (False, None)
    lake.replace(READINGS_INTERVAL, readings({"m": np.ones(16 * 24)}, starts_at_utc=FIRST))
    is_asked, cursor = asked(None)
    assert is_asked
    assert asked(cursor) == (False, cursor)
