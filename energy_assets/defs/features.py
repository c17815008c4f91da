"""Features of a delivery date: what its forecast is made from, stored so that the forecast can be made again."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

from energy_assets.contracts import (
    FEATURES_LOAD,
    METERS,
    PREMISES,
    READINGS_INTERVAL,
    SITES,
    WEATHER_FORECAST,
    WEATHER_OBSERVED,
    Window,
)
from energy_assets.defs.contract_checks import contract_check
from energy_assets.defs.partitions import (
    DELIVERY_DATE,
    NEWEST_DATA_OF_DELIVERY,
    delivery_dates_of,
    issue_time,
    issue_window,
)
from energy_assets.defs.reporting import BACKFILL_IN_ONE_RUN, looks_of, report, run_message
from energy_assets.features.closures import read_closures
from energy_assets.features.matrix import SCHEMA, Thinning, feature_blocks, features_hash, reading_windows
from energy_assets.features.past_weather import OBSERVED_COLUMNS
from energy_assets.lake import Lake
from energy_assets.settings import Settings
from energy_assets.weather.as_known import as_known

HORIZON = timedelta(hours=72)
_WEATHER_BEFORE = timedelta(days=9)


@dg.asset(
    **looks_of(FEATURES_LOAD),
    partitions_def=DELIVERY_DATE,
    backfill_policy=BACKFILL_IN_ONE_RUN,
    deps=[
        dg.AssetDep(READINGS_INTERVAL.asset_key, partition_mapping=NEWEST_DATA_OF_DELIVERY),
        dg.AssetDep(WEATHER_OBSERVED.asset_key, partition_mapping=NEWEST_DATA_OF_DELIVERY),
        dg.AssetDep(WEATHER_FORECAST.asset_key, partition_mapping=NEWEST_DATA_OF_DELIVERY),
        METERS.asset_key,
    ],
)
def load_features(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Calendar, weather and load features per meter and slot, from nothing that became known after the issue."""
    dates = delivery_dates_of(context)
    issues = [issue_time(each, issue_hour_utc=settings.issue_hour_utc) for each in dates]
    features = features_of(
        lake,
        issues=issues,
        is_actual_allowed=settings.actual_weather_as_forecast,
        calendar_folder=settings.calendar_folder,
    ).drop("energy_kwh", "energy_known_at_utc")
    commit = lake.replace(
        FEATURES_LOAD,
        features.with_columns(pl.selectors.float().fill_nan(None)),
        window=issue_window(dates, issue_hour_utc=settings.issue_hour_utc),
        message=run_message(context),
    )
    known = features.select((pl.selectors.float().is_finite()).mean()).unpivot(
        variable_name="feature", value_name="known"
    )
    return report(commit, FEATURES_LOAD, meters=features["meter_id"].n_unique(), least_known=known.sort("known"))


def features_of(
    lake: Lake,
    *,
    issues: list[datetime],
    is_actual_allowed: bool,
    thinning: Thinning | None = None,
    meters: pl.DataFrame | None = None,
    calendar_folder: Path | None = None,
) -> pl.DataFrame:
    """Return the feature rows of the issues from what the lake holds: the one road from tables to features.

    `meters` are the rows of METERS that are wanted, all where None; `calendar_folder` holds school holidays and site
    closures.
    """
    blocks = feature_blocks_of(
        lake,
        issues=issues,
        is_actual_allowed=is_actual_allowed,
        thinning=thinning,
        meters=meters,
        calendar_folder=calendar_folder,
    )
    return pl.concat([SCHEMA.to_frame(), *blocks], rechunk=False)


def feature_blocks_of(
    lake: Lake,
    *,
    issues: list[datetime],
    is_actual_allowed: bool,
    thinning: Thinning | None = None,
    meters: pl.DataFrame | None = None,
    calendar_folder: Path | None = None,
) -> Iterator[pl.DataFrame]:
    """Return the rows of `features_of` block by block, for more of them than memory holds."""
    readings = pl.concat(
        lake.read(
            READINGS_INTERVAL,
            window,
            columns=["meter_id", "starts_at_utc", "interval_minutes", "energy_kwh", "available_at_utc"],
        )
        for window in reading_windows(issues)
    )
    seen = pl.concat(
        lake.read(WEATHER_OBSERVED, window, columns=OBSERVED_COLUMNS) for window in reading_windows(issues)
    )
    span = Window(starts_at_utc=min(issues) - _WEATHER_BEFORE, ends_at_utc=max(issues) + HORIZON)
    weather = as_known(
        lake.read(WEATHER_OBSERVED, span),
        lake.read(WEATHER_FORECAST, span),
        issues=issues,
        horizon=HORIZON,
        is_actual_allowed=is_actual_allowed,
    )
    return feature_blocks(
        readings,
        meters=lake.read(METERS) if meters is None else meters,
        sites=lake.read(SITES),
        premises=lake.read(PREMISES),
        weather=weather,
        issues=issues,
        thinning=thinning,
        closures=read_closures(calendar_folder) if calendar_folder else None,
        observed=seen,
    )


def stored_features(lake: Lake, *, issued_at: datetime, snapshot_id: int | None = None) -> tuple[pl.DataFrame, str]:
    """Return the stored features of an issue (as of a snapshot), as models take them, and their fingerprint."""
    window = Window(starts_at_utc=issued_at, ends_at_utc=issued_at + timedelta(seconds=1))
    rows = lake.read(FEATURES_LOAD, window, snapshot_id=snapshot_id).sort(FEATURES_LOAD.key)
    features = rows.with_columns(
        pl.selectors.float().fill_null(float("nan")), pl.col("interval_minutes").cast(pl.Int32)
    )
    return features, features_hash(features)


checks = [contract_check(FEATURES_LOAD)]
