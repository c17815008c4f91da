"""Settings from variables and from energy.toml, and what a person reads when one of them is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from energy_assets.errors import ConfigError
from energy_assets.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [each for each in os.environ if each.startswith("ENERGY_ASSETS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ENERGY_ASSETS_HOME", str(tmp_path))
    load_settings.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def forgotten() -> None:
    yield  # type: ignore[misc]
    load_settings.cache_clear()


def test_the_file_in_the_home_is_read_and_a_variable_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "energy.toml").write_text('timezone = "Europe/Berlin"\nthreads = 1\n')
    monkeypatch.setenv("ENERGY_ASSETS_THREADS", "2")
    settings = load_settings()
    assert (settings.timezone, settings.threads) == ("Europe/Berlin", 2)


def test_a_file_elsewhere_may_name_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "site.toml"
    file.write_text(f'home = "{tmp_path / "lake"}"\nmemory_limit_gb = 4\n')
    monkeypatch.delenv("ENERGY_ASSETS_HOME")
    monkeypatch.setenv("ENERGY_ASSETS_CONFIG", str(file))
    assert load_settings().home == tmp_path / "lake"
    assert load_settings().memory_limit_gb == 4


def test_a_home_given_as_argument_reads_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "energy.toml").write_text("dagster_port = 3100\n")
    assert Settings(home=tmp_path / "other").dagster_port == 3100


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("nightly_corn = '30 2 * * *'", "nightly_corn in {file} is no setting. Did you mean nightly_cron?"),
        pytest.param("qqq = 1", "qqq in {file} is no setting. The settings are: "),
        pytest.param("dagster_port = 0", "{file}: dagster_port is 0: Input should be greater than or equal to 1."),
        pytest.param("training_effort = 'fast'", "training_effort is 'fast': Input should be 'quick' or 'full'."),
        pytest.param("timezone = 'Berlin'", "timezone is 'Berlin': is no time zone; use UTC or an IANA name"),
        pytest.param("nightly_cron = 'at noon'", "nightly_cron is 'at noon': is no cron line"),
        pytest.param("first_day = '1.1.2020'", "first_day is '1.1.2020': Invalid isoformat string"),
        pytest.param("timezone = UTC", "{file} is no valid TOML: Invalid value (at line 1, column 12)."),
        pytest.param("threads = 'two'", "Correct it, or leave it out for the default 2."),
    ],
)
def test_a_broken_key_is_named_with_its_file_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "energy.toml"
    file.write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert expected.format(file=file) in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        pytest.param("TIMEZON", "UTC", "ENERGY_ASSETS_TIMEZON in the environment is no setting. Did you mean "),
        pytest.param("THREADS", "0", "ENERGY_ASSETS_THREADS is '0': Input should be greater than or equal to 1."),
        pytest.param("CONFIG", "/nowhere.toml", "ENERGY_ASSETS_CONFIG names /nowhere.toml, which is no file"),
    ],
)
def test_a_broken_variable_is_named(variable: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ENERGY_ASSETS_{variable}", value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value).startswith(expected)


def test_the_folder_of_the_real_sets_is_a_known_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENERGY_ASSETS_REAL_DATA", str(tmp_path))
    assert load_settings().real_data == tmp_path


def test_a_secret_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_ASSETS_MQTT_PASSWORD", "hunter2")
    assert "hunter2" not in repr(load_settings())


def test_the_command_says_it_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "energy.toml").write_text("nightly_corn = 1\n")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "energy"), "nightly"],
        env={**os.environ, "ENERGY_ASSETS_HOME": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "Did you mean nightly_cron?" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_every_setting_stands_in_the_documentation() -> None:
    text = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        if name != "real_data":
            assert any(
                line.startswith(f"| `{name}` |") and str(field.description) in line for line in text.splitlines()
            )
