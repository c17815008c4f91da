"""Upkeep of the lake: small files merged, old snapshots expired, files that nothing refers to deleted."""

from datetime import UTC, datetime

import dagster as dg

from energy_assets.defs.reporting import OWNERS
from energy_assets.lake import Lake, maintain
from energy_assets.models.registry import Registry

_KEEP_DAYS = 30


@dg.asset(key=["lake", "maintenance"], group_name="lake", owners=OWNERS, kinds={"ducklake"})
def lake_maintenance(lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]) -> dg.MaterializeResult[None]:
    """The lake's files and snapshots in order; snapshots that a registered model learned from are kept for ever."""
    done = maintain(lake, now=datetime.now(UTC), keep_days=_KEEP_DAYS, keep_snapshots=registry.snapshots_learned_from())
    return dg.MaterializeResult(
        metadata={
            "files_merged": done.files_merged,
            "snapshots_expired": done.snapshots_expired,
            "files_deleted": done.files_deleted,
            "orphans_deleted": done.orphans_deleted,
        }
    )
