"""How fast a full-size train.csv becomes `readings.raw` and `readings.interval`: `python bench/ingest.py`.

Generates 20.2 million rows in GEPIII's layout (2,380 meters, 2016, 3.3 % of the hours missing; about 25 s, 700 MB),
then in one process and run: DuckDB's bare scan of the file, landing with its parts, and cleaning by quarters.
Prints seconds and ratios to the bare scan, of the wall clock and of the CPU (which others on the machine disturb
less), and the peak memory of the process. `--meters` makes a smaller file.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from energy_assets.contracts import (
    METERS,
    PREMISES,
    READINGS_INTERVAL,
    READINGS_LANDINGS,
    READINGS_QUARANTINE,
    READINGS_RAW,
    SITES,
    Window,
)
from energy_assets.lake import Change, Lake
from energy_assets.readings import ashrae
from energy_assets.readings.cleaning import DAYS_AT_ONCE, interval_query
from energy_assets.readings.known_dirt import known_dirt
from energy_assets.readings.source import Source

NOW = datetime(2026, 11, 20, tzinfo=UTC)
BUILDINGS = 1449
_T = TypeVar("_T")

# Every column is used: DuckDB does not parse the ones that are not, and half a scan is no measure of a file.
BARE_SCAN = """
SELECT count(building_id), count(meter), max("timestamp"), sum(meter_reading)
FROM read_csv($path, header = true, columns = {
    'building_id': 'INTEGER', 'meter': 'INTEGER', 'timestamp': 'TIMESTAMP', 'meter_reading': 'DOUBLE'
})
"""

TRAIN = """
COPY (
    SELECT
        building_id,
        meter,
        strftime(TIMESTAMP '2016-01-01' + to_hours(hour::BIGINT), '%Y-%m-%d %H:%M:%S') AS "timestamp",
        round((hash(building_id, meter, hour) % 1000000) / 1000.0 * (1 + building_id % 9), 3) AS meter_reading
    FROM range(8784) AS hours (hour)
    CROSS JOIN (
        SELECT nth % $buildings AS building_id, CASE WHEN nth < $buildings THEN 0 ELSE 1 + nth % 3 END AS meter
        FROM range($meters) AS meters (nth)
    )
    WHERE hash(hour, building_id, meter, 7) % 1000 < 967
    ORDER BY hour, building_id, meter
) TO '{path}' (HEADER)
"""


def write_gepiii(folder: Path, meters: int) -> None:
    connection = duckdb.connect(config={"threads": 2})
    connection.execute(
        TRAIN.replace("{path}", str(folder / "train.csv")), {"meters": meters, "buildings": min(BUILDINGS, meters)}
    )
    rows = (
        f"{0 if building < 105 else 1 + building % 15},{building},Education,{7000 + building},{1950 + building % 60},\n"
        for building in range(BUILDINGS)
    )
    (folder / "building_metadata.csv").write_text(
        "site_id,building_id,primary_use,square_feet,year_built,floor_count\n" + "".join(rows)
    )


class Cost(NamedTuple):
    wall_s: float
    cpu_s: float

    def plus(self, other: Cost) -> Cost:
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


def timed(action: Callable[[], _T]) -> tuple[_T, Cost]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    return result, Cost(time.perf_counter() - wall, time.process_time() - cpu)


def land(lake: Lake, source: Source) -> tuple[Cost, Cost]:
    """Land the source as `energy_assets.ingestion` does, and return what staging and storing cost."""
    with lake.session() as session:
        staged, staging = timed(lambda: ashrae.stage(session, source, window=None, now=NOW))
        assert staged.counts.is_balanced
        assert staged.registry is not None
        mine = {"source": source.name}
        changes = [
            Change(table=READINGS_RAW, rows=staged.raw, where=mine),
            Change(table=READINGS_QUARANTINE, rows=staged.quarantine, where=mine),
            Change(table=READINGS_LANDINGS, rows=staged.landings, where=mine),
            Change(table=SITES, rows=staged.registry.sites, where=mine),
            Change(table=PREMISES, rows=staged.registry.premises, where=mine),
            Change(table=METERS, rows=staged.registry.meters, where=mine),
        ]
        _, storing = timed(lambda: lake.commit(changes, session=session))
    return staging, storing


def clean(lake: Lake, source: Source) -> int:
    """Clean the year as the asset does, and return the number of rows."""
    year, dirt = Window.of_days(date(2016, 1, 1), date(2017, 1, 1)), known_dirt(source)
    return sum(
        lake.replace(READINGS_INTERVAL, interval_query(piece, known_dirt=dirt), window=piece).rows
        for piece in year.pieces(days=DAYS_AT_ONCE)
    )


def bare_scan(path: Path) -> float:
    connection = duckdb.connect(config={"threads": 2})
    return min(timed(lambda: connection.execute(BARE_SCAN, {"path": str(path)}).fetchall())[1] for _ in range(3))


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meters", type=int, default=2380, help="meters of the generated file")
    parser.add_argument("--folder", type=Path, default=None, help="where to put it; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        writer = multiprocessing.get_context("spawn").Process(target=write_gepiii, args=(folder, arguments.meters))
        writer.start()
        writer.join()
        source = Source(name="ashrae", kind="ashrae", path=folder)
        lake = Lake(
            catalog=f"sqlite:{folder / 'catalog.sqlite'}", data_path=str(folder / "lake"), work_folder=folder / "work"
        )
        lake.count(READINGS_RAW)
        bare = bare_scan(folder / "train.csv")
        staging, storing = land(lake, source)
        raw_peak_gb = peak_gb()
        intervals, cleaning = timed(lambda: clean(lake, source))
        raw = staging.plus(storing)
        print(f"{'step':<38}{'wall s':>8}{'ratio':>7}{'CPU s':>8}{'ratio':>7}{'peak GB':>9}")
        for name, cost, peak in (
            ("bare scan of train.csv", bare, None),
            ("  staging with its account", staging, None),
            ("  storing in the lake", storing, None),
            ("raw: landed (at most 6)", raw, raw_peak_gb),
            ("clean: landed and cleaned (at most 20)", raw.plus(cleaning), peak_gb()),
        ):
            ratios = (
                f"{cost.wall_s:>8.2f}{cost.wall_s / bare.wall_s:>7.1f}{cost.cpu_s:>8.2f}{cost.cpu_s / bare.cpu_s:>7.1f}"
            )
            print(f"{name:<38}{ratios}{'' if peak is None else f'{peak:>9.2f}'}")
        print(f"rows: {lake.count(READINGS_RAW):,} raw, {intervals:,} intervals, {lake.count(METERS):,} meters")
        lake.close()


if __name__ == "__main__":
    main()
