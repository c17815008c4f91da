"""What stands around the readings of a grid: capacity, time of service, weather and forecasts of its meters."""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Bools, Floats, Grid
from energy_assets.anomalies.limits import Limits

HEATING_BASE_C, COOLING_BASE_C = 15.5, 20.0
QUANTILE_RANGE_NORMAL = 2.563  # q90 - q10 of a normal distribution in standard deviations


def of_meters(grid: Grid, meters: pl.DataFrame, *, column: str) -> pl.Series:
    """Return a column of `metering.meters` for each meter of the grid, null where it is not declared."""
    ids = pl.DataFrame({"meter_id": grid.meter_ids}, schema={"meter_id": pl.String})
    if column not in meters.columns:
        return pl.Series(column, [None] * ids.height, dtype=pl.String)
    values = meters.unique("meter_id", keep="last").select("meter_id", column)
    return ids.join(values, on="meter_id", how="left", validate="m:1", maintain_order="left")[column]


def capacities(grid: Grid, *, meters: pl.DataFrame) -> Floats:
    """Return the declared capacity of each meter of the grid in kW, NaN where there is none."""
    return of_meters(grid, meters, column="capacity_kw").cast(pl.Float64).fill_null(np.nan).to_numpy()


def service(grid: Grid, *, meters: pl.DataFrame, limits: Limits) -> Bools:
    """Return [meter, slot]: true where a meter reported within the look-back and its declared service has not ended."""
    known = np.isfinite(grid.reported_kwh) | (grid.mark > 0)
    slots = np.arange(known.shape[1], dtype=np.int64)
    last = np.maximum.accumulate(np.where(known, slots, -1), axis=1)
    recent: Bools = (last >= 0) & (slots // grid.slots_per_day - last // grid.slots_per_day <= limits.lookback_days)
    ends = of_meters(grid, meters, column="valid_to_utc")
    if ends.dtype == pl.String:
        return recent
    first = int(grid.first_utc.timestamp() * 1_000_000)
    stamps = first + slots * grid.interval_minutes * 60_000_000
    end_stamps = ends.dt.epoch("us").fill_null(np.iinfo(np.int64).max).to_numpy()
    serving: Bools = recent & (stamps < end_stamps[:, None])
    return serving


def degree_days(grid: Grid, *, meters: pl.DataFrame, weather: pl.DataFrame | None) -> Floats:
    """Return heating and cooling degrees of the day, [meter, day, 2] in tens of kelvin; no column without weather.

    A day without weather takes the last known one before it, a mild one where there is none. Weather without
    `site_id` is everyone's.
    """
    if weather is None or weather.is_empty():
        return np.zeros((len(grid.meter_ids), grid.days, 0))
    site_of = of_meters(grid, meters, column="site_id").cast(pl.String)
    if "site_id" not in weather.columns:
        site_of = pl.Series("site_id", [""] * len(site_of))
        weather = weather.with_columns(site_id=pl.lit(""))
    day = (pl.col("starts_at_utc").dt.epoch("s") - int(grid.first_utc.timestamp())) // 86_400
    daily = (
        weather.with_columns(day=day)
        .filter(pl.col("day").is_between(0, grid.days - 1))
        .group_by("site_id", "day")
        .agg(pl.col("temperature_c").mean())
        .drop_nulls()
    )
    temperature = np.full((len(grid.meter_ids), grid.days), np.nan)
    for (site,), rows in daily.partition_by("site_id", as_dict=True).items():
        members = np.flatnonzero((site_of == site).fill_null(value=False).to_numpy())
        temperature[np.ix_(members, rows["day"].to_numpy())] = rows["temperature_c"].to_numpy()
    mild = np.full((len(temperature), 1), (HEATING_BASE_C + COOLING_BASE_C) / 2)
    filled = _carried(temperature, empty=mild)
    return np.stack([np.maximum(HEATING_BASE_C - filled, 0), np.maximum(filled - COOLING_BASE_C, 0)], axis=2) / 10


def _carried(values: Floats, *, empty: Floats) -> Floats:
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(values.shape[1]), -1), axis=1)
    carried = np.take_along_axis(values, np.maximum(last, 0), axis=1)
    filled: Floats = np.where(last >= 0, carried, empty)
    return filled


def forecast_arrays(grid: Grid, *, forecasts: pl.DataFrame | None, first_day: int) -> tuple[Floats, Floats] | None:
    """Return the forecasts' median and scale per slot, [meter, slot], NaN where none; the last issued counts."""
    if forecasts is None or forecasts.is_empty():
        return None
    first = grid.first_utc.timestamp() * 1_000_000
    slot = (pl.col("starts_at_utc").dt.epoch("us") - int(first)) // (grid.interval_minutes * 60_000_000)
    rows = (
        forecasts.lazy()
        .filter(pl.col("node_id").is_in(grid.meter_ids), pl.col("interval_minutes") == grid.interval_minutes)
        .with_columns(slot=slot)
        .filter(pl.col("slot").is_between(first_day * grid.slots_per_day, grid.reported_kwh.shape[1] - 1))
        .sort("issued_at_utc")
        .collect()
    )
    meter = rows["node_id"].cast(pl.Enum(sorted(grid.meter_ids))).to_physical().to_numpy()
    row_of = np.argsort(np.asarray(grid.meter_ids))[meter]
    middle, scale = (np.full(grid.reported_kwh.shape, np.nan, dtype=np.float32) for _ in range(2))
    at = (row_of, rows["slot"].to_numpy())
    middle[at] = rows["q50"].to_numpy()
    scale[at] = (rows["q90"] - rows["q10"]).to_numpy() / QUANTILE_RANGE_NORMAL
    return middle, scale
