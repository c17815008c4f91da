"""What is recorded from real brokers: any payload, several filters, retained messages, TLS, passwords."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from energy_assets.errors import ConfigError
from energy_assets.messaging.endpoint import Endpoint, endpoint_of
from energy_assets.messaging.filters import checked_filter
from energy_assets.messaging.health import Health, health_path, read_health
from energy_assets.messaging.recorder import Clock, Recorder, RecorderOptions
from energy_assets.settings import Settings
from energy_assets_tests.messaging.brokers import MOSQUITTO, Amqtt, Mosquitto, needs_mosquitto
from energy_assets_tests.messaging.certificates import Authority
from energy_assets_tests.messaging.publishing import Publisher, meter_message
from energy_assets_tests.messaging.recording import COMMAND, RecorderProcess, stored_numbers, stored_records

HUGE = b"\xf0\x9f\x94\x8c" * (3 << 20)  # 12 MiB of text


@contextmanager
def _recording(
    folder: Path, endpoint: Endpoint, *filters: str, clock: Clock | None = None, **options: object
) -> Iterator[Callable[[Callable[[Health], bool]], Health]]:
    """Record in a thread; gives a function that waits for a health."""
    chosen = {"client_id": "r", "filters": filters or ("#",), "folder": folder, "report_every_s": 0.05} | options
    recorder = Recorder(endpoint, RecorderOptions(**chosen), clock=clock)  # type: ignore[arg-type]
    thread = threading.Thread(target=recorder.run)
    thread.start()

    def awaited(holds: Callable[[Health], bool]) -> Health:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if health_path(folder, "r").exists() and holds(health := read_health(health_path(folder, "r"))):
                return health
            time.sleep(0.02)
        raise AssertionError(read_health(health_path(folder, "r")))

    try:
        awaited(lambda health: health.state in {"recording", "refused"})
        yield awaited
    finally:
        recorder.stop()
        thread.join()


def _publish(port: int, *messages: tuple[str, bytes], qos: int = 1, retain: bool = False) -> None:
    """Publish by the reference client, one acknowledged message after another."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="meter")
    client.connect("127.0.0.1", port)
    client.loop_start()
    for topic, payload in messages:
        client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def _has_stored(count: int) -> Callable[[Health], bool]:
    return lambda health: health.counters.stored >= count


def _contents(folder: Path) -> list[tuple[str, bytes, bool]]:
    return [(record.topic, record.payload, record.retained) for record in stored_records(folder)]


@needs_mosquitto
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_whatever_the_payload_is_it_and_its_neighbours_are_kept(tmp_path: Path, version: str) -> None:
    sent = [
        ("hack/SMA_017A/String A", b'{"Current": 1}'),
        ("energy/x", b"not JSON"),
        ("energy/x", b"\xff\xfe\x00"),
        ("energy/é", b""),
        ("energy/x", HUGE),
        ("energy/x", b'{"after": "the huge one"}'),
    ]
    before = datetime.now(UTC)
    with Mosquitto(tmp_path / "broker") as broker:
        endpoint = Endpoint(host=broker.host, port=broker.port)
        with _recording(tmp_path / "s", endpoint, "energy/#", "hack/+/+", version=version) as awaited:
            _publish(broker.port, *sent, ("elsewhere", b"not asked for"))
            health = awaited(_has_stored(len(sent)))
    assert _contents(tmp_path / "s") == [(topic, payload, False) for topic, payload in sent]
    assert health.counters.payload_bytes == sum(len(payload) for _, payload in sent)
    for record in stored_records(tmp_path / "s"):
        assert before <= record.arrived_at_utc <= datetime.now(UTC)
        assert (record.qos, record.duplicate) == (1, False)


@needs_mosquitto
@pytest.mark.parametrize(("version", "copies"), [("3.1.1", 2), ("5", 1)])
def test_retained_messages_are_marked_and_with_mqtt_5_come_once(tmp_path: Path, version: str, copies: int) -> None:
    """MQTT 3.1.1 has no way to subscribe anew without being sent them again."""
    with Mosquitto(tmp_path / "broker") as broker:
        endpoint = Endpoint(host=broker.host, port=broker.port)
        _publish(broker.port, ("price", b"0.25"), retain=True)
        for _ in range(2):
            with _recording(tmp_path / "s", endpoint, version=version) as awaited:
                awaited(lambda health: health.counters.connections == 1)
                time.sleep(0.2)
    assert _contents(tmp_path / "s") == [("price", b"0.25", True)] * copies


@needs_mosquitto
def test_what_comes_while_nobody_records_is_kept_for_us_and_dropped_filters_are_not(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        endpoint = Endpoint(host=broker.host, port=broker.port)
        with _recording(tmp_path / "s", endpoint, "a/#", "b/#"):
            pass
        _publish(broker.port, ("a/1", b"1"), ("b/1", b"2"))
        with _recording(tmp_path / "s", endpoint, "a/#") as awaited:
            awaited(_has_stored(2))  # b/1 was queued while we still wanted it
            _publish(broker.port, ("b/2", b"3"), ("a/2", b"4"))
            health = awaited(_has_stored(3))
    assert [topic for topic, *_ in _contents(tmp_path / "s")] == ["a/1", "b/1", "a/2"]
    assert health.counters.sessions_lost == 0


@needs_mosquitto
def test_forgotten_session_is_told(tmp_path: Path) -> None:
    for _ in range(2):
        with Mosquitto(tmp_path / "broker", store=False) as broker:
            endpoint = Endpoint(host=broker.host, port=broker.port)
            with _recording(tmp_path / "s", endpoint) as awaited:
                health = awaited(lambda health: health.counters.connections == 1)
    assert health.counters.sessions_lost == 1


@needs_mosquitto
def test_devices_at_qos_0_are_upgraded_by_the_broker_and_survive_our_absence(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        endpoint = Endpoint(host=broker.host, port=broker.port)
        with _recording(tmp_path / "s", endpoint):
            pass
        Publisher(broker.port, qos=0).run(0, 99)
        time.sleep(0.2)
        with _recording(tmp_path / "s", endpoint) as awaited:
            awaited(_has_stored(100))
    assert {record.qos for record in stored_records(tmp_path / "s")} == {1}


@needs_mosquitto
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_wrong_password_is_told_and_heals_when_the_file_is_mended(tmp_path: Path, version: str) -> None:
    users, password = tmp_path / "users", tmp_path / "password"
    users.touch(mode=0o600)
    tool = Path(str(MOSQUITTO)).with_name("mosquitto_passwd")
    if not tool.exists():
        tool = Path("/usr/bin/mosquitto_passwd")
    subprocess.run([str(tool), "-b", str(users), "meter", "right"], check=True, capture_output=True)
    password.write_text("wrong\n")
    with Mosquitto(tmp_path / "broker", extra=f"allow_anonymous false\npassword_file {users}") as broker:
        endpoint = Endpoint(host=broker.host, port=broker.port, user_name="meter", password_file=password)
        with _recording(tmp_path / "s", endpoint, version=version) as awaited:
            health = awaited(lambda health: health.state == "refused")
            assert health.trouble is not None
            assert "user" in health.trouble
            password.write_text("right\n")
            assert awaited(lambda health: health.state == "recording").trouble is None


@needs_mosquitto
def test_tls_with_client_certificates(tmp_path: Path) -> None:
    authority, strangers = Authority(tmp_path / "ca"), Authority(tmp_path / "strangers")
    server, server_key = authority.issue("server")
    client, client_key = authority.issue("client")
    extra = f"cafile {authority.certificate}\ncertfile {server}\nkeyfile {server_key}\nrequire_certificate true\n"
    with Mosquitto(tmp_path / "broker", extra=extra + "use_identity_as_username true") as broker:
        tls = {"has_tls": True, "certificate_file": client, "key_file": client_key}
        plain = Endpoint(host=broker.host, port=broker.port, ca_file=authority.certificate, **tls)  # type: ignore[arg-type]
        with _recording(tmp_path / "s", plain) as awaited:
            publisher = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="meter")
            publisher.tls_set(str(authority.certificate), str(client), str(client_key))
            publisher.connect("127.0.0.1", broker.port)
            publisher.loop_start()
            for number in range(500):
                under_way = publisher.publish(*meter_message(number), qos=1)
            under_way.wait_for_publish(10)
            publisher.publish("energy/huge", HUGE, qos=1).wait_for_publish(10)
            publisher.disconnect()
            publisher.loop_stop()
            awaited(_has_stored(501))
        records = stored_records(tmp_path / "s")
        assert records.pop().payload == HUGE
        assert [record.payload for record in records] == [meter_message(number)[1] for number in range(500)]
        stranger = Endpoint(host=broker.host, port=broker.port, ca_file=strangers.certificate, **tls)  # type: ignore[arg-type]
        with _recording(tmp_path / "t", stranger) as awaited:
            assert "do not trust" in str(awaited(lambda health: health.state == "refused").trouble)


def test_another_implementation_of_the_broker(tmp_path: Path) -> None:
    with Amqtt(tmp_path / "broker") as broker:
        endpoint = Endpoint(host=broker.host, port=broker.port)
        with _recording(tmp_path / "s", endpoint, "energy/#", version="3.1.1") as awaited:
            _publish(broker.port, *(meter_message(number) for number in range(50)))
            awaited(_has_stored(50))
    assert stored_numbers(tmp_path / "s") == dict.fromkeys(range(50), 1)


@needs_mosquitto
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_two_clients_of_one_identifier_do_not_fight_at_full_speed(tmp_path: Path, version: str) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        endpoint = Endpoint(host=broker.host, port=broker.port)
        with (
            _recording(tmp_path / "one", endpoint, version=version) as first,
            _recording(tmp_path / "two", endpoint, version=version),
        ):
            assert "identifier" in str(first(lambda health: health.trouble is not None).trouble)
            time.sleep(1.5)
        for folder in ("one", "two"):
            assert read_health(health_path(tmp_path / folder, "r")).counters.connections <= 6


@needs_mosquitto
def test_clock_that_jumps_is_told_and_changes_no_order(tmp_path: Path) -> None:
    ahead = timedelta(0)

    def now_utc() -> datetime:
        return datetime.now(UTC) + ahead

    with Mosquitto(tmp_path / "broker") as broker:
        endpoint = Endpoint(host=broker.host, port=broker.port)
        with _recording(tmp_path / "s", endpoint, clock=Clock(now_utc=now_utc)) as awaited:
            _publish(broker.port, ("a", b"1"))
            awaited(_has_stored(1))
            ahead = timedelta(days=-400)
            awaited(lambda health: health.counters.clock_jumps == 1)
            _publish(broker.port, ("a", b"2"))
            awaited(_has_stored(2))
        with _recording(tmp_path / "s", endpoint, clock=Clock(now_utc=now_utc)) as awaited:
            _publish(broker.port, ("a", b"3"))
            awaited(_has_stored(1))
    records = stored_records(tmp_path / "s")
    assert [record.payload for record in records] == [b"1", b"2", b"3"]
    assert [record.sequence - records[0].sequence for record in records] == [0, 1, 2]
    assert records[0].arrived_at_utc - records[1].arrived_at_utc > timedelta(days=399)


@needs_mosquitto
def test_command_says_how_it_is_and_refuses_a_second_one(tmp_path: Path) -> None:
    def energy(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"ENERGY_ASSETS_HOME": str(tmp_path), "COLUMNS": "120"}
        return subprocess.run(
            [COMMAND, "record", *arguments], env=environment, text=True, capture_output=True, check=False
        )

    assert "No recorder has written" in energy("--status").stdout
    with Mosquitto(tmp_path / "broker") as broker, RecorderProcess(tmp_path / "spool", broker.port) as recorder:
        recorder.await_recording()
        well = energy("--status")
        assert (well.returncode, "recording, reported" in well.stdout) == (0, True)
        second = energy()
        assert (second.returncode, "Another recorder" in second.stdout) == (1, True)
        assert recorder.stop() == 0
        stopped = energy("--status")
        assert (stopped.returncode, "stopped, reported" in stopped.stdout) == (1, True)
    assert "names files" in energy("--client-id", "a/b").stdout
    assert "topic filter" in energy("--topic", "a/b#").stdout


@pytest.mark.parametrize("topic", ["#", "+", "a/+/b", "a/#", "/", "$SYS/#", "energy/é"])
def test_filters_that_mqtt_allows(topic: str) -> None:
    assert checked_filter(topic) == topic


@pytest.mark.parametrize("topic", ["", "a#", "a/#/b", "a+/b", "a/b+", "\0", "x" * 65_536])
def test_filters_that_it_does_not(topic: str) -> None:
    with pytest.raises(ConfigError, match="topic filter"):
        checked_filter(topic)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("mqtt://broker", ("broker", 1883, False), id="default-port"),
        pytest.param("mqtts://broker", ("broker", 8883, True), id="default-port-of-tls"),
        pytest.param("mqtt://[::1]:2000/", ("::1", 2000, False), id="ipv6"),
        pytest.param("broker:1883", None, id="no-scheme"),
        pytest.param("mqtt://", None, id="no-host"),
        pytest.param("mqtt://broker:none", None, id="no-port"),
        pytest.param("mqtt://broker/topic", None, id="with-a-path"),
        pytest.param("mqtt://user:secret@broker", None, id="with-credentials"),
    ],
)
def test_address_of_the_broker(url: str, expected: tuple[str, int, bool] | None) -> None:
    settings = Settings(mqtt_broker=url)
    if expected is None:
        with pytest.raises(ConfigError, match="broker"):
            endpoint_of(settings)
        return
    endpoint = endpoint_of(settings)
    assert (endpoint.host, endpoint.port, endpoint.has_tls) == expected


def test_secrets_do_not_show() -> None:
    endpoint = endpoint_of(Settings(mqtt_user_name="u", mqtt_password="hidden"))  # type: ignore[arg-type]
    assert endpoint.password() == "hidden"
    assert "hidden" not in repr(endpoint) + str(endpoint)
    with pytest.raises(ConfigError, match="cannot be read"):
        Endpoint(host="h", port=1, password_file=Path("/absent")).password()
    with pytest.raises(ConfigError, match=r"absent\.pem"):
        Endpoint(host="h", port=1, has_tls=True, ca_file=Path("/absent.pem")).tls_context()
