"""The flags of a day or a longer window, as rows of `anomalies.flags`: the entry that the nightly asset calls."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Bools, Floats, Grid, grids_of
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.rules import exact_points
from energy_assets.contracts import ANOMALIES_FLAGS, Window

DEFAULT_LIMITS = Limits()


def flag_day(
    readings_interval: pl.DataFrame,
    *,
    meters: pl.DataFrame,
    window: Window,
    history: pl.DataFrame | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> pl.DataFrame:
    """Return the flags of `window`, whole UTC days, as rows of `anomalies.flags`.

    `readings_interval` and `history` are rows of `readings.interval`; rows before the window are history wherever
    they stand, and `limits.lookback_days` of them are enough. A day's flags depend on no later day, so a window of
    many days equals its days one by one. `meters` are rows of `metering.meters` for capacities and times of service.
    """
    rows = readings_interval if history is None else pl.concat([history, readings_interval], how="diagonal_relaxed")
    span = Window(
        starts_at_utc=window.starts_at_utc - timedelta(days=limits.lookback_days), ends_at_utc=window.ends_at_utc
    )
    frames = [ANOMALIES_FLAGS.empty()]
    for grid in grids_of(rows, window=span):
        found = exact_points(
            grid,
            first_day=limits.lookback_days,
            capacity_kw=capacities(grid, meters=meters),
            in_service=service(grid, meters=meters, limits=limits),
            limits=limits,
        )
        frames.append(as_flags(found, grid=grid))
    return pl.concat(frames).sort(ANOMALIES_FLAGS.key)


def as_flags(found: pl.DataFrame, *, grid: Grid) -> pl.DataFrame:
    """Return points of a grid as rows of `anomalies.flags`."""
    meter, slot = found["meter"].to_numpy(), found["slot"].to_numpy()
    named = found.with_columns(
        meter_id=pl.Series(grid.meter_ids, dtype=pl.String).gather(meter),
        starts_at_utc=grid.times(slot),
        actual_kwh=pl.Series(grid.reported_kwh[meter, slot], nan_to_null=True),
    )
    return ANOMALIES_FLAGS.conform(named.select(ANOMALIES_FLAGS.column_names))


def capacities(grid: Grid, *, meters: pl.DataFrame) -> Floats:
    """Return the declared capacity of each meter of the grid in kW, NaN where there is none."""
    if "capacity_kw" not in meters.columns:
        return np.full(len(grid.meter_ids), np.nan)
    return _of_meters(grid, meters, pl.col("capacity_kw")).cast(pl.Float64).fill_null(np.nan).to_numpy()


def service(grid: Grid, *, meters: pl.DataFrame, limits: Limits) -> Bools:
    """Return [meter, slot]: true where a meter reported within the look-back and its declared service has not ended."""
    known = np.isfinite(grid.reported_kwh) | (grid.mark > 0)
    slots = np.arange(known.shape[1], dtype=np.int64)
    last = np.maximum.accumulate(np.where(known, slots, -1), axis=1)
    recent: Bools = (last >= 0) & (slots // grid.slots_per_day - last // grid.slots_per_day <= limits.lookback_days)
    if "valid_to_utc" not in meters.columns:
        return recent
    first = int(grid.first_utc.timestamp() * 1_000_000)
    step = grid.interval_minutes * 60_000_000
    ends = _of_meters(grid, meters, pl.col("valid_to_utc").dt.epoch("us")).fill_null(np.iinfo(np.int64).max).to_numpy()
    serving: Bools = recent & (first + slots * step < ends[:, None])
    return serving


def _of_meters(grid: Grid, meters: pl.DataFrame, column: pl.Expr) -> pl.Series:
    ids = pl.DataFrame({"meter_id": grid.meter_ids}, schema={"meter_id": pl.String})
    values = meters.unique("meter_id", keep="last").select("meter_id", column.alias("value"))
    return ids.join(values, on="meter_id", how="left", validate="m:1", maintain_order="left")["value"]
