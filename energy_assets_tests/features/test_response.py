"""Balance points and slopes are found where a meter has them, and conventions stand where it has none."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.features.matrix import Horizon, build_features
from energy_assets.features.response import COOLING_BASE_C, HEATING_BASE_C, RECENT_FIT_DAYS, Response, fit_response
from energy_assets.features.weather import as_its_own_forecast
from energy_assets_tests.features.frames import START, meters, premises, readings_of, sites, weather_of

DAYS = 81  # 43 of a year ago, 38 of late


def fitted(daily: np.ndarray, temperature: np.ndarray, *, heats: bool = True, cools: bool = True) -> Response:
    rest = (np.arange(len(temperature)) % 7 >= 5).astype(np.float32)
    return fit_response(
        daily.astype(np.float32)[None, :],
        temperature_c=temperature.astype(np.float32),
        rest=rest,
        heats=np.array([heats]),
        cools=np.array([cools]),
    )


def temperatures(low: float, high: float) -> np.ndarray:
    return np.random.default_rng(3).uniform(low, high, DAYS)


def load(temperature: np.ndarray, *, heating: float = 0, cooling: float = 0, bases=(13.0, 20.0)) -> np.ndarray:
    weekly = np.where(np.arange(len(temperature)) % 7 >= 5, 6.0, 10.0)
    degrees = heating * np.maximum(bases[0] - temperature, 0) + cooling * np.maximum(temperature - bases[1], 0)
    return weekly + degrees + np.random.default_rng(1).normal(0, 0.2, len(temperature))


@pytest.mark.parametrize(
    ("low", "high", "heating", "cooling"),
    [
        pytest.param(-5, 30, 0.5, 0.8, id="both"),
        pytest.param(-5, 30, 0.5, 0.0, id="heating only"),
        pytest.param(-5, 30, 0.0, 0.8, id="cooling only"),
        pytest.param(-5, 12, 0.5, 0.8, id="winter: nothing is said of cooling"),
    ],
)
def test_what_was_planted_is_found(low: float, high: float, heating: float, cooling: float):
    temperature = temperatures(low, high)
    found = fitted(load(temperature, heating=heating, cooling=cooling), temperature)
    assert found.heating_kwh_per_c[0] == pytest.approx(heating, abs=0.05)
    if high > 20:
        assert found.cooling_kwh_per_c[0] == pytest.approx(cooling, abs=0.05)
        assert found.cooling_base_c[0] == pytest.approx(20.0 if cooling else COOLING_BASE_C)
        assert found.heating_base_c[0] == pytest.approx(13.0 if heating else HEATING_BASE_C)
    else:
        assert found.cooling_kwh_per_c[0] == 0
        assert found.cooling_base_c[0] == COOLING_BASE_C


def test_days_far_off_bend_nothing():
    temperature = temperatures(-5, 30)
    days = load(temperature, heating=0.5)
    days[::20] *= 3000
    assert fitted(days, temperature).heating_kwh_per_c[0] == pytest.approx(0.5, abs=0.1)


def test_another_level_a_year_ago_is_no_answer_to_temperature():
    temperature = np.concatenate([temperatures(0, 10)[: DAYS - RECENT_FIT_DAYS], temperatures(5, 15)[:RECENT_FIT_DAYS]])
    days = load(temperature) + np.where(np.arange(DAYS) < DAYS - RECENT_FIT_DAYS, 5.0, 0.0)
    found = fitted(days, temperature)
    assert found.heating_kwh_per_c[0] == 0


@pytest.mark.parametrize(
    ("heats", "cools"), [pytest.param(True, False, id="steam"), pytest.param(False, True, id="chilled water")]
)
def test_a_commodity_answers_on_its_own_side(heats: bool, cools: bool):
    temperature = temperatures(-5, 30)
    cold, warm = load(temperature, heating=0.5), load(temperature, cooling=0.5)
    assert (fitted(cold, temperature, heats=heats, cools=cools).heating_kwh_per_c[0] > 0.4) == heats
    assert fitted(cold, temperature, heats=heats, cools=cools).cooling_kwh_per_c[0] == 0
    assert (fitted(warm, temperature, heats=heats, cools=cools).cooling_kwh_per_c[0] > 0.4) == cools
    assert fitted(warm, temperature, heats=heats, cools=cools).heating_kwh_per_c[0] == 0


def test_too_few_days_leave_the_conventions():
    temperature = temperatures(-5, 30)
    days = load(temperature, heating=0.5)
    days[: DAYS - 20] = np.nan
    found = fitted(days, temperature)
    assert np.isnan(found.heating_kwh_per_c[0])
    assert found.heating_base_c[0] == HEATING_BASE_C
    assert np.isnan(fitted(days, np.full(DAYS, np.nan)).cooling_kwh_per_c[0])


def test_a_meter_alone_is_fitted_as_among_many():
    temperature = temperatures(-5, 30)
    many = np.stack([load(temperature, heating=0.1 * n, cooling=0.05 * n) for n in range(9)]).astype(np.float32)
    rest = np.zeros(DAYS, np.float32)

    def fit(rows: np.ndarray) -> Response:
        yes = np.ones(len(rows), bool)
        return fit_response(rows, temperature_c=temperature.astype(np.float32), rest=rest, heats=yes, cools=yes)

    together = fit(many)
    for n in range(9):
        alone = fit(many[n : n + 1])
        for name, values in vars(together).items():
            assert values[n : n + 1].tobytes() == vars(alone)[name].tobytes()


def test_the_shift_is_what_the_degrees_ask_for_beyond_last_week():
    """Half a kWh per degree below 13: a day that is 6 degrees colder than the week before asks for 3 kWh more."""
    days = 60
    temperature = np.repeat(np.random.default_rng(5).uniform(0, 12, days + 5), 24)
    issue = START + timedelta(days=days)
    cold = np.arange(len(temperature)) // 24 >= days
    temperature[(days - 8) * 24 :] = 8.0
    temperature[cold] = 2.0
    weather = weather_of(days + 5, seed=1).with_columns(temperature_c=pl.Series(temperature))
    load_kwh = 4 + 0.5 * np.maximum(13 - temperature, 0)[: days * 24]
    frame = build_features(
        readings_of(load_kwh, meter_id="a"), meters=meters("a"), sites=sites(), premises=premises("a"),
        weather=as_its_own_forecast(weather, issues=[issue]), issues=[issue], horizon=Horizon.of_hours(24),
        observed=weather,
    )  # fmt: skip
    last = frame.sort("starts_at_utc").row(-1, named=True)
    assert last["degree_shift_kwh"] == pytest.approx(3.0, abs=0.1)
    assert last["heating_degrees_c"] == pytest.approx(13.5, abs=0.1)
