"""What a meter would have used as it was before: a model of calendar and weather alone, learned from before a change.

Nothing that was read after the change enters it, so the change cannot hide in it; recent load therefore is no input.
Two models and their mean compete: time of week and temperature, the public reference of measurement and verification
(Mathieu, Price, Kiliccote and Piette, 2011), and trees, which know holidays, inertia and sun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.features.calendar import CALENDAR_FEATURES, DAY_OF_REST, Place, calendar_table
from energy_assets.models import boosting
from energy_assets.models.design import SCALE

Doubles = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Predictor = Callable[[pl.DataFrame], Doubles]

WEATHER_COLUMNS = (
    "temperature_c",
    "dew_point_c",
    "relative_humidity_fraction",
    "wind_speed_ms",
    "cloud_cover_fraction",
    "global_horizontal_irradiance_w_m2",
)
_MEANS = {"temperature_24h_c": ("temperature_c", 24), "temperature_72h_c": ("temperature_c", 72)}
_SEASON = ("year_sin", "year_cos", "day_length_hours")
_DAYS_FOR_SEASON = 330
_SEGMENTS = 6
_OCCUPIED_SHARE = 0.65
_RIDGE = 1e-3
_ROUNDS = 220
_TREES: dict[str, object] = {
    "objective": "reg:squarederror",
    "learning_rate": 0.06,
    "max_leaves": 31,
    "min_child_weight": 20.0,
    "subsample": 0.7,
    "colsample_bytree": 0.7,
    "reg_lambda": 5.0,
}


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The chosen model, its predictions of the days that it was learned from without having seen them, and the rivals.

    `unseen` has starts_at_utc, energy_kwh, expected_kwh and block; `cv_rmse` the error of every candidate.
    """

    name: str
    predict: Predictor
    unseen: pl.DataFrame
    block_days: int
    cv_rmse: Mapping[str, float]


def described_slots(starts_at_utc: pl.Series, *, place: Place, weather: pl.DataFrame | None) -> pl.DataFrame:
    """Return one row per slot with its calendar and the weather of its hour, and means of the hours before.

    `weather` has starts_at_utc, hourly, and any of WEATHER_COLUMNS; what is not known is null.
    """
    slots = calendar_table(starts_at_utc, place=place).with_columns(
        pl.col(CALENDAR_FEATURES).cast(pl.Float32), pl.lit(1.0, pl.Float32).alias(SCALE)
    )
    wanted = [*WEATHER_COLUMNS, *_MEANS]
    if weather is None or weather.is_empty():
        return slots.with_columns(pl.lit(None, pl.Float32).alias(name) for name in wanted)
    hours = weather.sort("starts_at_utc").unique("starts_at_utc", keep="last", maintain_order=True)
    absent = [pl.lit(None, pl.Float32).alias(name) for name in WEATHER_COLUMNS if name not in hours.columns]
    hours = hours.with_columns(absent).select("starts_at_utc", pl.col(WEATHER_COLUMNS).cast(pl.Float32))
    hours = hours.upsample("starts_at_utc", every="1h").with_columns(
        pl.col(of).rolling_mean(count, min_samples=count // 2).alias(name) for name, (of, count) in _MEANS.items()
    )
    hour = slots.with_columns(hour=pl.col("starts_at_utc").dt.truncate("1h"))
    known = hours.rename({"starts_at_utc": "hour"}).select("hour", *wanted)
    return hour.join(known, on="hour", how="left", validate="m:1", maintain_order="left").drop("hour")


def fit_baseline_model(rows: pl.DataFrame, *, seed: int, threads: int) -> Baseline:
    """Return the candidate that errs least on stretches of days that it has not seen, learned again from all rows.

    `rows` are those of `described_slots` with a known `energy_kwh`, in order of time. Stretches are four weeks long,
    or an eighth of what there is. With a year of them each candidate predicts a fifth from the others; with less, the
    later half from what came before, because seasons that were never seen lie ahead of the change as well.
    """
    first, last = rows["starts_at_utc"][0], rows["starts_at_utc"][-1]
    days = (last - first).days + 1
    block_days = max(1, min(28, days // 8))
    block = (rows["starts_at_utc"] - first).dt.total_days().to_numpy() // block_days
    columns = _columns(days)
    said = {name: np.full(rows.height, np.nan) for name in _FITS}
    for known, held in _folds(block, is_whole_year=days >= _DAYS_FOR_SEASON):
        for name, fit in _FITS.items():
            predict = fit(rows.filter(known), columns=columns, seed=seed, threads=threads)
            said[name][held] = predict(rows.filter(held))
    said["mean of both"] = np.mean(list(said.values()), axis=0)
    actual = rows["energy_kwh"].to_numpy().astype(np.float64)
    level = np.abs(actual[np.isfinite(said["mean of both"])]).mean() or 1.0
    errors = {name: float(np.sqrt(np.nanmean((each - actual) ** 2)) / level) for name, each in said.items()}
    chosen = min(errors, key=lambda name: errors[name])
    judged = np.isfinite(said[chosen])
    kept = {name: fit(rows, columns=columns, seed=seed, threads=threads) for name, fit in _FITS.items()}
    members = [kept[chosen]] if chosen in kept else list(kept.values())
    return Baseline(
        name=chosen,
        predict=lambda slots: np.mean([member(slots) for member in members], axis=0),
        unseen=rows.select("starts_at_utc", "energy_kwh")
        .with_columns(expected_kwh=pl.Series(said[chosen]), block=pl.Series(block))
        .filter(judged),
        block_days=block_days,
        cv_rmse=errors,
    )


def _folds(block: Blocks, *, is_whole_year: bool) -> Iterator[tuple[Bools, Bools]]:
    """Yield which rows are learned from and which are predicted, fold by fold."""
    last = int(block.max())
    if is_whole_year:
        for fold in range(5):
            yield block % 5 != fold, block % 5 == fold
        return
    for ahead in range(max(1, (last + 1) // 2), last + 1):
        yield block < ahead, block == ahead


def _columns(days: int) -> tuple[str, ...]:
    """Return what trees may learn from: with less than a year, the season cannot be told from a trend."""
    calendar = [name for name in CALENDAR_FEATURES if days >= _DAYS_FOR_SEASON or name not in _SEASON]
    return (*calendar, *WEATHER_COLUMNS, *_MEANS)


def _fit_trees(rows: pl.DataFrame, *, columns: tuple[str, ...], seed: int, threads: int) -> Predictor:
    label = rows["energy_kwh"].to_numpy().astype(np.float64)
    level = float(np.abs(label).mean()) or 1.0
    matrix = boosting.streamed_matrix(rows, columns=columns, label=(label / level).astype(np.float32), threads=threads)
    booster: Any = boosting.train(_TREES, matrix, rounds=_ROUNDS, threads=threads, seed=seed)[0]

    def predict(slots: pl.DataFrame) -> Doubles:
        return level * boosting.predict(booster, slots, columns=columns).astype(np.float64)

    return predict


def _fit_time_of_week(rows: pl.DataFrame, *, columns: tuple[str, ...], seed: int, threads: int) -> Predictor:
    """Return energy by hour of the week plus a broken line of temperature, one for occupied hours and one for others.

    An hour of the week is occupied where a plain line of heating and cooling degrees says too little in 65 % of cases.
    """
    del columns, seed, threads
    energy = rows["energy_kwh"].to_numpy().astype(np.float64)
    usual_c = float(np.nan_to_num(np.nanmean(np.append(_floats(rows, "temperature_c"), 15.0)), nan=15.0))
    temperature = _filled(rows, usual_c)
    knots = np.unique(np.quantile(temperature, np.linspace(0, 1, _SEGMENTS + 1)[1:-1]))
    hour = _hour_of_week(rows)
    degrees = np.stack([np.ones_like(temperature), np.maximum(10 - temperature, 0), np.maximum(temperature - 18, 0)], 1)
    above = energy > degrees @ np.linalg.lstsq(degrees, energy, rcond=None)[0]
    count = np.bincount(hour, minlength=168)
    occupied = np.bincount(hour, weights=above, minlength=168) > _OCCUPIED_SHARE * np.maximum(count, 1)

    def design(slots: pl.DataFrame) -> Doubles:
        at, warmth = _hour_of_week(slots), _filled(slots, usual_c)
        broken = np.stack([warmth - usual_c, *(np.maximum(warmth - knot, 0) for knot in knots)], 1)
        inside = occupied[at][:, None]
        return np.concatenate([np.eye(168)[at], broken * inside, broken * ~inside], axis=1)

    x = design(rows)
    normal = x.T @ x
    normal[np.diag_indices_from(normal)] += _RIDGE * np.trace(normal) / len(normal)
    # Drawn to the mean, so that an hour of the week that was never seen gets it.
    mean = float(energy.mean())
    coefficients = np.linalg.solve(normal, x.T @ (energy - mean))

    def predict(slots: pl.DataFrame) -> Doubles:
        expected: Doubles = mean + design(slots) @ coefficients
        return expected

    return predict


_FITS: Mapping[str, Callable[..., Predictor]] = {
    "time of week and temperature": _fit_time_of_week,
    "trees": _fit_trees,
}


def _hour_of_week(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Return the local hour of the week, 0 to 167; a holiday counts as a Sunday."""
    day = rows.select(pl.when(pl.col("day_kind") == DAY_OF_REST).then(6.0).otherwise("weekday")).to_series()
    hour: npt.NDArray[np.int64] = (day.to_numpy() * 24 + np.floor(rows["local_hour"].to_numpy())).astype(np.int64)
    return hour


def _floats(rows: pl.DataFrame, name: str) -> Doubles:
    return rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _filled(rows: pl.DataFrame, usual: float) -> Doubles:
    """Return the temperature with inertia: half the hour's, half the day's; what is unknown counts as usual."""
    both = np.stack([_floats(rows, "temperature_c"), _floats(rows, "temperature_24h_c")])
    known = np.isfinite(both)
    total = np.where(known, both, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), usual)
