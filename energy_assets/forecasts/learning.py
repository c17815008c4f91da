"""What past forecasts and readings teach the next ones: widths of bands, the centre, how errors hang together, peaks.

Every measured issue leaves counts (`forecasts.evidence`); a night pools those of the weeks before it, the newer the
more, and draws each parameter to what it would be without evidence, the less the fewer issues speak. What was found
and applied is kept with the issue (`forecasts.recipes`), so that it can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from energy_assets.contracts import FORECASTS_RECIPES, UTC_TIME
from energy_assets.forecasts.ladder import Widening
from energy_assets.forecasts.peak_learning import PeakCorrection, corrections_from
from energy_assets.forecasts.scenarios import SCENARIOS, Dependence

MEMORY = timedelta(days=42)
MEASURED_AFTER = timedelta(days=3)
"""Until all readings of an issue's slots are there: nothing younger is learned from."""
CENTRES = (0.0, 0.25, 0.5, 0.75, 1.0)
CORRELATIONS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.95)
BIN_STEP = 1.05
"""Classes of errors in half-bands grow by this factor."""
BINS = 60
_HALF_LIFE_DAYS = 14.0
_FEWEST_ROWS = 500
_ISSUES_OF_DOUBT = 3.0
_ERRORS_FOR_SURE = 2.0
_NARROWEST, _WIDEST = 0.5, 3.0
_NOMINAL = 0.8
_MOST_PERSISTENT = 0.98
_MOST_OPPOSITE = 0.9
_LEVELS = {"across_portfolio": "covered_portfolio", "within_site": "covered_site", "within_premise": "covered_premise"}
_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What is applied to an issue; without evidence, nothing is.

    Attributes:
        widening: factor on the bands, by rung.
        centre: how far the median of each meter moves to the mean of its distribution, by kind. Sums of medians of
            skewed loads are too small; the mean adds up.
        dependence: of scenarios, by kind.
        peaks: correction of the highest loads of days, by level and kind.
    """

    widening: Widening = field(default_factory=dict)
    centre: Mapping[str, float] = field(default_factory=dict)
    dependence: Mapping[str, Dependence] = field(default_factory=dict)
    peaks: Mapping[str, PeakCorrection] = field(default_factory=dict)


def learned_from(evidence: pl.DataFrame, *, issued_at_utc: datetime) -> Learned:
    """Return what rows of `forecasts.evidence` teach an issue; those of issues less than three days old are not seen.

    Widening: the 0.8 quantile of the errors in half-bands that were not widened (split-conformal, Romano, Patterson and
    Candès 2019). Centre: where relative errors of meters and sums surely fall. Dependence: the correlation with which
    80 % of the sums had lain in their bands.
    """
    known = evidence.filter(
        pl.col("issued_at_utc") <= issued_at_utc - MEASURED_AFTER, pl.col("issued_at_utc") > issued_at_utc - MEMORY
    )
    weight = _weight(issued_at_utc)
    # Sorting inside the group fixes the order of addition, which decides the last bit.
    pooled = (
        known.sort("issued_at_utc")
        .group_by("statistic", "subject", "bin", maintain_order=True)
        .agg(slots=(pl.col("slots") * weight).sum(), total=(pl.col("total") * weight).sum())
        .sort("statistic", "subject", "bin")
    )
    issues = dict(known.group_by("subject").agg(pl.col("issued_at_utc").n_unique()).iter_rows())
    measured = dict(known.filter(statistic="half_bands").group_by("subject").agg(pl.col("slots").sum()).iter_rows())
    tables = pooled.partition_by("statistic", "subject", as_dict=True)
    kinds = sorted({str(subject) for statistic, subject in tables if str(statistic) not in ("half_bands", "peaks")})
    return Learned(
        widening={
            str(rung): _trusted(_factor(group), prior=1.0, issues=issues[rung])
            for (statistic, rung), group in sorted(tables.items(), key=str)
            if statistic == "half_bands" and measured[rung] >= _FEWEST_ROWS
        },
        centre={
            kind: _centre(known.filter(subject=kind), issued_at_utc=issued_at_utc, issues=issues[kind])
            for kind in kinds
            if ("centre_of_meters", kind) in tables and ("centre_of_sums", kind) in tables
        },
        dependence={kind: _dependence(tables, kind=kind, issues=issues[kind]) for kind in kinds},
        peaks=corrections_from(known, weight=weight),
    )


def recipe_of(learned: Learned, *, issued_at_utc: datetime, seed: int, scenarios: int = SCENARIOS) -> pl.DataFrame:
    """Return rows of `forecasts.recipes` that say what an issue is made with."""
    rows = [("seed", _ALL, float(seed)), ("scenarios", _ALL, float(scenarios))]
    rows += [("widening", rung, factor) for rung, factor in learned.widening.items()]
    rows += [("centre", kind, share) for kind, share in learned.centre.items()]
    rows += [(name, kind, value) for kind, each in learned.dependence.items() for name, value in vars(each).items()]
    for subject, each in learned.peaks.items():
        rows += [("peak_shift", subject, each.shift), ("peak_widening", subject, each.widening)]
    made = pl.DataFrame(rows, schema={"parameter": pl.String, "subject": pl.String, "value": pl.Float64}, orient="row")
    return FORECASTS_RECIPES.conform(
        made.with_columns(issued_at_utc=pl.lit(issued_at_utc, UTC_TIME)).sort("parameter", "subject")
    )


def learned_of(recipe: pl.DataFrame) -> Learned:
    """Return what an issue was made with from its rows of `forecasts.recipes`."""
    values: dict[str, dict[str, float]] = {}
    for parameter, subject, value in recipe.select("parameter", "subject", "value").iter_rows():
        values.setdefault(parameter, {})[subject] = value
    kinds = values.get("within_site", {})
    return Learned(
        widening=values.get("widening", {}),
        centre=values.get("centre", {}),
        dependence={
            kind: Dependence(
                **{name: values[name][kind] for name in (*_LEVELS, "hour_to_hour", "lasting")},
                with_opposite=values.get("with_opposite", {}).get(kind, 0.0),
            )
            for kind in kinds
        },
        peaks={
            subject: PeakCorrection(shift=shift, widening=values["peak_widening"][subject])
            for subject, shift in values.get("peak_shift", {}).items()
        },
    )


def _trusted(found: float, *, prior: float, issues: int) -> float:
    """Return what was found, drawn to what holds without evidence as if that were known from three issues."""
    return float((found * issues + prior * _ISSUES_OF_DOUBT) / (issues + _ISSUES_OF_DOUBT))


def _factor(group: pl.DataFrame) -> float:
    """Return the 0.8 quantile of errors in half-bands from their classes."""
    share = np.cumsum(group["slots"].to_numpy()) / group["slots"].sum()
    at = int(np.searchsorted(share, _NOMINAL))
    below = share[at - 1] if at else 0.0
    inside = (_NOMINAL - below) / max(share[at] - below, 1e-12)
    return float(np.clip(BIN_STEP ** (group["bin"][at] + inside), _NARROWEST, _WIDEST))


def _weight(issued_at_utc: datetime) -> pl.Expr:
    """Return how much an issue counts for another: half as much with each half-life between them."""
    age = (pl.lit(issued_at_utc, UTC_TIME) - pl.col("issued_at_utc")).dt.total_hours() / 24
    return 0.5 ** (age / _HALF_LIFE_DAYS)


def _centre(known: pl.DataFrame, *, issued_at_utc: datetime, issues: int) -> float:
    """Return how far from median to mean the relative errors of meters and of sums together surely fall.

    Of the shares that are tried it is the one whose mean gain over issues, less twice its standard error, is greatest;
    none where that is no gain. A few odd nights would otherwise move what all others have right.
    """
    weights = known.select("issued_at_utc", weight=_weight(issued_at_utc)).unique("issued_at_utc").sort("issued_at_utc")
    if weights.height == 1:
        return 0.0
    errors = np.zeros((weights.height, len(CENTRES)))
    share = weights["weight"].to_numpy() / weights["weight"].sum()
    for statistic in ("centre_of_meters", "centre_of_sums"):
        of_issues = known.filter(statistic=statistic).pivot("bin", index="issued_at_utc", values="total")
        wide = weights.join(of_issues, on="issued_at_utc", how="left").sort("issued_at_utc")
        each = wide.select(pl.col(str(place)).fill_null(0.0) for place in range(len(CENTRES))).to_numpy()
        errors += each / max(float(share @ each[:, 0]), 1e-12)
    gains = errors[:, :1] - errors
    mean = share @ gains
    doubt = np.sqrt(share**2 @ (gains - mean) ** 2 / max(1.0 - float(share @ share), 1e-3))
    best = int(np.argmax(mean - _ERRORS_FOR_SURE * doubt))
    return _trusted(CENTRES[best], prior=0.0, issues=issues)


def _dependence(tables: Mapping[tuple[object, ...], pl.DataFrame], *, kind: str, issues: int) -> Dependence:
    plain = Dependence()
    known = {
        name: _trusted(_correlation(tables[statistic, kind]), prior=getattr(plain, name), issues=issues)
        for name, statistic in _LEVELS.items()
        if (statistic, kind) in tables
    }
    site = known.get("within_site", plain.within_site)
    # What has not been seen gives way to what has: nobody shares more with another site than within his own.
    portfolio = known.get("across_portfolio", min(plain.across_portfolio, site))
    site = max(site, portfolio)
    premise = max(site, known.get("within_premise", plain.within_premise))
    hours, lasting = plain.hour_to_hour, plain.lasting
    if ("hour_to_hour", kind) in tables:
        totals = dict(tables["hour_to_hour", kind].select("bin", "total").iter_rows())
        products, squares = totals[0], totals[1]
        hours = _trusted(
            float(np.clip(products / max(squares, 1e-12), 0, _MOST_PERSISTENT)), prior=hours, issues=issues
        )
        if totals.get(3):
            lasting = _trusted(float(np.clip(totals[2] / totals[3], 0, 1)), prior=lasting, issues=issues)
    opposite = 0.0
    if ("opposite", kind) in tables:
        of_levels = tables["opposite", kind].select(pl.col("total") / pl.col("slots")).to_series()
        found = float(np.clip(of_levels.mean(), -_MOST_OPPOSITE, _MOST_OPPOSITE))  # type: ignore[arg-type]
        opposite = _trusted(found, prior=0.0, issues=issues)
    return Dependence(
        across_portfolio=portfolio,
        within_site=site,
        within_premise=premise,
        hour_to_hour=hours,
        lasting=min(lasting, hours),
        with_opposite=opposite,
    )


def _correlation(group: pl.DataFrame) -> float:
    """Return the correlation at which 80 % of the sums had been covered, linear between those that were tried."""
    covered = group.sort("bin").select(pl.col("total") / pl.col("slots")).to_series().to_numpy()
    return float(np.interp(_NOMINAL, np.maximum.accumulate(covered), CORRELATIONS))
