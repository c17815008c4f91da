"""MQTT messages as a source of readings: sealed segments or JSON lines staged by a mapping, each row accounted for."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from energy_assets.contracts import Window
from energy_assets.errors import ConfigError, SourceError
from energy_assets.messaging.payloads import PayloadMapping, load_payload_mapping
from energy_assets.messaging.segments import sealed_segments
from energy_assets.readings import declared_meters
from energy_assets.readings.landing import frame, query, run
from energy_assets.readings.mapping import Mapping, TimeFormat, ValueColumns
from energy_assets.readings.source import Counts, Registry, Source, Staged
from energy_assets.sql import Query

_PACKAGE = "energy_assets.messaging"


def stage(connection: duckdb.DuckDBPyConnection, source: Source, *, window: Window | None, now: datetime) -> Staged:
    """Stage the messages of a spool folder or a file; see `source.Stage`.

    Raises:
        ConfigError: the mapping is absent or wrong.
        SourceError: there is nothing to read, or a file is damaged.
    """
    if source.mapping is None:
        raise ConfigError(f"Source {source.name} is of MQTT messages and needs a mapping; add the key mapping.")
    mapping = load_payload_mapping(source.mapping)
    batches = {str(path): _batch_id(path) for path in _files(source.path)}
    try:
        _run(connection, "messages", files=list(batches), batches=list(batches.values()))
    except duckdb.Error as error:
        raise SourceError(
            f"{source.path} cannot be read as JSON lines: {error}. Restore it or mend the line."
        ) from error
    _run(connection, "mqtt_staged")
    rows = mapping.readings(source=source.name)
    connection.execute(f"INSERT INTO temp.staged_rows BY NAME {rows.text}", dict(rows.parameters))
    bounds = (window.starts_at_utc, window.ends_at_utc) if window else (None, None)
    run(connection, "table_window", starts_at_utc=bounds[0], ends_at_utc=bounds[1])
    landings = query("table_account", source=source.name, now=now)
    totals = frame(connection, landings).select(pl.col("rows_in", "stored", "duplicate", "quarantined").sum())
    delay = timedelta(minutes=source.reporting_delay_minutes)
    return Staged(
        source=source,
        batch_ids=tuple(batches.values()),
        raw=Query.from_file(_PACKAGE, "raw", source=source.name, delay=delay),
        quarantine=query("table_quarantine", source=source.name, now=now),
        landings=landings,
        counts=Counts(**totals.row(0, named=True)),
        registry=_registry(connection, mapping, source=source.name) if window is None else None,
    )


def _registry(connection: duckdb.DuckDBPyConnection, mapping: PayloadMapping, *, source: str) -> Registry:
    seen = frame(connection, Query.from_file(_PACKAGE, "meters_seen"))
    kinds = {"commodity": "electricity", "direction": "consumption"}
    declared = {meter: kinds | mapping.messages[rule].stated() for meter, _, rule in seen.iter_rows()}
    places = Mapping(
        layout="long",
        time=TimeFormat(columns=("time",), zone=mapping.zone),
        values=(ValueColumns(column="value"),),
        site=mapping.site,
    )
    return declared_meters.made_registry(seen.drop("rule"), declared=declared, mapping=places, source=source)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = [segment.path for segment in sealed_segments(path, after={})]
    if not found:
        raise SourceError(f"{path} holds no sealed segment. Check the folder, or wait until the recorder seals one.")
    return found


def _batch_id(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _run(connection: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> None:
    connection.execute(Query.from_file(_PACKAGE, name).text, parameters)
