"""Days of the lake's readings judged, some sites at a time: memory does not grow with the portfolio.

Two groups of sites are judged side by side, each read while another is judged; what a meter gets is what it would get
alone with its site.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import polars as pl

from energy_assets.anomalies.fences import LEAST_PEERS, fence_flags
from energy_assets.anomalies.flags import Judgement, judge, whole_sites
from energy_assets.anomalies.limits import DEFAULT_LIMITS
from energy_assets.anomalies.profile_days import profile_flags
from energy_assets.contracts import (
    ANOMALIES_FLAGS,
    METERS,
    PROFILES_METERS,
    PROFILES_SHAPES,
    PROFILES_TRAITS,
    READINGS_INTERVAL,
    SITES,
    UTC_TIME,
    WEATHER_OBSERVED,
    Window,
)
from energy_assets.defs.profiles import calendar_of_sites
from energy_assets.lake import Lake
from energy_assets.settings import Settings
from energy_assets.sql import Query

_METERS_AT_ONCE = 4000
_SIDE_BY_SIDE = 2


def judged_days(lake: Lake, *, window: Window) -> Judgement:
    """Return the judgement of `window`, whole UTC days, over all meters of the lake."""
    meters, sites = lake.read(METERS), lake.read(SITES)
    needed = window.padded(before=timedelta(days=DEFAULT_LIMITS.lookback_days))
    weather = lake.read(WEATHER_OBSERVED, needed)
    at_most = max(1, min(_METERS_AT_ONCE, -(-meters.height // _SIDE_BY_SIDE)))

    def judged(meter_ids: list[str]) -> Judgement:
        rows = _readings(lake, meter_ids=meter_ids, needed=needed, window=window)
        return judge(rows, meters=meters, sites=sites, weather=weather, window=window)

    with ThreadPoolExecutor(max_workers=_SIDE_BY_SIDE) as pool:
        return Judgement.together(pool.map(judged, whole_sites(meters, at_most=at_most)))


def fences(lake: Lake, *, window: Window, factor: float) -> pl.DataFrame:
    """Return the flags of readings outside the fences of their cluster, rows of `anomalies.flags`.

    A cluster at a time; none before profiles have put meters into clusters.
    """
    members = lake.read(PROFILES_METERS, columns=["meter_id", "cluster_id"]).drop_nulls()
    sites = lake.read(SITES, columns=["site_id", "timezone"])
    clocks = lake.read(METERS, columns=["meter_id", "site_id"]).join(sites, on="site_id", how="left")
    needed = window.padded(before=timedelta(days=DEFAULT_LIMITS.lookback_days))
    columns = ["meter_id", "starts_at_utc", "interval_minutes", "energy_kwh"]
    found = [ANOMALIES_FLAGS.empty()]
    for _, cluster in members.sort("cluster_id", "meter_id").group_by("cluster_id", maintain_order=True):
        if cluster.height >= LEAST_PEERS:
            where = {"meter_id": cluster["meter_id"].to_list()}
            rows = lake.read(READINGS_INTERVAL, needed, columns=columns, where=where)
            found.append(fence_flags(rows, clusters=cluster, window=window, clocks=clocks, factor=factor))
    return pl.concat(found)


def days_unlike_their_profile(lake: Lake, *, window: Window, settings: Settings) -> pl.DataFrame:
    """Return the flags of days and nights unlike their meters' own load profile, rows of `anomalies.flags`.

    Only days after those that the profiles were made from are judged, whenever that is.
    """
    as_of = lake.read(PROFILES_TRAITS, columns=["as_of_utc"])["as_of_utc"].max()
    if not isinstance(as_of, datetime) or as_of >= window.ends_at_utc:
        return ANOMALIES_FLAGS.empty()
    after = Window(starts_at_utc=max(window.starts_at_utc, as_of), ends_at_utc=window.ends_at_utc)
    meters, sites = lake.read(METERS), lake.read(SITES)
    columns = ["meter_id", "starts_at_utc", "interval_minutes", "energy_kwh"]
    return profile_flags(
        lake.read(READINGS_INTERVAL, after, columns=columns),
        meters=meters,
        sites=sites,
        shapes=lake.read(PROFILES_SHAPES),
        calendar=calendar_of_sites(sites, window=after, settings=settings),
        window=after,
    )


def _readings(lake: Lake, *, meter_ids: list[str], needed: Window, window: Window) -> pl.DataFrame:
    query = Query.from_file(
        "energy_assets.defs",
        "anomaly_readings",
        meter_ids=meter_ids,
        starts=needed.starts_at_utc,
        ends=needed.ends_at_utc,
        judged_from=window.starts_at_utc,
    )
    rows = lake.query(query)
    return rows.with_columns(
        pl.col("starts_at_utc", "available_at_utc").cast(UTC_TIME),
        pl.Series("meter_id", meter_ids, dtype=pl.Enum(meter_ids)).gather(rows["meter"]),
    ).drop("meter")
