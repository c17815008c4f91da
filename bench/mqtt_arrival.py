"""How long a message takes from publishing to its row in `readings.raw`: `bench/mqtt.py arrival`.

As `energy up` brings it: embedded broker, recorder, sealing, Dagster's daemon and its sensor, in a home of its own,
with the simulated meters beside; first alone, then with every core kept busy by a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.mqtt_faults import scratch
from energy_assets.lake import Lake
from energy_assets.live import SOURCE
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.messaging.sending import Outgoing, Sender
from energy_assets.settings import Settings
from energy_assets.sql import Query
from energy_assets.supervisor import free_port

LIMIT_S, EVERY_S, SETTLING_S = 30.0, 4.3, 20.0
MESSAGES = 20


def arrival() -> bool:
    """Return whether every message is a row within the limit, alone and beside busy cores."""
    with scratch() as home, _platform(home) as port:
        lake = Lake.from_settings(Settings(home=home))
        time.sleep(SETTLING_S)
        alone = _arrivals(lake, port, first=0)
        with _busy_cores():
            beside = _arrivals(lake, port, first=MESSAGES)
    for name, seconds in (("alone", alone), ("beside busy cores", beside)):
        print(
            f"publish to readings.raw, {name}: {len(seconds)} of {MESSAGES} messages, "
            f"p50 {statistics.median(seconds):.1f} s, max {max(seconds):.1f} s, "
            f"ratio to the limit of {LIMIT_S:.0f} s {max(seconds) / LIMIT_S:.2f}"
        )
    return min(len(alone), len(beside)) == MESSAGES and max(*alone, *beside) <= LIMIT_S


def _arrivals(lake: Lake, port: int, *, first: int) -> Sequence[float]:
    """Publish a message now and then, and return how long each took until the lake had it, in seconds."""
    numbers = iter(range(first, first + MESSAGES))
    due = time.monotonic()
    sent_at_s: dict[float, float] = {}
    took_s: dict[float, float] = {}
    with Sender(Endpoint(host="127.0.0.1", port=port), client_id="bench", version="3.1.1") as sender:
        while len(took_s) < MESSAGES and time.monotonic() < due + 4 * LIMIT_S:
            if len(sent_at_s) < MESSAGES and time.monotonic() >= due:
                number, due = next(numbers), due + EVERY_S
                value = 1_000 + number / 4
                sent_at_s[value] = time.monotonic()
                sender.send([_message(number, value)])
            for value in _landed_values(lake) & (sent_at_s.keys() - took_s.keys()):
                took_s[value] = time.monotonic() - sent_at_s[value]
            sender.idle(0.3)
    return list(took_s.values())


def _message(number: int, value: float) -> Outgoing:
    at = datetime.now(UTC).replace(microsecond=0)
    content = {"meterId": "bench", "timestamp": at.isoformat(), "consumptionKwh": value}
    return Outgoing(number=number, topic="energy/meters/bench", payload=json.dumps(content).encode())


def _landed_values(lake: Lake) -> set[float]:
    text = "SELECT value FROM readings.raw WHERE meter_id LIKE $meter"
    return set(lake.query(Query(text=text, parameters={"meter": f"{SOURCE}.bench.%"}))["value"])


@contextmanager
def _platform(home: Path) -> Iterator[int]:
    """Run `energy up` until it is ready; give the broker's port."""
    (home / "community").mkdir()
    ports = {name: free_port("127.0.0.1") for name in ("DAGSTER", "MLFLOW", "BROKER")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENERGY_ASSETS")}
    environment |= {f"ENERGY_ASSETS_{name}_PORT": str(port) for name, port in ports.items()}
    environment |= {"ENERGY_ASSETS_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [str(Path(sys.executable).parent / "energy"), "up"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not any("Ctrl-C" in line for line in process.stdout):
            raise SystemExit(f"energy up ended with {process.wait()}; see {home / 'logs'}")
        yield ports["BROKER"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def _busy_cores() -> Iterator[None]:
    spin = [sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for each in spinning:
            each.kill()
            each.wait()
