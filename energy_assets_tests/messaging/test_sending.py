"""Senders: as many under way as the broker takes, a no is not an acknowledgement, and losses are sent again."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from energy_assets.errors import SourceError
from energy_assets.messaging.codec import PacketReader, publish_packet, server_receive_maximum
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.sending import Outgoing, Sender
from energy_assets.messaging.session import RefusedError
from energy_assets.supervisor import free_port
from energy_assets_tests.messaging.brokers import Mosquitto, needs_mosquitto
from energy_assets_tests.messaging.certificates import Authority
from energy_assets_tests.messaging.embedded import Embedded
from energy_assets_tests.messaging.listening import listening
from energy_assets_tests.messaging.publishing import meter_message
from energy_assets_tests.messaging.recording import RecorderProcess, await_numbers
from energy_assets_tests.messaging.scripted import CONNACK_NEW, ScriptedBroker

PUBLISH = 3
THREE_AT_A_TIME = b"\x20\x06\x00\x00\x03\x21\x00\x03"


def outgoing(first: int, last: int) -> list[Outgoing]:
    made = [(number, *meter_message(number)) for number in range(first, last)]
    return [Outgoing(number=number, topic=topic, payload=payload) for number, topic, payload in made]


def scripted(broker: ScriptedBroker, script: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=script)
    thread.start()
    return thread


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("size", [0, 100, 130, 20_000])
def test_a_publish_packet_is_read_as_it_was_written(version: str, size: int) -> None:
    packet = publish_packet("a/ü", b"x" * size, 513, version=version, is_retained=True)  # type: ignore[arg-type]
    found = PacketReader(version=version).feed(packet)  # type: ignore[arg-type]
    assert found == [(0x33, "a/ü".encode(), b"\x02\x01", b"x" * size)]


def test_the_receive_maximum_is_found_behind_other_properties() -> None:
    properties = b"\x22\x00\x0a\x1f\x00\x02no\x21\x00\x14"
    assert server_receive_maximum(b"\x00\x00" + bytes((len(properties),)) + properties) == 20
    assert server_receive_maximum(b"\x00\x00\x00") is None


def test_no_more_are_under_way_than_the_broker_takes_and_a_no_is_told() -> None:
    with ScriptedBroker("5") as broker:

        def script() -> None:
            broker.accept()
            broker.send(THREE_AT_A_TIME)
            broker.await_packet(PUBLISH, count=3)
            assert len(broker.received(PUBLISH, within_s=0.3)) == 3
            broker.send(b"\x40\x02\x00\x01" + b"\x40\x04\x00\x02\x87\x00" + b"\x40\x02\x00\x03")
            broker.await_packet(PUBLISH, count=4)
            broker.send(b"\x40\x03\x00\x04\x10")

        thread = scripted(broker, script)
        with Sender(broker.endpoint, client_id="s", version="5") as sender:
            assert sender.send(outgoing(70, 74)) == 4
            assert sender.settle(within_s=5)
        thread.join()
    assert (sender.acknowledged, sender.refused, sender.under_way) == (3, [71], [])


def test_what_was_under_way_is_sent_again_on_the_next_connection() -> None:
    with ScriptedBroker("3.1.1") as broker:
        payloads: list[list[bytes]] = []

        def script() -> None:
            for answered in (b"\x40\x02\x00\x02", b"\x40\x02\x00\x01\x40\x02\x00\x03"):
                broker.accept()
                broker.send(CONNACK_NEW["3.1.1"])
                broker.await_packet(PUBLISH, count=2)
                payloads.append(broker.received(PUBLISH, within_s=0.1))
                broker.send(answered)
                time.sleep(0.2)
                if broker.connection and not payloads[1:]:
                    broker.connection.close()

        thread = scripted(broker, script)
        with Sender(broker.endpoint, client_id="s", version="3.1.1") as sender:
            sender.send([Outgoing(number=each, topic="t", payload=b"%d" % each) for each in range(3)])
            assert sender.settle(within_s=10)
            thread.join()
    assert payloads == [[b"0", b"1", b"2"], [b"0", b"2"]]
    assert sender.acknowledged == 3


def test_a_refusal_and_an_absent_broker_are_named() -> None:
    with ScriptedBroker("3.1.1") as broker:

        def script() -> None:
            broker.accept()
            broker.send(b"\x20\x02\x00\x05")

        thread = scripted(broker, script)
        sender = Sender(broker.endpoint, client_id="s", version="3.1.1")
        with pytest.raises(RefusedError, match="this user is not allowed"), sender:
            pass
        thread.join()
    nobody = Sender(Endpoint(host="127.0.0.1", port=free_port()), client_id="s", version="5", patience_s=0.2)
    with pytest.raises(SourceError, match="name another by ENERGY_ASSETS_MQTT_BROKER"), nobody:
        pass


def test_once_it_is_over_nothing_waits_for_a_broker_that_is_gone(tmp_path: Path) -> None:
    over: list[int] = []
    with Embedded(tmp_path) as embedded:
        sender = Sender(embedded.endpoint, client_id="s", version="3.1.1", most_under_way=5, is_over=lambda: bool(over))
        with sender:
            embedded.stop(signal.SIGKILL)
            threading.Timer(0.5, over.append, [1]).start()
            began = time.monotonic()
            assert sender.send(outgoing(0, 100)) == 5
            sender.idle(60)
            assert time.monotonic() - began < 5
        assert sender.under_way == [0, 1, 2, 3, 4]
        embedded.start()


@needs_mosquitto
def test_retained_messages_and_an_mqtt_5_broker(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", inflight=20) as broker:
        endpoint = Endpoint(host="127.0.0.1", port=broker.port)
        with Sender(endpoint, client_id="s", version="5") as sender:
            sender.send([Outgoing(number=1, topic="kept", payload=b"yes", is_retained=True)])
            sender.send(outgoing(0, 3_000))
            assert sender.settle(within_s=10)
        assert sender.acknowledged == 3_001
        with listening(broker.port, "kept") as listener:
            assert listener.wait_for(1) == [("kept", b"yes", True)]


@needs_mosquitto
def test_tls_with_a_client_certificate_and_large_messages(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server, server_key = authority.issue("server")
    client, client_key = authority.issue("client")
    extra = f"cafile {authority.certificate}\ncertfile {server}\nkeyfile {server_key}\nrequire_certificate true\n"
    with Mosquitto(tmp_path / "broker", extra=extra + "use_identity_as_username true") as broker:
        endpoint = Endpoint(
            host="127.0.0.1",
            port=broker.port,
            has_tls=True,
            ca_file=authority.certificate,
            certificate_file=client,
            key_file=client_key,
        )
        with Sender(endpoint, client_id="s", version="5") as sender:
            sender.send([Outgoing(number=each, topic="t", payload=b"x" * 3_000_000) for each in range(5)])
            sender.send(outgoing(0, 5_000))
            assert sender.settle(within_s=20)
        assert sender.acknowledged == 5_005


def test_nothing_is_lost_when_recorder_and_embedded_broker_are_killed(tmp_path: Path) -> None:
    """What `bench/mqtt.py faults --broker embedded` shows at length: every acknowledged message is on disk."""
    messages = 30_000
    with Embedded(tmp_path / "broker") as embedded:
        spool = tmp_path / "spool"
        with RecorderProcess(spool, embedded.port, version="3.1.1") as recorder:
            recorder.await_recording()
            with Sender(embedded.endpoint, client_id="s", version="3.1.1") as sender:
                for part in range(3):
                    killed = threading.Timer(0.1, embedded.stop if part != 1 else recorder.stop, [signal.SIGKILL])
                    killed.start()
                    sent = threading.Thread(
                        target=sender.send, args=[outgoing(part * messages // 3, (part + 1) * messages // 3)]
                    )
                    sent.start()
                    killed.join()
                    (embedded if part != 1 else recorder).start()
                    sent.join()
                assert sender.settle(within_s=20)
            assert sender.acknowledged >= messages
            recorder.await_recording()
            found = await_numbers(spool, set(range(messages)), within_s=30)
    assert set(found) == set(range(messages))
