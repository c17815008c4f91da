"""Units of meters that jump, and what is learned of the day on which they do, by hand."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.models.design import learned_target, noise_kwh, scaled, unit_kwh


def row(**columns: float | None) -> pl.DataFrame:
    usual = {"scale_kwh": 10.0, "week_mean_kwh": 10.0, "day_mean_kwh": 10.0, "month_max_kwh": 20.0, "energy_kwh": 5.0}
    return pl.DataFrame({**usual, "week_change_kwh": 1.0, **columns}, schema_overrides={"energy_kwh": pl.Float32})


@pytest.mark.parametrize(
    ("levels", "unit"),
    [
        pytest.param({}, 10.0, id="steady"),
        pytest.param({"day_mean_kwh": 25.0, "week_mean_kwh": 15.0}, 10.0, id="a-working-day"),
        pytest.param({"scale_kwh": 0.1, "day_mean_kwh": 175.0, "week_mean_kwh": 25.0}, 175 / 3, id="back-since-a-day"),
        pytest.param({"scale_kwh": 50.0, "day_mean_kwh": 170.0, "week_mean_kwh": 175.0}, 87.5, id="back-since-a-week"),
        pytest.param({"scale_kwh": 3.0, "day_mean_kwh": -30.0}, 10.0, id="feeding-in"),
        pytest.param({"scale_kwh": 4.0, "day_mean_kwh": None, "week_mean_kwh": None}, 5.0 * 0.8, id="no-newest-week"),
        pytest.param({"scale_kwh": 0.0, "day_mean_kwh": 0.0, "week_mean_kwh": 0.0}, 0.0, id="dead"),
    ],
)
def test_unit_follows_a_jump(levels: dict, unit: float):
    assert unit_kwh(row(**levels))[0] == pytest.approx(unit)


def test_all_that_is_in_kwh_is_in_the_same_unit():
    jumped = row(scale_kwh=0.1, day_mean_kwh=30.0, week_mean_kwh=5.0)
    assert scaled(jumped, ("energy_kwh", "day_mean_kwh"))[0].tolist() == pytest.approx([0.5, 3.0])
    assert noise_kwh(jumped)[0] == pytest.approx(1.0)  # a change of 1 kWh, 0.1 of the unit


@pytest.mark.parametrize(
    ("energy", "highest", "learned"),
    [
        pytest.param(30.0, 20.0, 3.0, id="usual"),
        pytest.param(3000.0, 20.0, 10.0, id="ten-units-at-most"),
        pytest.param(3000.0, 80.0, 24.0, id="or-three-times-the-highest-of-the-month"),
        pytest.param(-3000.0, 20.0, -10.0, id="either-way"),
        pytest.param(3000.0, None, 10.0, id="nothing-known"),
    ],
)
def test_what_nothing_could_have_told_is_cut(energy: float, highest: float | None, learned: float):
    assert learned_target(row(energy_kwh=energy, month_max_kwh=highest))[0] == pytest.approx(learned)


VALUES = st.one_of(
    st.none(), st.floats(width=32), st.sampled_from([0.0, -0.0, 1e-38, float("nan"), float("inf"), float("-inf")])
)


@given(
    rows=st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), min_size=1, max_size=6),
    is_wide=st.booleans(),
    has_nulls=st.booleans(),
)
def test_columns_are_those_of_the_plain_way_to_the_bit(rows: list[tuple], is_wide: bool, has_nulls: bool):
    """The fast way reads columns in place; the plain one casts, fills and divides each by itself."""
    names = ("scale_kwh", "week_mean_kwh", "last_kwh", "temperature_c")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64), orient="row")
    frame = frame if is_wide else frame.cast(pl.Float32)
    frame = frame if has_nulls else frame.fill_null(float("nan"))
    before = frame.clone()
    unit = unit_kwh(frame)
    with np.errstate(all="ignore"):
        plain = np.column_stack(
            [
                frame[name].cast(pl.Float32).fill_null(np.nan).to_numpy() / (unit if name.endswith("_kwh") else 1)
                for name in names
            ]
        ).astype(np.float32)
    assert scaled(frame, names).tobytes("C") == plain.tobytes("C")
    assert frame.equals(before)
