"""Tree members of the wholesale forecast: boosted trees over all hours, which learn the departure from an anchor.

The anchor is the same hour of yesterday, or yesterday's last hour; the departure is measured in the root of its usual
size, which makes calm and wild months count alike without letting calm ones rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy_assets.prices.days import Floats
from energy_assets.prices.market import HOURS, MarketDays

USUAL_DAYS = 28
FIRST_DAY = USUAL_DAYS
ROUNDS = 350
LEAST_ROWS_TO_SHARE = 20_000


@dataclass(frozen=True, kw_only=True)
class TreeMember:
    """A boosted forest: what it departs from and the loss it minimises."""

    name: str
    anchor: str
    objective: str


TREE_MEMBERS = (
    TreeMember(name="trees_same_hour", anchor="same_hour", objective="reg:absoluteerror"),
    TreeMember(name="trees_last_hour", anchor="last_hour", objective="reg:pseudohubererror"),
)


def tree_forecasts(market: MarketDays, *, member: TreeMember, days: range, seed: int, threads: int) -> Floats:
    """Return forecasts (days, 24) of a member for days by position, learned once from all days before the first."""
    import xgboost as xgb

    inputs = _inputs(market)
    anchor = _lag(market.price, 1) if member.anchor == "same_hour" else _across(_lag(market.price, 1)[:, -1])
    scale = _departure_scale(market.price)
    first, stop = days.start, days.stop
    # On few rows two threads wait for each other longer than they work.
    threads = threads if (first - FIRST_DAY) * HOURS >= LEAST_ROWS_TO_SHARE else 1
    taught = (market.price[FIRST_DAY:first] - anchor[FIRST_DAY:first]) / scale[FIRST_DAY:first, None]
    learned = xgb.train(
        {
            "objective": member.objective,
            "max_depth": 6,
            "eta": 0.05,
            "subsample": 0.8,
            "colsample_bynode": 0.5,
            "min_child_weight": 10,
            "max_bin": 128,
            "tree_method": "hist",
            "nthread": threads,
            "seed": seed,
        },
        xgb.QuantileDMatrix(
            inputs[FIRST_DAY:first].reshape(-1, inputs.shape[-1]), taught.ravel(), max_bin=128, nthread=threads
        ),
        ROUNDS,
    )
    asked = xgb.DMatrix(inputs[first:stop].reshape(-1, inputs.shape[-1]), nthread=threads)
    departure = learned.predict(asked).astype(np.float64).reshape(-1, HOURS)
    return np.asarray(anchor[first:stop] + departure * scale[first:stop, None], dtype=np.float64)


def _departure_scale(price: Floats) -> Floats:
    """Return per day the geometric mean of the recent and the usual size of a day's change, from the days before it."""
    change = np.abs(np.diff(price, axis=0)).mean(axis=1)
    scale = np.full(len(price), np.nan)
    for day in range(FIRST_DAY, len(price)):
        recent = change[max(day - 1 - USUAL_DAYS, 0) : day - 1].mean()
        scale[day] = np.sqrt(max(recent, 1e-9))
    # One constant keeps the departure in units of about one in every currency.
    usual = np.nanmedian(change[: 13 * USUAL_DAYS]) if len(change) else 1.0
    return np.asarray(scale * np.sqrt(max(float(usual), 1e-9)), dtype=np.float64)


def _inputs(market: MarketDays) -> Floats:
    """Return inputs (days, 24, features); those of a day use prices of the days before and drivers of the day."""
    days = len(market.days)
    columns = [_across(market.weekday), np.tile(np.arange(HOURS, dtype=np.float64), (days, 1))]
    columns += _calendar(market) + _price_inputs(market.price)
    for driver in market.drivers:
        columns += _driver_inputs(driver)
    residual = market.residual
    if residual is not None:
        columns += _driver_inputs(residual)
    return np.stack(columns, axis=-1).astype(np.float32)


def _calendar(market: MarketDays) -> list[Floats]:
    of_year = np.array([day.timetuple().tm_yday for day in market.days], dtype=np.float64)
    rest = market.holiday[:-1]
    return [
        _across(values)
        for values in (of_year, rest, np.r_[0.0, rest[:-1]], market.holiday[1:], np.r_[np.zeros(7), rest[:-7]])
    ]


def _price_inputs(price: Floats) -> list[Floats]:
    yesterday = _lag(price, 1)
    mean, last = yesterday.mean(axis=1), yesterday[:, -1]
    level = _across(mean)
    made = [level, _across(last), _across(last - mean), _across(yesterday.std(axis=1))]
    made += [_across(yesterday.max(axis=1) - mean), _across(yesterday.min(axis=1) - mean)]
    made += [_lag(price, lag) - level for lag in (1, 2, 3, 7, 14)]
    made += [_across(_lag(price, lag).mean(axis=1) - mean) for lag in (2, 3, 7)]
    month = _trailing_mean(price, days=USUAL_DAYS)
    return [*made, _trailing_mean(price, days=7) - level, month - level, _across(month.mean(axis=1) - mean)]


def _driver_inputs(driver: Floats) -> list[Floats]:
    mean = driver.mean(axis=1)
    made = [driver, driver - _across(mean), _across(mean), _across(driver.max(axis=1))]
    made += [driver - _lag(driver, lag) for lag in (1, 2, 7)]
    made += [_across(mean - _lag(driver, lag).mean(axis=1)) for lag in (1, 7)]
    made += [driver - _trailing_mean(driver, days=USUAL_DAYS), driver - _across(_lag(driver, 1)[:, -1])]
    flat = driver.ravel()
    for hours in (-2, -1, 1, 2):
        neighbour = np.full(len(flat), np.nan)
        if hours > 0:
            neighbour[:-hours] = flat[hours:]
        else:
            neighbour[-hours:] = flat[:hours]
        beside = neighbour.reshape(driver.shape)
        if hours > 0:
            beside[:, HOURS - hours :] = driver[:, -1:]  # the day after is not forecast yet
        made.append(beside - driver)
    return made


def _lag(values: Floats, days: int) -> Floats:
    shifted = np.full_like(values, np.nan)
    shifted[days:] = values[:-days]
    return shifted


def _trailing_mean(values: Floats, *, days: int) -> Floats:
    """Return the mean of the same hour over the days before."""
    sums = np.cumsum(np.vstack([np.zeros((1, HOURS)), np.nan_to_num(values)]), axis=0)
    made = np.full_like(values, np.nan)
    made[days:] = (sums[days : len(values)] - sums[: len(values) - days]) / days
    return made


def _across(values: Floats) -> Floats:
    return np.repeat(values[:, None], HOURS, axis=1)
