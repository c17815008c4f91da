"""The back-test makes the numbers of the night, fills every slot, and knows nothing of what came later."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import QUANTILE_COLUMNS
from energy_assets.errors import ConfigError
from energy_assets.features.horizon import Horizon
from energy_assets.features.matrix import build_features
from energy_assets.forecasts.actuals import known_within, with_actuals
from energy_assets.forecasts.backtest import Backtest, backtest
from energy_assets.forecasts.backtest_inputs import Inputs
from energy_assets.forecasts.backtest_learning import SEED
from energy_assets.forecasts.backtest_plan import Plan, refit_days_of
from energy_assets.forecasts.backtest_report import report_of
from energy_assets.forecasts.centre import centred
from energy_assets.forecasts.daily import forecast_delivery, forecast_issue
from energy_assets.forecasts.evidence import evidence_of
from energy_assets.forecasts.following import Followers
from energy_assets.forecasts.learning import MEASURED_AFTER, Learned, learned_from, recipe_of
from energy_assets.models.archive import FULL, WITHOUT_WEATHER
from energy_assets.models.evaluation import known_by
from energy_assets.models.fitting import fit
from energy_assets.models.registry import LoadedModel
from energy_assets.models.spec import ModelSpec
from energy_assets_tests.forecasts.own_files import START, TINY, inputs_of, temperatures, wave

PLAN = Plan(spec=TINY, rivals=(), last_days=4, refit_days=2)


def quiet(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def run(inputs: Inputs, plan: Plan = PLAN) -> Backtest:
    return backtest(inputs, plan=plan, progress=quiet)


def two_meters(folder: Path, *, days: float = 30, weather: bool = True) -> Inputs:
    rows = pl.concat([wave("a", days=days), wave("b", days=days, level=50)])
    return inputs_of(folder, rows, weather=temperatures(days) if weather else None)


def assert_every_slot_is_filled(result: Backtest, inputs: Inputs, *, hours: int = 24) -> None:
    forecasts = result.forecasts
    assert forecasts.select(["meter_id", "issued_at_utc", "starts_at_utc"]).is_duplicated().sum() == 0
    assert forecasts.select(pl.all_horizontal(pl.col(QUANTILE_COLUMNS).is_finite()).all()).item()
    assert (np.diff(forecasts.select(QUANTILE_COLUMNS).to_numpy(), axis=1) >= 0).all()
    assert set(forecasts["meter_id"]) == set(inputs.meters["meter_id"])
    slots = inputs.meters.select("meter_id", slots=hours * 60 // pl.col("interval_minutes"))
    per_issue = forecasts.group_by("meter_id", "issued_at_utc").len("count").join(slots, on="meter_id")
    assert (per_issue["count"] == per_issue["slots"]).all()
    tested = (result.last_day - result.first_day).days + 1
    assert per_issue.height == tested * inputs.meters.height
    assert forecasts["method"].null_count() == forecasts["rung"].null_count() == 0
    assert forecasts.filter(pl.col("rung") > 0)["reason"].null_count() == 0


def test_numbers_are_those_of_the_nightly_functions(tmp_path: Path):
    """The second model serves the third and fourth day; here the night makes the fourth from its own calls."""
    inputs = two_meters(tmp_path)
    horizon, plan = Horizon.of_hours(24), PLAN
    issue, trained_at = START + timedelta(days=29), START + timedelta(days=28)
    past = [START + timedelta(days=day) for day in range(8, 28)]
    assert inputs.weather is not None

    def features_of(issues):
        return build_features(
            inputs.readings, meters=inputs.meters, sites=inputs.sites, premises=inputs.premises, issues=issues,
            weather=inputs.weather.as_known(issues, horizon=timedelta(days=2)), horizon=horizon,
            observed=inputs.weather.observed,
        )  # fmt: skip

    known = known_by(features_of(past), trained_at=trained_at)
    variants = {
        FULL: fit(known, spec=plan.spec, seed=SEED),
        WITHOUT_WEATHER: fit(known, spec=plan.spec.without("weather"), seed=SEED),
    }
    name = "load-electricity-60min"
    nightly = forecast_delivery(
        features_of([issue]),
        readings=inputs.readings,
        meters=inputs.meters,
        premises=inputs.premises,
        sites=inputs.sites,
        champions={name: LoadedModel(name=name, version=2, variants=variants, tags={})},
        issued_at_utc=issue,
        features_hash="f",
        seed=1,
    ).rows.filter(pl.col("node_kind") == "meter", pl.col("starts_at_utc") < issue + timedelta(hours=24))
    columns = ["meter_id", "starts_at_utc", *QUANTILE_COLUMNS, "method", "rung", "reason"]
    ours = run(inputs).forecasts.filter(issued_at_utc=issue).select(columns)
    assert ours.equals(nightly.rename({"node_id": "meter_id"}).select(columns).sort("meter_id", "starts_at_utc"))
    assert set(ours["method"]) == {"champion"}


def test_what_came_later_changes_no_forecast(tmp_path: Path):
    """Readings and weather from the third tested day on are other ones: what was issued by then is the same bits."""
    border = START + timedelta(days=28)
    inputs = two_meters(tmp_path)
    later = pl.col("starts_at_utc") >= border
    rows = pl.concat([wave("a", days=30), wave("b", days=30, level=50)])
    shuffled = rows.with_columns(
        energy_kwh=pl.when(later).then(pl.col("energy_kwh").shuffle(1) * 9).otherwise("energy_kwh")
    )
    sky = temperatures(30).with_columns(
        # The weather of an issue's own day serves as its forecast; from the last of these days on it is another.
        temperature_c=pl.when(pl.col("starts_at_utc") >= border + timedelta(days=1))
        .then(-40.0)
        .otherwise("temperature_c")
    )
    other = inputs_of(tmp_path, shuffled, weather=sky)
    known = pl.col("issued_at_utc") <= border
    assert run(other).forecasts.filter(known).equals(run(inputs).forecasts.filter(known))
    assert not run(other).forecasts.filter(~known).equals(run(inputs).forecasts.filter(~known))


def test_a_model_that_learns_from_the_tested_day_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The test above has teeth: without the gate of training the model learns from what came later."""
    border = START + timedelta(days=28)
    inputs, known = two_meters(tmp_path), pl.col("issued_at_utc") <= border
    honest = run(inputs).forecasts.filter(known)
    monkeypatch.setattr(
        "energy_assets.forecasts.backtest_learning.known_by", lambda rows, trained_at: rows.drop_nulls("energy_kwh")
    )
    assert not run(inputs).forecasts.filter(known).equals(honest)


@pytest.mark.parametrize(
    ("readings", "hours"),
    [
        pytest.param(wave("a", days=20), 24, id="one-meter"),
        pytest.param(wave("a", days=20, minutes=15), 24, id="quarter-hours"),
        pytest.param(wave("a", days=20, minutes=30), 36, id="half-hours-36-hours-ahead"),
        pytest.param(pl.concat([wave("a", days=20), wave("b", days=20, minutes=15)]), 24, id="two-cadences"),
        pytest.param(wave("a", days=2), 24, id="two-days"),
        pytest.param(wave("a", days=9), 24, id="too-short-to-train"),
        pytest.param(
            pl.concat([wave("a", days=20), wave("z", days=20).with_columns(energy_kwh=pl.lit(0.0))]),
            24,
            id="zero-meter",
        ),
        pytest.param(wave("z", days=20).with_columns(energy_kwh=pl.lit(0.0)), 24, id="nothing-but-zeros"),
        pytest.param(wave("k", days=20).with_columns(energy_kwh=pl.lit(3.0)), 24, id="constant"),
        pytest.param(wave("n", days=20).with_columns(pl.col("energy_kwh") - 6), 24, id="net-load"),
        pytest.param(
            pl.concat([wave("a", days=20), wave("l", days=2, start=START + timedelta(days=18))]), 24, id="begins-late"
        ),
        pytest.param(pl.concat([wave("a", days=20), wave("e", days=8)]), 24, id="ends-early"),
        pytest.param(wave("a", days=20).filter(pl.col("starts_at_utc").dt.day() % 4 > 0), 24, id="gaps"),
    ],
)
def test_every_slot_is_filled_whatever_the_file(tmp_path: Path, readings: pl.DataFrame, hours: int):
    inputs = inputs_of(tmp_path, readings)
    result = run(inputs, Plan(spec=TINY, rivals=(), last_share=0.3, horizon_hours=hours))
    assert_every_slot_is_filled(result, inputs, hours=hours)
    if not readings["energy_kwh"].min() < 0:  # type: ignore[operator]
        assert result.forecasts["q05"].min() >= 0  # type: ignore[operator]


def test_local_days_of_23_and_25_hours_are_covered_once(tmp_path: Path):
    """New York lost an hour on 9 March 2025: that day's forecast has 23 slots, and no slot is forecast twice."""
    start = datetime(2025, 2, 10, 5, tzinfo=UTC)
    meters = pl.DataFrame({"meter_id": ["a"], "timezone": ["America/New_York"], "country_code": ["us"]})
    inputs = inputs_of(tmp_path, wave("a", days=30, start=start), meters=meters)
    forecasts = run(inputs, Plan(spec=TINY, rivals=(), first_day=date(2025, 3, 7))).forecasts
    slots = forecasts.group_by("issued_at_utc").len("slots").sort("issued_at_utc")
    assert slots["issued_at_utc"][2] == datetime(2025, 3, 9, 5, tzinfo=UTC)
    assert slots["issued_at_utc"][3] == datetime(2025, 3, 10, 4, tzinfo=UTC)
    assert slots["slots"].to_list()[:4] == [24, 24, 23, 24]
    assert forecasts["starts_at_utc"].is_unique().all()
    assert (forecasts["starts_at_utc"].diff().drop_nulls() == timedelta(hours=1)).all()


@pytest.mark.parametrize(
    ("clock", "zone", "hour", "expected"),
    [
        pytest.param("local", "Asia/Kolkata", 0, "18:30", id="local-midnight-in-india"),
        pytest.param("local", "Asia/Kolkata", 6, "00:30", id="local-six-in-india"),
        pytest.param("utc", "Asia/Kolkata", 6, "06:00", id="utc"),
    ],
)
def test_issue_hour_is_on_the_clock_that_is_asked_for(tmp_path: Path, clock, zone: str, hour: int, expected: str):
    meters = pl.DataFrame({"meter_id": ["a"], "timezone": [zone]})
    inputs = inputs_of(tmp_path, wave("a", days=14), meters=meters)
    plan = Plan(spec=TINY, rivals=(), last_days=2, clock=clock, issue_hour=hour)
    issued = run(inputs, plan).forecasts["issued_at_utc"]
    assert set(issued.dt.strftime("%H:%M")) == {expected}


def test_missing_weather_costs_only_its_slots_and_says_so(tmp_path: Path):
    sky = temperatures(30).filter(
        ~pl.col("starts_at_utc").is_between(START + timedelta(days=27), START + timedelta(days=27.9))
    )
    inputs = inputs_of(tmp_path, wave("a", days=30), weather=sky)
    rows = run(inputs).forecasts.filter(pl.col("method") != "champion")
    assert set(rows["method"]) == {"without_weather"}
    assert set(rows["reason"]) == {"weather_missing"}
    assert set(rows["starts_at_utc"].dt.date()) == {(START + timedelta(days=27)).date()}


def test_issues_taken_one_by_one_are_the_same_as_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    inputs = two_meters(tmp_path)
    at_once = run(inputs).forecasts
    monkeypatch.setattr("energy_assets.forecasts.backtest_learning._ROWS_AT_ONCE", 48)
    assert run(inputs).forecasts.equals(at_once)


def test_models_are_trained_again_at_the_interval_asked_for(tmp_path: Path):
    result = run(two_meters(tmp_path))
    assert [each.trained_at_utc for each in result.trainings] == [START + timedelta(days=day) for day in (26, 28)]
    assert result.trainings[1].rows > result.trainings[0].rows
    # The issues of days 8 to 25 and 8 to 27, two meters with 24 slots each.
    assert [each.rows for each in result.trainings] == [18 * 48, 20 * 48]


def test_a_family_that_fails_costs_its_rung_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*rows: object, **options: object) -> None:
        raise ValueError("singular matrix")

    monkeypatch.setattr("energy_assets.forecasts.backtest_learning.fit", fails)
    result = run(two_meters(tmp_path), Plan(spec=TINY, last_days=2))
    assert set(result.forecasts["method"]) == {"analogue"}
    assert set(result.forecasts["reason"]) == {"no_champion"}
    assert [each.trouble for each in result.trainings] == ["singular matrix"]
    assert set(result.rivals["model"]) == {"previous_day"}


@pytest.mark.parametrize(
    ("meters", "learned", "tested", "expected"),
    [
        # Six trainings of the least cost are affordable, and two of the most; four weeks is the least between them.
        pytest.param(1, 100, 24, 28, id="a-month-is-tested"),
        pytest.param(1, 100, 365, 61, id="a-year-of-one-meter"),
        pytest.param(22, 584, 146, 73, id="two-years-of-22-meters"),
        pytest.param(22, 584, 20, 28, id="a-short-test-of-many"),
    ],
)
def test_trainings_are_rarer_where_they_cost_more(
    tmp_path: Path, meters: int, learned: int, tested: int, expected: int
):
    inputs = inputs_of(tmp_path, pl.concat([wave(f"m{number}", days=1) for number in range(meters)]))
    assert refit_days_of(inputs, plan=Plan(), learned=learned, tested=tested) == expected


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        pytest.param({"first_day": date(2030, 1, 1)}, "reach from 2025-01-06 to 2025-01-25.*no day to test", id="late"),
        pytest.param({"first_day": date(2020, 1, 1)}, "nothing before it to learn from", id="early"),
        pytest.param({"last_days": 999}, "nothing before it to learn from", id="all-days"),
    ],
)
def test_days_beyond_the_readings_are_refused(tmp_path: Path, plan: dict, says: str):
    with pytest.raises(ConfigError, match=says):
        run(inputs_of(tmp_path, wave("a", days=20)), Plan(spec=TINY, rivals=(), **plan))


@pytest.mark.parametrize(
    ("option", "says"),
    [
        pytest.param({"horizon_hours": 0}, "--horizon-hours is 0", id="no-horizon"),
        pytest.param({"horizon_hours": 97}, "--horizon-hours is 97", id="too-far"),
        pytest.param({"issue_hour": 24}, "--issue-hour is 24", id="hour"),
        pytest.param({"refit_days": 0}, "--refit-days is 0", id="refit"),
    ],
)
def test_plans_that_make_no_sense_are_refused(option: dict, says: str):
    with pytest.raises(ConfigError, match=says):
        Plan(**option)


def test_report_counts_and_compares(tmp_path: Path):
    plan = Plan(spec=TINY, last_days=8)
    inputs = two_meters(tmp_path)
    result = run(inputs, plan)
    report = report_of(result, inputs=inputs, plan=plan)
    assert report["set"]["slots"] == report["set"]["slots_filled"] == report["set"]["slots_scored"] == 2 * 8 * 24  # type: ignore[index]
    assert list(report["median"]) == ["ladder", "previous_day", "last_week", "weekday_mean", "analogue"]  # type: ignore[call-overload]
    assert report["predicted"] == dict.fromkeys(report["median"], 1.0)  # type: ignore[call-overload]
    by = report["by"]
    assert list(by["local_hour"]) == [str(hour) for hour in range(24)]  # type: ignore[index]
    assert list(by["lead_hours"]) == [f"{hour}-{hour + 3}" for hour in range(0, 24, 3)]  # type: ignore[index]
    assert list(by["season"]) == ["Dec-Feb"]  # type: ignore[index]
    # The previous day by hand: mean absolute difference to the day before, over the mean, in the median of two meters.
    actual = inputs.actual.with_columns(
        before=pl.col("energy_kwh").shift(24).over("meter_id", order_by="starts_at_utc")
    )
    tested = actual.filter(pl.col("starts_at_utc") >= START + timedelta(days=22))
    errors = tested.group_by("meter_id").agg(
        ((pl.col("energy_kwh") - pl.col("before")).abs().mean() / pl.col("energy_kwh").mean()).alias("nmae")
    )
    assert report["median"]["previous_day"]["nmae"] == pytest.approx(errors["nmae"].mean(), rel=1e-5)  # type: ignore[index]
    # Every meter and bucket has all errors, and the ladder's skill over every baseline with its interval.
    for told in (*report["meters"].values(), *by["local_hour"].values(), *by["season"].values()):  # type: ignore[attr-defined,index]
        assert {"nrmse", "nmae", "rmsle", "pinball", "crps", "rcrps", "coverage_80"} <= set(told["ladder"])
        assert list(told["ladder"]["skill"]) == list(plan.rivals)
        for rival, skill in told["ladder"]["skill"].items():
            assert skill["nmae"]["low"] <= skill["nmae"]["high"], rival
    of_a = report["meters"]["a"]  # type: ignore[index]
    assert of_a["ladder"]["skill"]["last_week"]["nmae"]["value"] == pytest.approx(
        1 - of_a["ladder"]["nmae"] / of_a["last_week"]["nmae"]
    )
    nmae = report["skill"]["previous_day"]["nmae"]  # type: ignore[index]
    assert nmae["low"] <= nmae["value"] <= nmae["high"]
    ratio = report["median"]["ladder"]["nmae"] / report["median"]["previous_day"]["nmae"]  # type: ignore[index]
    assert nmae["value"] == pytest.approx(1 - ratio, rel=1e-4)


def test_champions_follow_what_became_known_as_those_of_the_night_do(tmp_path: Path):
    """One training serves nine days; here the night makes the last from stored rows, as it reads them from the lake."""
    inputs = two_meters(tmp_path, weather=False)
    spec = ModelSpec(rounds=3, spread_rounds=2, leaves=6)
    plan = Plan(spec=spec, rivals=(), last_days=9, refit_days=9)
    horizon, issue, trained_at = Horizon.of_hours(24), START + timedelta(days=29), START + timedelta(days=21)

    def features_of(first: int, last: int) -> pl.DataFrame:
        return build_features(
            inputs.readings, meters=inputs.meters, sites=inputs.sites, premises=inputs.premises, weather=None,
            issues=[START + timedelta(days=day) for day in range(first, last)], horizon=horizon,
        )  # fmt: skip

    known = known_by(features_of(8, 21), trained_at=trained_at)
    model = fit(known, spec=spec.without("weather"), seed=SEED)
    name, tags = "load-electricity-60min", {"training_ends_at_utc": trained_at.isoformat()}
    champions = {name: LoadedModel(name=name, version=1, variants={FULL: model, WITHOUT_WEATHER: model}, tags=tags)}
    followers = Followers(champions, meters=inputs.meters, stride=1)
    followers.learn(features_of(21, 29).filter(pl.col("energy_known_at_utc") <= issue))
    stood, moved = (
        forecast_issue(
            features_of(29, 30),
            readings=inputs.readings,
            meters=inputs.meters,
            premises=inputs.premises,
            sites=inputs.sites,
            champions=each,
            issued_at_utc=issue,
            features_hash="f",
            horizon=horizon,
        ).rename({"node_id": "meter_id"})
        for each in (champions, followers.at(issue))
    )
    columns = ["meter_id", "starts_at_utc", *QUANTILE_COLUMNS, "method", "rung", "reason"]
    ours = run(inputs, plan).forecasts.filter(issued_at_utc=issue).select(columns)
    assert ours.equals(moved.select(columns).sort("meter_id", "starts_at_utc"))
    assert not ours.equals(stood.select(columns).sort("meter_id", "starts_at_utc"))


def test_widths_and_centre_are_learned_from_measured_nights_as_the_night_learns_them(tmp_path: Path):
    """Sixteen nights of one model; here each is made, measured and learned from by the night's own calls."""
    inputs = two_meters(tmp_path, days=40, weather=False)
    plan = Plan(spec=TINY, rivals=(), last_days=16, refit_days=16)
    horizon, first = Horizon.of_hours(24), START + timedelta(days=24)
    issues = [START + timedelta(days=day) for day in range(8, 40)]
    features = build_features(
        inputs.readings, meters=inputs.meters, sites=inputs.sites, premises=inputs.premises, weather=None,
        issues=issues, horizon=horizon,
    )  # fmt: skip
    model = fit(known_by(features, trained_at=first), spec=TINY.without("weather"), seed=SEED)
    name = "load-electricity-60min"
    champions = {name: LoadedModel(name=name, version=1, variants={FULL: model, WITHOUT_WEATHER: model}, tags={})}

    def night(issue: datetime, learned: Learned) -> pl.DataFrame:
        made = forecast_issue(
            features.filter(issued_at_utc=issue), readings=inputs.readings, meters=inputs.meters,
            premises=inputs.premises, sites=inputs.sites, champions=champions, issued_at_utc=issue, features_hash="f",
            widening=learned.widening, horizon=horizon,
        )  # fmt: skip
        return centred(made, shares=learned.centre)

    evidence: list[pl.DataFrame] = []
    for issue in (each for each in issues if each >= first):
        learned = learned_from(pl.concat(evidence), issued_at_utc=issue) if evidence else Learned()
        rows = night(issue, learned)
        compared = with_actuals(rows, readings=inputs.readings, meters=inputs.meters, sites=inputs.sites)
        in_time = known_within(compared, readings=inputs.readings, meters=inputs.meters, after=MEASURED_AFTER)
        recipe = recipe_of(learned, issued_at_utc=issue, seed=1)
        evidence.append(evidence_of(in_time, recipes=recipe, meters=inputs.meters))
    columns = ["meter_id", "starts_at_utc", *QUANTILE_COLUMNS, "method", "rung", "reason"]
    ours = run(inputs, plan).forecasts.filter(issued_at_utc=issues[-1]).select(columns)
    assert ours.equals(rows.rename({"node_id": "meter_id"}).select(columns).sort("meter_id", "starts_at_utc"))
    assert set(learned.widening) == {"without_weather"}
    untaught = night(issues[-1], Learned()).rename({"node_id": "meter_id"})
    untaught = untaught.select(columns).sort("meter_id", "starts_at_utc")
    assert not ours.equals(untaught)
    alone = run(inputs, replace(plan, learns_from_nights=False)).forecasts
    assert alone.filter(issued_at_utc=issues[-1]).select(columns).equals(untaught)
