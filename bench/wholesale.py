"""Accuracy of the wholesale price forecast on the real Nord Pool data: the last 728 days, day by day, as known then.

    python bench/wholesale.py          members, blend and band beside all peers; --folder keeps the members' forecasts
    python bench/wholesale.py --folder FOLDER --part   as much as four minutes allow; repeat until nothing is left
    python bench/wholesale.py peer     plain LightGBM alone, on the same days (bench dependency)
    python bench/wholesale.py night    how long one night's forecast takes, with and without a memory

Needs ENERGY_ASSETS_REAL_DATA. The protocol is the literature's (Lago et al. 2021): day-ahead, prices to the end of the
day before, load and wind forecasts of the day. The 182 days before the test warm up weights and band.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.prices.market import MarketDays, market_days
from energy_assets.prices.wholesale import MEMBER_NAMES, RELEARN_DAYS, forecast_wholesale
from energy_assets.prices.wholesale_blend import blend
from energy_assets.prices.wholesale_linear import LINEAR_MEMBERS, linear_forecasts
from energy_assets.prices.wholesale_trees import TREE_MEMBERS, tree_forecasts

TEST_DAYS, WARM_DAYS = 728, 182
MAE_LIMIT, ISSUE_LIGHTGBM = 1.66, 1.70
CHUNK_DAYS = 91
PEER_RELEARN_DAYS = 91
PART_SECONDS = 200
COUNTRIES = ("NO", "SE", "FI", "DK")


def read() -> tuple[MarketDays, np.ndarray, np.ndarray]:
    """Return the market, and the published LEAR and DNN ensembles (728, 24)."""
    table = pl.read_parquet(Path(os.environ["ENERGY_ASSETS_REAL_DATA"]) / "epf_np.parquet")
    # Its days have 24 hours, made by its authors; read as UTC they stay as they are.
    market = table.select(
        starts_at_utc=pl.col("ts_local").dt.replace_time_zone("UTC"),
        price_per_mwh="price",
        load_forecast="load_forecast",
        wind_forecast="wind_forecast",
    )
    published = [table[name].to_numpy().reshape(-1, 24)[-TEST_DAYS:] for name in ("lear_ensemble", "dnn_ensemble")]
    return market_days(market, timezone="UTC", country_codes=COUNTRIES), published[0], published[1]


Job = tuple[str, int, int, int]


def jobs(days: int) -> list[Job]:
    first = days - TEST_DAYS - WARM_DAYS
    linear = [
        ("linear", index, start, min(start + CHUNK_DAYS, days))
        for index in range(len(LINEAR_MEMBERS))
        for start in range(first, days, CHUNK_DAYS)
    ]
    trees = [
        ("trees", index, start, min(start + RELEARN_DAYS, days))
        for index in range(len(TREE_MEMBERS))
        for start in range(first, days, RELEARN_DAYS)
    ]
    return [*trees, *linear]


def place(folder: Path, job: Job) -> Path:
    return folder / f"{job[0]}-{job[1]}-{job[2]}.npy"


def one(argument: tuple[Path, Job]) -> None:
    folder, job = argument
    kind, index, start, stop = job
    market = read()[0]
    if kind == "linear":
        made = linear_forecasts(market, member=LINEAR_MEMBERS[index], days=range(start, stop))
    else:
        made = tree_forecasts(market, member=TREE_MEMBERS[index], days=range(start, stop), seed=0, threads=1)
    np.save(place(folder, job), made)


def work(folder: Path, *, seconds: float) -> bool:
    """Do the jobs that are left with two processes; False when the time was over before they were."""
    every = jobs(len(read()[0].days))
    left = [job for job in every if not place(folder, job).exists()]
    started = time.monotonic()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        while left and time.monotonic() - started < seconds:
            batch, left = left[:8], left[8:]
            list(pool.map(one, [(folder, job) for job in batch]))
    print(f"{len(every) - len(left)} of {len(every)} jobs done, {time.monotonic() - started:.0f} s in this run")
    return not left


def judge(folder: Path) -> bool:
    """Print accuracy and coverage beside the peers, and return whether both are within their limits."""
    market, lear, dnn = read()
    days = len(market.days)
    pieces: dict[tuple[str, int], list[np.ndarray]] = {}
    for job in sorted(jobs(days), key=lambda job: job[2]):
        pieces.setdefault(job[:2], []).append(np.load(place(folder, job)))
    order = [("linear", i) for i in range(len(LINEAR_MEMBERS))] + [("trees", i) for i in range(len(TREE_MEMBERS))]
    members = np.stack([np.vstack(pieces[key]) for key in order])
    made = blend(members, price=market.price[-members.shape[1] :])
    truth = market.price[-TEST_DAYS:]

    def mae(forecast: np.ndarray) -> float:
        return float(np.abs(forecast[-TEST_DAYS:] - truth).mean())

    print(f"\n{market.days[-TEST_DAYS]} .. {market.days[-1]}, {TEST_DAYS} days, EUR/MWh\n")
    ours = mae(made.q50)
    peers = {
        "naive, day before": market.price[-TEST_DAYS - 1 : -1],
        "plain LightGBM, this run": plain_lightgbm(market),
        "published LEAR ensemble": lear,
        "published DNN ensemble": dnn,
    }
    print(f"{'':26}   MAE   ours against it")
    for name, forecast in peers.items():
        print(f"{name:26} {mae(forecast):.3f}   {ours / mae(forecast):.3f}")
    print(f"{'plain LightGBM, the issue':26} {ISSUE_LIGHTGBM:.3f}   {ours / ISSUE_LIGHTGBM:.3f}")
    for name, forecast in zip(MEMBER_NAMES, members, strict=True):
        print(f"{'  ' + name:26} {mae(forecast):.3f}   {ours / mae(forecast):.3f}")
    print(f"{'mean of the members':26} {mae(members.mean(axis=0)):.3f}   {ours / mae(members.mean(axis=0)):.3f}")
    print(f"{'blend (ours)':26} {ours:.3f}   limit {MAE_LIMIT:.2f}, {ours / MAE_LIMIT:.3f} of it")
    error = np.abs(made.q50[-TEST_DAYS:] - truth).mean(1) - np.abs(dnn - truth).mean(1)
    weeks = error.reshape(-1, 7).mean(1)
    drawn = weeks[np.random.default_rng(0).integers(0, len(weeks), (4000, len(weeks)))].mean(1)
    low_end, high_end = np.quantile(drawn, [0.025, 0.975])
    print(f"against the published DNN {error.mean():+.3f} ({low_end:+.3f} .. {high_end:+.3f}, 95 %, weeks drawn anew)")
    covered = coverage(truth, low=made.q10[-TEST_DAYS:], high=made.q90[-TEST_DAYS:])
    return ours <= MAE_LIMIT and 0.76 <= covered <= 0.84


def coverage(truth: np.ndarray, *, low: np.ndarray, high: np.ndarray) -> float:
    """Print how much of the truth lies in a band, in all, by hour and by quarter, and return the share in all."""
    inside = (truth >= low) & (truth <= high)
    print(
        f"\ncoverage of q10-q90 {inside.mean():.1%} (76-84 %), "
        f"by hour {inside.mean(0).min():.1%} .. {inside.mean(0).max():.1%}"
    )
    quarters = ", ".join(f"{part.mean():.0%}" for part in np.array_split(inside, 8))
    print(
        f"by quarter {quarters}; below {np.mean(truth < low):.1%}, above {np.mean(truth > high):.1%}; "
        f"width {np.mean(high - low):.2f}"
    )
    return float(inside.mean())


def night() -> None:
    market = read()[0]
    short = MarketDays(
        days=market.days,
        price=np.vstack([market.price[:-1], np.full((1, 24), np.nan)]),
        driver_names=market.driver_names,
        drivers=market.drivers,
        holiday=market.holiday,
    )
    last = market.days[-1] + timedelta(days=6)
    started = time.monotonic()
    first = forecast_wholesale(short, timezone="UTC", last_day=last, remembered={})
    cold = time.monotonic() - started
    started = time.monotonic()
    again = forecast_wholesale(short, timezone="UTC", last_day=last, remembered=first.remembered)
    print(
        f"a night without memory {cold:.1f} s, with the memory of the night before {time.monotonic() - started:.1f} s"
    )
    print(again.slots.filter(pl.col("origin") != "published").head(3))


def plain_lightgbm(market: MarketDays) -> np.ndarray:
    """Return a plain LightGBM's forecasts (728, 24): a median model of the z-score over the last 28 days, not tuned.

    It sees lags and means of the hour, yesterday's mean and ends, drivers and calendar, and learns anew every quarter.
    """
    import lightgbm

    days = len(market.days)
    month = [market.price[max(day - 28, 0) : max(day, 1)] for day in range(days)]
    mean, spread = (np.array([float(getattr(part, name)()) for part in month])[:, None] for name in ("mean", "std"))
    spread = np.maximum(spread, 1e-6)
    hour, weekday = np.tile(np.arange(24.0), (days, 1)), np.repeat(market.weekday[:, None], 24, axis=1)
    earlier = [np.vstack([np.full((lag, 24), np.nan), market.price[:-lag]]) for lag in (1, 2, 3, 7, 14, 21, 28)]
    lagged = [(values - mean) / spread for values in earlier]
    # Of the same hour over a week and four weeks, as known before the day.
    means = [
        (np.stack([market.price[max(day - span, 0) : max(day, 1)].mean(axis=0) for day in range(days)]) - mean) / spread
        for span in (7, 28)
    ]
    month_of_year = np.repeat(np.array([day.month for day in market.days], dtype=float)[:, None], 24, axis=1)
    holiday = np.repeat(np.asarray(market.holiday, dtype=float)[:days, None], 24, axis=1)
    yesterday = [np.repeat(f(lagged[0], axis=1)[:, None], 24, axis=1) for f in (np.mean, np.max, np.min)]
    last = np.repeat(lagged[0][:, -1:], 24, axis=1)
    drivers = [*market.drivers, *(np.repeat(x.mean(axis=1)[:, None], 24, axis=1) for x in market.drivers)]
    calendar = [hour, weekday, month_of_year, holiday]
    inputs = np.stack([*calendar, *lagged, *means, *yesterday, last, *drivers], axis=-1)
    target = (market.price - mean) / spread
    made = np.full((days, 24), np.nan)
    for start in range(days - TEST_DAYS, days, PEER_RELEARN_DAYS):
        part, taught = slice(start, min(start + PEER_RELEARN_DAYS, days)), slice(28, start)
        model = lightgbm.LGBMRegressor(
            objective="quantile", alpha=0.5, n_estimators=350, learning_rate=0.05, num_leaves=63, n_jobs=2, verbose=-1
        )
        model.fit(inputs[taught].reshape(-1, inputs.shape[-1]), target[taught].ravel())
        said = np.asarray(model.predict(inputs[part].reshape(-1, inputs.shape[-1]))).reshape(-1, 24)
        made[part] = said * spread[part] + mean[part]
    return made[-TEST_DAYS:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=("accuracy", "peer", "night"), default="accuracy")
    parser.add_argument("--folder", type=Path, help="keeps the members' forecasts; a temporary one by default")
    parser.add_argument("--part", action="store_true", help="stop after four minutes; needs --folder")
    chosen = parser.parse_args()
    if chosen.part and chosen.folder is None:
        parser.error("--part needs --folder, which keeps what is done")
    if chosen.command == "night":
        night()
        return 0
    if chosen.command == "peer":
        market = read()[0]
        error = float(np.abs(plain_lightgbm(market) - market.price[-TEST_DAYS:]).mean())
        print(f"plain LightGBM: MAE {error:.3f}; the issue has it at {ISSUE_LIGHTGBM:.2f}")
        return 0
    with tempfile.TemporaryDirectory() as fresh:
        folder = chosen.folder or Path(fresh)
        folder.mkdir(parents=True, exist_ok=True)
        if not work(folder, seconds=PART_SECONDS if chosen.part else float("inf")):
            return 0
        return 0 if judge(folder) else 1


if __name__ == "__main__":
    sys.exit(main())
