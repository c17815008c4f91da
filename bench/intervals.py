"""How fast a year of raw readings becomes `readings.interval`: `python bench/intervals.py`.

Writes the raw table of 2,380 hourly meters straight into a lake (20.2 million rows, 3.3 % of the hours missing, some
conflicts, zero runs and spikes), then cleans it month by month as a backfill does, and its last day as a night does.
With `--register` and `--power` shares of the meters are registers and powers. Prints seconds, rows and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from energy_assets.contracts import METERS, READINGS_INTERVAL, READINGS_RAW, Window
from energy_assets.lake import Lake
from energy_assets.readings.cleaning import DAYS_AT_ONCE, interval_query
from energy_assets.sql import Query

YEAR = Window(starts_at_utc=datetime(2016, 1, 1, tzinfo=UTC), ends_at_utc=datetime(2017, 1, 1, tzinfo=UTC))

METERS_SQL = """
SELECT format('bench.{:04d}.electricity', nth) AS meter_id, format('bench.{:04d}', nth) AS premise_id,
       format('bench.{}', nth % 16) AS site_id, CASE WHEN nth % 5 < 3 THEN 'electricity' ELSE 'steam' END AS commodity,
       'consumption' AS direction,
       CASE WHEN nth < $registers THEN 'register' WHEN nth < $registers + $powers THEN 'power'
            ELSE 'interval_energy' END AS measure,
       CASE WHEN nth >= $registers AND nth < $registers + $powers THEN 'kW' ELSE 'kWh' END AS unit,
       60 AS interval_minutes, NULL::DOUBLE AS kwh_per_m3, NULL::DOUBLE AS capacity_kw,
       NULL::TIMESTAMPTZ AS valid_from_utc, NULL::TIMESTAMPTZ AS valid_to_utc, 'bench' AS source
FROM range($meters) AS meters (nth)
"""

RAW_SQL = """
WITH hours AS (
    SELECT range AS hour, TIMESTAMPTZ '2016-01-01 00:00:00+00' + to_hours(range::BIGINT) AS moment FROM range(8784)
),
made AS (
    SELECT meter_id, moment, measure, unit, hour, hash(hour, meter_id) AS chance
    FROM hours CROSS JOIN metering.meters
    WHERE hash(hour, meter_id, 7) % 1000 < 967
),
valued AS (
    SELECT *, CASE WHEN measure = 'register' THEN hour * 10.0 + chance % 10
                   WHEN chance % 20000 = 0 THEN 100000.0
                   WHEN hash(meter_id, hour // 24) % 97 = 0 THEN 0.0
                   ELSE round((40 + 30 * sin(hour / 24.0 * 6.2831853) + chance % 10000 / 1000.0), 3) END AS value
    FROM made
)
SELECT meter_id, moment AS starts_at_utc, 'bench' AS source, hash(value) AS payload_hash, value, unit, measure,
       moment + INTERVAL 1 HOUR AS available_at_utc, 'bench' AS batch_id
FROM valued
"""


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def fill(lake: Lake, *, meters: int, registers: int, powers: int) -> None:
    lake.replace(
        METERS, Query(text=METERS_SQL, parameters={"meters": meters, "registers": registers, "powers": powers})
    )
    lake.replace(READINGS_RAW, Query(text=RAW_SQL))


def clean(lake: Lake, window: Window) -> int:
    return sum(
        lake.replace(READINGS_INTERVAL, interval_query(part), window=part).rows
        for part in window.pieces(days=DAYS_AT_ONCE)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meters", type=int, default=2380)
    parser.add_argument("--register", type=float, default=0.0, help="share of register meters")
    parser.add_argument("--power", type=float, default=0.0, help="share of power meters")
    parser.add_argument("--keep", type=Path, default=None, help="folder of the lake, filled once and kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        lake = Lake(
            catalog=f"sqlite:{folder / 'catalog.sqlite'}", data_path=str(folder / "lake"), work_folder=folder / "work"
        )
        if not lake.count(READINGS_RAW):
            share = {"registers": arguments.register, "powers": arguments.power}
            counts = {name: round(value * arguments.meters) for name, value in share.items()}
            fill(lake, meters=arguments.meters, **counts)
        print(f"{lake.count(READINGS_RAW):,} raw rows of {lake.count(METERS):,} meters; filled at {peak_gb():.2f} GB")
        for name, window in (("year", YEAR), ("last day", Window.of_days(date(2016, 12, 31)))):
            started, cpu = time.perf_counter(), time.process_time()
            rows = clean(lake, window)
            print(
                f"{name:<10}{rows:>12,} rows {time.perf_counter() - started:>7.2f} s "
                f"(CPU {time.process_time() - cpu:.2f} s), peak {peak_gb():.2f} GB"
            )
        lake.close()


if __name__ == "__main__":
    main()
