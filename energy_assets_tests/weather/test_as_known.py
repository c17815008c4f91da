"""Weather as it was known at an issue: nothing younger takes part, and several models speak with one voice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.contracts import WEATHER_FORECAST, WEATHER_OBSERVED
from energy_assets.weather.as_known import as_known

ISSUE = datetime(2026, 3, 20, tzinfo=UTC)
HORIZON = timedelta(hours=48)


def observations(values: dict[int, float], *, delay_h: int = 1) -> pl.DataFrame:
    """Temperatures by the hour after the issue (negative: before it), each known some hours after its start."""
    rows = [
        {
            "site_id": "s",
            "starts_at_utc": ISSUE + timedelta(hours=hour),
            "temperature_c": value,
            "source": "t",
            "available_at_utc": ISSUE + timedelta(hours=hour + delay_h),
        }
        for hour, value in values.items()
    ]
    return WEATHER_OBSERVED.conform(pl.DataFrame(rows)) if rows else WEATHER_OBSERVED.empty()


def forecasts(runs: dict[tuple[int, str], dict[int, float]], *, late_h: int = 0) -> pl.DataFrame:
    """Temperatures by run (hours after the issue, source) and hour."""
    rows = [
        {
            "site_id": "s",
            "issued_at_utc": ISSUE + timedelta(hours=run),
            "starts_at_utc": ISSUE + timedelta(hours=hour),
            "temperature_c": value,
            "source": source,
            "available_at_utc": ISSUE + timedelta(hours=run + late_h),
        }
        for (run, source), values in runs.items()
        for hour, value in values.items()
    ]
    return WEATHER_FORECAST.conform(pl.DataFrame(rows)) if rows else WEATHER_FORECAST.empty()


def known(observed: pl.DataFrame, forecast: pl.DataFrame) -> dict[int, tuple[str, float]]:
    rows = as_known(observed, forecast, issues=[ISSUE], horizon=HORIZON)
    hours = ((rows["starts_at_utc"] - ISSUE).dt.total_seconds() // 3600).to_list()
    return dict(zip(hours, rows.select("weather_kind", "temperature_c").rows(), strict=True))


def test_the_past_is_observed_and_the_future_is_the_newest_forecast_of_before() -> None:
    found = known(
        observations({-2: 1.0, -1: 2.0, 0: 99.0, 1: 99.0}),
        forecasts({(-20, "m"): {0: 5.0, 1: 5.0}, (-2, "m"): {-1: 7.0, 0: 6.0}, (3, "m"): {0: 99.0, 1: 99.0}}),
    )
    assert found == {-2: ("observed", 1.0), -1: ("observed", 2.0), 0: ("forecast", 6.0)}


def test_a_run_that_arrived_late_serves_only_later_issues() -> None:
    assert known(observations({}), forecasts({(-1, "m"): {0: 99.0}}, late_h=2)) == {}


def test_models_of_one_run_speak_with_their_mean() -> None:
    found = known(observations({}), forecasts({(-1, "a"): {0: 4.0, 1: 6.0}, (-1, "b"): {0: 8.0}}))
    assert found == {0: ("forecast", 6.0), 1: ("forecast", 6.0)}


HOURS = st.dictionaries(st.integers(-72, 47), st.floats(-20, 40), max_size=20)


@settings(max_examples=40)
@given(seen=HOURS, later=HOURS, run=st.integers(-30, 30), said=HOURS)
def test_whatever_became_known_later_changes_nothing(
    seen: dict[int, float], later: dict[int, float], run: int, said: dict[int, float]
) -> None:
    before = observations({hour: value for hour, value in seen.items() if hour < 0})
    after = observations({hour: value for hour, value in later.items() if hour >= 0})
    early = forecasts({(-3, "m"): dict.fromkeys(range(48), 1.0)})
    late = forecasts({(max(run, 1), "m"): said})
    plain = known(before, early)
    assert known(pl.concat([before, after]), pl.concat([early, late])) == plain
