"""The supervisor of `energy up` on real small processes: all start, all stop, and who is at fault is named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from energy_assets.errors import ConfigError, EnergyAssetsError
from energy_assets.supervisor import Service, Supervisor, free_port

# Listens on its port, and has a child that would outlive it and ignores SIGTERM.
_SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
print(child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def server(name: str, *, port: int | None = None) -> Service:
    port = port or free_port("127.0.0.1")
    command = [sys.executable, "-c", _SERVER, str(port)]
    return Service(name=name, command=command, ready_url=f"http://127.0.0.1:{port}/", port=port)


def command(name: str, code: str) -> Service:
    return Service(name=name, command=[sys.executable, "-c", code])


class Stand:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor: Supervisor | None = None

    def start(self, services: Sequence[Service]) -> list[str]:
        announced: list[str] = []
        self.supervisor = Supervisor(services=services, environment=dict(os.environ), log_folder=self.folder)
        self.supervisor.start(announce=announced.append)
        return announced

    def grandchildren(self) -> list[int]:
        return [
            int(line) for log in self.folder.glob("*.log") for line in log.read_text().splitlines() if line.isdigit()
        ]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    made = Stand(tmp_path / "logs")
    yield made
    if made.supervisor:
        made.supervisor.stop()
    for number, handler in before.items():
        signal.signal(number, handler)


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A killed orphan may wait for init to collect it.
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def are_gone(pids: Sequence[int], *, within_s: float = 5) -> bool:
    """Return whether all end; a killed process does so in its own time."""
    deadline = time.monotonic() + within_s
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_alive, pids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_every_child_and_what_it_started(stand: Stand, number: int) -> None:
    services = [server("one"), server("two")]
    assert stand.start(services) == ["one", "two"]
    assert stand.supervisor
    children = stand.grandchildren()
    assert len(children) == 2
    assert all(map(is_alive, children))
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
    assert stand.supervisor.watch() == 0
    stand.supervisor.stop()
    assert are_gone(children)
    for service in services:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", service.port or 0)) != 0


def test_a_signal_while_services_start_ends_the_wait(stand: Stand) -> None:
    slow = Service(
        name="slow", command=[sys.executable, "-c", "import time; time.sleep(600)"], port=free_port("127.0.0.1")
    )
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    assert stand.start([slow]) == []
    assert stand.supervisor
    assert stand.supervisor.watch() == 0
    assert time.monotonic() - began < 10


def test_a_port_that_is_taken_is_named_before_anything_starts(stand: Stand) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Port {port} of mlflow is taken.*ENERGY_ASSETS_MLFLOW_PORT"):
            stand.start([server("one"), server("mlflow", port=port)])
    assert not stand.folder.exists()


def test_a_service_that_ends_at_once_is_named_with_its_log(stand: Stand) -> None:
    broken = Service(
        name="broken", command=[sys.executable, "-c", "raise SystemExit('no')"], port=free_port("127.0.0.1")
    )
    with pytest.raises(EnergyAssetsError, match=r"broken did not start; see .*broken\.log"):
        stand.start([broken])


def test_a_service_that_ends_later_ends_everything(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    assert stand.start([server("web"), command("daemon", "import time; time.sleep(1.5); raise SystemExit(3)")])
    assert stand.supervisor
    children = stand.grandchildren()
    assert stand.supervisor.watch() == 1
    assert "daemon ended with 3, so everything stops; see " in capsys.readouterr().err
    stand.supervisor.stop()
    assert are_gone(children)


def test_energy_up_says_which_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ENERGY_ASSETS")}
        environment |= {"ENERGY_ASSETS_HOME": str(tmp_path), "ENERGY_ASSETS_DAGSTER_PORT": str(other.getsockname()[1])}
        environment |= {"ENERGY_ASSETS_MLFLOW_PORT": str(free_port("127.0.0.1")), "ENERGY_ASSETS_BROKER_PORT": "0"}
        done = subprocess.run(
            [str(Path(sys.executable).parent / "energy"), "up"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert "of webserver is taken; choose another by ENERGY_ASSETS_DAGSTER_PORT" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
