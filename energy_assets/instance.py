"""The Dagster instance of a home folder: `dagster.yaml` is written there once, and DAGSTER_HOME points to it.

The file in the project's root names the same folders for people who call `dagster dev` themselves.
"""

from __future__ import annotations

import os
from pathlib import Path

from energy_assets.settings import Settings

_CONFIG = """\
# Written by `energy`; edit it as you like. Folders follow from DAGSTER_HOME, which is this folder.
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
        config.write_text(_CONFIG, encoding="utf-8")
    return folder


def child_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the platform's processes: instance, stores and habits of the libraries."""
    return {
        **os.environ,
        "DAGSTER_HOME": str(dagster_home(settings)),
        "ENERGY_ASSETS_HOME": str(settings.home),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
