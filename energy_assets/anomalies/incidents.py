"""One site-wide incident instead of forty events, when many meters of a site go wrong together.

A gateway that fails makes data faults that begin together; a bad weather feed makes odd consumption of one sign.
"""

from __future__ import annotations

import hashlib

import polars as pl

from energy_assets.anomalies.limits import Limits

_SEVERITIES = pl.Enum(["low", "medium", "high", "critical"])


def with_incidents(events: pl.DataFrame, *, meters: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Return the events, their members marked with `incident_id` and silenced, and one row for each incident.

    Events of one site and family are together when each begins within `incident_hours` (a day for consumption) of the
    one before it, and they concern `incident_least_meters` and `incident_share` of the site's meters.
    """
    if "site_id" not in meters.columns or events.is_empty():
        return events.with_columns(incident_id=pl.lit(None, dtype=pl.String))
    sizes = meters.group_by("site_id").agg(site_meters=pl.col("meter_id").n_unique())
    near = pl.when(pl.col("family") == "data_fault").then(pl.lit(limits.incident_hours)).otherwise(pl.lit(24.0))
    gap = pl.col("starts_at_utc").diff().over("site_id", "family").dt.total_minutes() / 60
    numbered = (
        events.sort("site_id", "family", "starts_at_utc", "event_id")
        .with_columns(group=(gap.is_null() | (gap > near)).cum_sum())
        .join(sizes, on="site_id", how="left", validate="m:1")
        .with_columns(members=pl.col("meter_id").n_unique().over("group"))
    )
    together = (
        (pl.col("members") >= limits.incident_least_meters)
        & (pl.col("members") >= limits.incident_share * pl.col("site_meters"))
    ).fill_null(value=False)
    marked = numbered.with_columns(is_member=together)
    rows = _incidents(marked.filter("is_member"))
    marked = marked.join(rows.select("group", "incident_id"), on="group", how="left", validate="m:1").with_columns(
        is_alert=pl.col("is_alert") & ~pl.col("is_member")
    )
    return pl.concat([marked.drop("group", "site_meters", "members", "is_member"), rows.drop("group")], how="diagonal")


def _incidents(members: pl.DataFrame) -> pl.DataFrame:
    rows = members.group_by("group", maintain_order=True).agg(
        pl.col("site_id", "family").first(),
        pl.col("cause").mode().sort().first(),
        confidence=(pl.col("cause") == pl.col("cause").mode().sort().first()).mean(),
        starts_at_utc=pl.col("starts_at_utc").min(),
        ends_at_utc=pl.col("ends_at_utc").max(),
        slots=pl.col("slots").sum(),
        score=pl.col("score").max(),
        meters=pl.col("meter_id").n_unique().cast(pl.Int64),
        **{
            name: pl.when(pl.col(name).count() > 0).then(pl.col(name).sum())
            for name in ("actual_kwh", "expected_kwh", "excess_kwh", "excess_low_kwh", "excess_high_kwh", "cost")
        },
        greenhouse_gas_kg=pl.when(pl.col("greenhouse_gas_kg").count() > 0).then(pl.col("greenhouse_gas_kg").sum()),
        severity=pl.col("severity").cast(_SEVERITIES).max().cast(pl.String),
        is_alert=pl.col("is_alert").any(),
        state=pl.when((pl.col("state") == "open").any()).then(pl.lit("open")).otherwise(pl.lit("closed")),
    )
    ids = [
        hashlib.sha256(f"{site}|incident|{family}|{start.isoformat()}".encode()).hexdigest()[:16]
        for site, family, start in rows.select("site_id", "family", "starts_at_utc").iter_rows()
    ]
    together = pl.format(
        "{} meters of {} together: {}.", "meters", "site_id", pl.col("cause").str.replace_all("_", " ")
    )
    return rows.with_columns(
        event_id=pl.Series(ids, dtype=pl.String),
        incident_id=pl.Series(ids, dtype=pl.String),
        meter_id=pl.lit(None, dtype=pl.String),
        evidence=together,
    )
