"""`energy up`: the code server, the Dagster UI and daemon, and the MLflow UI under one process that stops cleanly.

Children run in groups of their own; when one ends, or this process is told to stop, all are ended, gently first.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import requests

from energy_assets.errors import ConfigError, EnergyAssetsError
from energy_assets.instance import child_environment
from energy_assets.settings import Settings

_PORT_OF = {"mlflow": "MLFLOW", "broker": "BROKER"}
_READY_WITHIN_S = 120.0
_STOP_WITHIN_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Service:
    """A child process: its name, command, and the address that answers once it is ready."""

    name: str
    command: Sequence[str]
    ready_url: str | None = None
    port: int | None = None


@dataclass(kw_only=True)
class Supervisor:
    """Runs services until one ends or a signal comes."""

    services: Sequence[Service]
    environment: dict[str, str]
    log_folder: Path
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _is_stopping: bool = False

    def start(self, *, announce: Callable[[str], None]) -> None:
        """Start every service and wait until each answers; a signal from now on ends the wait, and `watch` at once.

        Raises:
            ConfigError: a port is taken.
            EnergyAssetsError: a service ended or did not answer in time; the message names its log.
        """
        for service in self.services:
            if service.port is not None and _is_taken(service.port):
                raise ConfigError(
                    f"Port {service.port} of {service.name} is taken; choose another by "
                    f"ENERGY_ASSETS_{_PORT_OF.get(service.name, 'DAGSTER')}_PORT."
                )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        self.log_folder.mkdir(parents=True, exist_ok=True)
        for service in self.services:
            with (self.log_folder / f"{service.name}.log").open("ab") as log:
                self._children[service.name] = subprocess.Popen(
                    list(service.command), env=self.environment, stdout=log, stderr=log, start_new_session=True
                )
        for service in self.services:
            self._await(service)
            if self._is_stopping:
                return
            announce(service.name)

    def watch(self) -> int:
        """Wait until a service ends or a signal comes; return 0 after a signal, 1 when a service ended by itself."""
        while not self._is_stopping:
            for name, child in self._children.items():
                if child.poll() is not None:
                    _say(f"{name} ended with {child.returncode}, so everything stops; see {self.log_folder / name}.log")
                    return 1
            time.sleep(0.3)
        return 0

    def stop(self) -> None:
        """End every child's group: SIGTERM, and SIGKILL for those that do not go."""
        for child in self._children.values():
            _signal_group(child, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_WITHIN_S
        for child in self._children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(child, signal.SIGKILL)
                child.wait()
            # What the child left behind in its group goes too.
            _signal_group(child, signal.SIGKILL)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _await(self, service: Service) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._is_stopping:
                return
            if self._children[service.name].poll() is not None:
                raise EnergyAssetsError(f"{service.name} did not start; see {self.log_folder / service.name}.log")
            if service.ready_url is None:
                if service.port is None or _is_taken(service.port):
                    return
            else:
                with suppress(requests.RequestException):
                    if requests.get(service.ready_url, timeout=2).status_code < 500:
                        return
            time.sleep(0.2)
        raise EnergyAssetsError(
            f"{service.name} did not answer within {_READY_WITHIN_S:.0f} s; see {self.log_folder / service.name}.log"
        )


def services_of(settings: Settings, *, workspace: Path) -> list[Service]:
    """Return the services of a platform on one machine; `workspace` is where the workspace file is written."""
    binaries = Path(sys.executable).parent
    code_port = free_port(settings.host)
    workspace.parent.mkdir(parents=True, exist_ok=True)
    workspace.write_text(
        f"load_from:\n  - grpc_server:\n      host: {settings.host}\n      port: {code_port}\n"
        f"      location_name: energy_assets\n",
        encoding="utf-8",
    )
    artifacts = settings.home / "mlflow" / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    host, dagster, mlflow = settings.host, settings.dagster_port, settings.mlflow_port
    return [
        Service(
            name="code",
            command=[
                str(binaries / "dagster"),
                "api",
                "grpc",
                "-m",
                "energy_assets.definitions",
                "--location-name",
                "energy_assets",
                "-h",
                host,
                "-p",
                str(code_port),
            ],
            port=code_port,
        ),
        Service(
            name="mlflow",
            command=[
                str(binaries / "mlflow"),
                "server",
                "--workers",
                "1",
                "--host",
                host,
                "--port",
                str(mlflow),
                "--backend-store-uri",
                settings.tracking_uri,
                "--default-artifact-root",
                artifacts.as_uri(),
            ],
            ready_url=f"http://{host}:{mlflow}/health",
            port=mlflow,
        ),
        Service(
            name="webserver",
            command=[str(binaries / "dagster-webserver"), "-w", str(workspace), "-h", host, "-p", str(dagster)],
            ready_url=f"http://{host}:{dagster}/server_info",
            port=dagster,
        ),
        Service(name="daemon", command=[str(binaries / "dagster-daemon"), "run", "-w", str(workspace)]),
    ]


def supervisor_of(
    settings: Settings, *, more: Sequence[Service] = (), environment: Mapping[str, str] | None = None
) -> Supervisor:
    """Return the supervisor of a platform on one machine, with more services and variables for all of them."""
    return Supervisor(
        services=[*more, *services_of(settings, workspace=settings.home / "dagster" / "workspace.yaml")],
        environment=child_environment(settings) | dict(environment or {}),
        log_folder=settings.home / "logs",
    )


def free_port(host: str) -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
