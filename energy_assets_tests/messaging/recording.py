"""Starts `energy record` as the process that it is in production, and reads what it left in its spool."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from energy_assets.errors import SourceError
from energy_assets.messaging.health import Health, health_path, read_health
from energy_assets.messaging.segments import Record, read_segment, segments

COMMAND = str(Path(sys.executable).with_name("energy"))


class RecorderProcess:
    """A recorder of one spool folder: started, stopped, killed and started again."""

    def __init__(
        self, folder: Path, port: int, *, client_id: str = "recorder", arguments: tuple[str, ...] = (), **env: str
    ) -> None:
        self.folder = folder
        self.client_id = client_id
        self.log = folder.parent / f"{folder.name}-{client_id}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._arguments = arguments
        self._environment = os.environ | {
            "ENERGY_ASSETS_MQTT_BROKER": f"mqtt://127.0.0.1:{port}",
            "ENERGY_ASSETS_HOME": str(folder.parent),
            **{f"ENERGY_ASSETS_MQTT_{name.upper()}": value for name, value in env.items()},
        }

    def __enter__(self) -> RecorderProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)

    def start(self, *, before: Callable[[], None] | None = None) -> None:
        command = [COMMAND, "record", "--folder", str(self.folder), "--client-id", self.client_id, *self._arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self._environment,
                stdout=log,
                stderr=log,
                preexec_fn=before,  # noqa: PLW1509
            )

    def stop(self, number: int = signal.SIGTERM) -> int | None:
        """End the process by a signal and return its exit code."""
        if self.process is None:
            return None
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        code = self.process.wait(20)
        self.process = None
        return code

    def health(self) -> Health | None:
        with suppress(SourceError):
            return read_health(health_path(self.folder, self.client_id))
        return None

    def await_health(self, holds: Callable[[Health], bool], *, within_s: float = 10.0) -> Health:
        """Wait until this process (and not the one before) reports what is asked for."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            health = self.health()
            is_ours = health is not None and self.process is not None and health.process_id == self.process.pid
            if health is not None and is_ours and holds(health):
                return health
            time.sleep(0.02)
        raise AssertionError(f"not within {within_s} s: {self.health()}\n{self.log.read_text()}")

    def await_recording(self) -> Health:
        return self.await_health(lambda health: health.state == "recording")


def stored_records(folder: Path) -> list[Record]:
    """Return all records of a spool, those of sound frames of open segments too."""
    while True:
        with suppress(FileNotFoundError):  # an open segment was sealed while we looked
            return [record for segment in segments(folder) for record in read_segment(segment.path)]


def stored_numbers(folder: Path) -> Counter[int]:
    """Return how often each number of `meter_message` is in the spool."""
    return Counter(json.loads(record.payload)["number"] for record in stored_records(folder))


def await_numbers(folder: Path, wanted: set[int], *, within_s: float = 15.0) -> Counter[int]:
    """Return what the spool holds once it holds all of `wanted`, or at the end of the time."""
    deadline = time.monotonic() + within_s
    while True:
        found = stored_numbers(folder)
        if wanted <= set(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)
