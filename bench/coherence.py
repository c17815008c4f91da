"""Sums of forecasts on real sets: `python bench/coherence.py`, `--sets` for some, `--days` for another length.

For each set of ENERGY_ASSETS_REAL_DATA that has several meters, the meters are back-tested (bottom-up), and so is their
sum alone (top-down). Then every night is made again as the platform makes it, with what `forecasts.learning` found in
the nights before it: centre, widths and dependence. Prints the error of the sum beside both peers and the coverage of
its 80 % band beside 76-84 %, over the nights after the first two weeks; exits with 1 when a limit is broken. `--folder`
keeps the back-tests, which take a minute a set.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accuracy_sets import SETS, RealSet

from energy_assets.contracts import FORECASTS_EVIDENCE, FORECASTS_LOAD, QUANTILE_COLUMNS
from energy_assets.forecasts.backtest import backtest
from energy_assets.forecasts.backtest_inputs import read_inputs
from energy_assets.forecasts.backtest_plan import Plan
from energy_assets.forecasts.centre import centred
from energy_assets.forecasts.evidence import evidence_of
from energy_assets.forecasts.hierarchy import aggregate
from energy_assets.forecasts.learning import learned_from, recipe_of
from energy_assets.models.spec import SPECS

NAMES = ("citylearn22_homes", "sacramento_school", "sacramento_office", "cambridge_electricity")
WARM_UP = timedelta(days=14)
MOST_TIMES_PEER, COVERAGE = 1.0, (0.76, 0.84)
ROUNDING = 0.005
"""Of a ratio to a peer: half a percent more is the same error."""


def back_test(real: RealSet, readings: pl.DataFrame, *, name: str, folder: Path, days: int) -> pl.DataFrame:
    """Return the forecasts of readings (meter_id, starts_at_utc, energy_kwh) with what was read as actual_kwh."""
    kept = folder / f"{real.name}.{name}.{days}.parquet"
    if not kept.exists():
        site = real.sites.row(0, named=True)
        about = {key: site[key] for key in ("timezone", "country_code", "latitude", "longitude") if site[key]}
        meters = readings.select("meter_id").unique().sort("meter_id")
        meters.with_columns(**{key: pl.lit(value) for key, value in about.items()}).write_csv(folder / "meters.csv")
        readings.write_parquet(folder / "readings.parquet")
        weather = None
        if real.observed is not None:
            weather = folder / "weather.parquet"
            real.observed.drop("site_id").write_parquet(weather)
        inputs = read_inputs(
            folder / "readings.parquet", weather_path=weather, meters_path=folder / "meters.csv", timezone="UTC"
        )
        plan = Plan(last_days=days, spec=SPECS["quick"], rivals=())
        backtest(inputs, plan=plan, progress=lambda *_: None).forecasts.write_parquet(kept)
    actual = readings.rename({"energy_kwh": "actual_kwh"})
    return pl.read_parquet(kept).join(actual, on=["meter_id", "starts_at_utc"], how="left").sort("issued_at_utc")


def nights(forecasts: pl.DataFrame, *, meters: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the meter rows and the rows of the sum as the nights would have published them, with actual_kwh."""
    about = meters.select(
        "commodity", "direction", "interval_minutes", meter_id="meter_id", site_id="site_id", node_id="meter_id"
    )
    evidence, of_meters, of_sums = FORECASTS_EVIDENCE.empty(), [], []
    for (issued,), night in forecasts.partition_by("issued_at_utc", as_dict=True, maintain_order=True).items():
        assert isinstance(issued, datetime)
        learned = learned_from(evidence, issued_at_utc=issued)
        factor = pl.col("method").replace_strict(dict(learned.widening), default=1.0, return_dtype=pl.Float64)
        wide = [(pl.col("q50") + factor * (pl.col(name) - pl.col("q50"))).alias(name) for name in QUANTILE_COLUMNS]
        rows = night.join(about, on="meter_id", how="inner").with_columns(
            *wide, node_kind=pl.lit("meter"), features_hash=pl.lit("bench"), rung=pl.col("rung").cast(pl.Int64)
        )
        actual = rows.select("node_id", "starts_at_utc", "actual_kwh")
        rows = FORECASTS_LOAD.conform(rows.select(name for name in FORECASTS_LOAD.column_names if name in rows.columns))
        rows = centred(rows, shares=learned.centre)
        sums = aggregate(rows, meters=meters, dependence=learned.dependence, seed=issued.toordinal()).rows
        compared = rows.join(actual, on=["node_id", "starts_at_utc"], how="left")
        recipe = recipe_of(learned, issued_at_utc=issued, seed=issued.toordinal())
        both = pl.concat([compared, sums.with_columns(actual_kwh=pl.lit(None, pl.Float64))])
        evidence = pl.concat([evidence, evidence_of(both, recipes=recipe, meters=meters)])
        whole = actual.group_by("starts_at_utc").agg(
            pl.when(pl.col("actual_kwh").is_not_null().all()).then(pl.col("actual_kwh").sum()).alias("actual_kwh")
        )
        of_portfolio = sums.filter(pl.col("node_id").str.starts_with("portfolio|"), pl.col("direction") != "net")
        of_meters.append(compared)
        of_sums.append(of_portfolio.join(whole, on="starts_at_utc", how="left"))
    return pl.concat(of_meters), pl.concat(of_sums)


def errors(rows: pl.DataFrame, column: str) -> tuple[float, float]:
    """Return NMAE and NRMSE of a column."""
    missed = (rows[column] - rows["actual_kwh"]).to_numpy()
    level = rows["actual_kwh"].abs().mean()
    return float(np.abs(missed).mean() / level), float((missed**2).mean() ** 0.5 / level)


def judged(name: str, *, folder: Path, days: int) -> list[tuple[str, float, float, bool]]:
    """Print what is found of a set, and return what is limited: name, value, ratio to its limit, whether it holds."""
    real = SETS[name](Path(os.environ["ENERGY_ASSETS_REAL_DATA"]))
    readings = real.readings.select("meter_id", "starts_at_utc", "energy_kwh")
    known = pl.col("energy_kwh").is_not_null().all() & (pl.len() == real.meters.height)
    total = readings.group_by("starts_at_utc").agg(pl.when(known).then(pl.col("energy_kwh").sum()).alias("energy_kwh"))
    total = total.select(pl.lit("total").alias("meter_id"), "starts_at_utc", "energy_kwh").sort("starts_at_utc")
    bottom = back_test(real, readings, name="meters", folder=folder, days=days)
    top = back_test(real, total, name="total", folder=folder, days=days)
    meters, sums = nights(bottom, meters=real.meters)
    plain = bottom.group_by("starts_at_utc").agg(bottom_up=pl.col("q50").sum())
    first = bottom["issued_at_utc"].min()
    assert isinstance(first, datetime)
    both = (
        sums.join(plain, on="starts_at_utc")
        .join(top.select("starts_at_utc", top_down="q50"), on="starts_at_utc")
        .filter(pl.col("starts_at_utc") >= first + WARM_UP)
        .drop_nulls(["actual_kwh", "top_down"])
    )
    ours, bottom_up, top_down = (errors(both, column) for column in ("q50", "bottom_up", "top_down"))
    covered = float(both.select(pl.col("actual_kwh").is_between("q10", "q90").mean()).item())
    late = meters.filter(pl.col("starts_at_utc") >= first + WARM_UP, pl.col("actual_kwh").is_not_null())
    of_meters = late.select(pl.col("actual_kwh").is_between("q10", "q90").mean()).item()
    ratio = [mine / min(one, other) for mine, one, other in zip(ours, bottom_up, top_down, strict=True)]
    print(
        f"{name:<22} {real.meters.height:>6} {both.height:>6} {ours[0]:>8.2%} {bottom_up[0]:>10.2%} {top_down[0]:>9.2%}"
        f" {ours[1]:>8.2%} {bottom_up[1]:>10.2%} {top_down[1]:>9.2%} {covered:>8.1%} {of_meters:>8.1%}",
        flush=True,
    )
    return [
        (f"{name}: NMAE over the better peer", ratio[0], ratio[0], ratio[0] <= MOST_TIMES_PEER + ROUNDING),
        (f"{name}: NRMSE over the better peer", ratio[1], ratio[1], ratio[1] <= MOST_TIMES_PEER + ROUNDING),
        (f"{name}: coverage of the sum", covered, covered / 0.8, COVERAGE[0] <= covered <= COVERAGE[1]),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=NAMES, choices=sorted(SETS), metavar="SET")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="where back-tests are kept; default: nowhere")
    arguments = parser.parse_args()
    if "ENERGY_ASSETS_REAL_DATA" not in os.environ:
        raise SystemExit("ENERGY_ASSETS_REAL_DATA names no folder of real sets.")
    header = f"{'':<22} {'':>6} {'':>6} {'NMAE of the sum':^29} {'NRMSE of the sum':^29} {'in q10-q90 of':^17}"
    print(header)
    print(f"{'set':<22} {'meters':>6} {'slots':>6} {'ours':>8} {'bottom-up':>10} {'top-down':>9} {'ours':>8} "
          f"{'bottom-up':>10} {'top-down':>9} {'sums':>8} {'meters':>8}", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = [each for name in arguments.sets for each in judged(name, folder=folder, days=arguments.days)]
    for name, value, ratio, holds in found:
        print(f"{name:<52} {value:>7.3f}  ratio {ratio:.3f} {'' if holds else 'BROKEN'}")
    return int(not all(holds for *_, holds in found))


if __name__ == "__main__":
    sys.exit(main())
