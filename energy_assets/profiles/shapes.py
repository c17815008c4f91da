"""The representative days of meters and their traits, from the days that pass a quality filter.

Two passes over the readings, in pieces: facts of every day, from which the good days are chosen, and then the mean of
the good days per season, kind of day and local hour. Nothing here knows a lake: whoever calls it runs the queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from energy_assets.contracts import Window
from energy_assets.contracts.profiles import PROFILES_SHAPES, PROFILES_TRAITS, SEASONS
from energy_assets.profiles.clocks import meter_clocks
from energy_assets.sql import Query

Ask = Callable[[Query, Mapping[str, pl.DataFrame]], pl.DataFrame]
"""Runs a query with frames that it may name as tables."""

LOOKBACK_DAYS = 365
LEAST_GOOD_DAYS = 14
LEAST_MEASURED = 0.9
"""Share of a day's 1,440 minutes that must be measured; a day of 23 hours still passes."""
MOST_TIMES_MEDIAN = 5.0
"""A day with more energy than this many median days of its meter is a fault rather than a day."""
_DAYS_AT_ONCE = 46
_LEAST_TEMPERATURE_DAYS, _LEAST_TEMPERATURE_SPREAD_C = 20, 2.0
_CELL = ("meter_id", "season", "day_kind", "local_hour")
_NIGHT, _DAY = (0, 5), (9, 17)


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Rows of `profiles.shapes` and of `profiles.traits`; a meter without a profile has traits that say why."""

    cells: pl.DataFrame
    traits: pl.DataFrame


def shapes_of(
    ask: Ask,
    *,
    meters: pl.DataFrame,
    sites: pl.DataFrame,
    calendar: pl.DataFrame,
    window: Window,
    data_faults: Sequence[str] = (),
) -> Shapes:
    """Return the shapes and traits of all `meters` from their readings in `window`, whole UTC days.

    A good day is measured for 90 % of its minutes, free of the rules named in `data_faults`, and not above five median
    days of its meter. `meters` and `sites` are rows of `metering.meters` and `metering.sites`; `calendar` says of each
    site_id and local_date the season and the day_kind, as `features.site_days` does.
    """
    clocks = meter_clocks(meters, sites=sites, window=window)
    days = _in_pieces(ask, "meter_days", {"profile_clocks": clocks}, window=window)
    days = days.group_by("meter_id", "local_day").agg(
        pl.col("energy_kwh", "known_minutes").sum(), pl.col("most_kw").max(), pl.col("least_kw").min()
    )
    faulty = ask(
        Query.from_file(
            "energy_assets.profiles",
            "data_fault_days",
            starts=window.starts_at_utc,
            ends=window.ends_at_utc,
            rules=list(data_faults),
        ),
        {},
    )
    good = good_days(days, faulty=faulty, meters=meters, calendar=calendar)
    frames = {"profile_clocks": clocks, "profile_good_days": good.select("meter_id", "local_day", "season", "day_kind")}
    cells = _in_pieces(ask, "shape_cells", frames, window=window)
    cells = (
        cells.group_by(_CELL)
        .agg(pl.col("energy_kwh", "known_hours").sum())
        .with_columns(mean_kw=pl.col("energy_kwh") / pl.col("known_hours"))
        .drop("energy_kwh")
    )
    temperatures = ask(
        Query.from_file(
            "energy_assets.profiles", "site_temperatures", starts=window.starts_at_utc, ends=window.ends_at_utc
        ),
        {},
    )
    traits = traits_of(days, good=good, cells=cells, meters=meters, temperatures=temperatures)
    traits = traits.with_columns(as_of_utc=pl.lit(window.ends_at_utc))
    usable = traits.filter(pl.col("unusable_because").is_null()).select("meter_id")
    return Shapes(
        cells=PROFILES_SHAPES.conform(cells.join(usable, on="meter_id", how="semi")).sort(PROFILES_SHAPES.key),
        traits=PROFILES_TRAITS.conform(traits.select(PROFILES_TRAITS.column_names)).sort("meter_id"),
    )


def good_days(
    days: pl.DataFrame, *, faulty: pl.DataFrame, meters: pl.DataFrame, calendar: pl.DataFrame
) -> pl.DataFrame:
    """Return the good days with season and kind: meter_id, local_day (since 1970), season, day_kind, and their facts.

    `days` are facts of local days, `faulty` has meter_id and utc_day of days with data faults, `calendar` as for
    `shapes_of`. A meter of a site that the calendar does not know rests on Saturdays and Sundays, in the north.
    """
    usual = pl.col("energy_kwh").abs().median().over("meter_id")
    kept = days.filter(
        pl.col("known_minutes") >= LEAST_MEASURED * 1440, pl.col("energy_kwh").abs() <= MOST_TIMES_MEDIAN * usual
    )
    kept = kept.join(faulty, left_on=["meter_id", "local_day"], right_on=["meter_id", "utc_day"], how="anti")
    known = calendar.select(
        "site_id", "season", "day_kind", local_day=pl.col("local_date").cast(pl.Int32).cast(pl.Int64)
    )
    rest = (pl.col("local_day") + 3) % 7 >= 5  # 1970-01-01 was a Thursday
    month = (pl.date(1970, 1, 1) + pl.duration(days=pl.col("local_day"))).dt.month()
    season = (month % 12 // 3).replace_strict(dict(enumerate(SEASONS)), return_dtype=pl.String)
    return (
        kept.join(meters.select("meter_id", "site_id"), on="meter_id", how="inner", validate="m:1")
        .join(known, on=["site_id", "local_day"], how="left", validate="m:1")
        .with_columns(
            season=pl.coalesce("season", season),
            day_kind=pl.coalesce("day_kind", pl.when(rest).then(pl.lit("rest")).otherwise(pl.lit("working"))),
        )
    )


def traits_of(
    days: pl.DataFrame, *, good: pl.DataFrame, cells: pl.DataFrame, meters: pl.DataFrame, temperatures: pl.DataFrame
) -> pl.DataFrame:
    """Return one row per meter with the numbers of `profiles.traits`, null where too little is known, and why."""
    seen = days.group_by("meter_id").agg(days=pl.len())
    is_rest = pl.col("day_kind") == "rest"
    hours = pl.col("known_minutes").sum() / 60
    daily = good.group_by("meter_id").agg(
        good_days=pl.len(),
        mean_kw=pl.col("energy_kwh").sum() / hours,
        peak_kw=pl.col("most_kw").mean(),
        base_kw=pl.col("least_kw").mean(),
        weekend_ratio=pl.col("energy_kwh").filter(is_rest).mean() / pl.col("energy_kwh").filter(~is_rest).mean(),
    )
    by_hour = cells.group_by("meter_id", "local_hour").agg(
        kw=(pl.col("mean_kw") * pl.col("known_hours")).sum() / pl.col("known_hours").sum()
    )
    hour = pl.col("local_hour")
    clock = by_hour.sort("meter_id", "local_hour").group_by("meter_id", maintain_order=True).agg(
        peak_hour=hour.get(pl.col("kw").arg_max()),
        night_day_ratio=pl.col("kw").filter(hour.is_between(*_NIGHT)).mean()
        / pl.col("kw").filter(hour.is_between(*_DAY)).mean(),
    )  # fmt: skip
    traits = meters.select("meter_id", "site_id", "commodity", "direction", "interval_minutes")
    for part in (seen, daily, clock, _temperature_slopes(good, temperatures)):
        traits = traits.join(part, on="meter_id", how="left", validate="1:1")
    traits = traits.with_columns(
        pl.col("days", "good_days").fill_null(0),
        load_factor=pl.col("mean_kw") / pl.col("peak_kw"),
        baseload_share=pl.col("base_kw") / pl.col("mean_kw"),
        unusable_because=pl.when(pl.col("interval_minutes") > 60)
        .then(pl.lit("intervals_longer_than_an_hour"))
        .when(pl.col("days").fill_null(0) == 0)
        .then(pl.lit("no_readings"))
        .when(pl.col("good_days").fill_null(0) < LEAST_GOOD_DAYS)
        .then(pl.format("fewer_than_{}_good_days", pl.lit(LEAST_GOOD_DAYS)))
        .when(pl.col("mean_kw").abs() < 1e-9)
        .then(pl.lit("no_energy")),
    )
    ratios = pl.col("load_factor", "baseload_share", "night_day_ratio", "weekend_ratio", "temperature_slope_per_c")
    return traits.with_columns(pl.when(ratios.is_finite()).then(ratios))


def _temperature_slopes(good: pl.DataFrame, temperatures: pl.DataFrame) -> pl.DataFrame:
    """Return the least-squares slope of a day's energy, relative to the meter's mean day, on the site's temperature."""
    rows = good.join(temperatures, on=["site_id", "local_day"], how="inner", validate="m:1")
    relative = pl.col("energy_kwh") / pl.col("energy_kwh").mean()
    temperature = pl.col("temperature_c")
    known = (pl.len() >= _LEAST_TEMPERATURE_DAYS) & (temperature.std() >= _LEAST_TEMPERATURE_SPREAD_C)
    return rows.group_by("meter_id").agg(
        temperature_slope_per_c=pl.when(known).then(pl.cov(relative, temperature) / temperature.var())
    )


def _in_pieces(ask: Ask, name: str, frames: Mapping[str, pl.DataFrame], *, window: Window) -> pl.DataFrame:
    return pl.concat(
        ask(
            Query.from_file("energy_assets.profiles", name, starts=piece.starts_at_utc, ends=piece.ends_at_utc),
            frames,
        )
        for piece in window.pieces(days=_DAYS_AT_ONCE)
    )


def lookback(*, newest: Window, days: int = LOOKBACK_DAYS) -> Window:
    """Return the window of the days that profiles are made from: up to the end of the newest day of readings."""
    return Window(starts_at_utc=newest.ends_at_utc - timedelta(days=days), ends_at_utc=newest.ends_at_utc)
