"""The broker configuration that we ship: it starts, lets each user do only what is theirs, and keeps what it took."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from subprocess import run

import paho.mqtt.client as paho

from energy_assets.supervisor import free_port
from energy_assets_tests.messaging.brokers import MOSQUITTO, Mosquitto, await_port, needs_mosquitto
from energy_assets_tests.messaging.certificates import Authority
from energy_assets_tests.messaging.recording import RecorderProcess, stored_records

SHIPPED = Path(__file__).parents[2] / "deploy" / "mosquitto"
MESSAGES = 1_500  # more than the 1,000 that an unconfigured Mosquitto keeps


class _Shipped(Mosquitto):
    """A Mosquitto with the shipped files, in a folder and on ports of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tls_port = free_port()
        self.authority = Authority(folder / "tls")
        self.authority.issue("server")
        (folder / "data").mkdir()
        shutil.copy(SHIPPED / "acl", folder / "acl")
        (folder / "users").touch(mode=0o600)
        for user in ("recorder", "reader", "publisher", "household_1"):
            tool = shutil.which("mosquitto_passwd") or str(Path(str(MOSQUITTO)).with_name("mosquitto_passwd"))
            run([tool, "-b", str(folder / "users"), user, f"secret of {user}"], check=True, capture_output=True)
        text = (SHIPPED / "mosquitto.conf").read_text(encoding="utf-8")
        for shipped, ours in {
            "/mosquitto/config": str(folder),
            "/mosquitto/data": str(folder / "data"),
            "listener 1883": f"user root\nlistener {self.port}",
            "listener 8883": f"listener {self.tls_port} 127.0.0.1",
        }.items():
            assert shipped in text
            text = text.replace(shipped, ours)
        self._config.write_text(text, encoding="utf-8")

    def client(self, user: str, *, password: str | None = None) -> paho.Client:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"client-{user}", protocol=paho.MQTTv311)
        client.username_pw_set(user, password or f"secret of {user}")
        client.tls_set(str(self.authority.certificate))
        client.connect("127.0.0.1", self.tls_port)
        client.loop_start()
        return client


@needs_mosquitto
def test_shipped_configuration_keeps_and_guards(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret of recorder", encoding="utf-8")
    with (
        _Shipped(tmp_path / "broker") as broker,
        RecorderProcess(tmp_path / "spool", broker.port, user_name="recorder", password_file=str(password)) as recorder,
    ):
        assert broker.process is not None
        await_port(broker.tls_port, broker.process)
        recorder.await_recording()
        recorder.stop(signal.SIGTERM)
        # Who oversteps is heard no more: Mosquitto 2.0.11 even ends the connection at the next message.
        for user, topic in (("household_1", "energy/meters/household_2"), ("reader", "energy/price")):
            stranger = broker.client(user)
            stranger.publish(topic, b"-1", qos=1).wait_for_publish(5)
            stranger.disconnect()
            stranger.loop_stop()
        meter = broker.client("household_1")
        for number in range(MESSAGES):
            under_way = meter.publish("energy/meters/household_1", b"%d" % number, qos=1)
        under_way.wait_for_publish(10)
        meter.disconnect()
        meter.loop_stop()
        broker.stop()
        broker.start()
        recorder.start()
        recorder.await_health(lambda health: health.counters.stored >= MESSAGES)
        time.sleep(0.2)
        recorder.stop()
        stored = [(record.topic, int(record.payload), record.qos) for record in stored_records(recorder.folder)]
    assert stored == [("energy/meters/household_1", number, 1) for number in range(MESSAGES)]


@needs_mosquitto
def test_each_reads_what_is_published_for_it_and_nothing_else(tmp_path: Path) -> None:
    published = [
        "energy/price",
        "energy/price/town/2026-03-20",
        "energy/aggregate/consumption_history",
        "energy/household_1/consumption",
        "energy/household_1/production/forecast",
        "energy/household_2/consumption",
        "energy/meters/household_1",
    ]
    seen: dict[str, set[str]] = {}
    with _Shipped(tmp_path / "broker") as broker:
        assert broker.process is not None
        await_port(broker.tls_port, broker.process)
        publisher = broker.client("publisher")
        for topic in published:
            publisher.publish(topic, b"1", qos=1, retain=True).wait_for_publish(5)
        publisher.disconnect()
        publisher.loop_stop()
        for user in ("reader", "household_1", "recorder"):
            client, topics = broker.client(user), seen.setdefault(user, set())
            client.on_message = lambda _client, _data, message, topics=topics: topics.add(message.topic)
            client.subscribe("#", qos=1)
            time.sleep(1.0)
            client.disconnect()
            client.loop_stop()
    assert seen["reader"] == set(published[:3])
    assert seen["household_1"] == set(published[3:5])
    # The publisher may not write what a meter says, not even for the recorder.
    assert seen["recorder"] == set(published[:6])
