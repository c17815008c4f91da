"""The supervisor of `energy up` on real small processes: all start, all stop, and who is at fault is named."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from energy_assets.errors import ConfigError, EnergyAssetsError
from energy_assets.settings import Settings
from energy_assets.supervisor import Service, Supervisor, free_port, services_of

# Listens on its port, and has a child that would outlive it and ignores SIGTERM.
_SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
print(child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def server(name: str, *, port: int | None = None) -> Service:
    port = port or free_port()
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
    slow = Service(name="slow", command=[sys.executable, "-c", "import time; time.sleep(600)"], port=free_port())
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
    broken = Service(name="broken", command=[sys.executable, "-c", "raise SystemExit('no')"], port=free_port())
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


def test_the_last_service_waits_for_the_others(stand: Stand, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    first = Service(
        name="first",
        command=[sys.executable, "-c", f"import time; time.sleep(0.5); open({str(mark)!r}, 'w'); time.sleep(60)"],
        is_ready=lambda _: mark.exists(),
    )
    last = command("last", f"import os, time; print(os.path.exists({str(mark)!r}), flush=True); time.sleep(60)")
    assert stand.start([replace(last, is_last=True), first]) == ["first", "last"]
    log = stand.folder / "last.log"
    while not log.read_text():
        time.sleep(0.02)
    assert log.read_text() == "True\n"


def test_a_service_has_variables_of_its_own(stand: Stand) -> None:
    said = command("said", "import os, time; print(os.environ['WORD'], flush=True); time.sleep(60)")
    stand.start([replace(said, environment={"WORD": "hello"})])
    log = stand.folder / "said.log"
    while not log.read_text():
        time.sleep(0.02)
    assert log.read_text() == "hello\n"


def test_mlflow_serves_the_store_of_the_settings(stand: Stand, tmp_path: Path) -> None:
    """Its server is started without the parent that hands over the stores; a newer MLflow may name them otherwise."""
    settings = Settings(home=tmp_path / "home", mlflow_port=free_port())
    services = {each.name: each for each in services_of(settings, workspace=tmp_path / "workspace.yaml")}
    child = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    stand.supervisor = Supervisor(
        services=[services["mlflow"]], environment=os.environ | child, log_folder=tmp_path / "logs"
    )
    stand.supervisor.start(announce=lambda _: None)
    address = f"http://127.0.0.1:{settings.mlflow_port}/api/2.0/mlflow/experiments"
    made = requests.post(f"{address}/create", json={"name": "load"}, timeout=60).json()
    experiment = requests.get(f"{address}/get", params={"experiment_id": made["experiment_id"]}, timeout=60).json()[
        "experiment"
    ]
    artifacts = settings.home / "mlflow" / "artifacts"
    assert experiment["artifact_location"] == f"{artifacts.as_uri()}/{made['experiment_id']}"
    with closing(sqlite3.connect(settings.home / "mlflow" / "mlflow.sqlite")) as store:
        assert store.execute("SELECT name FROM experiments ORDER BY name").fetchall() == [("Default",), ("load",)]


HEAVY = ["dagster", "duckdb", "mlflow", "numpy", "pandas", "polars", "requests", "xgboost"]


def loaded_after(code: str, *arguments: str) -> list[str]:
    """Return what a fresh process prints, and which heavy libraries it holds then."""
    told = f"{code}; import sys; print(*sorted({set(HEAVY)!r} & set(sys.modules)))"
    command = [sys.executable, "-W", "ignore", "-c", told, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("name", ["up", "record"])
def test_a_process_that_stays_carries_no_library_that_it_does_not_need(name: str) -> None:
    code = (
        "import sys; from energy_assets.cli import _MODULE_OF, load; load(_MODULE_OF[sys.argv[1]]);"
        "import energy_assets.live, energy_assets.messaging.recorder, energy_assets.supervisor"
    )
    assert loaded_after(code, name) == []


def test_what_prepares_the_platform_is_a_process_that_ends(tmp_path: Path) -> None:
    code = (
        "import sys; from energy_assets.cli.jobs import _prepared; from energy_assets.settings import Settings;"
        "from energy_assets.supervisor import apart;"
        "services, _ = apart(_prepared, Settings(home=sys.argv[1]));"
        "print(*(each.name for each in services))"
    )
    assert loaded_after(code, str(tmp_path)) == ["broker", "recorder", "publisher"]
    assert (tmp_path / "dagster" / "history" / "runs.db").is_file()


def test_energy_up_says_which_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ENERGY_ASSETS")}
        environment |= {"ENERGY_ASSETS_HOME": str(tmp_path), "ENERGY_ASSETS_DAGSTER_PORT": str(other.getsockname()[1])}
        environment |= {"ENERGY_ASSETS_MLFLOW_PORT": str(free_port()), "ENERGY_ASSETS_BROKER_PORT": "0"}
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
