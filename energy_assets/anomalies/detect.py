"""`energy detect` as a library: flags, events and scores for anybody's readings, without an instance.

The days are judged one after another, each by the eight weeks before it as in the nightly run; the first two weeks of a
meter teach and are judged by exact rules only where these need no past.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from energy_assets.anomalies.events import merged_events
from energy_assets.anomalies.files import (
    as_readings,
    read_meters,
    read_readings,
    read_weather,
    with_raster,
)
from energy_assets.anomalies.flags import Judgement, judge
from energy_assets.anomalies.limits import DEFAULT_LIMITS, Limits
from energy_assets.contracts import Window
from energy_assets.errors import SourceError
from energy_assets.readings.own_files import write_table

_DAYS_AT_ONCE = 122


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
    rows = with_raster(as_readings(readings, place="The readings"), meters=declared)
    kept = rows.unique(["meter_id", "starts_at_utc"], keep="last", maintain_order=True)
    registry = _registry(kept, declared=declared, timezone=timezone, country_code=country_code)
    judgement = _judged(kept, registry=registry, weather=weather, limits=limits)
    flags = pl.concat([judgement.flags, _duplicates(rows)], how="diagonal").sort("meter_id", "starts_at_utc", "rule")
    events = merged_events(
        flags, meters=registry, as_of_utc=_end_of(kept), prices=prices, days=judgement.days, limits=limits
    )
    flags, scores = _as_given(flags, kept=kept), _as_given(_every_score(kept, judgement.scores), kept=kept)
    return Detection(
        flags=flags,
        events=_shifted(events, kept=kept),
        scores=scores.sort("meter_id", "starts_at_utc"),
        report=_report(readings, rows, kept, flags=flags, events=events, limits=limits),
        notes=tuple(_notes(rows, kept=kept, declared=declared, weather=weather, limits=limits)),
    )


def _judged(rows: pl.DataFrame, *, registry: pl.DataFrame, weather: pl.DataFrame | None, limits: Limits) -> Judgement:
    """Return the judgement of all days, a season at a time: a stray row of another century costs nothing."""
    day = pl.col("starts_at_utc").dt.epoch("d")
    known = rows.select(day.unique().sort())["starts_at_utc"].to_numpy()
    last = int(known[-1])
    wanted = {piece for back in (0, limits.lookback_days) for piece in np.minimum(known + back, last) // _DAYS_AT_ONCE}
    parts = []
    for piece in sorted(int(number) for number in wanted):
        first = max(piece * _DAYS_AT_ONCE, int(known[0]))
        window = Window.of_days(_date(first), _date(min((piece + 1) * _DAYS_AT_ONCE - 1, last)))
        near = rows.filter(
            pl.col("starts_at_utc") >= window.starts_at_utc - timedelta(days=limits.lookback_days),
            pl.col("starts_at_utc") < window.ends_at_utc,
        )
        parts.append(
            judge(
                near, meters=registry, window=window, sites=_sites(registry), weather=weather, limits=limits,
                every_score=True,
            )
        )  # fmt: skip
    return Judgement.together(parts)


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)


def _end_of(rows: pl.DataFrame) -> datetime:
    newest: datetime = rows["starts_at_utc"].max()  # type: ignore[assignment]
    return newest.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _every_score(kept: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Return the score of every slot that was given or judged; one that was not judged is not odd: 0."""
    both = kept.select("meter_id", "starts_at_utc").join(
        judged, on=["meter_id", "starts_at_utc"], how="full", coalesce=True, validate="1:1"
    )
    return both.with_columns(pl.col("score").fill_null(0.0))


def _as_given(rows: pl.DataFrame, *, kept: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the times that were given; a slot without a reading lies where the meter's raster has it."""
    slots = kept.select("meter_id", "starts_at_utc", "given_at_utc")
    shifts = kept.select("meter_id", "shift").unique("meter_id")
    return (
        rows.join(slots, on=["meter_id", "starts_at_utc"], how="left", validate="m:1")
        .join(shifts, on="meter_id", how="left", validate="m:1")
        .with_columns(starts_at_utc=pl.coalesce("given_at_utc", pl.col("starts_at_utc") + pl.col("shift")))
        .select(rows.columns)
    )


def _shifted(events: pl.DataFrame, *, kept: pl.DataFrame) -> pl.DataFrame:
    """Return events on their meter's raster."""
    shifts = kept.select("meter_id", "shift").unique("meter_id")
    behind = pl.col("shift").fill_null(timedelta(0))
    return (
        events.join(shifts, on="meter_id", how="left", validate="m:1")
        .with_columns(pl.col("starts_at_utc") + behind, pl.col("ends_at_utc") + behind)
        .select(events.columns)
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
        site_id=pl.coalesce(
            "site_id", pl.concat_str(pl.lit("undeclared"), "timezone", "country_code", separator=" ", ignore_nulls=True)
        )
    )


def _sites(registry: pl.DataFrame) -> pl.DataFrame:
    sites = registry.select("site_id", "timezone", "country_code").unique()
    twice = sites.filter(pl.col("site_id").is_duplicated())
    if twice.height:
        raise SourceError(
            f"Meters of site {twice['site_id'][0]} declare different time zones or countries; a site has one clock."
        )
    return sites


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
    given: pl.DataFrame, rows: pl.DataFrame, kept: pl.DataFrame, *,
    flags: pl.DataFrame, events: pl.DataFrame, limits: Limits,
) -> dict[str, object]:  # fmt: skip
    alerts = events.filter("is_alert")
    return {
        "rows_in": given.height,
        "rows_used": kept.height,
        "rows_repeated": given.height - kept.height,
        "rows_without_value": int(kept["reported_kwh"].null_count()),
        "rows_beside_their_raster": _beside(rows).height,
        "meters": kept["meter_id"].n_unique(),
        "meters_with_too_short_a_history": _short(kept, limits=limits),
        "first_slot_utc": kept["given_at_utc"].min(),
        "last_slot_utc": kept["given_at_utc"].max(),
        "flags": dict(sorted(flags["rule"].value_counts().iter_rows())),
        "events": events.height,
        "alerts": alerts.height,
        "alerts_by_cause": dict(sorted(alerts["cause"].value_counts().iter_rows())),
        "excess_kwh_of_alerts": float(alerts["excess_kwh"].sum()),
        "limits": limits.model_dump(),
    }


def _beside(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("given_at_utc") != pl.col("starts_at_utc") + pl.col("shift"))


def _short(kept: pl.DataFrame, *, limits: Limits) -> list[str]:
    days = kept.drop_nulls("reported_kwh").group_by("meter_id").agg(
        days=pl.col("starts_at_utc").dt.truncate("1d").n_unique()
    )  # fmt: skip
    enough = days.filter(pl.col("days") > limits.least_history_days)
    return kept.select("meter_id").unique().join(enough, on="meter_id", how="anti")["meter_id"].sort().to_list()


def _notes(
    rows: pl.DataFrame, *, kept: pl.DataFrame, declared: pl.DataFrame, weather: pl.DataFrame | None, limits: Limits
) -> Iterator[str]:
    """Yield what a person should know about their files before trusting what was found, or not found."""
    short = _short(kept, limits=limits)
    if short:
        yield (
            f"{len(short)} meters have readings on {limits.least_history_days} days or fewer, for instance {short[0]}: "
            "too little to say what is usual, so only rules that need no past judge them."
        )
    if beside := _beside(rows).height:
        yield f"{beside:,} readings lie beside their meter's raster; each counts for the nearest slot."
    if rows.height > kept.height:
        yield f"{rows.height - kept.height:,} readings came for a slot that had one; the last of each was used."
    unknown = kept.select("meter_id").unique().join(declared, on="meter_id", how="anti")
    if declared.height and unknown.height:
        first = unknown["meter_id"].sort().to_list()[0]
        yield f"{unknown.height} meters are not in the meters file, for instance {first}."
    if weather is not None:
        day = pl.col("starts_at_utc").dt.truncate("1d")
        days, known = kept.select(day.unique()), weather.select(day.unique())
        bare = days.join(known, on="starts_at_utc", how="anti").height
        if bare:
            yield f"The weather has nothing for {bare} of {days.height} days; these take the last known day before."
