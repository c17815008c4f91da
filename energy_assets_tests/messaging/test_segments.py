"""Segments: any message comes back as it was, torn tails are cut, the cursor passes nothing unread."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.errors import SourceError
from energy_assets.messaging.segments import (
    Record,
    Segment,
    SegmentWriter,
    _frames,
    expire,
    is_whole,
    read_segment,
    record_line,
    repair,
    seal,
    sealed_segments,
    segments,
    sequence_after,
)

NOW = datetime(2026, 11, 21, 4, 45, 30, 120_000, tzinfo=UTC)
PAYLOADS = [
    b'{"power": 1.5}',
    b"",
    b"\xff\xfe not UTF-8",
    b"with\x00NUL",
    'é \u2028 \x85 \n\r\x1c\x7f " \\ 🔌'.encode(),
    b"not JSON",
]


def _record(sequence: int, payload: bytes, *, topic: str = "energy/é/power") -> Record:
    return Record(sequence, NOW, topic, payload, 1, sequence % 2 == 0, sequence % 3 == 0)


def _written(folder: Path, payloads: list[bytes], *, client: str = "r", first: int = 10) -> SegmentWriter:
    """Write a frame for each payload."""
    writer = SegmentWriter(folder, client=client, first_sequence=first, now=NOW)
    for number, payload in enumerate(payloads):
        writer.append(record_line(_record(first + number, payload)).encode(), records=1)
    writer.close()
    return writer


def test_a_segment_is_whole_only_where_a_frame_ends(tmp_path: Path) -> None:
    writer = _written(tmp_path, [b"x" * 900, b"", os.urandom(600)])
    content = writer.path.read_bytes()
    frames = [size for size, _ in _frames(writer.path)]
    cuts = [size for size in range(len(content) + 1) if _cut_is_whole(tmp_path / "cut", content[:size])]
    assert cuts == [0, frames[0], sum(frames[:2]), sum(frames)]
    assert not _cut_is_whole(tmp_path / "cut", content + b"\x00")
    assert not _cut_is_whole(tmp_path / "cut", b"no zstd" + content)


def test_a_frame_of_many_blocks_is_whole(tmp_path: Path) -> None:
    writer = _written(tmp_path, [os.urandom(700_000), b"x" * 1_000_000])
    assert is_whole(writer.path)
    assert not _cut_is_whole(tmp_path / "cut", writer.path.read_bytes()[:-1])


def _cut_is_whole(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    return is_whole(path)


def test_messages_come_back_as_they_were(tmp_path: Path) -> None:
    writer = _written(tmp_path, PAYLOADS)
    expected = [_record(10 + number, payload) for number, payload in enumerate(PAYLOADS)]
    assert list(read_segment(writer.path)) == expected
    sealed = seal(writer.path)
    assert sealed is not None
    assert sealed.path.name == "r-20261121T044530Z-0000000000000010.jsonl.zst"
    assert list(read_segment(sealed.path)) == expected
    assert sequence_after(sealed) == 16


@given(payload=st.binary(max_size=200), topic=st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_any_payload_and_topic_is_one_line_that_duckdb_reads(
    payload: bytes, topic: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("s")
    record = _record(10, payload, topic=topic)
    assert record_line(record).count("\n") == 1
    writer = SegmentWriter(folder, client="r", first_sequence=10, now=NOW)
    writer.append((record_line(record) + record_line(record)).encode(), records=2)
    writer.close()
    assert list(read_segment(writer.path)) == [record, record]
    sealed = seal(writer.path)
    assert sealed is not None
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT topic, CASE WHEN encoding = 'base64' THEN from_base64(payload) ELSE encode(payload) END "
            "FROM read_json($path, format = 'newline_delimited', compression = 'zstd', columns = "
            "{topic: 'VARCHAR', payload: 'VARCHAR', encoding: 'VARCHAR'})",
            {"path": str(sealed.path)},
        ).fetchall()
    assert rows == [(topic, payload)] * 2


def test_torn_tail_is_cut_wherever_it_is_torn(tmp_path: Path) -> None:
    writer = _written(tmp_path, PAYLOADS[:3])
    whole = writer.path.read_bytes()
    writer.path.unlink()
    ends = [number for number in range(len(whole)) if whole[number:].startswith(b"\x28\xb5\x2f\xfd")][1:]
    assert len(ends) == 2
    for size in range(len(whole)):
        path = tmp_path / f"r-20261121T044530Z-{size:016d}.jsonl.zst.open"
        path.write_bytes(whole[:size])
        sealed = repair(path)
        frames = sum(size >= end for end in ends)
        assert (0 if sealed is None else len(list(read_segment(sealed.path)))) == frames
        torn = path.with_name(path.name.replace(".jsonl.zst.open", ".torn"))
        assert torn.exists() == (size not in {0, *ends}), "what is cut is kept"
        assert not path.exists()


def test_no_flipped_bit_in_a_sealed_segment_gives_a_wrong_record(tmp_path: Path) -> None:
    """It is an error after the sound records, or a bit of a frame's header on which nothing hangs."""
    sealed = seal(_written(tmp_path, PAYLOADS).path)
    assert sealed is not None
    whole = sealed.path.read_bytes()
    for place in range(len(whole) * 8):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        sealed.path.write_bytes(content)
        found: list[Record] = []
        try:
            found.extend(read_segment(sealed.path))
        except SourceError as error:
            assert "damaged after byte" in str(error)  # noqa: PT017
            assert sequence_after(sealed) is None
        assert [record.payload for record in found] == PAYLOADS[: len(found)]


def test_a_clock_set_back_hides_no_sealed_segment(tmp_path: Path) -> None:
    names = [
        "a-20261121T050000Z-0000000000000001.jsonl.zst",
        "a-20260101T000000Z-0000000000000050.jsonl.zst",  # the clock was set back
        "a-20261121T060000Z-0000000000000090.jsonl.zst.open",
        "b-x-20261121T050000Z-0000000000000007.jsonl.zst",
        "a.lock",
        "a.health.json",
        "a-20261121T050000Z-0000000000000001.torn",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    found = sealed_segments(tmp_path)
    assert [(segment.client, segment.first_sequence) for segment in found] == [("a", 1), ("a", 50), ("b-x", 7)]
    assert sealed_segments(tmp_path / "absent") == []


def test_only_what_is_landed_and_old_expires(tmp_path: Path) -> None:
    names = {}
    for sequence, days in {1: 9, 2: 9, 3: 2, 4: 9, 5: 9}.items():
        opened = (NOW - timedelta(days=days)).strftime("%Y%m%dT%H%M%SZ")
        suffix = ".open" if sequence == 5 else ""
        names[sequence] = f"a-{opened}-{sequence:016d}.jsonl.zst{suffix}"
        (tmp_path / names[sequence]).write_bytes(b"x")

    def expired(*landed: int) -> list[int]:
        gone = expire(tmp_path, landed={names[number] for number in landed}, keep_days=7, keep_messages=0, now=NOW)
        return [Segment.from_path(path).first_sequence for path in gone]  # type: ignore[union-attr]

    assert expired() == []
    # 1 is landed and old; 2 is old and not landed; 3 is young; 4 is the last that is sealed; 5 is open
    assert expired(1) == [1]
    assert expired(1, 2, 3, 4, 5) == [2]
    assert [segment.first_sequence for segment in segments(tmp_path)] == [3, 4, 5]


def test_the_last_messages_stay(tmp_path: Path) -> None:
    names = [f"a-20260101T000000Z-{sequence:016d}.jsonl.zst" for sequence in (1, 100, 200)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    gone = expire(tmp_path, landed=set(names), keep_days=1, keep_messages=100, now=NOW)
    assert [path.name for path in gone] == names[:1]


def test_empty_segment_leaves_no_file(tmp_path: Path) -> None:
    writer = _written(tmp_path, [])
    assert seal(writer.path) is None
    assert os.listdir(tmp_path) == []
