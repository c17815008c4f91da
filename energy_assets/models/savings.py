"""What a change saved: energy that was measured against what the meter would have used as it was before.

Follows ASHRAE Guideline 14-2014 and IPMVP option C (whole facility): savings = adjusted baseline - measured, with
CV(RMSE), NMBE, fractional uncertainty and a judgement whether the data suffice. The errors here are those on days that
the model had not seen, which is stricter than the guideline's errors of fit. A change of use that nobody told of is
part of what comes out: no meter can tell it from savings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from energy_assets.errors import ModelError
from energy_assets.features.calendar import Place
from energy_assets.models.counterfactual import Baseline, Doubles, described_slots, fit_baseline_model

FEWEST_DAYS = 28
HOURLY_LIMITS = (0.30, 0.10)
MONTHLY_LIMITS = (0.15, 0.05)
"""CV(RMSE) and NMBE of ASHRAE Guideline 14-2014 for models against hourly (or finer) and monthly data."""
YEAR_DAYS = 365
KNOWN_SHARE = 0.90
"""Share of the period with readings; CalTRACK 2.0 asks for 90 % of the days."""
OUTSIDE_SHARE = 0.05
UNCERTAINTY_CONFIDENCE, UNCERTAINTY_LIMIT = 0.68, 0.50
"""Guideline 14: at 68 % confidence the uncertainty must be less than half of the savings."""
_A_YEAR = "ASHRAE Guideline 14-2014, IPMVP option C, CalTRACK 2.0"
_READ = "CalTRACK 2.0: at most 10 % missing"
_RANGE = "our own limit: a model knows nothing of weather that it has not seen"
_FIT = "ASHRAE Guideline 14-2014, calibrated models"
_UNCERTAINTY = "ASHRAE Guideline 14-2014, whole-building path: fractional savings uncertainty"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One condition on data or model, whether it holds, the figures, and who asks for it."""

    text: str
    holds: bool
    source: str


@dataclass(frozen=True, kw_only=True)
class Savings:
    """Energy of the reporting period, in kWh over the slots that were read; what was saved is positive.

    `low_kwh` and `high_kwh` bound the savings with `confidence`; `slots` has starts_at_utc, measured_kwh, expected_kwh
    and saved_kwh, `monthly` their sums by local month.
    """

    model: str
    measured_kwh: float
    expected_kwh: float
    saved_kwh: float
    low_kwh: float
    high_kwh: float
    confidence: float
    guideline_uncertainty: float
    cv_rmse: float
    nmbe: float
    cv_rmse_monthly: float | None
    nmbe_monthly: float | None
    candidates: dict[str, float]
    claims: tuple[Claim, ...]
    slots: pl.DataFrame
    monthly: pl.DataFrame

    @property
    def saved_share(self) -> float:
        """Return the savings as a share of what would have been used."""
        return self.saved_kwh / self.expected_kwh if self.expected_kwh else 0.0

    @property
    def is_sufficient(self) -> bool:
        """Return whether every condition holds."""
        return all(claim.holds for claim in self.claims)


def measure_savings(
    readings: pl.DataFrame,
    *,
    weather: pl.DataFrame | None,
    place: Place,
    interval_minutes: int,
    changed_at_utc: datetime,
    baseline_until_utc: datetime | None = None,
    ends_at_utc: datetime | None = None,
    confidence: float = 0.9,
    seed: int = 0,
    threads: int = 2,
) -> Savings:
    """Return what one meter saved from an instant on, against what it would have used as it was before.

    Args:
        readings: starts_at_utc and energy_kwh, all that is known before and after; null where missing.
        weather: starts_at_utc (hourly) and columns of the weather contract, of both periods; None for none.
        place: clock, holidays and position of the meter.
        interval_minutes: length of a slot.
        changed_at_utc: when the reporting period begins.
        baseline_until_utc: when the baseline period ends, if works went on before `changed_at_utc`.
        ends_at_utc: when the reporting period ends; with the last reading by default.
        confidence: of the interval.
        seed: of the trees.
        threads: of the trees.

    Raises:
        ModelError: less than four weeks of readings lie before the change, or none after it.
    """
    known = readings.filter(pl.col("energy_kwh").is_finite()).sort("starts_at_utc")
    before = known.filter(pl.col("starts_at_utc") < (baseline_until_utc or changed_at_utc))
    after = known.filter(pl.col("starts_at_utc") >= changed_at_utc)
    if ends_at_utc is not None:
        after = after.filter(pl.col("starts_at_utc") < ends_at_utc)
    if before.is_empty() or after.is_empty() or _days(before, interval_minutes) < FEWEST_DAYS:
        raise ModelError(
            f"Savings need {FEWEST_DAYS} days of readings before {changed_at_utc:%Y-%m-%d} and some after; there are "
            f"{before.height:,} readings before it and {after.height:,} after. Choose another date or bring more "
            f"history."
        )
    described = [
        part.join(
            described_slots(part["starts_at_utc"], place=place, weather=weather),
            on="starts_at_utc",
            how="left",
            validate="1:1",
            maintain_order="left",
        )
        for part in (before.select("starts_at_utc", "energy_kwh"), after.select("starts_at_utc", "energy_kwh"))
    ]
    baseline = fit_baseline_model(described[0], seed=seed, threads=threads)
    slots = after.select("starts_at_utc", measured_kwh="energy_kwh").with_columns(
        expected_kwh=pl.Series(baseline.predict(described[1]))
    )
    slots = slots.with_columns(saved_kwh=pl.col("expected_kwh") - pl.col("measured_kwh"))
    measured, expected, saved = (float(slots[name].sum()) for name in ("measured_kwh", "expected_kwh", "saved_kwh"))
    half, half_68 = (
        uncertainty_kwh(
            baseline,
            expected_kwh=float(slots["expected_kwh"].abs().sum()),
            slots=after.height,
            per_day=1440 // interval_minutes,
            confidence=level,
        )
        for level in (confidence, UNCERTAINTY_CONFIDENCE)
    )
    fits, monthly_fits = fit_of(baseline.unseen), _monthly_fit(baseline.unseen, place=place)
    claims = _claims(
        described, fits=fits, monthly=monthly_fits, saved_kwh=saved, half_68=half_68, interval_minutes=interval_minutes
    )
    return Savings(
        model=baseline.name,
        measured_kwh=measured,
        expected_kwh=expected,
        saved_kwh=saved,
        low_kwh=saved - half,
        high_kwh=saved + half,
        confidence=confidence,
        guideline_uncertainty=guideline_uncertainty_kwh(baseline.unseen, slots=after.height, confidence=confidence),
        cv_rmse=fits[0],
        nmbe=fits[1],
        cv_rmse_monthly=None if monthly_fits is None else monthly_fits[0],
        nmbe_monthly=None if monthly_fits is None else monthly_fits[1],
        candidates=dict(baseline.cv_rmse),
        claims=claims,
        slots=slots,
        monthly=_by_month(slots, place=place),
    )


def fit_of(rows: pl.DataFrame) -> tuple[float, float]:
    """Return CV(RMSE) and NMBE of `expected_kwh` against `energy_kwh`, as shares of the mean absolute energy.

    ASHRAE Guideline 14-2014, annex B; without its correction for fitted parameters, as the days were not fitted. NMBE
    is positive where the model expects too little.
    """
    error = (rows["energy_kwh"] - rows["expected_kwh"]).to_numpy()
    level = float(np.abs(rows["energy_kwh"].to_numpy()).mean()) or 1.0
    return float(np.sqrt(np.mean(error**2)) / level), float(error.mean() / level)


def uncertainty_kwh(baseline: Baseline, *, expected_kwh: float, slots: int, per_day: int, confidence: float) -> float:
    """Return half the width of the interval of `expected_kwh`, the baseline's sum over a reporting period of `slots`.

    The errors on stretches of days that the model had not seen are summed, as shares of their energy; n of them predict
    the sum of m stretches like them, whose variance is s² (1 / m + 1 / n) (1 + r) / (1 - r) with their lag-one
    correlation r: the second term is that a bias common to all days does not cancel. Student's t with n degrees. Sums
    of hours as in the guideline's formula understate it, because errors of a building last for weeks.
    """
    from scipy.stats import t

    whole = baseline.block_days * per_day
    error = pl.col("energy_kwh") - pl.col("expected_kwh")
    sums = baseline.unseen.group_by("block").agg(
        error=error.sum(), energy=pl.col("expected_kwh").abs().sum(), rows=pl.len()
    )
    sums = sums.filter(pl.col("rows") >= whole / 2, pl.col("energy") > 0).sort("block")
    if sums.is_empty():
        return float("inf")
    errors, energy = sums["error"].to_numpy(), sums["energy"].to_numpy()
    share = float(np.sqrt((errors**2).sum() / (energy**2).sum()))
    quantile = float(t.ppf((1 + confidence) / 2, len(errors)))
    root = float(np.sqrt(_inflation(errors / energy) * (whole / slots + 1 / len(errors))))
    return quantile * share * root * abs(expected_kwh)


def guideline_uncertainty_kwh(unseen: pl.DataFrame, *, slots: int, confidence: float) -> float:
    """Return the uncertainty of savings by ASHRAE Guideline 14's formula, in kWh, for comparison.

    1.26 t CV(RMSE) sqrt(n / n' (1 + 2 / n') / m) times the baseline energy of m slots, with n' = n (1 - r) / (1 + r).
    """
    from scipy.stats import t

    error = (unseen["energy_kwh"] - unseen["expected_kwh"]).to_numpy()
    n = len(error)
    effective = n / _inflation(error)
    root = float(np.sqrt(n / effective * (1 + 2 / effective) / slots))
    return 1.26 * float(t.ppf((1 + confidence) / 2, n)) * float(np.sqrt(np.mean(error**2))) * root * slots


def _inflation(errors: Doubles) -> float:
    """Return (1 + r) / (1 - r) for the lag-one correlation r of errors, between 0 and 0.95."""
    if len(errors) < 3 or not np.std(errors) > 0:
        return 1.0
    centred = errors - errors.mean()
    r = float(np.clip((centred[1:] * centred[:-1]).mean() / (centred**2).mean(), 0.0, 0.95))
    return (1 + r) / (1 - r)


def _monthly_fit(unseen: pl.DataFrame, *, place: Place) -> tuple[float, float] | None:
    """Return CV(RMSE) and NMBE of local months with at least 25 days; None for fewer than six of them."""
    local = unseen.with_columns(
        month=pl.col("starts_at_utc").dt.convert_time_zone(place.timezone).dt.strftime("%Y-%m"),
        day=pl.col("starts_at_utc").dt.convert_time_zone(place.timezone).dt.date(),
    )
    months = (
        local.group_by("month")
        .agg(pl.col("energy_kwh", "expected_kwh").sum(), days=pl.col("day").n_unique())
        .filter(pl.col("days") >= 25)
    )
    return fit_of(months) if months.height >= 6 else None


def _by_month(slots: pl.DataFrame, *, place: Place) -> pl.DataFrame:
    month = pl.col("starts_at_utc").dt.convert_time_zone(place.timezone).dt.strftime("%Y-%m").alias("month")
    sums = slots.group_by(month).agg(pl.col("measured_kwh", "expected_kwh", "saved_kwh").sum(), slots=pl.len())
    return sums.sort("month")


def _claims(
    described: list[pl.DataFrame],
    *,
    fits: tuple[float, float],
    monthly: tuple[float, float] | None,
    saved_kwh: float,
    half_68: float,
    interval_minutes: int,
) -> tuple[Claim, ...]:
    before, after = described
    days = _days(before, interval_minutes)
    text = f"the baseline spans {days} days, {YEAR_DAYS} are wanted"
    found = [Claim(text=text, holds=days >= YEAR_DAYS, source=_A_YEAR)]
    for name, rows in (("baseline", before), ("reporting period", after)):
        read = rows.height * interval_minutes / 1440 / _days(rows, interval_minutes)
        text = f"{min(read, 1.0):.1%} of the {name} was read, {KNOWN_SHARE:.0%} are wanted"
        found.append(Claim(text=text, holds=read >= KNOWN_SHARE, source=_READ))
    warm = [rows["temperature_c"].drop_nulls().drop_nans() for rows in described]
    share = min(each.len() / rows.height for each, rows in zip(warm, described, strict=True))
    text = f"the temperature of {share:.1%} of the slots is known, {KNOWN_SHARE:.0%} are wanted"
    found.append(Claim(text=text, holds=share >= KNOWN_SHARE, source=_READ))
    if share > 0:
        low, high = (float(each) for each in (warm[0].min(), warm[0].max()))  # type: ignore[arg-type]
        outside = float(np.mean(~warm[1].is_between(low, high).to_numpy()))
        span = f"({low:.0f} to {high:.0f} °C)"
        text = f"{outside:.1%} of the reporting period was colder or warmer than the whole baseline {span}"
        found.append(Claim(text=text, holds=outside <= OUTSIDE_SHARE, source=_RANGE))
    limits = [("of the slots", fits, HOURLY_LIMITS)]
    limits += [] if monthly is None else [("of the months", monthly, MONTHLY_LIMITS)]
    for name, (cv, bias), (most_cv, most_bias) in limits:
        text = f"CV(RMSE) {name} is {cv:.1%} (at most {most_cv:.0%}), NMBE {bias:+.1%} (within {most_bias:.0%})"
        found.append(Claim(text=text, holds=cv <= most_cv and abs(bias) <= most_bias, source=_FIT))
    uncertain = half_68 / abs(saved_kwh) if saved_kwh else float("inf")
    wanted = f"less than {UNCERTAINTY_LIMIT:.0%} is wanted"
    text = f"at {UNCERTAINTY_CONFIDENCE:.0%} confidence the uncertainty is {uncertain:.0%} of the savings, {wanted}"
    return (*found, Claim(text=text, holds=uncertain < UNCERTAINTY_LIMIT, source=_UNCERTAINTY))


def _days(rows: pl.DataFrame, interval_minutes: int) -> int:
    """Return the days from the first to the end of the last row, a begun one as a whole."""
    minutes = (rows["starts_at_utc"][-1] - rows["starts_at_utc"][0]).total_seconds() / 60 + interval_minutes
    return max(1, int(-(-minutes // 1440)))
