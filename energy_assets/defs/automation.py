"""When assets run by themselves, and how fresh they must be."""

from datetime import timedelta

import dagster as dg

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
