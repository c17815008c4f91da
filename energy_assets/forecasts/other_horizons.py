"""Forecasts of other horizons than the delivery date as rows of their tables, and how good they were.

The outlook of ninety days and the next hours are measured when the nightly skill is, on the days and slots of its
issue, per commodity and direction over all meters: rows of `forecasts.skill` with the models `outlook` and `ahead`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import polars as pl

from energy_assets.contracts import FORECASTS_AHEAD, FORECASTS_OUTLOOK, FORECASTS_SKILL, QUANTILE_COLUMNS, UTC_TIME
from energy_assets.forecasts.nodes import PORTFOLIO
from energy_assets.forecasts.outlook import outlook
from energy_assets.forecasts.short_term import ShortTerm

REACH_BACK = timedelta(days=500)
"""How much of the past an outlook is made from: the same season a year ago and the weeks before it."""
BUCKETS_DAYS = ((1, 7), (8, 30), (31, 60), (61, 90))
_USUAL = timedelta(days=28)


def outlook_rows(daily: pl.DataFrame, *, issued_at_utc: datetime) -> pl.DataFrame:
    """Return rows of `forecasts.outlook` from the day of the issue on; `daily` as `outlook.daily_energy` returns it."""
    first_day = issued_at_utc.date()
    found = outlook(daily, first_day=first_day)
    recent = pl.col("local_date").is_between(first_day - _USUAL, first_day, closed="left")
    usual = daily.filter(recent).group_by("meter_id").agg(mean_kwh=pl.col("energy_kwh").sort().mean())
    both = pl.concat(
        [
            found.days.with_columns(days=pl.lit(1, pl.Int64)),
            found.totals.with_columns(local_date=pl.lit(first_day)).select(
                "meter_id", "local_date", *QUANTILE_COLUMNS, "days"
            ),
        ]
    )
    rows = both.join(usual, on="meter_id", how="left", validate="m:1").select(
        pl.exclude("mean_kwh"),
        usual_kwh=pl.col("mean_kwh") * pl.col("days"),
        issued_at_utc=pl.lit(issued_at_utc, UTC_TIME),
    )
    return FORECASTS_OUTLOOK.conform(rows.sort(FORECASTS_OUTLOOK.key))


def ahead_rows(found: ShortTerm) -> pl.DataFrame:
    """Return rows of `forecasts.ahead`: every interval, and the sum of all of a meter's."""
    intervals = found.intervals.rename({"node_id": "meter_id", "interval_minutes": "minutes"})
    starts = intervals.group_by("meter_id").agg(pl.col("starts_at_utc").min())
    sums = found.sums.join(starts, on="meter_id", how="left", validate="1:1").with_columns(
        minutes=(pl.col("hours") * 60).round().cast(pl.Int64),
        method=pl.lit("sum"),
        reason=pl.lit(None, pl.String),
    )
    columns = FORECASTS_AHEAD.column_names
    # A meter whose interval is as long as the horizon has one row, not two of the same key.
    both = pl.concat([intervals.select(columns), sums.select(columns)])
    return FORECASTS_AHEAD.conform(both.unique(FORECASTS_AHEAD.key, keep="first").sort(FORECASTS_AHEAD.key))


def skill_of_outlook(
    rows: pl.DataFrame, *, daily: pl.DataFrame, meters: pl.DataFrame, issues: Mapping[date, datetime]
) -> pl.DataFrame:
    """Return rows of `forecasts.skill` of the single days in `rows` (of `forecasts.outlook`) that have been read.

    `daily` is what `outlook.daily_energy` returns; `issues` gives by local day the issue that it is measured with.
    Metrics: `outlook_nmae_01_07d` and alike, beside that of the usual day as `mean_4_weeks`, and coverage.
    """
    actual = daily.filter(pl.col("energy_kwh").is_finite()).rename({"energy_kwh": "actual_kwh"})
    ahead = (pl.col("local_date") - pl.col("issued_at_utc").dt.date()).dt.total_days() + 1
    lead = pl.lit(None, pl.String)
    for low, high in BUCKETS_DAYS:
        lead = pl.when(ahead.is_between(low, high)).then(pl.lit(f"{low:02d}_{high:02d}d")).otherwise(lead)
    at = pl.DataFrame(
        {"local_date": list(issues), "window_start_utc": list(issues.values())},
        schema={"local_date": pl.Date(), "window_start_utc": UTC_TIME},
    )
    compared = (
        rows.filter(pl.col("days") == 1)
        .join(at, on="local_date", how="inner", validate="m:1")
        .join(actual, on=["meter_id", "local_date"], how="inner", validate="m:1")
        .with_columns(lead=lead)
    )
    return _skill(compared, meters=meters, model="outlook", rivals={"mean_4_weeks": "usual_kwh"})


def skill_of_ahead(
    rows: pl.DataFrame, *, readings: pl.DataFrame, meters: pl.DataFrame, issues: Mapping[date, datetime]
) -> pl.DataFrame:
    """Return rows of `forecasts.skill` of the next interval and of the sums in `rows` (of `forecasts.ahead`).

    `readings` are rows of `readings.interval` of their slots and of a week before; `issues` gives by UTC day the issue
    that what was issued on it is measured with. Metrics: `ahead_nmae_next`, `ahead_nmae_sum`, coverage alike.
    """
    known = readings.filter(pl.col("energy_kwh").is_finite()).select(
        "meter_id", "starts_at_utc", "interval_minutes", "energy_kwh"
    )
    firsts = pl.col("starts_at_utc") == pl.col("starts_at_utc").min().over("meter_id", "issued_at_utc")
    wanted = rows.filter(firsts).with_columns(
        lead=pl.when(pl.col("method") == "sum").then(pl.lit("sum")).otherwise(pl.lit("next"))
    )
    for name, before in (("actual_kwh", timedelta()), ("last_week", timedelta(weeks=1))):
        wanted = wanted.join(_energy_of(wanted, known, before=before).rename({"energy_kwh": name}),
                             on=list(FORECASTS_AHEAD.key), how="left", validate="1:1")  # fmt: skip
    at = pl.DataFrame(
        {"day": list(issues), "window_start_utc": list(issues.values())},
        schema={"day": pl.Date(), "window_start_utc": UTC_TIME},
    )
    compared = wanted.drop_nulls(["actual_kwh", "last_week"]).with_columns(day=pl.col("issued_at_utc").dt.date())
    compared = compared.join(at, on="day", how="inner", validate="m:1")
    return _skill(compared, meters=meters, model="ahead", rivals={"last_week": "last_week"})


def _energy_of(rows: pl.DataFrame, known: pl.DataFrame, *, before: timedelta) -> pl.DataFrame:
    """Return the energy of each row's span, that long before; rows of which an interval is unknown are left out."""
    key = list(FORECASTS_AHEAD.key)
    cadence = known.group_by("meter_id").agg(pl.col("interval_minutes").min())
    slots = (
        rows.select(key)
        .join(cadence, on="meter_id", how="inner", validate="m:1")
        .with_columns(step=pl.int_ranges(0, pl.col("minutes"), pl.col("interval_minutes")))
        .explode("step")
        .with_columns(at=pl.col("starts_at_utc") + pl.duration(minutes="step") - before)
    )
    met = slots.join(known.select("meter_id", "energy_kwh", at="starts_at_utc"), on=["meter_id", "at"], how="left")
    sums = met.group_by(key).agg(pl.col("energy_kwh").sort().sum(), whole=pl.col("energy_kwh").is_not_null().all())
    return sums.filter("whole").drop("whole")


def _skill(compared: pl.DataFrame, *, meters: pl.DataFrame, model: str, rivals: Mapping[str, str]) -> pl.DataFrame:
    """Return skill rows of rows with actual_kwh, lead and window_start_utc, pooled over the meters of a kind."""
    kinds = meters.select("meter_id", node_id=pl.concat_str(pl.lit(PORTFOLIO), "commodity", "direction", separator="|"))
    table = (
        compared.filter(pl.col("lead").is_not_null())
        .join(kinds, on="meter_id", how="inner", validate="m:1")
        .group_by("node_id", "window_start_utc", "lead")
        .agg(
            pl.col("actual_kwh").abs().sum().alias("energy"),
            *((pl.col(column) - pl.col("actual_kwh")).abs().sum().alias(name)
              for name, column in {model: "q50", **rivals}.items()),
            pl.col("actual_kwh").is_between("q10", "q90").mean().alias("covered"),
        )
        .filter(pl.col("energy") > 0)
    )  # fmt: skip
    parts = [
        table.select(
            "node_id", "window_start_utc",
            model=pl.lit(name),
            window_days=pl.lit(1, pl.Int64),
            metric=pl.concat_str(pl.lit(f"{model}_nmae_"), "lead"),
            value=pl.col(name) / pl.col("energy"),
        )
        for name in (model, *rivals)
    ]  # fmt: skip
    covered = table.select(
        "node_id", "window_start_utc",
        model=pl.lit(model),
        window_days=pl.lit(1, pl.Int64),
        metric=pl.concat_str(pl.lit(f"{model}_coverage_80_"), "lead"),
        value="covered",
    )  # fmt: skip
    columns = FORECASTS_SKILL.column_names
    return FORECASTS_SKILL.conform(pl.concat([each.select(columns) for each in (*parts, covered)]).drop_nulls("value"))
