"""How long the anomaly assets take at full size, through Dagster and the lake: `python bench/anomalies_speed.py`.

A day of 23,800 hourly meters flagged and merged, and a year of 2,380 back-filled in one run: the two assets themselves,
each size in a process and an instance of its own, from the read of the readings to the commit of the events. Prints
seconds and their ratio to the limits (20 s and 240 s), the CPU's seconds and the largest memory; exits with 1 when a
limit is broken. Meters change level by themselves now and then, and a hundredth of them fails on the last day.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.portfolio import declared, run_apart

LAST_DAY = date(2026, 3, 17)
LOOKBACK_DAYS = 56
METERS_A_SITE = 140

INTERVALS = """
WITH hours AS (
    SELECT make_timestamptz(epoch_us($starts) + range * 3_600_000_000) AS starts_at_utc
    FROM range((epoch_us($ends) - epoch_us($starts)) // 3_600_000_000)
),
chances AS (
    SELECT meter_id, starts_at_utc, hash(meter_id) % 1000 AS of_meter, hash(meter_id, starts_at_utc) AS of_slot,
           hash(meter_id, epoch_us(starts_at_utc) // 604_800_000_000) % 200 AS of_week,
           epoch_us(starts_at_utc) // 3_600_000_000 % 24 AS hour, dayofweek(starts_at_utc) % 6 = 0 AS rests
    FROM metering.meters CROSS JOIN hours
),
loads AS (
    SELECT meter_id, starts_at_utc,
           CASE WHEN of_meter < 10 AND starts_at_utc >= $fails THEN 0.0
                ELSE round((of_meter + 40) / 100 * CASE WHEN of_week = 0 THEN 1.5 ELSE 1.0 END
                     * (4 + 3 * (hour BETWEEN 7 + of_meter % 3 AND 17 AND NOT rests)::INTEGER)
                     * (0.8 + (of_slot % 1000 + of_slot // 1000 % 1000 + of_slot // 1_000_000 % 1000) / 7500.0), 3)
           END AS energy_kwh
    FROM chances
)
SELECT meter_id, starts_at_utc, 60 AS interval_minutes, energy_kwh AS reported_kwh, energy_kwh, 'measured' AS quality,
       NULL AS reason, starts_at_utc + INTERVAL 1 HOUR AS available_at_utc
FROM loads
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is judged, and the seconds that it may take."""

    meters: int
    days: int
    limit_s: float


SIZES = (Size(meters=23_800, days=1, limit_s=20), Size(meters=2_380, days=365, limit_s=240))


def fill(size: Size) -> None:
    """Write meters, sites, weather and the readings that judging `size.days` needs into this process's lake."""
    from energy_assets.contracts import METERS, READINGS_INTERVAL, SITES, WEATHER_OBSERVED, Window
    from energy_assets.lake import Lake
    from energy_assets.settings import load_settings
    from energy_assets.sql import Query

    lake = Lake.from_settings(load_settings())
    sites, _, meter_rows = declared(size.meters, sites=-(-size.meters // METERS_A_SITE))
    lake.replace(SITES, SITES.conform(sites))
    lake.replace(METERS, METERS.conform(meter_rows))
    window = Window.of_days(LAST_DAY - timedelta(days=LOOKBACK_DAYS + size.days - 1), LAST_DAY)
    fails = datetime(LAST_DAY.year, LAST_DAY.month, LAST_DAY.day, tzinfo=UTC)
    for week in window.pieces(days=7):
        bounds = {"starts": week.starts_at_utc, "ends": week.ends_at_utc, "fails": fails}
        lake.replace(READINGS_INTERVAL, Query(text=INTERVALS, parameters=bounds), window=week)
    hours = pl.datetime_range(window.starts_at_utc, window.ends_at_utc, "1h", eager=True, closed="left")
    weather = sites.select("site_id", "source").join(hours.alias("starts_at_utc").to_frame(), how="cross").with_columns(
        temperature_c=8 + 5 * (pl.col("starts_at_utc").dt.hour() * 0.26 - 2).sin(),
        available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1),
    )  # fmt: skip
    lake.replace(WEATHER_OBSERVED, WEATHER_OBSERVED.conform(weather))
    lake.close()


def run(size: Size) -> dict[str, float]:
    """Materialise the two assets for the days and return seconds, the CPU's seconds, peak memory and rows."""
    from energy_assets.contracts import ANOMALIES_EVENTS, ANOMALIES_FLAGS
    from energy_assets.defs.anomalies import anomaly_events, anomaly_flags
    from energy_assets.defs.resources import RESOURCES
    from energy_assets.lake import Lake
    from energy_assets.settings import load_settings

    tags = {
        "dagster/asset_partition_range_start": (LAST_DAY - timedelta(days=size.days - 1)).isoformat(),
        "dagster/asset_partition_range_end": LAST_DAY.isoformat(),
    }
    found: dict[str, float] = {}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        busy = time.process_time()
        for name, asset in {"flags_s": anomaly_flags, "events_s": anomaly_events}.items():
            begun = time.perf_counter()
            assert dg.materialize([asset], resources=RESOURCES, instance=instance, tags=tags, run_config=quiet).success
            found[name] = time.perf_counter() - begun
        found["cpu_s"] = time.process_time() - busy
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    lake = Lake.from_settings(load_settings())
    found |= {"flags": lake.count(ANOMALIES_FLAGS), "events": lake.count(ANOMALIES_EVENTS)}
    return found


def measure(sizes: tuple[Size, ...] = SIZES, *, home: Path | None = None) -> int:
    """Print what each size takes beside its limit; return 1 when one is broken."""
    broken = 0
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            place = (home or Path(scratch)) / f"{size.meters}x{size.days}"
            if not place.exists():
                _apart("fill", size, home=place)
            one = _apart("run", size, home=place)
            seconds = one["flags_s"] + one["events_s"]
            broken |= seconds > size.limit_s
            print(
                f"{size.meters:,} meters x {size.days} day(s): {seconds:.1f} s, limit {size.limit_s:g} s, ratio "
                f"{seconds / size.limit_s:.2f}; flags {one['flags_s']:.1f} s ({one['flags']:,.0f} rows), events "
                f"{one['events_s']:.1f} s ({one['events']:,.0f}), {one['cpu_s']:.1f} s of CPU, peak "
                f"{one['peak_gb']:.2f} GB",
                flush=True,
            )
    return int(broken)


def _apart(action: str, size: Size, *, home: Path) -> dict[str, float]:
    return run_apart(__file__, "--action", action, "--size", json.dumps(asdict(size)), home=home)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--action", choices=("fill", "run"))
    parser.add_argument("--size", type=lambda text: Size(**json.loads(text)))
    parser.add_argument("--only", choices=("day", "year"), help="One of the two sizes.")
    parser.add_argument("--home", type=Path, help="Folder that keeps the lakes, so that they are filled once.")
    chosen = parser.parse_args()
    if chosen.action:
        print(json.dumps({"fill": fill, "run": run}[chosen.action](chosen.size) or {}))
        return 0
    wanted = [size for size in SIZES if chosen.only in (None, "day" if size.days == 1 else "year")]
    return measure(tuple(wanted), home=chosen.home)


if __name__ == "__main__":
    sys.exit(main())
