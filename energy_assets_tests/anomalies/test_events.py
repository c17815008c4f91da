"""Events: merged by gap, with ids that survive growth and re-runs, costs, incidents, feedback and a budget."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.anomalies.causes import score_of
from energy_assets.anomalies.events import merged_events
from energy_assets.anomalies.limits import Limits
from energy_assets.contracts import ANOMALIES_FEEDBACK, ANOMALIES_FLAGS
from energy_assets_tests.anomalies.meters import MONDAY


def flag(meter_id: str, hour: int, rule: str = "residual_high", **values: object) -> dict[str, object]:
    scored = rule not in {"gap", "zero_run", "stuck", "spike"}
    row: dict[str, object] = {
        "meter_id": meter_id, "starts_at_utc": MONDAY + timedelta(hours=hour), "rule": rule, "score": 0.8,
        "reason": "Because: of a reason.", "actual_kwh": 12.0 if scored else 0.0,
        "expected_kwh": 10.0 if scored else None, "noise_kwh": 1.0 if scored else None,
    }  # fmt: skip
    return row | values


def table(*rows: dict[str, object]) -> pl.DataFrame:
    return ANOMALIES_FLAGS.conform(pl.DataFrame(list(rows), infer_schema_length=None))


def registry(count: int, sites: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "meter_id": [f"m{number}" for number in range(count)],
            "site_id": [f"s{number % sites}" for number in range(count)],
            "interval_minutes": [60] * count,
        }
    )


def merged(*rows: dict[str, object], meters: int = 40, until: int = 24 * 10, **more: object) -> pl.DataFrame:
    as_of = MONDAY + timedelta(hours=until)
    return merged_events(table(*rows), meters=registry(meters), as_of_utc=as_of, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hours", "rule", "count"),
    [
        pytest.param([1, 2, 3], "gap", 1, id="neighbours"),
        pytest.param([1, 7], "gap", 1, id="six hours apart"),
        pytest.param([1, 8], "gap", 2, id="seven hours apart"),
        pytest.param([1, 25, 49], "residual_high", 1, id="night after night"),
        pytest.param([1, 38], "residual_high", 2, id="more than a day and a half"),
    ],
)
def test_flags_within_the_gap_are_one_event(hours: list[int], rule: str, count: int) -> None:
    assert merged(*(flag("m0", hour, rule) for hour in hours)).height == count


def test_energy_and_cost_are_those_of_the_flagged_slots() -> None:
    prices = pl.DataFrame(
        {"starts_at_utc": [MONDAY + timedelta(hours=h) for h in range(5)], "price_per_kwh": [0.1, 0.2, 0.3, 0.4, 0.5],
         "greenhouse_gas_kg_per_kwh": [0.5] * 5}
    )  # fmt: skip
    event = merged(flag("m0", 1), flag("m0", 3), prices=prices)
    # Excess 2 kWh at 0.20 and 2 kWh at 0.40; 4 kWh at 0.5 kg; noise 1 and 1: 1.645 * (0.5 * 2 + 0.5 * sqrt 2) = 2.808
    assert event.select("actual_kwh", "expected_kwh", "excess_kwh", "slots").row(0) == (24.0, 20.0, 4.0, 2)
    assert event["cost"].item() == pytest.approx(1.2)
    assert event["greenhouse_gas_kg"].item() == pytest.approx(2.0)
    assert event["excess_low_kwh"].item() == pytest.approx(4 - 2.808, abs=1e-3)
    assert event["starts_at_utc"].item() == MONDAY + timedelta(hours=1)
    assert event["ends_at_utc"].item() == MONDAY + timedelta(hours=4)


def test_a_data_fault_has_no_excess_and_takes_the_slot() -> None:
    event = merged(flag("m0", 1, "zero_run"), flag("m0", 1, "residual_low"), flag("m0", 2, "zero_run"))
    assert event.select("family", "cause", "excess_kwh", "cost", "slots").row(0) == (
        "data_fault", "zero_run", None, None, 2,
    )  # fmt: skip


def test_notices_make_no_event() -> None:
    assert merged(flag("m0", 1, "late"), flag("m0", 2, "duplicate")).is_empty()


def test_cause_is_the_rule_with_most_weight() -> None:
    rules = ["residual_high", "night_left_on", "night_left_on", "night_left_on"]
    event = merged(*(flag("m0", hour, rule) for hour, rule in enumerate(rules)))
    assert event.select("cause", "confidence").row(0) == ("night_left_on", pytest.approx(0.75))


def test_an_event_closes_when_it_can_no_longer_grow() -> None:
    assert merged(flag("m0", 20), until=24)["state"].item() == "open"
    assert merged(flag("m0", 20), until=24 * 3)["state"].item() == "closed"


def test_many_meters_of_a_site_are_one_incident() -> None:
    rows = [flag(f"m{n}", hour, "gap") for n in range(30) for hour in (5, 6)]
    events = merged(*rows, *(flag("m31", hour, "gap") for hour in (100, 101)), meters=40)
    incident = events.filter(pl.col("meter_id").is_null())
    assert incident.select("meters", "cause", "is_alert").row(0) == (30, "gap", True)
    members = events.filter(pl.col("incident_id").is_not_null() & pl.col("meter_id").is_not_null())
    assert members.height == 30
    assert not members["is_alert"].any()
    assert events.filter(pl.col("meter_id") == "m31")["is_alert"].item()


def test_a_missing_hour_asks_for_nobody_and_two_do() -> None:
    events = merged(flag("m0", 5, "gap"), flag("m1", 5, "gap"), flag("m1", 6, "gap"), flag("m2", 5, "spike"))
    assert events.sort("meter_id")["is_alert"].to_list() == [False, True, True]


def test_a_handful_of_a_large_site_is_no_incident() -> None:
    events = merged(*(flag(f"m{n}", 5, "gap") for n in range(10)), meters=40)
    assert events["meter_id"].null_count() == 0


def said(event_id: str, verdict: str, hour: int) -> dict[str, object]:
    at = MONDAY + timedelta(days=5, hours=hour)
    return {"event_id": event_id, "recorded_at_utc": at, "author": "ann", "verdict": verdict, "note": None}


@pytest.mark.parametrize(
    ("verdicts", "state", "alert"),
    [
        pytest.param([], "closed", True, id="nothing said"),
        pytest.param(["acknowledged"], "acknowledged", True, id="acknowledged"),
        pytest.param(["false"], "false", False, id="false"),
        pytest.param(["expected"], "expected", False, id="expected"),
        pytest.param(["false", "reopened"], "closed", True, id="taken back"),
    ],
)
def test_the_last_word_counts(verdicts: list[str], state: str, *, alert: bool) -> None:
    event = merged(flag("m0", 1))
    words = [said(event["event_id"].item(), verdict, hour) for hour, verdict in enumerate(verdicts)]
    feedback = ANOMALIES_FEEDBACK.conform(pl.DataFrame(words)) if words else None
    assert merged(flag("m0", 1), feedback=feedback).select("state", "is_alert").row(0) == (state, alert)


def test_a_false_alarm_silences_its_like_for_a_while() -> None:
    rows = [flag("m0", 1), flag("m0", 100), flag("m1", 100)]
    first = merged(*rows).filter(pl.col("starts_at_utc") == MONDAY + timedelta(hours=1))["event_id"].item()
    feedback = ANOMALIES_FEEDBACK.conform(pl.DataFrame([said(first, "false", 1)]))
    events = merged(*rows, feedback=feedback).sort("meter_id", "starts_at_utc")
    assert events["is_alert"].to_list() == [False, False, True]


def test_a_weak_event_is_kept_and_is_no_alert() -> None:
    events = merged(flag("m0", 1, score=0.6))
    assert events["is_alert"].to_list() == [False]


def test_the_budget_keeps_the_strongest_of_a_day() -> None:
    rows = [flag(f"m{number}", 24 * number % 5, score=0.75 + number / 200) for number in range(10)]
    events = merged(*rows, meters=60, limits=Limits(incident_share=0.9, least_alerts_a_day=1))  # 60 / 30 = 2 a day
    assert events.filter("is_alert")["meter_id"].sort().to_list() == ["m8", "m9"]


def test_up_and_down_at_once_do_not_share_a_cause() -> None:
    rows = [flag("m0", hour, "level_change", actual_kwh=14.0 if hour % 5 else 8.0) for hour in range(40)]
    events = merged(*rows).sort("family")
    assert events.select("family", "cause").rows() == [("over", "level_change"), ("under", "residual_low")]


@pytest.mark.parametrize(
    ("direction", "cost"),
    [pytest.param("consumption", 0.4, id="used more"), pytest.param("production", -0.4, id="produced more")],
)
def test_what_is_produced_counts_the_other_way(direction: str, cost: float) -> None:
    prices = pl.DataFrame({"starts_at_utc": [MONDAY], "price_per_kwh": [0.2]})
    meters = registry(1).with_columns(commodity=pl.lit("electricity"), direction=pl.lit(direction))
    event = merged_events(table(flag("m0", 0)), meters=meters, as_of_utc=MONDAY + timedelta(days=1), prices=prices)
    assert event["cost"].item() == pytest.approx(cost)


def test_a_price_of_electricity_is_not_one_of_steam() -> None:
    prices = pl.DataFrame({"starts_at_utc": [MONDAY], "price_per_kwh": [0.2]})
    meters = registry(1).with_columns(commodity=pl.lit("steam"))
    event = merged_events(table(flag("m0", 0)), meters=meters, as_of_utc=MONDAY + timedelta(days=1), prices=prices)
    assert event["cost"].item() is None


def test_what_a_fault_hides_is_told_and_is_no_excess() -> None:
    event = merged(*(flag("m0", hour, "gap", actual_kwh=None, expected_kwh=5.0) for hour in (3, 4)))
    assert event.select("actual_kwh", "expected_kwh", "excess_kwh", "cost").row(0) == (None, 10.0, None, None)


@pytest.mark.parametrize(
    ("meters", "alerts"),
    [pytest.param(1000, 1, id="one of a thousand stands out"), pytest.param(40, 2, id="of forty two do")],
)
def test_what_many_quiet_meters_reach_by_chance_is_no_alert(meters: int, alerts: int) -> None:
    # Median 8 and 95th percentile 17.76: a spread of 9.76 / 1.645 = 5.93. Strength 30 is 3.7 away, a chance of 0.00010,
    # and 22 is 2.4 away, 0.0089. Of 40 meters 0.36 reach 22: of two findings 18 %; of 1000 nine do.
    days = pl.DataFrame(
        {"starts_at_utc": [MONDAY], "commodity": [""], "interval_minutes": [60], "meters": [meters],
         "median_strength": [8.0], "upper_strength": [17.76]}
    )  # fmt: skip
    scores = [float(score_of(strength, limits=Limits())) for strength in (30, 22)]
    rows = [flag(f"m{number}", number, score=score) for number, score in enumerate(scores)]
    events = merged(*rows, days=days, limits=Limits(false_discovery_share=0.2))
    assert events["is_alert"].sum() == alerts


def test_a_day_that_is_odd_for_everybody_alarms_nobody() -> None:
    days = pl.DataFrame(
        {"starts_at_utc": [MONDAY], "commodity": [""], "interval_minutes": [60], "meters": [200],
         "median_strength": [20.0], "upper_strength": [34.6]}
    )  # fmt: skip
    row = flag("m0", 1, score=float(score_of(30, limits=Limits())))
    limits = Limits(false_discovery_share=0.2)
    assert not merged(row, days=days, limits=limits)["is_alert"].any()
    assert merged(row, days=days.with_columns(median_strength=8.0, upper_strength=17.76), limits=limits)[
        "is_alert"
    ].all()


@settings(max_examples=30, deadline=None)
@given(excess=st.floats(0.1, 1e4), more=st.floats(1.0, 100.0), price=st.floats(0.01, 2.0))
def test_a_worse_event_is_never_less_severe(excess: float, more: float, price: float) -> None:
    order = ["low", "medium", "high", "critical"]
    prices = pl.DataFrame({"starts_at_utc": [MONDAY], "price_per_kwh": [price]})

    def severity(kwh: float, given: pl.DataFrame | None) -> int:
        return order.index(merged(flag("m0", 0, actual_kwh=10 + kwh), prices=given)["severity"].item())

    for known in (None, prices):
        assert severity(excess * more, known) >= severity(excess, known)


def test_excess_is_actual_minus_expected_and_times_are_utc() -> None:
    events = merged(flag("m0", 1, actual_kwh=3.5, expected_kwh=10.25), flag("m0", 2, actual_kwh=4.0))
    row = events.row(0, named=True)
    assert row["excess_kwh"] == pytest.approx(row["actual_kwh"] - row["expected_kwh"])
    assert row["family"] == "under"
    assert isinstance(row["starts_at_utc"], datetime)


def test_load_that_moved_to_cheap_hours_is_no_event() -> None:
    prices = pl.DataFrame(
        {"starts_at_utc": [MONDAY + timedelta(hours=h) for h in range(24)], "price_per_kwh": [0.1] * 12 + [0.4] * 12}
    )
    to_cheap = [flag("m0", 2, actual_kwh=15.0), flag("m0", 18, "residual_low", actual_kwh=5.5)]
    to_dear = [flag("m0", 18, actual_kwh=15.0), flag("m0", 2, "residual_low", actual_kwh=5.5)]
    more = [flag("m0", 2, actual_kwh=15.0), flag("m0", 18, "residual_low", actual_kwh=8.0)]
    assert merged(*to_cheap, prices=prices).is_empty()
    assert merged(*to_dear, prices=prices).height == 2
    assert merged(*more, prices=prices).height == 2
    assert merged(*to_cheap).height == 2
