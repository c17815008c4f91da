"""`energy check`: what passes a broker, decoded with units, and shown as it is where nobody knows what it means."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from energy_assets.errors import SourceError
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.sending import Outgoing, Sender
from energy_assets.messaging.watching import watch
from energy_assets.supervisor import free_port
from energy_assets_tests.messaging.embedded import Embedded

MESSAGES = [
    ("tele/plug/SENSOR", b'{"Time":"2026-03-14T12:00:00","ENERGY":{"Total":123.456,"Power":70}}'),
    ("emon/attic/P2", b"431.5"),
    ("energy/meters/h7", b'{"meterId":"h7","timestamp":"2026-03-14T12:00:00+01:00","consumptionKwh":"much"}'),
    ("unheard/of", b"\xff\x00 and more"),
    ("energy/price", b"0.21"),
]


def test_messages_are_shown_with_what_is_read_in_them(tmp_path: Path) -> None:
    with Embedded(tmp_path) as broker:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ENERGY_ASSETS")} | {
            "ENERGY_ASSETS_HOME": str(tmp_path / "home"),
            "ENERGY_ASSETS_MQTT_BROKER": f"mqtt://127.0.0.1:{broker.port}",
            "ENERGY_ASSETS_MQTT_VERSION": "3.1.1",
        }
        command = [str(Path(sys.executable).parent / "energy"), "check", "--seconds", "6"]

        def talk() -> None:
            with Sender(broker.endpoint, client_id="s", version="3.1.1") as sender:
                for _ in range(28):
                    sender.send(
                        Outgoing(number=number, topic=topic, payload=payload)
                        for number, (topic, payload) in enumerate(MESSAGES)
                    )
                    time.sleep(0.2)

        talking = threading.Thread(target=talk)
        talking.start()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        talking.join()
    shown = {line[10:] for line in done.stdout.splitlines()}
    assert "tele/plug/SENSOR  plug.1  123.456 kWh (register)  of 2026-03-14 12:00:00Z" in shown
    assert any(line.startswith("emon/attic/P2  attic.P2  431.5 W (power)  of 2") for line in shown)
    assert "energy/meters/h7  refused: unreadable_number" in shown
    assert "unheard/of  \\xff\x00 and more" in shown
    assert "energy/price  0.21" in shown
    assert done.stdout.splitlines()[-1].endswith(" messages")


def test_a_broker_that_is_not_there_is_named() -> None:
    endpoint = Endpoint(host="127.0.0.1", port=free_port())
    with pytest.raises(SourceError, match="cannot be reached"):
        list(watch(endpoint, filters=["#"], version="5", mapping=None, is_over=lambda: True))
