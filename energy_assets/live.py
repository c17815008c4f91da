"""The live side of `energy up`: an embedded broker, the recorder and the publisher, and simulated meters to watch.

Only on the embedded broker, which the loopback alone can reach: on a broker of the user's own nothing is recorded or
published unless he starts `energy record` and `energy publish` himself. Meters are simulated only on a platform that
`energy run` made of a generated community, never beside somebody's own data.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from energy_assets.errors import SourceError
from energy_assets.messaging.broker import VERSION, broker_command
from energy_assets.messaging.health import health_path, read_health
from energy_assets.settings import Settings
from energy_assets.supervisor import Service

SOURCE = "live"
TOPIC = "energy/meters/#"
_FORMAT = "system_003"
_CLIENT = "recorder"
_PUBLISHED_EVERY_S = 60
# All meters speak at once, so that they cost one segment and one landing each time, and others' messages wait for none.
_INTERVAL_S, _SPOKEN_WITHIN_S, _SEAL_AFTER_S = 300, 2, 5


def has_broker(settings: Settings) -> bool:
    """Return whether `energy up` brings a broker: where none is named, and a port is given."""
    return settings.broker_port > 0 and "mqtt_broker" not in settings.model_fields_set


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables by which the platform's processes find the embedded broker; none without one."""
    if not has_broker(settings):
        return {}
    return {
        "ENERGY_ASSETS_MQTT_BROKER": f"mqtt://{settings.host}:{settings.broker_port}",
        "ENERGY_ASSETS_MQTT_VERSION": VERSION,
    }


def live_services(settings: Settings) -> list[Service]:
    """Return broker, recorder, publisher and simulator, as far as they are wanted; declare the source of the last."""
    if not has_broker(settings):
        return []
    energy = str(Path(sys.executable).parent / "energy")
    broker = Service(
        name="broker",
        command=broker_command(settings.home / "broker", host=settings.host, port=settings.broker_port),
        port=settings.broker_port,
    )
    recorder = [energy, "record", "--client-id", _CLIENT, "--topic", TOPIC, "--seal-after", str(_SEAL_AFTER_S)]
    services = [
        broker,
        Service(name="recorder", command=recorder, is_ready=partial(is_recording, settings.spool_folder)),
        Service(name="publisher", command=[energy, "publish", "--every", str(_PUBLISHED_EVERY_S)]),
    ]
    if settings.live_meters and (settings.home / "community").is_dir():
        _declare(settings)
        pace = ["--interval", str(_INTERVAL_S), "--within", str(_SPOKEN_WITHIN_S)]
        simulator = ["simulate", "--meters", str(settings.live_meters), *pace, "--format", _FORMAT]
        # Last: what is sent before the recorder has a session is nobody's.
        services.append(Service(name="simulator", command=[energy, *simulator], is_last=True))
    return services


def is_recording(folder: Path, process_id: int) -> bool:
    """Return whether the recorder of this process has its session; a spool that fails heals by itself."""
    try:
        health = read_health(health_path(folder, _CLIENT))
    except SourceError:
        return False
    return health.process_id == process_id and health.state in {"recording", "spool failing"}


def _declare(settings: Settings) -> None:
    from energy_assets.messaging.payloads import mapping_file
    from energy_assets.readings.source import Source, save_source

    if not (settings.sources_folder / f"{SOURCE}.toml").exists():
        # The recorder makes the folder too; a source whose folder is missing would be reported as broken till then.
        settings.spool_folder.mkdir(parents=True, exist_ok=True)
        mapping = mapping_file(Path(_FORMAT))
        save_source(
            settings.sources_folder,
            Source(name=SOURCE, kind="mqtt", path=settings.spool_folder, mapping=mapping),
        )
