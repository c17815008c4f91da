"""Training at the size of GEPIII: `python bench/training.py`, `--buildings 60` for a small one.

Generates a year of a community (1,449 buildings, 2,380 meters and 20 M rows, as GEPIII has), lands and cleans it, and
runs the weekly training through Dagster as its schedule does: features from the lake, forward folds that stop each
booster early, and 20 M feature rows (every second night of the year: each reading is met about once) that lie in files
and are learned from a shard at a time. Prints seconds and peak memory beside their limits. Then, of some meters drawn
at random, one model each by the same function from the same nights, and its error beside that of the global model on
the nights that neither has seen; seconds a meter are those of training divided by its meters.

`--home FOLDER` keeps the home there and what was found in its `bench_training.json`, so that a later call goes on from
what is made and trained; `--again` trains again. `--rows` is what the global models learn from together (up to a
million are held in memory: the weekly training takes 600,000 by default), `--issues` the nights before the last four
weeks, `--matrix-gb` what a matrix may hold before it lies in files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

FIRST, LAST = date(2025, 1, 1), date(2025, 12, 31)
LIMIT_S, LIMIT_GB, LEAST_RATIO = 900.0, 8.0, 20.0
FOUND = "bench_training.json"


def make(buildings: int) -> dict[str, float]:
    """Generate the community, declare it, and carry registry and history into the lake of this process."""
    from rich.console import Console

    from energy_assets.main_job import Step, carry_out
    from energy_assets.settings import load_settings
    from energy_assets.showcase import declare_community

    settings = load_settings()
    quiet = Console(quiet=True)
    began = time.perf_counter()
    declare_community(settings, buildings=buildings, households=0, first=FIRST, last=LAST, seed=0, console=quiet)
    generated = time.perf_counter()
    steps = [
        Step(title="Meters and sites", job="registry"),
        Step(title="Readings and weather", job="history", first=FIRST, last=LAST),
    ]
    carry_out(steps, settings=settings, console=quiet)
    return {"generated_s": generated - began, "landed_s": time.perf_counter() - generated, **count()}


def count() -> dict[str, float]:
    """Count what the lake of this process holds."""
    from energy_assets.contracts import METERS, READINGS_INTERVAL
    from energy_assets.lake import Lake
    from energy_assets.settings import load_settings

    lake = Lake.from_settings(load_settings())
    found = {"meters": float(lake.count(METERS)), "readings": float(lake.count(READINGS_INTERVAL))}
    lake.close()
    return found


def train() -> dict[str, float]:
    """Run the job `training` once, and return its seconds and the peak memory of this process."""
    import dagster as dg

    from energy_assets.definitions import defs
    from energy_assets.defs.resources import registry_from
    from energy_assets.settings import load_settings

    job = defs.resolve_job_def("training")
    began = time.perf_counter()
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, run_config=_quiet()).success
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "seconds": time.perf_counter() - began,
        "cpu_s": used.ru_utime + used.ru_stime,
        "gb": used.ru_maxrss / 1e6,
    }
    registry = registry_from(load_settings())
    versions = [registry.described(name, alias="challenger") for name in registry.names()]
    found["models"] = float(len(versions))
    found["learned"] = float(sum(int(each.tags["training_rows"]) for each in versions if each))
    return found


def rivals(count: int) -> dict[str, Any]:
    """Train one model of each of some meters, and compare it with the global one on nights that neither has seen."""
    from energy_assets.contracts import METERS
    from energy_assets.defs.features import features_of
    from energy_assets.defs.models import training_issues
    from energy_assets.defs.resources import registry_from
    from energy_assets.lake import Lake
    from energy_assets.models.archive import FULL
    from energy_assets.models.evaluation import summary_of
    from energy_assets.models.spec import SPECS
    from energy_assets.models.training import train as train_one
    from energy_assets.settings import load_settings

    settings = load_settings()
    lake, registry = Lake.from_settings(settings), registry_from(settings)
    meters = lake.read(METERS).filter(pl.col("commodity") == "electricity").sort("meter_id")
    chosen = meters[sorted(random.Random(1).sample(range(meters.height), min(count, meters.height)))]
    champion = registry.resolve("load-electricity-60min", alias="challenger")
    issues = training_issues(lake, settings=settings)
    rows = features_of(lake, issues=issues, is_actual_allowed=True, meters=chosen)
    own, shared, seconds = [], [], []
    for features in rows.partition_by("meter_id", maintain_order=True):
        began = time.perf_counter()  # features are left out: many at once would share the reading
        trained = train_one(features, spec=SPECS["full"], seed=0, threads=settings.threads)
        if isinstance(trained, str):
            continue
        seconds.append(time.perf_counter() - began)
        unseen = features.filter(pl.col("issued_at_utc") >= trained.unseen_starts_at_utc)
        unseen = unseen.filter(pl.col("energy_kwh").is_not_null(), pl.col("scale_kwh") > 0)
        for into, model in ((own, trained.variants[FULL]), (shared, champion.variants[FULL])):
            into.append(pl.concat([unseen.select("energy_kwh"), model.predict(unseen)], how="horizontal"))
    lake.close()
    if not seconds:
        raise SystemExit("No sampled meter has rows enough for a model of its own; give more --issues or --meters.")
    return {
        "sampled": len(seconds),
        "seconds_a_meter": sum(seconds) / len(seconds),
        "own": summary_of(pl.concat(own)),
        "shared": summary_of(pl.concat(shared)),
    }


def child(action: str, *, home: Path, rows: int, issues: int, matrix_gb: float) -> dict[str, Any]:
    """Run one action in a process of its own and return what it found."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENERGY_ASSETS_")} | {
        "ENERGY_ASSETS_HOME": str(home),
        "ENERGY_ASSETS_FIRST_DAY": FIRST.isoformat(),
        "ENERGY_ASSETS_TRAINING_ROWS": str(rows),
        "ENERGY_ASSETS_TRAINING_ISSUES": str(issues),
        "ENERGY_ASSETS_TRAINING_MEMORY_GB": str(matrix_gb),
        "ENERGY_ASSETS_ACTUAL_WEATHER_AS_FORECAST": "true",
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "ignore", __file__, "--action", action]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{action} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buildings", type=int, default=1449)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--issues", type=int, default=175)
    parser.add_argument("--matrix-gb", type=float, default=4.0)
    parser.add_argument("--meters", type=int, default=4, help="of which one model each is trained")
    parser.add_argument("--home", type=Path, help="a folder that is kept, with what is made and trained in it")
    parser.add_argument("--again", action="store_true", help="train again in a home that was trained before")
    parser.add_argument("--action", default="")
    arguments = parser.parse_args()
    if arguments.action:
        warnings.simplefilter("ignore")
        action, _, number = arguments.action.partition(":")
        actions: dict[str, Callable[[], dict[str, Any]]] = {
            "make": lambda: make(int(number)),
            "count": count,
            "train": train,
            "rivals": lambda: rivals(int(number)),
        }
        print(json.dumps(actions[action]()))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        common = {
            "home": home,
            "rows": arguments.rows,
            "issues": arguments.issues,
            "matrix_gb": arguments.matrix_gb,
        }
        found = _found(home)
        if "made" not in found:
            action = "count" if (home / "lake").exists() else f"make:{arguments.buildings}"
            _keep(home, found, made=child(action, **common))
        made = found["made"]
        print(f"{made['meters']:,.0f} meters, {made['readings']:,.0f} readings", end="")
        if "landed_s" in made:
            print(f": made in {made['generated_s']:.0f} s, landed and cleaned in {made['landed_s']:.0f} s", end="")
        print(flush=True)
        if "trained" not in found or arguments.again:
            _keep(home, found, trained=child("train", **common))
        trained = found["trained"]
        print(
            f"{trained['models']:.0f} models from {trained['learned']:,.0f} rows in {trained['seconds']:.0f} s "
            f"({trained['cpu_s']:.0f} s of CPU), peak {trained['gb']:.2f} GB",
            flush=True,
        )
        single = child(f"rivals:{arguments.meters}", **common) if arguments.meters else None
    return _judged(made, trained, single)


def _found(home: Path) -> dict[str, Any]:
    file = home / FOUND
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def _keep(home: Path, found: dict[str, Any], **more: dict[str, Any]) -> None:
    found |= more
    (home / FOUND).write_text(json.dumps(found, indent=1), encoding="utf-8")


def _judged(made: dict[str, Any], trained: dict[str, Any], single: dict[str, Any] | None) -> int:
    each = trained["seconds"] / made["meters"]
    limits = [
        ("seconds of training", trained["seconds"], LIMIT_S, trained["seconds"] / LIMIT_S),
        ("GB at the peak", trained["gb"], LIMIT_GB, trained["gb"] / LIMIT_GB),
    ]
    if single is not None:
        ratio = single["seconds_a_meter"] / each
        print(
            f"one model per meter, {single['sampled']} sampled: {single['seconds_a_meter']:.1f} s a meter, "
            f"{single['seconds_a_meter'] * made['meters'] / 3600:.1f} h for all; global {each:.3f} s a meter"
        )
        for name in ("nmae", "nrmse", "pinball", "coverage_80"):
            if name in single["own"] and name in single["shared"]:
                print(f"  {name:<12} global {single['shared'][name]:.4f}  one per meter {single['own'][name]:.4f}")
        error = single["shared"]["nmae"] / single["own"]["nmae"]
        limits += [
            ("least times as long, one per meter", ratio, LEAST_RATIO, LEAST_RATIO / ratio),
            ("error of global over one per meter", error, 1.0, error),
        ]
    for name, value, limit, share in limits:
        print(f"{name:<40} {value:>9.2f}  limit {limit:<6g} ratio {share:.2f}")
    return int(any(share > 1 for *_, share in limits))


def _quiet() -> dict[str, object]:
    return {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


if __name__ == "__main__":
    sys.exit(main())
