"""How good the detector is, on real meters with injected faults: `python bench/anomalies.py`.

Point-wise PR-AUC per site against seven other methods in the same run, recall and precision of events per class, delay
of detection, false alarms per meter-month. Thresholds are the defaults of the library; nothing is fitted to the labels
here. Needs ENERGY_ASSETS_REAL_DATA. What is measured is kept by seed and site where `--keep FOLDER` says so, and taken
up again. Speed is measured by `anomalies_speed.py`, which `--only speed` runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import anomalies_speed
from bench.anomalies_faults import CLASSES, CONSUMPTION_FAULTS, DATA_FAULTS, WARM_UP_DAYS, Case, inject, sites
from bench.anomalies_rivals import RIVALS
from energy_assets.anomalies.events import merged_events
from energy_assets.anomalies.flags import Judgement, judge
from energy_assets.contracts import READINGS_INTERVAL, Window

OURS = "energy_assets"
CAUSES_OF = {
    "dropout": {"zero_run"},
    "stuck": {"stuck"},
    "spike": {"spike", "impossible", "residual_high"},
    "scale": {"unit_shift"},
    "reset": {"register_reset", "negative"},
    "gap": {"gap"},
    "night_waste": {"night_left_on"},
    "weekend_run": {"weekend_as_weekday"},
    "level_change": {"level_change"},
    "clock_shift": {"clock_shift"},
}


def frames(case: Case) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, Window]:
    """Return readings, meters and sites in the lake's shape, and the window that is judged."""
    site = case.site
    meters, slots = site.kwh.shape
    starts = pl.datetime_range(
        site.first_utc, site.first_utc + timedelta(minutes=site.interval_minutes * (slots - 1)),
        f"{site.interval_minutes}m", eager=True,
    )  # fmt: skip
    value = pl.Series(site.kwh.reshape(-1), nan_to_null=True)
    readings = pl.DataFrame(
        {
            "meter_id": pl.Series(site.meter_ids).gather(np.repeat(np.arange(meters), slots)),
            "starts_at_utc": starts.gather(np.tile(np.arange(slots), meters)),
            "interval_minutes": pl.Series([site.interval_minutes]).gather(np.zeros(meters * slots, dtype=np.int64)),
            "reported_kwh": value,
            "energy_kwh": value,
        }
    ).with_columns(
        quality=pl.lit("measured"),
        reason=pl.lit(None, dtype=pl.String),
        available_at_utc=pl.col("starts_at_utc") + pl.duration(minutes=pl.col("interval_minutes")),
    )
    registry = pl.DataFrame(
        {"meter_id": site.meter_ids, "commodity": site.commodities},
        schema={"meter_id": pl.String, "commodity": pl.String},
    ).with_columns(site_id=pl.lit(site.name), interval_minutes=pl.lit(site.interval_minutes, dtype=pl.Int64))
    place = pl.DataFrame({"site_id": [site.name], "timezone": [site.timezone], "country_code": [site.country_code]})
    begin = site.first_utc + timedelta(days=WARM_UP_DAYS)
    window = Window(starts_at_utc=begin, ends_at_utc=site.first_utc + timedelta(days=slots // site.slots_per_day))
    return READINGS_INTERVAL.conform(readings), registry, place, window


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the area under precision and recall as the sum over thresholds; equal scores count as one threshold."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.diff(score[order]) != 0, True)
    hits, seen = hits[last], (np.arange(len(truth)) + 1)[last]
    return float(np.sum(np.diff(np.concatenate([[0], hits])) * hits / seen) / max(hits[-1], 1))


def ours(case: Case) -> tuple[np.ndarray, Judgement, pl.DataFrame]:
    """Return the score of every slot, the judgement, and the events."""
    readings, meters, places, window = frames(case)
    judgement = judge(readings, meters=meters, sites=places, window=window, every_score=True)
    events = merged_events(judgement.flags, meters=meters, as_of_utc=window.ends_at_utc, days=judgement.days)
    score = np.zeros(case.site.kwh.shape)
    meter = judgement.scores["meter_id"].cast(pl.Enum(case.site.meter_ids)).to_physical().to_numpy()
    slot = _slot(judgement.scores["starts_at_utc"], case)
    score[meter, slot] = judgement.scores["score"].to_numpy()
    return score, judgement, events


def _slot(times: pl.Series, case: Case) -> np.ndarray:
    return ((times - case.site.first_utc).dt.total_minutes() // case.site.interval_minutes).to_numpy()


def match(case: Case, judgement: Judgement, events: pl.DataFrame) -> tuple[pl.DataFrame, list[dict[str, object]]]:
    """Return the events with `is_true`, and per injected fault the strongest event that hits it, its cause and delay.

    An event is true when at least a fifth of its flagged slots are wrong ones; a fault is found by a true event with a
    flagged slot in it. Events that lie wholly where the source itself has no readings are not counted.
    """
    per_slot = judgement.flags.select("meter_id", "starts_at_utc").unique()
    spans = events.filter(pl.col("meter_id").is_not_null()).select(
        "event_id", "meter_id", "family", "starts_at_utc", "ends_at_utc", "score", "is_alert", "cause"
    )
    faults_of: dict[int, list[int]] = defaultdict(list)
    for number, fault in enumerate(case.faults):
        faults_of[fault.meter].append(number)
    flagged = np.zeros(case.label.shape, dtype=bool)
    row_of = {meter_id: row for row, meter_id in enumerate(case.site.meter_ids)}
    flagged[[row_of[m] for m in per_slot["meter_id"]], _slot(per_slot["starts_at_utc"], case)] = True
    found: list[dict[str, object]] = [
        {"name": fault.name, "score": -1.0, "alert": False, "cause": "", "delay_hours": np.nan} for fault in case.faults
    ]
    rows = []
    begins, ends = _slot(spans["starts_at_utc"], case), _slot(spans["ends_at_utc"], case)
    for event, begin, end in zip(spans.iter_rows(named=True), begins, ends, strict=True):
        meter = row_of[event["meter_id"]]
        at = np.arange(begin, end)[flagged[meter, begin:end]]
        counted = at[case.judged[meter, at]]
        if len(counted) == 0:
            continue
        wrong = case.label[meter, counted] > 0
        is_true = bool(wrong.mean() >= 0.2)
        rows.append({**event, "is_true": is_true})
        for number in faults_of[meter] if is_true else []:
            hit = np.intersect1d(at, case.faults[number].slots)
            if len(hit):
                best = found[number]
                if event["is_alert"]:
                    delay = _delay_hours(hit[0], case.faults[number].slots[0], case)
                    best["delay_hours"] = np.nanmin([best["delay_hours"], delay])
                if event["score"] > best["score"]:
                    best.update(score=event["score"], cause=event["cause"])
                best["alert"] = best["alert"] or event["is_alert"]
    return pl.DataFrame(rows, infer_schema_length=None), found


def _delay_hours(hit: int, start: int, case: Case) -> float:
    """Return the hours from the fault's start to the end of the day that first shows it: when a nightly run can."""
    per_day = case.site.slots_per_day
    return ((hit // per_day + 1) * per_day - start) * case.site.interval_minutes / 60


def accuracy(folder: Path, *, seeds: range, rivals: Collection[str], keep: Path | None, again: Collection[str]) -> None:
    precision: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    events, found, months, seconds = [], [], 0.0, defaultdict(float)
    found_sites = sites(folder)
    for seed in seeds:
        for site in found_sites:
            case = inject(site, seed=seed)
            if not case.site.meter_ids:
                continue
            for method in (OURS, *rivals):
                measured = _kept(case, method=method, seed=seed, keep=keep, is_again=method in again)
                precision[method][site.name].append(measured["precision"])
                seconds[method] += measured["seconds"]
                events += measured.get("events", [])
                found += measured.get("found", [])
            months += case.judged.sum() / site.slots_per_day / 30
    _print_points(precision, seconds)
    _print_events(pl.DataFrame(events, infer_schema_length=None), pl.DataFrame(found), months)


def _kept(case: Case, *, method: str, seed: int, keep: Path | None, is_again: bool) -> dict[str, Any]:
    """Return what was measured of a method on a case, from the folder where it is kept."""
    name = "".join(letter if letter.isalnum() else "_" for letter in method)
    file = None if keep is None else keep / f"{name}-{seed}-{case.site.name}.json"
    if file is not None and file.exists() and not is_again:
        return dict(json.loads(file.read_text()))
    begun = time.perf_counter()
    judgement = None
    if method == OURS:
        score, judgement, events = ours(case)
    else:
        score = RIVALS[method](case.site)
    measured: dict[str, Any] = {"seconds": time.perf_counter() - begun}
    measured["precision"] = average_precision(case.label[case.judged] > 0, score[case.judged])
    if judgement is not None:
        marked, found = match(case, judgement, events)
        told = marked.select("cause", "score", "is_alert", "is_true").to_dicts() if marked.height else []
        measured |= {"events": told, "found": found}
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(measured))
    return measured


def _print_points(precision: dict[str, dict[str, list[float]]], seconds: dict[str, float]) -> None:
    names = list(precision[OURS])
    print("\nPoint-wise PR-AUC per site (mean of seeds)")
    print(f"{'method':24s}", *(f"{name[-10:]:>10s}" for name in names), "     macro  [by seed]   seconds")
    macro = {}
    for method, by_site in precision.items():
        macro[method] = np.mean([np.mean(by_site[name]) for name in names])
        seeds = max(len(values) for values in by_site.values())
        by_seed = [np.mean([v[s] for v in by_site.values() if s < len(v)]) for s in range(seeds)]
        cells = (f"{np.mean(by_site[name]):10.3f}" for name in names)
        spread = f"[{min(by_seed):.3f} .. {max(by_seed):.3f}]"
        print(f"{method:24s}", *cells, f"{macro[method]:10.3f}  {spread}  {seconds[method]:7.1f}")
    best = max((value for name, value in macro.items() if name != OURS), default=np.nan)
    print(f"ratio to the best other method: {macro[OURS] / best:.2f} (wanted 1.30; macro wanted 0.50)")


def _print_events(events: pl.DataFrame, found: pl.DataFrame, months: float) -> None:
    false = events.filter(~pl.col("is_true")).sort("score", descending=True)
    alerts = events.filter("is_alert")
    per_month = alerts.filter(~pl.col("is_true")).height / months
    print(f"\nEvents over {months:.0f} meter-months: {alerts.height} alerts, precision {alerts['is_true'].mean():.2f}, "
          f"{per_month:.2f} false alarms per meter-month at the default thresholds")  # fmt: skip
    at = round(months)
    threshold = false["score"][at] if false.height > at else 0.0
    print(f"{'class':14s} {'faults':>7s} {'recall':>7s} {'at 1/month':>10s} {'cause':>6s} {'delay h':>8s}")
    hit = pl.col("score") > threshold
    groups = {name: [name] for name in CLASSES} | {
        "data faults": list(DATA_FAULTS), "consumption": list(CONSUMPTION_FAULTS), "all": list(CLASSES),
    }  # fmt: skip
    right = pl.struct("name", "cause").map_elements(lambda row: row["cause"] in CAUSES_OF[row["name"]], pl.Boolean)
    found = found.with_columns(right=right)
    for group, names in groups.items():
        rows = found.filter(pl.col("name").is_in(names))
        if rows.is_empty():
            continue
        caught = rows.filter("alert")
        delay = caught["delay_hours"].drop_nans().median()
        print(f"{group:14s} {rows.height:7d} {rows['alert'].mean():7.2f} {rows.select(hit.mean()).item():10.2f} "
              f"{caught['right'].mean() or 0:6.2f} {delay or float('nan'):8.0f}")  # fmt: skip
    by_cause = alerts.group_by("cause").agg(pl.len(), pl.col("is_true").mean().round(2)).sort("cause")
    print(
        "precision by cause:", ", ".join(f"{cause} {share} of {count}" for cause, count, share in by_cause.iter_rows())
    )
    worst = min(CLASSES, key=lambda name: found.filter(pl.col("name") == name).select(hit.mean()).item() or 0)
    print(f"worst class at one false event per meter-month: {worst}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rivals", nargs="*", choices=sorted(RIVALS), default=list(RIVALS))
    parser.add_argument("--only", choices=("accuracy", "speed"))
    parser.add_argument("--keep", type=Path, help="Folder in which what is measured is kept, by seed and site.")
    parser.add_argument("--again", nargs="*", default=[], help="Methods to measure again although they are kept.")
    chosen = parser.parse_args()
    folder = os.environ.get("ENERGY_ASSETS_REAL_DATA")
    if chosen.only != "speed":
        if folder is None:
            sys.exit("Set ENERGY_ASSETS_REAL_DATA to the folder of the developers' real data sets.")
        seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
        accuracy(Path(folder), seeds=seeds, rivals=chosen.rivals, keep=chosen.keep, again=chosen.again)
    if chosen.only != "accuracy":
        sys.exit(anomalies_speed.measure())


if __name__ == "__main__":
    main()
