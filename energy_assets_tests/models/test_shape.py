"""What is told of errors by hour, how far trees count, and what is kept on disk."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import LEVELS
from energy_assets.models.shape import Shape, belief_in_trees, fit_shape, load_shape

START = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 24
COLUMNS = ("weekday",)


def rows_of(days: int, *, noise: float = 1.0) -> pl.DataFrame:
    frame = pl.DataFrame({"day": range(days)}).join(pl.DataFrame({"local_hour": range(HOURS)}), how="cross")
    return frame.select(
        issued_at_utc=pl.lit(START) + pl.duration(days="day"),
        local_hour=pl.col("local_hour").cast(pl.Float32) + 0.5,
        weekday=(pl.col("day") % 7).cast(pl.Float32),
        scale_kwh=pl.lit(10, pl.Float32),
        week_change_kwh=pl.lit(10 * noise, pl.Float32),
    )


def shape_of(rows: pl.DataFrame, error: np.ndarray, *, belief: float) -> Shape:
    return fit_shape(rows, error=error.astype(np.float32), belief=belief, columns=COLUMNS, rounds=5, threads=1, seed=1)


def errors_of(rows: pl.DataFrame, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=rows.height)


def test_the_size_of_an_hour_by_hand():
    # Thirty days; hour 12 misses by 4, the others by 1. With its neighbours counting half it has 30 x (4 + 2 x 0.5) in
    # 30 x 2 rows, and three days of the mean (27 / 24 = 1.125) are added: 153.375 / 63, beside 1.125.
    rows = rows_of(30)
    error = np.where(rows["local_hour"].to_numpy().astype(int) == 12, 4.0, 1.0)
    of_hour = shape_of(rows, error, belief=0.0).of_hour
    assert of_hour[12] == pytest.approx(153.375 / 63 / 1.125, rel=1e-5)
    assert of_hour[11] == of_hour[13] == pytest.approx((30 * 3.5 + 3 * 1.125) / 63 / 1.125, rel=1e-5)
    assert of_hour[3] == pytest.approx((60 + 3.375) / 63 / 1.125, rel=1e-5)


def test_without_belief_in_trees_errors_have_their_shares_in_each_hour():
    rows = rows_of(400)
    wild = np.where(rows["local_hour"].to_numpy() > 12, 3.0, 0.5)
    departures = shape_of(rows, errors_of(rows) * wild, belief=0.0).departures(rows, columns=COLUMNS)
    late = rows["local_hour"].to_numpy() > 14
    error = errors_of(rows, seed=2) * wild
    below = (error[late, None] <= departures[late]).mean(axis=0)
    assert below.tolist() == pytest.approx(list(LEVELS.values()), abs=0.03)
    assert (np.diff(departures, axis=1) >= 0).all()
    assert (departures[:, 3] == 0).all()


def test_noisier_meters_get_a_band_in_proportion_and_no_error_gets_none():
    calm, wild = rows_of(20), rows_of(20, noise=2.0)
    shape = shape_of(calm, errors_of(calm), belief=0.0)
    twice = shape.departures(wild, columns=COLUMNS)
    assert twice == pytest.approx(2 * shape.departures(calm, columns=COLUMNS), rel=1e-5)
    assert (shape_of(calm, np.zeros(calm.height), belief=0.0).departures(calm, columns=COLUMNS) == 0).all()


@pytest.mark.parametrize(
    ("days", "belief"), [pytest.param(20, 0.25, id="20 of 80"), pytest.param(60, 0.5, id="60 of 120")]
)
def test_trees_count_as_far_as_days_speak(days, belief):
    assert belief_in_trees(rows_of(days)) == pytest.approx(belief)


def test_a_day_of_few_rows_speaks_in_part():
    # Two rows of each of 30 days are 60 rows, as many as 10 days of 6 have.
    few = rows_of(30).filter(pl.col("local_hour") < 2)
    assert belief_in_trees(few) == pytest.approx(10 / 70)


def test_belief_mixes_trees_and_what_holds_for_all():
    rows = rows_of(60)
    error = errors_of(rows) * (1 + rows["weekday"].to_numpy())
    none, half, whole = (shape_of(rows, error, belief=b).departures(rows, columns=COLUMNS) for b in (0.0, 0.5, 1.0))
    assert half == pytest.approx((none + whole) / 2, abs=1e-5)
    assert np.abs(none - whole).max() > 0.1


def test_saved_and_loaded_is_the_same_and_older_shapes_are_their_trees_alone(tmp_path):
    rows = rows_of(30)
    shape = shape_of(rows, errors_of(rows), belief=0.3)
    content = shape.save(tmp_path / "shape.ubj")
    said = shape.departures(rows, columns=COLUMNS)
    assert (load_shape(tmp_path / "shape.ubj", content).departures(rows, columns=COLUMNS) == said).all()
    older = load_shape(tmp_path / "shape.ubj", None).departures(rows, columns=COLUMNS)
    whole = shape_of(rows, errors_of(rows), belief=1.0).departures(rows, columns=COLUMNS)
    assert older == pytest.approx(whole, abs=1e-6)
