"""What was acknowledged to a publisher is in the spool, whoever dies meanwhile: recorder, broker, both."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from energy_assets.messaging.codec import PacketReader, connect_packet, pubacks, subscribe_packet
from energy_assets.messaging.segments import Segment, read_segment, sealed_segments
from energy_assets_tests.messaging.brokers import Mosquitto, needs_mosquitto
from energy_assets_tests.messaging.publishing import Publisher
from energy_assets_tests.messaging.recording import (
    RecorderProcess,
    await_numbers,
    stored_numbers,
    stored_records,
)

pytestmark = needs_mosquitto

MESSAGES = 20_000
PER_S = 15_000


def _publishing(port: int, *, messages: int = MESSAGES) -> tuple[Publisher, threading.Thread]:
    publisher = Publisher(port, per_s=PER_S)
    thread = threading.Thread(target=publisher.run, args=(0, messages - 1), kwargs={"within_s": 30})
    thread.start()
    return publisher, thread


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_recorder_killed_in_a_loop_loses_nothing(tmp_path: Path, version: str) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        RecorderProcess(tmp_path / "spool", broker.port, version=version) as recorder,
    ):
        recorder.await_recording()
        publisher, thread = _publishing(broker.port)
        for _ in range(3):
            time.sleep(0.25)
            recorder.stop(signal.SIGKILL)
            recorder.start()
            recorder.await_recording()
        thread.join()
        assert len(publisher.acknowledged) == MESSAGES
        found = await_numbers(recorder.folder, publisher.acknowledged)
        assert publisher.acknowledged - set(found) == set()
        sequences = [record.sequence for record in stored_records(recorder.folder)]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert recorder.stop() == 0
        assert not [path for path in recorder.folder.iterdir() if path.name.endswith(".open")]


def test_broker_restarted_under_load_loses_nothing(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker, RecorderProcess(tmp_path / "spool", broker.port) as recorder:
        recorder.await_recording()
        publisher, thread = _publishing(broker.port)
        for _ in range(2):
            time.sleep(0.3)
            broker.stop(signal.SIGTERM)
            time.sleep(0.1)
            broker.start()
        thread.join()
        assert len(publisher.acknowledged) == MESSAGES
        assert publisher.acknowledged - set(await_numbers(recorder.folder, publisher.acknowledged)) == set()
        health = recorder.await_health(lambda health: health.counters.connections == 3)
        assert health.counters.sessions_lost == 0


def test_recorder_and_broker_restarted_together_lose_nothing(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker, RecorderProcess(tmp_path / "spool", broker.port) as recorder:
        recorder.await_recording()
        publisher, thread = _publishing(broker.port)
        time.sleep(0.3)
        recorder.stop(signal.SIGKILL)
        broker.stop(signal.SIGTERM)
        broker.start()
        recorder.start()
        recorder.await_recording()
        thread.join()
        assert publisher.acknowledged - set(await_numbers(recorder.folder, publisher.acknowledged)) == set()


def test_stop_under_load_stores_acknowledges_and_seals(tmp_path: Path) -> None:
    """After SIGTERM everything that was acknowledged to the broker is sealed, and the next recorder has the rest."""
    with Mosquitto(tmp_path / "broker") as broker, RecorderProcess(tmp_path / "spool", broker.port) as recorder:
        recorder.await_recording()
        publisher, thread = _publishing(broker.port)
        time.sleep(0.4)
        assert recorder.stop(signal.SIGTERM) == 0
        health = recorder.health()
        assert health is not None
        assert health.state == "stopped"
        assert health.counters.received == health.counters.stored == health.counters.acknowledged > 0
        assert sum(1 for segment in sealed_segments(recorder.folder) for _ in read_segment(segment.path)) == (
            health.counters.stored
        )
        recorder.start()
        thread.join()
        found = await_numbers(recorder.folder, publisher.acknowledged)
        assert publisher.acknowledged - set(found) == set()
        assert max(found.values()) == 1, "after a clean stop nothing is sent twice"


def test_two_recorders_share_a_subscription_and_one_dies(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        RecorderProcess(tmp_path / "spool", broker.port, client_id="one", arguments=("--share", "g")) as one,
        RecorderProcess(tmp_path / "spool", broker.port, client_id="two", arguments=("--share", "g")) as two,
    ):
        one.await_recording()
        two.await_recording()
        publisher, thread = _publishing(broker.port)
        time.sleep(0.4)
        one.stop(signal.SIGKILL)
        time.sleep(0.2)
        one.start()
        thread.join()
        found = await_numbers(one.folder, publisher.acknowledged)
        assert publisher.acknowledged - set(found) == set()
        clients = {found.client for path in one.folder.iterdir() if (found := Segment.from_path(path)) is not None}
        assert clients == {"one", "two"}


def test_control_that_acknowledges_on_receipt_loses_messages(tmp_path: Path) -> None:
    """The same kill, had the acknowledgement come first: without this loss the tests above would prove nothing."""
    with Mosquitto(tmp_path / "broker") as broker:
        received: set[int] = set()
        control = _control(broker.port)
        publisher, thread = _publishing(broker.port)
        reader = PacketReader(version="3.1.1")
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline:
            packets = [packet for packet in reader.feed(control.recv(65_536)) if packet[0] >> 4 == 3]
            control.sendall(pubacks([packet_id for _, _, packet_id, _ in packets]))
            received.update(range(len(received), len(received) + len(packets)))
        control.close()  # and what was received dies with its process: nothing is on disk
        with RecorderProcess(tmp_path / "spool", broker.port) as recorder:
            recorder.await_recording()
            thread.join()
            recorder.await_health(lambda health: health.counters.stored >= len(publisher.acknowledged) - len(received))
            lost = publisher.acknowledged - set(stored_numbers(recorder.folder))
        assert len(lost) >= len(received) * 0.9 > 100


def _control(port: int) -> socket.socket:
    control = socket.create_connection(("127.0.0.1", port))
    options = {"keep_alive_s": 60, "user_name": None, "password": None, "session_expiry_s": 0, "receive_maximum": 100}
    control.sendall(connect_packet(version="3.1.1", client_id="recorder", **options))
    control.sendall(subscribe_packet(1, ["#"], version="3.1.1"))
    assert control.recv(9, socket.MSG_WAITALL)[:4] == b"\x20\x02\x00\x00"
    return control
