"""What a young meter's own first days say of an hour, and how much they count beside the shape of its peers.

Each hour of the clock is a mean of its own: days of the same kind count in full, days of the other kind a little. The
weights were chosen on meters of which only the first days were shown (`python bench/profiles.py`, docs/profiles.md).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS

MOST_DAYS = 14.0
"""A meter with more days of readings is no newcomer."""
PEERS_COUNT_DAYS = 0.5
"""The peers count as much as so many own days of the kind."""
PEERS_COUNT_OTHER_DAYS = 1.0
"""What is left of the peers counts as much as so many own days of the other kind."""
BAND_GAIN = 0.3
"""Share of the band that the own days would take away if they counted for all."""
_CLOCK = ("local_hour", "is_weekend")


def first_days(
    readings: pl.DataFrame, *, known: pl.DataFrame, sites: pl.DataFrame, issued_at_utc: datetime
) -> pl.DataFrame:
    """Return the mean energy of each local hour of meters with up to 14 days: by kind of day, and over all days.

    Columns: meter_id, local_hour, is_weekend, kind_kwh and kind_days (null where no such day was seen), any_kwh and
    any_days. `known` as `standing` gives it; `readings` of later than the issue are not looked at.
    """
    zones = sites.select("site_id", "timezone")
    young = known.filter(pl.col("known_days") > 0, pl.col("known_days") <= MOST_DAYS).select("meter_id", "site_id")
    rows = (
        (readings if young.height else readings.head(0))
        .join(young, on="meter_id", how="inner", validate="m:1")
        .filter(
            pl.col("starts_at_utc") < issued_at_utc,
            pl.col("available_at_utc") <= issued_at_utc,
            pl.col("energy_kwh").is_finite(),
        )
        .join(zones, on="site_id", how="left", validate="m:1")
        .with_columns(pl.col("timezone").fill_null("UTC"))
    )
    frames = [
        rows.head(0).select("meter_id", "energy_kwh", _local("UTC").dt.date().alias("local_date"), *_clock("UTC"))
    ]
    for (timezone,), part in rows.partition_by("timezone", as_dict=True).items():
        local = _local(str(timezone))
        frames.append(
            part.select("meter_id", "energy_kwh", local.dt.date().alias("local_date"), *_clock(str(timezone)))
        )
    hours = pl.concat(frames)
    energy, days = pl.col("energy_kwh").sort().mean(), pl.col("local_date").n_unique()
    of_kind = hours.group_by("meter_id", *_CLOCK).agg(kind_kwh=energy, kind_days=days)
    of_any = hours.group_by("meter_id", "local_hour").agg(any_kwh=energy, any_days=days)
    both = of_any.join(pl.DataFrame({"is_weekend": [False, True]}), how="cross")
    return both.join(of_kind, on=["meter_id", *_CLOCK], how="left", validate="1:1").sort("meter_id", *_CLOCK)


def with_first_days(quantiles: pl.DataFrame, *, slots: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """Return the quantiles of slots moved towards the meter's own first days, as far as there are any.

    `quantiles` has meter_id, starts_at_utc and QUANTILE_COLUMNS in kWh, `slots` the clock of each slot. The band keeps
    its width about the median that moves, less what the own days took away of the doubt between peers.
    """
    clock = slots.select("meter_id", "starts_at_utc", *_CLOCK)
    rows = quantiles.join(clock, on=["meter_id", "starts_at_utc"], how="left", validate="m:1", maintain_order="left")
    rows = rows.join(own, on=["meter_id", *_CLOCK], how="left", validate="m:1", maintain_order="left")
    kind, other = pl.col("kind_days").fill_null(0), (pl.col("any_days") - pl.col("kind_days").fill_null(0)).fill_null(0)
    of_kind = kind / (kind + PEERS_COUNT_DAYS)
    of_any = (1 - of_kind) * other / (other + PEERS_COUNT_OTHER_DAYS)
    median = pl.col("q50")
    moved = (
        median
        + of_kind * (pl.col("kind_kwh").fill_null(0) - median)
        + of_any * (pl.col("any_kwh").fill_null(0) - median)
    )  # fmt: skip
    narrower = 1 - BAND_GAIN * (of_kind + of_any)
    return rows.with_columns(
        (moved + narrower * (pl.col(name) - median)).clip(lower_bound=0).alias(name) for name in QUANTILE_COLUMNS
    ).select(quantiles.columns)


def _local(timezone: str) -> pl.Expr:
    return pl.col("starts_at_utc").dt.convert_time_zone(timezone)


def _clock(timezone: str) -> tuple[pl.Expr, pl.Expr]:
    local = _local(timezone)
    return local.dt.hour().alias("local_hour"), (local.dt.weekday() > 5).alias("is_weekend")
