"""Real brokers for the tests and the benchmark: Mosquitto where it is installed, amqtt from its package.

Each listens on a free loopback port, keeps its files in a folder of its own, and can be stopped, killed and started
again on the same port.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from energy_assets.supervisor import free_port

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (apt install mosquitto)")

# What a broker needs so that it drops nothing: its defaults keep 1,000 messages a client.
LIMITS = """
persistence true
persistence_location {folder}/
autosave_interval 1800
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages {inflight}
upgrade_outgoing_qos true
set_tcp_nodelay true
log_type error
log_type warning
"""


class Mosquitto:
    """A Mosquitto that keeps its port and its store over restarts; `extra` is more configuration."""

    def __init__(self, folder: Path, *, extra: str = "allow_anonymous true", inflight: int = 0, store: bool = True):
        self.port = free_port()
        self.host = "127.0.0.1"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        limits = LIMITS.format(folder=folder, inflight=inflight)
        if not store:
            limits = limits.replace("persistence true", "persistence false")
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"user root\nlistener {self.port} 127.0.0.1\n{extra}\n{limits}")
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with (self._folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen([str(MOSQUITTO), "-c", str(self._config)], stdout=log, stderr=log)
        await_port(self.port, self.process)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None


class Amqtt:
    """The pure-Python broker of the development packages: another implementation to talk to, not one to rely on."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self.host = "127.0.0.1"
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "amqtt.log"
        self._config = folder / "amqtt.yaml"
        self._config.write_text(
            f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{self.port}\n"
            "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Amqtt:
        command = [str(Path(sys.executable).with_name("amqtt")), "-c", str(self._config)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        await_port(self.port, self.process)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(20)


def await_port(port: int, process: subprocess.Popen[bytes], *, within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the broker ended with {process.returncode}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after {within_s} s")
