"""One connection of a persistent MQTT session over a socket: handshake, subscriptions, keep-alive, acknowledgements.

It gives the messages as they come and acknowledges only what it is told to. It never waits: whoever owns it polls the
socket, and makes another session after this one raised.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from energy_assets.errors import SourceError
from energy_assets.messaging import codec
from energy_assets.messaging.codec import Packet, PacketReader, Version
from energy_assets.messaging.endpoint import Endpoint

_LOG = logging.getLogger(__name__)
_CONNECT_WITHIN_S = 5.0
_FAREWELL_WITHIN_S = 1.0
_RECEIVED_BYTES = 1 << 18
_SUBSCRIBE_ID, _UNSUBSCRIBE_ID = 1, 2
_TAKEN_OVER = 0x8E

# CONNACK codes that name what is wrong (3.1.1: 3.2.2.3; 5: 3.2.2.2); the others are given by number.
_REFUSALS = {
    1: "it does not speak this MQTT version; set ENERGY_ASSETS_MQTT_VERSION to the other",
    2: "it does not accept the client identifier",
    3: "it is not available",
    4: "user name or password is wrong",
    5: "this user is not allowed to connect",
    0x84: "it does not speak MQTT 5; set ENERGY_ASSETS_MQTT_VERSION=3.1.1",
    0x85: "it does not accept the client identifier",
    0x86: "user name or password is wrong",
    0x87: "this user is not allowed to connect",
    0x88: "it is not available",
    0x89: "it is busy",
    0x8A: "this client is banned",
}


class ConnectionLostError(SourceError):
    """The broker is gone or out of reach; trying again helps once it is back."""


class RefusedError(SourceError):
    """The broker does not want us as we are; somebody must mend credentials, rights or client identifiers."""


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """Who we are at the broker and what we ask for; `former_filters` are unsubscribed where no longer asked for."""

    client_id: str
    filters: tuple[str, ...]
    former_filters: tuple[str, ...] = ()
    version: Version = "5"
    keep_alive_s: int = 30
    session_expiry_s: int = 30 * 86_400
    receive_maximum: int = 2_000


class Session:
    """A connection: `was_resumed` tells whether the broker still knew us, None before it answered.

    Once `is_subscribed`, `refused_filters` are those that it denied, `weak_filters` those that it serves at QoS 0 only.

    Raises:
        ConnectionLostError: the broker cannot be reached.
        ConfigError: password or certificates cannot be read.
    """

    def __init__(self, endpoint: Endpoint, options: SessionOptions, *, monotonic: Callable[[], float]) -> None:
        self.is_subscribed = False
        self.was_resumed: bool | None = None
        self.refused_filters: tuple[str, ...] = ()
        self.weak_filters: tuple[str, ...] = ()
        self._keep_alive_s: float = options.keep_alive_s
        self._endpoint = endpoint
        self._options = options
        self._monotonic = monotonic
        self._reader = PacketReader(version=options.version)
        self._unsent = bytearray()
        self._sent_at = self._received_at = monotonic()
        password = endpoint.password()
        self._socket = opened(endpoint)
        self._send(
            codec.connect_packet(
                version=options.version,
                client_id=options.client_id,
                keep_alive_s=options.keep_alive_s,
                user_name=endpoint.user_name,
                password=password,
                session_expiry_s=options.session_expiry_s,
                receive_maximum=options.receive_maximum,
            )
        )

    def fileno(self) -> int:
        """Return the socket's descriptor, to be polled."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """Tell whether something waits for the socket to take it: poll for writing, then call `flush`."""
        return bool(self._unsent)

    @property
    def held_bytes(self) -> int:
        """Return the size of the packet that has arrived in part."""
        return self._reader.held_bytes

    def receive(self) -> list[Packet] | None:
        """Return the PUBLISH packets that have arrived, an empty list for other traffic, None once there is no more.

        Raises:
            ConnectionLostError: the connection ended, or what came is not MQTT.
            RefusedError: the broker refuses the connection, or gave our identifier to another client.
        """
        try:
            chunk = self._socket.recv(_RECEIVED_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            raise ConnectionLostError(f"The connection to {self._endpoint} broke: {error}.") from error
        if not chunk:
            raise ConnectionLostError(f"{self._endpoint} closed the connection{self._hint()}.")
        self._received_at = self._monotonic()
        try:
            packets = self._reader.feed(chunk)
            # After the handshake nearly every chunk holds messages only; a set of first nibbles is quick to see it.
            if {packet[0] >> 4 for packet in packets} != {codec.PUBLISH}:
                packets = [packet for packet in packets if packet[0] >> 4 == codec.PUBLISH or self._take(packet)]
        except codec.ProtocolError as error:
            raise ConnectionLostError(f"{self._endpoint}: {error}") from error
        if packets and self.was_resumed is None:
            raise ConnectionLostError(f"{self._endpoint} sends messages before it accepts the connection.")
        return packets

    def acknowledge(self, packet_ids: Sequence[bytes]) -> None:
        """Tell the broker that it may forget these messages."""
        if packet_ids:
            self._send(codec.pubacks(packet_ids))

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        try:
            while self._unsent:
                sent = self._socket.send(memoryview(self._unsent)[:_RECEIVED_BYTES])
                del self._unsent[:sent]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            raise ConnectionLostError(f"The connection to {self._endpoint} broke: {error}.") from error

    def keep_alive(self, *, is_reading: bool) -> float:
        """Ping when it is time and return the seconds until it may be time again.

        While the owner does not read, silence says nothing about the broker.

        Raises:
            ConnectionLostError: the broker has not answered for longer than it may.
        """
        now = self._monotonic()
        every = self._keep_alive_s / 2
        silence_s = now - self._received_at
        if is_reading and silence_s > _CONNECT_WITHIN_S + (0 if self.was_resumed is None else 2 * every):
            raise ConnectionLostError(f"{self._endpoint} has been silent for {silence_s:.0f} s.")
        if self.was_resumed is not None and now - self._sent_at >= every:
            self._send(codec.PINGREQ_PACKET)
        return every

    def wake(self) -> None:
        """Forget how long the broker was silent while we did not read."""
        self._received_at = self._monotonic()

    def close(self, *, is_polite: bool) -> None:
        """End the connection; politely means with a DISCONNECT, and the broker keeps our session all the same.

        What still comes is read and left to the next session: closing a socket over unread bytes resets it, and the
        broker would not see our last acknowledgements.
        """
        try:
            if is_polite:
                self._socket.settimeout(_FAREWELL_WITHIN_S)
                self._socket.sendall(bytes(self._unsent) + codec.DISCONNECT_PACKET)
                ends_at = self._monotonic() + _FAREWELL_WITHIN_S
                while self._socket.recv(_RECEIVED_BYTES) and self._monotonic() < ends_at:
                    pass
        except OSError as error:
            _LOG.info("The farewell to %s did not arrive: %s", self._endpoint, error)
        finally:
            self._socket.close()

    def _send(self, packet: bytes) -> None:
        self._unsent += packet
        self._sent_at = self._monotonic()
        self.flush()

    def _take(self, packet: Packet) -> bool:
        """Act on a packet that is no message; never True, so that it can be filtered by."""
        kind, body = packet[0] >> 4, packet[3]
        if kind == codec.CONNACK:
            self._accept(body)
        elif kind == codec.SUBACK:
            codes = codec.acknowledged_codes(body, version=self._options.version)
            granted = list(zip(self._options.filters, codes, strict=False))
            self.refused_filters = tuple(topic for topic, code in granted if code >= 0x80)
            self.weak_filters = tuple(topic for topic, code in granted if code == 0)
            self.is_subscribed = True
        elif kind == codec.DISCONNECT:
            self._end(body)
        elif kind not in {codec.UNSUBACK, codec.PINGRESP}:
            raise codec.ProtocolError(f"a packet of type {kind} is not for a client that only receives.")
        return False

    def _accept(self, body: bytes) -> None:
        was_resumed, code = codec.connack(body)
        if code:
            raise RefusedError(f"{self._endpoint} refuses us: {refusal(code)}.")
        self.was_resumed = was_resumed
        options = self._options
        if options.version == "5":
            self._keep_alive_s = codec.server_keep_alive_s(body) or options.keep_alive_s
        unwanted = [topic for topic in options.former_filters if topic not in options.filters]
        if unwanted:
            self._send(codec.unsubscribe_packet(_UNSUBSCRIBE_ID, unwanted, version=options.version))
        self._send(codec.subscribe_packet(_SUBSCRIBE_ID, options.filters, version=options.version))

    def _end(self, body: bytes) -> None:
        code = body[0] if body else 0
        if code == _TAKEN_OVER:
            raise RefusedError(
                f"{self._endpoint} gave our session to another client with the identifier "
                f"{self._options.client_id!r}: every recorder needs its own."
            )
        raise ConnectionLostError(f"{self._endpoint} ended the connection (code {code:#x}).")

    def _hint(self) -> str:
        if self.was_resumed is None:
            return " before it accepted us: wrong port, TLS, or MQTT version"
        return f"; it ends, or another client has our identifier {self._options.client_id!r}"


def refusal(code: int) -> str:
    """Return what a CONNACK's code says is wrong."""
    return _REFUSALS.get(code, f"code {code:#x}")


def opened(endpoint: Endpoint) -> socket.socket:
    """Return a connected socket that does not block, with TLS where the endpoint has it.

    Raises:
        ConnectionLostError: nobody answers there.
        RefusedError: the certificate is not to be trusted.
    """
    context = endpoint.tls_context()
    try:
        made = socket.create_connection((endpoint.host, endpoint.port), timeout=_CONNECT_WITHIN_S)
    except (OSError, UnicodeError) as error:
        raise ConnectionLostError(f"{endpoint} cannot be reached: {error}.") from error
    try:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            made = context.wrap_socket(made, server_hostname=endpoint.host)
    except ssl.SSLCertVerificationError as error:
        made.close()
        raise RefusedError(
            f"We do not trust the certificate of {endpoint}: {error.verify_message}; see ENERGY_ASSETS_MQTT_CA_FILE."
        ) from error
    except OSError as error:
        made.close()
        raise ConnectionLostError(f"TLS with {endpoint} failed: {error}.") from error
    made.setblocking(False)  # noqa: FBT003
    return made
