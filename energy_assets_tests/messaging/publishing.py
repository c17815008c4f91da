"""A fast publisher at QoS 1 that knows which messages were acknowledged to it: the ledger of the fault tests.

It sends over its own sockets, keeps a window of messages under way, and sends what was not acknowledged again on a new
connection, as a meter does. `acknowledged` is what nobody may lose.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from energy_assets.messaging.codec import PacketReader, connect_packet

WINDOW = 2_000
CONNACK_BYTES = 4


def publish_packet(topic: str, payload: bytes, *, packet_id: int | None, header: int = 0x30) -> bytes:
    """Return an MQTT 3.1.1 PUBLISH: QoS 1 with a packet identifier, QoS 0 without."""
    named = topic.encode()
    body = struct.pack(">H", len(named)) + named
    if packet_id is not None:
        header |= 0x02
        body += struct.pack(">H", packet_id)
    length, encoded = len(body) + len(payload), bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes((header,)) + bytes(encoded) + body + payload


def meter_message(number: int) -> tuple[str, bytes]:
    """Return a message as system 003 sends it, with a number that makes it unique."""
    meter = number % 1000
    return f"energy/meters/household_{meter}", (
        b'{"meterId":"household_%d","timestamp":"2026-11-21T%02d:%02d:%02d+00:00","temperature":12.3,'
        b'"consumptionKwh":1.25,"number":%d}' % (meter, number // 3600 % 24, number // 60 % 60, number % 60, number)
    )


class Publisher:
    """Publishes numbers `first` to `last`; `run` returns when all are acknowledged or the time is over."""

    def __init__(
        self,
        port: int,
        *,
        client_id: str = "publisher",
        message: Callable[[int], tuple[str, bytes]] = meter_message,
        per_s: float | None = None,
        qos: int = 1,
        retained: bool = False,
    ) -> None:
        self.acknowledged: set[int] = set()
        self.sent_at_s: dict[int, float] = {}
        self._port = port
        self._client_id = client_id
        self._message = message
        self._per_s = per_s
        self._qos = qos
        self._header = 0x31 if retained else 0x30
        self._is_stopping = False

    def stop(self) -> None:
        self._is_stopping = True

    def run(self, first: int, last: int, *, within_s: float = 60.0) -> None:
        waiting = deque(range(first, last + 1))
        deadline = time.monotonic() + within_s
        while waiting and not self._is_stopping and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                under_way: dict[int, int] = {}
                try:
                    self._speak(connection, waiting, under_way, deadline)
                finally:
                    waiting.extendleft(sorted(under_way.values(), reverse=True))
            if waiting:
                time.sleep(0.05)

    def _speak(
        self, connection: socket.socket, waiting: deque[int], under_way: dict[int, int], deadline: float
    ) -> None:
        connection.sendall(
            connect_packet(
                version="3.1.1",
                client_id=self._client_id,
                keep_alive_s=60,
                user_name=None,
                password=None,
                session_expiry_s=0,
                receive_maximum=65_535,
            )
        )
        reader = PacketReader(version="3.1.1")
        assert connection.recv(CONNACK_BYTES, socket.MSG_WAITALL) in {b"\x20\x02\x00\x00", b"\x20\x02\x01\x00"}
        packet_id, sent, started = 0, 0, time.monotonic()
        connection.settimeout(2)
        while (waiting or under_way) and not self._is_stopping and time.monotonic() < deadline:
            packets = []
            allowed = WINDOW if self._per_s is None else int((time.monotonic() - started) * self._per_s) - sent
            for _ in range(min(allowed, WINDOW - len(under_way), 500, len(waiting))):
                number = waiting.popleft()
                packet_id = packet_id % 65_535 + 1
                topic, payload = self._message(number)
                if self._qos:
                    under_way[packet_id] = number
                else:
                    self.acknowledged.add(number)
                self.sent_at_s.setdefault(number, time.monotonic())
                packets.append(
                    publish_packet(topic, payload, packet_id=packet_id if self._qos else None, header=self._header)
                )
            sent += len(packets)
            if packets:
                connection.sendall(b"".join(packets))
            if under_way:
                self._take_acknowledgements(connection, reader, under_way, block=not packets and allowed > 0)
            if not packets and allowed <= 0:
                time.sleep(0.001)

    def _take_acknowledgements(
        self, connection: socket.socket, reader: PacketReader, under_way: dict[int, int], *, block: bool
    ) -> None:
        try:
            chunk = connection.recv(65_536, 0 if block else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if not chunk:
            raise ConnectionError("the broker closed the connection")
        for header, _, _, body in reader.feed(chunk):
            if header >> 4 == 4:
                self.acknowledged.add(under_way.pop(int.from_bytes(body[:2], "big")))
