"""`energy forecast explain` on forecasts that were published: the parts add up to what is in the lake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.contracts import (
    FEATURES_LOAD,
    FORECASTS_LOAD,
    FORECASTS_RECIPES,
    METERS,
    PREMISES,
    READINGS_INTERVAL,
    SITES,
    Window,
)
from energy_assets.defs.explaining import PARTS
from energy_assets.defs.features import stored_features
from energy_assets.defs.following import followers_of
from energy_assets.forecasts.champions import champions_of
from energy_assets.forecasts.daily import Delivery, forecast_delivery
from energy_assets.forecasts.learning import Learned
from energy_assets.models.fitting import fit
from energy_assets.models.spec import ModelSpec
from energy_assets.settings import load_settings
from energy_assets_tests.features.frames import START
from energy_assets_tests.models.constant_model import ConstantModel
from energy_assets_tests.models.instance import NAME, Instance, open_instance

ISSUED = START + timedelta(days=50)
DAY = (ISSUED + timedelta(days=1)).date()


@pytest.fixture(scope="module")
def published(home: Path) -> Iterator[Instance]:
    """Return an instance with a fitted champion, features of ten nights and the forecast of the last.

    The champion is a blend that follows those nights; bands are widened and medians moved, as measured nights teach.
    """
    made = open_instance(home)
    issues = [START + timedelta(days=day) for day in range(8, 39)]
    spec = ModelSpec(family="blend", rounds=12, spread_rounds=6, training_rows=6000, fold_rows=3000, spread_rows=3000)
    version = made.register(fit(made.features(issues), spec=spec, seed=0))
    made.registry.promote(NAME, version, now=ISSUED, reason="a test")
    lake = made.lake
    features = made.features([ISSUED - timedelta(days=day) for day in range(10)])
    lake.append(
        FEATURES_LOAD,
        features.drop("energy_kwh", "energy_known_at_utc").with_columns(pl.selectors.float().fill_nan(None)),
    )
    delivery = deliver(made)
    lake.append(FORECASTS_RECIPES, delivery.recipe)
    lake.append(FORECASTS_LOAD, delivery.rows)
    yield made
    lake.close()


def deliver(made: Instance) -> Delivery:
    """Make the forecast of the last night, by the champion of now as the nights before moved it."""
    lake = made.lake
    meters = lake.read(METERS)
    rows, fingerprint = stored_features(lake, issued_at=ISSUED)
    history = lake.read(READINGS_INTERVAL, Window(starts_at_utc=START, ends_at_utc=ISSUED))
    # One meter had stopped reporting a fortnight before, one has just begun: rungs below the models serve them.
    lost, begun = ISSUED - timedelta(days=14), ISSUED - timedelta(days=2)
    at = pl.col("starts_at_utc")
    history = history.filter((pl.col("meter_id") != "m3") | (at < lost), (pl.col("meter_id") != "m2") | (at >= begun))
    champions = champions_of(made.registry, meters=meters)
    return forecast_delivery(
        rows.filter(pl.col("meter_id") != "m2"),
        readings=history,
        meters=meters,
        premises=lake.read(PREMISES),
        sites=lake.read(SITES),
        champions=followers_of(lake, champions, meters=meters, issues=[ISSUED]).at(ISSUED),
        issued_at_utc=ISSUED,
        features_hash=fingerprint,
        seed=1,
        learned=Learned(widening={"champion": 1.3, "analogue": 0.8}, centre={"electricity|consumption": 0.6}),
    )


@pytest.fixture(autouse=True)
def as_the_home(published: Instance, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(published.settings.home))
    monkeypatch.setenv("COLUMNS", "200")
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def explained(node: str, out: Path, *, day: date = DAY) -> str:
    words = ["forecast", "explain", node, "--date", day.isoformat(), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    return " ".join(done.output.split()) if done.exit_code == 0 else str(done.exception)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        pytest.param("m1", "by load-electricity-60min/2.", id="a meter"),
        pytest.param("p.m1|electricity|consumption", "by load-electricity-60min/2.", id="a premise"),
        pytest.param("s|electricity|consumption", "by load-electricity-60min/2, analogue (readings_stale", id="a site"),
        pytest.param("m3", "by analogue (readings_stale).", id="a meter that went silent"),
        pytest.param(
            "m2",
            "nothing moves the day as a whole. Issued at 2023-02-21 00:00 UTC by peers (features_missing",
            id="a meter that has just begun",
        ),
    ],
)
def test_the_parts_add_up_to_what_was_published(published: Instance, tmp_path: Path, node: str, expected: str) -> None:
    said = explained(node, tmp_path / "rows.parquet")
    assert expected in said
    rows = pl.read_parquet(tmp_path / "rows.parquet")
    stored = published.lake.read(FORECASTS_LOAD, where={"node_id": node}).filter(
        pl.col("starts_at_utc").dt.date() == DAY
    )
    both = rows.join(stored.select("starts_at_utc", published="q50"), on="starts_at_utc", validate="1:1")
    assert both.height == stored.height == 24
    total = both.select(pl.sum_horizontal(PARTS).alias("total"))["total"]
    assert (total - both["published"]).abs().max() < 1e-6  # type: ignore[operator]
    # Following, bias, widening and the learned centre are part of what is explained: nothing is left over.
    assert rows["rest"].abs().max() < 1e-6 * rows["q50"].abs().max()  # type: ignore[operator]
    largest = rows.select(pl.col("recent_load", "calendar", "weather", "building").abs().max()).row(0, named=True)
    if node in ("m1", "m3"):
        assert largest["recent_load"] > 0.1
    if node == "m3":
        assert largest["weather"] == largest["building"] == 0
    if node == "m2":
        assert largest["calendar"] > 0
        assert largest["recent_load"] == largest["weather"] == largest["building"] == 0


@pytest.mark.parametrize(
    ("node", "day", "expected"),
    [
        pytest.param("m11", DAY, "Nothing was forecast for 'm11'. Near to it: m1", id="no such node"),
        pytest.param("m1", date(2020, 1, 1), "holds no forecast issued at 2019-12-31 00:00", id="no such day"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, node: str, day: date, expected: str) -> None:
    assert expected in explained(node, tmp_path / "x.parquet", day=day)


def test_rolling_back_restores_every_bit_of_what_following_had_made(published: Instance) -> None:
    before = published.lake.read(FORECASTS_LOAD).sort(FORECASTS_LOAD.key)
    registry = published.registry
    registry.promote(NAME, published.register(ConstantModel(1.2)), now=ISSUED, reason="a test", how="forced")
    other = FORECASTS_LOAD.conform(deliver(published).rows).sort(FORECASTS_LOAD.key)
    assert not other["q50"].equals(before["q50"])
    registry.rollback(NAME, now=ISSUED, reason="a test")
    again = FORECASTS_LOAD.conform(deliver(published).rows).sort(FORECASTS_LOAD.key)
    assert again.equals(before)
