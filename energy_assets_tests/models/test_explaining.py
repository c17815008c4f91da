"""Explanations: what must hold of every model, and Shapley values worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.errors import ModelError
from energy_assets.features.fingerprint import KEY
from energy_assets.models.explaining import BASE, GROUPS, background_of, explain
from energy_assets.models.fitting import fit
from energy_assets.models.spec import ModelSpec
from energy_assets_tests.models.worlds import office_features, split


@dataclass(frozen=True)
class Formula:
    """A model that is one expression of the features."""

    median: pl.Expr

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        return features.select(*KEY, **dict.fromkeys(QUANTILE_COLUMNS, self.median.cast(pl.Float64)))

    def save(self, folder: Path) -> None:
        raise NotImplementedError


def last_issue(*, meter_id: str = "m1") -> pl.DataFrame:
    _, rows = split(office_features(days=30), test_days=0)
    return rows.filter(pl.col("meter_id") == meter_id)


def earlier() -> pl.DataFrame:
    return split(office_features(days=30), test_days=0)[0]


def constant_background(count: int, **values: float) -> pl.DataFrame:
    """Rows of one meter in which the named features have one value."""
    rows = earlier().filter(pl.col("meter_id") == "m1").head(count)
    return rows.with_columns(pl.lit(value, pl.Float32).alias(name) for name, value in values.items())


@pytest.mark.parametrize(
    ("median", "expected"),
    [
        # An additive model: each group gets its coefficient times the distance from the background.
        pytest.param(
            lambda: 2 * pl.col("temperature_c") + 3 * pl.col("is_holiday") + 100,
            {"usual": 100 + 2 * 4 + 0, "weather": 2 * (10 - 4), "calendar": 3.0, "recent_load": 0.0, "building": 0.0},
            id="additive",
        ),
        # A product of two: from 4 * 2 to 10 * 5 is 42; each gets the mean of its share first and last:
        # weather (10 - 4) * (2 + 5) / 2 = 21, building (5 - 2) * (4 + 10) / 2 = 21.
        pytest.param(
            lambda: pl.col("temperature_c") * pl.col("year_built"),
            {"usual": 8.0, "weather": 21.0, "building": 21.0, "calendar": 0.0, "recent_load": 0.0},
            id="a product",
        ),
    ],
)
def test_contributions_are_those_worked_by_hand(median: Callable[[], pl.Expr], expected: dict[str, float]) -> None:
    rows = last_issue().with_columns(
        temperature_c=pl.lit(10.0, pl.Float32), is_holiday=pl.lit(1.0, pl.Float32), year_built=pl.lit(5.0, pl.Float32)
    )
    background = constant_background(7, temperature_c=4.0, is_holiday=0.0, year_built=2.0)
    found = explain(Formula(median()), rows, background=background)
    assert {name: found[name].unique().to_list() for name in expected} == {
        name: [pytest.approx(value)] for name, value in expected.items()
    }


@pytest.mark.parametrize("family", [None, "trees", "last_week", "analogue"])
def test_contributions_add_up_to_the_forecast_of_every_family(family: str | None) -> None:
    given = {} if family is None else {"family": family}
    model = fit(earlier(), spec=ModelSpec(rounds=30, spread_rounds=10, **given), seed=1)  # type: ignore[arg-type]
    rows = office_features(days=30).filter(pl.col("issued_at_utc") == pl.col("issued_at_utc").max())
    found = explain(model, rows, background=background_of(earlier(), direction_code=0.0))
    predicted = model.predict(rows)
    assert found.select(KEY).equals(predicted.select(KEY))
    assert found["q50"].equals(predicted["q50"])
    total = found.select(pl.sum_horizontal(BASE, *GROUPS))[BASE]
    assert np.abs((total - found["q50"]).to_numpy()).max() < 1e-9
    if family == "last_week":  # reads past readings and nothing else
        assert found.select(pl.col("calendar", "weather", "building").abs().max()).row(0) == pytest.approx((0, 0, 0))
        assert found["recent_load"].abs().max() > 0.1  # type: ignore[operator]


def test_a_background_of_larger_meters_explains_the_same() -> None:
    """Energies of the background count in multiples of their meter's scale."""
    model = Formula(pl.col("lag_7d_kwh") + pl.col("temperature_c"))
    background = background_of(earlier().filter(pl.col("meter_id") == "m1"), direction_code=None)
    energies = [name for name in background.columns if name.endswith("_kwh") and name != "energy_kwh"]
    larger = background.with_columns(pl.col(energies) * 1024)
    one, other = (explain(model, last_issue(), background=each) for each in (background, larger))
    for name in (BASE, *GROUPS):
        assert one[name].to_numpy() == pytest.approx(other[name].to_numpy())


def test_the_background_covers_the_day_and_keeps_to_the_direction() -> None:
    rows = pl.concat(
        [earlier(), earlier().with_columns(pl.lit(1.0, pl.Float32).alias("direction_code"), meter_id=pl.lit("other"))]
    )
    chosen = background_of(rows, direction_code=0.0, rows=24)
    assert chosen.height == 24
    assert "other" not in chosen["meter_id"]
    assert chosen["local_hour"].n_unique() >= 20
    assert chosen.equals(background_of(rows.sample(fraction=1, shuffle=True, seed=3), direction_code=0.0, rows=24))


def test_what_cannot_be_forecast_is_not_explained() -> None:
    model = Formula(pl.when(pl.col("lead_hours") < 10).then("scale_kwh"))
    found = explain(model, last_issue(), background=background_of(earlier(), direction_code=None))
    known = last_issue()["lead_hours"] < 10
    assert found.filter(~known)["q50"].null_count() == found.filter(~known).height > 0


def test_without_a_background_it_says_what_is_missing() -> None:
    with pytest.raises(ModelError, match="nothing to compare with"):
        explain(Formula(pl.col("scale_kwh")), last_issue(), background=last_issue().clear())


def test_features_of_no_known_group_are_named_other() -> None:
    rows = last_issue().with_columns(moon=pl.lit(3.0, pl.Float32))
    background = constant_background(3).with_columns(moon=pl.lit(1.0, pl.Float32))
    found = explain(Formula(pl.col("moon") * 2), rows, background=background)
    assert found["other"].unique().to_list() == [pytest.approx(4.0)]
    assert rows["issued_at_utc"].max() - background["issued_at_utc"].max() > timedelta(0)  # type: ignore[operator]
