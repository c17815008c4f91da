"""Linear members of the wholesale forecast: LASSO-estimated autoregressions, one per hour, over several windows.

`lear` is the model of the literature (Lago et al. 2021, Applied Energy 293, 116983: prices of four days, drivers of
three, weekday; asinh after median and MAD). `steps` explains the step from the last known price instead, which keeps to
the level of yesterday. Twenty-four hours and several penalties are solved together by accelerated proximal gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from energy_assets.prices.days import Floats
from energy_assets.prices.market import HOURS, MarketDays

PRICE_LAGS = (1, 2, 3, 7)
DRIVER_LAGS = (0, 1, 7)
LONGEST_LAG = 7
MAD_OF_NORMAL = 0.6744897501960817  # median absolute deviation of a standard normal
WARM_STEPS, COLD_STEPS = 150, 800
TOLERANCE = 1e-5
FARTHEST = 6.0  # standardised inputs of `steps` end here, so that one odd day does not decide


@dataclass(frozen=True, kw_only=True)
class LinearMember:
    """A family, its calibration window in days, and the penalties of which the forecasts are averaged."""

    family: str
    window_days: int
    penalties: tuple[float, ...]

    @property
    def name(self) -> str:
        """Return the name of the forecast that the member makes."""
        return f"{self.family}_{self.window_days}"


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A day's regression: inputs and targets of the window, centred; the day's own input; the way back to prices."""

    inputs: Floats
    targets: Floats
    coming: Floats
    back: Callable[[Floats], Floats]


LINEAR_MEMBERS = (
    LinearMember(family="lear", window_days=56, penalties=(0.016, 0.03, 0.06)),
    LinearMember(family="lear", window_days=84, penalties=(0.008, 0.016, 0.03)),
    LinearMember(family="lear", window_days=1092, penalties=(0.002, 0.004, 0.008)),
    LinearMember(family="lear", window_days=1456, penalties=(0.002, 0.004, 0.008)),
    LinearMember(family="steps", window_days=364, penalties=(0.03, 0.06)),
    LinearMember(family="steps", window_days=1456, penalties=(0.03, 0.06)),
)


def linear_forecasts(market: MarketDays, *, member: LinearMember, days: range) -> Floats:
    """Return forecasts (days, 24) of a member for days by position; each day is calibrated on the days before it.

    The solution of one day starts the search of the next, so that a long stretch costs little more than its inputs.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    made = []
    start: Floats | None = None
    # Products this small lose more to threads that wait for each other than they gain.
    with threadpool_limits(limits=1, user_api="blas"):
        for task in _tasks(market, member=member, days=days):
            count = len(task.inputs)
            gram, moment = task.inputs.T @ task.inputs / count, task.inputs.T @ task.targets / count
            start = lasso(gram, moment=moment, penalties=member.penalties, start=start)
            forecasts = (task.coming @ start).reshape(len(member.penalties), HOURS)
            made.append(task.back(forecasts).mean(axis=0))
    return np.asarray(np.stack(made), dtype=np.float64)


def lasso(gram: Floats, *, moment: Floats, penalties: tuple[float, ...], start: Floats | None = None) -> Floats:
    """Return coefficients (inputs, penalties x targets) that minimise b'Gb/2 - c'b + penalty |b| for each target.

    FISTA with restarts (Beck and Teboulle 2009; O'Donoghue and Candes 2015); stopped when no coefficient moves by 1e-5,
    or after 150 steps from the solution of a neighbouring day (800 from nothing).
    """
    bound = float(np.linalg.eigvalsh(gram)[-1])
    targets = np.tile(moment, len(penalties))
    threshold = np.repeat(np.array(penalties), moment.shape[1])[None, :] / bound
    current = np.zeros_like(targets) if start is None else start
    ahead, pace = current, 1.0
    for step in range(COLD_STEPS if start is None else WARM_STEPS):
        moved = ahead - (gram @ ahead - targets) / bound
        found = np.sign(moved) * np.maximum(np.abs(moved) - threshold, 0.0)
        change = found - current
        overshot = ((ahead - found) * change).sum(axis=0) > 0
        faster = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
        ahead = found + np.where(overshot, 0.0, (pace - 1) / faster) * change
        current, pace = found, faster
        if step % 20 == 0 and np.abs(change).max() < TOLERANCE:
            break
    return np.asarray(current, dtype=np.float64)


def _tasks(market: MarketDays, *, member: LinearMember, days: range) -> Iterator[_Task]:
    make = _lear_task if member.family == "lear" else _steps_task
    table = _lear_inputs(market) if member.family == "lear" else _steps_inputs(market)
    for day in days:
        rows = slice(max(day - member.window_days, LONGEST_LAG), day)
        yield make(market, table=table, rows=rows, day=day)


def _lear_inputs(market: MarketDays) -> Floats:
    days = len(market.days)
    lagged = [_before(market.price, lag) for lag in PRICE_LAGS]
    lagged += [_before(driver, lag) for driver in market.drivers for lag in DRIVER_LAGS]
    return np.hstack([*lagged, _weekdays(market, days=days)])


def _lear_task(market: MarketDays, *, table: Floats, rows: slice, day: int) -> _Task:
    inputs, coming = table[rows].copy(), table[day : day + 1].copy()
    values = np.s_[:, :-7]
    middle, spread = _median_and_mad(inputs[values])
    inputs[values] = np.arcsinh((inputs[values] - middle) / spread)
    coming[values] = np.arcsinh((coming[values] - middle) / spread)
    price_middle, price_spread = _median_and_mad(market.price[rows])
    targets = np.arcsinh((market.price[rows] - price_middle) / price_spread)
    mean_input, mean_target = inputs.mean(axis=0), targets.mean(axis=0)
    # A forecast beyond anything that the window holds is no news but an explosion of sinh.
    farthest = np.abs(targets).max(axis=0) + 1.0

    def back(forecasts: Floats) -> Floats:
        scaled = np.clip(forecasts + mean_target, -farthest, farthest)
        return np.asarray(np.sinh(scaled) * price_spread + price_middle, dtype=np.float64)

    return _Task(inputs=inputs - mean_input, targets=targets - mean_target, coming=coming - mean_input, back=back)


def _steps_inputs(market: MarketDays) -> Floats:
    days = len(market.days)
    last = _before(market.price, 1)[:, -1:]
    columns = [_before(market.price, lag) - last for lag in PRICE_LAGS]
    for driver in market.drivers:
        mean = driver.mean(axis=1, keepdims=True)
        columns += [driver - _before(driver, 1), driver - _before(driver, 7), driver - mean]
    return np.hstack([*columns, _weekdays(market, days=days)])


def _steps_task(market: MarketDays, *, table: Floats, rows: slice, day: int) -> _Task:
    inputs, coming = table[rows], table[day : day + 1]
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0)
    spread = np.where(spread > 1e-9 * max(float(spread.max()), 1e-300), spread, np.inf)
    last = market.price[rows.start - 1 : rows.stop - 1, -1:]
    steps = market.price[rows] - last
    mean_step, step_spread = steps.mean(axis=0), steps.std(axis=0)
    step_spread = np.where(step_spread > 0, step_spread, 1.0)
    anchor = market.price[day - 1, -1]

    def back(forecasts: Floats) -> Floats:
        return np.asarray(forecasts * step_spread + mean_step + anchor, dtype=np.float64)

    return _Task(
        inputs=np.clip((inputs - mean) / spread, -FARTHEST, FARTHEST),
        targets=(steps - mean_step) / step_spread,
        coming=np.clip((coming - mean) / spread, -FARTHEST, FARTHEST),
        back=back,
    )


def _before(values: Floats, lag: int) -> Floats:
    """Return (days, 24) shifted by whole days; NaN where the shift reaches before the first day."""
    shifted = np.full_like(values, np.nan)
    shifted[lag:] = values[: len(values) - lag] if lag else values
    return shifted


def _weekdays(market: MarketDays, *, days: int) -> Floats:
    shown = np.zeros((days, 7))
    shown[np.arange(days), market.weekday.astype(np.int64)] = 1.0
    return shown


def _median_and_mad(values: Floats) -> tuple[Floats, Floats]:
    middle = np.median(values, axis=0)
    spread = np.median(np.abs(values - middle), axis=0) / MAD_OF_NORMAL
    return middle, np.where(spread > 1e-9 * np.maximum(np.abs(middle), 1e-300), spread, 1.0)
