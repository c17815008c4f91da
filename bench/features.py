"""What features are worth: our model with and without some of them, on real sets, roofs among these.

One fit on the days before the last fifth, tested on the first 90 days after; figures are medians over meters in percent
of mean energy. A feature that is left out is unknown in every row.

    ENERGY_ASSETS_REAL_DATA=… python bench/features.py --sets pv_california openstef_307 --without roof
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import polars as pl
from accuracy import features_of
from accuracy_sets import SETS, RealSet, _cambridge_weather, _set

from energy_assets.features.matrix import FEATURES, KEY
from energy_assets.features.roofs import PV_FEATURES, ROOF_FEATURES
from energy_assets.models.evaluation import known_by, metrics_of
from energy_assets.models.fitting import fit
from energy_assets.models.spec import SPECS

GROUPS = {"roof": (*ROOF_FEATURES, *PV_FEATURES)}
TESTED_DAYS = 90
METRICS = ("nrmse", "nmae", "pinball", "coverage_80")


def of_production(real: RealSet) -> RealSet:
    return replace(real, meters=real.meters.with_columns(direction=pl.lit("production")))


def cambridge_roof(folder: Path) -> RealSet:
    """Production that renewables.ninja modelled from a reanalysis (CC BY-NC 4.0), with a station's weather."""
    rows = pl.read_parquet(folder / "cambridge_dev_weather_carbon.parquet").select(
        series=pl.lit("roof"), starts_at_utc="ts_utc", energy_kwh=pl.col("ninja_solar_generation_w_kw") / 1000
    )
    weather = _cambridge_weather(folder)
    return of_production(
        _set("pv_cambridge", rows, timezone="Europe/London", country="GB", observed=weather, position=(52.2, 0.12))
    )


def california_roofs(folder: Path) -> RealSet:
    """Five real roofs; the weather beside them is that of a typical year, and so none."""
    rows = pl.read_parquet(folder / "citylearn_2022_homes_1_5.parquet").select(
        series="building_id",
        starts_at_utc=pl.col("ts_local_std").dt.offset_by("8h"),
        energy_kwh=pl.col("solar_w_per_kwp") / 1000,
    )
    return of_production(_set("pv_california", rows, timezone="Etc/GMT+8", country="US", position=(34.09, -117.43)))


ROOFS: dict[str, Callable[[Path], RealSet]] = {
    "pv_cambridge": cambridge_roof,
    "pv_cambridge_dry": lambda folder: replace(cambridge_roof(folder), observed=None),
    "pv_california": california_roofs,
}


def figures(features: pl.DataFrame, *, without: tuple[str, ...], test_share: float, effort: str) -> dict[str, float]:
    unknown = [pl.lit(float("nan"), pl.Float32).alias(name) for name in without]
    rows = features.with_columns(unknown)
    issues = rows["issued_at_utc"].unique().sort()
    tested = issues.tail(round((len(issues) + 8) * test_share)).head(TESTED_DAYS)
    model = fit(known_by(rows, trained_at=tested[0]), spec=SPECS[effort], seed=1, threads=2)
    test = rows.filter(pl.col("issued_at_utc").is_in(tested.to_list()), pl.col("scale_kwh") > 0)
    said = model.predict(test).join(test.select(*KEY, "energy_kwh"), on=KEY).rename({"meter_id": "node_id"})
    medians = metrics_of(said.with_columns(model=pl.lit("ours"))).group_by("metric").agg(pl.col("value").median())
    return {name: 100 * value for name, value in medians.iter_rows()}


def main() -> None:
    sets = {**SETS, **ROOFS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=sorted(sets), default=list(ROOFS), metavar="SET")
    parser.add_argument(
        "--without", nargs="+", choices=sorted((*GROUPS, *FEATURES)), default=["roof"], metavar="FEATURE"
    )
    parser.add_argument("--effort", choices=sorted(SPECS), default="quick")
    parser.add_argument("--folder", type=Path, default=os.environ.get("ENERGY_ASSETS_REAL_DATA"))
    chosen = parser.parse_args()
    if chosen.folder is None or not Path(chosen.folder).is_dir():
        raise SystemExit("bench/features needs real data: set ENERGY_ASSETS_REAL_DATA to the folder of the sets.")
    without = tuple(name for each in chosen.without for name in GROUPS.get(each, (each,)))
    print(f"{'':24}{'':10}" + "".join(f"{name:>13}" for name in METRICS) + f"{'CPU s':>8}")
    for name in chosen.sets:
        real = sets[name](Path(chosen.folder))
        features = features_of(real)
        for title, left_out in (("without", without), ("with", ())):
            busy = time.process_time()
            found = figures(features, without=left_out, test_share=real.test_share, effort=chosen.effort)
            row = "".join(f"{found[metric]:13.2f}" for metric in METRICS)
            print(f"{name:24}{title:10}{row}{time.process_time() - busy:8.0f}", flush=True)


if __name__ == "__main__":
    main()
