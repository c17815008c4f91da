"""Sends many messages at QoS 1 over one socket, as fast as the broker acknowledges them, and tells which it did not.

The recorder's codec in the other direction: packets are written in bulk and acknowledgements read in bulk. Nothing runs
in the background: whoever owns a sender calls `send`, `idle` or `settle`, and each heals a connection that broke.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from energy_assets.messaging import codec
from energy_assets.messaging.codec import PacketReader, Version
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.pacing import Pace
from energy_assets.messaging.session import ConnectionLostError, RefusedError, opened, refusal

_KEEP_ALIVE_S = 30
_ANSWERED_WITHIN_S = 10.0
_WRITTEN_BYTES = 1 << 16
_RECEIVED_BYTES = 1 << 18
_PACKET_IDS = 65_535
_FAILED = 0x80


class Outgoing(NamedTuple):
    """A message to be sent; `number` is how its acknowledgement is told."""

    number: int
    topic: str
    payload: bytes
    is_retained: bool = False


class Sender:
    """A connection with at most `most_under_way` messages that the broker has not acknowledged; use it in a `with`.

    `acknowledged` counts messages, and `refused` holds the numbers of those that the broker said no to. Once `is_over`,
    nothing more is sent or waited for.

    Raises:
        SourceError: the broker could not be reached within `patience_s`, or refuses us; later losses heal by
            themselves, and what was under way is sent again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        client_id: str,
        version: Version,
        most_under_way: int = 5_000,
        patience_s: float = 3.0,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self.acknowledged = 0
        self.refused: list[int] = []
        self._endpoint = endpoint
        self._client_id = client_id
        self._version = version
        self._wanted_room = self._room = most_under_way
        self._patience_s = patience_s
        self._is_over = is_over
        self._under_way: dict[int, Outgoing] = {}
        self._packet_id = 0
        self._pace = Pace()
        self._socket: socket.socket | None = None
        self._reader = PacketReader(version=version)
        self._unsent = bytearray()
        self._is_accepted = False
        self._written_at_s = 0.0
        # When we first wrote something since we last heard from the broker.
        self._asked_at_s: float | None = None

    def __enter__(self) -> Sender:
        ends_at = time.monotonic() + self._patience_s
        while True:
            try:
                self._connect()
            except ConnectionLostError as error:
                if time.monotonic() > ends_at:
                    raise ConnectionLostError(
                        f"{error} Start a broker (`energy up` brings one), or name another by "
                        "ENERGY_ASSETS_MQTT_BROKER."
                    ) from error
                time.sleep(0.2)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None and kind is None:
            self._unsent += codec.DISCONNECT_PACKET
            with suppress(ConnectionLostError):
                self._write()
        self._drop()

    @property
    def under_way(self) -> list[int]:
        """Return the numbers of the messages that were sent and not acknowledged."""
        return sorted(message.number for message in self._under_way.values())

    def send(self, messages: Iterable[Outgoing]) -> int:
        """Send messages, wait while too many are under way, and return how many were sent before it was over."""
        count = 0
        for message in messages:
            while len(self._under_way) >= self._room and not self._is_over():
                self._turn(wait_s=0.2)
            if self._is_over():
                break
            packet_id = self._next_id()
            self._under_way[packet_id] = message
            if self._socket is not None:
                self._unsent += self._packet(packet_id, message)
            count += 1
            if len(self._unsent) > _WRITTEN_BYTES:
                self._turn(wait_s=0)
        self._turn(wait_s=0)
        return count

    def idle(self, seconds: float) -> None:
        """Wait so long, taking acknowledgements and keeping the connection alive, or until it is over."""
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0 and not self._is_over():
            self._turn(wait_s=min(left, 0.2))

    def settle(self, *, within_s: float) -> bool:
        """Wait until nothing is under way, even when it is over; return whether that was so in time."""
        ends_at = time.monotonic() + within_s
        while self._under_way and time.monotonic() < ends_at:
            self._turn(wait_s=0.2)
        return not self._under_way

    def _turn(self, *, wait_s: float) -> None:
        """Write what the socket takes, and read what there is; connect again where that is due."""
        try:
            if self._socket is None:
                left = self._pace.due_at_s - time.monotonic()
                if left > 0:
                    time.sleep(min(left, max(wait_s, 0.01)))
                    return
                self._connect()
            self._write()
            self._read(wait_s)
            self._keep_alive()
        except (ConnectionLostError, RefusedError) as error:
            self._pace.failed(time.monotonic(), is_refusal=isinstance(error, RefusedError))
            self._drop()

    def _connect(self) -> None:
        """Open a connection, wait until the broker accepts it, and send again what was under way."""
        password = self._endpoint.password()
        self._socket = opened(self._endpoint)
        self._reader = PacketReader(version=self._version)
        self._unsent = bytearray(
            codec.connect_packet(
                version=self._version,
                client_id=self._client_id,
                keep_alive_s=_KEEP_ALIVE_S,
                user_name=self._endpoint.user_name,
                password=password,
                session_expiry_s=0,
                receive_maximum=_PACKET_IDS,
                is_clean=True,
            )
        )
        self._asked_at_s = None
        self._is_accepted = False
        now = time.monotonic()
        try:
            while not self._is_accepted:
                self._write()
                self._read(0.2)
                if time.monotonic() > now + _ANSWERED_WITHIN_S:
                    raise ConnectionLostError(f"{self._endpoint} does not answer.")
        except (ConnectionLostError, RefusedError):
            self._drop()
            raise
        self._pace.connected(now)
        for packet_id, message in self._under_way.items():
            self._unsent += self._packet(packet_id, message)

    def _write(self) -> None:
        assert self._socket is not None
        try:
            while self._unsent:
                sent = self._socket.send(memoryview(self._unsent)[:_RECEIVED_BYTES])
                del self._unsent[:sent]
                self._written_at_s = time.monotonic()
                self._asked_at_s = self._asked_at_s or self._written_at_s
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            raise ConnectionLostError(f"The connection to {self._endpoint} broke: {error}.") from error

    def _read(self, wait_s: float) -> None:
        assert self._socket is not None
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        poll.poll(wait_s * 1000)
        while True:
            try:
                chunk = self._socket.recv(_RECEIVED_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                raise ConnectionLostError(f"The connection to {self._endpoint} broke: {error}.") from error
            if not chunk:
                raise ConnectionLostError(f"{self._endpoint} closed the connection.")
            self._asked_at_s = None
            try:
                for header, _, _, body in self._reader.feed(chunk):
                    self._take(header >> 4, body)
            except codec.ProtocolError as error:
                raise ConnectionLostError(f"{self._endpoint}: {error}") from error

    def _take(self, kind: int, body: bytes) -> None:
        if kind == codec.PUBACK:
            message = self._under_way.pop(body[0] << 8 | body[1], None)
            if message is None:
                return
            if len(body) > 2 and body[2] >= _FAILED:
                self.refused.append(message.number)
            else:
                self.acknowledged += 1
        elif kind == codec.CONNACK:
            _, code = codec.connack(body)
            if code:
                raise RefusedError(f"{self._endpoint} refuses us: {refusal(code)}.")
            if self._version == "5":
                self._room = min(self._wanted_room, codec.server_receive_maximum(body) or self._wanted_room)
            self._is_accepted = True
        elif kind == codec.DISCONNECT:
            raise ConnectionLostError(f"{self._endpoint} ended the connection (code {body[0] if body else 0:#x}).")

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if self._asked_at_s is not None and now - self._asked_at_s > _KEEP_ALIVE_S:
            raise ConnectionLostError(f"{self._endpoint} has been silent for {now - self._asked_at_s:.0f} s.")
        if now - self._written_at_s > _KEEP_ALIVE_S / 2 and not self._unsent:
            self._unsent += codec.PINGREQ_PACKET
            self._write()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._unsent.clear()

    def _next_id(self) -> int:
        self._packet_id = self._packet_id % _PACKET_IDS + 1
        while self._packet_id in self._under_way:
            self._packet_id = self._packet_id % _PACKET_IDS + 1
        return self._packet_id

    def _packet(self, packet_id: int, message: Outgoing) -> bytes:
        return codec.publish_packet(
            message.topic, message.payload, packet_id, version=self._version, is_retained=message.is_retained
        )
