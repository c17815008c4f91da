"""Landing of MQTT messages: new sealed segments, dumps, and what is read again from the quarantine.

Each transaction stores, refuses and accounts for whole segments, and writes down which they were: that table is the
cursor, so that a landing that is killed at any point is repeated without loss and without a repeat. The transactions of
all sources stand here; what messages mean is `messaging`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from energy_assets.contracts import (
    METERS,
    PREMISES,
    READINGS_LANDINGS,
    READINGS_QUARANTINE,
    READINGS_RAW,
    READINGS_SEGMENTS,
    SITES,
    Table,
)
from energy_assets.errors import ConfigError, SourceError
from energy_assets.lake import Change, Lake
from energy_assets.lake.changes import Rows
from energy_assets.lake.locks import writing
from energy_assets.messaging import dumps, influx, replaying, staging
from energy_assets.messaging.payloads import PayloadMapping, load_payload_mapping
from energy_assets.messaging.segments import Segment, expire, is_whole, sealed_segments
from energy_assets.messaging.staging import Batch
from energy_assets.readings.source import Counts, Source

# What one transaction takes: text is about twenty times as long, and a trickle comes in many small segments.
_BYTES_AT_ONCE = 16 * 1024 * 1024
_SEGMENTS_AT_ONCE = 500
DUMPS = "dumps"
"""Option of a source whose files were given by hand: there is no spool to look into."""
NOTHING = Counts(rows_in=0, stored=0, duplicate=0, quarantined=0)


@dataclass(frozen=True, kw_only=True)
class _Landing:
    """What is landed where, and whether it takes the place of what was landed of the same segments before."""

    lake: Lake
    source: Source
    mapping: PayloadMapping
    now: datetime
    message: str
    afresh: bool = False


def land_segments(lake: Lake, source: Source, *, now: datetime, message: str = "", afresh: bool = False) -> Counts:
    """Land the sealed segments that were not landed yet (`afresh`: all that are there, again) and return the account.

    Raises:
        ConfigError: the mapping is absent or wrong.
        SourceError: there is no spool, or segments are damaged; all others are landed.
    """
    landing = _Landing(
        lake=lake,
        source=source,
        mapping=mapping_of(source),
        now=now,
        message=message or f"land {source.name}",
        afresh=afresh,
    )
    if not source.path.is_dir():
        raise SourceError(f"{source.path} is no folder. Name the recorder's spool, or use energy ingest mqtt-dump.")
    counts = NOTHING
    failures: list[str] = []
    with _alone(lake, source):
        present = sealed_segments(source.path)
        landed = set() if afresh else _landed(lake, source, "segment")
        for chunk in _chunks([each for each in present if each.path.name not in landed]):
            try:
                counts = together(counts, _land_chunk(landing, chunk, present))
            except SourceError:  # one of them is damaged: the others are landed all the same
                for each in chunk:
                    try:
                        counts = together(counts, _land_chunk(landing, [each], present))
                    except SourceError as error:
                        failures.append(str(error))
    if failures:
        raise SourceError(" ".join([*failures, "All other segments are landed."]))
    return counts


def land_dumps(lake: Lake, source: Source, files: Sequence[Path], *, form: str | None = None, now: datetime) -> Counts:
    """Land dumps of MQTT messages, each once by its content, and return the account.

    `form` is the format in which `mosquitto_sub -F` wrote them; None: found out.

    Raises:
        ConfigError: the mapping or the format is wrong.
        SourceError: a file cannot be read.
    """
    mapping = mapping_of(source)
    return _land_files(
        lake, source, files, read=lambda file: dumps.read_dump(file, mapping=mapping, form=form), now=now
    )


def land_influx(lake: Lake, source: Source, files: Sequence[Path], *, precision: str = "ns", now: datetime) -> Counts:
    """Land InfluxDB exports, each once by its content, and return the account.

    `precision` is that of the times in line protocol.

    Raises:
        ConfigError: the mapping is wrong.
        SourceError: a file cannot be read.
    """
    return _land_files(lake, source, files, read=lambda file: influx.read_influx(file, precision=precision), now=now)


def _land_files(
    lake: Lake,
    source: Source,
    files: Sequence[Path],
    *,
    read: Callable[[Path], Iterator[pl.DataFrame]],
    now: datetime,
) -> Counts:
    counts = NOTHING
    with _alone(lake, source):
        landed = _landed(lake, source, "batch_id")
        for file in files:
            batch = Batch(batch_id=staging.content_of(file), name=file.name)
            if batch.batch_id in landed:
                continue
            landed.add(batch.batch_id)
            landing = _Landing(
                lake=lake, source=source, mapping=mapping_of(source), now=now, message=f"land {file.name}"
            )
            with lake.session() as session:
                staging.begin(session, [batch])
                for messages in read(file):
                    staging.add_frame(session, messages)
                staging.require_messages(session, name=str(file))
                counts = together(counts, _commit(landing, session, [batch]))
    return counts


def replay_quarantine(lake: Lake, source: Source, *, reason: str | None = None, now: datetime) -> replaying.Replayed:
    """Read refused messages again with the mapping as it is now; what fits is stored, the others stay refused.

    Rows that leave the quarantine and what became of them go into the account of the segment or dump they came in.

    Raises:
        ConfigError: the mapping is absent or wrong.
    """
    landing = _Landing(
        lake=lake,
        source=source,
        mapping=mapping_of(source),
        now=now,
        message=f"replay quarantine of {source.name}",
    )
    replayed = replaying.NOTHING
    with _alone(lake, source):
        known = list(_landed(lake, source, "batch_id"))
        refused = lake.read(READINGS_QUARANTINE, where={"source": source.name, "batch_id": known})
        for chunk in replaying.chunks_of(refused, reason=reason):
            replayed = replayed.plus(_replay_chunk(landing, chunk))
    return replayed


def spools(sources: Sequence[Source]) -> dict[Path, list[Source]]:
    """Return the spool folders of the sources of messages, each with those that read it."""
    found: dict[Path, list[Source]] = {}
    for source in sources:
        if source.kind == "mqtt" and not source.options.get(DUMPS):
            found.setdefault(source.path.resolve(), []).append(source)
    return found


def expire_segments(
    lake: Lake, folder: Path, readers: Sequence[Source], *, keep_days: float, now: datetime
) -> list[Path]:
    """Delete the segments that all readers of a spool have landed and that are older than `keep_days`.

    Those of a recorder's last messages stay, whatever their age: a redelivery is compared with them.
    """
    landed = set.intersection(*(_landed(lake, source, "segment") for source in readers))
    return expire(folder, landed=landed, keep_days=keep_days, keep_messages=staging.IN_FLIGHT, now=now)


def pending_segments(lake: Lake, source: Source) -> list[Segment]:
    """Return the sealed segments of a source that were not landed yet."""
    landed = _landed(lake, source, "segment")
    return [each for each in sealed_segments(source.path) if each.path.name not in landed]


def mapping_of(source: Source) -> PayloadMapping:
    """Return the mapping of a source of messages.

    Raises:
        ConfigError: it names none, or the file is wrong.
    """
    if source.mapping is None:
        raise ConfigError(f"Source {source.name} is of MQTT messages and needs a mapping; add the key mapping.")
    return load_payload_mapping(source.mapping)


def together(one: Counts, other: Counts) -> Counts:
    """Return the sum of two accounts."""
    return Counts(
        rows_in=one.rows_in + other.rows_in,
        stored=one.stored + other.stored,
        duplicate=one.duplicate + other.duplicate,
        quarantined=one.quarantined + other.quarantined,
        ignored=one.ignored + other.ignored,
    )


def _landed(lake: Lake, source: Source, column: str) -> set[str]:
    return set(lake.read(READINGS_SEGMENTS, columns=[column], where={"source": source.name})[column])


@contextmanager
def _alone(lake: Lake, source: Source) -> Iterator[None]:
    """Hold the right to land a source's messages: what is new and what is a repeat is found before it is written."""
    with lake.session():  # which makes the catalog's folder where it is not there yet
        pass
    is_file = lake.catalog.startswith("sqlite:")
    with writing(f"{lake.catalog}.{source.name}" if is_file else lake.catalog, [f"messages of {source.name}"]):
        yield


def _chunks(pending: Sequence[Segment]) -> Iterator[list[Segment]]:
    chunk: list[Segment] = []
    size = 0
    for segment in pending:
        length = segment.path.stat().st_size
        if chunk and (size + length > _BYTES_AT_ONCE or len(chunk) == _SEGMENTS_AT_ONCE):
            yield chunk
            chunk, size = [], 0
        chunk.append(segment)
        size += length
    if chunk:
        yield chunk


def _land_chunk(landing: _Landing, chunk: Sequence[Segment], present: Sequence[Segment]) -> Counts:
    torn = [str(each.path) for each in chunk if not is_whole(each.path)]
    if torn:
        raise SourceError(f"{', '.join(torn)}: the end is missing. Restore it from a copy, or cut the torn frame.")
    batches = [Batch.of_segment(each) for each in chunk]
    with landing.lake.session() as session:
        staging.begin(session, batches)
        staging.add_segments(session, batches, earlier=_before(chunk, present))
        return _commit(landing, session, batches)


def _before(chunk: Sequence[Segment], present: Sequence[Segment]) -> list[Segment]:
    """Return the segments in which the first copies of a chunk's redeliveries may be."""
    firsts: dict[str, int] = {}
    for each in chunk:
        firsts.setdefault(each.client, each.first_sequence)
    earlier = []
    for client, first in firsts.items():
        own = [each for each in present if each.client == client and each.first_sequence < first]
        reach = [each.first_sequence for each in own if each.first_sequence <= first - staging.IN_FLIGHT]
        earlier += [each for each in own if each.first_sequence >= max(reach, default=0)]
    return earlier


def _commit(landing: _Landing, session: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> Counts:
    source, now = landing.source, landing.now
    span = staging.judge(session, landing.mapping, source=source.name)
    replaced = [batch.batch_id for batch in batches] if landing.afresh else []
    staging.mark_repeats(session, span, source=source.name, replaced=replaced)
    accounts, counts = staging.landings(session, source=source.name, now=now)
    queries = staging.landed_queries(source, now=now)
    rows: list[tuple[Table, Rows]] = [
        (READINGS_RAW, queries["raw"]),
        (READINGS_QUARANTINE, queries["quarantine"]),
        (READINGS_LANDINGS, queries["landings"]),
        (READINGS_SEGMENTS, accounts),
    ]
    where = {"source": source.name, "batch_id": replaced}
    changes = [
        Change(table=table, rows=each, where=where, kind="replace" if landing.afresh else "append")
        for table, each in rows
    ]
    changes += _new_meters(landing, session)
    landing.lake.commit(changes, message=landing.message, session=session)
    return counts


def _replay_chunk(landing: _Landing, chunk: replaying.Chunk) -> replaying.Replayed:
    lake, source, now = landing.lake, landing.source, landing.now
    where = {"source": source.name, "batch_id": list(chunk.batch_ids)}
    accounts = lake.read(READINGS_SEGMENTS, where=where)
    names = dict(accounts.select("batch_id", "segment").iter_rows())
    with lake.session() as session:
        staging.begin(session, [Batch(batch_id=each, name=names[each]) for each in chunk.batch_ids])
        staging.add_frame(session, chunk.messages)
        span = staging.judge(session, landing.mapping, source=source.name)
        delay = timedelta(minutes=source.reporting_delay_minutes)
        replaying.keep_positions(session, chunk, source=source.name, delay=delay)
        staging.mark_repeats(session, span, source=source.name, replaced=[])
        fresh, counts = staging.landings(session, source=source.name, now=now)
        queries = staging.landed_queries(source, now=now)
        refused = READINGS_QUARANTINE.conform(queries["quarantine"].frame(session))
        others = replaying.others_of(lake.read(READINGS_QUARANTINE, where=where), chunk)
        days = replaying.days_after(
            lake.read(READINGS_LANDINGS, where=where), queries["landings"].frame(session), chunk=chunk, now=now
        )
        segments_after = replaying.accounts_after(accounts, fresh, chunk=chunk, now=now)
        changes = [
            Change(table=READINGS_RAW, rows=queries["raw"], kind="append"),
            Change(table=READINGS_QUARANTINE, rows=pl.concat([others, refused]), where=where),
            Change(table=READINGS_LANDINGS, rows=days, where=where),
            Change(table=READINGS_SEGMENTS, rows=segments_after, where=where),
        ]
        changes += _new_meters(landing, session)
        lake.commit(changes, message=landing.message, session=session)
    return replaying.Replayed.of(counts, left=chunk.rows.height)


def _new_meters(landing: _Landing, session: duckdb.DuckDBPyConnection) -> list[Change]:
    """Return the changes that add the meters of a landing to those that the source has; none where none is new."""
    lake, source = landing.lake, landing.source.name
    own = {"source": source}
    known = lake.read(METERS, where=own)
    made = staging.registry(session, landing.mapping, source=source, known=known)
    if made.meters.is_empty():
        return []
    return [
        Change(table=table, rows=_merged(table, had, table.conform(rows), key=key), where=own)
        for table, had, rows, key in (
            (SITES, lake.read(SITES, where=own), made.sites, "site_id"),
            (PREMISES, lake.read(PREMISES, where=own), made.premises, "premise_id"),
            (METERS, known, made.meters, "meter_id"),
        )
    ]


def _merged(table: Table, had: pl.DataFrame, new: pl.DataFrame, *, key: str) -> pl.DataFrame:
    after = pl.concat([new, had])
    if "valid_from_utc" in after.columns:
        after = after.with_columns(valid_from_utc=pl.col("valid_from_utc").min().over(key))
    return table.conform(after.unique(key, keep="first", maintain_order=True)).sort(key)
