"""Accuracy on real meters: our model beside plain LightGBM and the seasonal baselines, in one run, as ratios.

Issue at local midnight for 24 hours, rolling daily over the last fifth of the days, refits alike for both. NRMSE and
NMAE are medians over meters in percent of mean energy; pinball is the mean over q10, q50, q90; NRMSE of LightGBM is
that of its squared-error model, its other figures those of three quantile models. Ours are all of one set of quantiles.

    ENERGY_ASSETS_REAL_DATA=… python bench/accuracy.py [--sets cambridge_electricity ashrae] [--refit-days 49]
"""

from __future__ import annotations

import argparse
import os
import time
from datetime import datetime, timedelta
from datetime import time as clock
from pathlib import Path
from zoneinfo import ZoneInfo

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import polars as pl
from accuracy_sets import SETS, RealSet

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.features.matrix import KEY, Horizon, build_features
from energy_assets.features.weather import as_its_own_forecast
from energy_assets.models.baselines import point_kwh
from energy_assets.models.design import scaled
from energy_assets.models.evaluation import Fold, known_by, metrics_of, rolling_origin, skill_of
from energy_assets.models.fitting import fit
from energy_assets.models.spec import ModelSpec

DEFAULT_SETS = ("cambridge_electricity", "ashrae", "sacramento_office", "vic_elec")
PLAIN_COLUMNS = (
    *("latest_1_kwh", "latest_2_kwh", "latest_3_kwh", "lag_7d_kwh", "lag_14d_kwh", "lag_21d_kwh", "lag_28d_kwh"),
    *("days_7_mean_kwh", "weeks_4_mean_kwh", "day_mean_kwh", "day_max_kwh", "day_min_kwh", "last_kwh"),
    *("local_hour", "weekday", "year_sin", "year_cos", "is_holiday"),
    *("temperature_c", "temperature_24h_mean_c", "relative_humidity_fraction", "wind_speed_ms"),
    *("cloud_cover_fraction", "global_horizontal_irradiance_w_m2", "irradiance_24h_mean_w_m2"),
)
PLAIN_ROWS, PLAIN_TREES = 200_000, 350
METHODS = ("ours", "lightgbm", "previous_day", "last_week", "weekday_mean")
NAIVES = METHODS[2:]


def midnights(real: RealSet) -> list[datetime]:
    zone = ZoneInfo(real.timezone)
    first, last = (
        real.readings["starts_at_utc"].dt.convert_time_zone(real.timezone).dt.date().sort()[i] for i in (0, -1)
    )
    days = [first + timedelta(days=day) for day in range(8, (last - first).days + 1)]
    return [datetime.combine(day, clock(), tzinfo=zone).astimezone(ZoneInfo("UTC")) for day in days]


def points(rows: pl.DataFrame, values: np.ndarray, model: str) -> pl.DataFrame:
    return (
        rows.select(KEY)
        .with_columns(pl.Series(name, values).cast(pl.Float64) for name in QUANTILE_COLUMNS)
        .with_columns(model=pl.lit(model))
    )


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
    target = scaled(chosen, ("energy_kwh",))[:, 0]
    matrix = lightgbm.Dataset(scaled(chosen, PLAIN_COLUMNS), target)
    booster = lightgbm.train(parameters | ({"alpha": alpha} if alpha else {}), matrix, PLAIN_TREES)
    return booster.predict(scaled(test, PLAIN_COLUMNS)) * test["scale_kwh"].to_numpy()


def predict_fold(features: pl.DataFrame, fold: Fold, *, seconds: dict[str, float]) -> list[pl.DataFrame]:
    training = known_by(features, trained_at=fold.trained_at_utc)
    test = features.filter(pl.col("issued_at_utc").is_in(list(fold.issues)), pl.col("scale_kwh") > 0)
    started = time.perf_counter()
    model = fit(training, spec=ModelSpec(), seed=1, threads=2)
    ours = model.predict(test).with_columns(model=pl.lit("ours"))
    between = time.perf_counter()
    square = plain_lightgbm(training, test, objective="regression", alpha=None)
    lows = {
        name: plain_lightgbm(training, test, objective="quantile", alpha=a)
        for name, a in (("q10", 0.1), ("q50", 0.5), ("q90", 0.9))
    }
    seconds["ours"] += between - started
    seconds["lightgbm"] += time.perf_counter() - between
    quantile = points(test, lows["q50"], "lightgbm").with_columns(
        **{name: pl.Series(lows["q10"]) for name in ("q05", "q10", "q25")},
        **{name: pl.Series(lows["q90"]) for name in ("q75", "q90", "q95")},
    )
    naive = [
        points(test, test["latest_1_kwh"].to_numpy(), "previous_day"),
        *(points(test, point_kwh(test, family=family), family) for family in ("last_week", "weekday_mean")),
    ]
    return [ours, points(test, square, "lightgbm_square"), quantile, *naive]


def judge(name: str, *, folder: Path, refit_days: int) -> dict[str, object]:
    real, issues = SETS[name](folder), None
    issues = midnights(real)
    weather = None if real.observed is None else as_its_own_forecast(real.observed, issues=issues)
    seconds = {"features": time.perf_counter(), "ours": 0.0, "lightgbm": 0.0}
    features = build_features(
        real.readings,
        meters=real.meters,
        sites=real.sites,
        premises=real.premises,
        weather=weather,
        issues=issues,
        horizon=Horizon.of_hours(24),
    )
    seconds["features"] = time.perf_counter() - seconds["features"]
    first_test = issues[-round((len(issues) + 8) * real.test_share)]
    folds = rolling_origin(issues, first_test=first_test, refit_days=refit_days)
    predicted = pl.concat(
        frame.select(*KEY, "model", *QUANTILE_COLUMNS)
        for fold in folds
        for frame in predict_fold(features, fold, seconds=seconds)
    )
    rows = predicted.join(features.select(*KEY, "energy_kwh"), on=KEY, how="left").rename({"meter_id": "node_id"})
    per_meter = metrics_of(rows)
    median = per_meter.group_by("model", "metric").agg(pl.col("value").median())
    of = {(row["model"], row["metric"]): 100 * row["value"] for row in median.to_dicts()}
    of["lightgbm", "nrmse"] = of.pop(("lightgbm_square", "nrmse"))
    pooled = metrics_of(rows, by=["model"]).filter(metric="coverage_80")
    coverage = dict(pooled.select("model", "value").iter_rows())
    skill = skill_of(rows, model="ours", baseline="weekday_mean", metric="nmae", seed=1)
    show(name, of, coverage, seconds=seconds, skill=(skill.value, skill.low, skill.high))
    return {"of": of, "coverage": coverage["ours"]}


def show(
    name: str,
    of: dict[tuple[str, str], float],
    coverage: dict[str, float],
    *,
    seconds: dict[str, float],
    skill: tuple[float, float, float],
) -> None:
    print(f"\n{name}   " + "  ".join(f"{what} {value:.0f} s" for what, value in seconds.items()))
    print(f"  {'':14}{'NRMSE':>8}{'NMAE':>8}{'pinball':>9}{'cover':>8}")
    for method in METHODS:
        cover = f"{100 * coverage[method]:8.1f}" if method in ("ours", "lightgbm") else f"{'':8}"
        print(f"  {method:14}{of[method, 'nrmse']:8.2f}{of[method, 'nmae']:8.2f}{of[method, 'pinball']:9.2f}{cover}")
    print(f"  skill over weekday_mean in NMAE {skill[0]:.3f}, 90 % within {skill[1]:.3f} .. {skill[2]:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(DEFAULT_SETS))
    parser.add_argument("--refit-days", type=int, default=73)
    parser.add_argument("--folder", type=Path, default=os.environ.get("ENERGY_ASSETS_REAL_DATA"))
    chosen = parser.parse_args()
    if chosen.folder is None or not Path(chosen.folder).is_dir():
        raise SystemExit("bench/accuracy needs real data: set ENERGY_ASSETS_REAL_DATA to the folder of the sets.")
    results = {name: judge(name, folder=Path(chosen.folder), refit_days=chosen.refit_days) for name in chosen.sets}
    print(f"\n{'ratios of ours':22}{'NRMSE/LGBM':>12}{'NMAE/LGBM':>12}{'pin/LGBM':>12}{'NRMSE/naive':>13}{'cover':>8}")
    table = []
    for name, result in results.items():
        of = result["of"]
        best = min(of[naive, "nrmse"] for naive in NAIVES)
        ratios = [of["ours", metric] / of["lightgbm", metric] for metric in ("nrmse", "nmae", "pinball")]
        table.append([*ratios, of["ours", "nrmse"] / best])
        print(
            f"{name:22}"
            + "".join(f"{ratio:12.3f}" for ratio in ratios)
            + f"{table[-1][-1]:13.3f}{100 * result['coverage']:8.1f}"
        )
    means = np.exp(np.log(np.array(table)).mean(axis=0))
    print(f"{'geometric mean':22}" + "".join(f"{mean:12.3f}" for mean in means[:3]) + f"{means[3]:13.3f}")


if __name__ == "__main__":
    main()
