"""Which meters and slots an issue must forecast, whatever else works: the list that the ladder fills."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfoNotFoundError

import polars as pl

from energy_assets.contracts import UTC_TIME
from energy_assets.errors import ContractError
from energy_assets.features.horizon import DELIVERY_DATE, Horizon
from energy_assets.features.horizon import slots as horizon_slots

_SCHEMA = pl.Schema(
    {
        "meter_id": pl.String(),
        "issued_at_utc": UTC_TIME,
        "starts_at_utc": UTC_TIME,
        "interval_minutes": pl.Int64(),
        "local_hour": pl.Int8(),
        "is_weekend": pl.Boolean(),
    }
)


def delivery_slots(
    meters: pl.DataFrame, *, sites: pl.DataFrame, issued_at_utc: datetime, horizon: Horizon = DELIVERY_DATE
) -> pl.DataFrame:
    """Return one row per meter and slot of the horizon: by default up to the end of the local day after the issue.

    `meters` and `sites` follow their contracts; a site that is missing from `sites` counts as UTC. A meter has only
    the slots within its service. Columns: meter_id, issued_at_utc, starts_at_utc, interval_minutes, local_hour (0-23),
    is_weekend; sorted by meter and time. The same slots as feature rows have, from the same function.

    Raises:
        ContractError: a site's time zone is unknown.
    """
    zones = dict(sites.select("site_id", "timezone").iter_rows())
    frames = [
        _class_slots(
            group,
            timezone=zones.get(str(site_id), "UTC"),
            minutes=int(minutes),
            issued_at_utc=issued_at_utc,
            horizon=horizon,
        )
        for (site_id, minutes), group in meters.partition_by("site_id", "interval_minutes", as_dict=True).items()
    ]
    return pl.concat([_SCHEMA.to_frame(), *frames]).sort("meter_id", "starts_at_utc")


def _class_slots(
    meters: pl.DataFrame, *, timezone: str, minutes: int, issued_at_utc: datetime, horizon: Horizon
) -> pl.DataFrame:
    try:
        starts = horizon_slots(issued_at_utc, timezone=timezone, interval_minutes=minutes, horizon=horizon)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ContractError(f"metering.sites names the unknown time zone {timezone!r}; use an IANA name.") from error
    local = pl.col("starts_at_utc").dt.convert_time_zone(timezone)
    slots = pl.DataFrame({"starts_at_utc": starts}).with_columns(
        issued_at_utc=pl.lit(issued_at_utc, UTC_TIME),
        interval_minutes=pl.lit(minutes, pl.Int64),
        local_hour=local.dt.hour(),
        is_weekend=local.dt.weekday() > 5,
    )
    in_service = (pl.col("valid_from_utc").is_null() | (pl.col("starts_at_utc") >= pl.col("valid_from_utc"))) & (
        pl.col("valid_to_utc").is_null() | (pl.col("starts_at_utc") < pl.col("valid_to_utc"))
    )
    return (
        meters.select("meter_id", "valid_from_utc", "valid_to_utc")
        .join(slots, how="cross")
        .filter(in_service)
        .select("meter_id", "issued_at_utc", "starts_at_utc", "interval_minutes", "local_hour", "is_weekend")
    )
