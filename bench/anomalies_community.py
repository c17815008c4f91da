"""How good the events are on the community's own labels: `python bench/anomalies_community.py --home .energy`.

Reads what `energy run` left: readings as they were cleaned, and the generator's labels, which nothing but this reads.
Per class: share found, cause, delay; false alarms per meter-month and alerts a day, with the limits of files and with
those of the morning's list.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import polars as pl

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from energy_assets import contracts
from energy_assets.anomalies.events import merged_events
from energy_assets.anomalies.limits import DEFAULT_LIMITS, MORNING_LIMITS, Limits
from energy_assets.contracts import Window
from energy_assets.defs.anomaly_days import judged_days
from energy_assets.lake import Lake
from energy_assets.settings import Settings

CAUSES_OF = {
    "gap": {"gap", "spread", "partial"},
    "dropout": {"gap", "spread", "partial"},
    "zero_run": {"zero_run"},
    "stuck": {"stuck", "zero_run"},
    "spike": {"spike", "impossible", "residual_high"},
    "scale": {"unit_shift", "impossible", "spike"},
    "reset": {"register_reset", "register_jump"},
    "negative": {"negative", "register_reset"},
    "night_waste": {"night_left_on"},
    "weekend_as_weekday": {"weekend_as_weekday"},
    "level_change": {"level_change", "constant_offset"},
    "clock_shift": {"clock_shift"},
}


# These multiply what the meter reads: of nothing they leave nothing, and no trace of themselves.
MULTIPLYING = ("spike", "scale", "negative", "level_change")


def judged(lake: Lake, window: Window) -> tuple[pl.DataFrame, pl.DataFrame, float]:
    """Return flags, days and seconds of a window, month by month as the graph does it."""
    flags, days, seconds = [], [], 0.0
    for piece in window.pieces(days=31):
        begun = time.perf_counter()
        found = judged_days(lake, window=piece)
        seconds += time.perf_counter() - begun
        flags.append(found.flags)
        days.append(found.days)
    return pl.concat(flags), pl.concat(days), seconds


def without_trace(lake: Lake, labels: pl.DataFrame) -> pl.DataFrame:
    """Return the labels of faults that multiplied a meter while it read nothing but zero."""
    several = labels.filter(pl.col("fault").is_in(MULTIPLYING))
    window = Window(starts_at_utc=labels["starts_at_utc"].min(), ends_at_utc=labels["ends_at_utc"].max())  # type: ignore[arg-type]
    where = {"meter_id": several["meter_id"].unique().to_list()}
    columns = ["meter_id", "starts_at_utc", "reported_kwh"]
    readings = lake.read(contracts.READINGS_INTERVAL, window, columns=columns, where=where)
    inside = several.join(readings.rename({"starts_at_utc": "at"}), on="meter_id").filter(
        pl.col("at") >= pl.col("starts_at_utc"), pl.col("at") < pl.col("ends_at_utc")
    )
    shown = inside.filter(pl.col("reported_kwh") != 0)
    return several.join(shown, on="label", how="anti")


def matched(events: pl.DataFrame, flags: pl.DataFrame, labels: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return alerts of single meters with `is_true`, and labels with `found`, `cause` and `delay_hours`.

    An alert is true when a fifth of its flagged slots are labelled, and finds the labels that one of them lies in. A
    member of an incident counts as the incident does.
    """
    incidents = events.filter(pl.col("meter_id").is_null(), "is_alert").select(incident_id="event_id")
    members = events.filter(pl.col("meter_id").is_not_null())
    alerts = pl.concat([members.filter("is_alert"), members.join(incidents, on="incident_id", how="semi")])
    spans = alerts.select("event_id", "meter_id", "cause", begins="starts_at_utc", ends="ends_at_utc")
    slots = flags.select("meter_id", "starts_at_utc").unique()
    inside = slots.join(spans, on="meter_id").filter(
        pl.col("starts_at_utc") >= pl.col("begins"), pl.col("starts_at_utc") < pl.col("ends")
    )
    known = labels.select("label", "meter_id", "fault", from_utc="starts_at_utc", until_utc="ends_at_utc")
    hits = inside.join(known, on="meter_id").filter(
        pl.col("starts_at_utc") >= pl.col("from_utc"), pl.col("starts_at_utc") < pl.col("until_utc")
    )
    share = (
        inside.group_by("event_id")
        .len()
        .join(
            hits.select("event_id", "starts_at_utc").unique().group_by("event_id").agg(hit=pl.len()),
            on="event_id",
            how="left",
        )
    )
    is_true = share.with_columns(is_true=(pl.col("hit").fill_null(0) / pl.col("len")) >= 0.2)
    alerts = alerts.join(is_true.select("event_id", "is_true"), on="event_id", how="left")
    day_end = pl.col("starts_at_utc").dt.truncate("1d") + timedelta(days=1)
    found = (
        hits.join(alerts.filter("is_true").select("event_id"), on="event_id", how="semi")
        .group_by("label")
        .agg(
            cause=pl.col("cause").mode().sort().first(),
            delay_hours=(day_end - pl.col("from_utc")).dt.total_minutes().min() / 60,
        )
    )
    return alerts, labels.join(found, on="label", how="left").with_columns(found=pl.col("cause").is_not_null())


def show(lake: Lake, *, labels: pl.DataFrame, window: Window, limits: dict[str, Limits]) -> None:
    flags, days, seconds = judged(lake, window)
    meters = lake.read(contracts.METERS)
    months = meters.height * (window.ends_at_utc - window.starts_at_utc) / timedelta(days=30)
    span = (window.ends_at_utc - window.starts_at_utc) // timedelta(days=1)
    print(f"{meters.height} meters, {span} days, {labels.height} labelled faults; flags in {seconds:.0f} s")
    for name, chosen in limits.items():
        events = merged_events(flags, meters=meters, as_of_utc=window.ends_at_utc, days=days, limits=chosen)
        alerts, found = matched(events, flags, labels)
        asked = events.filter("is_alert")
        per_day = asked.group_by(pl.col("alerted_at_utc")).len()["len"]
        false = alerts.filter(~pl.col("is_true"))
        print(
            f"\n{name}: {events.height} events, {asked.height} alerts, {asked.height / span:.1f} a day (at most "
            f"{per_day.max()}), precision {alerts['is_true'].mean():.2f}, "
            f"{false.height / months:.2f} false alarms per meter-month"
        )
        print(f"{'class':20s} {'faults':>7s} {'recall':>7s} {'cause':>6s} {'delay h':>8s}")
        for fault, rows in sorted(found.group_by("fault")):
            caught = rows.filter("found")
            right = caught["cause"].is_in(sorted(CAUSES_OF[str(fault[0])])).mean()
            delay = caught["delay_hours"].median()
            print(
                f"{fault[0]!s:20s} {rows.height:7d} {rows['found'].mean():7.2f} {right or 0:6.2f} "
                f"{delay if delay is not None else float('nan'):8.0f}"
            )
        print(f"{'all':20s} {found.height:7d} {found['found'].mean():7.2f}")
        by_cause = alerts.group_by("cause").agg(alerts=pl.len(), precision=pl.col("is_true").mean().round(2))
        print("precision by cause:", ", ".join(
            f"{cause} {precision} of {count}" for cause, count, precision in by_cause.sort("cause").iter_rows()
        ))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".energy"))
    parser.add_argument("--days", type=int, default=180)
    chosen = parser.parse_args()
    lake = Lake.from_settings(Settings(home=chosen.home), author="bench")
    labels = pl.read_parquet(chosen.home / "community" / "labels.parquet").with_row_index("label")
    newest = lake.read(contracts.READINGS_INTERVAL, columns=["starts_at_utc"])["starts_at_utc"].max()
    last = newest.date()  # type: ignore[union-attr]
    window = Window.of_days(last - timedelta(days=chosen.days - 1), last)
    labels = labels.filter(
        pl.col("starts_at_utc") >= window.starts_at_utc,
        pl.col("starts_at_utc") < window.ends_at_utc - timedelta(days=1),
    )
    known = lake.read(contracts.METERS, columns=["meter_id"])
    labels = labels.join(known, on="meter_id", how="semi")
    hidden = without_trace(lake, labels)
    print(f"{hidden.height} labelled faults multiplied zeros and left no trace; they are not counted: "
          f"{dict(sorted(hidden['fault'].value_counts().iter_rows()))}")  # fmt: skip
    labels = labels.join(hidden, on="label", how="anti")
    show(lake, labels=labels, window=window, limits={"files": DEFAULT_LIMITS, "morning": MORNING_LIMITS})


if __name__ == "__main__":
    main()
