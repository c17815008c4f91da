"""When the disk says no: nothing is acknowledged, the health file says why, and the recorder goes on by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from energy_assets.messaging.recorder import Recorder, RecorderOptions
from energy_assets.messaging.spool import SealRule
from energy_assets_tests.messaging.brokers import Mosquitto, needs_mosquitto
from energy_assets_tests.messaging.publishing import Publisher
from energy_assets_tests.messaging.recording import RecorderProcess, await_numbers, stored_numbers, stored_records
from energy_assets_tests.messaging.scripted import CONNACK_NEW, PUBACK, ScriptedBroker, publish, suback


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, which takes root to make."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _varied(number: int) -> tuple[str, bytes]:
    """Return a message that does not compress to nothing."""
    return "energy/x", b'{"number":%d,"noise":"%s"}' % (number, os.urandom(40).hex().encode())


@needs_mosquitto
def test_disk_fills_under_load_and_is_freed(tmp_path: Path, small_disk: Path) -> None:
    messages = 20_000
    ballast = small_disk / "ballast"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        RecorderProcess(small_disk / "spool", broker.port, arguments=("--receive-maximum", "65535")) as recorder,
    ):
        recorder.await_recording()
        with ballast.open("wb") as file:
            file.write(b"x" * 700_000)
        publisher = Publisher(broker.port, per_s=15_000, message=_varied)
        thread = threading.Thread(target=publisher.run, args=(0, messages - 1), kwargs={"within_s": 20})
        thread.start()
        failing = recorder.await_health(lambda health: health.state == "spool failing")
        assert failing.trouble is not None
        assert "No space left on device" in failing.trouble
        assert failing.counters.acknowledged <= failing.counters.stored < messages
        thread.join()
        assert len(publisher.acknowledged) == messages, "the broker goes on taking messages"
        time.sleep(1.2)
        still = recorder.await_health(lambda health: health.state == "spool failing")
        assert still.counters.received - still.counters.stored <= 8_000, "what is held in memory is bounded"
        # Freed as an operator does it: the sealed segments move to a larger disk, and so does the ballast.
        saved = tmp_path / "saved"
        saved.mkdir()
        ballast.unlink()
        for path in (small_disk / "spool").glob("*.jsonl.zst"):
            shutil.move(path, saved / path.name)
        deadline = time.monotonic() + 20
        while publisher.acknowledged - set(found := stored_numbers(saved) + stored_numbers(recorder.folder)):
            assert time.monotonic() < deadline, f"{len(publisher.acknowledged - set(found))} are missing"
            for path in (small_disk / "spool").glob("*.jsonl.zst"):
                shutil.move(path, saved / path.name)
            time.sleep(0.2)
        healed = recorder.await_health(lambda health: health.state == "recording")
        assert healed.trouble is None
        assert healed.counters.spool_failures >= 1
        assert recorder.stop() == 0
        numbers = [record.sequence for folder in (saved, recorder.folder) for record in stored_records(folder)]
        assert len(set(numbers)) == len(numbers), "what was written again after the failure is not there twice"


@needs_mosquitto
def test_spool_that_is_no_folder_at_first_and_vanishes_later(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_text("in the way")
    with Mosquitto(tmp_path / "broker") as broker, RecorderProcess(spool, broker.port) as recorder:
        deadline = time.monotonic() + 5
        while not recorder.log.exists() or "cannot be written" not in recorder.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        spool.unlink()
        recorder.await_recording()
        publisher = Publisher(broker.port)
        publisher.run(0, 999)
        assert set(await_numbers(spool, publisher.acknowledged)) == publisher.acknowledged


def _recorder(broker: ScriptedBroker, folder: Path) -> tuple[Recorder, threading.Thread]:
    options = RecorderOptions(client_id="r", filters=("a/#",), folder=folder, version="3.1.1", seal=SealRule())
    recorder = Recorder(broker.endpoint, options)
    thread = threading.Thread(target=recorder.run)
    thread.start()
    broker.accept()
    broker.send(CONNACK_NEW["3.1.1"] + suback("3.1.1", 1))
    return recorder, thread


def test_no_acknowledgement_before_the_disk_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one rule: while fdatasync has not returned, the broker hears nothing."""
    may_go_on = threading.Event()
    synced = os.fdatasync

    def slow_disk(handle: int) -> None:
        assert may_go_on.wait(10)
        synced(handle)

    monkeypatch.setattr(os, "fdatasync", slow_disk)
    with ScriptedBroker("3.1.1") as broker:
        recorder, thread = _recorder(broker, tmp_path / "spool")
        broker.send(publish(1, b"one", version="3.1.1") + publish(2, b"two", version="3.1.1"))
        assert broker.received(PUBACK, within_s=0.3) == []
        may_go_on.set()
        assert broker.await_packet(PUBACK, count=2) == b"\x00\x02"
        recorder.stop()
        thread.join()
    assert [record.payload for record in stored_records(tmp_path / "spool")] == [b"one", b"two"]


def test_failed_sync_is_written_again_to_another_segment_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an fdatasync that failed, the kernel may call the lost pages clean: a second one would prove nothing."""
    synced, calls = os.fdatasync, []

    def failing_once(handle: int) -> None:
        calls.append(os.readlink(f"/proc/self/fd/{handle}"))
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        synced(handle)

    monkeypatch.setattr(os, "fdatasync", failing_once)
    with ScriptedBroker("3.1.1") as broker:
        recorder, thread = _recorder(broker, tmp_path / "spool")
        broker.send(publish(1, b"one", version="3.1.1"))
        broker.await_packet(PUBACK)
        broker.send(publish(2, b"two", version="3.1.1"))
        assert len(broker.received(PUBACK, within_s=0.3)) == 1
        broker.send(publish(3, b"three", version="3.1.1"))
        assert broker.await_packet(PUBACK, count=3) == b"\x00\x03"
        recorder.stop()
        thread.join()
    assert calls[0] == calls[1] != calls[2]
    assert [record.payload for record in stored_records(tmp_path / "spool")] == [b"one", b"two", b"three"]


def test_connection_lost_while_the_disk_fails_keeps_what_was_received(tmp_path: Path) -> None:
    """A message at QoS 0 has no second chance, so it is kept over the loss; one at QoS 1 just comes twice."""
    folder = tmp_path / "spool"
    with ScriptedBroker("3.1.1") as broker:
        recorder, thread = _recorder(broker, folder)
        broker.await_packet(8)
        folder.rename(tmp_path / "away")
        folder.write_text("in the way")
        broker.send(b"\x30\x08\x00\x03a/bnil" + publish(1, b"one", version="3.1.1"))
        assert broker.received(PUBACK, within_s=0.3) == []
        assert broker.connection is not None
        broker.connection.close()
        broker.connection = None
        folder.unlink()
        (tmp_path / "away").rename(folder)
        broker.accept()
        broker.send(CONNACK_NEW["3.1.1"] + suback("3.1.1", 1) + publish(1, b"one", version="3.1.1", header=0x3A))
        broker.await_packet(PUBACK)
        recorder.stop()
        thread.join()
    assert [(record.payload, record.qos, record.duplicate) for record in stored_records(folder)] == [
        (b"nil", 0, False),
        (b"one", 1, False),
        (b"one", 1, True),
    ]
