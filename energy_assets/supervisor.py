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
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import TypeVar

from energy_assets.errors import ConfigError, EnergyAssetsError
from energy_assets.instance import child_environment
from energy_assets.settings import Settings

_PORT_OF = {"mlflow": "MLFLOW", "broker": "BROKER"}
_READY_WITHIN_S = 120.0
_STOP_WITHIN_S = 15.0
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Service:
    """A child process: its name, command, what tells that it is ready, and variables of its own.

    Ready is one whose address answers, whose port is open, or for whose process id `is_ready` holds. One that
    `is_last` is started when all others are ready.
    """

    name: str
    command: Sequence[str]
    ready_url: str | None = None
    port: int | None = None
    is_ready: Callable[[int], bool] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    is_last: bool = False


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
        for is_last in (False, True):
            wave = [each for each in self.services if each.is_last is is_last]
            for service in wave:
                self._spawn(service)
            for service in wave:
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

    def _spawn(self, service: Service) -> None:
        with (self.log_folder / f"{service.name}.log").open("ab") as log:
            self._children[service.name] = subprocess.Popen(
                list(service.command),
                env=self.environment | dict(service.environment),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _await(self, service: Service) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._is_stopping:
                return
            if self._children[service.name].poll() is not None:
                raise EnergyAssetsError(f"{service.name} did not start; see {self.log_folder / service.name}.log")
            if _is_ready(service, self._children[service.name].pid):
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
    host, dagster = settings.host, settings.dagster_port
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
        _mlflow(settings),
        Service(
            name="webserver",
            command=[str(binaries / "dagster-webserver"), "-w", str(workspace), "-h", host, "-p", str(dagster)],
            ready_url=f"http://{host}:{dagster}/server_info",
            port=dagster,
        ),
        # A daemon that finds no code server looks for it again only a minute later.
        Service(name="daemon", command=[str(binaries / "dagster-daemon"), "run", "-w", str(workspace)], is_last=True),
    ]


def _mlflow(settings: Settings) -> Service:
    """Return MLflow's server as `mlflow server --workers 1` starts it, without the parent that only waits for it.

    That parent takes 215 MB; the variables are those by which it tells its worker where the stores are.
    """
    artifacts = settings.home / "mlflow" / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    host, port = settings.host, settings.mlflow_port
    return Service(
        name="mlflow",
        command=[sys.executable, "-m", "uvicorn", "--host", host, "--port", str(port), "mlflow.server.fastapi_app:app"],
        ready_url=f"http://{host}:{port}/health",
        port=port,
        environment={
            "_MLFLOW_SERVER_FILE_STORE": settings.tracking_uri,
            "_MLFLOW_SERVER_REGISTRY_STORE": settings.tracking_uri,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": artifacts.as_uri(),
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts.as_uri(),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        },
    )


def supervisor_of(
    settings: Settings, *, more: Sequence[Service] = (), environment: Mapping[str, str] | None = None
) -> Supervisor:
    """Return the supervisor of a platform on one machine, with more services and variables for all of them."""
    return Supervisor(
        services=[*more, *services_of(settings, workspace=settings.home / "dagster" / "workspace.yaml")],
        environment=child_environment(settings) | dict(environment or {}),
        log_folder=settings.home / "logs",
    )


def apart(work: Callable[[Settings], _Result], settings: Settings) -> _Result:
    """Return what a function returns, called in a process that ends: what it imports does not stay in this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as other:
        return other.submit(work, settings).result()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201


def _is_ready(service: Service, process_id: int) -> bool:
    if service.is_ready is not None:
        return service.is_ready(process_id)
    if service.ready_url is not None:
        return _answers(service.ready_url)
    return service.port is None or _is_taken(service.port)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own service, http on the loopback
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
