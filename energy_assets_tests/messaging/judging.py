"""Judges sample messages by a mapping, as `energy mapping test` does, and gives the rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from energy_assets.messaging import dumps, staging
from energy_assets.messaging.payloads import load_payload_mapping
from energy_assets.readings.source import Counts

NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)
AT = "2026-11-21T06:00:00Z"
Row = tuple[object, ...]


def judged(
    folder: Path, mapping: str | Path, *messages: tuple[str, object], **more: object
) -> tuple[list[Row], Counts]:
    """Return meter, time, value and outcome (None: a reading) of each row, in order, and the account."""
    lines = []
    for number, (topic, payload) in enumerate(messages, start=1):
        text = payload if isinstance(payload, str) else json.dumps(payload)
        lines.append(json.dumps({"sequence": number, "arrived_at_utc": AT, "topic": topic, "payload": text, **more}))
    (folder / "dump.jsonl").write_text("\n".join(lines) + "\n")
    return judged_file(folder / "dump.jsonl", mapping)


def judged_file(file: Path, mapping: str | Path, *, form: str | None = None) -> tuple[list[Row], Counts]:
    """Return the same of a dump."""
    loaded = load_payload_mapping(Path(mapping))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        staging.begin(connection, [staging.Batch(batch_id="b", name="dump")])
        for frame in dumps.read_dump(file, mapping=loaded, form=form):
            staging.add_frame(connection, frame)
        span = staging.judge(connection, loaded, source="s")
        alone = staging.Span(first=None, last=None, has_undated=span.has_undated)
        staging.mark_repeats(connection, alone, source="s", replaced=[])
        accounts, counts = staging.landings(connection, source="s", now=NOW)
        assert counts.is_balanced
        rows = connection.execute(
            "SELECT meter_id, strftime(starts_at_utc, '%m-%d %H:%M:%S'), value, "
            "coalesce(reason, gone, CASE WHEN is_repeat THEN 'repeat' END) "
            "FROM temp.staged_rows ORDER BY line_number, rule, position"
        ).fetchall()
        messages = connection.execute("SELECT count(DISTINCT line_number) FROM temp.staged_rows").fetchone()
        assert messages == (accounts["messages"][0],), "every message gives a row"
        assert len(rows) == counts.rows_in
    return rows, counts
