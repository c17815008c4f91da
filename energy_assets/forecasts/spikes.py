"""The rule of cleaning against spikes, for readings that did not come through the lake: refused before learning.

The same limits as in `readings.quality`: a hundred times the 90th percentile of the daily peaks of four weeks before,
on meters of which two weeks are known. It looks back only, so what came later judges nothing.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from energy_assets.readings.quality import DEFAULT_LIMITS, Limits


def without_spikes(readings: pl.DataFrame, *, limits: Limits = DEFAULT_LIMITS) -> pl.DataFrame:
    """Return the rows (meter_id, starts_at_utc, energy_kwh, …) that are no spikes, either way, in the same order."""
    size, day = pl.col("energy_kwh").abs(), pl.col("starts_at_utc").dt.truncate("1d")
    peaks = readings.group_by("meter_id", day=day).agg(most=size.max()).sort("meter_id", "day")
    usual = peaks.rolling("day", period=timedelta(days=limits.history_days), closed="left", group_by="meter_id").agg(
        usual_peak_kwh=pl.col("most").quantile(0.9, "linear"), days=pl.len()
    )
    suspect = usual.filter(pl.col("days") >= limits.least_history_days, pl.col("usual_peak_kwh") > 0)
    limit = pl.col("usual_peak_kwh") * limits.spike_factor
    return (
        readings.with_columns(day=day)
        .join(
            suspect.select("meter_id", "day", "usual_peak_kwh"),
            on=["meter_id", "day"],
            how="left",
            maintain_order="left",
        )
        .filter((size <= limit).fill_null(value=True))
        .select(readings.columns)
    )
