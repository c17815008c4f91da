"""A past forecast made again from what was there when it was made: snapshot, model versions, stored features.

The lake keeps every snapshot that maintenance has not expired, the registry every version; a forecast's rows name both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args

import polars as pl

from energy_assets.contracts import (
    FORECASTS_LOAD,
    FORECASTS_RECIPES,
    METERS,
    PREMISES,
    READINGS_INTERVAL,
    SITES,
    Window,
)
from energy_assets.defs.features import stored_features
from energy_assets.defs.following import followers_of
from energy_assets.defs.forecasts import READ_COLUMNS
from energy_assets.defs.peers import peer_groups_of
from energy_assets.errors import LakeError
from energy_assets.forecasts.daily import forecast_delivery
from energy_assets.forecasts.ladder import Champion
from energy_assets.forecasts.learning import learned_of
from energy_assets.forecasts.standing import HISTORY
from energy_assets.lake import Lake
from energy_assets.models.registry import Reason, Registry, UnresolvedModelError, registered_name
from energy_assets.sql import Query


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """A forecast made again: its rows, those that were published, and by column how many cells differ in any bit.

    `published_by` is the revision of the code that published it, None where its night did not write that down.
    """

    rows: pl.DataFrame
    published: pl.DataFrame
    snapshot_id: int
    model_versions: tuple[str, ...]
    published_by: str | None
    differences: Mapping[str, int]

    @property
    def is_the_same(self) -> bool:
        """Return whether every bit is as it was published."""
        return not self.differences


def rebuild(lake: Lake, registry: Registry, *, issued_at_utc: datetime) -> Rebuilt:
    """Make the forecast of an issue again and compare it with what was published.

    Raises:
        LakeError: nothing was published at that time, or the snapshot that it was made from is expired.
        ModelError: a model version is gone.
    """
    window = Window(starts_at_utc=issued_at_utc, ends_at_utc=issued_at_utc + timedelta(seconds=1))
    published = lake.read(FORECASTS_LOAD, window).sort(FORECASTS_LOAD.key)
    if published.is_empty():
        raise LakeError(
            f"The lake holds no forecast issued at {issued_at_utc:%Y-%m-%d %H:%M} UTC; marts.outlook shows which."
        )
    snapshot_id = int(
        lake.query(Query.from_file("energy_assets.defs", "forecast_snapshot", issued=issued_at_utc)).item()
    )
    # Columns that contracts gained since are null in what was known then.
    meters, premises, sites = (
        table.conform(lake.read(table, snapshot_id=snapshot_id)) for table in (METERS, PREMISES, SITES)
    )
    readings = lake.read(
        READINGS_INTERVAL,
        Window(starts_at_utc=issued_at_utc - HISTORY, ends_at_utc=issued_at_utc),
        columns=READ_COLUMNS,
        snapshot_id=snapshot_id,
    )
    features, fingerprint = stored_features(lake, issued_at=issued_at_utc, snapshot_id=snapshot_id)
    versions = tuple(sorted(published["model_version"].drop_nulls().unique()))
    made = forecast_delivery(
        features,
        readings=readings,
        meters=meters,
        premises=premises,
        sites=sites,
        champions=followers_of(
            lake,
            _as_they_were(registry, versions, meters=meters, published=published),
            meters=meters,
            issues=[issued_at_utc],
            snapshot_id=snapshot_id,
        ).at(issued_at_utc),
        issued_at_utc=issued_at_utc,
        features_hash=fingerprint,
        seed=issued_at_utc.toordinal(),
        learned=learned_of(lake.read(FORECASTS_RECIPES, window)),
        peer_groups=peer_groups_of(
            lake,
            readings=readings,
            meters=meters,
            sites=sites,
            issued_at_utc=issued_at_utc,
            snapshot_id=snapshot_id,
        ),
    )
    rows = FORECASTS_LOAD.conform(made.rows).sort(FORECASTS_LOAD.key)
    return Rebuilt(
        rows=rows,
        published=published,
        snapshot_id=snapshot_id,
        model_versions=versions,
        published_by=lake.code_of(snapshot_id),
        differences=_differences(published, rows),
    )


def _as_they_were(
    registry: Registry, versions: tuple[str, ...], *, meters: pl.DataFrame, published: pl.DataFrame
) -> dict[str, Champion]:
    """Return the versions that served; for models that did not, the trouble that the rows of their meters name."""
    served = {name: int(version) for name, _, version in (each.rpartition("/") for each in versions)}
    said = published.filter(pl.col("node_kind") == "meter").select("node_id", "reason").unique()
    answers: dict[str, Champion] = {}
    for (commodity, minutes), of_class in meters.group_by("commodity", "interval_minutes"):
        name = registered_name(str(commodity), interval_minutes=int(minutes))
        if name in served:
            answers[name] = registry.load(name, version=served[name])
            continue
        reasons = said.join(of_class.select(node_id="meter_id"), on="node_id")["reason"].drop_nulls()
        known = reasons.filter(reasons.is_in(get_args(Reason))).mode()
        answers[name] = UnresolvedModelError(
            f"{name} did not serve then.", reason=known[0] if known.len() else "no_champion"
        )
    return answers


def _differences(published: pl.DataFrame, rows: pl.DataFrame) -> dict[str, int]:
    key = FORECASTS_LOAD.key
    if not published.select(key).equals(rows.select(key)):
        missing = published.join(rows.select(key), on=key, how="anti").height
        added = rows.join(published.select(key), on=key, how="anti").height
        return {"rows missing": missing, "rows added": added}
    changed = {name: int((published[name].ne_missing(rows[name])).sum()) for name in published.columns}
    return {name: count for name, count in changed.items() if count}
