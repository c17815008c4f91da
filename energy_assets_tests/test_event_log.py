"""The batched event log stores what Dagster's own would, event for event."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from energy_assets.instance import EVENT_BATCH_SIZE, dagster_home
from energy_assets.settings import Settings

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")
FIRST, LAST = "2026-01-01", "2026-01-20"


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def cause(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    window = context.partition_time_window
    return dg.MaterializeResult(
        metadata={"days": (window.end - window.start) // timedelta(days=1)}, tags={"dagster/data_version": "v"}
    )


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(), deps=[cause])
def effect() -> None:
    return None


@dg.asset_check(asset=effect)
def plausible() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def stored(home: Path, monkeypatch: pytest.MonkeyPatch, *, batch_size: int) -> dict[str, list[tuple[object, ...]]]:
    """Materialise twenty days with the instance of a home, and return what the index holds, but for times."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = dagster_home(Settings(home=home))
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(batch_size))
    tags = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST}
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "BatchedSqliteEventLog"
        done = dg.materialize([cause, effect, plausible], instance=instance, tags=tags)
        assert done.success
        assert instance.get_materialized_partitions(dg.AssetKey("cause")) == set(DAYS.get_partition_keys()[:20])
        latest = instance.get_latest_materialization_event(dg.AssetKey("effect"))
        assert latest is not None
        assert latest.asset_materialization is not None
        assert latest.asset_materialization.partition == LAST
    with sqlite3.connect(folder / "history" / "runs" / "index.db") as index:
        queries = {
            "events": "SELECT dagster_event_type, asset_key, partition, step_key FROM event_logs",
            "tags": "SELECT asset_key, key FROM asset_event_tags",
            "assets": "SELECT asset_key, last_materialization IS NOT NULL FROM asset_keys",
            "checks": "SELECT asset_key, check_name, execution_status FROM asset_check_executions",
        }
        found = {name: sorted(index.execute(text).fetchall(), key=repr) for name, text in queries.items()}
    with sqlite3.connect(folder / "history" / "runs" / f"{done.run_id}.db") as run:
        found["of_run"] = sorted(
            run.execute("SELECT dagster_event_type, partition FROM event_logs").fetchall(), key=repr
        )
    index.close()
    run.close()
    return found


def test_a_batch_leaves_the_same_tables_as_events_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batched = stored(tmp_path / "batched", monkeypatch, batch_size=EVENT_BATCH_SIZE)
    one_by_one = stored(tmp_path / "one", monkeypatch, batch_size=0)
    assert batched == one_by_one
    assert len(batched["events"]) > 40
