"""`energy models` as a person uses it: list, compare, promote on evidence or by force, roll back, read the history."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from energy_assets.cli import app
from energy_assets.contracts import FORECASTS_LOAD, METERS, PREMISES, READINGS_INTERVAL, SITES
from energy_assets.forecasts.champions import champions_of
from energy_assets.forecasts.daily import forecast_delivery
from energy_assets.models.registry import UnresolvedModelError
from energy_assets.settings import load_settings
from energy_assets_tests.features.frames import START
from energy_assets_tests.models.constant_model import ConstantModel
from energy_assets_tests.models.instance import NAME, Instance, open_instance


@pytest.fixture(scope="module")
def instance(home: Path) -> Iterator[Instance]:
    """Return an instance with a constant as champion 1, fitted trees as 2, a worse constant as challenger 3."""
    made = open_instance(home)
    made.register(made.fitted())
    made.register(ConstantModel(1.3))
    yield made
    made.lake.close()


@pytest.fixture(autouse=True)
def as_the_home(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(instance.settings.home))
    monkeypatch.setenv("ENERGY_ASSETS_ACTUAL_WEATHER_AS_FORECAST", "true")
    monkeypatch.setenv("COLUMNS", "200")
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def energy(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", *words])
    said = str(done.exception) if done.exception and not isinstance(done.exception, SystemExit) else ""
    return done.exit_code, " ".join((done.output + said).split())


def tonight(instance: Instance) -> pl.DataFrame:
    """The rows of `forecasts.load` that the champion of now makes for one issue."""
    issued = START + timedelta(days=50)
    lake = instance.lake
    meters = lake.read(METERS)
    return forecast_delivery(
        instance.features([issued]),
        readings=lake.read(READINGS_INTERVAL),
        meters=meters,
        premises=lake.read(PREMISES),
        sites=lake.read(SITES),
        champions=champions_of(instance.registry, meters=meters),
        issued_at_utc=issued,
        features_hash="x",
        seed=1,
    ).rows.drop("model_version")


def test_the_whole_life_of_a_champion(instance: Instance) -> None:
    code, said = energy("compare", NAME, "--version", "2")
    assert code == 0
    assert "✓ champion: skill in pinball against version 1" in said
    assert "It may take over: energy models promote load-electricity-60min 2" in said
    assert instance.registry.version(NAME) == 1  # comparing changes nothing

    code, said = energy("promote", NAME, "2", "--reason", "better since autumn")
    assert code == 0
    assert "version 2 is champion (by hand), after version 1, kept as previous_champion" in said
    before = tonight(instance)

    code, said = energy("promote", NAME, "3", "--reason", "I like it")
    assert code == 1
    assert "it is worse" in said
    assert "Not promoted" in said
    assert instance.registry.version(NAME) == 2

    code, said = energy("promote", NAME, "3", "--reason", "I insist", "--force")
    assert code == 0
    assert "version 3 is champion (forced)" in said
    assert not tonight(instance).equals(before)

    code, said = energy("rollback", NAME, "--reason", "it was worse")
    assert code == 0
    assert "version 2 is champion again, after version 3" in said
    assert tonight(instance).equals(before)  # every bit of every row

    code, said = energy("history", NAME)
    for part in ("first", "1 → 2", "by hand", "2 → 3", "forced", "I insist", "3 → 2", "rollback", "it was worse"):
        assert part in said
    record = instance.registry.promotions(NAME)
    assert [each.how for each in record] == ["first", "by hand", "forced", "rollback"]
    assert record[2].figures["compared_with"] == "version 2"  # what spoke against it stays on record
    assert "not_promoted_because" not in instance.registry.versions(NAME)[1].tags

    code, said = energy("list")
    assert code == 0
    assert "8,760 rows of 2 meters" in said
    assert "it was worse" in said


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        pytest.param(("list", "load-x"), 1, "No model 'load-x'; the models are load-electricity", id="list unknown"),
        pytest.param(("history", "load-x"), 1, "No model 'load-x'; the models are load-elec", id="history of unknown"),
        pytest.param(("compare", "load-x"), 1, "No model 'load-x'; the models are load-elec", id="compare an unknown"),
        pytest.param(("promote", "load-x", "1", "--reason", "x"), 1, "No model 'load-x'; the", id="promote an unknown"),
        pytest.param(
            ("train", "load-x"), 1, "No meter needs load-x; they need load-electricity", id="train an unknown"
        ),
        pytest.param(("compare", NAME, "--version", "9"), 1, "has no version 9", id="unknown version"),
        pytest.param(("promote", NAME, "9", "--reason", "x"), 1, "has no version 9", id="promote an unknown version"),
        pytest.param(("promote", NAME, "2"), 2, "--reason", id="a reason is wanted"),
        pytest.param(
            ("rollback", "load-x", "--reason", "x"), 1, "No model 'load-x'; the models", id="roll back unknown"
        ),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], code: int, expected: str) -> None:
    found, said = energy(*words)
    assert found == code, said
    assert expected in said


def test_the_champion_is_compared_with_the_baselines(instance: Instance) -> None:
    champion = instance.registry.version(NAME)
    code, said = energy("compare", NAME, "--version", str(champion))
    assert code == 0
    for baseline in ("last_week", "mean_4_weeks", "analogue"):
        assert baseline in said


def test_without_days_that_neither_has_seen_only_force_promotes(
    template_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = open_instance(Path(shutil.copytree(template_home, tmp_path / "home")))
    made.register(ConstantModel(1.1), learned_until=START + timedelta(days=400))
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(made.settings.home))
    load_settings.cache_clear()
    code, said = energy("promote", NAME, "2", "--reason", "x")
    assert code == 1
    assert "No evidence" in said
    assert energy("promote", NAME, "2", "--reason", "x", "--force")[0] == 0
    assert made.registry.promotions(NAME)[-1].figures == {}
    made.lake.close()


def test_a_version_that_does_not_load_is_named_and_never_takes_over(
    template_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Champion 1 gives way to 2; then the files of 1 are torn, as code of another day would find them."""
    made = open_instance(Path(shutil.copytree(template_home, tmp_path / "home")))
    made.register(ConstantModel(1.1))
    made.registry.promote(NAME, 2, now=START, reason="a test")
    shutil.rmtree(made.registry.cache_folder)  # type: ignore[arg-type]
    first = min(made.registry.artifact_folder.rglob("variants.zip"), key=lambda path: path.stat().st_mtime_ns)  # type: ignore[union-attr]
    first.write_bytes(first.read_bytes()[:-30])
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(made.settings.home))
    load_settings.cache_clear()
    for words in (("rollback", NAME, "--reason", "x"), ("promote", NAME, "1", "--reason", "x", "--force")):
        code, said = energy(*words)
        assert code == 1
        assert "is not the one that was registered" in said
    assert made.registry.version(NAME) == 2
    code, said = energy("list", NAME)
    assert code == 0
    assert "✗ model_broken: The archive of load-electricity-60min version 1" in said
    assert "`energy models train load-electricity-60min` makes another" in said
    made.lake.close()


def test_prune_leaves_what_is_new_named_or_behind_a_forecast(instance: Instance) -> None:
    """Champion is 2, before it was 3; 4 made a stored forecast, 6 is the newest: 1 and 5 may go."""
    for level in (1.31, 1.32, 1.33):
        instance.register(ConstantModel(level))
    rows = tonight(instance).with_columns(model_version=pl.lit(f"{NAME}/4"))
    instance.lake.replace(FORECASTS_LOAD, FORECASTS_LOAD.conform(rows))
    issued = rows["issued_at_utc"][0]
    age = (datetime.now(UTC) - issued).days + 2
    code, said = energy("prune", "--keep", "1", "--days", str(age), "--dry-run")
    assert code == 0
    assert "2 versions would be deleted" in said
    artifacts = list(instance.registry.artifact_folder.rglob("*.zip"))
    assert [each.version for each in instance.registry.versions(NAME)] == [6, 5, 4, 3, 2, 1]
    code, said = energy("prune", "--keep", "1", "--days", str(age))
    assert code == 0
    assert f"{NAME} version 5" in said
    assert "2 versions are deleted" in said
    kept = [each.version for each in instance.registry.versions(NAME)]
    assert kept == [6, 4, 3, 2]  # the newest, a forecast's, the previous champion, the champion
    assert len(list(instance.registry.artifact_folder.rglob("*.zip"))) < len(artifacts)
    assert instance.registry.promotions(NAME)[0].how == "first"
    with pytest.raises(UnresolvedModelError, match="has no version 5"):
        instance.registry.load(NAME, version=5)
    assert instance.registry.load(NAME, version=4).version == 4
