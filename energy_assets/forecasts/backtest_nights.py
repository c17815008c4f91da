"""What the nights of a back-test teach its later ones: widths of bands by rung and the centre, as `learning` finds.

Nothing is stored between the issues of a back-test; what the night reads from `forecasts.evidence` is kept here.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from energy_assets.contracts import FORECASTS_EVIDENCE, UTC_TIME
from energy_assets.forecasts.evidence import evidence_of_meters
from energy_assets.forecasts.learning import MEASURED_AFTER, MEMORY, Learned, learned_from, recipe_of

_SEED = 0


class Nights:
    """Evidence of the issues of some meters; each issue learns from those measured by then, as the nightly run does."""

    def __init__(self, *, meters: pl.DataFrame, readings: pl.DataFrame) -> None:
        self._meters = meters
        self._readings = readings.select(
            "starts_at_utc", "available_at_utc", node_id="meter_id", actual_kwh="energy_kwh"
        )
        self._evidence = FORECASTS_EVIDENCE.empty()

    def learned_at(self, issued_at_utc: datetime) -> Learned:
        """Return what is applied to an issue; issues are asked for in their order."""
        self._evidence = self._evidence.filter(pl.col("issued_at_utc") > issued_at_utc - MEMORY)
        return learned_from(self._evidence, issued_at_utc=issued_at_utc)

    def measure(self, rows: pl.DataFrame, *, learned: Learned, issued_at_utc: datetime) -> None:
        """Take in the meter rows of an issue as it was made; readings later than what learns from it do not count."""
        measured_at = pl.lit(issued_at_utc + MEASURED_AFTER, UTC_TIME)
        known = self._readings.filter(
            pl.col("starts_at_utc") >= issued_at_utc, pl.col("available_at_utc") <= measured_at
        )
        compared = rows.join(
            known.drop("available_at_utc"), on=["node_id", "starts_at_utc"], how="left", validate="1:1"
        )
        recipe = recipe_of(learned, issued_at_utc=issued_at_utc, seed=_SEED)
        told = evidence_of_meters(compared, recipes=recipe, meters=self._meters)
        self._evidence = pl.concat([self._evidence, told])
