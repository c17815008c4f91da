"""The segment: the file format in which the recorder keeps messages and from which they are ingested.

A segment is JSON lines in zstd frames, one frame with a checksum for each batch that was made durable at once. Writing
it batch by batch, reading it, finding sealed ones and cutting a torn tail belong here; when to flush and when to seal
is the spool's business, what the payloads mean is the mapping's.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from pathlib import Path
from typing import NamedTuple

import zstandard

from energy_assets.errors import SourceError

SEALED = ".jsonl.zst"
OPEN = ".jsonl.zst.open"
TORN = ".torn"

_NAME = re.compile(r"(?P<client>.+)-(?P<opened>\d{8}T\d{6}Z)-(?P<sequence>\d+)\.jsonl\.zst(?P<open>\.open)?")
_OPENED = "%Y%m%dT%H%M%SZ"
_SMALLEST_FRAME = 9
_READ_BYTES = 1 << 16  # what follows a frame in it is copied once a frame


class Record(NamedTuple):
    """One message as it arrived.

    `sequence` grows by one with each record of a client, across restarts; `duplicate` is MQTT's flag, a hint of the
    broker and not a judgement; the payload is the very bytes. `packet_id` is that of the delivery: a redelivery has the
    one of the delivery that it repeats. None at QoS 0, and in segments of before it was kept.
    """

    sequence: int
    arrived_at_utc: datetime
    topic: str
    payload: bytes
    qos: int
    retained: bool
    duplicate: bool
    packet_id: int | None = None


@dataclass(frozen=True, order=True)
class Segment:
    """One file of a spool, by its name `<client>-<utc>-<sequence of its first record>`; ordered as it was written."""

    client: str
    first_sequence: int
    opened_at_utc: datetime
    path: Path
    is_sealed: bool

    @classmethod
    def from_path(cls, path: Path) -> Segment | None:
        """Return the segment that a path names, or None where it names something else."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        return cls(
            client=match["client"],
            first_sequence=int(match["sequence"]),
            opened_at_utc=datetime.strptime(match["opened"], _OPENED).replace(tzinfo=UTC),
            path=path,
            is_sealed=match["open"] is None,
        )


def segments(folder: Path) -> list[Segment]:
    """Return all segments of a folder, open and sealed, ordered by client and sequence; empty where it is missing."""
    if not folder.is_dir():
        return []
    return sorted(segment for path in folder.iterdir() if (segment := Segment.from_path(path)) is not None)


def sealed_segments(folder: Path) -> list[Segment]:
    """Return the sealed segments in a folder, ordered by client and sequence: a clock that jumps hides none."""
    return [segment for segment in segments(folder) if segment.is_sealed]


def expire(folder: Path, *, landed: Container[str], keep_days: float, keep_messages: int, now: datetime) -> list[Path]:
    """Delete the sealed segments, named in `landed`, that are older than `keep_days`; return their paths.

    Segments within a client's last `keep_messages` stay, and what was not landed is never deleted, however old it is.
    """
    oldest = now - timedelta(days=keep_days)
    present = sealed_segments(folder)
    last = {segment.client: segment.first_sequence for segment in present}
    expired = [
        segment.path
        for segment in present
        if segment.path.name in landed
        and segment.first_sequence < last[segment.client] - keep_messages
        and segment.opened_at_utc < oldest
    ]
    for path in expired:
        path.unlink()
    return expired


def record_line(record: Record) -> str:
    """Return the JSON line of a record: UTF-8 text as it is, anything else (and text with NUL) as base64, so marked."""
    head = line_head(record.arrived_at_utc, qos=record.qos, is_retained=record.retained, is_duplicate=record.duplicate)
    text, encoding = payload_text(record.payload)
    packet_id = "null" if record.packet_id is None else record.packet_id
    topic = encode_basestring(record.topic)
    return line((record.sequence, packet_id), head, topic, encode_basestring(text), encoding)


def line(numbers: tuple[int, int | str], head: str, topic: str, payload: str, encoding: str) -> str:
    """Return a line from sequence and packet identifier, and parts that are JSON already."""
    sequence, packet_id = numbers
    return f'{{"sequence":{sequence},"packet_id":{packet_id}{head}{topic},"payload":{payload},"encoding":{encoding}}}\n'


def line_head(arrived_at_utc: datetime, *, qos: int, is_retained: bool, is_duplicate: bool) -> str:
    """Return the part of a line between packet identifier and topic, which messages that arrive together share."""
    return (
        f',"arrived_at_utc":"{arrived_at_utc.isoformat(timespec="microseconds")[:26]}Z","qos":{qos},'
        f'"retained":{"true" if is_retained else "false"},"duplicate":{"true" if is_duplicate else "false"},"topic":'
    )


def payload_text(payload: bytes) -> tuple[str, str]:
    """Return a payload as text, and the JSON value that says how it is encoded (`null` or `"base64"`)."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode(), '"base64"'
    if "\0" in text:
        return base64.b64encode(payload).decode(), '"base64"'
    return text, "null"


class SegmentWriter:
    """Appends batches to one open segment; what `append` has returned from survives a power cut.

    An `OSError` of `append` leaves a tail of unknown state: close, `cut` to `durable_bytes` and `seal`, then write the
    batch again to a new segment. (After a failed fdatasync a second one may succeed without having written anything.)
    """

    def __init__(self, folder: Path, *, client: str, first_sequence: int, now: datetime, level: int = 1) -> None:
        name = f"{client}-{now.strftime(_OPENED)}-{first_sequence:016d}"
        self.path = folder / f"{name}{OPEN}"
        self.records = 0
        self.text_bytes = 0
        self.durable_bytes = 0
        self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o640)
        try:
            sync_folder(folder)
        except OSError:
            os.close(self._file)
            self.path.unlink()
            raise

    def append(self, lines: bytes, *, records: int) -> None:
        """Write lines as one frame and return once they are on disk.

        Raises:
            OSError: the disk is full, the device broken or the file deleted; nothing may be acknowledged.
        """
        frame = memoryview(self._compressor.compress(lines))
        size = len(frame)
        while frame:
            frame = frame[os.write(self._file, frame) :]
        os.fdatasync(self._file)
        if not os.fstat(self._file).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "The open segment was deleted", str(self.path))
        self.durable_bytes += size
        self.text_bytes += len(lines)
        self.records += records

    def close(self) -> None:
        """Close the file, which keeps its open name; `seal` it, or after a failed append `cut` it first."""
        os.close(self._file)


def cut(path: Path, *, size: int) -> None:
    """Cut a segment to its durable part, durably."""
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def seal(path: Path) -> Segment | None:
    """Rename an open segment to its sealed name, durably; an empty one is deleted and gives None."""
    if path.stat().st_size == 0:
        path.unlink()
        return None
    sealed = path.with_name(path.name.removesuffix(OPEN) + SEALED)
    path.rename(sealed)
    sync_folder(path.parent)
    return Segment.from_path(sealed)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def repair(path: Path) -> Segment | None:
    """Cut the torn tail of an open segment that nobody writes any more, and seal it.

    What is cut was never acknowledged; it is kept beside the segment with the suffix `.torn` all the same.
    """
    sound = sum(size for size, _ in _frames(path))
    if sound < path.stat().st_size:
        with path.open("rb") as file:
            file.seek(sound)
            path.with_name(path.name.removesuffix(OPEN) + TORN).write_bytes(file.read())
        cut(path, size=sound)
    return seal(path)


def sequence_after(segment: Segment) -> int | None:
    """Return the sequence that follows a segment's last record, or None where damage hides it."""
    read, last = 0, b""
    for size, lines in _frames(segment.path):
        read, last = read + size, lines
    if read < segment.path.stat().st_size:
        return None
    return segment.first_sequence if not last else _parsed(last.splitlines()[-1], segment.path).sequence + 1


def is_whole(path: Path) -> bool:
    """Tell whether a segment ends where a frame does; nothing is decompressed (RFC 8878, 3.1.1).

    A reader that takes the end of a file for the end of its last frame would lose what is missing without a word.
    """
    content = path.read_bytes()
    end, size = 0, len(content)
    while end < size:
        if size - end < _SMALLEST_FRAME or content[end : end + 4] != zstandard.FRAME_HEADER:
            return False
        described = content[end + 4]
        is_single = bool(described & 0x20)
        end += 5 + (not is_single) + (0, 1, 2, 4)[described & 3] + (int(is_single), 2, 4, 8)[described >> 6]
        is_last = False
        while not is_last and end + 3 <= size:
            block = int.from_bytes(content[end : end + 3], "little")
            is_last, is_repeated = bool(block & 1), block >> 1 & 3 == 1
            end += 3 + (1 if is_repeated else block >> 3)
        if not is_last:
            return False
        end += 4 if described & 4 else 0
    return end == size


def read_segment(path: Path) -> Iterator[Record]:
    """Give the records of a sealed segment in order, or those of the sound frames of an open one.

    Raises:
        SourceError: a frame of a sealed segment does not pass its checksum, or a line is not a record.
    """
    read = 0
    for size, lines in _frames(path):
        read += size
        for text in lines.splitlines():
            yield _parsed(text, path)
    if path.name.endswith(SEALED) and read < path.stat().st_size:
        raise SourceError(
            f"The segment {path} is damaged after byte {read:,}: a frame does not pass its checksum. Restore it from a "
            "copy, or cut it there; the records before that byte are sound."
        )


def _parsed(text: bytes, path: Path) -> Record:
    try:
        fields = json.loads(text)
        payload = fields["payload"]
        return Record(
            sequence=fields["sequence"],
            arrived_at_utc=datetime.fromisoformat(fields["arrived_at_utc"]),
            topic=fields["topic"],
            payload=base64.b64decode(payload) if fields["encoding"] == "base64" else payload.encode(),
            qos=fields["qos"],
            retained=fields["retained"],
            duplicate=fields["duplicate"],
            packet_id=fields.get("packet_id"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"The segment {path} holds a line that is no record: {text[:200]!r} ({error!r}).") from error


def _frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give the size and content of each frame up to the first that is torn or fails its checksum."""
    decompressor = zstandard.ZstdDecompressor()
    rest = b""
    with path.open("rb") as file:
        while True:
            frame = decompressor.decompressobj(read_across_frames=False)
            size, parts = 0, []
            while not frame.eof:
                chunk = rest or file.read(_READ_BYTES)
                if not chunk:
                    return
                try:
                    parts.append(frame.decompress(chunk))
                except zstandard.ZstdError:
                    return
                rest = frame.unused_data
                size += len(chunk) - len(rest)
            yield size, b"".join(parts)
