"""The quarantine read again: which messages, which parts of them, and what the account is afterwards.

A refused row holds its message (or, where several rows of one were refused, its first holds it). A message is replayed
whole; of what it gives now, rows that were stored when it came are left out, so that the account stays exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce

import duckdb
import polars as pl

from energy_assets.contracts import READINGS_LANDINGS, READINGS_QUARANTINE, READINGS_SEGMENTS
from energy_assets.messaging.staging import run
from energy_assets.readings.source import Counts

_ROWS_AT_ONCE = 100_000
_UNREADABLE = ("bad_line", "too_large")
_MESSAGE = pl.Struct(
    {
        "topic": pl.String,
        "row": pl.Int64,
        "position": pl.Int64,
        "payload": pl.String,
        "encoding": pl.String,
        "arrived_at_us": pl.Int64,
        "at_us": pl.Int64,
        "retained": pl.Boolean,
    }
)
_COUNTS = ("rows_in", "stored", "duplicate", "quarantined")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Refused rows that leave the quarantine at once, whole batches of them, and the messages to read again.

    `positions` has batch, line_number and the positions to which a message is limited (null: all of it).
    """

    batch_ids: tuple[str, ...]
    rows: pl.DataFrame
    messages: pl.DataFrame
    positions: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What a replay did: rows that were looked at again, and what the messages gave."""

    rows: int
    stored: int
    duplicate: int
    quarantined: int
    ignored: int

    @classmethod
    def of(cls, counts: Counts, *, left: int) -> Replayed:
        """Return what became of `left` rows."""
        return cls(
            rows=left,
            stored=counts.stored,
            duplicate=counts.duplicate,
            quarantined=counts.quarantined,
            ignored=counts.ignored,
        )

    def plus(self, other: Replayed) -> Replayed:
        """Return both together."""
        return Replayed(
            rows=self.rows + other.rows,
            stored=self.stored + other.stored,
            duplicate=self.duplicate + other.duplicate,
            quarantined=self.quarantined + other.quarantined,
            ignored=self.ignored + other.ignored,
        )


NOTHING = Replayed(rows=0, stored=0, duplicate=0, quarantined=0, ignored=0)


def chunks_of(refused: pl.DataFrame, *, reason: str | None) -> Iterator[Chunk]:
    """Yield the messages of refused rows (readings.quarantine of one source), whole batches in a chunk.

    `reason`: only messages of which a row was refused for it.
    """
    wanted = (
        refused
        if reason is None
        else refused.filter((pl.col("reason") == reason).any().over("batch_id", "line_number"))
    )
    sizes = wanted.group_by("batch_id").len().sort("batch_id")
    group: list[str] = []
    size = 0
    for batch_id, rows in sizes.iter_rows():
        if group and size + rows > _ROWS_AT_ONCE:
            yield _chunk(wanted, group)
            group, size = [], 0
        group.append(batch_id)
        size += rows
    if group:
        yield _chunk(wanted, group)


def _chunk(wanted: pl.DataFrame, batch_ids: list[str]) -> Chunk:
    numbers = pl.DataFrame({"batch_id": batch_ids}).with_row_index("batch")
    rows = wanted.join(numbers, on="batch_id")
    parts = rows.with_columns(message=pl.col("payload").str.json_decode(_MESSAGE)).drop("payload").unnest("message")
    at = ("batch", "line_number")
    positions = parts.group_by(at).agg(
        positions=pl.when(pl.col("position").null_count() == 0).then(pl.col("position").implode())
    )
    first = parts.filter(pl.col("row") == 1).unique(at)
    messages = first.select(
        *at,
        packet_id=pl.lit(None, dtype=pl.UInt16),
        arrived_at_utc=pl.col("arrived_at_us").cast(pl.Datetime("us", "UTC")),
        at_utc=pl.col("at_us").cast(pl.Datetime("us", "UTC")),
        retained="retained",
        duplicate=pl.lit(value=False),
        topic="topic",
        payload="payload",
        encoding="encoding",
        fault=pl.when(pl.col("reason").is_in(_UNREADABLE)).then("reason"),
    )
    return Chunk(batch_ids=tuple(batch_ids), rows=rows.drop("batch"), messages=messages, positions=positions)


def keep_positions(connection: duckdb.DuckDBPyConnection, chunk: Chunk, *, source: str, delay: timedelta) -> None:
    """Drop the staged rows that are not to be counted again: other positions, and what was stored when it came."""
    connection.register("incoming_rows", chunk.positions)
    try:
        connection.execute("CREATE OR REPLACE TEMP TABLE replayed_messages AS SELECT * FROM incoming_rows")
    finally:
        connection.unregister("incoming_rows")
    run(connection, "replay_positions")
    run(connection, "replay_stored", source=source, delay=delay)
    run(connection, "replay_left")


def others_of(refused: pl.DataFrame, chunk: Chunk) -> pl.DataFrame:
    """Return the refused rows that a replay leaves as they are."""
    return READINGS_QUARANTINE.conform(refused.join(chunk.rows, on=READINGS_QUARANTINE.key, how="anti"))


def accounts_after(old: pl.DataFrame, fresh: pl.DataFrame, *, chunk: Chunk, now: datetime) -> pl.DataFrame:
    """Return readings.segments after a replay: refused rows gone, what their messages gave added."""
    left = chunk.rows.group_by("batch_id").agg(gone=pl.len().cast(pl.Int64))
    names = (*_COUNTS, "ignored")
    new = fresh.select("batch_id", *(pl.col(name).cast(pl.Int64).alias(f"new_{name}") for name in names))
    after = old.join(left, on="batch_id", how="left", validate="1:1").join(
        new, on="batch_id", how="left", validate="1:1"
    )
    filled = after.with_columns(pl.col("gone", *(f"new_{name}" for name in names)).fill_null(0))
    return READINGS_SEGMENTS.conform(
        filled.with_columns(
            *(pl.col(name) + pl.col(f"new_{name}") for name in ("stored", "duplicate", "ignored")),
            *(pl.col(name) + pl.col(f"new_{name}") - pl.col("gone") for name in ("rows_in", "quarantined")),
            landed_at_utc=pl.lit(now).cast(pl.Datetime("us", "UTC")),
        ).select(READINGS_SEGMENTS.column_names)
    )


def days_after(old: pl.DataFrame, fresh: pl.DataFrame, *, chunk: Chunk, now: datetime) -> pl.DataFrame:
    """Return readings.landings after a replay, by batch and day; fingerprints of content add up by exclusive or."""
    day = pl.col("starts_at_utc").dt.truncate("1d")
    left = chunk.rows.group_by("source", "batch_id", starts_at_utc=day).agg(quarantined=-pl.len().cast(pl.Int64))
    gone = left.with_columns(
        rows_in="quarantined",
        stored=pl.lit(0, dtype=pl.Int64),
        duplicate=pl.lit(0, dtype=pl.Int64),
        content_hash=pl.lit("0"),
        landed_at_utc=pl.lit(now).cast(pl.Datetime("us", "UTC")),
    )
    every = pl.concat([READINGS_LANDINGS.conform(each) for each in (old, fresh, gone)])
    summed = every.group_by("source", "batch_id", "starts_at_utc").agg(
        *(pl.col(name).sum() for name in _COUNTS),
        "content_hash",
        landed_at_utc=pl.lit(now).cast(pl.Datetime("us", "UTC")),
    )
    hashes = [f"{reduce(lambda one, other: one ^ int(other, 16), each, 0):016x}" for each in summed["content_hash"]]
    return READINGS_LANDINGS.conform(
        summed.with_columns(pl.Series("content_hash", hashes, dtype=pl.String)).filter(pl.col("rows_in") > 0)
    )
