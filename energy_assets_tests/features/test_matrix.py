"""The matrix shows exactly what was known: parity of calls, late data, planted leaks, and features worked by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.defs.models import checked_spec
from energy_assets.errors import ContractError
from energy_assets.features import history
from energy_assets.features.fingerprint import TARGET_COLUMNS
from energy_assets.features.matrix import (
    FEATURES,
    KEY,
    SCHEMA,
    Horizon,
    Thinning,
    build_features,
    features_hash,
    reading_windows,
)
from energy_assets.features.weather import as_its_own_forecast
from energy_assets.models.spec import ModelSpec
from energy_assets.settings import Settings
from energy_assets_tests.features.frames import START, meters, office_week, premises, readings_of, sites, weather_of

DAYS = 70
NAMES = ("a", "b")


def readings() -> pl.DataFrame:
    values = {name: office_week(DAYS, seed=seed) for seed, name in enumerate(NAMES)}
    values["b"][100:130] = np.nan
    return pl.concat(readings_of(series, meter_id=name) for name, series in values.items())


def build(rows: pl.DataFrame, issues: list[datetime], **changed: object) -> pl.DataFrame:
    given = {
        "meters": meters(*NAMES),
        "sites": sites(),
        "premises": premises(*NAMES),
        "weather": as_its_own_forecast(weather_of(DAYS + 5, seed=3), issues=issues),
        "issues": issues,
    }
    return build_features(rows, **(given | changed))


def inputs(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop(TARGET_COLUMNS)


def same(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    """Bit for bit, NaN equal to NaN."""
    return left.columns == right.columns and all(
        left[name].to_physical().to_numpy().tobytes() == right[name].to_physical().to_numpy().tobytes()
        if left[name].dtype != pl.String
        else left[name].equals(right[name])
        for name in left.columns
    )


def test_one_issue_alone_equals_its_rows_among_many():
    issues = [START + timedelta(days=day) for day in (10, 30, 45, 60, 69)]
    many = build(readings(), issues)
    for issue in issues:
        assert same(build(readings(), [issue]), many.filter(issued_at_utc=issue))


def test_one_meter_alone_equals_its_rows_among_many():
    issue = START + timedelta(days=60)
    both = build(readings(), [issue])
    alone = build(readings(), [issue], meters=meters("a"))
    assert same(alone, both.filter(meter_id="a"))


@pytest.mark.parametrize("day", [10, 44, 60])
def test_what_became_known_later_changes_no_feature(day):
    issue = START + timedelta(days=day)
    rows = readings()
    later = pl.col("available_at_utc") > issue
    shuffled = rows.with_columns(
        energy_kwh=pl.when(later).then(pl.col("energy_kwh").shuffle(1) * 7).otherwise("energy_kwh")
    )
    assert not shuffled.equals(rows)
    assert same(inputs(build(shuffled, [issue])), inputs(build(rows, [issue])))
    assert same(inputs(build(rows.filter(~later), [issue])), inputs(build(rows, [issue])))


def test_a_planted_leak_is_seen(monkeypatch):
    """The test above has teeth: with the gate open it fails, for late readings of the past too."""
    issue = START + timedelta(days=60)
    late = pl.col("starts_at_utc").is_between(issue - timedelta(days=3), issue - timedelta(days=2))
    rows = readings().with_columns(
        available_at_utc=pl.when(late).then(issue + timedelta(minutes=1)).otherwise("available_at_utc")
    )
    changed = rows.with_columns(energy_kwh=pl.when(late).then(99.0).otherwise("energy_kwh"))
    assert same(inputs(build(changed, [issue])), inputs(build(rows, [issue])))
    monkeypatch.setattr(history, "hide_unknown", lambda kwh, known_minute, issue_minute: kwh)
    assert not same(inputs(build(changed, [issue])), inputs(build(rows, [issue])))


@pytest.mark.parametrize(
    ("delay", "is_seen"),
    [
        pytest.param(timedelta(0), True, id="available at the issue: known"),
        pytest.param(timedelta(microseconds=-1), True, id="just before: known"),
        pytest.param(timedelta(microseconds=1), False, id="a microsecond late: not known"),
        pytest.param(timedelta(days=2), False, id="days late: not known"),
    ],
)
def test_boundary_of_knowing(delay, is_seen):
    issue = START + timedelta(days=30)
    last = issue - timedelta(hours=1)
    rows = readings().with_columns(
        available_at_utc=pl.when(starts_at_utc=last).then(issue + delay).otherwise("available_at_utc"),
        energy_kwh=pl.when(starts_at_utc=last).then(77.0).otherwise("energy_kwh"),
    )
    frame = build(rows, [issue]).filter(meter_id="a")
    assert (frame["last_kwh"][0] == 77.0) is is_seen


@given(seed=st.integers(0, 1000), day=st.integers(2, 69), share=st.floats(0, 0.5))
def test_no_future_value_reaches_a_feature(seed, day, share):
    """Readings that were known at the issue lie below 100; those after it, or late at random, are 1e6."""
    issue = START + timedelta(days=day)
    random = np.random.default_rng(seed)
    rows = readings()
    is_late = pl.Series(random.random(rows.height) < share)
    rows = rows.with_columns(
        available_at_utc=pl.when(is_late)
        .then(pl.max_horizontal("available_at_utc", pl.lit(issue)) + timedelta(seconds=30))
        .otherwise("available_at_utc")
    )
    rows = rows.with_columns(energy_kwh=pl.when(pl.col("available_at_utc") > issue).then(1e6).otherwise("energy_kwh"))
    frame = build(rows, [issue])
    largest = frame.select(pl.col(name for name in FEATURES if name.endswith("_kwh")).fill_nan(None).abs().max())
    assert max(value or 0 for value in largest.row(0)) < 100


def test_lags_levels_and_target_by_hand():
    # Each hour's value is its own number, so a feature tells which hours it was made from.
    rows = readings_of(np.arange(DAYS * 24, dtype=float), meter_id="a")
    issue = START + timedelta(days=50)
    frame = build(rows, [issue], meters=meters("a")).with_columns(hour=pl.col("lead_hours").cast(pl.Int64))
    now = 50 * 24
    first, second = frame.filter(hour=5).to_dicts()[0], frame.filter(hour=29).to_dicts()[0]
    assert first["latest_1_kwh"] == now + 5 - 24
    assert first["latest_age_days"] == 1
    assert second["latest_1_kwh"] == now + 29 - 48  # yesterday's value is not known a day ahead
    assert second["latest_2_kwh"] == now + 29 - 72
    assert second["latest_age_days"] == 2
    assert first["lag_7d_kwh"] == now + 5 - 7 * 24
    assert second["lag_28d_kwh"] == now + 29 - 28 * 24
    assert first["weeks_4_mean_kwh"] == now + 5 - 7 * 24 * 2.5
    assert first["analogue_q50_kwh"] == now + 5 - 7 * 24 * 3.5  # six weeks back, none a year ago
    assert first["last_kwh"] == now - 1
    assert first["day_mean_kwh"] == now - 12.5
    assert first["day_max_kwh"] == now - 1
    assert first["week_mean_kwh"] == now - 84.5
    assert first["month_min_kwh"] == now - 28 * 24
    assert first["week_change_kwh"] == 7 * 24
    assert first["hours_6_shift_kwh"] == 7 * 24 * 2.5  # above the mean of four weeks before, wherever one looks
    assert first["weeks_trend_kwh"] == 7 * 24
    assert first["scale_kwh"] == now - 14 * 24 - 0.5
    assert first["energy_kwh"] == now + 5
    assert first["energy_known_at_utc"] == issue + timedelta(hours=6)


def test_same_kind_of_day_counts_holidays_as_sundays():
    # 2023-04-07 (Good Friday) and 2023-04-10 (Easter Monday) are public holidays in England.
    days = 110
    values = np.repeat(np.arange(days, dtype=float), 24)  # the number of the day
    issue = datetime(2023, 4, 9, tzinfo=UTC)  # an Easter Sunday; its second day is the Monday
    frame = build(readings_of(values, meter_id="a"), [issue], meters=meters("a"), weather=None)
    monday = frame.filter(pl.col("starts_at_utc") == datetime(2023, 4, 10, 12, tzinfo=UTC)).to_dicts()[0]
    assert monday["is_holiday"] == 1
    assert monday["weekday"] == 0
    assert monday["day_kind"] == 2
    assert monday["kind_latest_kwh"] == (datetime(2023, 4, 7, tzinfo=UTC) - START).days  # Good Friday


@pytest.mark.parametrize(
    ("timezone", "issue", "slots"),
    [
        pytest.param("UTC", datetime(2023, 3, 25, tzinfo=UTC), 48, id="no clock change"),
        pytest.param("Europe/London", datetime(2023, 3, 25, tzinfo=UTC), 47, id="spring: 23 hours"),
        pytest.param("Europe/London", datetime(2023, 10, 28, tzinfo=UTC), 48, id="autumn: ends at 00:00 UTC"),
        pytest.param("Europe/Berlin", datetime(2023, 10, 28, tzinfo=UTC), 47, id="autumn in Berlin: ends 23:00 UTC"),
        pytest.param("America/New_York", datetime(2023, 11, 4, tzinfo=UTC), 53, id="west of UTC: ends 05:00 UTC"),
        pytest.param("Australia/Melbourne", datetime(2023, 6, 1, tzinfo=UTC), 38, id="east of UTC: ends 14:00 UTC"),
        pytest.param(
            "Asia/Kathmandu", datetime(2023, 6, 1, tzinfo=UTC), 43, id="a zone of 5:45: the slot that holds it"
        ),
    ],
)
def test_slots_reach_the_end_of_the_local_delivery_date(timezone, issue, slots):
    frame = build(readings(), [issue], sites=sites(timezone=timezone), weather=None)
    of_meter = frame.filter(meter_id="a")["starts_at_utc"]
    assert of_meter.len() == slots
    assert of_meter[0] == issue
    assert (of_meter.diff().drop_nulls() == timedelta(hours=1)).all()


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        pytest.param(datetime(2023, 3, 26, tzinfo=UTC), 23, id="spring"),
        pytest.param(datetime(2023, 10, 29, tzinfo=UTC), 25, id="autumn"),
        pytest.param(datetime(2023, 6, 1, tzinfo=UTC), 24, id="ordinary"),
    ],
)
def test_a_local_day_has_its_own_number_of_slots(day, hours):
    issue = day - timedelta(days=1)
    for minutes in (15, 60):
        frame = build(
            readings(),
            [issue],
            sites=sites(timezone="Europe/Berlin"),
            meters=meters("a", interval_minutes=minutes),
            weather=None,
        )
        local = frame["starts_at_utc"].dt.convert_time_zone("Europe/Berlin")
        assert (local.dt.date() == day.date()).sum() == hours * 60 // minutes
        assert frame["local_hour"].to_list() == pytest.approx((local.dt.hour() + local.dt.minute() / 60).to_list())


def test_lags_follow_the_local_clock_over_a_clock_change():
    # The value is the local hour in London, summer time from 2023-03-26 01:00 UTC on.
    start = datetime(2023, 2, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=hour) for hour in range(60 * 24)]
    local = pl.Series(hours).dt.convert_time_zone("Europe/London").dt.hour().to_numpy().astype(float)
    issue = datetime(2023, 3, 27, tzinfo=UTC)
    frame = build(
        readings_of(local, meter_id="a", start=start), [issue], sites=sites(timezone="Europe/London"), weather=None
    ).filter(meter_id="a")
    for column in ("lag_7d_kwh", "lag_28d_kwh", "weeks_4_mean_kwh"):
        assert frame[column].to_list() == frame["local_hour"].to_list()


def test_quarter_hours_and_hours_together():
    fine = readings_of(office_week(DAYS, seed=5, per_day=96), meter_id="q", interval_minutes=15)
    both = pl.concat([meters(*NAMES), meters("q", interval_minutes=15)])
    issue = START + timedelta(days=50)
    weather = weather_of(DAYS, seed=3)
    frame = build(pl.concat([readings(), fine]), [issue], meters=both, premises=premises(*NAMES, "q"))
    quarter = frame.filter(meter_id="q")
    assert quarter.height == 4 * 48
    assert quarter["interval_minutes"].unique().to_list() == [15]
    hour = weather.filter(starts_at_utc=issue + timedelta(hours=7))["temperature_c"].cast(pl.Float32).item()
    of_hour = quarter.filter(pl.col("lead_hours").is_between(7, 7.75))
    assert of_hour["temperature_c"].to_list() == [hour] * 4
    assert same(frame.filter(pl.col("meter_id") != "q"), build(readings(), [issue]))


def test_temperature_means_by_hand():
    issue = START + timedelta(days=20)
    ramp = weather_of(60, seed=1).with_columns(temperature_c=pl.int_range(pl.len()).cast(pl.Float64))
    frame = build(readings(), [issue], weather=as_its_own_forecast(ramp, issues=[issue])).filter(meter_id="a")
    row = frame.filter(lead_hours=10).to_dicts()[0]
    at = 20 * 24 + 10
    assert row["temperature_c"] == at
    assert row["temperature_24h_mean_c"] == at - 11.5
    assert row["temperature_72h_mean_c"] == at - 35.5
    assert row["temperature_change_day_c"] == 11  # the mean of the last 24 h, 11 hours after that of the issue
    assert row["temperature_since_yesterday_c"] == 24
    assert row["temperature_since_last_week_c"] == 168
    assert row["cooling_degrees_c"] == at - 11.5 - 18
    assert row["heating_degrees_c"] == 0
    assert np.isnan(row["dew_point_c"])


def test_wind_chill_and_clear_sky_by_hand():
    issue = START + timedelta(days=20)
    storm = weather_of(60, seed=1).with_columns(temperature_c=pl.lit(-5.0), wind_speed_ms=pl.lit(20 / 3.6))
    frame = build(readings(), [issue], weather=as_its_own_forecast(storm, issues=[issue])).filter(meter_id="a")
    # Published table of wind chill: -5 degrees at 20 km/h feel like -12.
    assert frame["wind_chill_c"].to_numpy() == pytest.approx(-11.6, abs=0.1)
    sky, height = (frame[name].to_numpy() for name in ("clear_sky_irradiance_w_m2", "sun_elevation_sine"))
    haurwitz = 1098 * height * np.exp(-0.059 / np.maximum(height, 1e-3))
    assert sky == pytest.approx(np.where(height > 0, haurwitz, 0), rel=1e-4, abs=1e-3)
    assert 200 < sky.max() < 400  # noon of a January day at 52 degrees north
    calm = build(readings(), [issue], weather=as_its_own_forecast(storm.drop("wind_speed_ms"), issues=[issue]))
    assert calm["wind_chill_c"].is_nan().all()


def test_models_use_wind_chill_where_they_are_told_to():
    assert set(ModelSpec().features).isdisjoint(("wind_chill_c", "clear_sky_irradiance_w_m2"))
    every = checked_spec(Settings(training_features="all"))
    assert {"wind_chill_c", "clear_sky_irradiance_w_m2"} <= set(every.features)
    assert set(every.features) == set(FEATURES)
    assert "wind_chill_c" not in every.without("weather").features


def test_without_weather_or_history_rows_are_there_with_nan():
    frame = build(readings().clear(), [START], weather=None)
    assert frame.schema == SCHEMA
    assert frame.height == 2 * 48
    assert frame["scale_kwh"].is_nan().all()
    assert frame["temperature_c"].is_nan().all()
    assert frame["energy_kwh"].is_null().all()
    assert frame["local_hour"].is_not_nan().all()


def test_metadata_uses_fixed_codes():
    frame = build(readings(), [START + timedelta(days=20)])
    assert frame["primary_use_code"].unique().to_list() == [6.0]  # Office
    assert frame["commodity_code"].unique().to_list() == [0.0]
    assert frame["log_floor_area"][0] == pytest.approx(np.log(1000))


def test_slots_outside_service_have_no_row():
    issue = START + timedelta(days=20)
    ends = meters("a", valid_to_utc=issue + timedelta(hours=3), valid_from_utc=issue + timedelta(hours=1))
    frame = build(readings(), [issue], meters=ends)
    assert frame["lead_hours"].to_list() == [1.0, 2.0]


def test_scale_falls_back_to_older_readings():
    values = office_week(DAYS, seed=0)
    values[30 * 24 :] = np.nan
    issue = START + timedelta(days=62)  # 32 days of silence
    frame = build(readings_of(values, meter_id="a"), [issue], meters=meters("a"))
    known = values[(62 - history.RECENT_DAYS) * 24 : 30 * 24]
    assert frame["scale_kwh"][0] == pytest.approx(known.mean(), rel=1e-6)


def test_thinning_keeps_a_share_that_depends_on_nothing_else():
    issues = [START + timedelta(days=day) for day in range(40, 60)]
    thinning = Thinning(share=0.3, seed=4)
    everything, kept = build(readings(), issues), build(readings(), issues, thinning=thinning)
    assert kept.height / everything.height == pytest.approx(0.3, abs=0.03)
    assert same(kept, everything.join(kept.select(KEY), on=KEY, how="semi", maintain_order="left"))
    one = build(readings(), issues[3:4], thinning=thinning)
    assert same(one, kept.filter(issued_at_utc=issues[3]))


def test_hours_as_horizon():
    issue = START + timedelta(days=20, hours=7)
    assert build(readings(), [issue], horizon=Horizon.of_hours(24)).height == 2 * 24


@pytest.mark.parametrize(
    "issues",
    [
        pytest.param([START, START], id="twice"),
        pytest.param([START.replace(second=5)], id="not a whole minute"),
        pytest.param([START.replace(tzinfo=None)], id="no zone"),
    ],
)
def test_bad_issues_are_refused(issues):
    with pytest.raises(ContractError, match="issue"):
        build(readings(), issues, weather=None)


def test_a_meter_declared_twice_is_refused():
    with pytest.raises(ContractError, match="declared twice"):
        build(readings(), [START], meters=pl.concat([meters("a"), meters("a")]))


def test_reading_windows_hold_all_that_features_use():
    issue = datetime(2024, 3, 1, tzinfo=UTC)
    values = office_week(430, seed=1)
    rows = readings_of(values, meter_id="a", start=datetime(2023, 1, 1, tzinfo=UTC))
    windows = reading_windows([issue])
    within = pl.any_horizontal(
        pl.col("starts_at_utc").is_between(window.starts_at_utc, window.ends_at_utc, closed="left")
        for window in windows
    )
    assert len(windows) == 2
    assert rows.filter(within).height < 110 * 24
    whole = build(rows, [issue], meters=meters("a"), weather=None)
    assert same(whole, build(rows.filter(within), [issue], meters=meters("a"), weather=None))
    assert whole["analogue_mean_kwh"].is_not_nan().all()


def test_hash_names_content_not_order_nor_target():
    frame = build(readings(), [START + timedelta(days=40)])
    fingerprint = features_hash(frame)
    assert features_hash(build(readings(), [START + timedelta(days=40)])) == fingerprint
    assert features_hash(frame.sample(fraction=1, shuffle=True, seed=1)) == fingerprint
    assert features_hash(frame.drop(TARGET_COLUMNS)) == fingerprint
    assert features_hash(frame.with_columns(pl.selectors.float().fill_nan(None))) == fingerprint
    nudged = frame.with_columns(last_kwh=pl.when(pl.int_range(pl.len()) == 7).then(1.0).otherwise("last_kwh"))
    assert features_hash(nudged.cast(dict(frame.schema))) != fingerprint
    assert features_hash(frame.rename({"last_kwh": "other_kwh"})) != fingerprint


@pytest.mark.parametrize(
    ("commodity", "direction", "heats", "cools"),
    [
        pytest.param("electricity", "consumption", True, True, id="electricity"),
        pytest.param("electricity", "production", False, False, id="a roof: neither"),
        pytest.param("gas", "consumption", True, False, id="gas"),
        pytest.param("steam", "consumption", True, False, id="steam"),
        pytest.param("hot_water", "consumption", True, False, id="hot water"),
        pytest.param("chilled_water", "consumption", False, True, id="chilled water"),
    ],
)
def test_a_commodity_has_the_features_of_what_it_serves(commodity, direction, heats, cools):
    issue = START + timedelta(days=40)
    frame = build(readings(), [issue], meters=meters("a", commodity=commodity, direction=direction))
    known = frame.select(pl.selectors.float().is_finite().any()).row(0, named=True)
    assert (known["heating_degrees_c"], known["cooling_degrees_c"]) == (heats, cools)
    assert not known["pv_expected_kwh"]
