"""Accuracy on real meters: our model beside plain LightGBM, mlforecast's recipe and seasonal baselines, as ratios.

Issue at local midnight for 24 hours, rolling daily over the last fifth of the days, refits alike for all. NRMSE and
NMAE are medians over meters in percent of mean energy; pinball is the mean over q10, q50, q90; NRMSE of LightGBM is
that of its squared-error model, its other figures those of three quantile models. Ours are all of one set of quantiles;
between refits it follows what becomes known, as the night does. `mlforecast` is what the package of this name
does by default, made here with LightGBM: lags of 1, 2 and 7 days, two rolling means, hour, weekday, month, 100 trees.

    ENERGY_ASSETS_REAL_DATA=… python bench/accuracy.py [--sets cambridge_electricity ashrae] [--refit-days 73]
        [--keep FOLDER]   one JSON file a set; sets that are there are not run again, so a run can be taken up
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from datetime import datetime, timedelta
from datetime import time as clock
from itertools import groupby
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import polars as pl
from accuracy_sets import SETS, RealSet

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.features.matrix import KEY, Horizon, build_features
from energy_assets.features.weather import as_its_own_forecast
from energy_assets.forecasts.following import Follower, by_issue, follows_until
from energy_assets.models.baselines import point_kwh
from energy_assets.models.evaluation import Fold, known_by, metrics_of, rolling_origin, skill_of
from energy_assets.models.fitting import fit
from energy_assets.models.spec import ModelSpec

PLAIN_COLUMNS = (
    *("latest_1_kwh", "latest_2_kwh", "latest_3_kwh", "lag_7d_kwh", "lag_14d_kwh", "lag_21d_kwh", "lag_28d_kwh"),
    *("days_7_mean_kwh", "weeks_4_mean_kwh", "day_mean_kwh", "day_max_kwh", "day_min_kwh", "last_kwh"),
    *("local_hour", "weekday", "year_sin", "year_cos", "is_holiday"),
    *("temperature_c", "temperature_24h_mean_c", "relative_humidity_fraction", "wind_speed_ms"),
    *("cloud_cover_fraction", "global_horizontal_irradiance_w_m2", "irradiance_24h_mean_w_m2"),
)
PLAIN_ROWS, PLAIN_TREES = 200_000, 350
RECIPE_COLUMNS = (
    "latest_1_kwh",
    "latest_2_kwh",
    "lag_7d_kwh",
    "day_mean_kwh",
    "week_mean_kwh",
    "local_hour",
    "weekday",
)
METHODS = ("ours", "lightgbm", "mlforecast", "previous_day", "last_week", "weekday_mean")
NAIVES = METHODS[3:]


def midnights(real: RealSet) -> list[datetime]:
    zone = ZoneInfo(real.timezone)
    first, last = (
        real.readings["starts_at_utc"].dt.convert_time_zone(real.timezone).dt.date().sort()[i] for i in (0, -1)
    )
    days = [first + timedelta(days=day) for day in range(8, (last - first).days + 1)]
    return [datetime.combine(day, clock(), tzinfo=zone).astimezone(ZoneInfo("UTC")) for day in days]


def features_of(real: RealSet) -> pl.DataFrame:
    issues = midnights(real)
    weather = None if real.observed is None else as_its_own_forecast(real.observed, issues=issues)
    return build_features(
        real.readings,
        meters=real.meters,
        sites=real.sites,
        premises=real.premises,
        weather=weather,
        issues=issues,
        horizon=Horizon.of_hours(24),
        observed=real.observed,
    )


def points(rows: pl.DataFrame, values: np.ndarray, model: str) -> pl.DataFrame:
    return (
        rows.select(KEY)
        .with_columns(pl.Series(name, values).cast(pl.Float64) for name in QUANTILE_COLUMNS)
        .with_columns(model=pl.lit(model))
    )


def of_scale(rows: pl.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    """The columns [row, column], those in kWh divided by the mean of the last 28 days."""
    return rows.select(pl.col(n) / pl.col("scale_kwh") if n.endswith("_kwh") else pl.col(n) for n in columns).to_numpy()


def plain_lightgbm(training: pl.DataFrame, test: pl.DataFrame, *, objective: str, alpha: float | None) -> np.ndarray:
    import lightgbm

    chosen = training.filter(pl.col("scale_kwh") > 0)
    chosen = chosen.sample(min(PLAIN_ROWS, chosen.height), seed=1)
    parameters = {
        "objective": objective,
        "learning_rate": 0.05,
        "num_leaves": 63,
        "num_threads": 2,
        "verbose": -1,
        "seed": 1,
    }
    target = of_scale(chosen, ("energy_kwh",))[:, 0]
    matrix = lightgbm.Dataset(of_scale(chosen, PLAIN_COLUMNS), target)
    booster = lightgbm.train(parameters | ({"alpha": alpha} if alpha else {}), matrix, PLAIN_TREES)
    return booster.predict(of_scale(test, PLAIN_COLUMNS)) * test["scale_kwh"].to_numpy()


def mlforecast_recipe(training: pl.DataFrame, test: pl.DataFrame) -> np.ndarray:
    """Not scaled, no weather, no holidays, LightGBM's defaults: what the package does with its documented example."""
    import lightgbm

    def regressors(rows: pl.DataFrame) -> np.ndarray:
        month = pl.col("starts_at_utc").dt.month().cast(pl.Float32).alias("month")
        return rows.select(*RECIPE_COLUMNS, month).to_numpy()

    matrix = lightgbm.Dataset(regressors(training), training["energy_kwh"].to_numpy())
    booster = lightgbm.train({"num_threads": 2, "verbose": -1, "seed": 1}, matrix, 100)
    return booster.predict(regressors(test))


def our_forecasts(training: pl.DataFrame, test: pl.DataFrame, *, issues: tuple[datetime, ...]) -> pl.DataFrame:
    """Fit once; then follow what becomes known, as the night and `energy backtest` do."""
    model = fit(training, spec=ModelSpec(), seed=1, threads=2)
    follower = Follower(model, since=issues[0], needs_weather=False)
    follower.learn(by_issue(test))
    frames = [
        follower.at(until).predict(test.filter(pl.col("issued_at_utc").is_in(list(alike))))
        for until, alike in groupby(issues, key=follows_until)
    ]
    return pl.concat(frames).with_columns(model=pl.lit("ours"))


def predict_fold(features: pl.DataFrame, fold: Fold, *, seconds: dict[str, float]) -> list[pl.DataFrame]:
    training = known_by(features, trained_at=fold.trained_at_utc)
    test = features.filter(pl.col("issued_at_utc").is_in(list(fold.issues)), pl.col("scale_kwh") > 0)
    started = time.perf_counter()
    ours = our_forecasts(training, test, issues=fold.issues)
    between = time.perf_counter()
    square = plain_lightgbm(training, test, objective="regression", alpha=None)
    lows = {
        name: plain_lightgbm(training, test, objective="quantile", alpha=a)
        for name, a in (("q10", 0.1), ("q50", 0.5), ("q90", 0.9))
    }
    seconds["ours"] += between - started
    seconds["peers"] += time.perf_counter() - between
    quantile = points(test, lows["q50"], "lightgbm").with_columns(
        **{name: pl.Series(lows["q10"]) for name in ("q05", "q10", "q25")},
        **{name: pl.Series(lows["q90"]) for name in ("q75", "q90", "q95")},
    )
    naive = [
        points(test, test["latest_1_kwh"].to_numpy(), "previous_day"),
        *(points(test, point_kwh(test, family=family), family) for family in ("last_week", "weekday_mean")),
    ]
    recipe = points(test, mlforecast_recipe(training, test), "mlforecast")
    return [ours, points(test, square, "lightgbm_square"), quantile, recipe, *naive]


def judge(name: str, *, folder: Path, refit_days: int) -> dict[str, Any]:
    return judge_real(SETS[name](folder), refit_days=refit_days)


def judge_real(real: RealSet, *, refit_days: int) -> dict[str, Any]:
    began, busy = time.perf_counter(), time.process_time()
    features = features_of(real)
    issues = midnights(real)
    seconds = {"features": time.perf_counter() - began, "ours": 0.0, "peers": 0.0}
    first_test = issues[-round((len(issues) + 8) * real.test_share)]
    folds = rolling_origin(issues, first_test=first_test, refit_days=refit_days)
    predicted = pl.concat(
        frame.select(*KEY, "model", *QUANTILE_COLUMNS)
        for fold in folds
        for frame in predict_fold(features, fold, seconds=seconds)
    )
    seconds["cpu of all"] = time.process_time() - busy
    rows = predicted.join(features.select(*KEY, "energy_kwh"), on=KEY, how="left").rename({"meter_id": "node_id"})
    median = metrics_of(rows).group_by("model", "metric").agg(pl.col("value").median())
    of: dict[str, dict[str, float]] = {}
    for row in median.to_dicts():
        of.setdefault(row["model"], {})[row["metric"]] = 100 * row["value"]
    of["lightgbm"]["nrmse"] = of.pop("lightgbm_square")["nrmse"]
    for model, share in (
        metrics_of(rows, by=["model"]).filter(metric="coverage_80").select("model", "value").iter_rows()
    ):
        of.setdefault(model, {})["cover"] = 100 * share
    of["ours"]["cover_error"] = 100 * error_of_coverage(rows.filter(model="ours"))
    skill = skill_of(rows, model="ours", baseline="weekday_mean", metric="nmae", seed=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"of": of, "seconds": seconds, "peak_mb": peak, "skill": (skill.value, skill.low, skill.high)}


def error_of_coverage(rows: pl.DataFrame) -> float:
    """The standard error of the coverage, days being what repeats itself: readings of a day miss the band together."""
    inside = rows.filter(pl.col("energy_kwh").is_finite()).select(
        "issued_at_utc", inside=pl.col("energy_kwh").is_between(pl.col("q10"), pl.col("q90"))
    )
    days = inside.group_by("issued_at_utc").agg(pl.col("inside").sum(), pl.len())
    share = days["inside"].sum() / max(days["len"].sum(), 1)
    return float(np.sqrt(((days["inside"] - share * days["len"]) ** 2).sum()) / max(days["len"].sum(), 1))


def show(name: str, result: dict[str, Any]) -> None:
    of, skill = result["of"], result["skill"]
    spent = "  ".join(f"{what} {value:.0f} s" for what, value in result["seconds"].items())
    print(f"\n{name}   {spent}  peak {result['peak_mb']:.0f} MB")
    print(f"  {'':14}{'NRMSE':>8}{'NMAE':>8}{'pinball':>9}{'cover':>8}")
    for method in METHODS:
        figures = of[method]
        cover = f"{figures['cover']:8.1f}" if method in ("ours", "lightgbm") else ""
        print(f"  {method:14}{figures['nrmse']:8.2f}{figures['nmae']:8.2f}{figures['pinball']:9.2f}{cover}")
    print(f"  skill over weekday_mean in NMAE {skill[0]:.3f}, 90 % within {skill[1]:.3f} .. {skill[2]:.3f}", flush=True)


def ratios_of(of: dict[str, dict[str, float]]) -> list[float]:
    ours = of["ours"]
    return [
        *(ours[metric] / of["lightgbm"][metric] for metric in ("nrmse", "nmae", "pinball")),
        ours["nrmse"] / of["mlforecast"]["nrmse"],
        *(ours[metric] / min(of[naive][metric] for naive in NAIVES) for metric in ("nrmse", "nmae")),
    ]


def summarise(results: dict[str, dict[str, Any]]) -> None:
    titles = ("NRMSE/LGBM", "NMAE/LGBM", "pin/LGBM", "NRMSE/mlf", "NRMSE/naive", "NMAE/naive", "cover")
    print(f"\n{'ratios of ours':24}" + "".join(f"{title:>13}" for title in titles))
    table = [ratios_of(result["of"]) for result in results.values()]
    for (name, result), row in zip(results.items(), table, strict=True):
        print(f"{name:24}" + "".join(f"{ratio:13.3f}" for ratio in row) + f"{result['of']['ours']['cover']:13.1f}")
    means = np.exp(np.log(np.array(table)).mean(axis=0))
    print(f"{'geometric mean':24}" + "".join(f"{mean:13.3f}" for mean in means))
    print(
        f"{'wanted':24}" + "".join(f"{limit:>13}" for limit in ("0.95", "0.93", "0.92", "0.80", "0.70", "", "76..84"))
    )
    spent = {
        what: sum(result["seconds"][what] for result in results.values()) for what in ("features", "ours", "peers")
    }
    print("seconds in all: " + ", ".join(f"{what} {value:.0f}" for what, value in spent.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(SETS), metavar="SET")
    parser.add_argument("--refit-days", type=int, default=73)
    parser.add_argument("--folder", type=Path, default=os.environ.get("ENERGY_ASSETS_REAL_DATA"))
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    if chosen.folder is None or not Path(chosen.folder).is_dir():
        raise SystemExit("bench/accuracy needs real data: set ENERGY_ASSETS_REAL_DATA to the folder of the sets.")
    results = {}
    for name in chosen.sets:
        kept = None if chosen.keep is None else chosen.keep / f"{name}.json"
        if kept is not None and kept.is_file():
            results[name] = json.loads(kept.read_text())
        else:
            results[name] = judge(name, folder=Path(chosen.folder), refit_days=chosen.refit_days)
        show(name, results[name])
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(results[name]))
    summarise(results)


if __name__ == "__main__":
    main()
