"""The fences of system 004: interquartile ranges per cluster, weekday and hour, on all seven days, factor configurable.

A detector of its own beside the scores: its flags inform people about peers and open no event.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from energy_assets.anomalies.limits import DEFAULT_LIMITS, Limits
from energy_assets.contracts import ANOMALIES_FLAGS, Window

LEGACY_FACTOR = 0.5
LEAST_PEERS = 5
_PLACE = ["cluster_id", "interval_minutes", "weekday", "hour"]


def fence_flags(
    readings_interval: pl.DataFrame,
    *,
    clusters: pl.DataFrame,
    window: Window,
    clocks: pl.DataFrame | None = None,
    factor: float = LEGACY_FACTOR,
    limits: Limits = DEFAULT_LIMITS,
) -> pl.DataFrame:
    """Return flags of the window's slots outside [Q1 - factor * IQR, Q3 + factor * IQR] of cluster, weekday and hour.

    `clusters` has meter_id and cluster_id; `clocks` meter_id and timezone, whose weekday and hour count (UTC without).
    Each meter counts relative to its mean over the `lookback_days` before the
    window, from which the quartiles come too, so that the fences of small and large meters compare; the bounds are
    given in the meter's kWh. Clusters with fewer than five meters have no fence. Score: d / (1 + d) with d the distance
    from the nearer quartile in interquartile ranges.
    """
    begins = window.starts_at_utc - timedelta(days=limits.lookback_days)
    rows = (
        _at_local_hours(readings_interval, clocks=clocks)
        .filter(pl.col("starts_at_utc") >= begins, pl.col("starts_at_utc") < window.ends_at_utc)
        .join(clusters.lazy().select("meter_id", "cluster_id"), on="meter_id", validate="m:1")
        .with_columns(is_past=pl.col("starts_at_utc") < window.starts_at_utc)
        .with_columns(usual_kwh=pl.col("energy_kwh").filter("is_past").mean().over("meter_id"))
        .filter(pl.col("usual_kwh") > 0)
        .with_columns(relative=pl.col("energy_kwh") / pl.col("usual_kwh"))
    )
    width = pl.col("high") - pl.col("low")
    lower, upper = pl.col("low") - factor * width, pl.col("high") + factor * width
    distance = pl.max_horizontal(pl.col("low") - pl.col("relative"), pl.col("relative") - pl.col("high")) / width
    outside = (
        rows.filter(pl.col("is_past").not_())
        .join(_fences(rows.filter("is_past")), on=_PLACE, validate="m:1")
        .filter((pl.col("relative") < lower) | (pl.col("relative") > upper))
        .with_columns(
            rule=pl.lit("iqr_fence"),
            score=distance / (1 + distance),
            actual_kwh="energy_kwh",
            expected_kwh=pl.col("expected") * pl.col("usual_kwh"),
            reason=pl.format(
                "Outside the fences {} .. {} kWh of cluster {}, {} % off its median.",
                (lower * pl.col("usual_kwh")).round_sig_figs(4),
                (upper * pl.col("usual_kwh")).round_sig_figs(4),
                "cluster_id",
                ((pl.col("relative") / pl.col("expected") - 1) * 100).round(0),
            ),
        )
        .collect()
    )
    columns = [name for name in ANOMALIES_FLAGS.column_names if name in outside.columns]
    return ANOMALIES_FLAGS.conform(outside.select(columns)).sort(ANOMALIES_FLAGS.key)


def _at_local_hours(readings: pl.DataFrame, *, clocks: pl.DataFrame | None) -> pl.LazyFrame:
    """Return readings with `weekday` (1 Monday) and `hour` of their meter's clock."""
    at = pl.col("starts_at_utc")
    if clocks is None:
        return readings.lazy().with_columns(weekday=at.dt.weekday(), hour=at.dt.hour())
    zoned = readings.lazy().join(clocks.lazy().select("meter_id", "timezone"), on="meter_id", how="left")
    zoned = zoned.with_columns(pl.col("timezone").fill_null("UTC"))
    parts = []
    for zone in clocks["timezone"].fill_null("UTC").append(pl.Series(["UTC"])).unique().sort():
        local = at.dt.convert_time_zone(zone)
        here = zoned.filter(pl.col("timezone") == zone)
        parts.append(here.with_columns(weekday=local.dt.weekday(), hour=local.dt.hour()))
    return pl.concat(parts).drop("timezone")


def _fences(past: pl.LazyFrame) -> pl.LazyFrame:
    """Return the quartiles and the median of `relative` of each cluster, weekday and hour with enough meters."""
    return (
        past.group_by(_PLACE)
        .agg(
            low=pl.col("relative").quantile(0.25, "linear"),
            high=pl.col("relative").quantile(0.75, "linear"),
            expected=pl.col("relative").median(),
            peers=pl.col("meter_id").n_unique(),
        )
        .filter(pl.col("peers") >= LEAST_PEERS, pl.col("high") > pl.col("low"))
    )
