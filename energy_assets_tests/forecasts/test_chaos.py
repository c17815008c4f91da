"""The chaos matrix: whatever is missing, wrong or broken, each slot has an honest, plausible row that says why."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import FORECASTS_LOAD, QUANTILE_COLUMNS
from energy_assets.models.registry import LoadedModel, UnresolvedModelError
from energy_assets_tests.forecasts import chaos_world as town
from energy_assets_tests.forecasts.chaos_world import HIT, Disturbance, World

ALL = pl.lit(value=True)
NOMINAL, TOLERANCE = 0.80, 0.05
STALE = 0.15
"""Real meters drift within a month, and the band allows for it; those of the town do not.

On real buildings the same rung is held to five points after thirty days (`test_analogues.py`).
"""


def weather(hours: int, value: float | None) -> Disturbance:
    """The first hours of the forecast are `value`."""

    def disturb(state: World, issue: datetime) -> World:
        hit = pl.col("starts_at_utc").is_between(issue, issue + timedelta(hours=hours), closed="left")
        changed = pl.when(hit).then(pl.lit(value, pl.Float64)).otherwise("temperature_c")
        return replace(state, weather=state.weather.with_columns(temperature_c=changed))

    return disturb


def no_weather(state: World, issue: datetime) -> World:
    return replace(state, weather=state.weather.clear())


def missing(days: int) -> Disturbance:
    def disturb(state: World, issue: datetime) -> World:
        gone = HIT & pl.col("starts_at_utc").is_between(issue - timedelta(days=days), issue, closed="left")
        return replace(state, readings=state.readings.filter(~gone))

    return disturb


def begun(days: int) -> Disturbance:
    def disturb(state: World, issue: datetime) -> World:
        early = HIT & (pl.col("starts_at_utc") < issue - timedelta(days=days))
        return replace(state, readings=state.readings.filter(~early))

    return disturb


def stuck(days: int) -> Disturbance:
    def disturb(state: World, issue: datetime) -> World:
        held = HIT & pl.col("starts_at_utc").is_between(issue - timedelta(days=days), issue, closed="left")
        last = pl.col("energy_kwh").filter(pl.col("starts_at_utc") == issue - timedelta(days=days, hours=6))
        changed = pl.when(held).then(last.first().over("meter_id")).otherwise("energy_kwh")
        return replace(state, readings=state.readings.with_columns(energy_kwh=changed))

    return disturb


class Times:
    """A model whose output is a factor too big, or nothing that can be used."""

    def __init__(self, model, factor: float) -> None:
        self.model, self.factor = model, factor

    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        return self.model.predict(features).with_columns(pl.col(QUANTILE_COLUMNS) * self.factor)

    def save(self, folder) -> None: ...


class Broken:
    def predict(self, features: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("feature names mismatch")

    def save(self, folder) -> None: ...


def registry(reason) -> Disturbance:
    error = UnresolvedModelError("not to be had", reason=reason)
    return lambda state, issue: replace(state, champions={town.NAME: error})


def models(change) -> Disturbance:
    def disturb(state: World, issue: datetime) -> World:
        champion = state.champions[town.NAME]
        assert isinstance(champion, LoadedModel)
        variants = {name: change(name, model) for name, model in champion.variants.items()}
        return replace(state, champions={town.NAME: replace(champion, variants=variants)})

    return disturb


def assert_is_served(rows: pl.DataFrame, *, issues: int = len(town.ISSUES)) -> None:
    """Every meter and slot has ordered, finite, non-negative quantiles with method and reason, near the truth."""
    assert rows.height == issues * town.METER_COUNT * 24
    assert rows.select("meter_id", "starts_at_utc").is_unique().all()
    values = rows.select(QUANTILE_COLUMNS).to_numpy()
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=1) >= 0).all()
    assert (values >= 0).all()
    assert rows.filter((pl.col("rung") > 0) & pl.col("reason").is_null()).is_empty()
    FORECASTS_LOAD.conform(rows.rename({"meter_id": "node_id"}).drop("energy_kwh"))
    level = rows.group_by("meter_id").agg((pl.col("q50").sum() / pl.col("energy_kwh").sum()).alias("ratio"))["ratio"]
    assert level.is_between(0.2, 5).all()


MATRIX = [
    pytest.param(lambda state, issue: state, ALL, "champion", None, TOLERANCE, id="all-well"),
    *(
        pytest.param(disturb, ALL, "without_weather", reason, TOLERANCE, id=name)
        for name, disturb, reason in (
            ("weather-missing-1-h", weather(1, None), "weather_missing"),
            ("weather-missing-1-d", weather(24, None), "weather_missing"),
            ("weather-missing-7-d", weather(168, None), "weather_missing"),
            ("weather-never-came", no_weather, "weather_missing"),
            ("weather-nan", weather(24, float("nan")), "weather_missing"),
            ("weather-1e9", weather(24, 1e9), "weather_implausible"),
            (
                "full-times-1000",
                models(lambda name, it: Times(it, 1000 if name == "full" else 1)),
                "implausible_output",
            ),
        )
    ),
    *(
        pytest.param(disturb, ALL, "analogue", reason, TOLERANCE, id=name)
        for name, disturb, reason in (
            ("registry-empty", registry("registry_empty"), "registry_empty"),
            ("registry-unreachable", registry("registry_unreachable"), "registry_unreachable"),
            ("archive-broken", registry("model_broken"), "model_broken"),
            ("model-raises", models(lambda name, it: Broken()), "model_broken"),
            ("model-says-nan", models(lambda name, it: Times(it, float("nan"))), "model_broken"),
            ("model-times-1000", models(lambda name, it: Times(it, 1000)), "implausible_output"),
        )
    ),
    pytest.param(missing(1), HIT, "champion", None, TOLERANCE, id="readings-missing-1-d"),
    pytest.param(missing(7), HIT, "champion", None, TOLERANCE, id="readings-missing-7-d"),
    pytest.param(missing(30), HIT, "analogue", "readings_stale", STALE, id="readings-missing-30-d"),
    pytest.param(stuck(2), HIT, "champion", None, TOLERANCE, id="readings-stuck-2-d"),
    pytest.param(begun(0), HIT, "peers", "too_little_history+too_few_analogues", TOLERANCE, id="begun-0-d"),
    pytest.param(begun(3), HIT, "analogue", "too_little_history", TOLERANCE, id="begun-3-d"),
    pytest.param(begun(7), HIT, "analogue", "too_little_history", TOLERANCE, id="begun-7-d"),
    pytest.param(begun(14), HIT, "champion", None, TOLERANCE, id="begun-14-d"),
]


@pytest.mark.parametrize(("disturb", "hit", "method", "reason", "tolerance"), MATRIX)
def test_trouble_is_met_by_the_right_rung_with_an_honest_band(
    disturb: Disturbance, hit: pl.Expr, method: str, reason: str | None, tolerance: float
):
    rows = town.nights(disturb)
    assert_is_served(rows)
    struck = rows.filter(hit, pl.col("method") == method)
    assert set(struck["reason"]) == {reason}
    whole = rows.filter(hit)
    hours = struck.height / whole.height * 24
    # An hour of weather costs an hour; everything else costs what it hits as a whole.
    assert hours == pytest.approx(1 if whole.height != struck.height else 24)
    assert set(rows.filter(~hit)["method"]) <= {"champion"}
    of_peers = method == "peers"
    covered = town.coverage_over_levels(struck, is_area_known=True) if of_peers else town.coverage_of(struck)
    assert covered == pytest.approx(NOMINAL, abs=tolerance)


OF_WEATHER = (weather(1, None), weather(24, None), weather(168, None), weather(24, 1e9))
OF_READINGS = (missing(1), missing(7), missing(30), stuck(2), begun(0), begun(3), begun(7), begun(14))
OF_REGISTRY = {
    "well": lambda state, issue: state,
    "empty": registry("registry_empty"),
    "unreachable": registry("registry_unreachable"),
    "broken": registry("model_broken"),
    "times-1000": models(lambda name, it: Times(it, 1000)),
}


@pytest.mark.parametrize("of_registry", OF_REGISTRY)
def test_troubles_of_all_kinds_at_once_leave_no_slot_empty(of_registry: str):
    """Any two troubles of weather, readings and registry meet in one of these nights."""
    for number, of_readings in enumerate(OF_READINGS):
        of_weather = OF_WEATHER[(number + list(OF_REGISTRY).index(of_registry)) % len(OF_WEATHER)]

        def disturb(state: World, issue: datetime, *, trouble=(of_weather, of_readings)) -> World:
            for each in (*trouble, OF_REGISTRY[of_registry]):
                state = each(state, issue)
            return state

        rows = town.nights(disturb, issues=town.ISSUES[number % 6 : number % 6 + 1])
        assert_is_served(rows, issues=1)
        is_model = rows["method"].is_in(["champion", "without_weather"])
        assert is_model.any() is (of_registry == "well")
        assert rows.filter(pl.col("method") == "champion", pl.col("reason").is_not_null()).is_empty()


def test_meters_of_which_nothing_is_known_get_climatology_that_admits_it():
    bare = town.PREMISE_ROWS.with_columns(floor_area_m2=pl.lit(None, pl.Float64))
    rows = town.nights(begun(0), premises=bare).filter(HIT)
    assert set(rows["method"]) == {"climatology"}
    assert town.coverage_over_levels(rows, is_area_known=False) == pytest.approx(NOMINAL, abs=TOLERANCE)


def test_each_rung_is_better_than_the_one_below():
    """What a rung lacks costs; where a lower rung were better, the ladder would have its rungs in the wrong order."""
    errors = []
    for disturb in (lambda state, issue: state, no_weather, registry("registry_empty"), begun(3), begun(0)):
        rows = town.nights(disturb).filter(HIT)
        error = (pl.col("q50") - pl.col("energy_kwh")).abs() / pl.col("energy_kwh").mean().over("meter_id")
        errors.append(rows.select(error.mean()).item())
    assert errors == sorted(errors)
