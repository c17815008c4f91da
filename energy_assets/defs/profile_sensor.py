"""The sensor that has an instance's first load profiles made on the day on which they can be."""

from datetime import timedelta

import dagster as dg

from energy_assets.contracts import PROFILES_TRAITS
from energy_assets.lake import Lake
from energy_assets.profiles.shapes import LEAST_GOOD_DAYS
from energy_assets.sql import Query

_READINGS_FOR_PROFILES = timedelta(days=LEAST_GOOD_DAYS + 1)


@dg.sensor(
    job_name="profiles",
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes the first load profiles as soon as there are readings enough, rather than with the week's job.",
)
def first_profiles(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.RunRequest | dg.SkipReason:
    """Ask once for profiles in an instance that has none; from then on the week's job sees to them."""
    if context.cursor:
        return dg.SkipReason(context.cursor)
    if lake.count(PROFILES_TRAITS):
        context.update_cursor("there are profiles, which the week's job looks after")
        return dg.SkipReason("there are profiles")
    first, last = lake.query(Query.from_file("energy_assets.defs", "readings_span")).row(0)
    if first is None or last - first < _READINGS_FOR_PROFILES:
        return dg.SkipReason(f"fewer than {_READINGS_FOR_PROFILES.days} days of readings")
    context.update_cursor(f"asked for with readings to {last:%Y-%m-%d}")
    return dg.RunRequest(run_key="first profiles")
