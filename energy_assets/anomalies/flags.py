"""The flags and scores of a day or a longer window: the entry that the nightly asset, back-fills and files share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import polars as pl

from energy_assets.anomalies.calendar import SiteCalendar, holidays_of, slot_calendar
from energy_assets.anomalies.causes import odd_points, score_of
from energy_assets.anomalies.grid import Bools, Floats, Grid, Ints, grids_of
from energy_assets.anomalies.limits import DEFAULT_LIMITS, Limits
from energy_assets.anomalies.rules import EXACT_FLOOR, exact_points
from energy_assets.anomalies.surroundings import capacities, degree_days, forecast_arrays, of_meters, service
from energy_assets.anomalies.swaps import pairs_of, swapped_points
from energy_assets.anomalies.vocabulary import RULES
from energy_assets.anomalies.walk import judged_days
from energy_assets.contracts import ANOMALIES_DAYS, ANOMALIES_FLAGS, UTC_TIME, Window

METERS_AT_ONCE = 4000
SCORE_SCHEMA = pl.Schema({"meter_id": pl.String(), "starts_at_utc": UTC_TIME, "score": pl.Float64()})
PEAK_SCHEMA = pl.Schema(
    {"starts_at_utc": UTC_TIME, "commodity": pl.String(), "interval_minutes": pl.Int64(), "strength": pl.Float64()}
)
_DATA_FAULTS = tuple(name for name, rule in RULES.items() if rule.family == "data_fault")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Flags as rows of `anomalies.flags`, each meter's strongest slot a day; every slot's score where asked for."""

    flags: pl.DataFrame
    peaks: pl.DataFrame
    scores: pl.DataFrame

    @property
    def days(self) -> pl.DataFrame:
        """Return rows of `anomalies.days`: what the meters of a kind were like together."""
        return day_rows(self.peaks)

    @classmethod
    def together(cls, parts: Iterable[Judgement]) -> Judgement:
        """Return what was judged in parts, of meters or of days, as one judgement."""
        every = list(parts)
        return cls(
            flags=pl.concat([ANOMALIES_FLAGS.empty(), *(part.flags for part in every)]).sort(ANOMALIES_FLAGS.key),
            peaks=pl.concat([PEAK_SCHEMA.to_frame(), *(part.peaks for part in every)]),
            scores=pl.concat([SCORE_SCHEMA.to_frame(), *(part.scores for part in every)]),
        )


def judge(
    readings_interval: pl.DataFrame,
    *,
    meters: pl.DataFrame,
    window: Window,
    history: pl.DataFrame | None = None,
    sites: pl.DataFrame | None = None,
    weather: pl.DataFrame | None = None,
    forecasts: pl.DataFrame | None = None,
    limits: Limits = DEFAULT_LIMITS,
    every_score: bool = False,
) -> Judgement:
    """Return what is judged of `window`, whole UTC days; with `every_score` also the score of every slot in service.

    `readings_interval` and `history` are rows of `readings.interval`; rows before the window are history wherever
    they stand, and `limits.lookback_days` of them are enough. A day's flags depend on no later day, so a window of
    many days equals its days one by one. `meters` are rows of `metering.meters` (capacity, service, site), `sites` of
    `metering.sites` (clock, holidays; UTC without them), `weather` of `weather.observed`, `forecasts` of
    `forecasts.load` (the expectation of the hour where given; not needed).
    """
    rows = readings_interval if history is None else pl.concat([history, readings_interval], how="diagonal_relaxed")
    span = Window(
        starts_at_utc=window.starts_at_utc - timedelta(days=limits.lookback_days), ends_at_utc=window.ends_at_utc
    )
    flags, scores, peaks = [ANOMALIES_FLAGS.empty()], [SCORE_SCHEMA.to_frame()], [PEAK_SCHEMA.to_frame()]
    for whole in grids_of(rows, window=span):
        for grid, calendar in _together(whole, meters=meters, sites=sites):
            found, strength = _judge_grid(
                grid, site=calendar, meters=meters, weather=weather, forecasts=forecasts, limits=limits
            )
            flags.append(as_flags(found, grid=grid))
            peaks.append(day_peaks(strength, grid=grid, meters=meters))
            if every_score:
                scores.append(_score_rows(grid, found=found, strength=strength, limits=limits))
    return Judgement(flags=pl.concat(flags).sort(ANOMALIES_FLAGS.key), peaks=pl.concat(peaks), scores=pl.concat(scores))


def whole_sites(meters: pl.DataFrame, *, at_most: int) -> list[list[str]]:
    """Return the meters of `metering.meters` in groups of whole sites, about `at_most` in each; a large site is cut."""
    sizes = meters.group_by("site_id").len().sort("site_id")
    of_site = {site: ids for (site,), ids in meters.sort("meter_id").group_by("site_id", maintain_order=True)}
    groups: list[list[str]] = []
    for site in sizes["site_id"]:
        ids = of_site[site]["meter_id"].to_list()
        if groups and len(groups[-1]) + len(ids) <= at_most:
            groups[-1] += ids
        else:
            groups += [ids[begin : begin + at_most] for begin in range(0, len(ids), at_most)]
    return groups


def _judge_grid(
    grid: Grid, *, site: SiteCalendar, meters: pl.DataFrame, weather: pl.DataFrame | None,
    forecasts: pl.DataFrame | None, limits: Limits,
) -> tuple[pl.DataFrame, Floats]:  # fmt: skip
    first_day = limits.lookback_days
    exact = exact_points(
        grid,
        first_day=first_day,
        capacity_kw=capacities(grid, meters=meters),
        in_service=service(grid, meters=meters, limits=limits),
        limits=limits,
    )
    faulty = _cells(exact.filter(pl.col("rule").is_in(_DATA_FAULTS)), grid=grid)
    calendar = slot_calendar(grid, site=site)
    judged_slots = len(grid.meter_ids), (grid.days - first_day) * grid.slots_per_day
    # NaN where nothing was judged: no reading, a data fault, or too short a history.
    strength, expected, noise = (np.full(judged_slots, np.nan, dtype=np.float32) for _ in range(3))
    found = []
    pairs = pairs_of(grid, meters=meters)
    for day, scores in judged_days(
        grid,
        first_day=first_day,
        calendar=calendar,
        peers=_peers(grid, meters=meters),
        covariates=degree_days(grid, meters=meters, weather=weather),
        forecast=forecast_arrays(grid, forecasts=forecasts, first_day=first_day),
        faulty=faulty,
        limits=limits,
    ):
        at = slice(day * grid.slots_per_day, (day + 1) * grid.slots_per_day)
        found.append(odd_points(scores, grid=grid, day=day, calendar=calendar, faulty=faulty[:, at], limits=limits))
        found.append(swapped_points(scores, grid=grid, day=day, pairs=pairs, limits=limits))
        ready = (scores.known_days >= limits.least_history_days)[:, None]
        tail = slice(at.start - first_day * grid.slots_per_day, at.stop - first_day * grid.slots_per_day)
        seen = ready & ~faulty[:, at] & np.isfinite(grid.used_kwh[:, at])
        strength[:, tail] = np.where(seen, scores.strength, np.nan)
        expected[:, tail] = np.where(ready, scores.expected_kwh, np.nan)
        noise[:, tail] = np.where(ready, scores.noise_kwh, np.nan)
    hidden = with_expectation(exact, expected=expected, noise=noise, first_slot=first_day * grid.slots_per_day)
    return pl.concat([hidden, *found]), strength


def _together(grid: Grid, *, meters: pl.DataFrame, sites: pl.DataFrame | None) -> Iterator[tuple[Grid, SiteCalendar]]:
    """Yield the meters that share a calendar, whole sites together as far as METERS_AT_ONCE allows."""
    years = range(grid.first_utc.year, grid.first_utc.year + grid.days // 365 + 2)
    calendars = site_calendars(sites, years=years)
    site_of = of_meters(grid, meters, column="site_id")
    keys = [calendars.get(site, SiteCalendar()) if site is not None else SiteCalendar() for site in site_of]
    order = sorted(range(len(keys)), key=lambda row: (site_of[row] or "", row))
    for calendar in dict.fromkeys(keys):
        members = [row for row in order if keys[row] == calendar]
        for begin in range(0, len(members), METERS_AT_ONCE):
            rows = np.asarray(members[begin : begin + METERS_AT_ONCE])
            yield _rows_of(grid, rows), calendar


def _rows_of(grid: Grid, rows: Ints) -> Grid:
    if len(rows) == len(grid.meter_ids) and (rows == np.arange(len(rows))).all():
        return grid
    return replace(
        grid,
        meter_ids=tuple(grid.meter_ids[row] for row in rows),
        reported_kwh=grid.reported_kwh[rows],
        used_kwh=grid.used_kwh[rows],
        mark=grid.mark[rows],
        late_hours=grid.late_hours[rows],
    )


def site_calendars(sites: pl.DataFrame | None, *, years: range) -> Mapping[str, SiteCalendar]:
    """Return clock and holidays of every site of `metering.sites`.

    Raises:
        ConfigError: a time zone or country is unknown.
    """
    if sites is None:
        return {}
    return {
        row["site_id"]: SiteCalendar(
            timezone=row["timezone"],
            holidays=frozenset()
            if row.get("country_code") is None
            else holidays_of(row["country_code"], years=years, subdivision_code=row.get("subdivision_code")),
        )
        for row in sites.iter_rows(named=True)
    }


def _peers(grid: Grid, *, meters: pl.DataFrame) -> Ints:
    site = of_meters(grid, meters, column="site_id").cast(pl.String).fill_null("")
    commodity = of_meters(grid, meters, column="commodity").cast(pl.String).fill_null("")
    return (site + "|" + commodity).rank("dense").cast(pl.Int64).to_numpy()


def _cells(found: pl.DataFrame, *, grid: Grid) -> Bools:
    cells = np.zeros(grid.reported_kwh.shape, dtype=bool)
    cells[found["meter"].to_numpy(), found["slot"].to_numpy()] = True
    return cells


def with_expectation(exact: pl.DataFrame, *, expected: Floats, noise: Floats, first_slot: int) -> pl.DataFrame:
    """Return exact points with what the slot was expected to hold and its noise, null where that is not known."""
    at = (exact["meter"].to_numpy(), exact["slot"].to_numpy() - first_slot)
    named = {"expected_kwh": expected, "noise_kwh": noise}
    return exact.with_columns(
        pl.Series(name, values[at].astype(np.float64)).fill_nan(None) for name, values in named.items()
    ).select(exact.columns)


def day_peaks(strength: Floats, *, grid: Grid, meters: pl.DataFrame) -> pl.DataFrame:
    """Return the strongest slot of every meter and judged day, as PEAK_SCHEMA."""
    by_day = strength.reshape(len(strength), -1, grid.slots_per_day)
    known = np.isfinite(by_day).any(axis=2)
    meter, day = np.nonzero(known)
    peak = np.where(np.isfinite(by_day), by_day, -np.inf).max(axis=2)[meter, day]
    first_slot = grid.reported_kwh.shape[1] - strength.shape[1]
    commodity = of_meters(grid, meters, column="commodity").cast(pl.String).fill_null("")
    return pl.DataFrame(
        {
            "starts_at_utc": grid.times(first_slot + day * grid.slots_per_day),
            "commodity": commodity.gather(meter),
            "interval_minutes": pl.Series([grid.interval_minutes]).gather(np.zeros(len(meter), dtype=np.int64)),
            "strength": peak,
        }
    ).cast(PEAK_SCHEMA)


def day_rows(peaks: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `anomalies.days`: how odd the meters of each kind were on each day at their worst."""
    rows = peaks.group_by("starts_at_utc", "commodity", "interval_minutes").agg(
        meters=pl.len().cast(pl.Int64),
        median_strength=pl.col("strength").median(),
        upper_strength=pl.col("strength").quantile(0.95, "linear"),
    )
    return ANOMALIES_DAYS.conform(rows).sort(ANOMALIES_DAYS.key)


def as_flags(found: pl.DataFrame, *, grid: Grid) -> pl.DataFrame:
    """Return points of a grid as rows of `anomalies.flags`."""
    meter, slot = found["meter"].to_numpy(), found["slot"].to_numpy()
    named = found.with_columns(
        meter_id=pl.Series(grid.meter_ids, dtype=pl.String).gather(meter),
        starts_at_utc=grid.times(slot),
        actual_kwh=pl.Series(grid.reported_kwh[meter, slot], nan_to_null=True),
        expected_kwh=pl.col("expected_kwh").fill_nan(None),
        noise_kwh=pl.col("noise_kwh").fill_nan(None),
    )
    return ANOMALIES_FLAGS.conform(named.select(ANOMALIES_FLAGS.column_names))


def _score_rows(grid: Grid, *, found: pl.DataFrame, strength: Floats, limits: Limits) -> pl.DataFrame:
    """Return the score of every slot: of its strength, or above all of those where it has a data fault."""
    first_slot = grid.reported_kwh.shape[1] - strength.shape[1]
    score = score_of(np.nan_to_num(strength), limits=limits)
    faults = found.filter(pl.col("rule").is_in(_DATA_FAULTS))
    at = (faults["meter"].to_numpy(), faults["slot"].to_numpy() - first_slot)
    given = faults["score"].to_numpy()
    # What was read off a shape counts as a fault of the data like what an exact rule says.
    score[at] = np.maximum(score[at], np.where(given >= EXACT_FLOOR, given, EXACT_FLOOR + (1 - EXACT_FLOOR) * given))
    meters, slots = score.shape
    rows = pl.DataFrame(
        {
            "meter_id": pl.Series(grid.meter_ids, dtype=pl.String).gather(np.repeat(np.arange(meters), slots)),
            "starts_at_utc": grid.times(np.tile(np.arange(slots) + first_slot, meters)),
            "score": score.reshape(-1),
        }
    )
    return rows.cast(SCORE_SCHEMA)
