"""What a meter does often is usual; an outage, a second and a third one, and a spike before, are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.anomalies.leaps import _top_hat
from energy_assets.anomalies.runs import ended_by_day, occasions, run_starts, usual_longest, weekly_habit, whole_lengths
from energy_assets_tests.anomalies.meters import clean_kwh, days_from, slots_of
from energy_assets_tests.anomalies.test_flags import DAY, NOON, flagged


def outage(first: int, hours: int) -> slice:
    return slice(first, first + hours)


@pytest.mark.parametrize(("rule", "value"), [pytest.param("zero_run", 0.0), pytest.param("stuck", 7.77)])
@pytest.mark.parametrize(
    ("earlier", "hours"),
    [
        pytest.param([(20 * 24, 60)], 12, id="a much longer one before"),
        pytest.param([(30 * 24 + 5, 30), (41 * 24, 40)], 30, id="two like it before"),
        pytest.param([(DAY * 24 - 30, 20)], 10, id="one that ended just before"),
        pytest.param([(45 * 24, 200)], 12, id="one of eight days before"),
    ],
)
def test_a_further_outage_is_no_habit(rule: str, value: float, earlier: list[tuple[int, int]], hours: int) -> None:
    kwh = clean_kwh(days=DAY + 3)
    for first, length in earlier:
        kwh[outage(first, length)] = value
    kwh[outage(NOON, hours)] = value
    assert slots_of(flagged(kwh, days_from(DAY, DAY + 2)), rule) == list(range(NOON, NOON + hours))


@settings(max_examples=6)
@given(seed=st.integers(0, 1000), hours=st.integers(8, 60), share=st.floats(0.5, 3), value=st.sampled_from([0.0, 7.77]))
def test_a_second_outage_is_found_like_the_first(seed: int, hours: int, share: float, value: float) -> None:
    kwh = clean_kwh(days=DAY + 6, seed=seed)
    first, second = 35 * 24 + seed % 24, DAY * 24 + seed % 24
    kwh[outage(first, round(hours * share))] = value
    alone = clean_kwh(days=DAY + 6, seed=seed)
    alone[outage(second, hours)] = kwh[outage(second, hours)] = value
    rule = "stuck" if value else "zero_run"
    window = days_from(DAY, DAY + 5)
    assert slots_of(flagged(kwh, window), rule) == slots_of(flagged(alone, window), rule) != []


@pytest.mark.parametrize("value", [pytest.param(0.0, id="zero"), pytest.param(2.2, id="constant")])
def test_every_weekend_is_a_habit_from_the_third_on(value: float) -> None:
    kwh = clean_kwh(days=35)
    for saturday in range(5, 35, 7):
        kwh[outage(saturday * 24, 15)] = value
    # Days 19, 26 and 33 are the third Saturday and those after it; nothing is judged with less than 14 days.
    assert flagged(kwh, days_from(14, 34)).is_empty()


def test_the_end_of_a_season_is_no_outage() -> None:
    kwh = clean_kwh(days=DAY + 3)
    kwh[-96:] *= np.linspace(0.3, 0.05, 96)
    kwh[-40:] = 0
    assert slots_of(flagged(kwh, days_from(DAY, DAY + 2)), "zero_run") == []


@pytest.mark.parametrize(
    ("at", "kwh", "rule"),
    [
        pytest.param(DAY * 24 + 3, 16.0, ["spike"], id="eight times a night hour, under twice the peak"),
        pytest.param(DAY * 24 + 3, 6.0, [], id="three times a night hour, under the peak"),
        pytest.param(DAY * 24 + 23, 45.0, ["spike"], id="far above the peak, and the day ends"),
        pytest.param(DAY * 24 + 23, 16.0, [], id="at the end of the day nobody knows whether it returns"),
    ],
)
def test_a_spike_stands_out_of_its_own_hours(at: int, kwh: float, rule: list[str]) -> None:
    values = clean_kwh(days=DAY + 1)
    values[at] = kwh
    assert sorted(set(flagged(values)["rule"])) == rule


def test_what_came_on_three_occasions_is_no_spike_and_on_two_it_is() -> None:
    values = clean_kwh(days=DAY + 1)
    values[[20 * 24 + 3, 30 * 24 + 3]] = 45
    values[NOON] = 45
    assert slots_of(flagged(values), "spike") == [NOON]
    values[40 * 24 + 3] = 45
    assert slots_of(flagged(values), "spike") == []


def test_a_crest_on_a_high_load_is_no_spike() -> None:
    values = clean_kwh(days=DAY + 1)
    values[NOON - 3 : NOON + 4] *= 2
    values[NOON] *= 1.6
    assert slots_of(flagged(values), "spike") == []


def test_what_stands_out_by_hand() -> None:
    # Windows of three: at the peak of two every window's minimum is 2, or 3 at the right; the plateau of three stays.
    values = np.asarray([[2.0, 9.0, 8.0, 3.0, 3.0, 7.0, 7.0, 7.0, 1.0]])
    assert _top_hat(values, width=3).tolist() == [[0.0, 6.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]


def test_runs_and_habits_by_hand() -> None:
    # Four slots a day; zeros of 1 (day 0), 5 (days 1 and 2) and 2 slots (day 3).
    values = np.asarray([[0, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 6, 7, 0, 0, 8]], dtype=np.float64)
    starts, is_zero = run_starts(values), values == 0
    ended = ended_by_day(starts, is_zero, slots_per_day=4, most_slots=4)
    assert ended.tolist() == [[1, 0, 4, 2]]
    assert whole_lengths(starts, is_zero, most_slots=4)[0, 4:12].tolist() == [0, 0, 4, 4, 4, 4, 4, 0]
    assert occasions(ended, first_day=2, lookback_days=2).tolist() == [[1, 1]]
    known = np.ones((1, 5), dtype=bool)
    place = {"meter": np.asarray([0]), "start_day": np.asarray([4]), "day": np.asarray([4])}
    more = np.concatenate([ended, [[0]]], axis=1)
    for least, usual in ((1, 4), (2, 2), (3, 1), (4, 0)):
        length, days = usual_longest(more, known=known, **place, lookback_days=4, share=0.9, least=least)
        assert (length.item(), days.item()) == (usual, 4)
    # A week of two slots: at slot 14, the slots 12 and 10 hold no run and a zero of the one before.
    assert weekly_habit(
        whole_lengths(starts, is_zero, most_slots=4), starts, meter=np.asarray([0, 0]), slot=np.asarray([14, 10]),
        slots_per_week=2,
    ).tolist() == [0, 0]  # fmt: skip
