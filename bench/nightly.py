"""The night of a portfolio with trained models: `python bench/nightly.py`, or `--sizes 238 2380` for some.

For each number of hourly meters (16 sites, electricity and heat, sixty days and the same weeks a year ago), the jobs
that make a night of readings into forecasts, flags, prices and marts run through Dagster as the schedules run them,
each in a process of its own. Beside them, in the same process, runs their empty twin: the same assets, checks and
partitions with nothing in them. Its share of the time is Dagster's overhead. Models are trained once, on the smallest.
Prints seconds, shares and growth beside their limits; exits with 1 when one is broken.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Set
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.portfolio import declared, run_apart

NIGHT = date(2026, 3, 18)
SIZES = (238, 2380, 23800)
LIMIT_S, LIMIT_OVERHEAD = 60.0, 0.2
SITES_COUNT = 16

READINGS = """
WITH hours AS (
    SELECT make_timestamptz(epoch_us($starts) + range * 3_600_000_000) AS starts_at_utc, range AS hour
    FROM range((epoch_us($ends) - epoch_us($starts)) // 3_600_000_000)
)
SELECT meter_id, starts_at_utc, 60 AS interval_minutes,
       round(((hash(meter_id) % 90 + 10) * (1 + 0.5 * sin((epoch_us(starts_at_utc) // 3_600_000_000 % 24 - 8) * 0.2618)
             + (hash(meter_id, starts_at_utc) % 1000) / 4000.0)), 3) AS energy_kwh,
       starts_at_utc + INTERVAL 1 HOUR AS available_at_utc
FROM hours CROSS JOIN metering.meters
"""
INTERVALS = f"SELECT *, energy_kwh AS reported_kwh, 'measured' AS quality, NULL AS reason FROM ({READINGS})"
RAW = f"""
SELECT meter_id, starts_at_utc, 'bench' AS source, hash(energy_kwh) AS payload_hash, energy_kwh AS value,
       'kWh' AS unit, 'interval_energy' AS measure, available_at_utc, 'bench' AS batch_id
FROM ({READINGS})
"""


def fill(meters: int) -> None:
    """Write a portfolio, its readings as far as a night looks, and its weather into the lake of this process."""
    from energy_assets.contracts import (
        METERS,
        PREMISES,
        READINGS_INTERVAL,
        READINGS_RAW,
        SITES,
        WEATHER_FORECAST,
        WEATHER_OBSERVED,
        Window,
    )
    from energy_assets.features.matrix import reading_windows
    from energy_assets.lake import Lake
    from energy_assets.settings import load_settings
    from energy_assets.sql import Query

    lake = Lake.from_settings(load_settings())
    sites, premises, meter_rows = declared(meters, sites=SITES_COUNT)
    for table, frame in ((SITES, sites), (PREMISES, premises), (METERS, meter_rows)):
        lake.replace(table, table.conform(frame))
    issue = datetime.combine(NIGHT, datetime.min.time(), tzinfo=UTC)
    windows = [each for each in reading_windows([issue - timedelta(days=30), issue]) if each.starts_at_utc < issue]
    for window in windows:
        known = Window(starts_at_utc=window.starts_at_utc, ends_at_utc=min(window.ends_at_utc, issue))
        bounds = {"starts": known.starts_at_utc, "ends": known.ends_at_utc}
        lake.replace(READINGS_INTERVAL, Query(text=INTERVALS, parameters=bounds), window=known)
    recent = {"starts": issue - timedelta(days=45), "ends": issue}
    lake.replace(READINGS_RAW, Query(text=RAW, parameters=recent))
    hours = pl.datetime_range(
        issue - timedelta(days=70), issue + timedelta(days=4), "1h", eager=True, time_zone="UTC"
    ).alias("starts_at_utc")
    weather = sites.select("site_id").join(hours.to_frame(), how="cross").with_columns(
        temperature_c=8 + 5 * (pl.col("starts_at_utc").dt.hour() * 0.26 - 2).sin(),
        source=pl.lit("bench"),
        available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1),
    )  # fmt: skip
    lake.replace(WEATHER_OBSERVED, WEATHER_OBSERVED.conform(weather.filter(pl.col("starts_at_utc") < issue)))
    issues = [issue - timedelta(days=day) for day in range(65)]
    forecast = weather.drop("available_at_utc").join(pl.DataFrame({"issued_at_utc": issues}), how="cross").filter(
        pl.col("starts_at_utc").is_between("issued_at_utc", pl.col("issued_at_utc") + timedelta(days=3), closed="left")
    ).with_columns(available_at_utc="issued_at_utc")  # fmt: skip
    lake.replace(WEATHER_FORECAST, WEATHER_FORECAST.conform(forecast))
    lake.close()


def steps() -> list[tuple[str, date]]:
    """Return the jobs of the night that no reading has to arrive for, with the partition of each."""
    return [("derived", NIGHT - timedelta(days=1)), ("delivery", NIGHT + timedelta(days=1))]


def run_job(name: str, day: date, instance: dg.DagsterInstance) -> None:
    """Run a job of the graph on one partition, as the schedules ask for it."""
    from energy_assets.definitions import defs

    job = defs.resolve_job_def(name)
    done = job.execute_in_process(instance=instance, partition_key=day.isoformat(), run_config=_quiet())
    assert done.success


def _empty(node: Any, *, parents: Set[dg.AssetKey], checks: Set[dg.AssetCheckKey]) -> dg.AssetsDefinition:
    key, names = node.key, sorted(check.name for check in checks)

    @dg.multi_asset(
        name=f"empty_{key.to_python_identifier()}",
        specs=[dg.AssetSpec(key, deps=[parent for parent in node.parent_keys if parent in parents])],
        check_specs=[dg.AssetCheckSpec(name=name, asset=key) for name in names],
        partitions_def=node.partitions_def,
    )
    def nothing():  # type: ignore[no-untyped-def]
        yield dg.MaterializeResult(asset_key=key)
        for name in names:
            yield dg.AssetCheckResult(asset_key=key, check_name=name, passed=True)

    return nothing


def empty_twin(name: str) -> dg.JobDefinition:
    """Return a job with the assets, checks and partitions of a job of the graph, and nothing in them."""
    from energy_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    keys = defs.resolve_job_def(name).asset_layer.selected_asset_keys
    made = [_empty(graph.get(key), parents=keys, checks=graph.get_check_keys_for_assets({key})) for key in keys]
    job = dg.define_asset_job(f"empty_{name}", dg.AssetSelection.assets(*made))
    return dg.Definitions(assets=made, jobs=[job]).resolve_job_def(f"empty_{name}")


def night() -> dict[str, float]:
    """Run the night once in this process and return its seconds, Dagster's and the peak memory in GB."""
    from energy_assets.instance import dagster_home
    from energy_assets.settings import load_settings

    os.environ["DAGSTER_HOME"] = str(dagster_home(load_settings()))
    started = time.perf_counter()
    import energy_assets.definitions  # noqa: F401

    found = {"load_s": time.perf_counter() - started}
    with dg.DagsterInstance.get() as instance:
        twins = [(empty_twin(name), day) for name, day in steps()]
        for twin, day in twins:  # once before, so that neither side pays for the first use of the instance
            twin.execute_in_process(instance=instance, partition_key=day.isoformat(), run_config=_quiet())
        started = time.perf_counter()
        for twin, day in twins:
            assert twin.execute_in_process(
                instance=instance, partition_key=day.isoformat(), run_config=_quiet()
            ).success
        found["overhead_s"] = time.perf_counter() - started
        started = time.perf_counter()
        for name, day in steps():
            before = time.perf_counter()
            run_job(name, day, instance)
            found[f"{name}_s"] = time.perf_counter() - before
        found["night_s"] = time.perf_counter() - started
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return found


def train() -> None:
    """Train the models that the sizes share."""
    from energy_assets.definitions import defs

    with dg.DagsterInstance.ephemeral() as instance:
        assert defs.resolve_job_def("training").execute_in_process(instance=instance, run_config=_quiet()).success


def child(action: str, *, home: Path, shared: Path) -> dict[str, float]:
    """Run one action in a process of its own, with a home of its own and the shared models."""
    models = f"sqlite:///{shared / 'mlflow.sqlite'}"
    return run_apart(__file__, "--action", action, home=home, mlflow_tracking_uri=models, training_effort="quick")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--action", default="")
    arguments = parser.parse_args()
    if arguments.action:
        warnings.simplefilter("ignore")
        action, _, number = arguments.action.partition(":")
        outcome = {"fill": lambda: fill(int(number)), "train": train, "night": night}[action]() or {}
        print(json.dumps(outcome))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = _measured(list(arguments.sizes), Path(folder))
    return _judged(found)


def _measured(sizes: list[int], folder: Path) -> dict[int, dict[str, float]]:
    print(f"{'meters':>7} {'night':>8} {'flags':>8} {'forecast':>9} {'Dagster':>8} {'load':>6} {'peak':>8}", flush=True)
    found = {}
    for size in sizes:
        home = folder / str(size)
        child(f"fill:{size}", home=home, shared=folder)
        if size == sizes[0]:
            child("train", home=home, shared=folder)
        one = found[size] = child("night", home=home, shared=folder)
        share = one["overhead_s"] / one["night_s"]
        print(
            f"{size:>7,} {one['night_s']:>6.1f} s {one['derived_s']:>6.1f} s {one['delivery_s']:>7.1f} s {share:>7.0%} "
            f"{one['load_s']:>4.1f} s {one['peak_gb']:>5.2f} GB",
            flush=True,
        )
    return found


def _judged(found: dict[int, dict[str, float]]) -> int:
    limits: list[tuple[str, float, float]] = []
    if 2380 in found:
        one = found[2380]
        limits.append(("2,380 meters: seconds", one["night_s"], LIMIT_S))
        limits.append(("2,380 meters: Dagster's share", one["overhead_s"] / one["night_s"], LIMIT_OVERHEAD))
    sizes = sorted(found)
    for small, large in itertools.pairwise(sizes):
        growth = found[large]["night_s"] / found[small]["night_s"]
        limits.append((f"growth from {small:,} to {large:,} over linear", growth / (large / small), 1.0))
    for name, value, limit in limits:
        print(f"{name:<48} {value:>8.2f}  limit {limit:<6g} ratio {value / limit:.2f}")
    return int(any(value > limit for _, value, limit in limits))


def _quiet() -> dict[str, object]:
    return {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


if __name__ == "__main__":
    sys.exit(main())
