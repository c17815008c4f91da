"""Feature frames as arrays for fitting: columns in kWh divided by the unit of their row, rows in order of issue.

The unit is the level of the meter as known at the issue, so a meter ten times as large gives the same numbers.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.errors import ModelError
from energy_assets.features.history import Bools, Floats

SCALE = "scale_kwh"
TARGET = "energy_kwh"
_LEAST_ISSUES = 4
_LEAST_ROWS = 96
ROWS_OF_A_DAY = 6
"""Rows after which more of the same day say little: its errors hang together."""
_JUMPED = {"week_mean_kwh": np.float32(1 / 2), "day_mean_kwh": np.float32(1 / 3)}
"""Beyond which multiple of the scale the newest week or day is the level: the meter has jumped, or came back."""
_FARTHEST, _TIMES_MONTH_MAX = np.float32(10), np.float32(3)


def unit_kwh(frame: pl.DataFrame) -> Floats:
    """Return the unit [row]: the scale, or a part of the newest week's or day's mean where the meter outgrew its scale.

    Without this a meter that stood still for a month returns at thousands of its scale, for weeks.
    """
    scale = unit = _numbers(frame, SCALE)
    for name, share in _JUMPED.items():
        if name in frame.columns:  # a counterfactual knows no recent load
            unit = np.fmax(unit, share * np.abs(_numbers(frame, name)))
    return np.where(scale > 0, unit, scale)


def scaled(frame: pl.DataFrame, columns: tuple[str, ...]) -> Floats:
    """Return the columns [row, column] as float32, those in kWh as multiples of the row's unit."""
    unit = unit_kwh(frame)
    values = np.empty((frame.height, len(columns)), dtype=np.float32, order="F")
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for index, name in enumerate(columns):
            column = _numbers(frame, name)
            if name.endswith("_kwh"):
                np.divide(column, unit, out=values[:, index])
            else:
                values[:, index] = column
    return values


def learned_target(frame: pl.DataFrame) -> Floats:
    """Return the target [row] in multiples of the unit, cut where nothing before could have told it.

    Ten units, or three times the largest reading of the month where that is more: the few rows of a meter on the day
    that it comes to life must not outweigh all others.
    """
    target, highest = scaled(frame, (TARGET, "month_max_kwh")).T
    limit = np.fmax(_FARTHEST, _TIMES_MONTH_MAX * np.abs(highest))
    cut: Floats = np.clip(target, -limit, limit)
    return cut


def noise_unit(frame: pl.DataFrame) -> Floats:
    """Return the unit of residuals [row] in multiples of the row's unit: how much the meter differs from a week ago."""
    change = scaled(frame, ("week_change_kwh",))[:, 0]
    return np.clip(np.where(np.isfinite(change), change, np.float32(0.3)), 0.02, 3.0).astype(np.float32)


def noise_kwh(frame: pl.DataFrame) -> Floats:
    """Return the unit of residuals [row] in kWh; 0 where the meter has no scale."""
    unit = unit_kwh(frame)
    return np.where(unit > 0, noise_unit(frame) * unit, np.float32(0))


def learnable(training: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with a known target and a positive scale, in order of issue, meter and slot.

    Raises:
        ModelError: fewer than four issues or 96 rows are left.
    """
    rows = training.filter(pl.col(TARGET).is_finite(), pl.col(SCALE) > 0).sort(
        "issued_at_utc", "meter_id", "starts_at_utc"
    )
    issues = rows["issued_at_utc"].n_unique()
    if issues < _LEAST_ISSUES or rows.height < _LEAST_ROWS:
        raise ModelError(
            f"Training needs {_LEAST_ISSUES} issues and {_LEAST_ROWS} rows with readings, got {issues} and "
            f"{rows.height}; read more history or let the ladder serve these meters."
        )
    return rows


def split_tail(rows: pl.DataFrame, *, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows before and from the first held-out issue; the tail holds about `share` of the issues.

    Rows of the head whose slots reach into the tail are left out of neither: their targets are other slots' targets,
    not features of the tail, and the tail's own issues see them only as known readings.
    """
    issues = rows["issued_at_utc"].unique().sort()
    count = min(max(round(len(issues) * share), 1), len(issues) - 1)
    first = issues[-count]
    return rows.filter(pl.col("issued_at_utc") < first), rows.filter(pl.col("issued_at_utc") >= first)


def at_most(rows: pl.DataFrame, *, count: int, seed: int) -> pl.DataFrame:
    """Return the rows, or a random subset of them in the same order."""
    if rows.height <= count:
        return rows
    chosen = np.random.default_rng(seed).choice(rows.height, size=count, replace=False)
    return rows[np.sort(chosen)]


def alternating(rows: pl.DataFrame, *, days: int = 14) -> Bools:
    """Return for each row whether it is in the odd one of alternating blocks of issues, for out-of-fold residuals.

    Blocks are shorter where there are fewer than eight of them.
    """
    issue = rows["issued_at_utc"].to_physical().to_numpy() // 86_400_000_000
    span = int(issue.max() - issue.min()) + 1
    odd: Bools = ((issue - issue.min()) // max(min(days, span // 8), 1)) % 2 == 1
    return odd


def _numbers(frame: pl.DataFrame, name: str) -> Floats:
    """Return a column [row]; a view of the frame where nothing is to be changed, which is so for all but a few."""
    column = frame.get_column(name)
    if column.dtype != pl.Float32 or column.null_count():
        column = column.cast(pl.Float32).fill_null(np.nan)
    values: Floats = column.to_numpy()
    return values
