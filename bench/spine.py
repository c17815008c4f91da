"""What a newcomer waits for: `python bench/spine.py`, or `load`, `up` or `run` for one of them.

`load`: a fresh process imports the graph and resolves its jobs. `run`: `energy run` at its default size in a home of
its own, with the peak memory of the process. `up`: `energy up` on that home (or an empty one), until every interface
answers, and the memory of all its processes together after it has idled. Each beside its limit; exits with 1 when one
is broken. Needs the `bench` packages.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import requests

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from energy_assets.supervisor import free_port

ENERGY = str(Path(sys.executable).parent / "energy")
LOAD_S, RUN_S, RUN_GB, READY_S, IDLE_GB = 3.0, 180.0, 3.0, 30.0, 1.5
IDLE_FOR_S = 45.0
LOAD = """
import time
started = time.perf_counter()
from energy_assets.definitions import defs
defs.resolve_asset_graph()
for job in defs.resolve_all_job_defs():
    assert job.name
print(time.perf_counter() - started)
"""


def load(_home: Path) -> Mapping[str, tuple[float, float]]:
    """Return the seconds that the graph and its jobs take to load, beside the limit."""
    seconds = [
        float(subprocess.check_output([sys.executable, "-W", "ignore", "-c", LOAD], text=True)) for _ in range(3)
    ]
    return {"graph load, s": (min(seconds), LOAD_S)}


def run(home: Path) -> Mapping[str, tuple[float, float]]:
    """Return the seconds and the peak memory of the main job, beside the limits."""
    started = time.perf_counter()
    subprocess.run([ENERGY, "run"], env=os.environ | {"ENERGY_ASSETS_HOME": str(home)}, check=True)
    seconds = time.perf_counter() - started
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return {"energy run, s": (seconds, RUN_S), "energy run, peak GB": (peak_gb, RUN_GB)}


def up(home: Path) -> Mapping[str, tuple[float, float]]:
    """Return the seconds until all interfaces answer, and the memory of an idle platform, beside the limits."""
    environment = os.environ | {
        "ENERGY_ASSETS_HOME": str(home),
        "ENERGY_ASSETS_DAGSTER_PORT": str(free_port("127.0.0.1")),
        "ENERGY_ASSETS_MLFLOW_PORT": str(free_port("127.0.0.1")),
        "ENERGY_ASSETS_BROKER_PORT": str(free_port("127.0.0.1")),
        "COLUMNS": "120",
    }
    started = time.perf_counter()
    process = subprocess.Popen([ENERGY, "up"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        ready = time.perf_counter() - started
        if process.poll() is not None:
            raise SystemExit(f"energy up ended with {process.returncode}")
        _await_idle(environment["ENERGY_ASSETS_DAGSTER_PORT"])
        time.sleep(IDLE_FOR_S)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        # Shared pages counted once: the proportional set size.
        idle_gb = sum(each.memory_full_info().pss for each in family) / 1e9
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return {"energy up, ready after s": (ready, READY_S), "energy up, idle GB": (idle_gb, IDLE_GB)}


def _await_idle(port: str) -> None:
    """Wait until no run is queued or going: the first start may ask for a training."""
    going = "[QUEUED, NOT_STARTED, STARTING, STARTED]"
    query = f"{{ runsOrError(filter: {{statuses: {going}}}) {{ ... on Runs {{ results {{ id }} }} }} }}"
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        time.sleep(40)
        answer = requests.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=30).json()
        if not answer["data"]["runsOrError"]["results"]:
            return


PARTS: Mapping[str, Callable[[Path], Mapping[str, tuple[float, float]]]] = {"load": load, "run": run, "up": up}


def main() -> int:
    wanted = sys.argv[1:] or list(PARTS)
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            found |= PARTS[name](Path(folder))
    for name, (value, limit) in found.items():
        print(f"{name:<28}{value:>8.2f}  limit {limit:<6g} ratio {value / limit:.2f}")
    return int(any(value > limit for value, limit in found.values()))


if __name__ == "__main__":
    sys.exit(main())
