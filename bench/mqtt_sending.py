"""How fast `energy simulate` sends, beside `mosquitto_pub` and a bare paho publisher: `bench/mqtt.py sending`.

All publish at QoS 1 to the same Mosquitto in one interleaved run, 100,000 meters twice each; the simulator makes its
messages meanwhile and keeps the ledger of them, the others send one text over and over.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.mqtt_faults import BROKERS, scratch
from energy_assets_tests.messaging.brokers import Mosquitto
from energy_assets_tests.messaging.publishing import meter_message

METERS, ROUNDS = 100_000, 2
TOPIC, PAYLOAD = meter_message(0)
WINDOW = 50
"""Of paho: with more under way, or all queued at once, it is slower."""


def sending(rounds: int, messages: int, *, of: str) -> bool:
    """Return whether the simulator is no slower than the others, and every message was acknowledged."""
    senders: dict[str, Callable[[int, int, Path], tuple[float, float]]] = {"energy simulate": _simulate, "paho": _paho}
    if shutil.which("mosquitto_pub"):
        senders["mosquitto_pub -l"] = _mosquitto_pub
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in senders}
    for _ in range(rounds):
        for name, send in senders.items():
            with scratch() as folder:
                made = Mosquitto(folder / "b", inflight=10_000, store=False) if of == "mosquitto" else None
                with made or BROKERS[of](folder / "b") as broker:
                    found[name].append(send(broker.port, messages, folder))
    bare = statistics.median(per_s for per_s, _ in found["paho"])
    print(f"{of}: {messages:,} messages at QoS 1, {rounds} rounds interleaved, medians; ratio to bare paho")
    for name, each in found.items():
        per_s = statistics.median(speed for speed, _ in each)
        print(f"{name:<18}{per_s:>9,.0f} msg/s{per_s / bare:>7.2f}   RSS {max(peak for _, peak in each):>5,.0f} MB")
    return statistics.median(per_s for per_s, _ in found["energy simulate"]) >= bare


def _simulate(port: int, messages: int, folder: Path) -> tuple[float, float]:
    command = [str(Path(sys.executable).parent / "energy"), "simulate", "--as-fast"]
    command += ["--meters", str(messages // ROUNDS), "--rounds", str(ROUNDS), "--ledger", str(folder / "ledger")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENERGY_ASSETS")}
    environment |= {"ENERGY_ASSETS_MQTT_BROKER": f"mqtt://127.0.0.1:{port}", "ENERGY_ASSETS_MQTT_VERSION": "3.1.1"}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = " ".join(child.stdout.read().split())
    peak_mb = _peak_mb_after(child)
    counted = re.match(r"([\d,]+) messages .*\(([\d,]+)/s\), ([\d,]+) acknowledged", said)
    assert counted, said
    sent, per_s, acknowledged = (int(text.replace(",", "")) for text in counted.groups())
    assert sent == acknowledged == messages, said
    return per_s, peak_mb


def _mosquitto_pub(port: int, messages: int, folder: Path) -> tuple[float, float]:
    lines = folder / "lines"
    lines.write_bytes((PAYLOAD + b"\n") * messages)
    command = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", TOPIC, "-l"]
    with lines.open() as file:
        began = time.monotonic()
        child = subprocess.Popen(command, stdin=file)
        peak_mb = _peak_mb_after(child)
    return messages / (time.monotonic() - began), peak_mb


def _paho(port: int, messages: int, _: Path) -> tuple[float, float]:
    code = (
        "import sys, threading, time, resource, paho.mqtt.client as paho\n"
        "from bench.mqtt_sending import PAYLOAD, TOPIC, WINDOW\n"
        "client = paho.Client(paho.CallbackAPIVersion.VERSION2)\n"
        "room, left = threading.Semaphore(WINDOW), [int(sys.argv[2])]\n"
        "def on_publish(*_):\n"
        "    left[0] -= 1\n"
        "    room.release()\n"
        "client.on_publish = on_publish\n"
        "client.max_inflight_messages_set(WINDOW)\n"
        "client.connect('127.0.0.1', int(sys.argv[1]))\n"
        "began = time.monotonic()\n"
        "client.loop_start()\n"
        "for _ in range(left[0]):\n"
        "    room.acquire()\n"
        "    client.publish(TOPIC, PAYLOAD, qos=1)\n"
        "while left[0]:\n"
        "    time.sleep(0.001)\n"
        "print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)\n"
    )
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code, str(port), str(messages)],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, peak_mb = map(float, done.stdout.split())
    return messages / seconds, peak_mb


def _peak_mb_after(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> float:
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_maxrss / 1e3
