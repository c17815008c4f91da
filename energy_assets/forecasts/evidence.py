"""What measured issues say of bands, centre, dependence and peaks: counts that `learning` pools over weeks.

Errors are counted as they were before the issue's own recipe was applied, so that each night learns anew how far to
go, and not how far beyond the last one.
"""

from __future__ import annotations

import math

import polars as pl

from energy_assets.contracts import FORECASTS_EVIDENCE
from energy_assets.forecasts.centre import KIND, mean_of_quantiles, median_before
from energy_assets.forecasts.learning import BIN_STEP, BINS, CENTRES, CORRELATIONS
from energy_assets.forecasts.nodes import PORTFOLIO
from energy_assets.forecasts.peak_learning import peak_evidence
from energy_assets.forecasts.scenarios import OPPOSITES, Dependence

_SCORE_80 = 1.2815516
_FARTHEST = 3.0
_DIGITS = 9
_LASTING_HOURS = 12
_CORRELATIONS = ("across_portfolio", "within_site", "within_premise")
_PLACES = {"premise": 0, "site": 1, PORTFOLIO: 2}
_ISSUE = "issued_at_utc"
_SLOT = (_ISSUE, "kind", "starts_at_utc")


def evidence_of(
    compared: pl.DataFrame, *, recipes: pl.DataFrame, meters: pl.DataFrame, peaks: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return rows of `forecasts.evidence` of the issues in `compared`.

    `compared` is what `actuals.with_actuals` returns, `recipes` the rows of `forecasts.recipes` of these issues; an
    issue without any was made with nothing applied. `meters` follows its contract. `peaks` is what
    `peak_learning.with_actual_peaks` returns.
    """
    issued = _with_recipe(compared, recipes=recipes, meters=meters)
    rows = issued.filter(pl.col("actual_kwh").is_not_null())
    if rows.is_empty():
        return FORECASTS_EVIDENCE.empty()
    sites = _sums(issued, "site_id")
    parts = [
        *_of_meters(rows),
        _covered(sites, compared, correlation="within_site", statistic="covered_site"),
        _covered(_sums(issued, "premise_id"), compared, correlation="within_premise", statistic="covered_premise"),
        _covered_portfolio(sites, compared),
        _hour_to_hour(rows),
        opposite(compared),
    ]
    if peaks is not None:
        parts.append(peak_evidence(peaks, recipes=recipes))
    return _rows_of(parts)


def evidence_of_meters(compared: pl.DataFrame, *, recipes: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """Return those rows of `evidence_of` that teach widths and centre of meters, which is what a back-test forecasts.

    `compared` needs meter rows of `forecasts.load` and their `actual_kwh`.
    """
    rows = _with_recipe(compared, recipes=recipes, meters=meters).filter(pl.col("actual_kwh").is_not_null())
    return FORECASTS_EVIDENCE.empty() if rows.is_empty() else _rows_of(_of_meters(rows))


def _of_meters(rows: pl.DataFrame) -> list[pl.DataFrame]:
    return [_half_bands(rows), _centre_of_meters(rows), _centre_of_sums(rows)]


def _rows_of(parts: list[pl.DataFrame]) -> pl.DataFrame:
    schema = FORECASTS_EVIDENCE.polars_schema
    made = pl.concat(part.select(pl.col(name).cast(dtype) for name, dtype in schema.items()) for part in parts)
    # The order of addition decides the last digits, and is not always the same.
    made = made.with_columns(pl.col("total").round_sig_figs(_DIGITS))
    return FORECASTS_EVIDENCE.conform(made.sort(FORECASTS_EVIDENCE.key))


def _with_recipe(compared: pl.DataFrame, *, recipes: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """Return meter slots with kind, and median, mean and factor before the recipe, sigma and error after it."""
    rows = compared.filter(pl.col("node_kind") == "meter").with_columns(kind=KIND)
    rows = rows.join(meters.select("premise_id", node_id="meter_id"), on="node_id", how="inner", validate="m:1")
    plain = Dependence()
    for parameter, subject, default in (
        ("centre", "kind", 0.0),
        ("widening", "method", 1.0),
        *((name, "kind", getattr(plain, name)) for name in _CORRELATIONS),
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


def _sums(issued: pl.DataFrame, place: str) -> pl.DataFrame:
    """Return per place and slot the sums of errors, variances and standard deviations of its meters that were read.

    `all_variance` and `all_together` are of all meters, read or not.
    """
    was_read = pl.col("actual_kwh").is_not_null()
    return issued.group_by(place, *_SLOT).agg(
        pl.col(*_CORRELATIONS).first(),
        meters=was_read.sum(),
        cadences=pl.col("interval_minutes").n_unique(),
        interval_minutes=pl.col("interval_minutes").first(),
        error=pl.col("error").sum(),
        variance=(pl.col("sigma") ** 2).filter(was_read).sum(),
        together=pl.col("sigma").filter(was_read).sum(),
        all_variance=(pl.col("sigma") ** 2).sum(),
        all_together=pl.col("sigma").sum(),
        node_id=pl.concat_str(pl.col(place).first(), pl.col("kind").first(), separator="|"),
    )


def _covered(sums: pl.DataFrame, compared: pl.DataFrame, *, correlation: str, statistic: str) -> pl.DataFrame:
    """Count the sums of two meters or more that lie within the 80 % band, by correlation of the meters."""
    several = sums.filter(pl.col("meters") > 1).with_columns(
        rest=pl.col("together") ** 2 - pl.col("variance"),
        published=pl.col("all_variance") + pl.col(correlation) * (pl.col("all_together") ** 2 - pl.col("all_variance")),
    )
    return _by_correlation(several, compared, statistic=statistic)


def _covered_portfolio(sites: pl.DataFrame, compared: pl.DataFrame) -> pl.DataFrame:
    """Count the portfolio's sums within the band by correlation across sites, these being as they were taken to be."""

    def own(variance: str, together: str) -> pl.Expr:
        return (pl.col(variance) + pl.col("within_site") * (pl.col(together) ** 2 - pl.col(variance))).sum()

    def across(together: str) -> pl.Expr:
        return pl.col(together).sum() ** 2 - (pl.col(together) ** 2).sum()

    sums = (
        sites.group_by(_SLOT)
        .agg(
            sites=(pl.col("meters") > 0).sum(),
            cadences=pl.max_horizontal(pl.col("cadences").max(), pl.col("interval_minutes").n_unique()),
            interval_minutes=pl.col("interval_minutes").first(),
            error=pl.col("error").sum(),
            variance=own("variance", "together"),
            rest=across("together"),
            published=own("all_variance", "all_together") + pl.col("across_portfolio").first() * across("all_together"),
            node_id=pl.concat_str(pl.lit(PORTFOLIO), pl.col("kind").first(), separator="|"),
        )
        .filter(pl.col("sites") > 1)
    )
    return _by_correlation(sums, compared, statistic="covered_portfolio")


def _by_correlation(sums: pl.DataFrame, compared: pl.DataFrame, *, statistic: str) -> pl.DataFrame:
    """Count the errors within the band of each correlation that is tried.

    The band that was published stands for what the formula does not know, as heavy tails: another correlation scales it
    as it scales the standard deviation. A sum of several cadences has none at its slots, and a normal one stands in.
    """
    nodes = compared.filter(pl.col("node_kind") != "meter").select(
        _ISSUE, "starts_at_utc", "node_id", "interval_minutes",
        up=pl.col("q90") - pl.col("q50"), down=pl.col("q50") - pl.col("q10"),
    )  # fmt: skip
    met = sums.join(nodes, on=[_ISSUE, "starts_at_utc", "node_id", "interval_minutes"], how="left", validate="1:1")
    half = pl.when(pl.col("error") >= 0).then("up").otherwise("down")
    ratio = pl.when(pl.col("cadences") == 1, pl.col("published") > 0).then(half / pl.col("published").sqrt())
    met = met.with_columns(ratio=ratio.fill_null(_SCORE_80))
    bands = {
        str(place): (
            pl.col("error").abs() <= pl.col("ratio") * (pl.col("variance") + each * pl.col("rest")).sqrt()
        ).sum()
        for place, each in enumerate(CORRELATIONS)
    }
    counted = met.group_by(_ISSUE, subject="kind").agg(slots=pl.len(), **bands)
    long = counted.unpivot(list(bands), index=[_ISSUE, "subject", "slots"], variable_name="bin", value_name="total")
    return long.with_columns(statistic=pl.lit(statistic))


def _hour_to_hour(rows: pl.DataFrame) -> pl.DataFrame:
    """Add up products of scores an hour apart (bin 0) and twelve (bin 2), and the squares to compare with (1, 3)."""
    scores = rows.select(
        _ISSUE, "node_id", "kind", "starts_at_utc",
        score=(pl.col("error") / pl.col("sigma")).clip(-_FARTHEST, _FARTHEST),
    ).filter(pl.col("score").is_finite())  # fmt: skip
    sums = None
    for first, hours in ((0, 1), (2, _LASTING_HOURS)):
        later = scores.with_columns(pl.col("starts_at_utc") + pl.duration(hours=hours)).drop("kind")
        pairs = scores.join(later, on=[_ISSUE, "node_id", "starts_at_utc"], how="inner", suffix="_before")
        squares = (pl.col("score") ** 2 + pl.col("score_before") ** 2) / 2
        of_lag = pairs.group_by(_ISSUE, subject="kind").agg(
            pl.len().alias("slots"),
            (pl.col("score") * pl.col("score_before")).sort().sum().alias(str(first)),
            squares.sort().sum().alias(str(first + 1)),
        )
        bins = [str(first), str(first + 1)]
        long = of_lag.unpivot(bins, index=[_ISSUE, "subject", "slots"], variable_name="bin", value_name="total")
        sums = long if sums is None else pl.concat([sums, long])
    assert sums is not None
    return sums.with_columns(statistic=pl.lit("hour_to_hour"))


def opposite(compared: pl.DataFrame) -> pl.DataFrame:
    """Return, by issue and level of places, how errors of what is fed in and of what is drawn there go together.

    `compared` as for `evidence_of`. Of each place it is the sum of the products of both errors over that of the
    products of both deviations. The bin is the level: premise, site, portfolio.
    """
    deviation = (pl.col("q90") - pl.col("q10")) / (2 * _SCORE_80)
    farthest = _FARTHEST * deviation
    nodes = compared.filter(pl.col("node_kind") != "meter", pl.col("actual_kwh").is_not_null()).select(
        _ISSUE, "starts_at_utc", "interval_minutes", "commodity", "direction",
        level=pl.col("node_kind").replace_strict(_PLACES, return_dtype=pl.Int64),
        place=pl.col("node_id").str.extract(r"^(.*)\|[^|]+\|[^|]+$"),
        error=(pl.col("actual_kwh") - pl.col("q50")).clip(-farthest, farthest),
        deviation=deviation,
    )  # fmt: skip
    parts = []
    key = [_ISSUE, "starts_at_utc", "interval_minutes", "commodity", "level", "place"]
    for fed, drawn in OPPOSITES.items():
        one, other = (nodes.filter(direction=each).drop("direction") for each in (fed, drawn))
        both = one.join(other, on=key, how="inner", suffix="_drawn", validate="1:1")
        of_places = both.group_by(_ISSUE, "commodity", "level", "place").agg(
            together=(pl.col("error") * pl.col("error_drawn")).sort().sum(),
            apart=(pl.col("deviation") * pl.col("deviation_drawn")).sort().sum(),
        )
        ratio = (pl.col("together") / pl.col("apart")).sort()
        parts.append(
            of_places.filter(pl.col("apart") > 0)
            .group_by(_ISSUE, "commodity", bin="level")
            .agg(slots=pl.len(), total=ratio.sum())
            .with_columns(subject=pl.concat_str("commodity", pl.lit(fed), separator="|"))
        )
    return pl.concat(parts).with_columns(statistic=pl.lit("opposite"))
