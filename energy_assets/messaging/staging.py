"""Messages to rows: sealed segments or lines of a dump, read into temp tables and judged by a mapping.

Everything here works on one DuckDB connection and its temp tables; what of it the lake has already, and what is written
there, is the landing's business (`energy_assets.message_landing`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from energy_assets.errors import SourceError
from energy_assets.messaging.compiling import routes_of
from energy_assets.messaging.payloads import PayloadMapping
from energy_assets.messaging.segments import Segment, read_segment
from energy_assets.readings import declared_meters
from energy_assets.readings.mapping import Mapping, TimeFormat, ValueColumns
from energy_assets.readings.source import Counts, Registry, Source
from energy_assets.sql import Query

_PACKAGE = "energy_assets.messaging"
# A line as long as MQTT allows takes buffers of 800 MB; DuckDB reads those of everybody else, Python the others.
_LONGEST_LINE_BYTES = 16 * 1024 * 1024
_LONGEST_PAYLOAD_BYTES = 12 * 1024 * 1024
_FEW_PIECES = 2
IN_FLIGHT = 65_535
"""The most messages that a broker sends ahead of our acknowledgement."""

_TOLD = ("commodity", "direction", "measure", "unit", "interval_minutes")
FRAME_COLUMNS: dict[str, type[pl.DataType] | pl.DataType] = {
    "batch": pl.Int32,
    "line_number": pl.Int64,
    "packet_id": pl.UInt16,
    "arrived_at_utc": pl.Datetime("us", "UTC"),
    "at_utc": pl.Datetime("us", "UTC"),
    "retained": pl.Boolean,
    "duplicate": pl.Boolean,
    "topic": pl.String,
    "payload": pl.String,
    "encoding": pl.String,
    "fault": pl.String,
}
"""Columns of the messages that `add_frame` takes."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What is landed as one: a segment or a dump, by its content. Client and sequence are those of a segment."""

    batch_id: str
    name: str
    path: str = ""
    client: str | None = None
    first_sequence: int = 0

    @classmethod
    def of_segment(cls, segment: Segment) -> Batch:
        """Return the batch that a segment is."""
        return cls(
            batch_id=content_of(segment.path),
            name=segment.path.name,
            path=str(segment.path),
            client=segment.client,
            first_sequence=segment.first_sequence,
        )


@dataclass(frozen=True, kw_only=True)
class Span:
    """What the landing needs to know of the staged rows to find what it has of them."""

    first: datetime | None
    last: datetime | None
    has_undated: bool


def content_of(path: Path) -> str:
    """Return the fingerprint of a file, which is its batch id.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Restore it.") from error


def begin(connection: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> None:
    """Empty the temp tables and make the batches known; their numbers are their places."""
    frame = pl.DataFrame(
        [
            (number, each.batch_id, each.name, each.path, each.client, each.first_sequence)
            for number, each in enumerate(batches)
        ],
        schema={
            "batch": pl.Int32,
            "batch_id": pl.String,
            "name": pl.String,
            "path": pl.String,
            "client": pl.String,
            "first_sequence": pl.Int64,
        },
        orient="row",
    )
    _keep(connection, "staged_batches", frame)
    run(connection, "messages_nothing")
    run(connection, "rows_nothing")


def add_segments(
    connection: duckdb.DuckDBPyConnection, batches: Sequence[Batch], *, earlier: Sequence[Segment] = ()
) -> None:
    """Read the messages of sealed segments, and find the first copies of those that were redelivered.

    `earlier` are the segments before them, where a first copy may be; they are read only where one is looked for.

    Raises:
        SourceError: a segment is damaged or gone; names it.
    """
    try:
        run(
            connection,
            "messages_of_segments",
            files=[each.path for each in batches],
            firsts=[each.first_sequence for each in batches],
            longest=_LONGEST_LINE_BYTES,
        )
    except duckdb.Error:
        run(connection, "messages_nothing")
        for number, batch in enumerate(batches):
            _add_segment(connection, number, batch)
    if connection.execute("SELECT 1 FROM temp.incoming_messages WHERE duplicate AND NOT retained LIMIT 1").fetchone():
        paths, clients = [str(each.path) for each in earlier], [each.client for each in earlier]
        if not earlier:
            paths, clients = [batches[0].path], [""]
        try:
            run(connection, "earlier_messages", files=paths, clients=clients, longest=_LONGEST_LINE_BYTES)
        except duckdb.Error as error:
            raise SourceError(f"One of {', '.join(paths)} cannot be read: {error}. Restore it.") from error
        if not earlier:
            connection.execute("DELETE FROM temp.earlier_messages")
        run(connection, "first_copies")


def add_frame(connection: duckdb.DuckDBPyConnection, messages: pl.DataFrame) -> None:
    """Add messages of a dump, in the columns of `FRAME_COLUMNS`."""
    connection.register(
        "incoming_rows", messages.select(pl.col(name).cast(kind) for name, kind in FRAME_COLUMNS.items())
    )
    try:
        run(connection, "messages_of_frame")
    finally:
        connection.unregister("incoming_rows")


def require_messages(connection: duckdb.DuckDBPyConnection, *, name: str) -> None:
    """Look whether at least one line of a dump is a message.

    Raises:
        SourceError: none is: it is another kind of file, of which nothing should be kept.
    """
    found = _one(connection, "lines_read")
    if found["lines"] and not found["messages"]:
        raise SourceError(
            f"{name}: none of its {found['lines']:,} lines is a message: JSON with topic and payload, or `topic "
            "payload` as mosquitto_sub -v prints. Nothing of it was stored; of what -F printed, say the --format."
        )


def judge(connection: duckdb.DuckDBPyConnection, mapping: PayloadMapping, *, source: str) -> Span:
    """Turn the messages into rows: readings, repeats among them, refusals, and messages that are ignored."""
    seen = query("topics_of_messages").frame(connection)
    routes = routes_of(mapping, seen.drop_nulls("topic").select("topic", "has_lists"), source=source)
    _keep(connection, "known_topics", routes.known)
    _keep(connection, "routed_topics", routes.routed)
    _keep(connection, "topic_rules", routes.pairs)
    _keep(connection, "staged_rules", routes.rules)
    if routes.rows is not None:
        _route(connection, pieces=routes.pieces)
        connection.execute(f"INSERT INTO temp.staged_rows BY NAME {routes.rows.text}", routes.rows.parameters)
    facts = _one(connection, "staged_span")
    if facts["gone"]:
        for name in ("gone_messages", "gone_drop", "gone_rows"):
            run(connection, name)
    judged = routes.known.filter(~pl.col("is_ignored"))["topic"]
    is_judged = seen["topic"].is_in(judged.implode()).fill_null(value=False)
    if not is_judged.all() or seen["has_faults"].any():
        run(connection, "rows_without_rule", others=mapping.others)
    run(connection, "repeats_staged")
    span = Span(first=facts["first"], last=facts["last"], has_undated=bool(facts["undated"]))
    if span.has_undated:
        run(connection, "echoes_staged")
    return span


def _route(connection: duckdb.DuckDBPyConnection, *, pieces: int) -> None:
    """Number the topics of the messages: once for all where many pieces look at them, else as each one does."""
    routed = query("messages_routed").text
    if pieces > _FEW_PIECES:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE routed_rows AS {routed}")
        routed = "SELECT * FROM temp.routed_rows"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW routed_messages AS {routed}")


def mark_repeats(connection: duckdb.DuckDBPyConnection, span: Span, *, source: str, replaced: Sequence[str]) -> None:
    """Mark the readings that the lake has already, in batches other than those that are `replaced`."""
    if span.first is not None:
        run(connection, "repeats_stored", source=source, first=span.first, last=span.last, replaced=list(replaced))
        if span.has_undated:
            run(connection, "echoes_stored", source=source, last=span.last, replaced=list(replaced))
    if span.has_undated:
        run(connection, "echoes")


def landings(connection: duckdb.DuckDBPyConnection, *, source: str, now: datetime) -> tuple[pl.DataFrame, Counts]:
    """Return the accounts of the batches as readings.segments, and what they come to."""
    accounts = query("landed_segments", source=source, now=now).frame(connection)
    names = ("rows_in", "stored", "duplicate", "quarantined", "ignored")
    return accounts, Counts(**{name: int(accounts[name].sum()) for name in names})


def landed_queries(source: Source, *, now: datetime) -> dict[str, Query]:
    """Return the queries of readings.raw, .quarantine and .landings over the temp tables."""
    delay = timedelta(minutes=source.reporting_delay_minutes)
    return {
        "raw": query("landed_raw", source=source.name, now=now, delay=delay),
        "quarantine": query("landed_quarantine", source=source.name, now=now),
        "landings": query("landed_account", source=source.name, now=now),
    }


def registry(
    connection: duckdb.DuckDBPyConnection, mapping: PayloadMapping, *, source: str, known: pl.DataFrame
) -> Registry:
    """Return sites, premises and meters of the staged rows that `known` (metering.meters) does not have as they are."""
    kinds = {"commodity": "electricity", "direction": "consumption"}
    stated = [kinds | rule.stated() for rule in mapping.messages]
    facts = pl.DataFrame(
        [(number, *(each[name] for name in _TOLD)) for number, each in enumerate(stated)],
        schema={"rule": pl.Int32} | {name: known.schema[name] for name in _TOLD},
        orient="row",
    )
    seen = query("meters_seen").frame(connection).join(facts, on="rule")
    same = known.select("meter_id", *_TOLD, known_from="valid_from_utc")
    had = seen.join(same, on=["meter_id", *_TOLD]).filter(pl.col("known_from") <= pl.col("valid_from_utc"))
    new = seen.join(had, on="meter_id", how="anti").select("meter_id", "valid_from_utc", "rule")
    declared = {meter: stated[rule] for meter, _, rule in new.iter_rows()}
    places = Mapping(
        layout="long",
        time=TimeFormat(columns=("time",), zone=mapping.zone or "UTC"),
        values=(ValueColumns(column="value"),),
        site=mapping.site,
    )
    return declared_meters.made_registry(new.drop("rule"), declared=declared, mapping=places, source=source)


def query(name: str, **parameters: object) -> Query:
    """Return a query of this package's sql folder."""
    return Query.from_file(_PACKAGE, name, **parameters)


def run(connection: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> None:
    """Run a statement of this package's sql folder."""
    connection.execute(query(name).text, parameters)


def _one(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, Any]:
    return query(name).frame(connection).row(0, named=True)


def _keep(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    connection.register("incoming_rows", rows)
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM incoming_rows")
    finally:
        connection.unregister("incoming_rows")


def _add_segment(connection: duckdb.DuckDBPyConnection, number: int, batch: Batch) -> None:
    """Read one segment in Python: slower, but a line may have any length, and damage is named."""
    rows = []
    for line_number, record in enumerate(read_segment(Path(batch.path)), start=1):
        payload, encoding, fault = record.payload, None, None
        if len(payload) > _LONGEST_PAYLOAD_BYTES:
            payload, fault = payload[:1000], "too_large"
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            text, encoding = payload.hex(), "hex"
        if "\0" in text:
            text, encoding = payload.hex(), "hex"
        arrived = record.arrived_at_utc
        rows.append(
            (
                number,
                line_number,
                record.packet_id,
                arrived,
                arrived,
                record.retained,
                record.duplicate,
                record.topic,
                text,
                encoding,
                fault,
            )
        )
    add_frame(connection, pl.DataFrame(rows, schema=FRAME_COLUMNS, orient="row"))
