"""Mean days and traits from readings in a real lake, worked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import ANOMALIES_FLAGS, METERS, READINGS_INTERVAL, SITES, WEATHER_OBSERVED, Window
from energy_assets.features.site_days import site_days
from energy_assets.lake import Lake
from energy_assets.profiles.shapes import Shapes, shapes_of
from energy_assets.sql import Query
from energy_assets_tests.anomalies.meters import readings

FIRST = datetime(2024, 6, 3, tzinfo=UTC)  # a Monday; local days begin two hours before in Berlin's summer
DAYS = 28


def meters(**interval_minutes: int) -> pl.DataFrame:
    rows = [
        {
            "meter_id": name,
            "premise_id": "p",
            "site_id": "s",
            "commodity": "electricity",
            "direction": "consumption",
            "measure": "interval_energy",
            "unit": "kWh",
            "interval_minutes": minutes,
            "source": "test",
        }
        for name, minutes in interval_minutes.items()
    ]
    return METERS.conform(pl.DataFrame(rows))


def sites(**site: object) -> pl.DataFrame:
    row = {"site_id": "s", "name": "s", "timezone": "UTC", "source": "test"} | site
    return SITES.conform(pl.DataFrame([row]))


def shapes(
    lake: Lake, kwh: Mapping[str, np.ndarray], *, place: pl.DataFrame | None = None, **faults: list[str]
) -> Shapes:
    registry = meters(**dict.fromkeys(kwh, 60))
    lake.replace(READINGS_INTERVAL, readings(dict(kwh), starts_at_utc=FIRST))
    window = Window(starts_at_utc=FIRST, ends_at_utc=FIRST + timedelta(days=DAYS))
    place = sites() if place is None else place
    with lake.session() as session:

        def ask(query: Query, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
            for name, frame in frames.items():
                session.register(name, frame)
            return query.frame(session)

        return shapes_of(
            ask, meters=registry, sites=place, window=window,
            calendar=site_days(place, first=(FIRST - timedelta(days=1)).date(), last=window.ends_at_utc.date()),
            data_faults=faults.get("data_faults", []),
        )  # fmt: skip


def office() -> np.ndarray:
    """3 kWh from 8 to 17 on working days, else 1."""
    hour = np.arange(DAYS * 24)
    return np.where((hour % 24 >= 8) & (hour % 24 < 17) & (hour // 24 % 7 < 5), 3.0, 1.0)


def traits(made: Shapes, meter_id: str = "m") -> dict[str, object]:
    return made.traits.filter(pl.col("meter_id") == meter_id).row(0, named=True)


def test_the_mean_day_and_the_traits_of_an_office(lake: Lake) -> None:
    made = shapes(lake, {"m": office()})
    by_hour = made.cells.filter(pl.col("day_kind") == "working").sort("local_hour")["mean_kw"].to_list()
    assert by_hour == pytest.approx([1] * 8 + [3] * 9 + [1] * 7)
    assert made.cells["season"].unique().to_list() == ["summer"]
    assert made.cells.filter(pl.col("day_kind") == "rest")["mean_kw"].to_list() == pytest.approx([1] * 24)
    found = traits(made)
    # A working day is 24 + 9 * 2 = 42 kWh, a day of rest 24; the mean day (5 * 42 + 2 * 24) / 7.
    assert found["weekend_ratio"] == pytest.approx(24 / 42)
    mean_kw = (5 * 42 + 2 * 24) / 7 / 24
    assert found["mean_kw"] == pytest.approx(mean_kw)
    assert found["load_factor"] == pytest.approx(mean_kw / ((5 * 3 + 2 * 1) / 7))
    assert found["baseload_share"] == pytest.approx(1 / mean_kw)
    assert found["night_day_ratio"] == pytest.approx(1 / (((5 * 3 + 2) / 7 * 8 + 1) / 9))
    assert found["peak_hour"] == 8
    assert (found["days"], found["good_days"], found["unusable_because"]) == (DAYS, DAYS, None)


def test_days_are_those_of_the_sites_clock(lake: Lake) -> None:
    made = shapes(lake, {"m": office()}, place=sites(timezone="Europe/Berlin"))
    assert traits(made)["peak_hour"] == 10
    # The first local day lacks two hours, which is little; of the last one there are only two.
    assert (traits(made)["days"], traits(made)["good_days"]) == (DAYS + 1, DAYS)


def test_seasons_south_of_the_equator_are_half_a_year_apart(lake: Lake) -> None:
    made = shapes(lake, {"m": office()}, place=sites(latitude=-33.9))
    assert made.cells["season"].unique().to_list() == ["winter"]


def test_a_public_holiday_of_the_site_is_a_day_of_rest(lake: Lake) -> None:
    """Monday the 24th of June 2024 is the national holiday of Quebec, and a plain Monday in Ontario."""
    kwh = office()
    kwh[21 * 24 : 22 * 24] = 1.0
    for region, rest_days in (("QC", 9), ("ON", 8)):
        made = shapes(lake, {"m": kwh}, place=sites(country_code="CA", subdivision_code=region))
        cells = made.cells.filter(pl.col("local_hour") == 12)
        assert dict(cells.select("day_kind", "known_hours").iter_rows()) == {
            "rest": rest_days,
            "working": 28 - rest_days,
        }
        noon = cells.filter(pl.col("day_kind") == "working")["mean_kw"].item()
        assert noon == pytest.approx(3.0 if region == "QC" else (19 * 3 + 1) / 20)


def test_a_meter_of_an_unknown_site_rests_at_the_weekend(lake: Lake) -> None:
    made = shapes(lake, {"m": office()}, place=sites(site_id="elsewhere", country_code="DE"))
    assert traits(made)["weekend_ratio"] == pytest.approx(24 / 42)


def test_days_with_gaps_spikes_or_data_faults_do_not_count(lake: Lake) -> None:
    kwh = office()
    kwh[24:28] = np.nan  # Tuesday: 20 of 24 hours
    kwh[48:50] = np.nan  # Wednesday: 22 of 24 hours, enough
    kwh[72 + 12] = 5_000  # Thursday
    flag = {"meter_id": "m", "starts_at_utc": FIRST + timedelta(days=4), "rule": "stuck", "score": 1.0, "reason": "."}
    lake.replace(ANOMALIES_FLAGS, ANOMALIES_FLAGS.conform(pl.DataFrame([flag])))
    assert traits(shapes(lake, {"m": kwh}, data_faults=["stuck"]))["good_days"] == DAYS - 3
    assert traits(shapes(lake, {"m": kwh}, data_faults=[]))["good_days"] == DAYS - 2


def test_a_meter_without_a_profile_says_why(lake: Lake) -> None:
    few = np.full(DAYS * 24, np.nan)
    few[: 13 * 24] = 1.0
    made = shapes(lake, {"few": few, "off": np.zeros(DAYS * 24), "good": office()})
    reasons = dict(made.traits.select("meter_id", "unusable_because").iter_rows())
    assert reasons == {"few": "fewer_than_14_good_days", "off": "no_energy", "good": None}
    assert made.cells["meter_id"].unique().to_list() == ["good"]


def test_the_slope_on_the_temperature_is_that_of_the_days_energy(lake: Lake) -> None:
    temperature = 10 + 8 * np.sin(np.arange(DAYS))
    daily = 24 * (1 + 0.05 * (temperature - temperature.mean()))
    weather = pl.DataFrame(
        {
            "site_id": ["s"] * DAYS,
            "starts_at_utc": [FIRST + timedelta(days=day) for day in range(DAYS)],
            "temperature_c": temperature,
            "source": ["test"] * DAYS,
            "available_at_utc": [FIRST] * DAYS,
        }
    )
    lake.replace(WEATHER_OBSERVED, WEATHER_OBSERVED.conform(weather))
    made = shapes(lake, {"m": np.repeat(daily / 24, 24)})
    assert traits(made)["temperature_slope_per_c"] == pytest.approx(0.05, rel=1e-6)


def test_an_empty_lake_gives_meters_without_readings(lake: Lake) -> None:
    made = shapes(lake, {"m": np.empty(0)})
    assert traits(made)["unusable_because"] == "no_readings"
    assert made.cells.is_empty()
    assert Window.of_days(date(2024, 1, 1)).starts_at_utc < traits(made)["as_of_utc"]  # type: ignore[operator]
