"""The live side of `energy up`: what it brings, and where it keeps its hands off."""

from __future__ import annotations

from pathlib import Path

import pytest

from energy_assets.live import SOURCE, environment_of, live_services
from energy_assets.readings.source import load_source, load_sources
from energy_assets.settings import Settings


def made_home(folder: Path, *, has_community: bool) -> Path:
    if has_community:
        (folder / "community").mkdir()
    return folder


@pytest.mark.parametrize(
    ("settings", "has_community", "names"),
    [
        pytest.param({}, True, ["broker", "recorder", "publisher", "simulator"], id="beside a generated community"),
        pytest.param({}, False, ["broker", "recorder", "publisher"], id="no meters beside people's own data"),
        pytest.param({"live_meters": 0}, True, ["broker", "recorder", "publisher"], id="no meters wanted"),
        pytest.param({"broker_port": 0}, True, [], id="no broker wanted"),
        pytest.param({"mqtt_broker": "mqtt://192.0.2.1"}, True, [], id="a broker of the user's own"),
        pytest.param({"mqtt_broker": "mqtt://127.0.0.1:1883"}, True, [], id="even the default one, where it is named"),
    ],
)
def test_what_energy_up_brings(
    tmp_path: Path, settings: dict[str, object], has_community: bool, names: list[str]
) -> None:
    home = made_home(tmp_path, has_community=has_community)
    chosen = Settings.model_validate({"home": home} | settings)
    assert [service.name for service in live_services(chosen)] == names
    declared = [source.name for source in load_sources(chosen.sources_folder)]
    assert declared == ([SOURCE] if "simulator" in names else [])
    expected = {"ENERGY_ASSETS_MQTT_BROKER": "mqtt://127.0.0.1:1883", "ENERGY_ASSETS_MQTT_VERSION": "3.1.1"}
    assert environment_of(chosen) == (expected if names else {})


def test_a_source_that_was_mended_by_hand_stays(tmp_path: Path) -> None:
    settings = Settings(home=made_home(tmp_path, has_community=True), live_meters=12)
    live_services(settings)
    path = settings.sources_folder / f"{SOURCE}.toml"
    path.write_text(path.read_text().replace("reporting_delay_minutes = 0", "reporting_delay_minutes = 5"))
    live_services(settings)
    assert load_source(path).reporting_delay_minutes == 5
