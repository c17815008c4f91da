"""Two meters of one premise that changed places: each day of one fits the other's expectation, not its own."""

from __future__ import annotations

import numpy as np
import polars as pl

from energy_assets.anomalies.grid import Floats, Grid, Ints
from energy_assets.anomalies.limits import Limits
from energy_assets.anomalies.points import POINT_SCHEMA, points, shown
from energy_assets.anomalies.scores import DayScores
from energy_assets.anomalies.surroundings import of_meters

BETTER = 0.2
SWAP_SCORE = 0.9
MOST_METERS_A_PREMISE = 12


def pairs_of(grid: Grid, *, meters: pl.DataFrame) -> Ints:
    """Return [pair, 2] the meters of the grid that share premise and commodity; large premises are left out."""
    premise = of_meters(grid, meters, column="premise_id").cast(pl.String)
    commodity = of_meters(grid, meters, column="commodity").cast(pl.String).fill_null("")
    rows = pl.DataFrame(
        {"row": np.arange(len(grid.meter_ids)), "premise": premise, "commodity": commodity}
    ).drop_nulls()
    rows = rows.filter(pl.len().over("premise", "commodity").is_between(2, MOST_METERS_A_PREMISE))
    both = rows.join(rows, on=["premise", "commodity"]).filter(pl.col("row") < pl.col("row_right"))
    return both.select("row", "row_right").sort("row", "row_right").to_numpy()


def swapped_points(scores: DayScores, *, grid: Grid, day: int, pairs: Ints, limits: Limits) -> pl.DataFrame:
    """Return points of both meters of a swapped pair for every slot with a reading.

    A pair is swapped when both are odd for half of the day and each fits the other's expectation at least five times
    as well (in squares) as its own.
    """
    if len(pairs) == 0:
        return POINT_SCHEMA.to_frame()
    at = slice(day * grid.slots_per_day, (day + 1) * grid.slots_per_day)
    actual = grid.used_kwh[:, at]
    odd = (scores.strength >= limits.flag_strength).mean(axis=1) >= 0.5
    ready = odd & (scores.known_days >= limits.least_history_days)
    left, right = pairs[:, 0], pairs[:, 1]
    swapped = ready[left] & ready[right] & _fits_better(actual, scores.expected_kwh, left, right)
    swapped &= _fits_better(actual, scores.expected_kwh, right, left)
    other = np.full(len(actual), -1)
    other[left[swapped]], other[right[swapped]] = right[swapped], left[swapped]
    cells = (other >= 0)[:, None] & np.isfinite(actual)
    names = np.asarray([*grid.meter_ids, ""])[other]
    said = pl.concat_str(
        shown("actual"), pl.lit(" fits the "), shown("others"), pl.lit(" that "), pl.col("other"),
        pl.lit(" was expected to report"),
    )  # fmt: skip
    return points(
        cells,
        "swapped",
        first_slot=at.start,
        reason=said,
        score=SWAP_SCORE,
        expected_kwh=scores.expected_kwh.astype(np.float64),
        noise_kwh=scores.noise_kwh.astype(np.float64),
        actual=actual,
        others=scores.expected_kwh[other].astype(np.float64),
        other=np.broadcast_to(names[:, None], actual.shape),
    )


def _fits_better(actual: Floats, expected: Floats, meter: Ints, other: Ints) -> Floats:
    own = np.nan_to_num((actual[meter] - expected[meter]) ** 2).sum(axis=1)
    cross = np.nan_to_num((actual[meter] - expected[other]) ** 2).sum(axis=1)
    better: Floats = cross < BETTER * own
    return better
