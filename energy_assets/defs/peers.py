"""The peers of young meters, from what the lake knew at an issue or a snapshot; nights and rebuilding take it here."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from energy_assets.contracts import PROFILES_CENTROIDS, PROFILES_METERS
from energy_assets.features.site_days import site_days
from energy_assets.forecasts.standing import HISTORY
from energy_assets.lake import Lake
from energy_assets.profiles.newcomers import PEER_GROUPS, peer_groups, young_of


def peer_groups_of(
    lake: Lake,
    *,
    readings: pl.DataFrame,
    meters: pl.DataFrame,
    sites: pl.DataFrame,
    issued_at_utc: datetime,
    snapshot_id: int | None = None,
) -> pl.DataFrame:
    """Return PEER_GROUPS as of an issue; none while there are no profiles, or no young meter that could use them.

    Declared closures play no part, so that what files say today does not change what is made again.
    """
    members = lake.read(PROFILES_METERS, snapshot_id=snapshot_id)
    young = young_of(meters, members=members, issued_at_utc=issued_at_utc)
    if members.is_empty() or young.is_empty():
        return PEER_GROUPS.to_frame()
    return peer_groups(
        readings,
        members=members,
        centroids=lake.read(PROFILES_CENTROIDS, snapshot_id=snapshot_id),
        meters=meters,
        sites=sites,
        calendar=site_days(
            sites.join(young, on="site_id", how="semi"),
            first=(issued_at_utc - HISTORY - timedelta(days=1)).date(),
            last=(issued_at_utc + timedelta(days=1)).date(),
        ),
        issued_at_utc=issued_at_utc,
    )
