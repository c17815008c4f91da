"""What past forecasts and readings teach the next ones: how wide each rung's band must be, how errors hang together."""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.forecasts.ladder import Widening
from energy_assets.forecasts.scenarios import LEVEL_SCORES

_FEWEST_ROWS = 500
_OUTERMOST_SCORE = 3.0


def widening_of(compared: pl.DataFrame, *, applied: Widening) -> dict[str, float]:
    """Return by rung the widening with which the q10-q90 bands would have covered 80 %.

    `compared` is what `actuals.with_actuals` returns, `applied` the widening with which it was published. Rungs with
    fewer than 500 measured meter slots are left out. The factor on what was applied is the 0.8 quantile of the error
    in half-bands (split-conformal, Romano, Patterson and Candès 2019), the result within 0.5 to 3.
    """
    above = pl.col("actual_kwh") >= pl.col("q50")
    error = (pl.col("actual_kwh") - pl.col("q50")).abs()
    half = pl.when(above).then(pl.col("q90") - pl.col("q50")).otherwise(pl.col("q50") - pl.col("q10"))
    factors = (
        compared.filter(pl.col("node_kind") == "meter", pl.col("actual_kwh").is_not_null())
        .with_columns(in_half_bands=error / half)
        .filter(~pl.col("in_half_bands").is_nan())
        .group_by("method")
        .agg(rows=pl.len(), factor=pl.col("in_half_bands").quantile(0.8, "higher"))
        .filter(pl.col("rows") >= _FEWEST_ROWS)
        .sort("method")
    )
    measured = factors.select("method", "factor").iter_rows()
    return {rung: min(max(applied.get(rung, 1.0) * factor, 0.5), 3.0) for rung, factor in measured}


def normal_scores(compared: pl.DataFrame, *, meters: pl.DataFrame) -> pl.DataFrame:
    """Return meter_id, premise_id, site_id, starts_at_utc and score for `scenarios.estimate_dependence`.

    The score is the standard normal quantile at which the reading lies in its own forecast, linear between levels and
    cut at three standard deviations.
    """
    rows = compared.filter(pl.col("node_kind") == "meter", pl.col("actual_kwh").is_not_null())
    rows = rows.rename({"node_id": "meter_id"}).drop("site_id")
    rows = rows.join(meters.select("meter_id", "premise_id", "site_id"), on="meter_id", how="inner", validate="m:1")
    quantiles = rows.select(QUANTILE_COLUMNS).to_numpy()
    actual = rows["actual_kwh"].to_numpy()
    segment = np.clip((actual[:, None] >= quantiles).sum(axis=1) - 1, 0, quantiles.shape[1] - 2)
    index = np.arange(len(actual))
    low, high = quantiles[index, segment], quantiles[index, segment + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(high > low, (actual - low) / (high - low), np.sign(actual - low))
    knots = LEVEL_SCORES.astype(np.float64)
    score = np.clip(knots[segment] + share * np.diff(knots)[segment], -_OUTERMOST_SCORE, _OUTERMOST_SCORE)
    return rows.select("meter_id", "premise_id", "site_id", "starts_at_utc").with_columns(score=pl.Series(score))
