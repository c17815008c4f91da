"""`energy profiles` as its user reads it, on a lake with planted profiles."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.cli.root import console
from energy_assets.contracts import (
    METERS,
    PROFILES_CENTROIDS,
    PROFILES_CLUSTERS,
    PROFILES_METERS,
    PROFILES_SHAPES,
    PROFILES_TRAITS,
)
from energy_assets.errors import ConfigError
from energy_assets.lake import Lake
from energy_assets.profiles.populations import assign, fit_populations
from energy_assets.profiles.vectors import vectors_of
from energy_assets.settings import Settings, load_settings
from energy_assets_tests.profiles.planted import AS_OF, planted


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(tmp_path))
    load_settings.cache_clear()
    yield tmp_path  # type: ignore[misc]
    load_settings.cache_clear()


def said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False, env={"COLUMNS": "200"})
    assert done.exit_code == 0
    return done.output


def fill(home: Path) -> None:
    shapes, traits = planted({"office": 14, "home": 10})
    traits = traits.with_columns(unusable_because=pl.when(pl.col("meter_id") == "office.013").then(pl.lit("no_energy")))
    vectors = vectors_of(shapes, traits)
    made = fit_populations(
        vectors, traits=traits, as_of_utc=AS_OF, clusters_before=PROFILES_CLUSTERS.empty(),
        centroids_before=PROFILES_CENTROIDS.empty(),
    )  # fmt: skip
    rows = assign(vectors, traits=traits, clusters=made.clusters, centroids=made.centroids)
    meters = traits.select(
        "meter_id", "site_id", "commodity", "direction", premise_id="meter_id", measure=pl.lit("interval_energy"),
        unit=pl.lit("kWh"), interval_minutes=pl.lit(60), source=pl.lit("test"),
    )  # fmt: skip
    lake = Lake.from_settings(Settings(home=home))
    for table, frame in (
        (METERS, METERS.conform(meters)), (PROFILES_SHAPES, shapes), (PROFILES_TRAITS, traits),
        (PROFILES_CLUSTERS, made.clusters), (PROFILES_CENTROIDS, made.centroids), (PROFILES_METERS, rows),
    ):  # fmt: skip
        lake.replace(table, frame)
    lake.close()


def test_list_and_show(home: Path) -> None:
    fill(home)
    listed = said("profiles", "list", "--members")
    assert "fitted on the year up to 2026-01-04" in listed
    assert "electricity.consumption.1" in listed
    assert "quiet weekends" in listed
    assert "1 without a cluster: no energy" in listed
    assert "home.003" in listed
    shown = said("profiles", "show", "home.003")
    assert "360 good days of 365" in shown
    assert "electricity.consumption.2" in shown
    assert "high in the evening" in shown
    assert "winter" in shown
    assert "Peers by cluster: home.000, home.001, home.002, home.004, home.005 and 4 more" in shown
    assert "No cluster: no energy." in said("profiles", "show", "office.013")
    with pytest.raises(ConfigError, match=r"Did you mean home\.001, office\.001"):
        said("profiles", "show", "001")


def test_lists_fit_a_narrow_terminal_and_cut_no_hour_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(home)
    monkeypatch.setattr(console, "width", 80)
    for words in (("profiles", "list"), ("profiles", "show", "home.003")):
        lines = said(*words).splitlines()
        assert max(map(len, lines)) <= 80
        assert not [line for line in lines if "…" in line]


def test_without_profiles_it_says_how_to_get_them(home: Path) -> None:
    with pytest.raises(ConfigError, match="no load profiles yet"):
        said("profiles", "list")
