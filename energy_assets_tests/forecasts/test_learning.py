"""What measured nights teach: widths that reach their coverage night by night, the centre, dependence, and no less."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import FORECASTS_EVIDENCE, FORECASTS_LOAD, FORECASTS_RECIPES, METERS, QUANTILE_COLUMNS
from energy_assets.forecasts.actuals import known_within, with_actuals
from energy_assets.forecasts.centre import centred, mean_of_quantiles, median_before
from energy_assets.forecasts.evidence import evidence_of, opposite
from energy_assets.forecasts.hierarchy import aggregate
from energy_assets.forecasts.learning import CENTRES, MEASURED_AFTER, Learned, learned_from, learned_of, recipe_of
from energy_assets.forecasts.scenarios import LEVEL_SCORES, Dependence
from energy_assets_tests.forecasts import portfolio as given
from energy_assets_tests.forecasts.test_skill import constant_forecast, hourly

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
KIND = "electricity|consumption"
SITES, PREMISES, EACH, HOURS = 4, 3, 4, 24


def registered() -> pl.DataFrame:
    rows = [
        {
            "meter_id": f"s{site}.p{premise}.m{number}",
            "premise_id": f"s{site}.p{premise}",
            "site_id": f"s{site}",
            "commodity": "electricity",
            "direction": "consumption",
            "measure": "interval_energy",
            "unit": "kWh",
            "interval_minutes": 60,
            "source": "t",
        }
        for site in range(SITES)
        for premise in range(PREMISES)
        for number in range(EACH)
    ]
    return METERS.conform(pl.DataFrame(rows))


METER_ROWS = registered()


def night(
    number: int, errors: np.ndarray, *, deviations: np.ndarray, learned: Learned, method: str = "champion"
) -> pl.DataFrame:
    """Return a compared issue: median 100, a band of `deviations` [level] and what the recipe makes of it.

    `errors` are [meter, hour].
    """
    issued = FIRST + timedelta(days=number)
    made = METER_ROWS.select(
        node_id="meter_id", node_kind=pl.lit("meter"), site_id="site_id", commodity="commodity", direction="direction"
    ).join(pl.DataFrame({"hour": range(HOURS)}), how="cross")
    factor = learned.widening.get(method, 1.0)
    rows = made.select(
        pl.exclude("hour"),
        issued_at_utc=pl.lit(issued),
        starts_at_utc=pl.lit(issued) + pl.duration(hours="hour"),
        interval_minutes=pl.lit(60),
        method=pl.lit(method),
        rung=pl.lit(0),
        features_hash=pl.lit("f"),
        **{name: pl.lit(100 + float(each) * factor) for name, each in zip(QUANTILE_COLUMNS, deviations, strict=True)},
    )
    rows = centred(FORECASTS_LOAD.conform(rows), shares=learned.centre)
    return rows.with_columns(actual_kwh=pl.Series(100 + errors.ravel()))


def drawn_errors(number: int, dependence: Dependence) -> np.ndarray:
    """Return normal errors [meter, hour] of standard deviation 1 with a dependence."""
    draw = np.random.default_rng(number).standard_normal
    weights = dependence.weights()
    shapes = ((1, 1, 1), (SITES, 1, 1), (SITES, PREMISES, 1), (SITES, PREMISES, EACH))
    score = sum(weight * draw((*shape, HOURS)) for weight, shape in zip(weights, shapes, strict=True))
    return np.broadcast_to(score, (SITES, PREMISES, EACH, HOURS)).reshape(-1, HOURS)


def nights(
    count: int, *, deviations: np.ndarray, dependence: Dependence, method: str = "champion"
) -> tuple[list[Learned], list[pl.DataFrame]]:
    """Return what was applied on each night, each learned from those before it, and what came of it."""
    evidence, applied, compared = FORECASTS_EVIDENCE.empty(), [], []
    for number in range(count):
        issued = FIRST + timedelta(days=number)
        learned = learned_from(evidence, issued_at_utc=issued)
        recipe = recipe_of(learned, issued_at_utc=issued, seed=1)
        made = night(number, drawn_errors(number, dependence), deviations=deviations, learned=learned, method=method)
        evidence = pl.concat([evidence, evidence_of(made, recipes=recipe, meters=METER_ROWS)])
        applied.append(learned)
        compared.append(made)
    return applied, compared


@pytest.mark.parametrize("method", ["champion", "without_weather", "analogue", "peers", "climatology"])
@pytest.mark.parametrize("true", [0.6, 1.0, 1.8], ids=["too-wide", "right", "too-narrow"])
def test_bands_of_every_rung_come_to_cover_four_fifths(method: str, true: float):
    """A band made for errors of 1 where they are `true` covers 80 % within five points after three weeks."""
    applied, compared = nights(24, deviations=LEVEL_SCORES / true, dependence=Dependence(), method=method)
    assert applied[2].widening == {}  # nothing younger than three days has been measured
    assert applied[-1].widening[method] == pytest.approx(true, rel=0.1)
    late = pl.concat(compared[-6:])
    assert late.select(pl.col("actual_kwh").is_between("q10", "q90").mean()).item() == pytest.approx(0.8, abs=0.05)


def test_dependence_is_learned_at_every_level():
    true = Dependence(across_portfolio=0.1, within_site=0.3, within_premise=0.6)
    applied, _ = nights(40, deviations=LEVEL_SCORES, dependence=true)
    found = applied[-1].dependence[KIND]
    assert found.within_premise == pytest.approx(0.6, abs=0.12)
    assert found.within_site == pytest.approx(0.3, abs=0.12)
    assert found.across_portfolio == pytest.approx(0.1, abs=0.1)
    assert 0 <= found.lasting <= found.hour_to_hour < 0.2  # drawn without persistence; doubt draws it up a little


def test_the_centre_moves_for_skewed_meters_only():
    """Exponential errors of mean zero: their median lies at log 2 - 1, sums of medians at as much for each meter."""

    def learned(errors: np.ndarray, quantiles: np.ndarray) -> float:
        made = [night(each, errors[each], deviations=quantiles, learned=Learned()) for each in range(20)]
        evidence = evidence_of(pl.concat(made), recipes=FORECASTS_RECIPES.empty(), meters=METER_ROWS)
        return learned_from(evidence, issued_at_utc=FIRST + timedelta(days=25)).centre[KIND]

    shape = (20, METER_ROWS.height, HOURS)
    skewed = 20 * (np.random.default_rng(1).exponential(1.0, shape) - 1)
    levels = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
    assert learned(skewed, 20 * (-np.log(1 - levels) - 1)) >= 0.5
    assert learned(np.random.default_rng(1).normal(0, 20, shape), 20 * LEVEL_SCORES) < 0.1


@pytest.mark.parametrize(
    ("gains", "moves"),
    [
        pytest.param([0.04] * 8 + [0.02] * 8, True, id="every-night-gains"),
        pytest.param([-0.01] * 14 + [0.5] * 2, False, id="two-odd-nights-gain-all"),
        pytest.param([0.3], False, id="a-single-night"),
    ],
)
def test_the_centre_moves_where_the_gain_is_sure(gains: list[float], *, moves: bool):
    """The mean gain is above nothing in every case: by 0.03 +- 0.003, 0.05 +- 0.04, 0.3 +- nobody knows."""
    rows = [
        (FIRST + timedelta(days=day), statistic, KIND, place, 24, 1 - gain * share)
        for day, gain in enumerate(gains)
        for statistic in ("centre_of_meters", "centre_of_sums")
        for place, share in enumerate(CENTRES)
    ]
    evidence = pl.DataFrame(rows, schema=FORECASTS_EVIDENCE.column_names, orient="row")
    learned = learned_from(FORECASTS_EVIDENCE.conform(evidence), issued_at_utc=FIRST + timedelta(days=len(gains) + 3))
    assert (learned.centre[KIND] > 0.5) is moves
    assert moves or learned.centre[KIND] == 0.0


def test_what_was_moved_can_be_taken_back():
    rows = night(0, np.zeros((METER_ROWS.height, HOURS)), deviations=LEVEL_SCORES**3, learned=Learned())
    skewed = rows.with_columns(pl.col("q90") + 3, pl.col("q95") + 9)
    moved = centred(skewed, shares={KIND: 0.5})
    assert moved.select((pl.col("q50") > skewed["q50"]).all()).item()
    expected = skewed.select(pl.col("q50") + 0.5 * (mean_of_quantiles() - pl.col("q50"))).to_series()
    within = expected <= skewed["q75"]
    assert moved["q50"].filter(within).to_numpy() == pytest.approx(expected.filter(within).to_numpy())
    back = moved.filter(within).select(median_before(pl.lit(0.5))).to_series().to_numpy()
    assert back == pytest.approx(skewed["q50"].filter(within).to_numpy())


def test_a_recipe_says_what_was_learned():
    learned = Learned(
        widening={"analogue": 1.3},
        centre={KIND: 0.4},
        dependence={
            KIND: Dependence(across_portfolio=0.01, within_site=0.1, within_premise=0.2, hour_to_hour=0.7, lasting=0.3)
        },
    )
    recipe = recipe_of(learned, issued_at_utc=FIRST, seed=7, scenarios=100)
    assert learned_of(recipe) == learned
    assert dict(recipe.filter(subject="all").select("parameter", "value").iter_rows()) == {"seed": 7, "scenarios": 100}
    assert learned_of(FORECASTS_RECIPES.empty()) == Learned()


def test_what_was_not_known_then_teaches_nothing():
    _, compared = nights(6, deviations=LEVEL_SCORES / 2, dependence=Dependence())
    evidence = evidence_of(pl.concat(compared), recipes=FORECASTS_RECIPES.empty(), meters=METER_ROWS)
    at = FIRST + timedelta(days=4)
    known = evidence.filter(pl.col("issued_at_utc") <= at - MEASURED_AFTER)
    assert known.height < evidence.height
    assert learned_from(evidence, issued_at_utc=at) == learned_from(known, issued_at_utc=at)
    assert learned_from(evidence.sample(fraction=1, shuffle=True, seed=1), issued_at_utc=at) == learned_from(
        evidence, issued_at_utc=at
    )
    assert learned_from(evidence, issued_at_utc=FIRST) == Learned()


def test_readings_that_come_after_an_issue_was_counted_teach_nothing():
    """One meter's evening comes four days late, another's morning in time; only the evening is not counted."""
    after = timedelta(days=3)
    issued = given.ISSUE
    meters = given.METER_ROWS.filter(pl.col("meter_id").is_in(["t.a.electricity", "t.b.electricity"]))
    rows = pl.concat(constant_forecast(meters.filter(meter_id=name), medians=[5.0] * 24) for name in meters["meter_id"])
    sums = aggregate(rows, meters=meters, sites=given.SITE_ROWS, dependence={}, seed=1).rows
    evening = (pl.col("meter_id") == "t.a.electricity") & (pl.col("starts_at_utc") >= issued + timedelta(hours=18))
    morning = (pl.col("meter_id") == "t.b.electricity") & (pl.col("starts_at_utc") < issued + timedelta(hours=6))

    def compared(value: float) -> pl.DataFrame:
        readings = pl.concat(hourly([5.5] * 24, starts=issued, meter=name) for name in meters["meter_id"]).with_columns(
            energy_kwh=pl.when(evening).then(value).otherwise("energy_kwh"),
            available_at_utc=pl.when(evening)
            .then(issued + timedelta(days=4))
            .when(morning)
            .then(issued + after)
            .otherwise("available_at_utc"),
        )
        told = with_actuals(pl.concat([rows, sums]), readings=readings, meters=meters, sites=given.SITE_ROWS)
        return known_within(told, readings=readings, meters=meters, after=after)

    counted = compared(5.5).filter(pl.col("actual_kwh").is_not_null()).group_by("node_id").len()
    assert dict(counted.iter_rows()) == {
        "t.b.electricity": 24,
        **dict.fromkeys(["t.a.electricity", "t.a|electricity|consumption", "t.a|electricity|net"], 18),
        **dict.fromkeys(["t.b|electricity|consumption", "t.b|electricity|net"], 24),
        **{f"{place}|electricity|{flow}": 18 for place in ("t.berlin", "portfolio") for flow in ("consumption", "net")},
    }
    one, other = (
        evidence_of(compared(value), recipes=FORECASTS_RECIPES.empty(), meters=meters) for value in (5.5, 900.0)
    )
    assert one.height
    assert one.equals(other)


def test_nothing_measured_leaves_no_evidence():
    made = night(0, np.zeros((METER_ROWS.height, HOURS)), deviations=LEVEL_SCORES, learned=Learned())
    unread = made.with_columns(actual_kwh=pl.lit(None, pl.Float64))
    assert evidence_of(unread, recipes=FORECASTS_RECIPES.empty(), meters=METER_ROWS).is_empty()
    assert len(CENTRES) == 5


def test_what_lasts_all_day_is_told_from_what_fades():
    """Half of the variance is of the day, the other half new in every hour: 0.5 after one hour, and after twelve."""
    draw = np.random.default_rng(3).standard_normal
    shape = (METER_ROWS.height, 1)
    made = [
        night(number, draw(shape) * 0.5**0.5 + draw((shape[0], HOURS)) * 0.5**0.5, deviations=LEVEL_SCORES,
              learned=Learned())
        for number in range(20)
    ]  # fmt: skip
    evidence = evidence_of(pl.concat(made), recipes=FORECASTS_RECIPES.empty(), meters=METER_ROWS)
    found = learned_from(evidence, issued_at_utc=FIRST + timedelta(days=25)).dependence[KIND]
    assert found.hour_to_hour == pytest.approx(0.5, abs=0.08)
    assert found.lasting == pytest.approx(0.5, abs=0.1)
    assert found.fading < 0.2


def test_how_what_is_fed_in_goes_with_what_is_drawn_is_learned():
    """Errors of import and export go together by -0.6 at each of two premises, and so in their sums."""
    hours, kinds = 24, ("grid_import", "grid_export")
    given = [(f"s.p{number}", direction) for number in range(2) for direction in kinds]
    nodes = [(f"{place}|electricity|{direction}", "premise", direction) for place, direction in given]
    above = [("s", "site"), ("portfolio", "portfolio")]
    nodes += [(f"{place}|electricity|{each}", level, each) for place, level in above for each in kinds]
    evidence = []
    for number in range(20):
        issued = FIRST + timedelta(days=number)
        draw = np.random.default_rng(number).standard_normal((3, 2, hours))
        errors = {f"s.p{place}|electricity|grid_import": draw[0, place] for place in range(2)}
        errors |= {
            f"s.p{place}|electricity|grid_export": -0.6 * draw[0, place] + 0.8 * draw[1, place] for place in range(2)
        }
        for place in ("s", "portfolio"):
            for each in kinds:
                errors[f"{place}|electricity|{each}"] = sum(errors[f"s.p{at}|electricity|{each}"] for at in range(2))
        rows = [
            {
                "node_id": name, "node_kind": level, "commodity": "electricity", "direction": direction,
                "issued_at_utc": issued, "starts_at_utc": issued + timedelta(hours=hour), "interval_minutes": 60,
                "actual_kwh": 100 + error, "q50": 100.0, "q10": 100 - 1.2815516 * size, "q90": 100 + 1.2815516 * size,
            }
            for name, level, direction in nodes
            for size in (1.0 if level == "premise" else 2**0.5,)
            for hour, error in enumerate(errors[name])
        ]  # fmt: skip
        evidence.append(opposite(pl.DataFrame(rows)))
    known = pl.concat(evidence).select(FORECASTS_EVIDENCE.column_names)
    found = learned_from(FORECASTS_EVIDENCE.conform(known), issued_at_utc=FIRST + timedelta(days=23))
    assert found.dependence["electricity|grid_export"].with_opposite == pytest.approx(-0.6 * 20 / 23, abs=0.08)
    recipe = recipe_of(found, issued_at_utc=FIRST, seed=1)
    assert learned_of(recipe).dependence == found.dependence
    before = recipe.filter(pl.col("parameter") != "with_opposite")
    assert learned_of(before).dependence["electricity|grid_export"].with_opposite == 0.0
