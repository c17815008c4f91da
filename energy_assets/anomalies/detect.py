"""`energy detect` as a library: flags, events and scores for anybody's readings, without an instance.

The days are judged one after another, each by the eight weeks before it as in the nightly run; the first two weeks of a
meter teach and are judged by exact rules only where these need no past.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from energy_assets.anomalies.events import merge_flags
from energy_assets.anomalies.files import (
    as_readings,
    read_meters,
    read_readings,
    read_weather,
    with_cadence,
    write_table,
)
from energy_assets.anomalies.flags import judge
from energy_assets.anomalies.limits import DEFAULT_LIMITS, Limits
from energy_assets.contracts import Window
from energy_assets.errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Rows of `anomalies.flags` and `anomalies.events`, the score of every slot, the account, and notes for people."""

    flags: pl.DataFrame
    events: pl.DataFrame
    scores: pl.DataFrame
    report: dict[str, object]
    notes: tuple[str, ...] = ()


def detect(
    readings: pl.DataFrame,
    *,
    weather: pl.DataFrame | None = None,
    meters: pl.DataFrame | None = None,
    prices: pl.DataFrame | None = None,
    timezone: str = "UTC",
    country_code: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Detection:
    """Return what is wrong or odd in `readings` (meter_id, starts_at_utc, energy_kwh; null = missing).

    `weather` has starts_at_utc, temperature_c and perhaps site_id. `meters` has meter_id and perhaps site_id,
    commodity, capacity_kw, interval_minutes, timezone, country_code. `timezone` and `country_code` (holidays) hold for
    meters that declare none. A slot's score sees nothing after the end of its UTC day.

    Raises:
        SourceError: a column is absent, a value unreadable, or a meter's cadence does not divide a day.
    """
    missing = {"meter_id", "starts_at_utc", "energy_kwh"} - set(readings.columns)
    if missing:
        raise SourceError(f"The readings lack the columns {sorted(missing)}; rename yours to them.")
    declared = pl.DataFrame(schema={"meter_id": pl.String}) if meters is None else meters
    rows = with_cadence(as_readings(readings, place="The readings"), meters=declared)
    kept = rows.unique(["meter_id", "starts_at_utc"], keep="last", maintain_order=True)
    registry = _registry(kept, declared=declared, timezone=timezone, country_code=country_code)
    window = _days(kept)
    judgement = judge(
        kept, meters=registry, window=window, sites=_sites(registry), weather=weather, limits=limits, every_score=True
    )
    flags = pl.concat([judgement.flags, _duplicates(rows)], how="diagonal").sort("meter_id", "starts_at_utc", "rule")
    events = merge_flags(
        flags, meters=registry, as_of_utc=window.ends_at_utc, prices=prices, days=judgement.days, limits=limits
    )
    scores = kept.select("meter_id", "starts_at_utc").join(
        judgement.scores, on=["meter_id", "starts_at_utc"], how="full", coalesce=True, validate="1:1"
    )
    scores = scores.with_columns(pl.col("score").fill_null(0.0)).sort("meter_id", "starts_at_utc")
    return Detection(
        flags=flags,
        events=events,
        scores=scores,
        report=_report(readings, kept, flags=flags, events=events, limits=limits),
    )


def detect_files(
    readings_path: Path,
    *,
    flags_path: Path,
    events_path: Path,
    scores_path: Path | None = None,
    report_path: Path | None = None,
    weather_path: Path | None = None,
    meters_path: Path | None = None,
    timezone: str = "UTC",
    country_code: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Detection:
    """Read files, detect, write files (CSV or Parquet by their ending, the report as JSON), and return the detection.

    Raises:
        SourceError: a file is absent, unreadable or incomplete; the message names file, column or row, and remedy.
    """
    rows = read_readings(readings_path).rename({"reported_kwh": "energy_kwh"})
    found = detect(
        rows,
        weather=None if weather_path is None else read_weather(weather_path),
        meters=None if meters_path is None else read_meters(meters_path),
        timezone=timezone,
        country_code=country_code,
        limits=limits,
    )
    write_table(found.flags, flags_path)
    write_table(found.events, events_path)
    if scores_path is not None:
        write_table(found.scores, scores_path)
    if report_path is not None:
        report_path.write_text(json.dumps(found.report, indent=2, default=str) + "\n", encoding="utf-8")
    return found


def _registry(rows: pl.DataFrame, *, declared: pl.DataFrame, timezone: str, country_code: str | None) -> pl.DataFrame:
    """Return one row a meter; meters without a site share one by clock and country."""
    meters = rows.group_by("meter_id").agg(pl.col("interval_minutes").first())
    extra = declared.drop("interval_minutes", strict=False)
    meters = meters.join(extra, on="meter_id", how="left", validate="1:1")
    absent = [name for name in ("site_id", "commodity", "timezone", "country_code") if name not in meters.columns]
    meters = meters.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    return meters.with_columns(
        timezone=pl.col("timezone").fill_null(timezone),
        country_code=pl.col("country_code").fill_null(pl.lit(country_code, dtype=pl.String)),
    ).with_columns(
        site_id=pl.coalesce("site_id", pl.concat_str("timezone", pl.col("country_code").fill_null(""), separator="|"))
    )


def _sites(registry: pl.DataFrame) -> pl.DataFrame:
    sites = registry.select("site_id", "timezone", "country_code").unique()
    twice = sites.filter(pl.col("site_id").is_duplicated())
    if twice.height:
        raise SourceError(
            f"Meters of site {twice['site_id'][0]} declare different time zones or countries; a site has one clock."
        )
    return sites


def _days(rows: pl.DataFrame) -> Window:
    days = rows.select(first=pl.col("starts_at_utc").min().dt.date(), last=pl.col("starts_at_utc").max().dt.date())
    return Window.of_days(days["first"].item(), days["last"].item())


def _duplicates(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a flag for every slot that came with several different values; the last one was used."""
    counted = (
        rows.group_by("meter_id", "starts_at_utc", maintain_order=True)
        .agg(values=pl.col("reported_kwh").n_unique(), actual_kwh=pl.col("reported_kwh").last())
        .filter(pl.col("values") > 1)
    )
    return counted.select(
        "meter_id",
        "starts_at_utc",
        rule=pl.lit("duplicate"),
        score=pl.lit(0.5),
        reason=pl.format("{} different values came for this interval; the last one was used.", "values"),
        actual_kwh="actual_kwh",
    )


def _report(
    given: pl.DataFrame, kept: pl.DataFrame, *, flags: pl.DataFrame, events: pl.DataFrame, limits: Limits
) -> dict[str, object]:
    days = kept.group_by("meter_id").agg(
        days=(pl.col("starts_at_utc").max() - pl.col("starts_at_utc").min()) / timedelta(days=1)
    )
    short = days.filter(pl.col("days") < limits.least_history_days)["meter_id"].sort().to_list()
    alerts = events.filter("is_alert")
    return {
        "rows_in": given.height,
        "rows_used": kept.height,
        "rows_repeated": given.height - kept.height,
        "rows_without_value": int(kept["reported_kwh"].null_count()),
        "meters": kept["meter_id"].n_unique(),
        "meters_with_too_short_a_history": short,
        "first_slot_utc": kept["starts_at_utc"].min(),
        "last_slot_utc": kept["starts_at_utc"].max(),
        "flags": dict(sorted(flags["rule"].value_counts().iter_rows())),
        "events": events.height,
        "alerts": alerts.height,
        "alerts_by_cause": dict(sorted(alerts["cause"].value_counts().iter_rows())),
        "excess_kwh_of_alerts": float(alerts["excess_kwh"].sum()),
        "limits": limits.model_dump(),
    }
