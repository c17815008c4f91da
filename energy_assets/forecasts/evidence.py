"""What measured issues say of bands, centre and dependence: counts that `learning` pools over weeks.

Errors are counted as they were before the issue's own recipe was applied, so that each night learns anew how far to
go, and not how far beyond the last one.
"""

from __future__ import annotations

import math

import polars as pl

from energy_assets.contracts import FORECASTS_EVIDENCE
from energy_assets.forecasts.centre import KIND, mean_of_quantiles, median_before
from energy_assets.forecasts.learning import BIN_STEP, BINS, CENTRES, CORRELATIONS
from energy_assets.forecasts.scenarios import Dependence

_SCORE_80 = 1.2815516
_FARTHEST = 3.0
_ISSUE = "issued_at_utc"
_SLOT = (_ISSUE, "kind", "starts_at_utc")


def evidence_of(compared: pl.DataFrame, *, recipes: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `forecasts.evidence` of the issues in `compared`.

    `compared` is what `actuals.with_actuals` returns, `recipes` the rows of `forecasts.recipes` of these issues; an
    issue without any was made with nothing applied. `meters` follows its contract.
    """
    rows = _measured(compared, recipes=recipes, meters=meters)
    if rows.is_empty():
        return FORECASTS_EVIDENCE.empty()
    sites = _sums(rows, "site_id")
    parts = [
        _half_bands(rows),
        _centre_of_meters(rows),
        _centre_of_sums(rows),
        _covered(sites, "covered_site"),
        _covered(_sums(rows, "premise_id"), "covered_premise"),
        _covered_portfolio(sites),
        _hour_to_hour(rows),
    ]
    schema = FORECASTS_EVIDENCE.polars_schema
    made = pl.concat(part.select(pl.col(name).cast(dtype) for name, dtype in schema.items()) for part in parts)
    return FORECASTS_EVIDENCE.conform(made.sort(FORECASTS_EVIDENCE.key))


def _measured(compared: pl.DataFrame, *, recipes: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """Return meter slots that were read: kind, median, mean and factor before the recipe, sigma and error after it."""
    rows = compared.filter(pl.col("node_kind") == "meter", pl.col("actual_kwh").is_not_null()).with_columns(kind=KIND)
    rows = rows.join(meters.select("premise_id", node_id="meter_id"), on="node_id", how="inner", validate="m:1")
    for parameter, subject, default in (
        ("centre", "kind", 0.0),
        ("widening", "method", 1.0),
        ("within_site", "kind", Dependence().within_site),
    ):
        applied = recipes.filter(parameter=parameter).select(
            _ISSUE, pl.col("subject").alias(subject), pl.col("value").alias(parameter)
        )
        rows = rows.join(applied, on=[_ISSUE, subject], how="left", validate="m:1").with_columns(
            pl.col(parameter).fill_null(default)
        )
    return rows.with_columns(median=median_before(pl.col("centre"))).with_columns(
        mean=mean_of_quantiles() - 0.25 * (pl.col("q50") - pl.col("median")),
        sigma=(pl.col("q90") - pl.col("q10")) / (2 * _SCORE_80),
        error=pl.col("actual_kwh") - pl.col("q50"),
    )


def _half_bands(rows: pl.DataFrame) -> pl.DataFrame:
    """Count errors of medians by class of their size in half-bands that nothing had widened."""
    away = pl.col("actual_kwh") - pl.col("median")
    half = pl.when(away >= 0).then(pl.col("q90") - pl.col("median")).otherwise(pl.col("median") - pl.col("q10"))
    ratio = away.abs() / half * pl.col("widening")
    place = (ratio.log() / math.log(BIN_STEP)).floor().clip(-BINS, BINS)
    return (
        rows.select(_ISSUE, subject="method", ratio=ratio, bin=place)
        .filter(~pl.col("ratio").is_nan())
        .group_by(_ISSUE, "subject", "bin")
        .agg(slots=pl.len(), total=pl.len())
        .with_columns(statistic=pl.lit("half_bands"))
    )


def _centres() -> dict[str, pl.Expr]:
    """Return the error of each centre that is tried, by its place in the grid."""
    return {
        str(place): pl.col("actual_kwh") - pl.col("median") - share * (pl.col("mean") - pl.col("median"))
        for place, share in enumerate(CENTRES)
    }


def _centre_of_meters(rows: pl.DataFrame) -> pl.DataFrame:
    """Add up the meters' absolute errors, each as a share of its energy, by centre."""
    energy = pl.col("actual_kwh").abs().sum()
    of_meters = rows.group_by(_ISSUE, "kind", "node_id").agg(
        energy=energy, slots=pl.len(), **{name: error.abs().sum() for name, error in _centres().items()}
    )
    shares = of_meters.filter(pl.col("energy") > 0).with_columns(pl.col(list(_centres())) / pl.col("energy"))
    return _by_place(shares, "centre_of_meters")


def _centre_of_sums(rows: pl.DataFrame) -> pl.DataFrame:
    """Add up the absolute errors of sites' and the portfolio's sums, each as a share of its energy, by centre."""
    errors = rows.with_columns(**_centres())
    parts = []
    for place in ([], ["site_id"]):
        sums = (
            errors.group_by(*place, *_SLOT)
            .agg(pl.col("actual_kwh", *_centres()).sum(), meters=pl.len())
            .filter(pl.col("meters") > 1)
        )
        of_nodes = sums.group_by(*place, _ISSUE, "kind").agg(
            pl.col(list(_centres())).abs().sum(), energy=pl.col("actual_kwh").abs().sum(), slots=pl.len()
        )
        shares = of_nodes.filter(pl.col("energy") > 0).with_columns(pl.col(list(_centres())) / pl.col("energy"))
        of_level = pl.col(list(_centres())).mean()  # many sites weigh together as much as the portfolio does
        parts.append(shares.group_by(_ISSUE, "kind").agg(of_level, pl.col("slots").sum()))
    return _by_place(pl.concat(parts), "centre_of_sums")


def _by_place(shares: pl.DataFrame, statistic: str) -> pl.DataFrame:
    totals = shares.group_by(_ISSUE, "kind").agg(pl.col("slots").sum(), pl.col(list(_centres())).sort().sum())
    long = totals.unpivot(list(_centres()), index=[_ISSUE, "kind", "slots"], variable_name="bin", value_name="total")
    return long.rename({"kind": "subject"}).with_columns(statistic=pl.lit(statistic))


def _sums(rows: pl.DataFrame, place: str) -> pl.DataFrame:
    """Return per place and slot the sums of errors, of variances and of standard deviations of its meters."""
    return rows.group_by(place, *_SLOT).agg(
        meters=pl.len(),
        within_site=pl.col("within_site").first(),
        error=pl.col("error").sum(),
        variance=(pl.col("sigma") ** 2).sum(),
        together=pl.col("sigma").sum(),
    )


def _covered(sums: pl.DataFrame, statistic: str) -> pl.DataFrame:
    """Count the sums of two meters or more that lie within the 80 % band, by correlation of the meters."""
    several = sums.filter(pl.col("meters") > 1)
    return _by_correlation(several, "variance", pl.col("together") ** 2 - pl.col("variance"), statistic=statistic)


def _covered_portfolio(sites: pl.DataFrame) -> pl.DataFrame:
    """Count the portfolio's sums within the band by correlation across sites, these being as they were taken to be."""
    own = pl.col("variance") + pl.col("within_site") * (pl.col("together") ** 2 - pl.col("variance"))
    sums = (
        sites.group_by(_SLOT)
        .agg(
            sites=pl.len(),
            error=pl.col("error").sum(),
            variance=own.sum(),
            squares=(pl.col("together") ** 2).sum(),
            together=pl.col("together").sum(),
        )
        .filter(pl.col("sites") > 1)
    )
    return _by_correlation(sums, "variance", pl.col("together") ** 2 - pl.col("squares"), statistic="covered_portfolio")


def _by_correlation(sums: pl.DataFrame, variance: str, covariance: pl.Expr, *, statistic: str) -> pl.DataFrame:
    bands = {
        str(place): (pl.col("error").abs() <= _SCORE_80 * (pl.col(variance) + each * covariance).sqrt()).sum()
        for place, each in enumerate(CORRELATIONS)
    }
    counted = sums.group_by(_ISSUE, subject="kind").agg(slots=pl.len(), **bands)
    long = counted.unpivot(list(bands), index=[_ISSUE, "subject", "slots"], variable_name="bin", value_name="total")
    return long.with_columns(statistic=pl.lit(statistic))


def _hour_to_hour(rows: pl.DataFrame) -> pl.DataFrame:
    """Add up products of scores an hour apart (bin 0), and the squares that they compare with (bin 1)."""
    scores = rows.select(
        _ISSUE, "node_id", "kind", "starts_at_utc",
        score=(pl.col("error") / pl.col("sigma")).clip(-_FARTHEST, _FARTHEST),
    ).filter(pl.col("score").is_finite())  # fmt: skip
    later = scores.with_columns(pl.col("starts_at_utc") + pl.duration(hours=1)).drop("kind")
    pairs = scores.join(later, on=[_ISSUE, "node_id", "starts_at_utc"], how="inner", suffix="_before")
    squares = (pl.col("score") ** 2 + pl.col("score_before") ** 2) / 2
    sums = pairs.group_by(_ISSUE, subject="kind").agg(
        pl.len().alias("slots"), (pl.col("score") * pl.col("score_before")).sort().sum().alias("0"),
        squares.sort().sum().alias("1"),
    )  # fmt: skip
    long = sums.unpivot(["0", "1"], index=[_ISSUE, "subject", "slots"], variable_name="bin", value_name="total")
    return long.with_columns(statistic=pl.lit("hour_to_hour"))
