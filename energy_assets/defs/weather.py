"""Weather: observations of the day and the forecasts that were issued on it, from files and from Open-Meteo."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    SITES,
    WEATHER_FORECAST,
    WEATHER_LANDINGS,
    WEATHER_OBSERVED,
    WEATHER_QUARANTINE,
    Table,
    Window,
)
from energy_assets.defs.automation import FRESH_EVERY_MORNING
from energy_assets.defs.contract_checks import checked_window, contract_checks
from energy_assets.defs.partitions import DAILY, window_of
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, run_message, specs_of, table_of
from energy_assets.lake import Lake
from energy_assets.parsing.account import account_of
from energy_assets.readings.source import load_sources
from energy_assets.settings import Settings
from energy_assets.weather.alignment import LARGEST_FIT_H, clock_fit
from energy_assets.weather.open_meteo import ATTRIBUTION
from energy_assets.weather_ingestion import OPEN_METEO, WeatherService, keep_forecasts, land_weather

_CLOCK_DAYS = timedelta(days=60)
_TABLES = (WEATHER_OBSERVED, WEATHER_FORECAST, WEATHER_QUARANTINE)


@dg.multi_asset(
    name="landed_weather",
    specs=specs_of(
        _TABLES,
        freshness_policy=FRESH_EVERY_MORNING,
        deps=[SITES.asset_key],
    ),
    partitions_def=DAILY,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=30),
)
def landed_weather(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None]]:
    """Weather per site and hour on the UTC clock, and weather forecasts with the time of their issue."""
    window = window_of(context)
    now = datetime.now(UTC)
    # The night's own forecast is issued at the end of the day (and at the hour that is set): that issue belongs to it.
    lag = timedelta(hours=settings.issue_hour_utc, microseconds=1)
    landed = land_weather(
        lake,
        load_sources(settings.sources_folder),
        observed=window,
        issued=Window(starts_at_utc=window.starts_at_utc + lag, ends_at_utc=window.ends_at_utc + lag),
        now=now,
        issues=[Window.of_days(day).ends_at_utc + timedelta(hours=settings.issue_hour_utc) for day in window.days()],
        service=WeatherService.from_settings(settings, now=now),
        message=run_message(context),
    )
    rows = (landed.observed.height, landed.forecast.height, landed.quarantine.height)
    by_open_meteo = pl.concat([landed.observed["source"], landed.forecast["source"]]).str.starts_with(OPEN_METEO).any()
    for table, count in zip(_TABLES, rows, strict=True):
        yield dg.MaterializeResult(
            asset_key=table.asset_key,
            metadata={
                "dagster/row_count": count,
                "account": table_of(_account_of(landed.landings, table)),
                "refused": dg.MetadataValue.json(landed.refused),
                "failures": dg.MetadataValue.json(dict(landed.failures)),
                **({"attribution": ATTRIBUTION} if by_open_meteo else {}),
            },
        )


def _account_of(landings: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return the account of a table's weather by batch."""
    parts = ("rows_in", "stored", "duplicate", "quarantined", "values_refused", "hours")
    mine = landings.filter(pl.col("subject") == table.name)
    return mine.group_by("source", "batch_id", maintain_order=True).agg(pl.sum(*parts))


@dg.asset_check(asset=WEATHER_OBSERVED.asset_key, name="every_weather_row_is_accounted_for", blocking=True)
def every_weather_row_is_accounted_for(
    context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
) -> dg.AssetCheckResult:
    """Rows in = stored + duplicate + quarantined for every batch, and the table holds the hours that they became."""
    window = checked_window(context)
    landings = lake.read(WEATHER_LANDINGS, window).filter(pl.col("subject") == WEATHER_OBSERVED.name)
    account, hours, held = account_of(landings), int(landings["hours"].sum()), lake.count(WEATHER_OBSERVED, window)
    told = f"{account.statement}; stored as {hours:,} hours"
    return dg.AssetCheckResult(
        passed=account.is_balanced and held == hours,
        description=told if held == hours else f"{told}; the table holds {held:,} hours: land these days again",
        metadata={"account": table_of(_account_of(landings, WEATHER_OBSERVED))},
    )


@dg.asset_check(asset=WEATHER_OBSERVED.asset_key, name="every_site_has_weather")
def every_site_has_weather(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """Every site has observations for the run's days; forecasts go on without, on the rung that needs no weather."""
    sites = lake.read(SITES, columns=["site_id"])["site_id"]
    seen = set(lake.read(WEATHER_OBSERVED, checked_window(context), columns=["site_id"])["site_id"])
    silent = sorted(set(sites) - seen)
    return dg.AssetCheckResult(
        passed=not silent,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"no weather at {', '.join(silent)}" if silent else f"{len(sites)} sites have weather",
    )


@dg.asset_check(asset=WEATHER_OBSERVED.asset_key, name="site_clocks_fit")
def site_clocks_fit(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """The warmest hour of every site is one of its early afternoon, by the sun: clock and weather agree."""
    window = checked_window(context)
    wanted = window.padded(before=_CLOCK_DAYS) if window else None
    fit = clock_fit(lake.read(WEATHER_OBSERVED, wanted), lake.read(SITES))
    odd = fit.filter(pl.col("hours_off").abs() > LARGEST_FIT_H)
    told = ", ".join(f"{site} by {off:+.1f} h" for site, off in odd.select("site_id", "hours_off").iter_rows())
    return dg.AssetCheckResult(
        passed=odd.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"off: {told}" if told else f"{fit.height} sites fit",
        metadata={"fit": table_of(fit)},
    )


@dg.op(
    description="Fetches what is forecast now from Open-Meteo and keeps it for the next issue.", tags={"kind": "api"}
)
def fetch_forecast(
    context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> None:
    """Keep the weather forecast of before the issue: what is fetched after it was not known then."""
    service = WeatherService.from_settings(settings, now=datetime.now(UTC))
    rows, failures = keep_forecasts(lake, load_sources(settings.sources_folder), service)
    context.log.info("%d rows of weather forecasts kept", rows)
    for site, reason in failures.items():
        context.log.warning("no weather forecast for %s: %s", site, reason)


@dg.job(name="weather_issue", description="The weather forecast of just before the nightly issue.")
def weather_issue() -> None:
    """Fetch and keep the forecast."""
    fetch_forecast()


checks = [*contract_checks(_TABLES), every_weather_row_is_accounted_for, every_site_has_weather, site_clocks_fit]
