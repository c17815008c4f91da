"""The median moved towards the mean: skewed meters rarely reach their mean, but sums of them do.

What is published as a meter's median is what adds up to its premise, site and portfolio, so it may have to lie nearer
to the mean than the median does. How far is learned per kind (`learning`), and can be taken back exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

_WEIGHTS = {"q05": 0.075, "q10": 0.1, "q25": 0.2, "q50": 0.25, "q75": 0.2, "q90": 0.1, "q95": 0.075}
"""Of the quantiles in the mean: half the probability to either neighbour, and the tails beyond the outermost."""
_OTHERS = pl.sum_horizontal(pl.col(name) * weight for name, weight in _WEIGHTS.items() if name != "q50")
KIND = pl.concat_str("commodity", "direction", separator="|")


def mean_of_quantiles() -> pl.Expr:
    """Return the mean of a distribution from its quantiles."""
    return _OTHERS + _WEIGHTS["q50"] * pl.col("q50")


def centred(forecasts: pl.DataFrame, *, shares: Mapping[str, float]) -> pl.DataFrame:
    """Return meter rows of `forecasts.load` with `q50` moved that share of the way to the mean, by kind.

    It stays between its neighbours q25 and q75.
    """
    if not any(shares.values()):
        return forecasts
    share = KIND.replace_strict(dict(shares), default=0.0, return_dtype=pl.Float64)
    moved = (pl.col("q50") + share * (mean_of_quantiles() - pl.col("q50"))).clip("q25", "q75")
    return forecasts.with_columns(q50=pl.when(share > 0).then(moved).otherwise("q50"))


def median_before(share: pl.Expr) -> pl.Expr:
    """Return the median as it was before `centred` moved it by a share; exact unless a neighbour held it back."""
    return (pl.col("q50") - share * _OTHERS) / (1 - share * (1 - _WEIGHTS["q50"]))
