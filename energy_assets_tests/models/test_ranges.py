"""What lies beyond what a model learned from, counted by hand."""

from __future__ import annotations

import polars as pl
import pytest

from energy_assets.models.ranges import NEEDED, WATCHED, beyond, from_text, ranges_of, to_text


def rows(count: int = 201, **values: object) -> pl.DataFrame:
    """Feature rows in which every watched feature runs from 0 to 20, energies in a month of 10 kWh."""
    run = pl.Series([20 * index / (count - 1) for index in range(count)])
    frame = pl.DataFrame(dict.fromkeys(NEEDED, run)).with_columns(month_mean_kwh=pl.lit(10.0))
    return frame.with_columns(pl.lit(value, pl.Float64).alias(name) for name, value in values.items())


def test_ranges_leave_out_one_in_two_hundred_at_either_end_and_survive_the_tag() -> None:
    found = ranges_of(rows())
    assert set(found) == set(WATCHED)
    assert found["temperature_c"] == pytest.approx((0.1, 19.9, 1.0))
    assert found["week_mean_kwh"] == pytest.approx((0.01, 1.99, 1.0))  # in multiples of the month
    assert from_text(to_text(found)) == {name: pytest.approx(values) for name, values in found.items()}


@pytest.mark.parametrize(
    ("values", "feature", "share"),
    [
        pytest.param({}, "temperature_c", 2 / 201, id="the same rows"),
        pytest.param({"temperature_c": -12.0}, "temperature_c", 1.0, id="frost after a summer"),
        pytest.param({"wind_speed_ms": None}, "wind_speed_ms", 1.0, id="a feed that fell silent"),
        pytest.param({"week_mean_kwh": 30.0}, "week_mean_kwh", 1.0, id="three times the month"),
        pytest.param({"week_mean_kwh": 300.0, "month_mean_kwh": 300.0}, "week_mean_kwh", 0.0, id="larger, not other"),
    ],
)
def test_the_share_beyond(values: dict[str, float | None], feature: str, share: float) -> None:
    assert beyond(rows(**values), ranges=ranges_of(rows()))[feature] == pytest.approx(share)


def test_what_was_never_known_is_not_missed() -> None:
    learned = ranges_of(rows(wind_speed_ms=None))
    assert "wind_speed_ms" not in learned
    half = rows().with_columns(dew_point_c=pl.when(pl.col("dew_point_c") < 10).then("dew_point_c"))
    assert beyond(half.with_columns(dew_point_c=pl.lit(None, pl.Float64)), ranges=ranges_of(half))[
        "dew_point_c"
    ] == pytest.approx(100 / 201)
    assert beyond(rows().clear(), ranges=learned) == {}
