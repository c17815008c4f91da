"""A plain paho subscriber: what a household's own software would see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


class Listener:
    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []

    def wait_for(self, count: int, *, within_s: float = 10.0) -> list[tuple[str, bytes, bool]]:
        ends_at = time.monotonic() + within_s
        while len(self.messages) < count and time.monotonic() < ends_at:
            time.sleep(0.02)
        return self.messages


@contextmanager
def listening(port: int, topic: str = "#", *, client_id: str = "", is_remembered: bool = False) -> Iterator[Listener]:
    """Subscribe at QoS 1; a remembered client's session outlives its connection."""
    listener = Listener()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=not is_remembered)
    subscribed: list[int] = []
    client.on_message = lambda _c, _d, one: listener.messages.append((one.topic, bytes(one.payload), one.retain))
    client.on_subscribe = lambda _c, _d, mid, _codes, _properties: subscribed.append(mid)
    client.connect("127.0.0.1", port)
    client.subscribe(topic, qos=1)
    client.loop_start()
    try:
        ends_at = time.monotonic() + 10
        while not subscribed and time.monotonic() < ends_at:
            time.sleep(0.01)
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()
