"""Corrections against counts, and the coverage that they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.contracts import LEVELS
from energy_assets.models.calibration import Calibration, band, calibrate

NORMAL = np.array([-1.645, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.645], dtype=np.float32)
MANY = 10_000


def quantiles(count: int, *, width: float) -> np.ndarray:
    return np.tile(NORMAL * np.float32(width), (count, 1))


def share_below(target: np.ndarray, predicted: np.ndarray) -> list[float]:
    return (target[:, None] <= predicted).mean(axis=0).tolist()


@pytest.mark.parametrize(
    ("width", "shift"),
    [
        pytest.param(0.5, 0.0, id="too narrow"),
        pytest.param(2.0, 0.0, id="too wide"),
        pytest.param(1.0, 0.7, id="too low"),
    ],
)
def test_levels_hold_on_new_rows(width, shift):
    random = np.random.default_rng(1)
    seen, new = (random.normal(shift, 1, 5000).astype(np.float32) for _ in range(2))
    days = np.zeros(5000, dtype=np.int64)
    raw = quantiles(5000, width=width)
    corrected = calibrate(raw, target=seen, unit=band(raw), lead_day=days, issues=MANY).apply(
        raw, unit=band(raw), lead_day=days
    )
    assert share_below(new, corrected) == pytest.approx(list(LEVELS.values()), abs=0.02)


def test_each_lead_day_has_its_own_correction_and_later_ones_share_the_last():
    random = np.random.default_rng(2)
    days = np.repeat([0, 1], 1000)
    target = (random.normal(0, 1, 2000) * np.where(days == 0, 1, 3)).astype(np.float32)
    raw = quantiles(2000, width=1.0)
    calibration = calibrate(raw, target=target, unit=band(raw), lead_day=days, issues=MANY)
    corrected = calibration.apply(raw, unit=band(raw), lead_day=days)
    assert np.diff(corrected[[0, -1]][:, [0, -1]], axis=1).ravel() == pytest.approx([3.29, 9.87], rel=0.12)
    later = calibration.apply(raw[:1], unit=band(raw[:1]), lead_day=np.array([5]))
    assert later.tolist() == calibration.apply(raw[:1], unit=band(raw[:1]), lead_day=np.array([1])).tolist()


def test_rank_by_hand():
    # Nineteen scores -9 .. 9 in units of the band: of 20 equally likely places, 5 % is the first, 95 % the nineteenth.
    target = np.arange(-9, 10, dtype=np.float32) * 3.29
    raw = quantiles(19, width=1.0)
    calibration = calibrate(raw, target=target, unit=band(raw), lead_day=np.zeros(19, dtype=np.int64), issues=MANY)
    corrected = calibration.apply(raw[:1], unit=band(raw[:1]), lead_day=np.zeros(1, dtype=np.int64))[0]
    assert corrected[0] == pytest.approx(-9 * 3.29, rel=1e-3)
    assert corrected[3] == pytest.approx(0, abs=1e-3)
    assert corrected[6] == pytest.approx(9 * 3.29, rel=1e-3)


def test_few_issues_move_the_median_only_in_part():
    raw = quantiles(1000, width=1.0)
    target = np.random.default_rng(3).normal(1, 1, 1000).astype(np.float32)
    days = np.zeros(1000, dtype=np.int64)
    medians = [
        calibrate(raw, target=target, unit=band(raw), lead_day=days, issues=issues).apply(
            raw[:1], unit=band(raw[:1]), lead_day=days[:1]
        )[0, 3]
        for issues in (0, 30, MANY)
    ]
    assert medians == pytest.approx([0.0, 0.5, 1.0], abs=0.06)


def test_nothing_known_corrects_nothing():
    raw = quantiles(5, width=1.0)
    target = np.full(5, np.nan, dtype=np.float32)
    days = np.zeros(5, dtype=np.int64)
    assert (
        calibrate(raw, target=target, unit=band(raw), lead_day=days, issues=1).apply(raw, unit=band(raw), lead_day=days)
        == raw
    ).all()


@given(scale=st.sampled_from([0.125, 4.0, 1024.0]), seed=st.integers(0, 1000))
def test_corrections_do_not_depend_on_the_unit(scale, seed):
    random = np.random.default_rng(seed)
    raw, target = quantiles(400, width=1.0), random.normal(0, 2, 400).astype(np.float32)
    days = np.zeros(400, dtype=np.int64)
    one = calibrate(raw, target=target, unit=band(raw), lead_day=days, issues=50)
    other = calibrate(raw * scale, target=target * scale, unit=band(raw * scale), lead_day=days, issues=50)
    assert isinstance(one, Calibration)
    assert np.allclose(one.corrections, other.corrections, rtol=1e-4, atol=1e-5)
