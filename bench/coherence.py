"""Sums of forecasts on real sets: `python bench/coherence.py`, `--sets` for some, `--days` for another length.

For each set of ENERGY_ASSETS_REAL_DATA that has several meters, the meters are back-tested (bottom-up), and so is their
sum alone (top-down). Then every night is made again as the platform makes it, with what `forecasts.learning` found in
the nights before it. Over the nights after the first two weeks it prints: the error of the sum beside both peers, with
the share saved and its 90 % interval from whole weeks drawn anew; the coverage of its 80 % band beside 76-84 %; the
peaks of days by level, as drawn and as learned; and the Brier score of the chance to pass a limit (the 95th percentile
of a node's load in the eight weeks before) beside the share of the past month. citylearn22_roofs are the homes with
their panels at 4 kWp: its sum is the net load. Exits with 1 when a limit is broken. `--folder` keeps the back-tests,
which take a minute a set.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from accuracy_sets import SETS, RealSet

from energy_assets.contracts import FORECASTS_EVIDENCE, FORECASTS_LOAD, METERS, QUANTILE_COLUMNS
from energy_assets.forecasts.actuals import with_actuals
from energy_assets.forecasts.backtest import backtest
from energy_assets.forecasts.backtest_inputs import read_inputs
from energy_assets.forecasts.backtest_plan import Plan
from energy_assets.forecasts.centre import centred
from energy_assets.forecasts.evidence import evidence_of
from energy_assets.forecasts.hierarchy import aggregate
from energy_assets.forecasts.learning import learned_from, recipe_of
from energy_assets.forecasts.limit_skill import reliability, skill_of_limits
from energy_assets.forecasts.nodes import memberships
from energy_assets.forecasts.peak_learning import with_actual_peaks
from energy_assets.models.evaluation import skill_of
from energy_assets.models.spec import SPECS

ROOFS = "citylearn22_roofs"
NAMES = (
    "citylearn22_homes",
    ROOFS,
    "sacramento_school",
    "sacramento_office",
    "cambridge_electricity",
    "cambridge_gas",
)
WARM_UP = timedelta(days=14)
BEFORE = timedelta(days=56)
KWP = 4.0
MOST_TIMES_PEER, COVERAGE = 1.0, (0.76, 0.84)
ROUNDING = 0.005
"""Of a ratio to a peer: half a percent more is the same error."""


@dataclass(frozen=True, kw_only=True)
class Nights:
    """What the nights published, with what came: all nodes and meters, peaks as learned and as drawn, limits."""

    rows: pl.DataFrame
    peaks: pl.DataFrame
    peaks_as_drawn: pl.DataFrame
    limits: pl.DataFrame


def roofs(folder: Path) -> RealSet:
    """Return the five homes with their panels as meters of their own."""
    homes = SETS["citylearn22_homes"](folder)
    sun = pl.read_parquet(folder / "citylearn_2022_homes_1_5.parquet").select(
        meter_id=pl.format("citylearn22_homes.{}.electricity.pv", "building_id"),
        starts_at_utc=pl.col("ts_local_std").cast(homes.readings.schema["starts_at_utc"]),
        energy_kwh=pl.col("solar_w_per_kwp").cast(pl.Float64) / 1000 * KWP,
    )
    fed = sun.join(homes.readings.drop("meter_id", "energy_kwh").unique("starts_at_utc"), on="starts_at_utc")
    panels = homes.meters.with_columns(meter_id=pl.col("meter_id") + ".pv", direction=pl.lit("production"))
    return replace(
        homes,
        name=ROOFS,
        readings=pl.concat([homes.readings, fed.select(homes.readings.columns)]),
        meters=METERS.conform(pl.concat([homes.meters, panels])),
    )


def back_test(real: RealSet, readings: pl.DataFrame, *, name: str, folder: Path, days: int) -> pl.DataFrame:
    """Return the forecasts of readings (meter_id, starts_at_utc, energy_kwh)."""
    kept = folder / f"{real.name}.{name}.{days}.parquet"
    if not kept.exists():
        site = real.sites.row(0, named=True)
        about = {key: site[key] for key in ("timezone", "country_code", "latitude", "longitude") if site[key]}
        meters = readings.select("meter_id").unique().sort("meter_id")
        known = real.meters.select("meter_id", "commodity", "direction")
        meters = meters.join(known, on="meter_id", how="left").with_columns(
            **{key: pl.lit(value) for key, value in about.items()}
        )
        meters.write_csv(folder / "meters.csv")
        readings.write_parquet(folder / "readings.parquet")
        weather = None
        if real.observed is not None:
            weather = folder / "weather.parquet"
            real.observed.drop("site_id").write_parquet(weather)
        inputs = read_inputs(
            folder / "readings.parquet", weather_path=weather, meters_path=folder / "meters.csv", timezone="UTC"
        )
        plan = Plan(last_days=days, spec=SPECS["quick"], rivals=(), learns_from_nights=False)
        backtest(inputs, plan=plan, progress=lambda *_: None).forecasts.write_parquet(kept)
    return pl.read_parquet(kept).sort("issued_at_utc")


def nights(forecasts: pl.DataFrame, *, real: RealSet) -> Nights:
    """Return the rows of meters and sums as the nights would have published them, and what came of them."""
    about = real.meters.select(
        "commodity", "direction", "interval_minutes", meter_id="meter_id", site_id="site_id", node_id="meter_id"
    )
    limits_kw = usual_peaks(real, before=forecasts["issued_at_utc"].min())
    evidence = FORECASTS_EVIDENCE.empty()
    found: dict[str, list[pl.DataFrame]] = {"rows": [], "peaks": [], "peaks_as_drawn": [], "limits": []}
    for (issued,), night in forecasts.partition_by("issued_at_utc", as_dict=True, maintain_order=True).items():
        assert isinstance(issued, datetime)
        learned = learned_from(evidence, issued_at_utc=issued)
        factor = pl.col("method").replace_strict(dict(learned.widening), default=1.0, return_dtype=pl.Float64)
        wide = [(pl.col("q50") + factor * (pl.col(name) - pl.col("q50"))).alias(name) for name in QUANTILE_COLUMNS]
        rows = night.join(about, on="meter_id", how="inner").with_columns(
            *wide, node_kind=pl.lit("meter"), features_hash=pl.lit("bench"), rung=pl.col("rung").cast(pl.Int64)
        )
        rows = FORECASTS_LOAD.conform(rows.select(name for name in FORECASTS_LOAD.column_names if name in rows.columns))
        rows = centred(rows, shares=learned.centre)
        seed = issued.toordinal()
        given = {"meters": real.meters, "sites": real.sites, "dependence": learned.dependence, "seed": seed}
        sums = aggregate(rows, **given, peaks=learned.peaks, limits_kw=limits_kw)
        recipe = recipe_of(learned, issued_at_utc=issued, seed=seed)
        compared = with_actuals(
            pl.concat([rows, sums.rows]), readings=real.readings, meters=real.meters, sites=real.sites
        )
        peaks = with_actual_peaks(sums.peaks, compared=compared, sites=real.sites)
        evidence = pl.concat([evidence, evidence_of(compared, recipes=recipe, meters=real.meters, peaks=peaks)])
        drawn = aggregate(rows, **given).peaks
        found["rows"].append(compared)
        found["peaks"].append(peaks)
        found["peaks_as_drawn"].append(with_actual_peaks(drawn, compared=compared, sites=real.sites))
        found["limits"].append(sums.limits)
    return Nights(**{name: pl.concat(frames) for name, frames in found.items()})


def usual_peaks(real: RealSet, *, before: object) -> dict[str, float]:
    """Return by node the 95th percentile of its power in the weeks before a time, kW."""
    assert isinstance(before, datetime)
    recent = real.readings.filter(pl.col("starts_at_utc").is_between(before - BEFORE, before, closed="left"))
    sums = (
        recent.join(memberships(real.meters).select("meter_id", "node_id", "sign"), on="meter_id")
        .group_by("node_id", "starts_at_utc", "interval_minutes")
        .agg((pl.col("energy_kwh") * pl.col("sign")).sum())
    )
    power = pl.col("energy_kwh").abs() * 60 / pl.col("interval_minutes")
    return dict(sums.group_by("node_id").agg(power.quantile(0.95)).filter(pl.col("energy_kwh") > 0).iter_rows())


def errors(rows: pl.DataFrame, column: str) -> tuple[float, float]:
    """Return NMAE and NRMSE of a column."""
    missed = rows[column] - rows["actual_kwh"]
    level = rows["actual_kwh"].abs().mean()
    return float(missed.abs().mean() / level), float((missed**2).mean() ** 0.5 / level)


def saved(both: pl.DataFrame, peer: str) -> str:
    """Return the share of the peer's NMAE that is saved, with its interval."""
    methods = [
        both.select(
            pl.lit(name).alias("model"), "node_id", "issued_at_utc", "starts_at_utc", energy_kwh="actual_kwh",
            **{quantile: pl.col(name) for quantile in QUANTILE_COLUMNS},
        )
        for name in ("q50", peer)
    ]  # fmt: skip
    skill = skill_of(pl.concat(methods), model="q50", baseline=peer, metric="nmae", seed=1)
    return f"{skill.value:+.1%} ({skill.low:+.1%} .. {skill.high:+.1%})"


def judged(name: str, *, folder: Path, days: int) -> list[tuple[str, float, float, bool]]:
    """Print what is found of a set, and return what is limited: name, value, ratio to its limit, whether it holds."""
    source = Path(os.environ["ENERGY_ASSETS_REAL_DATA"])
    real = roofs(source) if name == ROOFS else SETS[name](source)
    signs = memberships(real.meters).filter(pl.col("node_kind") == "portfolio")
    direction = "net" if real.meters["direction"].n_unique() > 1 else real.meters["direction"][0]
    signs = signs.filter(pl.col("direction") == direction)
    node = signs["node_id"][0]
    readings = real.readings.select("meter_id", "starts_at_utc", "energy_kwh")
    signed = readings.join(signs.select("meter_id", "sign"), on="meter_id")
    known = pl.col("energy_kwh").is_not_null().all() & (pl.len() == real.meters.height)
    total = signed.group_by("starts_at_utc").agg(
        pl.when(known).then((pl.col("energy_kwh") * pl.col("sign")).sum()).alias("energy_kwh")
    )
    total = total.select(pl.lit("total").alias("meter_id"), "starts_at_utc", "energy_kwh").sort("starts_at_utc")
    bottom = back_test(real, readings, name="meters", folder=folder, days=days)
    top = back_test(real, total, name="total", folder=folder, days=days)
    made = nights(bottom, real=real)
    plain = bottom.join(signs.select("meter_id", "sign"), on="meter_id")
    plain = plain.group_by("starts_at_utc").agg(bottom_up=(pl.col("q50") * pl.col("sign")).sum())
    first = bottom["issued_at_utc"].min()
    assert isinstance(first, datetime)
    late = made.rows.filter(pl.col("issued_at_utc") >= first + WARM_UP, pl.col("actual_kwh").is_not_null())
    both = (
        late.filter(pl.col("node_id") == node)
        .join(plain, on="starts_at_utc")
        .join(top.select("starts_at_utc", top_down="q50"), on="starts_at_utc")
        .drop_nulls("top_down")
    )
    ours, bottom_up, top_down = (errors(both, column) for column in ("q50", "bottom_up", "top_down"))
    inside = pl.col("actual_kwh").is_between("q10", "q90").mean()
    covered = float(both.select(inside).item())
    of_meters = float(late.filter(pl.col("node_kind") == "meter").select(inside).item())
    ratio = [mine / min(one, other) for mine, one, other in zip(ours, bottom_up, top_down, strict=True)]
    print(
        f"{name:<22} {real.meters.height:>6} {both.height:>6} {ours[0]:>8.2%} {bottom_up[0]:>10.2%} {top_down[0]:>9.2%}"
        f" {ours[1]:>8.2%} {bottom_up[1]:>10.2%} {top_down[1]:>9.2%} {covered:>8.1%} {of_meters:>8.1%}"
    )
    print(f"  NMAE saved: of bottom-up {saved(both, 'bottom_up')}, of top-down {saved(both, 'top_down')}")
    print_peaks(made, direction=direction, since=first + WARM_UP)
    print_limits(made, real=real, since=first + WARM_UP)
    return [
        (f"{name}: NMAE over the better peer", ratio[0], ratio[0], ratio[0] <= MOST_TIMES_PEER + ROUNDING),
        (f"{name}: NRMSE over the better peer", ratio[1], ratio[1], ratio[1] <= MOST_TIMES_PEER + ROUNDING),
        (f"{name}: coverage of the sum", covered, covered / 0.8, COVERAGE[0] <= covered <= COVERAGE[1]),
    ]


def print_peaks(made: Nights, *, direction: str, since: datetime) -> None:
    """Print how peaks of days held by level."""
    level = pl.col("subject").str.extract(r"^([^|]+)")
    error = pl.col("q50") - pl.col("actual_kw")
    size = pl.col("actual_kw").abs().sum()
    figures = {
        "inside": pl.col("actual_kw").is_between("q10", "q90").mean(),
        "bias": error.sum() / size,
        "nmae": error.abs().sum() / size,
    }
    shown = []
    for rows in (made.peaks_as_drawn, made.peaks):
        late = rows.filter(pl.col("issued_at_utc") >= since, pl.col("subject").str.ends_with(f"|{direction}"))
        shown.append(late.group_by(level=level).agg(days=pl.len(), **figures).sort("level"))
    for drawn, learned in zip(shown[0].to_dicts(), shown[1].to_dicts(), strict=True):
        print(
            f"  peaks {drawn['level']:<10} {drawn['days']:>5} days: in band {drawn['inside']:.0%} -> "
            f"{learned['inside']:.0%}, bias {drawn['bias']:+.1%} -> {learned['bias']:+.1%}, "
            f"NMAE {drawn['nmae']:.1%} -> {learned['nmae']:.1%}"
        )


def print_limits(made: Nights, *, real: RealSet, since: datetime) -> None:
    """Print the Brier scores of the chance to pass a limit, and how often the classes of chance came true."""
    rows = made.limits.filter(pl.col("issued_at_utc") >= since)
    skill = skill_of_limits(rows, compared=made.rows, readings=real.readings, meters=real.meters)
    brier = dict(skill.filter(metric="limits_brier").group_by("model").agg(pl.col("value").mean()).iter_rows())
    classes = ", ".join(
        f"{row['expected']:.0%} said {row['observed']:.0%} came" for row in reliability(skill).iter_rows(named=True)
    )
    print(
        f"  limits: Brier score {brier['published']:.4f}, of the past month {brier['past_month']:.4f}; {classes}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=NAMES, choices=sorted([*SETS, ROOFS]), metavar="SET")
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
