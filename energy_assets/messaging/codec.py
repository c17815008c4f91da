"""MQTT 3.1.1 and 5 packets as far as a recorder needs them: written whole, read incrementally from a byte stream.

Only framing belongs here; sockets, sessions and what a packet means are the session's. The section numbers are those
of the OASIS standards.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Literal

from energy_assets.errors import SourceError

Version = Literal["3.1.1", "5"]

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 11, 13, 14
PINGREQ_PACKET = b"\xc0\x00"
DISCONNECT_PACKET = b"\xe0\x00"
PUBACK_HEAD = b"\x40\x02"
QOS_BITS, DUPLICATE_BIT, RETAINED_BIT = 0x06, 0x08, 0x01

# First byte, topic, packet identifier, payload; every packet but PUBLISH has its whole body as the payload.
Packet = tuple[int, bytes, bytes, bytes]

_LEVEL = {"3.1.1": 4, "5": 5}
_RECEIVE_MAXIMUM, _SESSION_EXPIRY = 0x21, 0x11
_SERVER_KEEP_ALIVE, _USER_PROPERTY, _TEXTUAL = 0x13, 0x26, -1
# Sizes of the values of a CONNACK's properties (2.2.2.2); texts and binary data carry their own.
_CONNACK_PROPERTY_BYTES = (
    dict.fromkeys((0x11, 0x27), 4)
    | dict.fromkeys((0x13, 0x21, 0x22), 2)
    | dict.fromkeys((0x24, 0x25, 0x28, 0x29, 0x2A), 1)
    | dict.fromkeys((0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x26), _TEXTUAL)
)
_AT_LEAST_ONCE = 1
_NO_PROPERTIES = b"\x00"
_RETAINED_ONLY_WHEN_NEW = 1 << 4


class ProtocolError(SourceError):
    """The peer sent what is not MQTT; the connection cannot be used any more."""


def connect_packet(
    *,
    version: Version,
    client_id: str,
    keep_alive_s: int,
    user_name: str | None,
    password: str | None,
    session_expiry_s: int,
    receive_maximum: int,
    is_clean: bool = False,
) -> bytes:
    """Return a CONNECT that resumes the client's session, or begins one that outlives the connection (3.1).

    A clean one knows nothing of a former session, and in MQTT 3.1.1 ends with the connection.
    """
    flags = (0x80 if user_name is not None else 0) | (0x40 if password is not None else 0) | (0x02 if is_clean else 0)
    body = _text("MQTT") + bytes((_LEVEL[version], flags)) + struct.pack(">H", keep_alive_s)
    if version == "5":
        properties = struct.pack(">BIBH", _SESSION_EXPIRY, session_expiry_s, _RECEIVE_MAXIMUM, receive_maximum)
        body += bytes((len(properties),)) + properties
    body += _text(client_id)
    body += b"".join(_text(text) for text in (user_name, password) if text is not None)
    return _packet(0x10, body)


def publish_packet(topic: str, payload: bytes, packet_id: int, *, version: Version, is_retained: bool = False) -> bytes:
    """Return a PUBLISH at QoS 1 (3.3)."""
    named = topic.encode()
    tail = _NO_PROPERTIES if version == "5" else b""
    length = 4 + len(named) + len(tail) + len(payload)
    return b"".join(
        (
            b"\x33" if is_retained else b"\x32",
            _length(length),
            len(named).to_bytes(2, "big"),
            named,
            packet_id.to_bytes(2, "big"),
            tail,
            payload,
        )
    )


def subscribe_packet(packet_id: int, filters: Sequence[str], *, version: Version) -> bytes:
    """Return a SUBSCRIBE at QoS 1 (3.8); MQTT 5 sends retained messages only where the subscription is new."""
    options = _AT_LEAST_ONCE | (_RETAINED_ONLY_WHEN_NEW if version == "5" else 0)
    wanted = b"".join(
        _text(topic) + bytes((_AT_LEAST_ONCE if topic.startswith("$share/") else options,)) for topic in filters
    )
    return _packet(0x82, _identified(packet_id, version) + wanted)


def unsubscribe_packet(packet_id: int, filters: Sequence[str], *, version: Version) -> bytes:
    """Return an UNSUBSCRIBE (3.10)."""
    return _packet(0xA2, _identified(packet_id, version) + b"".join(_text(topic) for topic in filters))


def pubacks(packet_ids: Sequence[bytes]) -> bytes:
    """Return a PUBACK for each identifier, in order (3.4; success needs no reason code in MQTT 5)."""
    return b"".join([PUBACK_HEAD + packet_id for packet_id in packet_ids])


def connack(body: bytes) -> tuple[bool, int]:
    """Return whether the broker still had our session, and the return or reason code (3.2)."""
    if len(body) < 2:
        raise ProtocolError(f"A CONNACK of {len(body)} bytes: the peer is not an MQTT broker.")
    return bool(body[0] & 1), body[1]


def acknowledged_codes(body: bytes, *, version: Version) -> tuple[int, ...]:
    """Return the reason codes of a SUBACK, one a filter (3.9)."""
    start = 2
    if version == "5":
        length, start = _length_at(body, 2, len(body)) or (0, len(body))
        start += length
    return tuple(body[start:])


def server_keep_alive_s(body: bytes) -> int | None:
    """Return the keep alive that the CONNACK of an MQTT 5 broker puts in the place of ours (3.2.2.3.14), if any."""
    return _connack_number(body, _SERVER_KEEP_ALIVE)


def server_receive_maximum(body: bytes) -> int | None:
    """Return how many messages an MQTT 5 broker takes before it acknowledged them (3.2.2.3.3), if it says."""
    return _connack_number(body, _RECEIVE_MAXIMUM)


def _connack_number(body: bytes, wanted: int) -> int | None:
    """Return a number among the properties of a CONNACK; those behind one that the standard has not are not read."""
    length, start = _length_at(body, 2, len(body)) or (0, len(body))
    end = min(start + length, len(body))
    while start < end and (size := _CONNACK_PROPERTY_BYTES.get(body[start])) is not None:
        value, start = start + 1, start + 1 + size
        if size == _TEXTUAL:
            texts = 2 if body[value - 1] == _USER_PROPERTY else 1
            start = value
            for _ in range(texts):
                start += 2 + int.from_bytes(body[start : start + 2], "big")
        elif body[value - 1] == wanted and start <= end:
            return int.from_bytes(body[value:start], "big")
    return None


class PacketReader:
    """Turns chunks of a byte stream into packets; a packet may end, and another begin, anywhere in a chunk."""

    def __init__(self, *, version: Version) -> None:
        self._has_properties = version == "5"
        self._parts: list[bytes] = []
        self._held = 0
        self._needed = 0

    @property
    def held_bytes(self) -> int:
        """Return the size of the part of a packet that has arrived so far."""
        return self._held

    def feed(self, chunk: bytes) -> list[Packet]:
        """Return the packets that a chunk completes, in order.

        Raises:
            ProtocolError: a length or a field contradicts the standard.
        """
        if self._held:
            self._parts.append(chunk)
            self._held += len(chunk)
            if self._held < self._needed:
                return []
            chunk = b"".join(self._parts)
            self._parts.clear()
        packets, consumed, self._needed = self._split(chunk)
        self._held = len(chunk) - consumed
        if self._held:
            self._parts.append(chunk[consumed:])
        return packets

    def _split(self, chunk: bytes) -> tuple[list[Packet], int, int]:
        """Give the whole packets, the bytes they take, and how many bytes the next one takes, as far as is known."""
        packets: list[Packet] = []
        append = packets.append
        has_properties = self._has_properties
        start, size = 0, len(chunk)
        while size - start >= 2:
            header, length = chunk[start], chunk[start + 1]
            body = start + 2
            if length > 127:
                found = _length_at(chunk, start + 1, size)
                if found is None:
                    break
                length, body = found
            end = body + length
            if end > size:
                return packets, start, end - start
            if header & 0xF0 == 0x30:
                topic_end = body + 2 + (chunk[body] << 8 | chunk[body + 1]) if length > 1 else size + 1
                payload = topic_end + 2 if header & QOS_BITS else topic_end
                if payload > end or header & QOS_BITS > 2:
                    raise ProtocolError(f"A PUBLISH with header {header:#x} and {length} bytes does not hold together.")
                packet_id = chunk[topic_end:payload]
                if has_properties and payload < end and not chunk[payload]:
                    payload += 1
                elif has_properties:
                    properties = _length_at(chunk, payload, end)
                    if properties is None or sum(properties) > end:
                        raise ProtocolError("The properties of a PUBLISH are longer than the packet.")
                    payload = sum(properties)
                append((header, chunk[body + 2 : topic_end], packet_id, chunk[payload:end]))
            else:
                append((header, b"", b"", chunk[body:end]))
            start = end
        return packets, start, 0


def _length_at(chunk: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Return a variable byte integer and where it ends, or None where it is not whole (1.5.5)."""
    length = 0
    for place, byte in enumerate(chunk[start : min(start + 4, end)]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return length, start + place + 1
    if end - start >= 4:
        raise ProtocolError("A length of more than four bytes: the peer is not an MQTT broker, or bytes went missing.")
    return None


def _packet(header: int, body: bytes) -> bytes:
    return bytes((header,)) + _length(len(body)) + body


def _length(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def _identified(packet_id: int, version: Version) -> bytes:
    return struct.pack(">H", packet_id) + (b"\x00" if version == "5" else b"")
