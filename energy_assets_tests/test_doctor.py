"""`energy doctor` on a platform in which one thing after another is wrong: each is named with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from energy_assets import ingestion
from energy_assets.contracts import Window
from energy_assets.doctor import Finding, diagnose, findings
from energy_assets.instance import dagster_home
from energy_assets.lake import Lake
from energy_assets.readings.source import Source, load_sources, save_source
from energy_assets.settings import Settings

DAY = date(2016, 6, 1)


class Home:
    """A home with one building's source, landed; files can be changed in between."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.now = datetime.now(UTC)
        self.folder = home / "gepiii"
        self.folder.mkdir(parents=True)
        (self.folder / "building_metadata.csv").write_text(
            "site_id,building_id,primary_use,square_feet,year_built,floor_count\n1,0,Education,7432,2008,\n"
        )
        lines = [f"0,0,{DAY} {hour:02d}:00:00,{100 + hour}" for hour in range(24)]
        self.land(lines)

    def land(self, lines: list[str], *, landed_at: datetime | None = None) -> None:
        (self.folder / "train.csv").write_text("building_id,meter,timestamp,meter_reading\n" + "\n".join(lines) + "\n")
        save_source(self.settings.sources_folder, Source(name="ashrae", kind="ashrae", path=self.folder))
        lake, sources = Lake.from_settings(self.settings), load_sources(self.settings.sources_folder)
        now = landed_at or self.now
        ingestion.register(lake, sources, now=now)
        window = Window.of_days(DAY - timedelta(days=1), DAY + timedelta(days=1))
        ingestion.land_all(lake, sources, window=window, now=now, message="test")
        lake.close()

    def found(self, start: str, *, now: datetime | None = None) -> list[Finding]:
        """Return the findings that begin so."""
        return [each for each in findings(self.settings, now=now or self.now) if each.what.startswith(start)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    return Home(tmp_path)


def levels(found: list[Finding]) -> list[str]:
    return [each.level for each in found]


def test_a_landed_source_is_well_and_what_is_missing_has_a_remedy(home: Home) -> None:
    everything = list(findings(home.settings, now=home.now))
    assert (
        levels([each for each in everything if each.what.startswith(("Lake", "Readings", "Clock", "MLflow"))])
        == ["good"] * 4
    )
    assert "24 rows in = 24 stored + 0 duplicate + 0 quarantined" in home.found("Readings")[0].what
    assert levels(home.found("Model load-electricity-60min has no champion")) == ["trouble"]
    assert levels(home.found("Nightly run: there was none")) == ["trouble"]
    assert all(each.remedy for each in everything if each.level != "good")


def test_an_old_feed_is_a_notice_and_a_fresh_one_is_good(home: Home) -> None:
    assert levels(home.found("Source ashrae")) == ["notice"]
    fresh = datetime(2016, 6, 2, 12, tzinfo=UTC)
    assert "h ago" in home.found("Source ashrae", now=fresh)[0].what
    assert levels(home.found("Source ashrae", now=fresh)) == ["good"]


def test_a_source_that_went_away(home: Home) -> None:
    home.folder.rename(home.folder.with_name("elsewhere"))
    gone = home.found("Source ashrae")[0]
    assert (gone.level, gone.what) == ("trouble", f"Source ashrae: {home.folder} does not exist")
    assert "ashrae.toml" in str(gone.remedy)


def test_a_home_that_moved_has_its_sources_and_a_mapping_that_went_is_named(tmp_path: Path) -> None:
    old = Home(tmp_path / "old")
    outside = tmp_path / "mapping.toml"
    declared = old.settings.sources_folder / "ashrae.toml"
    declared.write_text(declared.read_text().replace("name =", f'mapping = "{outside}"\nname ='))
    (tmp_path / "old").rename(tmp_path / "new")
    settings = Settings(home=tmp_path / "new")
    found = [each for each in findings(settings, now=old.now) if each.what.startswith("Source ashrae")]
    assert [each.what for each in found if each.level == "trouble"] == [
        f"Source ashrae: mapping {outside} does not exist"
    ]


def test_refused_rows_are_shown_by_reason_with_an_example(home: Home) -> None:
    lines = [f"0,0,{DAY} {hour:02d}:00:00,{100 + hour}" for hour in range(23)] + [f"0,0,{DAY} 23:00:00,many"]
    home.land(lines)
    refused = home.found("Quarantine")
    assert levels(refused) == ["notice"]
    assert "1 rows of ashrae (4.2%)" in refused[0].what
    assert "many" in refused[0].what
    assert "readings.quarantine" in str(refused[0].remedy)


def test_a_clock_that_went_back(home: Home) -> None:
    assert levels(home.found("Clock", now=home.now - timedelta(days=1))) == ["trouble", "trouble"]  # disk and lake


def test_the_age_of_the_last_night_and_a_schedule_that_is_off(home: Home) -> None:
    assert levels(home.found("Schedules")) == ["notice"]

    @dg.op
    def nothing() -> None: ...

    @dg.job(name="delivery")
    def delivery() -> None:
        nothing()

    with dg.DagsterInstance.from_config(str(dagster_home(home.settings))) as instance:
        assert delivery.execute_in_process(instance=instance).success
    assert levels(home.found("Nightly run")) == ["good"]
    old = home.found("Nightly run", now=home.now + timedelta(hours=40))[0]
    assert old.level == "trouble"
    assert "40 h old" in old.what


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        pytest.param({"lake_catalog": "postgres:host=127.0.0.1 port=1 dbname=lake"}, "Lake: ", id="no postgres"),
        pytest.param({"mlflow_tracking_uri": "http://127.0.0.1:1"}, "MLflow: ", id="no mlflow"),
    ],
)
def test_a_service_that_does_not_answer(home: Home, settings: dict[str, str], start: str) -> None:
    home.settings = Settings(home=home.settings.home, **settings)  # type: ignore[arg-type]
    assert levels(home.found(start)) == ["trouble"]


def test_a_damaged_catalog_is_named(home: Home) -> None:
    Path(home.settings.catalog.removeprefix("sqlite:")).write_bytes(b"no database" * 100)
    assert levels(home.found("Lake: ")) == ["trouble"]
    assert "docs/operations.md" in str(home.found("Lake: ")[0].remedy)


def test_an_empty_home_is_left_as_it_is(tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    assert diagnose(Settings(home=tmp_path / "none"), now=datetime.now(UTC), console=console) == 1
    assert "energy run" in console.export_text()
    assert not (tmp_path / "none").exists()
