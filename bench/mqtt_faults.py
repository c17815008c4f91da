"""Troubles of `bench/mqtt.py faults`: kills, restarts, a full disk, a network cut, devices at QoS 0, on either broker.

Each publishes 150,000 messages at 15,000 a second through its trouble, lands what the recorder kept into a lake of its
own, and counts what is missing of what was acknowledged to the publisher, and the unique keys in `readings.raw`.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from energy_assets_tests.messaging.brokers import Mosquitto
from energy_assets_tests.messaging.embedded import Embedded
from energy_assets_tests.messaging.publishing import Publisher
from energy_assets_tests.messaging.recording import RecorderProcess, await_numbers, stored_numbers

FAULT_MESSAGES, FAULT_PER_S = 150_000, 15_000


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder on a disk, not in memory, that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-mqtt-", dir="/var/tmp") as name:
        yield Path(name)


def peak_mb(process: int | str) -> float:
    """Return the most memory that a process ever held."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


class Proxy:
    """Forwards a port; `cut` makes it swallow everything, as a dead network does, without closing anything."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.is_cut = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self.is_cut:
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(1 << 16):
                if self.is_cut:
                    return
                sink.sendall(chunk)


Broker = Mosquitto | Embedded
BROKERS: dict[str, Callable[[Path], Broker]] = {"mosquitto": Mosquitto, "embedded": Embedded}
VERSIONS = {"mosquitto": "5", "embedded": "3.1.1"}


def _fault(
    name: str,
    act: Callable[[Broker, RecorderProcess], None],
    *,
    of: str,
    qos: int = 1,
    via: bool = False,
    patience_s: float = 60,
) -> bool:
    """Publish through one trouble, wait for the recorder, land what it kept; return whether nothing is missing."""
    with scratch() as folder, BROKERS[of](folder / "broker") as broker:
        proxy = Proxy(broker.port) if via else None
        port = proxy.port if proxy else broker.port
        with RecorderProcess(folder / "spool", port, version=VERSIONS[of]) as recorder:
            broker.proxy = proxy
            recorder.await_recording()
            publisher = Publisher(broker.port, per_s=FAULT_PER_S, qos=qos)
            thread = threading.Thread(target=publisher.run, args=(0, FAULT_MESSAGES - 1), kwargs={"within_s": 90})
            started = time.monotonic()
            thread.start()
            act(broker, recorder)
            thread.join()
            published_s = max(publisher.sent_at_s.values()) - started
            found = await_numbers(recorder.folder, publisher.acknowledged, within_s=patience_s)
            most_mb = peak_mb(recorder.process.pid)
            recorder.stop(signal.SIGTERM)
        rows = _landed_rows(folder, spool=folder / "spool")
    lost = len(publisher.acknowledged - set(found))
    print(
        f"{name:<34}{len(publisher.acknowledged):>9,} acknowledged in {published_s:4.1f} s {lost:>7,} lost "
        f"{sum(found.values()) - len(found):>7,} twice {rows:>9,} unique rows   RSS {most_mb:.0f} MB",
        flush=True,
    )
    return lost == 0 and len(publisher.acknowledged) == FAULT_MESSAGES == rows


def _landed_rows(folder: Path, *, spool: Path) -> int:
    """Land a spool into a lake of its own, and return how many different keys `readings.raw` holds."""
    from datetime import UTC, datetime

    from energy_assets.contracts import READINGS_RAW
    from energy_assets.lake import Lake
    from energy_assets.message_landing import land_segments
    from energy_assets.messaging.payloads import mapping_file
    from energy_assets.readings.source import Source
    from energy_assets.settings import Settings

    lake = Lake.from_settings(Settings(home=folder / "home"))
    mapping = mapping_file(Path("system_003"))
    source = Source(name="fault", kind="mqtt", path=spool, mapping=mapping)
    land_segments(lake, source, now=datetime.now(UTC))
    return lake.read(READINGS_RAW, columns=list(READINGS_RAW.key)).unique().height


def _kill_recorder(_: Broker, recorder: RecorderProcess) -> None:
    for _ in range(5):
        time.sleep(1.2)
        recorder.stop(signal.SIGKILL)
        recorder.start()
        recorder.await_recording()


def _end_broker(number: int) -> Callable[[Broker, RecorderProcess], None]:
    """Return an act that ends the broker three times by a signal."""

    def act(broker: Broker, _: RecorderProcess) -> None:
        for _ in range(3):
            time.sleep(1.5)
            broker.stop(number)
            time.sleep(0.2)
            broker.start()

    return act


def _end_both(number: int) -> Callable[[Broker, RecorderProcess], None]:
    """Return an act that kills the recorder and ends the broker by a signal, three times."""

    def act(broker: Broker, recorder: RecorderProcess) -> None:
        for _ in range(3):
            time.sleep(1.5)
            recorder.stop(signal.SIGKILL)
            broker.stop(number)
            broker.start()
            recorder.start()
            recorder.await_recording()

    return act


def _kill_broker(broker: Broker, _: RecorderProcess) -> None:
    time.sleep(3)
    broker.stop(signal.SIGKILL)
    time.sleep(0.2)
    broker.start()


def _cut_network(broker: Broker, _: RecorderProcess) -> None:
    time.sleep(1)
    broker.proxy.is_cut = True
    time.sleep(30)
    broker.proxy.is_cut = False


def _leave_alone(_: Broker, recorder: RecorderProcess) -> None:
    time.sleep(2)
    recorder.stop(signal.SIGTERM)
    time.sleep(3)
    recorder.start()


def _disk_full(*, of: str) -> bool:
    with scratch() as folder:
        disk = folder / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=False).returncode:
            print("disk full and freed: needs root to mount a small file system; not run")
            return True
        try:
            (disk / "ballast").write_bytes(b"x" * (23 << 20))
            with (
                BROKERS[of](folder / "broker") as broker,
                RecorderProcess(disk / "spool", broker.port, version=VERSIONS[of]) as recorder,
            ):
                recorder.await_recording()
                publisher = Publisher(broker.port, per_s=FAULT_PER_S)
                thread = threading.Thread(target=publisher.run, args=(0, FAULT_MESSAGES - 1))
                thread.start()
                recorder.await_health(lambda health: health.state == "spool failing", within_s=20)
                stored = recorder.health().counters.stored
                thread.join()
                time.sleep(1)
                (disk / "ballast").unlink()
                found = await_numbers(recorder.folder, publisher.acknowledged, within_s=60)
                most_mb = peak_mb(recorder.process.pid)
                lost = len(publisher.acknowledged - set(found))
                recorder.stop(signal.SIGTERM)
            rows = _landed_rows(folder, spool=disk / "spool")
        finally:
            subprocess.run(["umount", disk], check=True)
    print(
        f"{'disk full and freed':<34}{len(publisher.acknowledged):>9,} acknowledged (full at {stored:,}) "
        f"{lost:>7,} lost "
        f"{sum(found.values()) - len(found):>7,} twice {rows:>9,} unique rows   RSS {most_mb:.0f} MB",
        flush=True,
    )
    return lost == 0 and len(publisher.acknowledged) == FAULT_MESSAGES == rows


def _control() -> bool:
    """paho as most recorders use it: a clean session, acknowledged on receipt, stored later; killed once."""
    with scratch() as folder, Mosquitto(folder / "broker") as broker:
        command = [
            sys.executable,
            str(Path(__file__).with_name("mqtt.py")),
            "child",
            "paho",
            str(broker.port),
            str(10**9),
            str(folder),
        ]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        publisher = Publisher(broker.port, per_s=FAULT_PER_S)
        thread = threading.Thread(target=publisher.run, args=(0, FAULT_MESSAGES // 5 - 1))
        thread.start()
        time.sleep(1)
        child.kill()
        child.wait()
        child.stdout.close()
        with RecorderProcess(folder / "spool", broker.port, client_id="bench", version="3.1.1") as recorder:
            recorder.await_recording()
            thread.join()
            time.sleep(2)
            found = stored_numbers(recorder.folder)
    lost = len(publisher.acknowledged - set(found))
    print(f"{'control: acknowledged on receipt':<34}{len(publisher.acknowledged):>9,} acknowledged {lost:>17,} lost")
    return lost > 0


def faults(of: str) -> bool:
    """Run every trouble against one broker; what it does not promise is shown in brackets and not judged."""
    print(f"{of}: {FAULT_MESSAGES:,} messages at {FAULT_PER_S:,} a second", flush=True)
    if of == "embedded":
        kept = [
            _fault("recorder kill -9, five times", _kill_recorder, of=of),
            _fault("broker kill -9, three times", _end_broker(signal.SIGKILL), of=of),
            _fault("both kill -9, three times", _end_both(signal.SIGKILL), of=of),
            _disk_full(of=of),
            _fault("network cut for 30 s", _cut_network, of=of, via=True),
        ]
        _fault("(QoS 0 devices, recorder away)", _leave_alone, of=of, qos=0, patience_s=5)
        return all(kept)
    kept = [
        _fault("recorder kill -9, five times", _kill_recorder, of=of),
        _fault("broker restarted three times", _end_broker(signal.SIGTERM), of=of),
        _fault("both, three times", _end_both(signal.SIGTERM), of=of),
        _disk_full(of=of),
        _fault("network cut for 30 s", _cut_network, of=of, via=True),
        _fault("QoS 0 devices, recorder away", _leave_alone, of=of, qos=0),
        _control(),
    ]
    _fault("(Mosquitto's own kill -9)", _kill_broker, of=of, patience_s=5)
    return all(kept)
