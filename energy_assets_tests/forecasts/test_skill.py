"""Skill of past forecasts worked by hand, the judgements, and what past errors teach."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import FORECASTS_LOAD, LEVELS, QUANTILE_COLUMNS, READINGS_INTERVAL, UTC_TIME
from energy_assets.forecasts.actuals import with_actuals
from energy_assets.forecasts.hierarchy import aggregate
from energy_assets.forecasts.scenarios import LEVEL_SCORES
from energy_assets.forecasts.skill import judge_coverage, judge_plausibility, measure_skill
from energy_assets.forecasts.standing import standing
from energy_assets_tests.forecasts import portfolio as given

ONE_METER = given.METER_ROWS.filter(pl.col("meter_id") == "t.a.electricity")


def constant_forecast(
    meters=ONE_METER, *, medians, half: float = 1.0, issued=given.ISSUE, method="champion"
) -> pl.DataFrame:
    """Return hourly meter rows with the given medians and q10, q90 at `half` from them."""
    starts = [issued + timedelta(hours=hour) for hour in range(len(medians))]
    rows = meters.join(pl.DataFrame({"starts_at_utc": starts, "q50": medians}), how="cross").select(
        pl.col("starts_at_utc").cast(UTC_TIME),
        pl.col("q50").cast(pl.Float64),
        node_id="meter_id",
        node_kind=pl.lit("meter"),
        site_id="site_id",
        commodity="commodity",
        direction="direction",
        issued_at_utc=pl.lit(issued, UTC_TIME),
        interval_minutes="interval_minutes",
        method=pl.lit(method),
        rung=pl.lit(0, pl.Int64),
        features_hash=pl.lit("f"),
    )
    spread = dict(zip(QUANTILE_COLUMNS, LEVEL_SCORES / LEVEL_SCORES[5], strict=True))
    return FORECASTS_LOAD.conform(
        rows.with_columns(**{name: pl.col("q50") + half * float(share) for name, share in spread.items()})
    )


def hourly(values: list[float | None], *, starts: datetime, meter: str = "t.a.electricity") -> pl.DataFrame:
    times = pl.Series([starts + timedelta(hours=hour) for hour in range(len(values))]).cast(UTC_TIME)
    return READINGS_INTERVAL.conform(
        pl.DataFrame({"starts_at_utc": times, "energy_kwh": pl.Series(values, dtype=pl.Float64)}).with_columns(
            meter_id=pl.lit(meter),
            interval_minutes=pl.lit(60, pl.Int64),
            reported_kwh="energy_kwh",
            quality=pl.lit("measured"),
            available_at_utc=pl.col("starts_at_utc") + timedelta(hours=1),
        )
    )


def metric(skill: pl.DataFrame, model: str, node: str, name: str) -> float | None:
    found = skill.filter(pl.col("model") == model, pl.col("node_id") == node, pl.col("metric") == name)
    return found["value"].item() if found.height else None


def test_metrics_worked_by_hand():
    actual = [8.0, 10.0, 12.0, 10.0, 10.0, 10.0]
    readings = pl.concat(
        [
            hourly(actual, starts=given.ISSUE),
            hourly([10.0, 10.0, 10.0, 14.0, 10.0, 10.0], starts=given.ISSUE - timedelta(weeks=1)),
        ]
    )
    forecasts = constant_forecast(medians=[10.0, 10.0, 10.0, 10.0, 11.0, 10.0], half=1.5)
    skill = measure_skill(forecasts, readings=readings, meters=ONE_METER, sites=given.SITE_ROWS)
    node = "t.a.electricity"
    # Errors 2, 0, -2, 0, 1, 0 on a mean level of 10; last week errs by 2, 0, -2, 4, 0, 0.
    assert metric(skill, "published", node, "nmae") == pytest.approx(5 / 6 / 10)
    assert metric(skill, "published", node, "nrmse") == pytest.approx((9 / 6) ** 0.5 / 10)
    assert metric(skill, "published", node, "bias") == pytest.approx(1 / 6 / 10)
    assert metric(skill, "published", node, "coverage_80") == pytest.approx(4 / 6)
    assert metric(skill, "last_week", node, "nmae") == pytest.approx(8 / 6 / 10)
    assert metric(skill, "published", node, "skill_last_week") == pytest.approx(1 - 5 / 8)
    assert metric(skill, "champion", "portfolio", "coverage_80") == pytest.approx(4 / 6)
    assert metric(skill, "last_week", node, "pinball") is None


def test_pinball_equals_a_slow_loop():
    generator = np.random.default_rng(1)
    actual, medians = generator.uniform(5, 15, 40).tolist(), generator.uniform(5, 15, 40).tolist()
    forecasts = constant_forecast(medians=medians, half=2.0)
    skill = measure_skill(
        forecasts, readings=hourly(actual, starts=given.ISSUE), meters=ONE_METER, sites=given.SITE_ROWS
    )
    losses = []
    for row, y in zip(forecasts.sort("starts_at_utc").to_dicts(), actual, strict=True):
        for name, level in LEVELS.items():
            losses.append(level * (y - row[name]) if y >= row[name] else (1 - level) * (row[name] - y))
    expected = sum(losses) / len(losses) / (sum(actual) / len(actual))
    assert metric(skill, "published", "t.a.electricity", "pinball") == pytest.approx(expected)


@pytest.mark.parametrize(
    "actual",
    [
        pytest.param([], id="nothing-arrived"),
        pytest.param([1.0] * 5, id="too-few"),
        pytest.param([None] * 24, id="all-missing"),
        pytest.param([0.0] * 24, id="no-energy"),
    ],
)
def test_nothing_is_measured_without_enough_energy(actual):
    forecasts = constant_forecast(medians=[1.0] * 24)
    skill = measure_skill(
        forecasts, readings=hourly(actual, starts=given.ISSUE), meters=ONE_METER, sites=given.SITE_ROWS
    )
    assert skill.is_empty()


def test_node_is_measured_only_where_all_members_are():
    pair = given.METER_ROWS.filter(pl.col("meter_id").is_in(["t.f.electricity", "t.f.electricity.pv"]))
    forecasts = constant_forecast(pair, medians=[5.0] * 8)
    forecasts = pl.concat([forecasts, aggregate(forecasts, meters=pair, seed=1).rows])
    readings = pl.concat(
        [
            hourly([6.0] * 8, starts=given.ISSUE, meter="t.f.electricity"),
            hourly([2.0] * 7 + [None], starts=given.ISSUE, meter="t.f.electricity.pv"),
        ]
    )
    compared = with_actuals(forecasts, readings=readings, meters=pair, sites=given.SITE_ROWS)
    net = compared.filter(pl.col("node_id") == "t.f|electricity|net").sort("starts_at_utc")
    assert net["actual_kwh"].to_list() == [4.0] * 7 + [None]
    load = compared.filter(pl.col("node_id") == "portfolio|electricity|consumption")
    assert load["actual_kwh"].null_count() == 0


def test_last_week_is_the_same_local_clock_time():
    issued = datetime(2026, 3, 29, tzinfo=UTC)  # Berlin changes to summer time at 01:00 UTC
    week_before = hourly([float(hour) for hour in range(48)], starts=issued - timedelta(weeks=1))
    compared = with_actuals(
        constant_forecast(medians=[1.0] * 24, issued=issued),
        readings=week_before,
        meters=ONE_METER,
        sites=given.SITE_ROWS,
    ).sort("starts_at_utc")
    # 10:00 UTC is 12:00 in Berlin after the change and was 11:00 UTC a week before.
    assert compared["last_week"][0] == 0.0
    assert compared["last_week"][10] == 11.0


@pytest.mark.parametrize(
    ("factor", "holds", "is_grave"),
    [
        pytest.param(1.0, True, False, id="as-ever"),
        pytest.param(2.5, True, False, id="cold-snap"),
        pytest.param(1000.0, False, True, id="times-1000"),
        pytest.param(0.001, False, False, id="a-thousandth, or the end of a season"),
    ],
)
def test_forecast_of_the_wrong_size_is_told_and_one_too_big_stops_the_night(factor: float, holds: bool, is_grave: bool):
    known = standing(given.readings(), meters=ONE_METER, premises=given.PREMISE_ROWS, issued_at_utc=given.ISSUE)
    judged = judge_plausibility(constant_forecast(medians=[2.0 * factor] * 24), known=known)
    assert judged.holds is holds
    assert judged.is_grave is is_grave
    assert judged.offenders.is_empty() is holds
    assert "electricity consumption" in judged.evidence


@pytest.mark.parametrize(
    ("covered", "holds"), [pytest.param(16, True, id="80-percent"), pytest.param(12, False, id="60-percent")]
)
def test_dishonest_bands_are_told(covered: int, holds: bool):
    actual = [10.0] * covered + [20.0] * (20 - covered)
    skill = measure_skill(
        constant_forecast(medians=[10.0] * 20),
        readings=hourly(actual, starts=given.ISSUE),
        meters=ONE_METER,
        sites=given.SITE_ROWS,
    )
    judged = judge_coverage(skill)
    assert judged.holds is holds
    assert judged.evidence.startswith(f"coverage of q10-q90: champion {covered * 5}%")


def test_coverage_of_nothing_holds_and_says_so():
    judged = judge_coverage(
        measure_skill(
            FORECASTS_LOAD.empty(), readings=READINGS_INTERVAL.empty(), meters=ONE_METER, sites=given.SITE_ROWS
        )
    )
    assert judged.holds
    assert "nothing measured yet" in judged.evidence
