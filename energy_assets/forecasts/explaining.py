"""Medians as they are published, for explanations: what ladder and learned centre do to them, and rungs without models.

An explanation asks a model many times what it would say if it knew less; with these it asks for the published number,
so that the parts add up to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.forecasts.centre import centred
from energy_assets.forecasts.ladder import KEY, laddered
from energy_assets.forecasts.learning import Learned


@dataclass(frozen=True, kw_only=True)
class AsPublished:
    """What a rung says of feature rows, with the widening, floor and centre that its published rows have.

    `kinds` has meter_id, commodity, direction and is_signed (whether readings, so forecasts, may be negative).
    """

    predicts: Callable[[pl.DataFrame], pl.DataFrame]
    rung: str
    learned: Learned
    kinds: pl.DataFrame

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        """Return KEY and quantiles in kWh for every row; null where the rung has none."""
        said = self.predicts(features).with_columns(pl.col(QUANTILE_COLUMNS).cast(pl.Float64).fill_nan(None))
        rows = said.join(self.kinds, on="meter_id", how="left", validate="m:1", maintain_order="left")
        values = laddered(
            rows.select(QUANTILE_COLUMNS).to_numpy(),
            factor=np.full(rows.height, self.learned.widening.get(self.rung, 1.0)),
            is_signed=rows["is_signed"].fill_null(value=False).to_numpy(),
        )
        rows = rows.with_columns(
            pl.Series(name, values[:, index]).fill_nan(None) for index, name in enumerate(QUANTILE_COLUMNS)
        )
        return centred(rows, shares=self.learned.centre).select(*KEY, *QUANTILE_COLUMNS)


def by_clock(published: pl.DataFrame, *, usual: str, calendar: str) -> pl.DataFrame:
    """Return meter_id, starts_at_utc and two parts of `q50` of rows of `forecasts.load` of the rungs without features.

    Peers and climatology are a level times a shape by hour and weekend: the mean of the meter's rows is its level, and
    what the hour is off it comes from the calendar.
    """
    return published.select(
        "starts_at_utc",
        pl.col("q50").mean().over("node_id").alias(usual),
        (pl.col("q50") - pl.col("q50").mean().over("node_id")).alias(calendar),
        meter_id="node_id",
    )


def kinds_of(published: pl.DataFrame) -> pl.DataFrame:
    """Return meter_id, commodity, direction and is_signed of meter rows of one issue of `forecasts.load`."""
    return published.group_by(meter_id="node_id").agg(
        pl.col("commodity", "direction").first(), is_signed=(pl.col("q05") < 0).any()
    )
