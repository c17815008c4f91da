"""What a taught ranker adds to the detectors: `python bench/ranker.py`.

Two communities are generated with labelled faults and brought into lakes by the platform's own pipeline. The ranker
learns from the faults of one and is judged on the other, whose meters and faults it has never seen, against the
detectors' score on the same slots: point-wise PR-AUC over all, macro over sites and per fault, calibration, and the
fewest labels from which it pays. Slots without a reading take no part (the rule for gaps is exact), nor does what is
left standing inside a labelled gap or dropout. Past-only features unless said otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from energy_assets.anomalies.flags import judge
from energy_assets.anomalies.ranker import (
    RankerSpec,
    TrainedRanker,
    average_precision,
    calibration_error,
    judge_ranker,
    train_ranker,
)
from energy_assets.anomalies.ranker_features import SCORE, ranker_features
from energy_assets.anomalies.ranker_labels import labels_of_faults
from energy_assets.community import generate
from energy_assets.contracts import METERS, READINGS_INTERVAL, READINGS_RAW, SITES, Window
from energy_assets.ingestion import land, register
from energy_assets.lake import Lake
from energy_assets.readings.cleaning import interval_query
from energy_assets.readings.source import Source

FIRST, WARM_UP_DAYS = date(2024, 1, 8), 63
LOST = ("gap", "dropout")


@dataclass(frozen=True, kw_only=True)
class World:
    """A community: features of every slot with a reading (looking both ways), labels, and the faults themselves."""

    features: pl.DataFrame
    labels: pl.DataFrame
    faults: pl.DataFrame


def world(folder: Path, *, seed: int, buildings: int, households: int, days: int, faults_per_year: float) -> World:
    """Return a community of a seed as the platform sees it."""
    last = FIRST + timedelta(days=days - 1)
    community = folder / "community"
    generate(
        community,
        first_day=FIRST,
        last_day=last,
        buildings=buildings,
        households=households,
        seed=seed,
        faults_per_year=faults_per_year,
    )
    lake = filled_lake(folder, first=FIRST, last=last)
    meters, sites = lake.read(METERS), lake.read(SITES)
    window = Window.of_days(FIRST + timedelta(days=WARM_UP_DAYS), last)
    readings, weather = lake.read(READINGS_INTERVAL), pl.read_parquet(community / "weather" / "observed.parquet")
    lake.close()
    begun = time.perf_counter()
    scores = judge(
        readings, meters=meters, sites=sites, weather=weather, window=window, every_score=True
    ).scores  # fmt: skip
    judged = time.perf_counter()
    features = ranker_features(readings, window=window, meters=meters, sites=sites, scores=scores, sides="both")
    print(
        f"seed {seed}: {meters.height} meters, {features.height:,} slots; detectors {judged - begun:.0f} s, "
        f"features {time.perf_counter() - judged:.1f} s", flush=True,
    )  # fmt: skip
    faults = pl.read_parquet(community / "labels.parquet")
    unclear = labels_of_faults(faults.filter(pl.col("fault").is_in(LOST)), slots=features)["is_fault"]
    features = features.filter(~unclear)
    return World(features=features, labels=labels_of_faults(faults, slots=features), faults=faults)


def filled_lake(folder: Path, *, first: date, last: date) -> Lake:
    """Return a lake with the cleaned readings of a generated community."""
    community = folder / "community"
    weather = {"weather_observed": "../weather/observed.parquet"}
    homes = community / "households"
    sources = [
        Source(name="ashrae", kind="ashrae", path=community / "ashrae", options={}),
        Source(name="households", kind="table", path=homes, mapping=homes / "mapping.toml", options=weather),
    ]
    lake = Lake(
        catalog=f"sqlite:{folder / 'catalog.sqlite'}", data_path=str(folder / "data"), work_folder=folder / "work"
    )
    now = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=2)
    register(lake, sources, now=now)
    window = Window.of_days(first, last)
    for source in sources:
        land(lake, source, window=window, now=now)
    assert lake.count(READINGS_RAW) > 0
    for piece in window.pieces(days=92):
        lake.replace(READINGS_INTERVAL, interval_query(piece), window=piece)
    return lake


def judged_on(other: World, trained: TrainedRanker) -> pl.DataFrame:
    """Return the slots of another community with label, score of the ranker and of the detectors."""
    key = ["meter_id", "starts_at_utc"]
    rows = other.features.select(*key, "site_id", detectors=pl.col(SCORE).fill_null(0).fill_nan(0))
    return rows.join(other.labels, on=key).join(trained.ranker.predict(other.features), on=key)


def areas(rows: pl.DataFrame) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return the PR-AUC over all slots and its mean over sites with a fault, for ranker and detectors."""
    whole, macro = {}, {}
    sites = [part for part in rows.partition_by("site_id") if part["is_fault"].any()]
    for name in ("score", "detectors"):
        whole[name] = average_precision(rows["is_fault"].to_numpy(), rows[name].to_numpy())
        macro[name] = float(
            np.mean([average_precision(part["is_fault"].to_numpy(), part[name].to_numpy()) for part in sites])
        )
    return whole, macro


def report(rows: pl.DataFrame, *, faults: pl.DataFrame) -> None:
    """Print precision and recall per fault class on the community that was not learned from."""
    good = ~rows["is_fault"]
    print(f"\n{'fault':20s} {'slots':>7s} {'ranker':>8s} {'detectors':>10s}   (PR-AUC of the class against good slots)")
    for name in sorted(set(faults["fault"]) - set(LOST)):
        hit = labels_of_faults(faults.filter(pl.col("fault") == name), slots=rows)["is_fault"]
        part, truth = rows.filter(good | hit), hit.filter(good | hit).to_numpy()
        if truth.any():
            values = [average_precision(truth, part[column].to_numpy()) for column in ("score", "detectors")]
            print(f"{name:20s} {truth.sum():7d} {values[0]:8.3f} {values[1]:10.3f}")


def at_home(world: World, *, meters: int, seed: int) -> None:
    """Print what a ranker taught on so many meters with a fault is worth on the community's other meters."""
    faulty = world.labels.filter("is_fault")["meter_id"].unique().sort().sample(fraction=1.0, shuffle=True, seed=seed)
    chosen = pl.col("meter_id").is_in(faulty.head(meters).implode())
    trained = train_ranker(world.features, labels=world.labels.filter(chosen), seed=seed)
    if isinstance(trained, str):
        print(f"  {meters:3d} meters: off: {trained}", flush=True)
        return
    rest = World(features=world.features.filter(~chosen), labels=world.labels.filter(~chosen), faults=world.faults)
    whole, _ = areas(judged_on(rest, trained))
    bound = trained.metrics["model"]["gain_at_least"]
    print(
        f"  {meters:3d} meters: PR-AUC {whole['score']:.3f}, detectors {whole['detectors']:.3f}; its bound "
        f"{bound:+.3f}: {'off' if judge_ranker(trained.metrics) else 'used'}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buildings", type=int, default=50)
    parser.add_argument("--households", type=int, default=35)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--faults-per-year", type=float, default=6.0, help="Of a meter; the generator's own is 1.2.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12], help="Each is judged on the next one.")
    chosen = parser.parse_args()
    worlds = []
    for seed in chosen.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            worlds.append(
                world(
                    Path(scratch), seed=seed, buildings=chosen.buildings, households=chosen.households,
                    days=chosen.days, faults_per_year=chosen.faults_per_year,
                )
            )  # fmt: skip
    variants = {
        "past only, with the detectors' score": RankerSpec(),
        "past only, value changes alone": RankerSpec(with_score=False),
        "both sides, with the score (history only)": RankerSpec(sides="both"),
    }
    gains: list[float] = []
    for number, learned in enumerate(worlds):
        other = worlds[(number + 1) % len(worlds)]
        print(f"\nLearned from seed {chosen.seeds[number]}, judged on seed {chosen.seeds[(number + 1) % len(worlds)]}")
        heads = (
            f"{'PR-AUC':>8s} {'detectors':>10s} {'macro':>8s} {'detectors':>10s} {'off by':>8s} {'train s':>8s}  used"
        )
        print(f"{'ranker':44s} {heads}")
        for name, spec in variants.items():
            begun = time.perf_counter()
            trained = train_ranker(learned.features, labels=learned.labels, spec=spec)
            if isinstance(trained, str):
                print(f"{name:44s} {trained}")
                continue
            seconds = time.perf_counter() - begun
            rows = judged_on(other, trained)
            whole, macro = areas(rows)
            used = "no" if judge_ranker(trained.metrics) else "yes"
            off = calibration_error(rows["is_fault"].to_numpy(), rows["score"].to_numpy())
            print(f"{name:44s} {whole['score']:8.3f} {whole['detectors']:10.3f} {macro['score']:8.3f} "
                  f"{macro['detectors']:10.3f} {off:8.4f} {seconds:8.1f}  {used}", flush=True)  # fmt: skip
            if spec == RankerSpec():
                gains.append(whole["score"] / whole["detectors"])
                judged = rows
        if len(gains) <= number:
            sys.exit("Too few faults to learn from: generate more meters or days.")
        report(judged, faults=other.faults)
        if number:
            continue
        print("\nLabels of some meters of one community, judged on its other meters (never worse where it is used):")
        for meters in (15, 25, 40, 60):
            for draw in range(2):
                at_home(learned, meters=meters, seed=draw)
    shown = ", ".join(f"{gain:.2f}" for gain in gains)
    print(f"\nratio to the detectors' score, past only: {shown} ")
    return 0 if min(gains) > 1.05 else 1


if __name__ == "__main__":
    sys.exit(main())
