"""Days against the meter's own profile of the year: what counts, what does not, what the detectors have forgotten."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.anomalies.flags import judge
from energy_assets.anomalies.profile_days import RULE, profile_flags
from energy_assets.contracts import METERS, PROFILES_SHAPES, PROFILES_TRAITS, READINGS_INTERVAL, SITES, Window
from energy_assets.contracts.profiles import SEASONS
from energy_assets.defs.anomaly_days import days_unlike_their_profile
from energy_assets.features.site_days import site_days
from energy_assets.lake import Lake
from energy_assets.settings import Settings
from energy_assets_tests.anomalies.meters import MONDAY, clean_kwh, days_from, readings

HOUR = np.arange(24)
WORKS = (HOUR >= 8) & (HOUR < 18)
WORKING, REST = np.where(WORKS, 10.0, 2.0), np.full(24, 2.0)
SATURDAY = 5


def registry(**about: str) -> pl.DataFrame:
    row = {
        "meter_id": "m", "premise_id": "p", "site_id": "s", "commodity": "electricity", "direction": "consumption",
        "measure": "interval_energy", "unit": "kWh", "interval_minutes": 60, "source": "t", **about,
    }  # fmt: skip
    return METERS.conform(pl.DataFrame([row]))


def place(**about: str) -> pl.DataFrame:
    return SITES.conform(pl.DataFrame([{"site_id": "s", "name": "s", "timezone": "UTC", "source": "t", **about}]))


def profile(working: np.ndarray = WORKING, rest: np.ndarray = REST) -> pl.DataFrame:
    frames = [
        pl.DataFrame({"local_hour": HOUR, "mean_kw": day}).with_columns(
            meter_id=pl.lit("m"), season=pl.lit(season), day_kind=pl.lit(kind), known_hours=pl.lit(30.0)
        )
        for season in SEASONS
        for kind, day in (("working", working), ("rest", rest))
    ]
    return PROFILES_SHAPES.conform(pl.concat(frames).select(PROFILES_SHAPES.column_names))


def flags_of(
    days: dict[int, np.ndarray], *, meters: pl.DataFrame | None = None, sites: pl.DataFrame | None = None,
    shapes: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return the flags of days by their number from a Monday; others are not read."""
    kwh = np.full(24 * (max(days) + 1), np.nan)
    for number, day in days.items():
        kwh[24 * number : 24 * number + 24] = day
    sites = place() if sites is None else sites
    window = days_from(0, max(days))
    return profile_flags(
        readings({"m": kwh}), meters=registry() if meters is None else meters, sites=sites,
        shapes=profile() if shapes is None else shapes, window=window,
        calendar=site_days(sites, first=date(2023, 12, 30), last=date(2024, 12, 31)),
    )  # fmt: skip


def hours_of(flags: pl.DataFrame) -> list[int]:
    return flags["starts_at_utc"].dt.hour().to_list()


def test_a_saturday_that_runs_like_a_working_day_is_told_of_hour_by_hour() -> None:
    flags = flags_of({SATURDAY: WORKING})
    assert hours_of(flags) == list(range(8, 18))
    assert flags["rule"].unique().to_list() == [RULE]
    assert flags.select("actual_kwh", "expected_kwh").unique().rows() == [(10.0, 2.0)]
    # All the way in energy is a half; likeness: cosine 1 to working days, (10 * 10 * 2 + 14 * 2 * 2) / ... to rest.
    own = (10 * 10 * 2 + 14 * 2 * 2) / np.sqrt((10 * 100 + 14 * 4) * (24 * 4))
    assert flags["score"].unique().to_list() == pytest.approx([0.5 + 0.5 * (1 - own) / (1 - own + 0.02)])
    assert flags["reason"][0].startswith("A day of rest that is 1.0 like the meter's working days and 0.8")


@pytest.mark.parametrize(
    ("number", "day", "about"),
    [
        pytest.param(SATURDAY, REST, {}, id="a Saturday of rest"),
        pytest.param(SATURDAY, 3 * REST, {}, id="a heavy Saturday in its own shape"),
        pytest.param(SATURDAY, np.where(WORKS, 3.0, 2.0), {}, id="somebody was in, no more"),
        pytest.param(1, WORKING, {}, id="a Tuesday"),
        pytest.param(1, REST, {}, id="a Tuesday off is no waste"),
        pytest.param(SATURDAY, WORKING, {"commodity": "steam"}, id="heat follows the weather"),
        pytest.param(SATURDAY, WORKING, {"direction": "production"}, id="what is made is no waste"),
    ],
)
def test_what_is_not_told_of(number: int, day: np.ndarray, about: dict[str, str]) -> None:
    assert flags_of({number: day}, meters=registry(**about)).is_empty()


def test_a_public_holiday_is_a_day_of_rest() -> None:
    """The 1st of January 2024 is a Monday: a holiday in Germany, a working day where no country is known."""
    assert hours_of(flags_of({0: WORKING}, sites=place(country_code="DE"))) == list(range(8, 18))
    assert flags_of({0: WORKING}).is_empty()


def test_a_meter_whose_kinds_of_day_are_alike_has_no_weekend_to_leave_on() -> None:
    assert flags_of({SATURDAY: WORKING}, shapes=profile(rest=0.9 * WORKING)).is_empty()


def test_a_night_at_the_level_of_the_working_hours_is_told_of() -> None:
    flags = flags_of({1: np.full(24, 10.0)})
    assert hours_of(flags) == [0, 1, 2, 3, 4, 22, 23]
    assert flags["score"].unique().to_list() == [1.0]
    assert flags["reason"][0] == (
        "A night of 10.0 kW, where the meter's nights are of 2.0 and its working hours of 10.0."
    )
    # One hour of seven is no night, and a baseload that rose by a tenth of the way is none either.
    assert flags_of({1: np.where(HOUR == 3, 10.0, WORKING)}).is_empty()
    assert flags_of({1: np.maximum(WORKING, 2.8)}).is_empty()


def test_the_scale_of_a_meter_moves_no_flag() -> None:
    days = {1: np.full(24, 10.0), SATURDAY: WORKING}
    flags = flags_of(days)
    scaled = flags_of(
        {number: 1000 * day for number, day in days.items()}, shapes=profile(working=1000 * WORKING, rest=1000 * REST)
    )
    assert scaled.select("starts_at_utc", "rule").equals(flags.select("starts_at_utc", "rule"))
    assert scaled["score"].to_list() == pytest.approx(flags["score"].to_list())


def test_a_window_is_its_days_one_by_one_on_another_clock_too() -> None:
    sites = place(timezone="Australia/Sydney")
    kwh = readings({"m": np.tile(np.full(24, 10.0), 9)})
    calendar = site_days(sites, first=date(2023, 12, 30), last=date(2024, 2, 1))

    def told(window: Window) -> pl.DataFrame:
        return profile_flags(
            kwh, meters=registry(), sites=sites, shapes=profile(), calendar=calendar, window=window
        )  # fmt: skip

    together = told(days_from(0, 8))
    assert together.height > 30
    assert pl.concat([told(days_from(day)) for day in range(9)]).sort("starts_at_utc").equals(together)


def test_weekends_that_have_been_on_for_ten_weeks_are_usual_to_the_detectors_and_not_to_the_profile(
    lake: Lake, tmp_path: Path
) -> None:
    kwh = clean_kwh(days=84, seed=3)
    for day in range(84):
        if day % 7 >= 5 and day >= 14:
            kwh[24 * day : 24 * day + 24] = kwh[24 * 7 : 24 * 7 + 24]
    window = days_from(82, 83)
    rows = readings({"m": kwh})
    meters, sites = registry(), place()
    seen = judge(rows, meters=meters, sites=sites, window=window).flags
    assert seen.filter(pl.col("rule") == "weekend_as_weekday").is_empty()
    for table, frame in ((READINGS_INTERVAL, rows), (METERS, meters), (SITES, sites), (PROFILES_SHAPES, profile())):
        lake.replace(table, frame)
    traits = pl.DataFrame(
        {"meter_id": ["m"], "site_id": ["s"], "commodity": ["electricity"], "direction": ["consumption"],
         "as_of_utc": [MONDAY + timedelta(days=14)], "days": [14], "good_days": [14]}
    ).with_columns(
        **{each.name: pl.lit(None) for each in PROFILES_TRAITS.columns if each.nullable}
    )  # fmt: skip
    lake.replace(PROFILES_TRAITS, PROFILES_TRAITS.conform(traits))
    settings = Settings(home=tmp_path)
    told = days_unlike_their_profile(lake, window=window, settings=settings)
    assert told["starts_at_utc"].dt.date().n_unique() == 2
    # The same profile knows nothing of days that it was made from.
    assert days_unlike_their_profile(lake, window=days_from(5, 6), settings=settings).is_empty()
