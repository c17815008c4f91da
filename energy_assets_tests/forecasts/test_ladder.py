"""Whatever fails, every meter and slot has a plausible row with the right method and reason."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import FORECASTS_LOAD
from energy_assets.forecasts.daily import forecast_delivery
from energy_assets.forecasts.slots import delivery_slots
from energy_assets.models.registry import UnresolvedModelError
from energy_assets_tests.forecasts import portfolio as given
from energy_assets_tests.models.constant_model import ConstantModel

READINGS = given.readings()
FEATURES = given.features(READINGS)
SLOTS = delivery_slots(given.METER_ROWS, sites=given.SITE_ROWS, issued_at_utc=given.ISSUE)
METER = "t.a.electricity"


def forecast(
    readings=READINGS, features=FEATURES, champions=None, meters=given.METER_ROWS, premises=given.PREMISE_ROWS
):
    return forecast_delivery(
        features,
        readings=readings,
        meters=meters,
        premises=premises,
        sites=given.SITE_ROWS,
        champions=given.champions() if champions is None else champions,
        issued_at_utc=given.ISSUE,
        features_hash="f",
        seed=1,
    ).rows


def meter_rows(forecasts: pl.DataFrame, meter: str | None = None) -> pl.DataFrame:
    rows = forecasts.filter(pl.col("node_kind") == "meter")
    return rows if meter is None else rows.filter(pl.col("node_id") == meter)


def assert_every_slot_is_served(rows: pl.DataFrame, slots: pl.DataFrame = SLOTS) -> None:
    served = rows.select(meter_id="node_id", starts_at_utc="starts_at_utc").sort("meter_id", "starts_at_utc")
    assert served.equals(slots.select("meter_id", "starts_at_utc"))
    values = given.quantiles(rows)
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=1) >= 0).all()
    assert (values >= 0).all()
    assert rows.filter(pl.col("rung") == 0)["reason"].is_null().all()
    assert rows.filter(pl.col("rung") > 0)["reason"].is_not_null().all()
    FORECASTS_LOAD.conform(rows)


def assert_is_plausible(rows: pl.DataFrame, *, times: float = 3.0) -> None:
    """Every median lies within `times` of the true level of its premise (per hour)."""
    level = rows["node_id"].str.slice(0, 3).replace_strict(given.LEVELS_KWH) * rows["interval_minutes"] / 60
    ratio = (rows["q50"] / level).to_numpy()
    assert (ratio > 1 / (2 * times)).all()
    assert (ratio < times).all()


def unresolved(reason) -> dict[str, UnresolvedModelError]:
    return dict.fromkeys(given.champions(), UnresolvedModelError("not to be had", reason=reason))


def weather(first_hour: int, hours: int, value: float | None) -> Callable[[pl.DataFrame], pl.DataFrame]:
    start = given.ISSUE + timedelta(hours=first_hour)
    hit = pl.col("starts_at_utc").is_between(start, start + timedelta(hours=hours), closed="left")
    change = pl.when(hit).then(pl.lit(value, pl.Float64)).otherwise("temperature_c")
    return lambda features: features.with_columns(temperature_c=change)


class Broken:
    def predict(self, features):
        raise ValueError("feature names mismatch")

    def save(self, folder): ...


def test_all_well_means_champion_everywhere():
    rows = meter_rows(forecast())
    assert_every_slot_is_served(rows)
    assert set(rows["method"]) == {"champion"}
    assert rows.filter(pl.col("node_id") == "t.h.steam")["model_version"].unique().to_list() == ["load-steam-60min/3"]


@pytest.mark.parametrize(
    ("champions", "method", "reason"),
    [
        pytest.param({}, "analogue", "registry_empty", id="registry-empty"),
        pytest.param(unresolved("no_champion"), "analogue", "no_champion", id="no-champion"),
        pytest.param(unresolved("registry_unreachable"), "analogue", "registry_unreachable", id="registry-unreachable"),
        pytest.param(unresolved("model_broken"), "analogue", "model_broken", id="archive-broken"),
        pytest.param(given.champions(level=1000.0), "analogue", "implausible_output", id="output-times-1000"),
        # The wave peaks at one and a half of its mean, and at a little more with its noise: all day at twice that.
        pytest.param(given.champions(level=3.2), "analogue", "implausible_output", id="all-day-beyond-twice-the-peak"),
        pytest.param(given.champions(level=float("nan")), "analogue", "model_broken", id="output-nan"),
        pytest.param(given.champions(level=float("inf")), "analogue", "model_broken", id="output-infinite"),
        pytest.param(
            given.champions(variants={"full": Broken(), "without_weather": Broken()}),
            "analogue",
            "model_broken",
            id="raises",
        ),
        pytest.param(
            given.champions(variants={"full": Broken(), "without_weather": ConstantModel(1.0)}),
            "without_weather",
            "model_broken",
            id="full-variant-raises",
        ),
        pytest.param(
            given.champions(variants={"full": ConstantModel(1000.0)}),
            "analogue",
            "implausible_output+no_such_variant",
            id="implausible-and-one-variant",
        ),
    ],
)
def test_trouble_with_the_model(champions, method: str, reason: str):
    rows = meter_rows(forecast(champions=champions))
    assert_every_slot_is_served(rows)
    assert_is_plausible(rows)
    assert set(rows["method"]) == {method}
    assert set(rows["reason"]) == {reason}


def test_a_cold_spell_that_doubles_the_load_is_believed():
    assert set(meter_rows(forecast(champions=given.champions(level=2.8)))["method"]) == {"champion"}


def test_champion_from_the_cache_says_so():
    rows = meter_rows(forecast(champions=given.champions(notice="registry_unreachable_last_known_version")))
    assert set(rows["rung"]) == {0}
    assert set(rows["reason"]) == {"registry_unreachable_last_known_version"}


@pytest.mark.parametrize(
    ("change", "hit_slots", "reason"),
    [
        pytest.param(weather(5, 1, None), 1, "weather_missing", id="missing-1-h"),
        pytest.param(weather(5, 24, None), 24, "weather_missing", id="missing-1-d"),
        pytest.param(weather(0, 99, None), 47, "weather_missing", id="missing-all"),
        pytest.param(weather(0, 99, float("nan")), 47, "weather_missing", id="nan"),
        pytest.param(weather(0, 99, 999.0), 47, "weather_implausible", id="nonsense"),
        pytest.param(weather(0, 1, float("inf")), 1, "weather_implausible", id="infinite"),
        pytest.param(lambda features: features.drop("temperature_c"), 47, "weather_missing", id="column-absent"),
    ],
)
def test_trouble_with_weather_costs_only_the_slots_it_hits(change, hit_slots: int, reason: str):
    rows = meter_rows(forecast(features=change(FEATURES)))
    assert_every_slot_is_served(rows)
    of_meter = rows.filter(pl.col("node_id") == METER)
    assert of_meter.height == 47  # from 00:00 UTC to the end of 11 March in Berlin, which is 23:00 UTC
    hit = of_meter.filter(pl.col("rung") > 0)
    assert hit.height == hit_slots
    assert set(hit["method"]) == {"without_weather"}
    assert set(hit["reason"]) == {reason}


def without(days: int, readings=READINGS, *, meter: str = METER) -> pl.DataFrame:
    gap = (pl.col("meter_id") == meter) & (pl.col("starts_at_utc") >= given.ISSUE - timedelta(days=days))
    return readings.with_columns(energy_kwh=pl.when(~gap).then("energy_kwh"))


def begun(days: int, *, meter: str = METER) -> pl.DataFrame:
    early = (pl.col("meter_id") == meter) & (pl.col("starts_at_utc") < given.ISSUE - timedelta(days=days))
    return READINGS.filter(~early)


def stuck(days: int, *, meter: str = METER) -> pl.DataFrame:
    held = (pl.col("meter_id") == meter) & (pl.col("starts_at_utc") >= given.ISSUE - timedelta(days=days))
    return READINGS.with_columns(energy_kwh=pl.when(held).then(2.0).otherwise("energy_kwh"))


@pytest.mark.parametrize(
    ("readings", "method", "reason"),
    [
        pytest.param(without(1), "champion", None, id="missing-1-day"),
        pytest.param(without(7), "champion", None, id="missing-7-days"),
        pytest.param(without(30), "analogue", "readings_stale", id="missing-30-days"),
        pytest.param(without(99), "peers", "too_little_history+too_few_analogues", id="never-arrived"),
        pytest.param(begun(0), "peers", "too_little_history+too_few_analogues", id="begun-0-days-ago"),
        pytest.param(begun(3), "peers", "too_little_history+too_few_analogues", id="begun-3-days-ago"),
        pytest.param(begun(7), "analogue", "too_little_history", id="begun-7-days-ago"),
        pytest.param(begun(8), "champion", None, id="begun-8-days-ago"),
        pytest.param(begun(14), "champion", None, id="begun-14-days-ago"),
        pytest.param(stuck(7), "champion", None, id="stuck-7-days"),
    ],
)
def test_trouble_with_readings(readings: pl.DataFrame, method: str, reason: str | None):
    rows = meter_rows(forecast(readings=readings, features=given.features(readings)))
    assert_every_slot_is_served(rows)
    assert_is_plausible(rows)
    assert set(rows.filter(pl.col("node_id") != METER)["method"]) == {"champion"}
    assert set(rows.filter(pl.col("node_id") == METER)["method"]) == {method}
    assert set(rows.filter(pl.col("node_id") == METER)["reason"]) == {reason}


def test_feature_rows_that_are_missing_are_served_by_peers():
    rows = meter_rows(forecast(features=FEATURES.filter(pl.col("meter_id") != METER)))
    assert_every_slot_is_served(rows)
    assert set(rows.filter(pl.col("node_id") == METER)["method"]) == {"peers"}
    assert rows.filter(pl.col("node_id") == METER)["reason"][0] == "features_missing+too_few_analogues"


def test_meter_of_which_nothing_is_known_gets_climatology():
    premises = given.PREMISE_ROWS.with_columns(
        floor_area_m2=pl.when(pl.col("premise_id") != "t.a").then("floor_area_m2")
    )
    rows = meter_rows(forecast(readings=begun(0), features=given.features(begun(0)), premises=premises))
    assert_every_slot_is_served(rows)
    of_meter = rows.filter(pl.col("node_id") == METER)
    assert set(of_meter["method"]) == {"climatology"}
    # The portfolio's consumption levels are 1, 1.5, 3, 4, 5, 6 and 8 kWh/h: median 4.
    assert of_meter["q50"].mean() == pytest.approx(4.0, rel=0.15)
    assert (of_meter["q90"] / of_meter["q10"]).min() > 4


def test_nothing_known_anywhere_still_serves_everything():
    rows = meter_rows(forecast(readings=READINGS.clear(), features=FEATURES.clear(), champions={}))
    assert_every_slot_is_served(rows)
    assert set(rows["method"]) == {"climatology"}
    pv = rows.filter(pl.col("node_id") == "t.f.electricity.pv")
    at_night = pv.filter(pl.col("starts_at_utc").dt.convert_time_zone("America/New_York").dt.hour() < 4)
    assert at_night["q50"].max() == 0.0


def test_lower_rungs_have_wider_bands():
    def width(rows: pl.DataFrame) -> float:
        of_meter = rows.filter(pl.col("node_id") == METER)
        return ((of_meter["q90"] - of_meter["q10"]) / of_meter["q50"]).mean()

    analogue = width(meter_rows(forecast(champions={})))
    peers_of_days = width(meter_rows(forecast(readings=begun(3), features=given.features(begun(3)))))
    peers_of_area = width(meter_rows(forecast(readings=begun(0), features=given.features(begun(0)))))
    assert analogue < peers_of_days < peers_of_area or analogue < peers_of_area < peers_of_days


def test_reading_that_arrives_after_the_issue_changes_nothing():
    late = READINGS.with_columns(
        available_at_utc=pl.when(pl.col("starts_at_utc") >= given.ISSUE - timedelta(days=1))
        .then(pl.lit(given.ISSUE + timedelta(hours=1)))
        .otherwise("available_at_utc")
    )
    spiked = late.with_columns(
        energy_kwh=pl.when(pl.col("available_at_utc") > given.ISSUE).then(1e6).otherwise("energy_kwh")
    )
    assert forecast(readings=late).equals(forecast(readings=spiked))


def test_meter_out_of_service_has_no_slots_and_one_that_ends_has_them_up_to_its_end():
    end = given.ISSUE + timedelta(hours=10)
    ended = given.METER_ROWS.with_columns(
        valid_to_utc=pl.when(pl.col("meter_id") == METER).then(pl.lit(end)),
        valid_from_utc=pl.when(pl.col("meter_id") == "t.b.electricity").then(pl.lit(end + timedelta(days=9))),
    )
    rows = meter_rows(forecast(meters=ended))
    assert rows.filter(pl.col("node_id") == METER).height == 10
    assert rows.filter(pl.col("node_id") == "t.b.electricity").is_empty()


def test_forecast_does_not_depend_on_the_order_of_its_inputs():
    shuffled = forecast(
        readings=READINGS.sample(fraction=1, shuffle=True, seed=3),
        features=FEATURES.sample(fraction=1, shuffle=True, seed=4),
        meters=given.METER_ROWS.reverse(),
    )
    assert shuffled.drop("features_hash").equals(forecast().drop("features_hash"))
