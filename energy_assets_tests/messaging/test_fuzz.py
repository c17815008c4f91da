"""A hundred thousand mutated messages through every built-in mapping at once: each is accounted for, exactly."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl

from energy_assets.contracts import READINGS_LANDINGS, READINGS_QUARANTINE, READINGS_RAW, READINGS_SEGMENTS
from energy_assets.lake import Lake
from energy_assets.message_landing import land_segments, replay_quarantine
from energy_assets.messaging import staging
from energy_assets.messaging.payloads import BUILT_IN, load_payload_mapping
from energy_assets.messaging.segments import sealed_segments
from energy_assets_tests.messaging.spooling import record, spool_source, write_segment
from energy_assets_tests.messaging.test_built_in_mappings import CASES

MESSAGES = 100_000
NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
PIECES = (
    *(b"null", b"true", b"-1", b"1e999", b"[]", b"{}", b'""', b"[", b"}", b'"', b"\\", b"\x00", b"\xff", b"NaN", b"0"),
    *(b",", b"\n", b"2026-13-45", b"9" * 400, "é€𝄞".encode()),
)


def samples() -> list[tuple[str, bytes]]:
    """Return the topics and payloads of the tests of the built-in mappings."""
    found = []
    for case in CASES:
        _, topic, payload, _ = case.values
        found.append((topic, payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()))
    return found


def mutated(payload: bytes, chance: random.Random) -> bytes:
    """Return a payload with a few bytes cut, doubled, changed, or put in."""
    text = bytearray(payload)
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(text) + 1)
        match chance.randrange(5):
            case 0:
                del text[place : place + chance.randrange(1, 6)]
            case 1:
                text[place:place] = text[max(0, place - 8) : place]
            case 2:
                text[place : place + 1] = bytes([chance.randrange(256)])
            case 3:
                text[place:place] = chance.choice(PIECES)
            case _:
                text[place:] = chance.choice(PIECES)
    return bytes(text)


def mutated_topic(topic: str, chance: random.Random) -> str:
    """Return the topic, or in one of ten cases another that resembles it."""
    if chance.random() < 0.9:
        return topic
    levels = topic.split("/")
    place = chance.randrange(len(levels))
    levels[place] = chance.choice(["", "#", "+", "$SYS", levels[place] * 2, "Ω{meter}", "a\nb", "' OR 1=1 --"])
    return "/".join(levels[: chance.randrange(1, len(levels) + 1)] if chance.random() < 0.3 else levels)


def fuzzed(seed: int) -> Iterator[tuple[str, bytes]]:
    chance = random.Random(seed)
    known = samples()
    for _ in range(MESSAGES):
        topic, payload = chance.choice(known)
        yield mutated_topic(topic, chance), mutated(payload, chance)


def test_every_mutated_message_is_accounted_for(tmp_path: Path, lake: Lake) -> None:
    mapping = tmp_path / "all.toml"
    mapping.write_text(f"include = {json.dumps(sorted(file.stem for file in BUILT_IN.glob('*.toml')))}\n")
    chance = random.Random(2)
    records = [
        record(
            number,
            topic,
            payload,
            at_s=number / 100,
            duplicate=chance.random() < 0.02,
            retained=chance.random() < 0.05,
            packet_id=number % 997 + 1,
        )
        for number, (topic, payload) in enumerate(fuzzed(1))
    ]
    for start in range(0, MESSAGES, MESSAGES // 4):
        write_segment(tmp_path / "spool", records[start : start + MESSAGES // 4])
    assert_every_message_gives_a_row(tmp_path / "spool", mapping)
    source = spool_source(tmp_path / "spool", mapping)
    counts = land_segments(lake, source, now=NOW)
    assert counts.is_balanced
    assert min(counts.stored, counts.duplicate, counts.quarantined, counts.ignored) > 1000
    assert_exact(lake)

    replayed = replay_quarantine(lake, source, now=NOW)
    assert (replayed.rows, replayed.stored) == (counts.quarantined, 0)
    assert_exact(lake)
    assert land_segments(lake, source, now=NOW).rows_in == 0


def assert_every_message_gives_a_row(spool: Path, mapping: Path) -> None:
    batches = [staging.Batch.of_segment(each) for each in sealed_segments(spool)]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        staging.begin(connection, batches)
        staging.add_segments(connection, batches)
        staging.judge(connection, load_payload_mapping(mapping), source="s")
        rows = connection.execute("SELECT count(DISTINCT (batch, line_number)) FROM temp.staged_rows").fetchone()
    assert rows == (MESSAGES,)


def assert_exact(lake: Lake) -> None:
    """Every message is in the account, and the tables hold what the account says, without a repeated key."""
    segments = lake.read(READINGS_SEGMENTS).select(pl.exclude("source", "batch_id", "segment", "landed_at_utc").sum())
    account = segments.row(0, named=True)
    assert account["messages"] == MESSAGES
    parts = account["stored"] + account["duplicate"] + account["quarantined"] + account["ignored"]
    assert account["rows_in"] == parts >= MESSAGES
    assert lake.count(READINGS_RAW) == account["stored"]
    assert lake.count(READINGS_QUARANTINE) == account["quarantined"]
    assert lake.read(READINGS_LANDINGS)["rows_in"].sum() == parts - account["ignored"]
    raw, refused = lake.read(READINGS_RAW), lake.read(READINGS_QUARANTINE)
    assert raw.select(READINGS_RAW.key).is_duplicated().sum() == 0
    assert refused.select(READINGS_QUARANTINE.key).is_duplicated().sum() == 0
    assert raw.select(pl.col("value").is_finite().all()).item()
