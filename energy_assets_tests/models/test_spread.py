"""Corrections of a band by hand, coverage after a change of noise, meters of their own, and what is kept on disk."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.contracts import LEVELS
from energy_assets.errors import ModelError
from energy_assets.models import spread
from energy_assets.models.spread import (
    HALF_LIFE_DAYS,
    Correction,
    Scores,
    correction_of,
    load_scores,
    scores_of,
    unit_of,
)

NORMAL = np.array([-1.645, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.645], dtype=np.float32)
START = datetime(2026, 1, 1, tzinfo=UTC)
PER_DAY = 24


def rows_of(days: int, *, meters=("a",), from_day: int = 0, lead_hours: float = 0.0) -> pl.DataFrame:
    slots = pl.DataFrame({"day": range(from_day, from_day + days)}).join(
        pl.DataFrame({"lead_hours": [lead_hours + hour for hour in range(PER_DAY)]}), how="cross"
    )
    frame = slots.join(pl.DataFrame({"meter_id": list(meters)}), how="cross")
    issued = [START + timedelta(days=day) for day in frame["day"]]
    return frame.with_columns(issued_at_utc=pl.Series(issued), lead_hours=pl.col("lead_hours").cast(pl.Float32))


def band_of(rows: pl.DataFrame, *, width: float = 1.0) -> np.ndarray:
    return np.tile(NORMAL * np.float32(width), (rows.height, 1))


def targets(rows: pl.DataFrame, *, width: float = 1.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, width, rows.height).astype(np.float32)


def coverage(quantiles: np.ndarray, target: np.ndarray) -> float:
    return float(((target >= quantiles[:, 1]) & (target <= quantiles[:, 5])).mean())


@pytest.mark.parametrize(
    "width", [pytest.param(0.4, id="too narrow"), pytest.param(1.0, id="right"), pytest.param(3.0, id="too wide")]
)
def test_levels_hold_on_new_days(width):
    rows, new = rows_of(300), rows_of(100, from_day=300)
    quantiles = band_of(rows, width=width)
    correction = correction_of(scores_of(rows, quantiles=quantiles, target=targets(rows)))
    corrected = correction.apply(band_of(new, width=width), rows=new)
    below = (targets(new, seed=2)[:, None] <= corrected).mean(axis=0)
    assert below.tolist() == pytest.approx(list(LEVELS.values()), abs=0.03)


def test_rank_by_hand():
    # Scores 1 .. 19 of days of their own, weights alike: of 20 places for a new score, 95 % is the 19th, 5 % the first.
    rows = rows_of(1)[:19].with_columns(issued_at_utc=pl.lit(START) + pl.duration(minutes=pl.int_range(19)))
    quantiles = np.tile(np.float32([-1, -1, -1, 0, 1, 1, 1]), (19, 1))
    scores = scores_of(rows, quantiles=quantiles, target=np.arange(1, 20, dtype=np.float32))
    of_lead = correction_of(scores).of_lead[0]
    assert of_lead[6] == pytest.approx(19 - 1, abs=1e-4)
    assert of_lead[0] == pytest.approx(1 + 1, abs=1e-4)
    assert of_lead[3] == 0  # the median is the point forecast


def of_days(values: np.ndarray) -> Scores:
    """Scores [day, hour] of one meter, alike for all levels; all days count as the newest."""
    days, hours = values.shape
    return Scores(
        score=np.repeat(values.astype(np.float32).reshape(-1, 1), len(LEVELS), axis=1),
        meter=np.full(days * hours, "a"),
        issue_day=np.repeat(np.arange(days), hours),
        lead_day=np.zeros(days * hours, dtype=np.int64),
    )


def at_one_age(scores: Scores) -> Correction:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spread, "HALF_LIFE_DAYS", 1e12)
        return correction_of(scores)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        # Days of one piece weigh 4 rows each, and so does the unseen: 25 % of 24 less 4 is the 2nd row, 75 % the 18th.
        pytest.param([[day] * 4 for day in range(1, 6)], 1, 5, id="a day is one score"),
        # Each day lacks another value, days say nothing: 25 % of 21 less 1 unseen is the 5th row, 75 % the 16th.
        pytest.param([[v for v in range(1, 6) if v != day] for day in range(1, 6)], 2, 4, id="a row is one score"),
        # A day alone is one score, its unseen fellow another: no level but the outermost is known.
        pytest.param([list(range(1, 21))], 1, 20, id="one day"),
    ],
)
def test_the_unseen_weighs_as_much_as_one_independent_score_by_hand(values, low, high):
    assert at_one_age(of_days(np.array(values))).of_lead[0][[2, 4]].tolist() == [low, high]


def of_noise(days: int, *, together: float, seed: int) -> Scores:
    """Scores whose size and place a day's hours share in part."""
    random = np.random.default_rng(seed)
    day, hour = random.normal(size=(days, 1)), random.normal(size=(days, PER_DAY))
    return of_days(np.sqrt(together) * day + np.sqrt(1 - together) * hour)


@pytest.mark.parametrize("together", [pytest.param(0.0, id="hours alone"), pytest.param(0.4, id="days together")])
def test_a_new_day_is_covered_as_often_as_promised_after_few_days(together):
    inside = []
    for seed in range(200):
        scores = of_noise(15, together=together, seed=seed)
        known, new = scores.issue_day < 14, scores.score[scores.issue_day == 14, 0]
        before = Scores(**{name: getattr(scores, name)[known] for name in ("score", "meter", "issue_day", "lead_day")})
        low, high = correction_of(before).of_lead[0][[1, 5]]
        inside.append(((new >= low) & (new <= high)).mean())
    assert 0.78 < np.mean(inside) < 0.84


def test_many_days_say_what_their_own_share_is():
    scores = of_noise(600, together=0.3, seed=1)
    weight = 0.5 ** ((599 - scores.issue_day) / HALF_LIFE_DAYS)
    order = np.argsort(scores.score[:, 5])
    reached = np.cumsum(weight[order]) / weight.sum()
    found = np.interp(correction_of(scores).of_lead[0][5], scores.score[order, 5], reached)
    assert 0.9 <= found < 0.91


@given(seed=st.integers(0, 10_000), days=st.integers(2, 30), hours=st.integers(2, 12))
def test_scores_that_hang_together_more_never_make_a_narrower_band(seed, days, hours):
    values = np.sort(np.random.default_rng(seed).normal(size=days * hours))
    one = at_one_age(of_days(values[None])).of_lead[0]
    together = at_one_age(of_days(values.reshape(days, hours))).of_lead[0]
    dealt = at_one_age(of_days(values.reshape(hours, days).T)).of_lead[0]
    for wide, narrow in ((one, together), (together, dealt)):
        assert (wide[4:] >= narrow[4:]).all()
        assert (wide[:3] <= narrow[:3]).all()


def test_coverage_comes_back_after_the_noise_has_doubled():
    rows, changed, new = rows_of(200), rows_of(60, from_day=200), rows_of(60, from_day=260)
    scores = scores_of(rows, quantiles=band_of(rows), target=targets(rows))
    late = targets(new, width=2.0, seed=3)
    fixed = coverage(correction_of(scores).apply(band_of(new), rows=new), late)
    adapted = scores.later(scores_of(changed, quantiles=band_of(changed), target=targets(changed, width=2.0, seed=4)))
    followed = coverage(correction_of(adapted).apply(band_of(new), rows=new), late)
    assert fixed < 0.55
    assert 0.68 < followed < 0.84


def test_a_meter_that_errs_more_gets_a_wider_band_once_days_speak_for_it():
    rows = rows_of(200, meters=("calm", "wild"))
    wild = (rows["meter_id"] == "wild").to_numpy()
    target = targets(rows) * np.where(wild, 2.0, 0.5).astype(np.float32)
    correction = correction_of(scores_of(rows, quantiles=band_of(rows), target=target))
    one = rows[:2]
    width = np.ptp(correction.apply(band_of(one), rows=one)[:, [1, 5]], axis=1)
    assert width[1] > 1.8 * width[0]
    stranger = one.with_columns(meter_id=pl.lit("stranger"))
    assert width[0] < np.ptp(correction.apply(band_of(one), rows=stranger)[0, [1, 5]]) < width[1]


def test_farther_days_have_their_own_correction():
    near, far = rows_of(200), rows_of(200, lead_hours=24.0)
    rows = pl.concat([near, far])
    target = np.concatenate([targets(near), targets(far, width=3.0)])
    of_lead = correction_of(scores_of(rows, quantiles=band_of(rows), target=target)).of_lead
    assert np.ptp(of_lead[1]) > np.ptp(of_lead[0]) + 2


def test_recent_days_count_more():
    rows, recent = rows_of(120), rows_of(45, from_day=240)
    scores = scores_of(rows, quantiles=band_of(rows), target=targets(rows))
    late = scores_of(recent, quantiles=band_of(recent), target=targets(recent, width=3.0))
    together = scores.later(late)
    assert np.ptp(correction_of(together).of_lead[0]) > 1.3 * np.ptp(at_one_age(together).of_lead[0])


def test_unknown_targets_and_no_scores_correct_nothing():
    rows = rows_of(2)
    scores = scores_of(rows, quantiles=band_of(rows), target=np.full(rows.height, np.nan, dtype=np.float32))
    assert (correction_of(scores).apply(band_of(rows), rows=rows) == band_of(rows)).all()


def test_units_never_vanish():
    flat = np.tile(np.float32([5] * 7), (2, 1))
    assert unit_of(flat).min() == pytest.approx(0.005)
    one_sided = np.float32([[0, 0, 0, 0, 1, 2, 3]])
    assert unit_of(one_sided)[0].tolist() == pytest.approx([0.3, 3.0])


def test_saved_and_loaded_is_the_same_and_torn_files_are_refused(tmp_path):
    rows = rows_of(20, meters=("a", "b"))
    scores = scores_of(rows, quantiles=band_of(rows), target=targets(rows))
    scores.save(tmp_path)
    loaded = load_scores(tmp_path)
    assert (correction_of(loaded).of_meter == correction_of(scores).of_meter).all()
    (tmp_path / "scores_score.npy").write_bytes(b"torn")
    with pytest.raises(ModelError, match="train and save it again"):
        load_scores(tmp_path)
