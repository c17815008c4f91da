"""Writes spools as a recorder leaves them, without a recorder: for tests of what is landed from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from energy_assets.messaging.segments import Record, SegmentWriter, record_line, seal
from energy_assets.readings.source import Source

START = datetime(2026, 11, 21, 6, tzinfo=UTC)


def record(
    sequence: int,
    topic: str,
    payload: object,
    *,
    at_s: float | None = None,
    packet_id: int | None = None,
    duplicate: bool = False,
    retained: bool = False,
) -> Record:
    """Return a message that arrived at so many seconds; by default one a second, each of a delivery of its own."""
    text = (
        payload
        if isinstance(payload, bytes)
        else (payload if isinstance(payload, str) else json.dumps(payload)).encode()
    )
    return Record(
        sequence,
        START + timedelta(seconds=sequence if at_s is None else at_s),
        topic,
        text,
        1,
        retained,
        duplicate,
        sequence % 60_000 + 1 if packet_id is None else packet_id,
    )


def write_segment(folder: Path, records: Sequence[Record], *, client: str = "recorder") -> Path:
    """Write a sealed segment and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    first = records[0]
    writer = SegmentWriter(folder, client=client, first_sequence=first.sequence, now=first.arrived_at_utc)
    for start in range(0, len(records), 500):
        part = records[start : start + 500]
        writer.append("".join(record_line(each) for each in part).encode(), records=len(part))
    writer.close()
    sealed = seal(writer.path)
    assert sealed is not None
    return sealed.path


def spool_source(folder: Path, mapping: str | Path, **more: object) -> Source:
    """Return the source of a spool."""
    return Source(name="s", kind="mqtt", path=folder, mapping=Path(mapping), **more)  # type: ignore[arg-type]
