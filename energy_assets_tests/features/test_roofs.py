"""The sun agrees with pvlib, a planted roof is found from its own production, and net load shows its roof too."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.features.matrix import Horizon, build_features
from energy_assets.features.roofs import RECENT_FIT_DAYS, Roofs, Sky, derated, fit_roofs, sky_of
from energy_assets.features.sun import beneath_clouds, diffuse_share, incidence_of, on_plane, sun_at
from energy_assets.features.weather import as_its_own_forecast
from energy_assets_tests.features.frames import meters, premises, readings_of, sites

MINUTES = np.arange(0, 365 * 1440, 613, dtype=np.int64) + int(datetime(2023, 1, 1, tzinfo=UTC).timestamp()) // 60
PLACES = [
    pytest.param(48.2, 16.4, id="Vienna"),
    pytest.param(-37.8, 145.0, id="Melbourne"),
    pytest.param(1.3, 103.8, id="Singapore"),
]
HOURS = RECENT_FIT_DAYS * 24


@pytest.mark.parametrize(("latitude", "longitude"), PLACES)
def test_the_sun_stands_where_pvlib_has_it(latitude: float, longitude: float):
    import pandas
    import pvlib

    times = pandas.to_datetime(MINUTES * 60, unit="s", utc=True)
    theirs = pvlib.solarposition.get_solarposition(times, latitude, longitude)
    sun = sun_at(MINUTES, latitude=latitude, longitude=longitude)
    assert np.abs(sun.elevation_sine - np.sin(np.radians(theirs["elevation"].to_numpy()))).max() < 0.01
    zenith, azimuth = theirs["zenith"].to_numpy(), theirs["azimuth"].to_numpy()
    extra = pvlib.irradiance.get_extra_radiation(times.day_of_year.to_numpy())
    assert np.abs(sun.extraterrestrial_w_m2 / extra - 1).max() < 0.005
    for tilt, facing in ((30.0, 180.0), (45.0, 270.0), (90.0, 0.0)):
        incidence = incidence_of(sun, tilt_deg=tilt, azimuth_deg=facing)
        expected = np.maximum(pvlib.irradiance.aoi_projection(tilt, facing, zenith, azimuth), 0)
        assert np.abs(incidence - expected).max() < 0.01
    clear = pvlib.clearsky.haurwitz(theirs["apparent_zenith"])["ghi"].to_numpy()
    assert np.abs(sun.clear_sky_w_m2 - clear).max() < 12


def test_light_on_a_plane_is_that_of_pvlib():
    import pvlib

    sun = sun_at(MINUTES, latitude=48.2, longitude=16.4)
    high = sun.elevation_sine > 0.15
    light = 0.6 * sun.clear_sky_w_m2
    zenith = np.degrees(np.arccos(sun.elevation_sine))
    azimuth = np.degrees(np.arctan2(sun.east, sun.north)) % 360
    share = diffuse_share(np.clip(light / (sun.extraterrestrial_w_m2 * np.maximum(sun.elevation_sine, 0.065)), 0, 1))
    direct = (light - light * share) / np.maximum(sun.elevation_sine, 0.065)
    for tilt, facing in ((0.0, 180.0), (35.0, 135.0), (60.0, 270.0)):
        theirs = pvlib.irradiance.get_total_irradiance(
            tilt, facing, zenith, azimuth, direct, light, light * share,
            dni_extra=sun.extraterrestrial_w_m2, albedo=0.2, model="haydavies",
        )["poa_global"]  # fmt: skip
        incidence = incidence_of(sun, tilt_deg=tilt, azimuth_deg=facing)
        ours = on_plane(light, sun=sun, incidence=incidence, tilt_deg=tilt)
        assert np.abs(ours - theirs)[high].max() < 0.5


def test_erbs_clouds_and_warm_cells_by_hand():
    # Below 0.22 the line 1 - 0.09 k, above 0.8 a constant; 1 - 0.75 under a full cover.
    assert diffuse_share(np.array([0.1, 0.9])).tolist() == pytest.approx([0.991, 0.165])
    assert diffuse_share(np.array([0.22]))[0] == pytest.approx(diffuse_share(np.array([0.2201]))[0], abs=0.01)
    assert beneath_clouds(np.array([800.0, 800.0]), np.array([0.0, 1.0])).tolist() == [800.0, 200.0]
    # Cells at 25 + 25 at 800 W/m2 are 25 above the reference: a tenth is lost.
    assert derated(np.array([800.0]), temperature_c=np.array([25.0], np.float32))[0] == pytest.approx(720.0)


def winter_sky(*, declared: tuple[tuple[float, float], ...] = ()) -> tuple[Sky, int]:
    first_hour = int(datetime(2023, 3, 2, tzinfo=UTC).timestamp()) // 3600
    sky = sky_of(
        latitude=48.2, longitude=16.4, first=first_hour, count=HOURS, step_minutes=60, declared_deg=declared
    )  # fmt: skip
    return sky, first_hour


def light_over(sky: Sky) -> np.ndarray:
    return sky.clear_sky_w_m2 * np.random.default_rng(2).uniform(0.15, 1, HOURS)


def fitted(kwh: np.ndarray, sky: Sky, first: int, *, light: np.ndarray, production: bool, declared: int = -1) -> Roofs:
    return fit_roofs(
        kwh.astype(np.float32)[None, :],
        sky=sky,
        first_hour=first,
        global_w_m2=light.astype(np.float32),
        temperature_c=np.full(HOURS, 10, np.float32),
        is_production=np.array([production]),
        sign=np.array([1 if production else -1], np.float32),
        declared_plane=np.array([declared]),
    )


@pytest.mark.parametrize("plane", [0, 1, 3, 5, 6, 8, 10])
def test_the_plane_of_a_roof_is_found_from_its_production(plane: int):
    sky, first = winter_sky()
    light = light_over(sky)
    useful = derated(sky.on_one(plane, slice(0, HOURS), light), temperature_c=np.full(HOURS, 10, np.float32))
    kwh = 0.004 * useful + np.random.default_rng(1).normal(0, 0.05, HOURS)
    found = fitted(kwh, sky, first, light=light, production=True)
    assert found.plane[0] == plane
    assert found.kwh_per_w_m2[0] == pytest.approx(0.004, rel=0.03)
    clear = fitted(kwh, sky, first, light=np.full(HOURS, np.nan), production=True)
    assert clear.plane[0] == -1
    turned = sky.planes_deg[clear.clear_plane[0]][1] - sky.planes_deg[plane][1]
    assert abs(turned) <= 45 or plane == 0


def test_a_declared_plane_stands():
    sky, first = winter_sky(declared=((30.0, 100.0),))
    light = light_over(sky)
    kwh = 0.004 * sky.on_one(5, slice(0, HOURS), light)
    assert fitted(kwh, sky, first, light=light, production=True, declared=11).plane[0] == 11


def test_net_load_shows_the_roof_behind_it():
    sky, first = winter_sky()
    light = light_over(sky)
    hour = np.arange(HOURS) % 24
    people = 2 + np.sin(hour / 24 * 2 * np.pi) + 1.5 * ((hour > 11) & (hour < 15))
    useful = derated(sky.on_one(8, slice(0, HOURS), light), temperature_c=np.full(HOURS, 10, np.float32))
    kwh = people - 0.003 * useful + np.random.default_rng(1).normal(0, 0.1, HOURS)
    kwh[50:60] = np.nan
    found = fitted(kwh, sky, first, light=light, production=False)
    assert found.kwh_per_w_m2[0] == pytest.approx(-0.003, rel=0.1)
    assert found.clear_plane[0] == -1
    without = fitted(people + np.random.default_rng(1).normal(0, 0.1, HOURS), sky, first, light=light, production=False)
    assert without.plane[0] == -1


@pytest.mark.parametrize("minutes", [15, 60])
def test_features_of_a_roof(minutes: int):
    """Production is the light on the plane times its yield; a dark day is far below what was usual."""
    start, days = datetime(2023, 3, 1, tzinfo=UTC), 50
    issue = start + timedelta(days=days)
    steps = np.arange((days + 2) * 24)
    first = int(start.timestamp()) // 3600
    sky = sky_of(latitude=52.0, longitude=0.0, first=first, count=len(steps), step_minutes=60)
    share = np.repeat(np.random.default_rng(4).uniform(0.4, 1, days + 2), 24)
    share[days * 24 :] = 0.2
    light = sky.clear_sky_w_m2 * share
    air = np.full(len(steps), 12.0)
    weather = pl.DataFrame(
        {
            "site_id": "s",
            "starts_at_utc": [start + timedelta(hours=int(step)) for step in steps],
            "temperature_c": air,
            "global_horizontal_irradiance_w_m2": light,
        }
    ).with_columns(pl.col("starts_at_utc").cast(pl.Datetime("us", "UTC")))
    made = 0.005 * derated(sky.on_one(4, slice(0, len(steps)), light), temperature_c=air.astype(np.float32))
    per_hour = 60 // minutes
    readings = readings_of(
        np.repeat(made[: days * 24] / per_hour, per_hour), meter_id="pv", interval_minutes=minutes, start=start
    )
    frame = build_features(
        readings, meters=meters("pv", direction="production", interval_minutes=minutes), sites=sites(),
        premises=premises("pv"), weather=as_its_own_forecast(weather, issues=[issue]), issues=[issue],
        horizon=Horizon.of_hours(24), observed=weather,
    )  # fmt: skip
    hourly = frame.group_by(pl.col("lead_hours").floor(), maintain_order=True).agg(
        pl.col("pv_expected_kwh", "pv_shift_kwh", "pv_clear_sky_kwh").sum()
    )
    expected, truth = hourly["pv_expected_kwh"].to_numpy(), made[days * 24 : (days + 1) * 24]
    assert np.abs(expected - truth).max() < 0.02 * made.max() + 0.02
    assert hourly["pv_shift_kwh"].to_numpy()[12] < -0.5 * expected[12]
    assert hourly["pv_clear_sky_kwh"].to_numpy()[12] > 2 * expected[12]
    assert frame["plane_irradiance_w_m2"].max() > 50
