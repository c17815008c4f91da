"""Attempts to connect grow apart, but never for ever, and begin anew after a connection that lasted."""

from __future__ import annotations

import pytest

from energy_assets.messaging.pacing import Pace


@pytest.mark.parametrize(
    ("is_refusal", "pauses_s"),
    [
        pytest.param(False, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], id="lost"),
        pytest.param(True, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0], id="refused"),
    ],
)
def test_pauses_double_up_to_the_longest(is_refusal: bool, pauses_s: list[float]) -> None:
    pace = Pace()
    found = []
    for turn in range(len(pauses_s)):
        pace.failed(100.0 * turn, is_refusal=is_refusal)
        found.append(pace.due_at_s - 100.0 * turn)
    assert found == pytest.approx(pauses_s)


def test_outage_of_a_week_is_still_paced() -> None:
    pace = Pace()
    for _ in range(150_000):
        pace.failed(0.0, is_refusal=False)
    assert pace.due_at_s == 5.0


def test_only_a_connection_that_lasted_begins_anew() -> None:
    pace = Pace()
    for _ in range(4):
        pace.failed(0.0, is_refusal=False)
    pace.connected(100.0)
    pace.failed(101.0, is_refusal=False)
    assert pace.due_at_s == pytest.approx(101.0 + 1.6)
    pace.connected(200.0)
    pace.failed(211.0, is_refusal=False)
    assert pace.due_at_s == pytest.approx(211.1)
