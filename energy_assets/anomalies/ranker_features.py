"""What the ranker sees of a slot: how its reading differs from its neighbours in time, and the score of the detectors.

Value-change features after the winners of the Large-scale Energy Anomaly Detection challenge (2022): differences and
ratios to the readings some hours away. With `sides="past"` a slot's value changes look at nothing after it, and its
score at nothing after the end of its UTC day, which is when the nightly run judges it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Bools, Floats, Grid, Ints, grids_of
from energy_assets.contracts import UTC_TIME, Window
from energy_assets.profiles.clocks import meter_clocks

NEIGHBOUR_HOURS = (1, 2, 3, 23, 24, 25, 48, 72, 168)
SCALE_DAYS = 28
LOOKBACK = timedelta(days=SCALE_DAYS + 7)
"""Readings before a window that its features need."""
SCORE = "detector_score"
Sides = Literal["past", "both"]

_LEVEL = ("level", "is_zero", "same_for_hours", "mean_24h_change", "least_24h_change", "local_hour", "weekday")
_PAST = tuple(f"{what}_{hours}h" for hours in NEIGHBOUR_HOURS for what in ("change", "ratio"))
_AFTER = tuple(f"{what}_after_{hours}h" for hours in NEIGHBOUR_HOURS for what in ("change", "ratio"))
_SHARE = 0.02  # of the usual level, added to both sides of a ratio so that zero has one
_MOST = 50.0


def feature_names(sides: Sides) -> tuple[str, ...]:
    """Return the features of a variant, in the order of the model's columns."""
    return (*_LEVEL, *_PAST, *(_AFTER if sides == "both" else ()), SCORE)


def ranker_features(
    readings: pl.DataFrame,
    *,
    window: Window,
    meters: pl.DataFrame,
    sites: pl.DataFrame,
    scores: pl.DataFrame | None = None,
    only: pl.DataFrame | None = None,
    sides: Sides = "past",
) -> pl.DataFrame:
    """Return meter_id, site_id, starts_at_utc and the features of every slot of `window` that has a reading.

    `readings` are rows of `readings.interval` from LOOKBACK before the window on; what the meter reported counts, not
    what cleaning made of it. `scores` has meter_id, starts_at_utc and score of the detectors; null without. `only` has
    meter_id and starts_at_utc of the rows that are wanted; all by default.
    """
    span = Window(starts_at_utc=window.starts_at_utc - LOOKBACK, ends_at_utc=window.ends_at_utc)
    clocks = meter_clocks(meters, sites=sites, window=span)
    frames = [
        _of_grid(grid, window=window, clocks=clocks, only=only, sides=sides) for grid in grids_of(readings, window=span)
    ]
    schema = {"meter_id": pl.String(), "starts_at_utc": UTC_TIME} | dict.fromkeys(
        feature_names(sides)[:-1], pl.Float32()
    )
    rows = pl.concat([pl.DataFrame(schema=schema), *frames])
    known = rows.head(0).select("meter_id", "starts_at_utc", score=pl.lit(None, dtype=pl.Float64))
    scored = (known if scores is None else scores.select("meter_id", "starts_at_utc", "score")).rename({"score": SCORE})
    rows = rows.join(scored, on=["meter_id", "starts_at_utc"], how="left", validate="1:1", maintain_order="left")
    rows = rows.join(
        meters.select("meter_id", "site_id"), on="meter_id", how="left", validate="m:1", maintain_order="left"
    )
    return rows.select(
        "meter_id", "site_id", "starts_at_utc", *(pl.col(name).cast(pl.Float32) for name in feature_names(sides))
    )


def _of_grid(
    grid: Grid, *, window: Window, clocks: pl.DataFrame, only: pl.DataFrame | None, sides: Sides
) -> pl.DataFrame:
    first = (window.starts_at_utc - grid.first_utc) // timedelta(minutes=grid.interval_minutes)
    wanted = np.isfinite(grid.reported_kwh)
    wanted[:, :first] = False
    if only is not None:
        wanted &= _cells(grid, only)
    meter, slot = np.nonzero(wanted)
    columns = value_changes(grid, sides=sides)
    local = _local(grid, clocks=clocks, meter=meter, slot=slot)
    rows = pl.DataFrame(
        {
            "meter_id": pl.Series(grid.meter_ids, dtype=pl.String).gather(meter),
            "starts_at_utc": grid.times(slot),
            **{name: values[meter, slot].astype(np.float32) for name, values in columns.items()},
            "local_hour": (local // 3600 % 24).astype(np.float32),
            "weekday": ((local // 86_400 + 3) % 7).astype(np.float32),
        }
    )
    return rows.select("meter_id", "starts_at_utc", *feature_names(sides)[:-1])


def value_changes(grid: Grid, *, sides: Sides) -> dict[str, Floats]:
    """Return the value-change features of a grid as arrays [meter, slot], NaN where a neighbour is not known.

    Differences are in units of the meter's usual level, the median of the daily means of the 28 days before the day.
    """
    scale = np.repeat(_usual_level(grid), grid.slots_per_day, axis=1)
    x = (grid.reported_kwh / scale).astype(np.float32)
    x[~np.isfinite(x)] = np.nan
    per_hour = max(1, round(1 / grid.hours_per_slot))
    day = 24 * per_hour
    mean, least = _trailing_mean(x, slots=day), _trailing_least(x, slots=day)
    found = {
        "level": np.clip(x, -_MOST, _MOST),
        "is_zero": (x == 0).astype(np.float32),
        "same_for_hours": _same_for(x) / per_hour,
        "mean_24h_change": _clipped(mean - _before(mean, 7 * day)),
        "least_24h_change": _clipped(least - _before(least, 7 * day)),
    }
    for hours in NEIGHBOUR_HOURS:
        slots = round(hours / grid.hours_per_slot)
        for name, other in (("", _before(x, slots)), ("after_", _after(x, slots))):
            if name and sides == "past":
                continue
            found[f"change_{name}{hours}h"] = _clipped(x - other)
            found[f"ratio_{name}{hours}h"] = np.log((np.abs(x) + _SHARE) / (np.abs(other) + _SHARE))
    return found


def _usual_level(grid: Grid) -> Floats:
    """Return the median of the absolute daily means of the days before each day, [meter, day]; NaN without any."""
    by_day = np.abs(grid.by_day(grid.reported_kwh))
    known = np.isfinite(by_day)
    daily = np.where(known, by_day, 0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    daily[known.sum(axis=2) == 0] = np.nan
    usual = np.full(daily.shape, np.nan)
    for row in range(3, daily.shape[1]):
        past = np.sort(daily[:, max(0, row - SCALE_DAYS) : row], axis=1)
        count = np.isfinite(past).sum(axis=1)
        middle = np.take_along_axis(past, np.maximum(count - 1, 0)[:, None] // 2, axis=1)[:, 0]
        usual[:, row] = np.where((count >= 3) & (middle > 0), middle, np.nan)
    return usual


def _before(values: Floats, slots: int) -> Floats:
    moved = np.full(values.shape, np.nan, dtype=values.dtype)
    if slots < values.shape[1]:
        moved[:, slots:] = values[:, : values.shape[1] - slots]
    return moved


def _after(values: Floats, slots: int) -> Floats:
    moved = np.full(values.shape, np.nan, dtype=values.dtype)
    if slots < values.shape[1]:
        moved[:, : values.shape[1] - slots] = values[:, slots:]
    return moved


def _trailing_mean(values: Floats, *, slots: int) -> Floats:
    known = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0), axis=1, dtype=np.float64)
    count = np.cumsum(known, axis=1)
    total[:, slots:] -= total[:, :-slots].copy()
    count[:, slots:] -= count[:, :-slots].copy()
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return mean


def _trailing_least(values: Floats, *, slots: int) -> Floats:
    """Return the least of the last `slots` values, this one included, by doubling the span."""
    least, width = values, 1
    while width < slots:
        step = min(width, slots - width)
        least, width = np.fmin(least, _before(least, step)), width + step
    return least


def _same_for(values: Floats) -> Floats:
    """Return for how many slots the value has been the same; 0 where it is not known."""
    slots = np.arange(values.shape[1])
    changed = np.ones(values.shape, dtype=bool)
    changed[:, 1:] = values[:, 1:] != values[:, :-1]
    last = np.maximum.accumulate(np.where(changed, slots, 0), axis=1)
    return np.where(np.isfinite(values), slots - last + 1, 0).astype(np.float32)


def _clipped(values: Floats) -> Floats:
    return np.clip(values, -_MOST, _MOST)


def _cells(grid: Grid, only: pl.DataFrame) -> Bools:
    inside = only.filter(pl.col("meter_id").is_in(list(grid.meter_ids)))
    step = grid.interval_minutes * 60_000_000
    elapsed = inside["starts_at_utc"].dt.epoch("us").to_numpy() - int(grid.first_utc.timestamp() * 1_000_000)
    slot = elapsed // step
    meter = inside["meter_id"].cast(pl.Enum(grid.meter_ids)).to_physical().to_numpy()
    cells: Bools = np.zeros(grid.reported_kwh.shape, dtype=bool)
    fits = (elapsed % step == 0) & (slot >= 0) & (slot < len(cells[0]))
    cells[meter[fits], slot[fits]] = True
    return cells


def _local(grid: Grid, *, clocks: pl.DataFrame, meter: Ints, slot: Ints) -> Ints:
    """Return the seconds on the clock of each cell's site."""
    seconds = int(grid.first_utc.timestamp()) + slot.astype(np.int64) * grid.interval_minutes * 60
    offset = np.zeros(len(seconds), dtype=np.int64)
    number = {meter_id: row for row, meter_id in enumerate(grid.meter_ids)}
    by_span = clocks.filter(pl.col("meter_id").is_in(list(grid.meter_ids))).partition_by(
        "from_us", "to_us", "offset_us", as_dict=True
    )
    for (start, end, moved), rows in by_span.items():
        members = np.zeros(len(grid.meter_ids), dtype=bool)
        members[[number[meter_id] for meter_id in rows["meter_id"]]] = True
        inside = members[meter] & (seconds >= start // 1_000_000) & (seconds < end // 1_000_000)
        offset[inside] = moved // 1_000_000
    return seconds + offset
