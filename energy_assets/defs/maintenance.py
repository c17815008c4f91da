"""Upkeep of the lake and the registry: small files merged, what nobody needs any more expired and deleted."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from energy_assets.defs.reporting import OWNERS
from energy_assets.lake import Lake, maintain
from energy_assets.models.registry import Registry
from energy_assets.models.retention import superseded, versions_by_model
from energy_assets.models.versions import Listed
from energy_assets.settings import Settings
from energy_assets.sql import Query


@dg.asset(key=["lake", "maintenance"], group_name="lake", owners=OWNERS, kinds={"ducklake"})
def lake_maintenance(
    lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """The lake's files and snapshots and the registry's versions in order; what recent forecasts came from stays.

    Old versions of models go first, then the snapshots that only they learned from.
    """
    now = datetime.now(UTC)
    gone = prune(
        lake, registry, now=now, versions_kept=settings.model_versions_kept, rebuildable_days=settings.rebuildable_days
    )
    done = maintain(
        lake, now=now, keep_days=settings.rebuildable_days, keep_snapshots=registry.snapshots_learned_from()
    )
    return dg.MaterializeResult(
        metadata={
            "files_merged": done.files_merged,
            "snapshots_expired": done.snapshots_expired,
            "files_deleted": done.files_deleted,
            "orphans_deleted": done.orphans_deleted,
            "versions_deleted": ", ".join(f"{each.name}/{each.version}" for each in gone) or "none",
        }
    )


def prune(lake: Lake, registry: Registry, *, now: datetime, versions_kept: int, rebuildable_days: int) -> list[Listed]:
    """Delete the versions of every model that may go, and return them."""
    gone = prunable(lake, registry, now=now, versions_kept=versions_kept, rebuildable_days=rebuildable_days)
    for name in sorted({each.name for each in gone}):
        registry.delete(name, versions=[each.version for each in gone if each.name == name])
    return gone


def prunable(
    lake: Lake, registry: Registry, *, now: datetime, versions_kept: int, rebuildable_days: int
) -> list[Listed]:
    """Return the versions of every model that are neither new, nor under an alias, nor behind a recent forecast."""
    since = now - timedelta(days=rebuildable_days)
    served = lake.query(Query.from_file("energy_assets.defs", "versions_served", since=since))["model_version"]
    used = versions_by_model(served)
    return [
        each
        for name in registry.names()
        for each in superseded(registry.versions(name), newest=versions_kept, used=used.get(name, set()))
    ]
