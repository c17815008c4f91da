"""Sums over nodes: exact medians, bands as wide as the dependence says, net load without double counting."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_assets.contracts import FORECASTS_LOAD, METERS, QUANTILE_COLUMNS, UTC_TIME
from energy_assets.errors import ContractError
from energy_assets.forecasts.hierarchy import aggregate, net_load
from energy_assets.forecasts.scenarios import LEVEL_SCORES, Dependence

KIND = "electricity|consumption"
ISSUE = datetime(2026, 3, 10, tzinfo=UTC)
INDEPENDENT = Dependence(across_portfolio=0.0, within_site=0.0, within_premise=0.0)


def meter(name: str, direction: str = "consumption", *, minutes: int = 60, commodity: str = "electricity") -> dict:
    """Return a meter named `site.premise.meter`."""
    site, premise, _ = name.split(".")
    return {
        "meter_id": name,
        "premise_id": f"{site}.{premise}",
        "site_id": site,
        "commodity": commodity,
        "direction": direction,
        "measure": "interval_energy",
        "unit": "kWh",
        "interval_minutes": minutes,
        "source": "t",
    }


def registered(*meters: dict) -> pl.DataFrame:
    return METERS.conform(pl.DataFrame(list(meters)))


def forecasts(
    meters: pl.DataFrame, *, median: float = 10.0, sigma: float = 1.0, hours: int = 4, **special
) -> pl.DataFrame:
    """Return normal quantiles per meter; `special` gives medians by the last part of the meter's name."""
    frames = []
    for row in meters.iter_rows(named=True):
        minutes = row["interval_minutes"]
        slots = hours * 60 // minutes
        middle = special.get(row["meter_id"].split(".")[-1], median)
        values = {name: middle + sigma * float(z) for name, z in zip(QUANTILE_COLUMNS, LEVEL_SCORES, strict=True)}
        frames.append(
            pl.DataFrame(
                {"starts_at_utc": [ISSUE + timedelta(minutes=minutes * slot) for slot in range(slots)]}
            ).select(
                pl.col("starts_at_utc").cast(UTC_TIME),
                node_id=pl.lit(row["meter_id"]),
                node_kind=pl.lit("meter"),
                site_id=pl.lit(row["site_id"]),
                commodity=pl.lit(row["commodity"]),
                direction=pl.lit(row["direction"]),
                issued_at_utc=pl.lit(ISSUE, UTC_TIME),
                interval_minutes=pl.lit(minutes, pl.Int64),
                method=pl.lit("champion"),
                rung=pl.lit(0, pl.Int64),
                features_hash=pl.lit("f"),
                **{name: pl.lit(value) for name, value in values.items()},
            )
        )
    return FORECASTS_LOAD.conform(pl.concat(frames))


def node(rows: pl.DataFrame, node_id: str) -> pl.DataFrame:
    return rows.filter(pl.col("node_id") == node_id)


def half_width(rows: pl.DataFrame) -> float:
    return ((rows["q90"] - rows["q10"]) / 2).mean() / 1.2815516


SMALL = registered(
    meter("s.a.load"),
    meter("s.a.pv", "production"),
    meter("s.b.load"),
    meter("s.b.import", "grid_import"),
    meter("s.b.export", "grid_export"),
    meter("s.b.heat", commodity="steam"),
    meter("z.c.load"),
)


def test_nodes_of_a_small_portfolio_worked_by_hand():
    rows = aggregate(
        forecasts(SMALL, load=10.0, pv=4.0, **{"import": 7.0, "export": 1.0, "heat": 50.0}),
        meters=SMALL,
        seed=1,
    ).rows
    medians = dict(rows.filter(pl.col("starts_at_utc") == ISSUE).select("node_id", "q50").iter_rows())
    assert medians == pytest.approx(
        {
            "s.a|electricity|consumption": 10,
            "s.a|electricity|production": 4,
            "s.a|electricity|net": 6,  # no grid meter: consumption - production
            "s.b|electricity|consumption": 10,
            "s.b|electricity|grid_import": 7,
            "s.b|electricity|grid_export": 1,
            "s.b|electricity|net": 6,  # grid meters: import - export, the consumption is behind them
            "s.b|steam|consumption": 50,
            "s|electricity|consumption": 20,
            "s|electricity|production": 4,
            "s|electricity|grid_import": 7,
            "s|electricity|grid_export": 1,
            "s|electricity|net": 12,
            "s|steam|consumption": 50,
            "z.c|electricity|consumption": 10,
            "z.c|electricity|net": 10,
            "z|electricity|consumption": 10,
            "z|electricity|net": 10,
            "portfolio|electricity|consumption": 30,
            "portfolio|electricity|production": 4,
            "portfolio|electricity|grid_import": 7,
            "portfolio|electricity|grid_export": 1,
            "portfolio|electricity|net": 22,
            "portfolio|steam|consumption": 50,
        },
        abs=1e-9,
    )
    assert set(rows["method"]) == {"sum"}
    zone = net_load(rows, zone_id="s")
    assert zone["q50"].to_list() == pytest.approx([12.0] * 4)
    assert (zone["q10"] < zone["q50"]).all()
    assert net_load(rows, zone_id="nowhere").is_empty()


def test_node_of_one_meter_has_its_quantiles_and_net_of_a_producer_is_mirrored():
    meters = registered(meter("s.a.pv", "production"))
    made = forecasts(meters, median=4.0, sigma=2.0)
    rows = aggregate(made, meters=meters, seed=1).rows
    same = node(rows, "portfolio|electricity|production").select(QUANTILE_COLUMNS).to_numpy()
    assert same == pytest.approx(made.select(QUANTILE_COLUMNS).to_numpy(), abs=1e-9)
    mirrored = node(rows, "portfolio|electricity|net").select(QUANTILE_COLUMNS).to_numpy()
    assert mirrored == pytest.approx(-same[:, ::-1], abs=1e-9)


@pytest.mark.parametrize(
    ("dependence", "expected"),
    [
        # 64 meters of standard deviation 1 on one site and premise each: variance 64 (1 - r) + 64² r.
        pytest.param(INDEPENDENT, 8.0, id="independent"),
        pytest.param(Dependence(across_portfolio=0.1, within_site=0.1, within_premise=0.1), 21.6, id="tenth"),
        pytest.param(Dependence(across_portfolio=0.1, within_site=0.5, within_premise=0.5), 45.6, id="half-on-site"),
        pytest.param(Dependence(across_portfolio=1.0, within_site=1.0, within_premise=1.0), 64.0, id="dependent"),
    ],
)
def test_band_of_a_sum_follows_the_dependence(dependence: Dependence, expected: float):
    meters = registered(*(meter(f"s.p{number}.load") for number in range(64)))
    rows = aggregate(forecasts(meters, hours=48), meters=meters, dependence={KIND: dependence}, seed=1).rows
    assert half_width(node(rows, "s|electricity|consumption")) == pytest.approx(expected, rel=0.06)


def test_sites_share_only_the_portfolio_factor():
    meters = registered(*(meter(f"s{number}.p.load") for number in range(64)))
    dependence = Dependence(across_portfolio=0.0, within_site=0.5, within_premise=0.9)
    rows = aggregate(forecasts(meters, hours=48), meters=meters, dependence={KIND: dependence}, seed=1).rows
    assert half_width(node(rows, "portfolio|electricity|consumption")) == pytest.approx(8.0, rel=0.06)


def test_quarter_hours_add_up_to_the_hours_of_their_node():
    meters = registered(meter("s.a.hourly"), meter("s.a.quarterly", minutes=15))
    rows = aggregate(forecasts(meters, quarterly=3.0), meters=meters, seed=1).rows
    site = node(rows, "s|electricity|consumption")
    assert site["interval_minutes"].unique().to_list() == [60]
    assert site["q50"].to_list() == pytest.approx([10.0 + 4 * 3.0] * 4)


def test_portfolio_ends_where_its_first_site_ends():
    meters = registered(meter("s.a.load"), meter("z.b.load"))
    made = forecasts(meters)
    made = made.filter((pl.col("site_id") == "s") | (pl.col("starts_at_utc") < ISSUE + timedelta(hours=2)))
    rows = aggregate(made, meters=meters, seed=1).rows
    assert node(rows, "s|electricity|consumption").height == 4
    assert node(rows, "portfolio|electricity|consumption").height == 2


def test_sum_tells_its_worst_rung_and_why():
    meters = registered(meter("s.a.load"), meter("s.b.load"))
    poor = pl.col("node_id") == "s.b.load"
    made = forecasts(meters).with_columns(
        rung=pl.when(poor).then(pl.lit(2, pl.Int64)).otherwise("rung"),
        reason=pl.when(poor).then(pl.lit("weather_missing")),
    )
    rows = aggregate(made, meters=meters, seed=1).rows
    assert set(node(rows, "s|electricity|net").select("rung", "reason").iter_rows()) == {(2, "weather_missing")}
    assert set(node(rows, "s.a|electricity|net").select("rung", "reason").iter_rows()) == {(0, None)}


def test_unregistered_meter_is_refused():
    with pytest.raises(ContractError, match=r"metering\.meters"):
        aggregate(forecasts(SMALL), meters=SMALL.head(2), seed=1)


def test_intervals_that_do_not_nest_are_refused():
    meters = registered(meter("s.a.load", minutes=60), meter("s.b.load", minutes=45))
    with pytest.raises(ContractError, match="divide"):
        aggregate(forecasts(meters, hours=3), meters=meters, seed=1)


@settings(max_examples=15, deadline=None)
@given(
    levels=st.lists(st.floats(0, 1e4), min_size=2, max_size=9),
    spreads=st.lists(st.floats(0, 1), min_size=9, max_size=9),
    seed=st.integers(0, 1000),
)
def test_medians_add_up_at_every_level_and_quantiles_do_not_cross(levels, spreads, seed):
    meters = registered(
        *(meter(f"s{n % 2}.p{n}.m", "production" if n % 3 == 2 else "consumption") for n in range(len(levels)))
    )
    made = pl.concat(
        forecasts(meters[n : n + 1], median=level, sigma=level * spread * 0.3, hours=2)
        for n, (level, spread) in enumerate(zip(levels, spreads, strict=False))
    )
    rows = aggregate(made, meters=meters, seed=seed).rows
    values = rows.select(QUANTILE_COLUMNS).to_numpy()
    assert (np.diff(values, axis=1) >= -1e-9).all()
    total = node(rows, "portfolio|electricity|net").sort("starts_at_utc")
    sign = pl.when(pl.col("direction") == "production").then(-1).otherwise(1)
    expected = made.group_by("starts_at_utc").agg((pl.col("q50") * sign).sum()).sort("starts_at_utc")
    assert np.abs((total["q50"] - expected["q50"]).to_numpy()).max() < 1e-6
    of_sites = rows.filter(pl.col("node_kind") == "site", pl.col("direction") == "net")
    of_sites = of_sites.group_by("starts_at_utc").agg(pl.col("q50").sum()).sort("starts_at_utc")
    assert np.abs((total["q50"] - of_sites["q50"]).to_numpy()).max() < 1e-6


def test_same_seed_same_bands_whatever_the_order():
    meters = registered(*(meter(f"s.p{number}.load") for number in range(9)))
    made = forecasts(meters)
    first = aggregate(made, meters=meters, seed=5).rows
    again = aggregate(made.reverse(), meters=meters.sample(fraction=1, shuffle=True), seed=5).rows
    other = aggregate(made, meters=meters, seed=6).rows
    assert first.equals(again)
    assert not first.equals(other)
