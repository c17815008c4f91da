"""Weather: observations of the day and the forecasts that were issued on it, from files and from Open-Meteo."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from energy_assets.contracts import SITES, WEATHER_FORECAST, WEATHER_OBSERVED, Window
from energy_assets.defs.automation import FRESH_EVERY_MORNING
from energy_assets.defs.contract_checks import contract_checks
from energy_assets.defs.partitions import DAILY, window_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, run_message
from energy_assets.ingestion import land_weather
from energy_assets.lake import Lake
from energy_assets.readings.source import load_sources
from energy_assets.settings import Settings

_TABLES = (WEATHER_OBSERVED, WEATHER_FORECAST)


@dg.multi_asset(
    name="landed_weather",
    specs=[
        dg.AssetSpec(
            description=table.description,
            freshness_policy=FRESH_EVERY_MORNING,
            deps=[SITES.asset_key],
            **looks_of(table),
        )
        for table in _TABLES
    ],
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=30),
)
def landed_weather(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Weather per site and hour on the UTC clock, and weather forecasts with the time of their issue."""
    window = window_of(context)
    # A forecast of midnight belongs to the day that ends then: the night's own forecast is issued at that instant.
    tick = timedelta(microseconds=1)
    issued = Window(starts_at_utc=window.starts_at_utc + tick, ends_at_utc=window.ends_at_utc + tick)
    landed = land_weather(
        lake,
        load_sources(settings.sources_folder),
        observed=window,
        issued=issued,
        message=run_message(context),
    )
    rows = {WEATHER_OBSERVED.name: landed.observed.height, WEATHER_FORECAST.name: landed.forecast.height}
    for table in _TABLES:
        yield dg.MaterializeResult(
            asset_key=table.asset_key,
            metadata={"dagster/row_count": rows[table.name], "refused": dg.MetadataValue.json(dict(landed.refused))},
        )


checks = contract_checks(_TABLES)
