"""What the meter's own past says of a slot: same local times of the last weeks, analogues, levels, trends and spread.

Works on a `Known`, so every value was known at the issue; what was not is NaN and stays NaN. Columns in kWh end in
`_kwh`: a model may divide those by the meter's scale.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from energy_assets.contracts import LEVELS
from energy_assets.features.calendar import Calendar
from energy_assets.features.history import Floats, Ints, Known

RECENT_DAY_LAGS = np.arange(1, 43)
YEAR_AGO_DAY_LAGS = np.arange(49, 56) * 7
ANALOGUE_COLUMNS = tuple(f"analogue_{level}_kwh" for level in LEVELS)
SLOT_FEATURES = (
    "latest_1_kwh",
    "latest_2_kwh",
    "latest_3_kwh",
    "latest_age_days",
    "lag_7d_kwh",
    "lag_14d_kwh",
    "lag_21d_kwh",
    "lag_28d_kwh",
    "weeks_4_mean_kwh",
    "days_7_mean_kwh",
    "days_28_mean_kwh",
    "days_28_std_kwh",
    "kind_latest_kwh",
    "kind_mean_kwh",
    "kind_std_kwh",
    "analogue_mean_kwh",
    *ANALOGUE_COLUMNS,
)
LEVEL_FEATURES = (
    "last_kwh",
    "hours_3_mean_kwh",
    "day_mean_kwh",
    "day_max_kwh",
    "day_min_kwh",
    "week_mean_kwh",
    "month_mean_kwh",
    "month_std_kwh",
    "month_max_kwh",
    "month_min_kwh",
    "trend_kwh",
    "day_shift_kwh",
    "week_shift_kwh",
    "week_change_kwh",
    "day_ratio",
    "hours_6_shift_kwh",
    "weeks_trend_kwh",
)
LOAD_FEATURES = (*SLOT_FEATURES, *LEVEL_FEATURES)

_KIND_HALF_LIFE_DAYS = 10.0
_ENOUGH_FOR_SCALE = 24


def slot_features(known: Known, *, meter: Ints, slot: Ints, calendar: Calendar) -> dict[str, Floats]:
    """Return SLOT_FEATURES for rows of (meter index, slot) that share a calendar."""
    unique, position = np.unique(slot, return_inverse=True)
    lagged = calendar.same_local_time(unique, days_before=RECENT_DAY_LAGS, slots_per_day=known.slots_per_day)
    older = calendar.same_local_time(unique, days_before=YEAR_AGO_DAY_LAGS, slots_per_day=known.slots_per_day)
    days = known.recent_at(meter, lagged[position])
    weeks = days[:, 6::7]
    kind = calendar.day_kind
    same_kind = kind[calendar.columns_of(lagged)] == kind[calendar.columns_of(unique)][:, None]
    analogues = np.concatenate([weeks, known.year_ago_at(meter, older[position])], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            **_latest(days[:, :8]),
            **{f"lag_{7 * (week + 1)}d_kwh": weeks[:, week] for week in range(4)},
            "weeks_4_mean_kwh": mean_of_known(weeks[:, :4]),
            "days_7_mean_kwh": mean_of_known(days[:, :8]),
            "days_28_mean_kwh": mean_of_known(days[:, :28]),
            "days_28_std_kwh": _std(days[:, :28]),
            **_same_kind(days, same_kind[position]),
            "analogue_mean_kwh": mean_of_known(analogues),
        }
        quantiles = quantiles_of_known(analogues, levels=tuple(LEVELS.values()))
    columns |= {name: quantiles[:, index] for index, name in enumerate(ANALOGUE_COLUMNS)}
    return columns


def level_features(known: Known) -> dict[str, Floats]:
    """Return LEVEL_FEATURES [meter], the same for all slots of an issue."""
    per_day = known.slots_per_day
    per_hours_3, per_hours_6 = (max(hours * 60 // known.interval_minutes, 1) for hours in (3, 6))
    day, week, month = known.last(1), known.last(7), known.last(28)
    same_weekdays = [known.recent[:, -(7 * back + 7) * per_day : -7 * back * per_day] for back in (1, 2, 3, 4)]
    with np.errstate(invalid="ignore", divide="ignore"):
        left = week - mean_of_known(np.stack(same_weekdays, axis=2), axis=2)
        change = np.abs(known.last(14) - known.recent[:, -21 * per_day : -7 * per_day])
        columns = {
            "last_kwh": _last_known(day),
            "hours_3_mean_kwh": mean_of_known(day[:, -per_hours_3:]),
            "day_mean_kwh": mean_of_known(day),
            "day_max_kwh": _extreme(day, np.nanmax),
            "day_min_kwh": _extreme(day, np.nanmin),
            "week_mean_kwh": mean_of_known(week),
            "month_mean_kwh": mean_of_known(month),
            "month_std_kwh": _std(month),
            "month_max_kwh": _extreme(month, np.nanmax),
            "month_min_kwh": _extreme(month, np.nanmin),
            "day_shift_kwh": mean_of_known(left[:, -per_day:]),
            "week_shift_kwh": mean_of_known(left),
            "week_change_kwh": mean_of_known(change),
            "hours_6_shift_kwh": mean_of_known(left[:, -per_hours_6:]),
            "weeks_trend_kwh": mean_of_known(week) - mean_of_known(known.last(14)[:, : 7 * per_day]),
        }
        columns["trend_kwh"] = columns["week_mean_kwh"] - columns["month_mean_kwh"]
        ratio = columns["day_mean_kwh"] / columns["week_mean_kwh"]
    columns["day_ratio"] = np.where(np.isfinite(ratio), np.clip(ratio, -10, 10), np.float32(np.nan))
    return columns


def scale_of(known: Known) -> Floats:
    """Return the scale [meter] in kWh: the mean absolute energy of the last 28 days, else of all that is known.

    NaN when nothing is known, 0 when all that is known is zero.
    """
    month, recent, year_ago = (np.abs(block) for block in (known.last(28), known.recent, known.year_ago))
    enough = np.isfinite(month).sum(axis=1) >= _ENOUGH_FOR_SCALE
    scale = np.where(enough, mean_of_known(month), mean_of_known(recent))
    return np.where(scale > 0, scale, np.fmax(scale, mean_of_known(year_ago)))


def mean_of_known(values: Floats, *, axis: int = 1) -> Floats:
    """Return the mean along an axis of what is not NaN, NaN where nothing is known."""
    present = np.isfinite(values)
    count = present.sum(axis=axis)
    total = np.where(present, values, np.float32(0)).astype(np.float64).sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = (total / count).astype(np.float32)
    return mean


def quantiles_of_known(values: Floats, *, levels: tuple[float, ...]) -> Floats:
    """Return quantiles [row, level] of what is not NaN in each row, between order statistics (Hyndman-Fan type 7)."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    at = np.asarray(levels)[None, :] * np.maximum(count - 1, 0)[:, None]
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0)[:, None])
    below, above = (np.take_along_axis(ordered, place, axis=1) for place in (low, high))
    between: Floats = (below + (above - below) * (at - low).astype(np.float32)).astype(np.float32)
    return between


def _latest(days: Floats) -> dict[str, Floats]:
    order = np.argsort(~np.isfinite(days), axis=1, kind="stable")[:, :3]
    latest = np.take_along_axis(days, order, axis=1)
    age = np.where(np.isfinite(latest[:, 0]), order[:, 0] + 1, np.nan).astype(np.float32)
    return {**{f"latest_{rank + 1}_kwh": latest[:, rank] for rank in range(3)}, "latest_age_days": age}


def _same_kind(days: Floats, same_kind: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> dict[str, Floats]:
    usable = same_kind & np.isfinite(days)
    weight = np.where(usable, np.float32(0.5) ** (RECENT_DAY_LAGS.astype(np.float32) / _KIND_HALF_LIFE_DAYS), 0)
    total = weight.sum(axis=1)
    values = np.where(usable, days, np.float32(0))
    mean = (values * weight).sum(axis=1) / total
    variance = (weight * np.where(usable, values - mean[:, None], 0) ** 2).sum(axis=1) / total
    first = np.argmax(usable, axis=1)
    latest = np.take_along_axis(days, first[:, None], axis=1)[:, 0]
    return {
        "kind_latest_kwh": np.where(usable.any(axis=1), latest, np.float32(np.nan)),
        "kind_mean_kwh": mean.astype(np.float32),
        "kind_std_kwh": np.sqrt(variance).astype(np.float32),
    }


def _std(values: Floats) -> Floats:
    centred = values - mean_of_known(values)[:, None]
    return np.sqrt(mean_of_known(centred * centred))


def _last_known(values: Floats) -> Floats:
    backwards = np.isfinite(values[:, ::-1])
    column = values.shape[1] - 1 - np.argmax(backwards, axis=1)
    found = np.take_along_axis(values, column[:, None], axis=1)[:, 0]
    return np.where(backwards.any(axis=1), found, np.float32(np.nan))


def _extreme(values: Floats, reduce: Callable[..., Floats]) -> Floats:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice", category=RuntimeWarning)
        return reduce(values, axis=1)
