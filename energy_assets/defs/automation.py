"""When assets run by themselves, and how fresh they must be."""

from datetime import timedelta
from typing import Any

import dagster as dg

from energy_assets.settings import load_settings

WHEN_INPUTS_ARRIVE = dg.AutomationCondition.eager().with_label("when inputs arrive")
"""The newest partition follows its inputs at once; older partitions are asked for by the late-data sensor."""

FRESH_EVERY_MORNING = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30), warn_window=timedelta(hours=26))
"""A nightly asset that was not materialised for 26 hours is late, for 30 it has failed."""

AUTOMATION = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Materialises the newest partitions whose inputs changed.",
)


def minutes_later(cron: str, minutes: int) -> str:
    """Return a daily cron expression moved by minutes; expressions that are not plain are returned as they are."""
    parts = cron.split()
    if not (parts[0].isdigit() and parts[1].isdigit()):
        return cron
    total = int(parts[0]) + minutes + 60 * int(parts[1])
    return " ".join([str(total % 60), str(total // 60 % 24), *parts[2:]])


def every_week(name: str, *, job: Any, description: str, minutes: int = 0) -> dg.ScheduleDefinition:
    """Return a schedule that asks for a job every week, so many minutes after the weekly training begins.

    `job` comes from `define_asset_job`, whose type Dagster keeps to itself.
    """
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=minutes_later(load_settings().retrain_cron, minutes),
        execution_timezone=load_settings().timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
