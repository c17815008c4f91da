"""The platform's embedded broker as a process, on a free port, that can be killed and started again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from energy_assets.messaging.broker import broker_command
from energy_assets.messaging.endpoint import Endpoint
from energy_assets.supervisor import free_port
from energy_assets_tests.messaging.brokers import await_port


class Embedded:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = Endpoint(host="127.0.0.1", port=self.port)
        self._folder = folder
        self._command = broker_command(folder, host="127.0.0.1", port=self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Embedded:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGTERM)

    def start(self) -> None:
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        await_port(self.port, self._process)

    def stop(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(20)
