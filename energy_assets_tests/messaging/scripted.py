"""A broker that follows a script: the test itself decides which bytes come when, and sees what the client sends."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

import pytest

from energy_assets.messaging.codec import Packet, PacketReader
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.session import Session, SessionOptions

CONNECT, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 4, 8, 10, 12, 14
CONNACK_NEW = {"3.1.1": b"\x20\x02\x00\x00", "5": b"\x20\x03\x00\x00\x00"}
CONNACK_RESUMED = {"3.1.1": b"\x20\x02\x01\x00", "5": b"\x20\x03\x01\x00\x00"}


def suback(version: str, *codes: int) -> bytes:
    """Return the SUBACK of the recorder's one SUBSCRIBE."""
    body = struct.pack(">H", 1) + (b"\x00" if version == "5" else b"") + bytes(codes)
    return bytes((0x90, len(body))) + body


def publish(packet_id: int, payload: bytes, *, version: str, topic: str = "a/b", header: int = 0x32) -> bytes:
    """Return a short PUBLISH at QoS 1."""
    named = topic.encode()
    body = struct.pack(">H", len(named)) + named + struct.pack(">H", packet_id)
    body += (b"\x00" if version == "5" else b"") + payload
    assert len(body) < 128
    return bytes((header, len(body))) + body


class ScriptedBroker:
    """Listens on a loopback port; `accept` takes the next connection and reads its CONNECT."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.port = self._listener.getsockname()[1]
        self.connection: socket.socket | None = None
        self._reader = PacketReader(version="3.1.1")
        self._seen: list[Packet] = []

    def __enter__(self) -> ScriptedBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        if self.connection is not None:
            self.connection.close()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(host="127.0.0.1", port=self.port)

    def accept(self) -> bytes:
        """Return the body of the CONNECT."""
        if self.connection is not None:
            self.connection.close()
        self.connection, _ = self._listener.accept()
        self._reader, self._seen = PacketReader(version="3.1.1"), []
        return self.await_packet(CONNECT)

    def send(self, packets: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(packets)

    def received(self, kind: int, *, within_s: float = 0.0) -> list[bytes]:
        """Return the bodies of all packets of a kind that came on this connection, read for a while."""
        assert self.connection is not None
        deadline = time.monotonic() + within_s
        while True:
            self.connection.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                chunk = self.connection.recv(65_536)
            except TimeoutError:
                break
            if not chunk:
                break
            self._seen += self._reader.feed(chunk)
            if time.monotonic() >= deadline:
                break
        return [body for header, _, _, body in self._seen if header >> 4 == kind]

    def await_packet(self, kind: int, *, count: int = 1, within_s: float = 5.0) -> bytes:
        """Return the body of the `count`-th packet of a kind."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if len(found := self.received(kind, within_s=0.01)) >= count:
                return found[count - 1]
        pytest.fail(f"no packet of type {kind} within {within_s} s; seen: {self._seen}")


def opened_session(
    broker: ScriptedBroker, *, monotonic: Callable[[], float] = time.monotonic, **options: object
) -> tuple[Session, bytes]:
    """Return a session that has sent its CONNECT, and that packet's body."""
    chosen = {"client_id": "r", "filters": ("a/#",), "version": broker.version} | options
    session = Session(broker.endpoint, SessionOptions(**chosen), monotonic=monotonic)  # type: ignore[arg-type]
    return session, broker.accept()


def received_until(session: Session, holds: Callable[[list[Packet]], bool], *, within_s: float = 5.0) -> list[Packet]:
    """Return what a session gives until it is enough."""
    found: list[Packet] = []
    deadline = time.monotonic() + within_s
    while not holds(found) and time.monotonic() < deadline:
        found += session.receive() or []
        time.sleep(0.001)
    return found
