"""Peaks of local days against what happened: how they held, and how the next ones are to be moved and widened.

A forecast of every hour may be right and its highest hour still be said too high: of many uncertain hours one is always
high, and what is wrong about the hours of the peak (a school that closes earlier) is lost among all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_assets.contracts import FORECASTS_SKILL, LEVELS
from energy_assets.contracts.forecasts import PEAK_HOURS
from energy_assets.forecasts.nodes import zone_of_node

Doubles = npt.NDArray[np.float64]
CLASS = 0.1
"""Width of a class of errors, in half-bands."""
_FARTHEST = 50
_FEWEST_ISSUES = 3
_DOUBT_TO_WIDEN, _DOUBT_TO_NARROW = 3.0, 10.0
_NOMINAL = 0.8
_NARROWEST, _WIDEST = 0.5, 3.0
_STATISTIC = "peaks"
_ONE_DEVIATION = 0.68
_MEDIAN_ERROR = 1.25
"""Standard error of a median over that of a mean, of normal errors."""


@dataclass(frozen=True, kw_only=True)
class PeakCorrection:
    """How the scenarios of a peak are moved, in half-bands to that side, and spread about their median."""

    shift: float = 0.0
    widening: float = 1.0


AS_DRAWN = PeakCorrection()


def subject_of(level: str, *, commodity: str, direction: str) -> str:
    """Return the subject under which peaks of a level (premise, site, portfolio) are learned."""
    return f"{level}|{commodity}|{direction}"


def corrected(highest: Doubles, corrections: Sequence[PeakCorrection]) -> Doubles:
    """Return the highest loads [node, scenario] as the corrections of their nodes have them.

    Loads that are never negative stay so.
    """
    shift, widening = np.array([[each.shift, each.widening] for each in corrections]).T[..., None]
    low, median, high = np.quantile(highest, [LEVELS["q10"], LEVELS["q50"], LEVELS["q90"]], axis=1)[..., None]
    half = np.where(shift >= 0, high - median, median - low)
    moved: Doubles = median + shift * half + widening * (highest - median)
    floor = np.where(highest.min(axis=1, keepdims=True) >= 0, 0.0, -np.inf)
    return np.maximum(moved, floor)


def with_actual_peaks(peaks: pl.DataFrame, *, compared: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `forecasts.peaks` whose days were read, with `subject`, `actual_kw` and its local `actual_hour`.

    `compared` is what `actuals.with_actuals` returns for the same issues; `sites` follows its contract.
    """
    rows = compared.filter(pl.col("node_kind") != "meter")
    zones = dict(sites.select("site_id", "timezone").iter_rows())
    days = [
        group.with_columns(local=pl.col("starts_at_utc").dt.convert_time_zone(zone_of_node(site, zones))).with_columns(
            local_date=pl.col("local").dt.date(), local_hour=pl.col("local").dt.hour().cast(pl.Int64)
        )
        for (site,), group in rows.partition_by("site_id", as_dict=True).items()
    ]
    if not days:
        return peaks.clear().with_columns(
            subject=pl.lit(""), actual_kw=pl.lit(None, pl.Float64), actual_hour=pl.lit(None, pl.Int64)
        )
    power = pl.col("actual_kwh") * 60 / pl.col("interval_minutes")
    actual = (
        pl.concat(day.drop("local") for day in days)
        .group_by("node_id", "issued_at_utc", "local_date")
        .agg(
            subject=pl.concat_str("node_kind", "commodity", "direction", separator="|").first(),
            actual_kw=power.max(),
            actual_hour=pl.col("local_hour").sort_by("starts_at_utc").get(power.sort_by("starts_at_utc").arg_max()),
            is_known=pl.col("actual_kwh").is_not_null().all(),
        )
        .filter("is_known")
        .drop("is_known")
    )
    return peaks.join(actual, on=["node_id", "issued_at_utc", "local_date"], how="inner", validate="1:1")


def peak_evidence(measured: pl.DataFrame, *, recipes: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `forecasts.evidence`: errors of peaks in half-bands, as they were before any correction, by class.

    `measured` is what `with_actual_peaks` returns, `recipes` the rows of `forecasts.recipes` of its issues.
    """
    rows = measured
    for parameter, default in (("peak_shift", 0.0), ("peak_widening", 1.0)):
        applied = recipes.filter(parameter=parameter).select(
            "issued_at_utc", "subject", pl.col("value").alias(parameter)
        )
        rows = rows.join(applied, on=["issued_at_utc", "subject"], how="left", validate="m:1")
        rows = rows.with_columns(pl.col(parameter).fill_null(default))
    widening, shift = pl.col("peak_widening"), pl.col("peak_shift")
    up, down = (pl.col("q90") - pl.col("q50")) / widening, (pl.col("q50") - pl.col("q10")) / widening
    away = pl.col("actual_kw") - pl.col("q50") + shift * pl.when(shift >= 0).then(up).otherwise(down)
    error = away / pl.when(away >= 0).then(up).otherwise(down)
    return (
        rows.select("issued_at_utc", "subject", error=error)
        .filter(~pl.col("error").is_nan())
        .with_columns(bin=(pl.col("error") / CLASS).clip(-_FARTHEST, _FARTHEST).floor().cast(pl.Int64))
        .group_by("issued_at_utc", "subject", "bin")
        .agg(slots=pl.len(), total=pl.len())
        .with_columns(statistic=pl.lit(_STATISTIC))
    )


def corrections_from(known: pl.DataFrame, *, weight: pl.Expr) -> Mapping[str, PeakCorrection]:
    """Return what rows of `forecasts.evidence` teach, by subject; each issue counts by `weight`.

    The shift is the median error, drawn to nothing as far as its own standard error could explain it (James and Stein
    1961). The widening is the size that 80 % of the errors left keep below, with one issue more than there are
    (split-conformal, Romano, Patterson and Candès 2019), drawn to 1 as if that were known from three issues, from ten
    where it narrows: a band that is too wide misleads less.
    """
    found = {}
    rows = known.filter(statistic=_STATISTIC).with_columns(weight=weight).sort("issued_at_utc", "bin")
    for (subject,), group in sorted(rows.partition_by("subject", as_dict=True).items(), key=str):
        issues = group.unique("issued_at_utc")
        if issues.height >= _FEWEST_ISSUES:
            found[str(subject)] = _correction(group, independent=_as_many(issues["weight"].sort().to_numpy()))
    return found


def _correction(group: pl.DataFrame, *, independent: float) -> PeakCorrection:
    errors = (group["bin"].to_numpy() + 0.5) * CLASS
    weights = group["slots"].to_numpy() * group["weight"].to_numpy()
    median = _quantile(errors, weights, 0.5)
    error = _MEDIAN_ERROR * _quantile(np.abs(errors - median), weights, _ONE_DEVIATION) / np.sqrt(independent)
    shift = median * max(0.0, 1.0 - (error / median) ** 2) if median else 0.0
    level = min(_NOMINAL * (1 + 1 / independent), 1.0)
    size = _quantile(np.abs(errors - shift), weights, level)
    doubt = _DOUBT_TO_WIDEN if size > 1 else _DOUBT_TO_NARROW
    widening = (size * independent + doubt) / (independent + doubt)
    return PeakCorrection(shift=float(shift), widening=float(np.clip(widening, _NARROWEST, _WIDEST)))


def _as_many(weights: Doubles) -> float:
    """Return how many equal weights say as much (Kish 1965)."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def _quantile(values: Doubles, weights: Doubles, level: float) -> float:
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    return float(np.interp(level, share - weights[order] / weights.sum() / 2, values[order]))


def peak_skill(measured: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `forecasts.skill` per node and issue: peak_nmae, peak_bias, peak_coverage_80, peak_hour_share.

    The last is the share of scenarios that had the peak in the hour in which it came; 1/24 knows nothing.
    """
    actual = pl.col("actual_kw")
    error = pl.col("q50") - actual
    table = (
        measured.group_by("node_id", window_start_utc="issued_at_utc")
        .agg(
            window_days=pl.len(),
            peak_nmae=error.abs().mean() / actual.abs().mean(),
            peak_bias=error.mean() / actual.abs().mean(),
            peak_coverage_80=actual.is_between("q10", "q90").mean(),
            peak_hour_share=pl.coalesce(
                pl.when(pl.col("actual_hour") == hour).then(f"hour_{hour:02d}") for hour in range(PEAK_HOURS)
            ).mean(),
        )
        .with_columns(model=pl.lit("published"))
    )
    index = ["model", "node_id", "window_start_utc", "window_days"]
    long = table.unpivot(index=index, variable_name="metric")
    long = long.filter(pl.col("value").is_finite())
    return FORECASTS_SKILL.conform(long.select(FORECASTS_SKILL.column_names).sort(FORECASTS_SKILL.key))
