"""Scenarios add up at every node, agree with the published quantiles, and say limits and peaks as counted by hand."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_assets.contracts import FORECASTS_LOAD, QUANTILE_COLUMNS
from energy_assets.errors import ContractError
from energy_assets.forecasts.daily import forecast_delivery
from energy_assets.forecasts.outcomes import NodeScenarios, joint_scenarios, published_scenarios
from energy_assets.forecasts.scenarios import LEVEL_SCORES, Axis, Dependence, Draw, Meters
from energy_assets_tests.forecasts import portfolio as given

READINGS = given.readings()
DELIVERY = forecast_delivery(
    given.features(READINGS),
    readings=READINGS,
    meters=given.METER_ROWS,
    premises=given.PREMISE_ROWS,
    sites=given.SITE_ROWS,
    champions=given.champions(),
    issued_at_utc=given.ISSUE,
    features_hash="f",
    seed=1,
)
PUBLISHED = DELIVERY.rows
DRAWN = published_scenarios(PUBLISHED, recipe=DELIVERY.recipe, meters=given.METER_ROWS)
NODES = [
    pytest.param(place, direction, id=f"{place}-{direction}")
    for place in ("t.berlin", "t.boston", "portfolio")
    for direction in ("consumption", "net")
]


def by_start(node: NodeScenarios) -> dict[int, np.ndarray]:
    return dict(zip(node.starts_minute.tolist(), node.energy_kwh.T, strict=True))


@pytest.mark.parametrize(("place", "direction"), NODES)
def test_medians_and_scenarios_of_a_node_are_the_sums_of_the_nodes_below(place: str, direction: str):
    """Premises add up to their site and sites to the portfolio, in every slot and every scenario, to a millionth."""
    below = "site" if place == "portfolio" else "premise"
    nodes = PUBLISHED.filter(
        pl.col("node_kind") == below, pl.col("commodity") == "electricity", pl.col("direction") == direction
    )
    if below == "premise":
        nodes = nodes.filter(pl.col("site_id") == place)
    names = nodes["node_id"].unique().to_list()
    assert names
    total = PUBLISHED.filter(pl.col("node_id") == f"{place}|electricity|{direction}").sort("starts_at_utc")
    sums = nodes.group_by("starts_at_utc").agg(pl.col("q50").sum())
    compared = total.join(sums, on="starts_at_utc", suffix="_below")
    if total["interval_minutes"][0] == nodes["interval_minutes"].min() == nodes["interval_minutes"].max():
        assert compared.height == total.height
        assert compared.select((pl.col("q50") - pl.col("q50_below")).abs().max()).item() < 1e-6
    whole = DRAWN.of(f"{place}|electricity|{direction}")
    hours = [_hourly(DRAWN.of(name)) for name in names]
    for start, values in by_start(whole).items():
        assert np.abs(sum(each[start] for each in hours) - values).max() < 1e-6


def _hourly(node: NodeScenarios) -> dict[int, np.ndarray]:
    sums: dict[int, np.ndarray] = {}
    for start, values in by_start(node).items():
        sums[start // 60 * 60] = sums.get(start // 60 * 60, 0.0) + values
    return sums


def test_net_load_is_consumption_less_production_in_every_scenario():
    """Premise t.f has both and no grid meter."""
    net = DRAWN.of("t.f|electricity|net").energy_kwh
    parts = [DRAWN.of(f"t.f|electricity|{direction}").energy_kwh for direction in ("consumption", "production")]
    assert np.abs(net - (parts[0] - parts[1])).max() < 1e-6


def test_scenarios_of_a_meter_have_the_published_quantiles():
    many = joint_scenarios(PUBLISHED, meters=given.METER_ROWS, dependence={}, seed=5, scenarios=4000)
    published = PUBLISHED.filter(pl.col("node_id") == "t.a.electricity").sort("starts_at_utc")
    drawn = np.quantile(many.of("t.a.electricity").energy_kwh, [0.1, 0.5, 0.9], axis=0).T
    expected = published.select("q10", "q50", "q90").to_numpy()
    assert drawn == pytest.approx(expected, rel=0.03)


def test_the_same_seed_gives_the_same_scenarios_whatever_the_order_of_rows():
    shuffled = PUBLISHED.sample(fraction=1, shuffle=True, seed=2)
    again = joint_scenarios(shuffled, meters=given.METER_ROWS.reverse(), dependence={}, seed=1)
    name = "portfolio|electricity|net"
    assert np.array_equal(again.of(name).energy_kwh, DRAWN.of(name).energy_kwh)


def counted() -> NodeScenarios:
    """Four scenarios of four half hours, the last one after midnight in Berlin (23:00 UTC)."""
    first = int(datetime(2026, 3, 10, 21, 30, tzinfo=UTC).timestamp()) // 60
    energy = np.array([[1.0, 3.0, 2.0, 9.0], [1.0, 3.0, 2.0, 0.0], [4.0, 3.0, 2.0, 5.0], [1.0, 2.0, 5.0, 5.0]])
    return NodeScenarios(
        node_id="n", minutes=30, starts_minute=first + 30 * np.arange(4, dtype=np.int64), energy_kwh=energy
    )


def test_likelihood_above_a_limit_by_hand():
    """5 kW are 2.5 kWh in half an hour: above in 1, 3, 1 and 3 of 4 scenarios."""
    found = counted().likelihood_above(5.0)
    assert found["probability"].to_list() == [0.25, 0.75, 0.25, 0.75]
    assert found["starts_at_utc"][0] == datetime(2026, 3, 10, 21, 30, tzinfo=UTC)


def test_daily_peaks_by_hand():
    """On the 10th local: peaks 6, 6, 8, 10 kW at 23:00 (22:00 UTC), 23:00, 22:30 and 23:30."""
    peaks = counted().daily_peaks(timezone="Europe/Berlin")
    assert peaks["local_date"].to_list() == [date(2026, 3, 10), date(2026, 3, 11)]
    tenth = peaks.row(0, named=True)
    assert tenth["slots"] == 3
    assert tenth["q50"] == 7.0
    assert tenth["likeliest_hour"] == 23
    assert tenth["hours"] == [{"hour": 22, "probability": 0.25}, {"hour": 23, "probability": 0.75}]


def test_peaks_and_hours_of_a_published_day_are_distributions():
    peaks = DRAWN.of("portfolio|electricity|net").daily_peaks(timezone="Europe/Berlin")
    assert (np.diff(peaks.select(QUANTILE_COLUMNS).to_numpy(), axis=1) >= 0).all()
    for hours in peaks["hours"].to_list():
        assert sum(each["probability"] for each in hours) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("forecasts", "says"),
    [
        pytest.param(FORECASTS_LOAD.empty(), "of one issue, got 0", id="none"),
        pytest.param(
            pl.concat(
                [
                    PUBLISHED,
                    PUBLISHED.with_columns(issued_at_utc=pl.lit(given.ISSUE + timedelta(days=1))).cast(
                        PUBLISHED.schema
                    ),
                ]
            ),
            "of one issue, got 2",
            id="two",
        ),
        pytest.param(PUBLISHED.with_columns(node_id=pl.lit("x")), "metering.meters lacks", id="unregistered"),
    ],
)
def test_forecasts_that_cannot_be_drawn_from_are_refused(forecasts: pl.DataFrame, says: str):
    with pytest.raises(ContractError, match=says):
        joint_scenarios(forecasts, meters=given.METER_ROWS, dependence={}, seed=1)


def test_an_unknown_node_is_named():
    with pytest.raises(ContractError, match="no node 'nowhere'"):
        DRAWN.of("nowhere")


def test_bands_and_peaks_of_nodes_are_those_of_the_published_scenarios():
    """What is published of sums is read off the scenarios that the recipe draws again, with the exact median."""
    nodes = PUBLISHED.filter(pl.col("node_kind") != "meter")
    for name in nodes["node_id"].unique():
        published = nodes.filter(node_id=name).sort("starts_at_utc")
        again = DRAWN.of(name)
        assert again.starts_minute.tolist() == (published["starts_at_utc"].dt.epoch("s") // 60).to_list()
        if len(DRAWN.members.filter(node_id=name)) > 1:
            said = published.select("q10", "q90").to_numpy()
            assert pytest.approx(said, abs=1e-6) == np.quantile(again.energy_kwh, [0.1, 0.9], axis=0).T
    peaks = DELIVERY.peaks.filter(node_id="t.berlin|electricity|net").sort("local_date")
    counted = DRAWN.of("t.berlin|electricity|net").daily_peaks(timezone="Europe/Berlin")
    whole = counted.join(peaks.select("local_date"), on="local_date", how="semi")
    assert whole.height == 1  # the issue is at one o'clock in Berlin: the day of the issue is not whole
    assert whole.select(QUANTILE_COLUMNS).to_numpy() == pytest.approx(peaks.select(QUANTILE_COLUMNS).to_numpy())
    hours = peaks.select(pl.selectors.starts_with("hour_")).to_numpy()
    assert hours.sum(axis=1) == pytest.approx(1)
    assert hours.argmax(axis=1).tolist() == peaks["likeliest_hour"].to_list() == whole["likeliest_hour"].to_list()


def test_an_issue_without_a_recipe_says_how_to_get_one():
    with pytest.raises(ContractError, match="energy nightly"):
        published_scenarios(PUBLISHED, recipe=DELIVERY.recipe.clear(), meters=given.METER_ROWS)


def test_scenarios_of_a_meter_do_not_depend_on_what_is_drawn_beside_it():
    alone = PUBLISHED.filter(pl.col("node_id") == "t.a.electricity")
    drawn = joint_scenarios(alone, meters=given.METER_ROWS, dependence={}, seed=1).of("t.a.electricity")
    beside = DRAWN.of("t.a.electricity")
    assert np.array_equal(drawn.energy_kwh, beside.energy_kwh)


def test_scenarios_hang_together_as_they_are_told_to():
    """Of a normal meter: 0.8 after an hour; after twelve 0.4 lasts and next to nothing of the rest is left."""
    given_so = Dependence(across_portfolio=0.0, within_site=0.0, within_premise=0.0, hour_to_hour=0.8, lasting=0.4)
    draw = Draw(seed=1, axis=Axis(start=0, end=24 * 60, finest=60), dependence={"a|b": given_so}, scenarios=8000)
    quantiles = np.broadcast_to(LEVEL_SCORES, (1, 24, 7)).copy()
    meter = Meters(
        meter_ids=["m"], kinds=["a|b"], sites=["s"], premises=[None], opposites=[None], minutes=60, quantiles=quantiles
    )
    after = np.corrcoef(draw.energies(meter)[0])
    assert after[3, 4] == pytest.approx(0.8, abs=0.03)
    assert after[3, 15] == pytest.approx(0.4 + 0.6 * (2 / 3) ** 12, abs=0.04)


@pytest.mark.parametrize("correlation", [0.0, 0.8, -0.6])
@pytest.mark.parametrize("place", ["t.e", "t.berlin"], ids=["premise", "site"])
def test_what_is_fed_in_goes_with_what_is_drawn_as_was_learned(place: str, correlation: float):
    """Berlin's only grid meters are those of t.e; the correlation is that of normal scores, the same at both levels."""
    kind = "electricity|grid_export"
    drawn = joint_scenarios(
        PUBLISHED,
        meters=given.METER_ROWS,
        dependence={kind: Dependence(with_opposite=correlation)},
        seed=5,
        scenarios=2000,
    )
    parts = [drawn.of(f"{place}|electricity|{direction}").energy_kwh for direction in ("grid_import", "grid_export")]
    ranks = [part.argsort(axis=0).argsort(axis=0) for part in parts]
    found = np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(ranks[0].T, ranks[1].T, strict=True)])
    assert found == pytest.approx(correlation, abs=0.06)
