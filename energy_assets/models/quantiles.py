"""Quantiles as every model returns them: in order, in kWh, not below zero unless the meter's own readings are."""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.features.fingerprint import KEY
from energy_assets.features.history import Floats


def quantile_frame(features: pl.DataFrame, quantiles_kwh: Floats) -> pl.DataFrame:
    """Return KEY and one column a level from quantiles [row, level] in kWh; a row that is not finite becomes null."""
    ordered = in_order(quantiles_kwh, floor_kwh=floor_of(features))
    columns = [pl.Series(name, ordered[:, index], dtype=pl.Float64) for index, name in enumerate(QUANTILE_COLUMNS)]
    return features.select(KEY).hstack(columns).with_columns(pl.col(QUANTILE_COLUMNS).fill_nan(None))


def in_order(quantiles_kwh: Floats, *, floor_kwh: Floats) -> Floats:
    """Return the quantiles of each row sorted and not below its floor; NaN in all levels where one is not finite.

    Sorting never makes quantiles worse (Chernozhukov, Fernandez-Val and Galichon, 2010).
    """
    whole = np.isfinite(quantiles_kwh).all(axis=1)
    ordered = np.maximum(np.sort(quantiles_kwh, axis=1), floor_kwh[:, None])
    ordered[~whole] = np.nan
    return ordered


def floor_of(features: pl.DataFrame) -> Floats:
    """Return 0 for meters whose readings of the last 28 days are nowhere negative, else minus infinity."""
    least = features["month_min_kwh"].cast(pl.Float32).fill_null(np.nan).to_numpy()
    return np.where(least < 0, np.float32(-np.inf), np.float32(0))
