"""The only Definitions object: every asset, check, job, schedule, sensor and resource of the platform."""

import dagster as dg

from energy_assets import defs as domains
from energy_assets.defs import (
    anomalies,
    drift,
    features,
    forecasts,
    horizons,
    ledger,
    marts,
    metering,
    models,
    prices,
    profiles,
    ranker,
    readings,
    settlement,
    sums,
    weather,
    wholesale,
)
from energy_assets.defs.automation import AUTOMATION
from energy_assets.defs.jobs import JOBS, SCHEDULES, SENSORS
from energy_assets.defs.resources import RESOURCES

_CHECKED = (
    metering,
    readings,
    weather,
    features,
    models,
    forecasts,
    sums,
    horizons,
    drift,
    anomalies,
    wholesale,
    prices,
    settlement,
    ledger,
    profiles,
    ranker,
    marts,
)

defs = dg.Definitions(
    assets=dg.load_assets_from_package_module(domains),
    asset_checks=[check for domain in _CHECKED for check in domain.checks],
    jobs=[weather.weather_issue, *JOBS, *horizons.JOBS],
    schedules=[*SCHEDULES, *horizons.SCHEDULES],
    sensors=[*SENSORS, drift.drift, AUTOMATION],
    resources=RESOURCES,
    # Steps in one process: a step starts in 10 ms instead of seconds, and runs go side by side by the queue.
    executor=dg.in_process_executor,
)
