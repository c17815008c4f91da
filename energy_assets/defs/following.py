"""Outcomes of past nights from the lake, for champions that follow them: stored features beside the readings since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from energy_assets.contracts import FEATURES_LOAD, READINGS_INTERVAL, Window
from energy_assets.forecasts.following import REMEMBERED, Followers, follows_until, is_counted, stride_of
from energy_assets.forecasts.ladder import Champion
from energy_assets.lake import Lake

_HORIZON_HOURS = 48.0
_BEYOND = timedelta(days=3)
_FINEST = timedelta(minutes=5)


def followers_of(
    lake: Lake,
    champions: Mapping[str, Champion],
    *,
    meters: pl.DataFrame,
    issues: Sequence[datetime],
    snapshot_id: int | None = None,
) -> Followers:
    """Return the champions with the outcomes of the nights before the issues, which are in order (as of a snapshot)."""
    stride = stride_of(meters, horizon_hours=_HORIZON_HOURS)
    followers = Followers(champions, meters=meters, stride=stride)
    if followers.unseen_since is not None:
        first = max(followers.unseen_since, follows_until(issues[0]) - REMEMBERED)
        last = follows_until(issues[-1])
        if first < last:
            window = Window(starts_at_utc=first, ends_at_utc=last)
            followers.learn(_outcomes(lake, window, stride=stride, snapshot_id=snapshot_id))
    return followers


def _outcomes(lake: Lake, window: Window, *, stride: int, snapshot_id: int | None) -> pl.DataFrame:
    """Return stored feature rows of the issues in the window with the readings of its slots, null where none is."""
    counted = None if stride == 1 else {"starts_at_utc": _counted_starts(window, stride=stride)}
    features = lake.read(FEATURES_LOAD, window, where=counted, snapshot_id=snapshot_id)
    readings = lake.read(
        READINGS_INTERVAL,
        window,
        columns=["meter_id", "starts_at_utc", "interval_minutes", "energy_kwh", "available_at_utc"],
        where=counted,
        snapshot_id=snapshot_id,
    ).filter(pl.col("energy_kwh").is_finite())
    known = readings.select(
        "meter_id",
        "starts_at_utc",
        "interval_minutes",
        pl.col("energy_kwh").cast(pl.Float32),
        energy_known_at_utc="available_at_utc",
    )
    keys = ["meter_id", "starts_at_utc", "interval_minutes"]
    return features.join(known, on=keys, how="left", validate="m:1").with_columns(
        pl.selectors.float().exclude("energy_kwh").fill_null(float("nan")), pl.col("interval_minutes").cast(pl.Int32)
    )


def _counted_starts(window: Window, *, stride: int) -> list[datetime]:
    starts = pl.datetime_range(
        window.starts_at_utc, window.ends_at_utc + _BEYOND, _FINEST, time_zone="UTC", time_unit="us", eager=True
    )
    counted = pl.DataFrame({"starts_at_utc": starts}).filter(is_counted(stride=stride))["starts_at_utc"]
    return [start.astimezone(UTC) for start in counted]
