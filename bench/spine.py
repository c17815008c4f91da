"""What a newcomer waits for: `python bench/spine.py`, or `load`, `run`, `up` for some of it, `--home DIR` for a home.

`load`: a fresh process imports the graph and resolves its jobs. `run`: `energy run` at its default size in a home of
its own, with the peak memory of the process. `up`: `energy up` on that home, with broker, recorder, publisher and
simulated meters, until all are ready; the memory of all its processes together (PSS: what they share counts once) and
the CPU they take after it has idled, and the most that was seen while a round of meters was landed. On a home without a
generated community no meters are simulated. Each beside its limit; exits with 1 when one is broken. Needs the `bench`
packages.
"""

from __future__ import annotations

import argparse
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
IDLE_CORES = 0.2
IDLE_FOR_S, LIVE_FOR_S = 45.0, 330.0
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
        for each in family:
            print(f"{_pss_gb(each) * 1000:>6.0f} MB  {' '.join(each.cmdline()[:6])[:100]}")
        idle_gb, most_gb = sum(map(_pss_gb, family)), 0.0
        began, busy_s = time.monotonic(), sum(sum(each.cpu_times()) for each in family)
        # Two rounds of the simulated meters, each recorded, sealed and landed.
        while time.monotonic() < began + LIVE_FOR_S:
            now = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            most_gb = max(most_gb, sum(map(_pss_gb, now)))
            time.sleep(2)
        busy_s = sum(sum(each.cpu_times()) for each in family) - busy_s
        cores = busy_s / (time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return {
        "energy up, ready after s": (ready, READY_S),
        "energy up, idle GB": (idle_gb, IDLE_GB),
        "energy up, most GB": (most_gb, IDLE_GB),
        "energy up, cores": (cores, IDLE_CORES),
    }


def _pss_gb(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 1e9
    except psutil.NoSuchProcess:
        return 0.0


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=[], help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--home", type=Path, help="default: one of its own, deleted afterwards")
    arguments = parser.parse_args()
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.parts or PARTS:
            found |= PARTS[name](arguments.home or Path(folder))
    for name, (value, limit) in found.items():
        print(f"{name:<28}{value:>8.2f}  limit {limit:<6g} ratio {value / limit:.2f}")
    return int(any(value > limit for value, limit in found.values()))


if __name__ == "__main__":
    sys.exit(main())
