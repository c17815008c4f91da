"""Sends messages at QoS 1 over one connection that comes back by itself, and tells which were acknowledged.

Only so many are under way at a time: a broker that is slow slows the sender instead of filling its memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from energy_assets.errors import SourceError
from energy_assets.messaging.endpoint import Endpoint

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_CONNECT_WITHIN_S = 10.0
_KEEP_ALIVE_S = 30


def client_of(endpoint: Endpoint, *, version: str, client_id: str = "") -> Client:
    """Return a client that shows the endpoint's user, password and certificates; it is not connected yet.

    Raises:
        ConfigError: password or certificates cannot be read.
    """
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    if endpoint.user_name is not None:
        client.username_pw_set(endpoint.user_name, endpoint.password())
    context = endpoint.tls_context()
    if context is not None:
        client.tls_set_context(context)
    return client


class Outgoing(NamedTuple):
    """A message to be sent; `number` is how its acknowledgement is told."""

    number: int
    topic: str
    payload: bytes
    is_retained: bool = False


class Sender:
    """A connected client; use it in a `with`. `acknowledged` counts, `under_way` is what the broker has not confirmed.

    Raises:
        SourceError: the broker could not be reached within `patience_s`, or refuses us; later losses heal alone.
    """

    def __init__(
        self, endpoint: Endpoint, *, client_id: str, version: str, most_under_way: int = 2_000, patience_s: float = 3.0
    ) -> None:
        self.acknowledged = 0
        self._endpoint = endpoint
        self._patience_s = patience_s
        self._room = threading.Semaphore(most_under_way)
        self._lock = threading.Lock()
        self._under_way: dict[int, int] = {}
        self._early: set[int] = set()
        self._refusal: str | None = None
        self._is_connected = threading.Event()
        self._client = client_of(endpoint, client_id=client_id, version=version)
        self._client.max_inflight_messages_set(most_under_way)
        self._client.reconnect_delay_set(1, 10)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish

    def __enter__(self) -> Sender:
        ends_at = time.monotonic() + self._patience_s
        while True:
            try:
                self._client.connect(self._endpoint.host, self._endpoint.port, keepalive=_KEEP_ALIVE_S)
            except OSError as error:
                if time.monotonic() < ends_at:
                    time.sleep(0.2)
                    continue
                raise SourceError(
                    f"{self._endpoint} cannot be reached: {error}. Start a broker (`energy up` brings one), or name "
                    "another by ENERGY_ASSETS_MQTT_BROKER."
                ) from error
            break
        self._client.loop_start()
        if not self._is_connected.wait(_CONNECT_WITHIN_S) or self._refusal:
            self._client.loop_stop()
            raise SourceError(f"{self._endpoint} refuses us: {self._refusal or 'no answer'}. Check user and password.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.settle(within_s=_KEEP_ALIVE_S)
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def under_way(self) -> list[int]:
        """Return the numbers of the messages that were sent and not acknowledged."""
        with self._lock:
            return sorted(self._under_way.values())

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Send messages; wait while too many are under way."""
        for message in messages:
            self._room.acquire()
            sent = self._client.publish(message.topic, message.payload, qos=1, retain=message.is_retained)
            with self._lock:
                if sent.mid in self._early:
                    self._early.discard(sent.mid)
                else:
                    self._under_way[sent.mid] = message.number

    def settle(self, *, within_s: float) -> bool:
        """Wait until nothing is under way; return whether that was so in time."""
        ends_at = time.monotonic() + within_s
        while self._under_way and time.monotonic() < ends_at:
            time.sleep(0.01)
        return not self._under_way

    def _on_connect(self, _client: object, _data: object, _flags: object, code: object, _properties: object) -> None:
        self._refusal = str(code) if getattr(code, "is_failure", False) else None
        self._is_connected.set()

    def _on_publish(self, _client: object, _data: object, mid: int, _code: object, _properties: object) -> None:
        with self._lock:
            self.acknowledged += 1
            if self._under_way.pop(mid, None) is None:
                self._early.add(mid)
        self._room.release()
