"""Weather as it was believed at an issue time: the only road by which a model gets weather.

Past hours come from observations that were available, coming hours from the newest forecast that had been issued. What
became known later changes nothing; the leak tests shuffle it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from energy_assets.contracts import UTC_TIME, WEATHER_QUANTITIES


def as_known(
    observed: pl.DataFrame,
    forecast: pl.DataFrame,
    *,
    issues: Sequence[datetime],
    horizon: timedelta,
    past: timedelta = timedelta(days=8),
    is_actual_allowed: bool = False,
) -> pl.DataFrame:
    """Return, per site, issue and hour, the weather as believed at the issue.

    Args:
        observed: rows of `weather.observed`.
        forecast: rows of `weather.forecast`.
        issues: issue times; the result holds rows from `past` before each to `horizon` after it.
        horizon: how far ahead rows are wanted.
        past: how far back rows are wanted.
        is_actual_allowed: where no forecast covers an hour ahead, let the observation serve as its own forecast. This
            flatters a model; such rows say so in `weather_kind`.

    Returns:
        site_id, issued_at_utc, starts_at_utc, the quantities of the contract, weather_kind
        (observed, forecast or actual_as_forecast).
    """
    quantities = list(WEATHER_QUANTITIES)
    span = pl.DataFrame({"issued_at_utc": pl.Series(sorted(issues), dtype=UTC_TIME)}).lazy()
    seen = observed.lazy().select("site_id", "starts_at_utc", "available_at_utc", *quantities)
    around = span.join(seen, how="cross") if len(issues) == 1 else _near(span, seen, past=past, horizon=horizon)
    around = around.filter(
        pl.col("starts_at_utc") >= pl.col("issued_at_utc") - past,
        pl.col("starts_at_utc") < pl.col("issued_at_utc") + horizon,
    )
    was_known = pl.col("available_at_utc") <= pl.col("issued_at_utc")
    parts = [
        around.filter(was_known).with_columns(weather_kind=pl.lit("observed"), rank=pl.lit(0)),
        _newest_forecasts(span, forecast, horizon=horizon).with_columns(
            weather_kind=pl.lit("forecast"), rank=pl.lit(1)
        ),
    ]
    if is_actual_allowed:
        parts.append(around.filter(~was_known).with_columns(weather_kind=pl.lit("actual_as_forecast"), rank=pl.lit(2)))
    key = ["site_id", "issued_at_utc", "starts_at_utc"]
    columns = [*key, *quantities, "weather_kind", "rank"]
    return (
        pl.concat([part.select(columns) for part in parts])
        .sort(*key, "rank")
        .unique(key, keep="first", maintain_order=True)
        .drop("rank")
        .collect()
    )


def _near(span: pl.LazyFrame, seen: pl.LazyFrame, *, past: timedelta, horizon: timedelta) -> pl.LazyFrame:
    """Return every issue beside the observations of the days around it."""
    days = (past.days + 1, horizon.days + 1)
    reach = pl.int_ranges(-days[0], days[1] + 1)
    near = span.with_columns(day=pl.col("issued_at_utc").dt.date(), reach=reach).explode("reach")
    near = near.with_columns(day=pl.col("day") + pl.duration(days=pl.col("reach"))).drop("reach")
    return near.join(seen.with_columns(day=pl.col("starts_at_utc").dt.date()), on="day").drop("day")


def _one_voice(forecast: pl.DataFrame) -> pl.DataFrame:
    """Return the mean of what several models said at one issue: better, in the long run, than any one of them."""
    if forecast["source"].n_unique() <= 1:
        return forecast
    means = [pl.col(name).mean() for name in WEATHER_QUANTITIES if name != "wind_direction_deg"]
    # Directions have no plain mean: the first model's stands.
    direction = pl.col("wind_direction_deg").drop_nulls().first()
    return forecast.sort("source").group_by("site_id", "issued_at_utc", "starts_at_utc").agg(*means, direction)


def _newest_forecasts(span: pl.LazyFrame, forecast: pl.DataFrame, *, horizon: timedelta) -> pl.LazyFrame:
    """Return for every issue the rows of the newest forecast of each site that was available by then."""
    quantities = list(WEATHER_QUANTITIES)
    runs = forecast.lazy().group_by("site_id", run_at_utc="issued_at_utc").agg(pl.col("available_at_utc").max())
    # A run counts from the moment it was both issued and available; older than its own horizon it says nothing.
    chosen = (
        span.join(runs, how="cross")
        .filter(
            pl.max_horizontal("available_at_utc", "run_at_utc") <= pl.col("issued_at_utc"),
            pl.col("run_at_utc") > pl.col("issued_at_utc") - timedelta(days=7),
        )
        .sort("run_at_utc")
        .group_by("site_id", "issued_at_utc")
        .agg(pl.col("run_at_utc").last())
    )
    rows = _one_voice(forecast).lazy().select("site_id", "starts_at_utc", *quantities, run_at_utc="issued_at_utc")
    return chosen.join(rows, on=["site_id", "run_at_utc"]).filter(
        pl.col("starts_at_utc") >= pl.col("issued_at_utc"),
        pl.col("starts_at_utc") < pl.col("issued_at_utc") + horizon,
    )
