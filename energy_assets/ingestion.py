"""Landing of declared sources in the lake: one transaction per source stores, refuses and accounts for every row.

The CLI and the Dagster assets both come through here, so that a file that is ingested by hand and one that the nightly
run finds end up the same. Parsers stand in `readings` and `messaging`; this module only joins them to the lake, as
`weather_ingestion` does for weather.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import reduce

import polars as pl

from energy_assets.contracts import (
    METERS,
    PREMISES,
    READINGS_LANDINGS,
    READINGS_QUARANTINE,
    READINGS_RAW,
    SITES,
    Table,
    Window,
)
from energy_assets.errors import SourceError
from energy_assets.lake import Change, Commit, Lake
from energy_assets.message_landing import DUMPS, NOTHING, land_segments, together
from energy_assets.readings import ashrae, bdg2, tabular
from energy_assets.readings.source import Counts, Registry, Source, Stage
from energy_assets.sql import Query

_LOG = logging.getLogger(__name__)
STAGES: Mapping[str, Stage] = {"ashrae": ashrae.stage, "bdg2": bdg2.stage, "table": tabular.stage}


def land(lake: Lake, source: Source, *, window: Window | None, now: datetime, message: str = "") -> Counts:
    """Land a source's rows of `window` (None: all, and its meters too) and return the account.

    Of MQTT messages the segments that are new are landed, whatever their times.

    Raises:
        SourceError: the source cannot be read; nothing of it was stored.
    """
    if source.kind == "mqtt":
        return NOTHING if source.options.get(DUMPS) else land_segments(lake, source, now=now, message=message)
    with lake.session() as session:
        staged = STAGES[source.kind](session, source, window=window, now=now)
        changes = [
            Change(table=READINGS_RAW, rows=staged.raw, window=window, where={"source": source.name}),
            *_with_timeless(READINGS_QUARANTINE, staged.quarantine, source=source.name, window=window),
            *_with_timeless(READINGS_LANDINGS, staged.landings, source=source.name, window=window),
            *(_registered(staged.registry, source=source.name) if staged.registry else ()),
        ]
        lake.commit(changes, message=message or f"land {source.name}", session=session)
    return staged.counts


@dataclass(frozen=True, kw_only=True)
class Landed:
    """What landing all sources did: the account in all and by source, and why a source could not be read."""

    counts: Counts
    by_source: Mapping[str, Mapping[str, int]]
    failures: Mapping[str, str]
    snapshot_id: int


def land_all(lake: Lake, sources: Sequence[Source], *, window: Window | None, now: datetime, message: str) -> Landed:
    """Land every source; one that cannot be read is named and keeps what it had, and the others go on.

    Raises:
        SourceError: no source could be read at all.
    """
    accounts: dict[str, Counts] = {}
    failures: dict[str, str] = {}
    for source in sources:
        try:
            accounts[source.name] = land(lake, source, window=window, now=now, message=message)
        except SourceError as error:
            failures[source.name] = str(error)
            _LOG.warning("source %s was not landed: %s", source.name, error)
    if failures and not accounts:
        raise SourceError("No source could be read. " + " ".join(failures.values()))
    return Landed(
        counts=reduce(together, accounts.values(), NOTHING),
        by_source={name: asdict(counts) for name, counts in accounts.items()},
        failures=failures,
        snapshot_id=lake.snapshot_id(),
    )


def register(lake: Lake, sources: Sequence[Source], *, now: datetime, message: str = "") -> Commit:
    """Replace the registry of sites, premises and meters by what the sources declare.

    What MQTT messages declared when they were landed stays.

    Raises:
        SourceError: a source cannot be read; the registry stays as it was.
    """
    of_messages = {source.name for source in sources if source.kind == "mqtt"}
    frames: list[Registry] = []
    for source in sources:
        if source.name in of_messages:
            continue
        with lake.session() as session:
            staged = STAGES[source.kind](session, source, window=None, now=now)
        if staged.registry is not None:
            frames.append(staged.registry)
    changes = []
    for table, rows in (
        (SITES, [SITES.conform(each.sites) for each in frames]),
        (PREMISES, [PREMISES.conform(each.premises) for each in frames]),
        (METERS, [METERS.conform(each.meters) for each in frames]),
    ):
        replaced = {*lake.read(table, columns=["source"])["source"], *(source.name for source in sources)} - of_messages
        where = {"source": replaced} if of_messages else {}
        changes.append(Change(table=table, rows=_stacked(rows, table.empty()), where=where))
    return lake.commit(changes, message=message or "register")


def _with_timeless(table: Table, rows: Query, *, source: str, window: Window | None) -> list[Change]:
    """Return the changes of a table whose rows may lack a time; those belong to every window of their source."""
    if window is None:
        return [Change(table=table, rows=rows, where={"source": source})]
    timed, timeless = _where(rows, "starts_at_utc IS NOT NULL"), _where(rows, "starts_at_utc IS NULL")
    return [
        Change(table=table, rows=timed, window=window, where={"source": source}),
        Change(table=table, rows=timeless, where={"source": source, "starts_at_utc": None}),
    ]


def _where(query: Query, condition: str) -> Query:
    return Query(
        text=f"SELECT * FROM ({query.text.rstrip().rstrip(';')}) WHERE {condition}", parameters=query.parameters
    )


def _registered(registry: Registry, *, source: str) -> list[Change]:
    return [
        Change(table=SITES, rows=registry.sites, where={"source": source}),
        Change(table=PREMISES, rows=registry.premises, where={"source": source}),
        Change(table=METERS, rows=registry.meters, where={"source": source}),
    ]


def _stacked(frames: Sequence[pl.DataFrame], empty: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([empty, *frames])
