"""Chances of loads beyond their limits: whose limit counts, chances counted by hand, and how they are judged."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import FORECASTS_LIMITS, FORECASTS_SKILL, PREMISES, SITES
from energy_assets.forecasts.daily import forecast_delivery
from energy_assets.forecasts.limit_skill import judge_limits, reliability, skill_of_limits
from energy_assets.forecasts.limits import NO_LIMITS, chances_of, likeliest_beyond, limits_of
from energy_assets.forecasts.outcomes import published_scenarios
from energy_assets.forecasts.sampling import Summed
from energy_assets_tests.forecasts import portfolio as given

ISSUE = given.ISSUE
NODE = "t.a|electricity|net"


def with_limit(rows: pl.DataFrame, key: str, **limits: float) -> pl.DataFrame:
    named = {name.replace("_", "."): limit for name, limit in limits.items()}
    return rows.with_columns(limit_kw=pl.col(key).replace_strict(named, default=None, return_dtype=pl.Float64))


def capacities(**declared: float | None) -> pl.DataFrame:
    named = {name.replace("_", "."): value for name, value in declared.items()}
    capacity = pl.col("meter_id").replace_strict(named, default=None, return_dtype=pl.Float64)
    return given.METER_ROWS.with_columns(capacity_kw=capacity)


@pytest.mark.parametrize(
    ("meters", "premises", "sites", "portfolio", "expected"),
    [
        pytest.param(given.METER_ROWS, {}, {}, None, {}, id="nothing-stated"),
        pytest.param(
            given.METER_ROWS, {"t_a": 9.0}, {"t_berlin": 50.0}, 80.0,
            {NODE: 9.0, "t.berlin|electricity|net": 50.0, "portfolio|electricity|net": 80.0}, id="stated",
        ),
        pytest.param(capacities(t_a_electricity=12.0), {}, {}, None, {NODE: 12.0}, id="capacity-of-the-meter"),
        pytest.param(capacities(t_a_electricity=12.0), {"t_a": 9.0}, {}, None, {NODE: 9.0}, id="what-is-stated-wins"),
        pytest.param(
            capacities(t_e_electricity=5.0, t_e_electricity_import=20.0, t_e_electricity_export=8.0), {}, {}, None,
            {"t.e|electricity|net": 20.0}, id="grid-meter-and-not-what-is-behind-it",
        ),
        pytest.param(
            capacities(t_f_electricity=7.0, t_f_electricity_pv=4.0), {}, {}, None,
            {"t.f|electricity|net": 7.0}, id="what-draws-not-the-roof",
        ),
        pytest.param(
            capacities(t_h_steam=300.0), {}, {}, None, {"t.h|steam|consumption": 300.0}, id="steam",
        ),
    ],
)  # fmt: skip
def test_whose_limit_counts(meters, premises, sites, portfolio, expected):
    found = limits_of(
        meters=meters,
        premises=with_limit(given.PREMISE_ROWS, "premise_id", **premises),
        sites=with_limit(given.SITE_ROWS, "site_id", **sites),
        issued_at_utc=ISSUE,
        portfolio_limit_kw=portfolio,
    )
    assert found == expected


def test_a_meter_that_is_gone_adds_nothing():
    rows = capacities(t_a_electricity=12.0)
    ended = pl.when(pl.col("meter_id") == "t.a.electricity").then(pl.lit(ISSUE))
    found = limits_of(
        meters=rows.with_columns(valid_to_utc=ended),
        premises=given.PREMISE_ROWS,
        sites=given.SITE_ROWS,
        issued_at_utc=ISSUE,
    )
    assert found == {}


def summed() -> Summed:
    """Return two nodes of half hours and four scenarios; the second node has no second slot."""
    energy = np.array([[[1.0, 3.0, 2.5, -9.0], [2.0, 2.6, -2.6, -2.5]], [[1.0, 1.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0]]])
    is_there = np.array([[True, True], [True, False]])
    return Summed(
        node_ids=["a", "b"],
        minutes=30,
        energy=energy,
        quantiles=np.zeros((2, 2, 7)),
        rank=np.zeros((2, 2), dtype=np.int64),
        is_there=is_there,
    )


def test_chances_by_hand():
    """5 kW are 2.5 kWh in half an hour: 3 is above, -9 fed in above; 2.5 itself is within."""
    start = int(ISSUE.timestamp()) // 60
    found = chances_of(summed(), start=start, limits_kw={"a": 5.0, "b": 1.0})
    assert found.select("node_id", "probability", "probability_fed_in").rows() == [
        ("a", 0.25, 0.25),
        ("a", 0.25, 0.25),
        ("b", 1.0, 0.0),
    ]
    assert found["starts_at_utc"].to_list() == [ISSUE, ISSUE + timedelta(minutes=30), ISSUE]
    assert chances_of(summed(), start=start, limits_kw={"c": 1.0}).equals(NO_LIMITS)
    told = likeliest_beyond(found.with_columns(issued_at_utc=pl.lit(ISSUE))).rows()
    assert told == [("a", 5.0, 0.5, ISSUE, 0.5), ("b", 1.0, 1.0, ISSUE, 0.5)]


def test_the_night_tells_what_the_published_scenarios_say():
    readings = given.readings()
    premises = with_limit(given.PREMISE_ROWS, "premise_id", t_a=2.0, t_f=0.3)
    made = forecast_delivery(
        given.features(readings),
        readings=readings,
        meters=given.METER_ROWS,
        premises=premises,
        sites=given.SITE_ROWS,
        champions=given.champions(),
        issued_at_utc=ISSUE,
        features_hash="f",
        seed=1,
        portfolio_limit_kw=30.0,
    )
    assert set(made.limits["node_id"]) == {NODE, "t.f|electricity|net", "portfolio|electricity|net"}
    drawn = published_scenarios(made.rows, recipe=made.recipe, meters=given.METER_ROWS)
    for (name,), rows in made.limits.partition_by("node_id", as_dict=True).items():
        again = drawn.of(str(name)).likelihood_above(rows["limit_kw"][0])
        both = rows.join(again, on=["node_id", "starts_at_utc"], suffix="_again")
        assert both.height == rows.height == again.height
        assert both["probability"].to_numpy() == pytest.approx(both["probability_again"].to_numpy(), abs=0.006)
    assert made.limits.filter(node_id=NODE)["probability"].is_between(0.01, 0.99).any()


def measured(chance: list[float], actual: list[float]) -> pl.DataFrame:
    """Return the skill of hourly chances at a node whose limit of 5 kW was passed at every midnight before."""
    count = len(chance)
    slots = pl.DataFrame({"starts_at_utc": [ISSUE + timedelta(hours=hour) for hour in range(count)]}).select(
        pl.lit(NODE).alias("node_id"), pl.lit(ISSUE).alias("issued_at_utc"), "starts_at_utc"
    )
    limits = slots.with_columns(
        interval_minutes=pl.lit(60), limit_kw=pl.lit(5.0), probability=pl.Series(chance), probability_fed_in=pl.lit(0.0)
    )
    past = [ISSUE - timedelta(hours=hours) for hours in range(1, 28 * 24 + 1)]
    readings = pl.DataFrame({"meter_id": ["t.a.electricity"] * len(past), "starts_at_utc": past}).with_columns(
        energy_kwh=pl.when(pl.col("starts_at_utc").dt.hour() == 0).then(9.0).otherwise(1.0)
    )
    return skill_of_limits(
        FORECASTS_LIMITS.conform(limits),
        compared=slots.with_columns(actual_kwh=pl.Series(actual)),
        readings=readings,
        meters=given.METER_ROWS,
    )


def test_brier_score_and_reliability_by_hand():
    """Errors of the chances: 0.1, 0.4, 0, 0 squared over four; the past month said 1 at midnight and 0 after."""
    skill = measured([0.9, 0.4, 0.0, 0.0], [6.0, 1.0, 1.0, -4.0])
    values = {(row["model"], row["node_id"], row["metric"]): row["value"] for row in skill.to_dicts()}
    assert values["published", NODE, "limit_brier"] == pytest.approx((0.01 + 0.16) / 4)
    assert values["past_month", "portfolio", "limits_brier"] == 0.0
    table = {row["chance_percent"]: row for row in reliability(skill).to_dicts()}
    assert table["00_05"] == {"chance_percent": "00_05", "slots": 2.0, "expected": 0.0, "observed": 0.0}
    assert table["80_100"]["observed"] == 1.0
    assert table["20_50"] == {"chance_percent": "20_50", "slots": 1.0, "expected": 0.4, "observed": 0.0}


@pytest.mark.parametrize(
    ("chance", "came", "holds"),
    [
        pytest.param(0.3, 36, True, id="as-said"),
        pytest.param(0.3, 0, False, id="never"),
        pytest.param(0.0, 0, True, id="nothing-at-stake"),
    ],
)
def test_chances_are_judged_by_what_came(chance: float, came: int, *, holds: bool):
    judged = judge_limits(measured([chance] * 120, [6.0] * came + [1.0] * (120 - came)))
    assert judged.holds is holds
    assert "Brier score: published" in judged.evidence


def test_nothing_measured_is_said():
    empty = skill_of_limits(
        FORECASTS_LIMITS.empty(), compared=pl.DataFrame(), readings=pl.DataFrame(), meters=given.METER_ROWS
    )
    assert empty.equals(FORECASTS_SKILL.empty())
    assert judge_limits(empty).evidence == "nothing measured yet"


def test_limits_may_be_stated_in_files(tmp_path):
    from energy_assets.metering.registry import read_declared

    (tmp_path / "p.csv").write_text("premise_id,site_id,limit_kw\np,s,17.3\nq,s,\n")
    assert read_declared(tmp_path / "p.csv", PREMISES, source="s")["limit_kw"].to_list() == [17.3, None]
    (tmp_path / "s.csv").write_text("site_id,name,timezone,limit_kw\ns,S,UTC,250\n")
    assert read_declared(tmp_path / "s.csv", SITES, source="s")["limit_kw"].to_list() == [250.0]
