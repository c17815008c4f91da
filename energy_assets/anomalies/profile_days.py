"""The shape score: a day against the meter's own load profile of the year, for what went on until it seemed usual.

The expectation of the detectors forgets in eight weeks; a weekend or a night that has been left on for months is as
expected then, and still unlike the profile. A detector of its own beside the scores: its flags tell and open no event.
"""

from __future__ import annotations

import polars as pl

from energy_assets.contracts import ANOMALIES_FLAGS, Window
from energy_assets.profiles.clocks import at_site_clocks

RULE = "unlike_profile"
LEAST_HOURS = 10
"""Fewer hours of a local day inside a UTC day say nothing of its shape."""
LEAST_TOWARD = 0.02
"""So much more like the other kind of day, as a difference of cosines, is a day that runs like the other kind."""
LEAST_PART = 0.6
"""And so far its energy has gone from its own kind towards the other kind's."""
LEAST_CONTRAST = 1.25
"""Kinds of day whose energy differs by less are the same to the meter."""
NIGHT_HOURS = (0, 1, 2, 3, 4, 22, 23)
WORKING_HOURS = tuple(range(9, 17))
MOST_USUAL_NIGHT = 0.6
"""A profile whose night is above this share of its day has no night to leave on."""
_CELL = ["meter_id", "season", "day_kind", "local_hour"]


def profile_flags(
    readings_interval: pl.DataFrame,
    *,
    meters: pl.DataFrame,
    sites: pl.DataFrame,
    shapes: pl.DataFrame,
    calendar: pl.DataFrame,
    window: Window,
) -> pl.DataFrame:
    """Return flags `unlike_profile` of the window: days of rest that run like working days, and nights like days.

    `shapes` are rows of `profiles.shapes` that were made before the window, `calendar` as `features.site_days` gives
    it. Electricity alone is judged, and only what is drawn: the nights of heat and cold follow the weather. A UTC day
    is judged by itself; its hours of a local date count when they are ten or more. The score is how far
    the energy went from the meter's own kind of day (its own night) to the other kind (its working hours): a half
    where it went all the way, and one half more for likeness.
    """
    hours = _hours(readings_interval, meters=meters, sites=sites, calendar=calendar, window=window)
    profile = shapes.select(*_CELL, own_kw="mean_kw")
    other = profile.with_columns(
        day_kind=pl.when(pl.col("day_kind") == "rest").then(pl.lit("working")).otherwise(pl.lit("rest"))
    ).rename({"own_kw": "other_kw"})
    rows = hours.join(profile, on=_CELL, how="inner", validate="m:1").join(other, on=_CELL, how="left", validate="m:1")
    found = pl.concat([_rest_like_work(rows), _night_like_day(rows)])
    found = found.sort("score", descending=True).unique(["meter_id", "starts_at_utc"], keep="first")
    flags = found.with_columns(
        rule=pl.lit(RULE), actual_kwh="energy_kwh", expected_kwh=pl.col("own_kw") * pl.col("interval_minutes") / 60
    )
    columns = [name for name in ANOMALIES_FLAGS.column_names if name in flags.columns]
    return ANOMALIES_FLAGS.conform(flags.select(columns)).sort(ANOMALIES_FLAGS.key)


def _rest_like_work(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the slots of days of rest that are more like a working day, where the working day uses more."""
    day = ["meter_id", "utc_day", "local_date"]
    energy, own, other = (pl.col(name) for name in ("kw", "own_kw", "other_kw"))

    def cosine(profile: pl.Expr) -> pl.Expr:
        size = (energy.pow(2).sum() * profile.pow(2).sum()).sqrt()
        return pl.when(size > 0).then((energy * profile).sum() / size)

    judged = (
        rows.filter(pl.col("day_kind") == "rest")
        .drop_nulls("other_kw")
        .group_by(day)
        .agg(
            hours=pl.col("local_hour").n_unique(),
            like_own=cosine(own),
            like_other=cosine(other),
            part=(energy.sum() - own.sum()) / (other.sum() - own.sum()),
            contrast=other.sum() / own.sum(),
        )
        .filter(
            pl.col("hours") >= LEAST_HOURS,
            pl.col("contrast") >= LEAST_CONTRAST,
            pl.col("like_other") - pl.col("like_own") >= LEAST_TOWARD,
            pl.col("part") >= LEAST_PART,
        )
    )
    toward = pl.col("like_other") - pl.col("like_own")
    score = 0.5 * pl.col("part").clip(0, 1) + 0.5 * toward / (toward + LEAST_TOWARD)
    reason = pl.format(
        "A day of rest that is {} like the meter's working days and {} like its days of rest.",
        pl.col("like_other").round(2),
        pl.col("like_own").round(2),
    )
    return (
        rows.join(judged.with_columns(score=score, reason=reason), on=day, how="inner", validate="m:1")
        .filter(other > 1.1 * own, energy > (own + other) / 2)
        .select(*_KEPT)
    )


def _night_like_day(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the slots of nights whose power went most of the way to that of the profile's working hours."""
    night, works = pl.col("local_hour").is_in(NIGHT_HOURS), pl.col("local_hour").is_in(WORKING_HOURS)
    own, power = pl.col("own_kw"), pl.col("kw")
    judged = (
        rows.group_by("meter_id", "utc_day", "local_date")
        .agg(
            hours=night.sum(),
            usual_night=own.filter(night).mean(),
            usual_day=own.filter(works).mean(),
            night_kw=power.filter(night).mean(),
            least_kw=power.filter(night).min(),
        )
        .filter(
            pl.col("hours") >= len(NIGHT_HOURS) // 2,
            pl.col("usual_night") > 0,
            pl.col("usual_night") <= MOST_USUAL_NIGHT * pl.col("usual_day"),
        )
        .with_columns(
            part=(pl.col("night_kw") - pl.col("usual_night")) / (pl.col("usual_day") - pl.col("usual_night")),
            least=(pl.col("least_kw") - pl.col("usual_night")) / (pl.col("usual_day") - pl.col("usual_night")),
        )
        .filter(pl.col("part") >= LEAST_PART, pl.col("least") >= LEAST_PART / 2)
    )
    score = 0.5 * pl.col("part").clip(0, 1) + 0.5 * pl.col("least").clip(0, 1)
    reason = pl.format(
        "A night of {} kW, where the meter's nights are of {} and its working hours of {}.",
        *(pl.col(name).round_sig_figs(3) for name in ("night_kw", "usual_night", "usual_day")),
    )
    return (
        rows.join(
            judged.with_columns(score=score, reason=reason),
            on=["meter_id", "utc_day", "local_date"], how="inner", validate="m:1",
        )
        .filter(night)
        .select(*_KEPT)
    )  # fmt: skip


_KEPT = ("meter_id", "starts_at_utc", "interval_minutes", "energy_kwh", "own_kw", "score", "reason")


def _hours(
    readings: pl.DataFrame, *, meters: pl.DataFrame, sites: pl.DataFrame, calendar: pl.DataFrame, window: Window
) -> pl.DataFrame:
    """Return measured slots of the window with power, season, kind of day, local hour and date, and UTC day."""
    drawn = meters.filter(pl.col("commodity") == "electricity", pl.col("direction") == "consumption")
    known = readings.select("meter_id", "starts_at_utc", "interval_minutes", "energy_kwh").filter(
        pl.col("energy_kwh").is_finite(), pl.col("interval_minutes") <= 60
    )
    return (
        at_site_clocks(known, meters=drawn, sites=sites, window=window)
        .with_columns(
            utc_day=pl.col("starts_at_utc").dt.date(), kw=pl.col("energy_kwh") * 60 / pl.col("interval_minutes")
        )
        .join(calendar, on=["site_id", "local_date"], how="inner", validate="m:1")
    )
