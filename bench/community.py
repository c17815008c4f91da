"""How lifelike the generated community is, and how fast: `python bench/community.py`, `--buildings` for another size.

Likeness: each figure of generated buildings and homes beside that of real ones in ENERGY_ASSETS_REAL_DATA, as
the median over meters and the share of generated meters that lie within the range of the real ones. Speed: generation
of GEPIII's size (1,449 buildings, a year) beside DuckDB writing as many rows of noise as CSV, with the peak memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from energy_assets.community import generate

FIRST, LAST = date(2025, 9, 2), date(2025, 12, 31)
FIGURES = ("lag 1 d", "lag 1 week", "weekend / weekday", "night / day", "mean / peak", "hour to hour")


def figures(hourly: np.ndarray[tuple[int], np.dtype[np.float64]], first_weekday: int) -> list[float]:
    """Return the figures of one hourly series that starts at a midnight; missing hours are NaN."""
    days = hourly[: len(hourly) // 24 * 24].reshape(-1, 24)
    weekend = (np.arange(len(days)) + first_weekday) % 7 >= 5
    mean = np.nanmean(hourly)

    def lagged(hours: int) -> float:
        one, other = hourly[hours:], hourly[:-hours]
        both = np.isfinite(one) & np.isfinite(other)
        return float(np.corrcoef(one[both], other[both])[0, 1])

    return [
        lagged(24),
        lagged(168),
        float(np.nanmean(days[weekend]) / np.nanmean(days[~weekend])),
        float(np.nanmean(days[:, 1:5]) / np.nanmean(days[:, 10:16])),
        float(mean / np.nanquantile(hourly, 0.999)),
        float(np.nanmean(np.abs(np.diff(hourly))) / mean),
    ]


def table(rows: pl.DataFrame, meter: str, stamp: str, value: str) -> pl.DataFrame:
    """Return FIGURES, one row a meter, of meters with an energy; whole days on one hourly clock."""
    found = []
    for (_,), one in rows.group_by(meter, maintain_order=True):
        hourly = one.sort(stamp).group_by_dynamic(stamp, every="1h").agg(pl.col(value).sum())
        start = hourly[stamp][0].replace(hour=0)
        clock = pl.datetime_range(start, hourly[stamp][-1], "1h", eager=True).alias(stamp).to_frame()
        series = clock.join(hourly, on=stamp, how="left")[value].to_numpy()
        if len(series) > 24 * 60 and np.nanmean(series) > 0 and np.nanstd(series) > 0:
            found.append(figures(series, start.weekday()))
    return pl.DataFrame(np.array(found), schema=list(FIGURES))


def compare(name: str, real: pl.DataFrame, made: pl.DataFrame) -> None:
    print(f"\n{name}: {real.height} real, {made.height} generated")
    print(f"{'':<20}{'real':>8}{'made':>8}{'ratio':>8}{'within the range of the real':>32}")
    for figure in FIGURES:
        low, high = real[figure].min(), real[figure].max()
        one, other = float(real[figure].median()), float(made[figure].median())  # type: ignore[arg-type]
        inside = float(made[figure].is_between(low, high).mean())  # type: ignore[arg-type]
        print(f"{figure:<20}{one:>8.2f}{other:>8.2f}{other / one:>8.2f}{inside:>32.0%}")


def likeness(folder: Path) -> None:
    real = os.environ.get("ENERGY_ASSETS_REAL_DATA")
    if not real:
        print("likeness: skipped, ENERGY_ASSETS_REAL_DATA names no folder")
        return
    generate(folder, first_day=FIRST, last_day=LAST, buildings=60, households=40)
    train = pl.read_csv(folder / "ashrae" / "train.csv", try_parse_dates=True).filter(pl.col("meter") == 0)
    real_buildings = pl.read_parquet(Path(real) / "ashrae_elec_2016.parquet")
    compare(
        "buildings, electricity",
        table(real_buildings, "building_id", "ts_local", "meter_reading"),
        table(train, "building_id", "timestamp", "meter_reading"),
    )
    homes = pl.read_parquet(folder / "households" / "readings-*.parquet")
    meters = pl.read_csv(folder / "households" / "meters.csv").filter(
        pl.col("direction") == "consumption", pl.col("measure") == "interval_energy"
    )
    real_homes = pl.read_parquet(Path(real) / "citylearn_2022_homes_1_5.parquet")
    compare(
        "homes, consumption",
        table(real_homes, "building_id", "ts_local_std", "load_kwh"),
        table(homes.join(meters.select("meter_id"), on="meter_id"), "meter_id", "timestamp", "value"),
    )


MAKE = """
import sys
from datetime import date
from pathlib import Path
from energy_assets.community import generate
made = generate(Path(sys.argv[1]), first_day=date(2025, 1, 1), last_day=date(2025, 12, 31),
                buildings=int(sys.argv[2]), households=0)
print(made.building_rows)
"""


def speed(folder: Path, buildings: int) -> None:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MAKE, str(folder), str(buildings)], check=True, capture_output=True, text=True
    )
    made_s = time.perf_counter() - started
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    rows = int(done.stdout)
    started = time.perf_counter()
    duckdb.connect(config={"threads": 2}).execute(
        f"COPY (SELECT range % 2380 AS building_id, 0 AS meter, TIMESTAMP '2025-01-01' + to_hours(range // 2380) AS "
        f"\"timestamp\", round(random() * 100, 4) AS meter_reading FROM range({rows})) TO '{folder / 'noise.csv'}'"
    )
    noise_s = time.perf_counter() - started
    print(f"\n{buildings:,} buildings, a year: {rows:,} rows in {made_s:.0f} s, peak {peak_gb:.2f} GB")
    print(f"DuckDB writes as many rows of noise in {noise_s:.1f} s: ratio {made_s / noise_s:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buildings", type=int, default=1449)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        likeness(Path(folder, "likeness"))
        speed(Path(folder, "speed"), arguments.buildings)


if __name__ == "__main__":
    main()
