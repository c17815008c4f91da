"""The regression of a model that was trained, and of rows that were stored, before a regressor was known."""

import dataclasses

import numpy as np
import polars as pl

from energy_assets.models.design import learnable
from energy_assets.models.linear import fit_linear
from energy_assets_tests.models.worlds import office_features

LATER = ("pv_clear_sky_kwh", "pv_expected_kwh", "pv_shift_kwh", "degree_shift_kwh")


def test_older_models_and_older_rows_go_with_newer_ones():
    rows = learnable(office_features(days=40)).with_columns(degree_shift_kwh=pl.col("scale_kwh") * 0.3)
    newer = fit_linear(rows, has_weather=True, seed=1)
    older = dataclasses.replace(newer, coefficients=newer.coefficients[: -len(LATER)])
    stored_before = rows.drop(LATER)
    assert np.array_equal(older.predict(stored_before), older.predict(rows))
    nothing_said = rows.with_columns(pl.lit(np.nan, pl.Float32).alias(name) for name in LATER)
    assert np.array_equal(newer.predict(stored_before), newer.predict(nothing_said))
    assert not np.array_equal(newer.predict(rows), newer.predict(nothing_said))
