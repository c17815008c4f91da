"""What load profiles cost and are worth, on an instance that has them: `python bench/profiles.py --home .energy`.

Made for the instance of `make run` after `energy profiles fit`. Three parts: seconds for the shapes of a year; the
first forecasts of meters of which only the first days are shown, beside the published forecasts of the others (the
clusters are of the whole year, the days forecast included); and the days that the flag `unlike_profile` tells of,
held against the generator's labels. Nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from energy_assets.anomalies.profile_days import profile_flags
from energy_assets.contracts import (
    FORECASTS_LOAD,
    METERS,
    PREMISES,
    PROFILES_CENTROIDS,
    PROFILES_METERS,
    PROFILES_SHAPES,
    QUANTILE_COLUMNS,
    READINGS_INTERVAL,
    SITES,
    Window,
)
from energy_assets.defs.profiles import asking
from energy_assets.features.matrix import build_features
from energy_assets.features.site_days import site_days
from energy_assets.forecasts import shapes
from energy_assets.forecasts.analogues import analogue_quantiles
from energy_assets.forecasts.first_days import first_days
from energy_assets.forecasts.slots import delivery_slots
from energy_assets.forecasts.standing import HISTORY, standing
from energy_assets.lake import Lake
from energy_assets.profiles.newcomers import peer_groups
from energy_assets.profiles.shapes import lookback, shapes_of
from energy_assets.settings import Settings

LIMIT_S = 3.0
OWN_DAYS = (0, 1, 2, 3, 5, 7)
HIDDEN = 0.3
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
COLUMNS = ["meter_id", "starts_at_utc", "interval_minutes", "energy_kwh", "available_at_utc"]
ON_LABELS = {"night_waste": "A night", "weekend_as_weekday": "A day of rest"}


def shapes_seconds(lake: Lake, *, year: Window) -> float:
    """Return how long the shapes and traits of all meters take."""
    meters, sites = lake.read(METERS), lake.read(SITES)
    calendar = _calendar(sites, window=year)
    begun = time.perf_counter()
    with asking(lake) as ask:
        shapes_of(ask, meters=meters, sites=sites, calendar=calendar, window=year)
    return time.perf_counter() - begun


def first_forecasts(lake: Lake, *, issues: list[datetime], seed: int) -> pl.DataFrame:
    """Return error and coverage per issue, meter, own days and variant of meters shown with their first days only."""
    meters, sites, premises = lake.read(METERS), lake.read(SITES), lake.read(PREMISES)
    members = lake.read(PROFILES_METERS).with_columns(as_of_utc=pl.lit(LONG_AGO), fitted_as_of_utc=pl.lit(LONG_AGO))
    centroids = lake.read(PROFILES_CENTROIDS)
    centroids = centroids.filter(pl.col("as_of_utc") == pl.col("as_of_utc").max()).with_columns(
        as_of_utc=pl.lit(LONG_AGO)
    )
    ids = meters["meter_id"].sort()
    random = np.random.default_rng(seed)
    done = []
    for issue in issues:
        found = []
        span = Window(starts_at_utc=issue - HISTORY, ends_at_utc=issue + timedelta(days=3))
        readings = lake.read(READINGS_INTERVAL, span, columns=COLUMNS)
        past = readings.filter(pl.col("starts_at_utc") < issue)
        after = readings.filter(pl.col("starts_at_utc") >= issue).drop_nulls("energy_kwh")
        hidden = pl.col("meter_id").is_in(random.choice(ids.to_numpy(), int(HIDDEN * len(ids)), replace=False).tolist())
        slots = delivery_slots(meters, sites=sites, issued_at_utc=issue)
        published = lake.read(FORECASTS_LOAD, where={"node_kind": "meter", "issued_at_utc": issue})
        served = slots.filter(~hidden).join(
            published.select("starts_at_utc", *QUANTILE_COLUMNS, meter_id="node_id"), on=["meter_id", "starts_at_utc"]
        )
        for days in OWN_DAYS:
            seen = past.filter(~hidden | (pl.col("starts_at_utc") >= issue - timedelta(days=days)))
            known = standing(seen, meters=meters, premises=premises, issued_at_utc=issue)
            groups = peer_groups(
                seen.filter(hidden), members=members.filter(~hidden), centroids=centroids, meters=meters, sites=sites,
                calendar=_calendar(sites, window=span), issued_at_utc=issue,
            ).select("meter_id", "peer_group")  # fmt: skip
            grouped = known.join(groups, on="meter_id", how="left")
            own = first_days(seen, known=known, sites=sites, issued_at_utc=issue)
            for name, (about, own_days) in {
                "use": (known, None), "cluster": (grouped, None), "cluster and own days": (grouped, own),
            }.items():  # fmt: skip
                rows = shapes.peers(slots.filter(hidden), served=served, known=about, own=own_days)
                found.append(rows.with_columns(variant=pl.lit(name), days=pl.lit(days)))
            if days:
                features = build_features(
                    seen, meters=meters.filter(hidden), sites=sites, premises=premises, weather=None, issues=[issue]
                )
                rows = analogue_quantiles(features).select(rows.columns).drop_nulls("q50")
                found.append(rows.with_columns(variant=pl.lit("analogue"), days=pl.lit(days)))
        actual = after.select("meter_id", "starts_at_utc", "energy_kwh")
        done.append(pl.concat(found).join(actual, on=["meter_id", "starts_at_utc"]))
    error = (pl.col("q50") - pl.col("energy_kwh")).abs().sum() / pl.col("energy_kwh").abs().sum()
    held = pl.col("energy_kwh").is_between(pl.col("q10"), pl.col("q90")).mean()
    each = pl.concat(done).group_by("variant", "days", "issued_at_utc", "meter_id").agg(error=error, held=held)
    return each.filter(pl.col("error").is_finite())


def told_days(lake: Lake, *, window: Window) -> pl.DataFrame:
    """Return the days of meters that the flag tells of in a window: meter_id, day, first and last slot, reason."""
    meters, sites, profile = lake.read(METERS), lake.read(SITES), lake.read(PROFILES_SHAPES)
    calendar = _calendar(sites, window=window)
    flags = pl.concat(
        profile_flags(
            lake.read(READINGS_INTERVAL, piece, columns=COLUMNS), meters=meters, sites=sites, shapes=profile,
            calendar=calendar, window=piece,
        )
        for piece in window.pieces(days=31)
    )  # fmt: skip
    return flags.group_by("meter_id", day=pl.col("starts_at_utc").dt.date()).agg(
        since=pl.col("starts_at_utc").min(), until=pl.col("starts_at_utc").max(), reason=pl.col("reason").first()
    )


def report_labels(days: pl.DataFrame, *, labels: pl.DataFrame, meter_months: float) -> None:
    """Print how many days no label touches, and how many labelled faults of each kind were told of."""
    touched = days.join(labels, on="meter_id").filter(
        pl.col("since") < pl.col("ends_at_utc"), pl.col("until") >= pl.col("starts_at_utc")
    )
    free = days.join(touched.select("meter_id", "day").unique(), on=["meter_id", "day"], how="anti")
    print(f"{days.height} days told of, {free.height} without a label: {free.height / meter_months:.3f} a meter-month")
    for fault, words in ON_LABELS.items():
        total = labels.filter(pl.col("fault") == fault).height
        hit = touched.filter(pl.col("fault") == fault, pl.col("reason").str.starts_with(words))
        print(f"  {fault}: {hit.select('meter_id', 'starts_at_utc').n_unique()} of {total}")


def _calendar(sites: pl.DataFrame, *, window: Window) -> pl.DataFrame:
    day = timedelta(days=1)
    return site_days(sites, first=(window.starts_at_utc - day).date(), last=(window.ends_at_utc + day).date())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(".energy"))
    parser.add_argument("--nights", type=int, default=4, help="Of the published ones, every third from the newest.")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    lake = Lake.from_settings(Settings(home=chosen.home))
    newest = lake.read(READINGS_INTERVAL, columns=["starts_at_utc"])["starts_at_utc"].max()
    year = lookback(newest=Window.of_days(newest.date()))
    seconds = shapes_seconds(lake, year=year)
    print(f"shapes of {lake.count(METERS)} meters, {lake.count(READINGS_INTERVAL, year):,} rows: {seconds:.1f} s")
    issued = lake.read(FORECASTS_LOAD, columns=["issued_at_utc"])["issued_at_utc"].unique().sort()
    whole = [each for each in issued if each + timedelta(days=2) <= year.ends_at_utc]
    measured = first_forecasts(lake, issues=whole[::-3][: chosen.nights], seed=chosen.seed)
    table = measured.group_by("days", "variant").agg(
        error=pl.col("error").median().round(3), mean=pl.col("error").clip(0, 3).mean().round(3),
        held=pl.col("held").mean().round(3), meters=pl.len(),
    )  # fmt: skip
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(table.sort("days", "variant"))
    labels = chosen.home / "community" / "labels.parquet"
    if labels.exists():
        window = Window(starts_at_utc=year.starts_at_utc + timedelta(days=72), ends_at_utc=year.ends_at_utc)
        faults = pl.read_parquet(labels).filter(pl.col("starts_at_utc") >= window.starts_at_utc)
        drawn = lake.count(METERS, where={"commodity": "electricity", "direction": "consumption"})
        months = drawn * (window.ends_at_utc - window.starts_at_utc) / timedelta(days=30.4)
        report_labels(told_days(lake, window=window), labels=faults, meter_months=months)
    return 0 if seconds <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
