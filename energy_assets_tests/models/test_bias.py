"""Corrections by hand, what recurs and what is chance, and that no day is corrected by what was known after it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.errors import ModelError
from energy_assets.models.bias import load_bias, no_bias

START = datetime(2026, 1, 1, tzinfo=UTC)


def rows_of(days: int, *, meters=("a",), from_day: int = 0) -> pl.DataFrame:
    slots = pl.DataFrame({"day": range(from_day, from_day + days)}).join(
        pl.DataFrame({"lead_hours": [float(hour) for hour in range(24)]}), how="cross"
    )
    frame = slots.join(pl.DataFrame({"meter_id": list(meters)}), how="cross")
    issued = [START + timedelta(days=day) for day in frame["day"]]
    return frame.with_columns(
        issued_at_utc=pl.Series(issued), local_hour=pl.col("lead_hours").cast(pl.Float32), interval_minutes=60
    )


def errors(rows: pl.DataFrame, *, at_night: float, noise: float = 0.1, seed: int = 1) -> np.ndarray:
    chance = np.random.default_rng(seed).normal(0, noise, rows.height)
    return chance + np.where(rows["local_hour"].to_numpy() < 6, at_night, 0.0)


def test_the_third_day_is_corrected_by_hand():
    # One hour, errors of 0.5 and 0.5: after a day the mean is 0.5 / (1 + 1) = 0.25, of which twice as much would have
    # helped on the second. After that the sums are 0.5 a + 0.5 and a + 1, with a = 0.5 ** 0.1 for a day of ten.
    rows = rows_of(3).filter(pl.col("local_hour") == 4)
    state, corrections = no_bias().followed(rows, error=np.array([0.5, 0.5, np.nan]))
    a, b = 0.5**0.1, 0.5 ** (1 / 40)
    days = (b + 1) / 6  # a row is a sixth of a day
    belief = days / (days + 45)  # of the meter's own 2, and of what all meters say, which is 2 times the same belief
    use = belief * 2 + (1 - belief) * 2 * belief
    assert corrections[:2].tolist() == [0, 0]
    assert corrections[2] == pytest.approx(use * (0.5 * a + 0.5) / (a + 1 + 1), rel=1e-6)
    assert state.meters == ("a",)


def test_what_recurs_is_corrected_and_chance_is_not():
    rows, new = rows_of(80), rows_of(1, from_day=80)
    recurring = no_bias().followed(rows, error=errors(rows, at_night=0.3))[0].apply(new)
    assert recurring[:6] == pytest.approx(np.full(6, 0.3), abs=0.08)
    assert np.abs(recurring[6:]).max() < 0.06
    chance = no_bias().followed(rows, error=errors(rows, at_night=0.0))[0].apply(new)
    assert np.abs(chance).max() < 0.03


def test_day_after_day_gives_the_same_sums_as_all_at_once():
    rows = rows_of(30, meters=("a", "b"))
    error = errors(rows, at_night=0.2)
    once, corrections = no_bias().followed(rows, error=error)
    step, parts = no_bias(), []
    for day in range(30):
        of_day = (rows["day"] == day).to_numpy()
        step, part = step.followed(rows.filter(of_day), error=error[of_day])
        parts.append(part)
    assert np.concatenate(parts) == pytest.approx(corrections, abs=1e-6)
    new = rows_of(1, meters=("a", "b"), from_day=30)
    assert step.apply(new) == pytest.approx(once.apply(new), abs=1e-6)


def test_later_errors_change_no_earlier_correction():
    rows = rows_of(40)
    error = errors(rows, at_night=0.3)
    later = (rows["day"] >= 25).to_numpy()
    _, honest = no_bias().followed(rows, error=error)
    _, spoiled = no_bias().followed(rows, error=np.where(later, 9.0, error))
    early = (rows["day"] <= 25).to_numpy()  # the errors of day 25 are known on day 26
    assert (honest[early] == spoiled[early]).all()
    assert not (honest[~early] == spoiled[~early]).all()


def test_corrections_fade_where_nothing_new_is_known_and_strangers_have_none():
    rows = rows_of(60)
    state, _ = no_bias().followed(rows, error=errors(rows, at_night=0.3))
    soon, late = (np.abs(state.apply(rows_of(1, from_day=day))).sum() for day in (60, 160))
    assert late < 0.3 * soon
    assert (state.apply(rows_of(1, from_day=60).with_columns(meter_id=pl.lit("stranger"))) == 0).all()
    assert (no_bias().apply(rows_of(1)) == 0).all()


def test_kept_on_disk(tmp_path):
    rows = rows_of(30)
    state, _ = no_bias().followed(rows, error=errors(rows, at_night=0.3))
    content = state.save(tmp_path)
    assert content == {"meters": ("a",), "day": state.day}
    loaded = load_bias(tmp_path, meters=("a",), day=state.day)
    assert (loaded.apply(rows_of(1, from_day=30)) == state.apply(rows_of(1, from_day=30))).all()
    (tmp_path / "bias_errors.npy").write_bytes(b"torn")
    with pytest.raises(ModelError, match="train and save it again"):
        load_bias(tmp_path, meters=("a",), day=state.day)
