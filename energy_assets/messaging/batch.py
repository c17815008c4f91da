"""What has arrived and is not yet on disk: the lines to write, and the packet identifiers to acknowledge after that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from json.encoder import encode_basestring

from energy_assets.messaging.codec import DUPLICATE_BIT, QOS_BITS, RETAINED_BIT, Packet
from energy_assets.messaging.segments import line, line_head, payload_text

_TOPICS_KEPT = 200_000


class Batch:
    """Grows by packets until it is stored; counts what it took."""

    def __init__(self) -> None:
        self.packet_ids: list[bytes] = []
        self.payload_bytes = 0
        self.duplicates_flagged = 0
        self.first_arrival_s = 0.0
        self._lines: list[str] = []
        self._topics: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def extend(self, packets: Sequence[Packet], *, sequence: int, arrived_at_utc: datetime, arrived_s: float) -> None:
        """Take packets that arrived together, of which the first gets `sequence`; `arrived_s` is monotonic time."""
        if not self._lines:
            self.first_arrival_s = arrived_s
        heads: dict[int, str] = {}
        topics, append, acknowledge = self._topics, self._lines.append, self.packet_ids.append
        payload_bytes = 0
        for header, topic, packet_id, payload in packets:
            head = heads.get(header)
            if head is None:
                head = heads[header] = _head(header, arrived_at_utc)
            topic_text = topics.get(topic)
            if topic_text is None:
                topic_text = self._remembered(topic)
            text, encoding = payload_text(payload)
            number = packet_id[0] << 8 | packet_id[1] if packet_id else "null"
            append(line((sequence, number), head, topic_text, encode_basestring(text), encoding))
            sequence += 1
            payload_bytes += len(payload)
            if packet_id:
                acknowledge(packet_id)
            if header & DUPLICATE_BIT:
                self.duplicates_flagged += 1
        self.payload_bytes += payload_bytes

    def text(self) -> bytes:
        """Return the lines as they are written."""
        return "".join(self._lines).encode()

    def clear(self) -> None:
        """Forget everything: it is stored and acknowledged."""
        self._lines.clear()
        self.packet_ids.clear()
        self.payload_bytes = self.duplicates_flagged = 0

    def _remembered(self, topic: bytes) -> str:
        if len(self._topics) >= _TOPICS_KEPT:
            self._topics.clear()
        # The standard wants UTF-8; what is not is kept readable rather than refused.
        text = self._topics[topic] = encode_basestring(topic.decode(errors="backslashreplace"))
        return text


def _head(header: int, arrived_at_utc: datetime) -> str:
    return line_head(
        arrived_at_utc,
        qos=(header & QOS_BITS) >> 1,
        is_retained=bool(header & RETAINED_BIT),
        is_duplicate=bool(header & DUPLICATE_BIT),
    )
