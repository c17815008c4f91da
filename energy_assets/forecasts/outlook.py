"""What the next weeks and months may bring: energy per meter and local day up to 90 days ahead, with honest intervals.

No weather is known that far, so a day is the recent level of its meter times the pattern of its week times how the
season moved a year ago. The intervals are the errors that the same words would have made at past origins, pooled over
the meters in units of each one's own noise; totals have intervals of their own, because days do not err alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import LEVELS, QUANTILE_COLUMNS
from energy_assets.errors import ContractError
from energy_assets.forecasts.scenarios import LEVEL_SCORES

Doubles = npt.NDArray[np.float64]

LONGEST_DAYS = 90
_WEEKS_OF_PATTERN = 8
_HALF_LIFE_DAYS = 10.0
_FEWEST_DAYS = 14
_SEASON_DAYS = 14
"""Days on either side that a level of a year ago is averaged over."""
_YEAR = 364
_STRONGEST_SEASON = 4.0
_TRUST_IN_SEASON = 0.8
_ORIGIN_STEP_DAYS = 7
_FEWEST_ERRORS = 40
_LEAST_NOISE = 0.05
_BUCKET_ENDS = (1, 3, 7, 14, 30, 60, 90)
_GUESSED_SPREAD_PER_MONTH = 0.25
_RETURN_DAYS = 10.0
"""Without a year to tell the season, a level goes back to its mean of eight weeks with this time constant."""
_DOUBT, _DOUBT_WITHOUT_A_YEAR, _ORIGINS_FOR_HALF_BELIEF = 0.5, 5.0, 12


_NO_SUMS = pl.Schema(
    {
        "meter_id": pl.String(),
        "timezone": pl.String(),
        "local_date": pl.Date(),
        "energy_kwh": pl.Float64(),
        "minutes": pl.Int64(),
    }
).to_frame()


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Days: meter_id, local_date, q05 .. q95 kWh. Totals: meter_id, days, q05 .. q95 kWh of the first so many days."""

    days: pl.DataFrame
    totals: pl.DataFrame


def daily_energy(readings: pl.DataFrame, *, meters: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """Return meter_id, local_date and energy_kwh, null where more than a tenth of the day's energy is unknown.

    Inputs follow `readings.interval`, `metering.meters` and `metering.sites`. A day with a few unknown intervals is
    scaled up to its whole length, which is 23, 24 or 25 hours.
    """
    return whole_days([day_sums(readings, meters=meters, sites=sites)])


def day_sums(readings: pl.DataFrame, *, meters: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """Return meter_id, timezone, local_date, and what is known of a part of the readings: energy_kwh and minutes."""
    zones = meters.select("meter_id", "site_id").join(
        sites.select("site_id", "timezone"), on="site_id", how="left", validate="m:1"
    )
    known = readings.filter(pl.col("energy_kwh").is_finite()).join(
        zones.select("meter_id", pl.col("timezone").fill_null("UTC")), on="meter_id", how="inner", validate="m:1"
    )
    parts = [_NO_SUMS]
    for (zone,), group in known.partition_by("timezone", as_dict=True).items():
        local_date = pl.col("starts_at_utc").dt.convert_time_zone(str(zone)).dt.date()
        sums = group.group_by("meter_id", local_date=local_date).agg(
            energy_kwh=pl.col("energy_kwh").sort().sum(), minutes=pl.col("interval_minutes").sum().cast(pl.Int64)
        )
        parts.append(sums.with_columns(timezone=pl.lit(str(zone))).select(_NO_SUMS.columns))
    return pl.concat(parts)


def whole_days(sums: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return what `daily_energy` does, from the day sums of all parts of the readings."""
    together = (
        pl.concat([_NO_SUMS, *sums])
        .group_by("meter_id", "timezone", "local_date")
        .agg(pl.col("energy_kwh").sort().sum(), pl.col("minutes").sum())
    )
    parts = [_NO_SUMS.select("meter_id", "local_date", "energy_kwh")]
    for (zone,), group in together.partition_by("timezone", as_dict=True).items():
        midnight = pl.col("local_date").cast(pl.Datetime("us")).dt.replace_time_zone(str(zone))
        day_after = pl.col("local_date").dt.offset_by("1d").cast(pl.Datetime("us")).dt.replace_time_zone(str(zone))
        share = pl.col("minutes") / (day_after - midnight).dt.total_minutes()
        whole = pl.when(share >= 0.9).then(pl.col("energy_kwh") / share)
        parts.append(group.with_columns(energy_kwh=whole).select("meter_id", "local_date", "energy_kwh"))
    return pl.concat(parts).sort("meter_id", "local_date")


def outlook(
    daily: pl.DataFrame, *, first_day: date, days: int = LONGEST_DAYS, is_season_known: bool = False
) -> Outlook:
    """Return the outlook from `first_day` on, from the days before it; later ones are not looked at.

    `daily` is what `daily_energy` returns. Meters of which fewer than 14 of the last 56 days are known are left out.
    Totals are of 7, 30, 60 and 90 days, as far as `days` reaches. `is_season_known` says that the season was taken out
    of `daily`, so that less than a year of it says as much as a year.

    Raises:
        ContractError: `days` is not within 1 and 90.
    """
    if not 1 <= days <= LONGEST_DAYS:
        raise ContractError(f"An outlook reaches 1 to {LONGEST_DAYS} days, not {days}.")
    history = daily.filter(pl.col("local_date") < first_day)
    meter_ids = history["meter_id"].unique().sort().to_list()
    table = _Table(history, meter_ids=meter_ids, end=first_day)
    now = table.origin(table.energy.shape[1])
    served = np.flatnonzero(np.isfinite(now.level))
    point = now.ahead(days)
    # Errors of one season say little of another: who has seen no year has seen too small ones.
    knows = is_season_known or table.energy.shape[1] >= _YEAR
    errors = _Errors(table, doubt=_DOUBT if knows else _DOUBT_WITHOUT_A_YEAR)
    spans = [span for span in (7, 30, 60, 90) if span <= days]
    unit = now.noise[:, None]
    quantiles = point[..., None] + unit[..., None] * errors.of_days(days)[None]
    of_totals = np.stack([point[:, :span].sum(axis=1) for span in spans], axis=1) if spans else np.empty((len(unit), 0))
    totals = of_totals[..., None] + unit[..., None] * errors.of_totals(spans)[None]
    floor = np.where(
        np.nanmin(np.where(np.isnan(table.energy), np.inf, table.energy), axis=1, initial=0) < 0, -np.inf, 0
    )
    return Outlook(
        days=_frame(
            [meter_ids[index] for index in served],
            np.maximum(quantiles, floor[:, None, None])[served],
            pl.Series("local_date", [first_day + timedelta(days=ahead) for ahead in range(days)], dtype=pl.Date),
        ),
        totals=_frame(
            [meter_ids[index] for index in served],
            np.maximum(totals, floor[:, None, None])[served],
            pl.Series("days", spans, dtype=pl.Int64),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What is said at one origin: level [meter], its noise, factors of kinds of days, and the move of the season."""

    level: Doubles
    long_mean: Doubles
    knows_season: npt.NDArray[np.bool_]
    noise: Doubles
    factors: Doubles
    season: Doubles
    kinds: npt.NDArray[np.int64]

    def ahead(self, days: int) -> Doubles:
        """Return the expected energy [meter, day]."""
        of_kind = self.factors[:, self.kinds[:days]]
        stays = np.where(self.knows_season[:, None], 1.0, np.exp(-np.arange(days) / _RETURN_DAYS)[None])
        level = self.level[:, None] * stays + self.long_mean[:, None] * (1 - stays)
        expected: Doubles = level * of_kind * self.season[:, :days]
        return expected


class _Table:
    """Daily energy [meter, day] up to an end, without what lies after any origin that is asked for."""

    def __init__(self, history: pl.DataFrame, *, meter_ids: list[str], end: date) -> None:
        first = history["local_date"].min() if history.height else end
        assert isinstance(first, date)
        width = (end - first).days
        self.energy = np.full((len(meter_ids), width), np.nan)
        row = history["meter_id"].rank("dense").to_numpy().astype(np.int64) - 1
        column = (history["local_date"] - first).dt.total_days().to_numpy()
        self.energy[row, column] = history["energy_kwh"].fill_null(np.nan).to_numpy()
        weekday = (np.arange(width + LONGEST_DAYS) + first.weekday()) % 7
        self.kinds = np.where(weekday == 5, 1, np.where(weekday == 6, 2, 0)).astype(np.int64)

    def origin(self, at: int) -> _Origin:
        """Return what could be said of the days from column `at` on."""
        reach = min(at, 7 * _WEEKS_OF_PATTERN)
        recent, kinds = self.energy[:, at - reach : at], self.kinds[at - reach : at]
        mean = _mean(recent)
        factors = np.ones((len(recent), 3))
        for kind in range(3):
            of_kind = recent[:, kinds == kind]
            count = np.isfinite(of_kind).sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = _mean(of_kind) / mean
            factors[:, kind] = 1 + np.where(np.isfinite(ratio), (ratio - 1) * count / (count + 0.5), 0)
        factors = np.clip(factors, 0.05, 10)
        flat = recent / factors[:, kinds]
        weight = 0.5 ** ((reach - 1 - np.arange(reach)) / _HALF_LIFE_DAYS) * np.isfinite(flat)
        with np.errstate(invalid="ignore", divide="ignore"):
            level = (np.nan_to_num(flat) * weight).sum(axis=1) / weight.sum(axis=1)
        level = np.where(np.isfinite(recent).sum(axis=1) >= _FEWEST_DAYS, level, np.nan)
        spread = np.sqrt(_mean((flat - _mean(flat)[:, None]) ** 2))
        noise = np.maximum(spread, _LEAST_NOISE * np.abs(level))
        season, knows_season = self._season(at)
        return _Origin(
            level=level,
            long_mean=_mean(flat),
            knows_season=knows_season,
            noise=noise,
            factors=factors,
            season=season,
            kinds=self.kinds[at : at + LONGEST_DAYS],
        )

    def _season(self, at: int) -> tuple[Doubles, npt.NDArray[np.bool_]]:
        """Return how the level moved over the coming days a year ago [meter, day], its own or that of its peers.

        Beside it whether either is known [meter].
        """
        moved = np.full((len(self.energy), LONGEST_DAYS), np.nan)
        before = at - _YEAR
        if before >= _SEASON_DAYS:
            centre = self._around(np.arange(before, before + LONGEST_DAYS))
            with np.errstate(invalid="ignore", divide="ignore"):
                moved = centre / self._around(np.arange(before - _SEASON_DAYS, before)).mean(axis=1, keepdims=True)
            moved = np.where(moved > 0, moved, np.nan)
        known = np.isfinite(moved)
        peers = np.ones(LONGEST_DAYS)
        for day in np.flatnonzero(known.any(axis=0)):
            peers[day] = np.median(moved[known[:, day], day])
        filled = np.where(known, moved, peers[None])
        bounded: Doubles = np.clip(filled, 1 / _STRONGEST_SEASON, _STRONGEST_SEASON) ** _TRUST_IN_SEASON
        return bounded, known.any(axis=1) | known.any()

    def _around(self, columns: npt.NDArray[np.int64]) -> Doubles:
        """Return the mean of the fortnights on either side of columns [meter, column]."""
        means = [_mean(self.energy[:, max(column - _SEASON_DAYS, 0) : column + _SEASON_DAYS + 1]) for column in columns]
        return np.stack(means, axis=1)


class _Errors:
    """Errors of past origins in units of each meter's noise: quantiles by days ahead, and of totals."""

    def __init__(self, table: _Table, *, doubt: float) -> None:
        self._width = width = table.energy.shape[1]
        self._doubt = doubt
        daily: list[list[Doubles]] = [[] for _ in _BUCKET_ENDS]
        self._totals: dict[int, list[Doubles]] = {}
        for at in range(width - 1, _FEWEST_DAYS, -_ORIGIN_STEP_DAYS):
            origin = table.origin(at)
            reach = min(width - at, LONGEST_DAYS)
            actual, said = table.energy[:, at : at + reach], origin.ahead(reach)
            with np.errstate(invalid="ignore", divide="ignore"):
                error = (actual - said) / origin.noise[:, None]
                for index, (low, high) in enumerate(zip((0, *_BUCKET_ENDS), _BUCKET_ENDS, strict=False)):
                    daily[index].append(_finite(error[:, low:high]))
                for span in (7, 30, 60, 90):
                    if span <= reach:
                        total = np.where(np.isfinite(actual[:, :span]).all(axis=1), error[:, :span].sum(axis=1), np.nan)
                        self._totals.setdefault(span, []).append(_finite(total))
        self._daily = [np.concatenate([np.empty(0), *parts]) for parts in daily]

    def _origins_reaching(self, days: int) -> int:
        """Return how many origins of the past, a month apart and so independent, had that many days after them."""
        return max((self._width - days - _FEWEST_DAYS) // 30, 1)

    def of_days(self, days: int) -> Doubles:
        """Return quantiles [day, level] of the error of a day in units of the noise."""
        table = np.empty((days, len(LEVELS)))
        start = 0
        known: Doubles | None = None
        for end, errors in zip(_BUCKET_ENDS, self._daily, strict=True):
            if len(errors) >= _FEWEST_ERRORS:
                known = _believed(errors, origins=self._origins_reaching(end), doubt=self._doubt)
            for day in range(start, min(end, days)):
                # Where no origin is old enough to tell, the last that is known is widened with time.
                later = 1.0 if len(errors) >= _FEWEST_ERRORS else 1 + _GUESSED_SPREAD_PER_MONTH * (day + 1) / 30
                table[day] = (LEVEL_SCORES.astype(float) if known is None else known) * later
            start = end
        return table

    def of_totals(self, spans: list[int]) -> Doubles:
        """Return quantiles [span, level] of the error of the first so many days together."""
        table = np.empty((len(spans), len(LEVELS)))
        for index, span in enumerate(spans):
            errors = np.concatenate([np.empty(0), *self._totals.get(span, [])])
            if len(errors) >= _FEWEST_ERRORS:
                table[index] = _believed(errors, origins=self._origins_reaching(span), doubt=self._doubt)
            else:
                # Days err partly together: between the root of their number and the number itself.
                guess = span**0.75 * (1 + _GUESSED_SPREAD_PER_MONTH * span / 30)
                table[index] = LEVEL_SCORES.astype(float) * guess
        return table


def _believed(errors: Doubles, *, origins: int, doubt: float) -> Doubles:
    """Return quantiles [level] of errors, wider and less shifted the fewer origins they come from.

    Days and meters of one origin err together, so their errors say less than they count.
    """
    found = np.quantile(errors, list(LEVELS.values()))
    shift, away = found[3], found - found[3]
    believed: Doubles = shift * origins / (origins + _ORIGINS_FOR_HALF_BELIEF) + away * np.sqrt(1 + doubt / origins)
    return believed


def _mean(values: Doubles) -> Doubles:
    count = np.isfinite(values).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Doubles = np.nan_to_num(values).sum(axis=1) / count
    return mean


def _finite(values: Doubles) -> Doubles:
    return values[np.isfinite(values)]


def _frame(meter_ids: list[str], quantiles: Doubles, entries: pl.Series) -> pl.DataFrame:
    """Return one row per meter and entry, in the column that `entries` names, from quantiles [meter, entry, level]."""
    ordered = np.sort(quantiles.reshape(len(meter_ids) * len(entries), len(LEVELS)), axis=1)
    return pl.DataFrame(
        {
            "meter_id": pl.Series([meter for meter in meter_ids for _ in entries], dtype=pl.String),
            entries.name: pl.Series(entries.to_list() * len(meter_ids), dtype=entries.dtype),
            **{level: ordered[:, index] for index, level in enumerate(QUANTILE_COLUMNS)},
        }
    )
