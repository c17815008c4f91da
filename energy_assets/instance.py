"""The Dagster instance of a home folder: `dagster.yaml` is written there once, and DAGSTER_HOME points to it.

The file in the project's root names the same folders for people who call `dagster dev` themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

from energy_assets.models.moved_store import point_to_where_it_lies
from energy_assets.settings import Settings

EVENT_BATCH_SIZE = 1000
"""Events that Dagster may hold back until a batch of them is complete; see `event_log`."""

_CONFIG = """\
# Written by `energy`; edit it as you like. The folders are Dagster's usual ones.
run_storage:
  module: dagster._core.storage.runs
  class: SqliteRunStorage
  config:
    base_dir: "{folder}/history"
event_log_storage:
  module: energy_assets.event_log
  class: BatchedSqliteEventLog
  config:
    base_dir: "{folder}/history/runs"
schedule_storage:
  module: dagster._core.storage.schedules
  class: SqliteScheduleStorage
  config:
    base_dir: "{folder}/schedules"
concurrency:
  runs:
    max_concurrent_runs: 2
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  poll_interval_seconds: 30
  free_slots_after_run_end_seconds: 60
run_retries:
  enabled: true
  max_retries: 1
telemetry:
  enabled: false
nux:
  enabled: false
"""


def dagster_home(settings: Settings) -> Path:
    """Return the folder of the Dagster instance, with its dagster.yaml in place."""
    folder = Path(os.environ.get("DAGSTER_HOME") or settings.home / "dagster")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "dagster.yaml"
    if not config.exists():
        config.write_text(_CONFIG.format(folder=folder), encoding="utf-8")
    return folder


def prepare_instance(settings: Settings) -> None:
    """Make the instance's databases, which several processes that start at once would get in each other's way over."""
    import dagster as dg

    # Before MLflow's server opens the store: a home that was moved holds addresses of where it was.
    point_to_where_it_lies(settings.tracking_uri, artifact_folder=settings.home / "mlflow" / "artifacts")
    with dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
        # Each storage makes its tables when it is first asked for.
        instance.run_storage.has_run("none")
        instance.event_log_storage.get_asset_records()
        if instance.schedule_storage is not None:
            instance.schedule_storage.all_instigator_state()


def child_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the platform's processes: instance, stores and habits of the libraries."""
    return {
        "DAGSTER_EVENT_BATCH_SIZE": str(EVENT_BATCH_SIZE),
        "OPENBLAS_NUM_THREADS": "1",
        **os.environ,
        "DAGSTER_HOME": str(dagster_home(settings)),
        "ENERGY_ASSETS_HOME": str(settings.home),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
