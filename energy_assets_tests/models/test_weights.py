"""Shares of experts by hand and against a plain search, how belief moves with evidence, and what is kept on disk."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.errors import ModelError
from energy_assets.models.weights import (
    HALF_LIFE_DAYS,
    Shares,
    gather_evidence,
    load_evidence,
    shares_of,
    stretch_of,
)

EVEN = np.array([0.5, 0.5])


def evidence_of(errors, *, meters=("a",), days=200, lead_hours=1.0, from_day=0):
    """Evidence of `errors` [row, expert] spread evenly over days, meters taking turns."""
    rows = len(errors)
    return gather_evidence(
        np.asarray(errors, dtype=np.float32),
        meter_ids=np.array([meters[row % len(meters)] for row in range(rows)], dtype=object),
        lead_hours=np.full(rows, lead_hours, dtype=np.float32),
        issue_day=from_day + (np.arange(rows) * days // rows).astype(np.int64),
        shares=EVEN,
    )


def noise(*widths, rows=4000, seed=1):
    return np.random.default_rng(seed).normal(0, 1, (rows, len(widths))) * widths


def test_the_better_expert_gets_the_share_that_its_variance_earns():
    # Independent errors with variances 1/9 and 4/9: the least variance of a mixture is at 0.8 and 0.2.
    shares = shares_of(evidence_of(noise(1 / 3, 2 / 3)), prior=EVEN)
    assert shares.of_any[0].tolist() == pytest.approx([0.8, 0.2], abs=0.04)


def test_an_expert_without_merit_gets_nothing():
    errors = noise(0.2, 0.0)
    errors[:, 1] = errors[:, 0] * 3
    assert shares_of(evidence_of(errors), prior=EVEN).of_any[0].tolist() == pytest.approx([1, 0], abs=1e-6)


def test_experts_that_are_wrong_the_other_way_round_cancel():
    errors = noise(1.0, 0.0)
    errors[:, 1] = -errors[:, 0]
    assert shares_of(evidence_of(errors), prior=np.array([0.9, 0.1])).of_any[0][0] == pytest.approx(0.5, abs=0.06)


def test_a_meter_follows_its_own_evidence_as_far_as_its_days_go():
    errors = noise(0.3, 0.9)
    errors[1::2] = errors[1::2, ::-1]
    shares = shares_of(evidence_of(errors, meters=("likes_first", "likes_second")), prior=EVEN)
    first, second = shares.of_meter[:, 0, 0]
    assert first > 0.7 > shares.of_any[0, 0] > 0.3 > second
    short = shares_of(evidence_of(errors[:60], meters=("likes_first", "likes_second"), days=3), prior=EVEN)
    assert abs(short.of_meter[0, 0, 0] - short.of_any[0, 0]) < abs(first - shares.of_any[0, 0]) / 2


def test_stretches_of_the_horizon_have_their_own_shares():
    near, far = noise(0.3, 0.9), noise(0.9, 0.3, seed=2)
    lead = np.repeat([1.0, 30.0], 4000).astype(np.float32)
    evidence = gather_evidence(
        np.concatenate([near, far]).astype(np.float32),
        meter_ids=np.full(8000, "a", dtype=object),
        lead_hours=lead,
        issue_day=np.tile(np.arange(4000) // 20, 2),
        shares=EVEN,
    )
    shares = shares_of(evidence, prior=EVEN)
    assert shares.of_any[stretch_of(np.float32([1.0, 30.0])), 0].tolist() == pytest.approx([0.8, 0.2], abs=0.15)


def test_one_wild_day_does_not_decide():
    errors = noise(0.3, 0.6)
    calm = shares_of(evidence_of(errors), prior=EVEN).of_any[0, 0]
    errors[:20, 0] += 50
    assert shares_of(evidence_of(errors), prior=EVEN).of_any[0, 0] > calm - 0.25


def test_later_days_turn_the_belief_and_old_ones_fade():
    old = evidence_of(noise(0.3, 0.9))
    fresh = evidence_of(noise(0.9, 0.3, seed=3), days=60, from_day=200)
    before, soon, late = (
        shares_of(each, prior=EVEN).of_any[0, 0]
        for each in (old, old.later(fresh, days_passed=60), old.later(fresh, days_passed=10 * HALF_LIFE_DAYS))
    )
    assert before > soon > late
    assert late < 0.3


def test_evidence_of_unknown_meters_counts_for_all_only():
    old, fresh = evidence_of(noise(0.3, 0.9)), evidence_of(noise(0.9, 0.3), meters=("new",))
    merged = old.later(fresh, days_passed=0)
    assert merged.meters == ("a",)
    assert (merged.of_meter == old.of_meter).all()
    assert shares_of(merged, prior=EVEN).of_any[0, 0] < shares_of(old, prior=EVEN).of_any[0, 0]


def test_blending_by_hand():
    shares = Shares(
        meters=("b",),
        of_any=np.float32([[1, 0]] * 4),
        of_meter=np.float32([[[0, 1]] * 3 + [[0.5, 0.5]]]),
    )
    blended = shares.blend(
        np.float32([[2, 4]] * 3),
        meter_ids=np.array(["unknown", "b", "b"], dtype=object),
        lead_hours=np.float32([1, 23.75, 24]),
    )
    assert blended.tolist() == [2, 4, 3]


@given(seed=st.integers(0, 500), experts=st.integers(2, 6))
def test_shares_are_shares_and_no_mixture_is_better(seed, experts):
    random = np.random.default_rng(seed)
    errors = random.normal(0, 0.3, (300, experts)) @ random.normal(0, 1, (experts, experts))
    prior = np.full(experts, 1 / experts)
    evidence = gather_evidence(
        errors.astype(np.float32),
        meter_ids=np.full(300, "a", dtype=object),
        lead_hours=np.zeros(300, dtype=np.float32),
        issue_day=np.arange(300),
        shares=prior,
    )
    mine = shares_of(evidence, prior=prior).of_any[0].astype(np.float64)
    assert (mine >= 0).all()
    assert mine.sum() == pytest.approx(1, abs=1e-5)
    products = evidence.of_stretch[0] / (np.trace(evidence.of_stretch[0]) / experts)

    def loss(shares):
        return shares @ products @ shares + 0.05 * ((shares - prior) ** 2).sum()

    rivals = random.dirichlet(np.full(experts, 0.5), 500)
    assert loss(mine) <= min(loss(rival) for rival in rivals) + 1e-3


def test_saved_and_loaded_is_the_same_and_torn_files_are_refused(tmp_path):
    evidence = evidence_of(noise(0.3, 0.9))
    evidence.save(tmp_path)
    loaded = load_evidence(tmp_path, meters=("a",))
    assert all((getattr(loaded, name) == getattr(evidence, name)).all() for name in ("of_meter", "stretch_days"))
    with pytest.raises(ModelError, match="train again"):
        load_evidence(tmp_path, meters=("a", "b"))
    (tmp_path / "evidence_of_meter.npy").write_bytes(b"torn")
    with pytest.raises(ModelError, match="train and save it again"):
        load_evidence(tmp_path, meters=("a",))
