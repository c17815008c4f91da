"""The command `energy record`: the recorder as a process, and what it says about itself."""

from __future__ import annotations

import gc
import logging
import re
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.errors import ConfigError
from energy_assets.settings import load_settings

_CLIENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@app.command()
def record(
    topic: Annotated[list[str] | None, typer.Option(help="Topic filter; repeat for more. Default: everything.")] = None,
    client_id: Annotated[
        str, typer.Option(help="Names the session at the broker and the segments; one recorder each.")
    ] = "recorder",
    share: Annotated[
        str | None, typer.Option(help="Group of a shared subscription: its recorders divide the messages.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where segments go. Default: the spool in the home.")] = None,
    seal_after: Annotated[float, typer.Option(min=0.1, help="Seconds until an open segment can be ingested.")] = 10.0,
    receive_maximum: Annotated[
        int, typer.Option(min=1, max=65_535, help="Messages that an MQTT 5 broker may have under way to us.")
    ] = 10_000,
    status: Annotated[
        bool, typer.Option("--status", help="Say how the recorder does; exit code 1 if not well.")
    ] = False,
) -> None:
    """Keep every MQTT message on disk, and acknowledge it only then. Broker and secrets come from the settings."""
    from energy_assets.messaging.endpoint import endpoint_of
    from energy_assets.messaging.filters import checked_filter
    from energy_assets.messaging.recorder import Recorder, RecorderOptions
    from energy_assets.messaging.spool import SealRule

    settings = load_settings()
    spool = folder or settings.spool_folder
    if not _CLIENT_ID.fullmatch(client_id):
        raise ConfigError(f"The client identifier {client_id!r} names files: use letters, digits, `.`, `_` and `-`.")
    if status:
        raise typer.Exit(_print_status(spool, client_id))
    prefix = "" if share is None else f"$share/{_checked_group(share)}/"
    recorder = Recorder(
        endpoint_of(settings),
        RecorderOptions(
            client_id=client_id,
            filters=tuple(prefix + checked_filter(each) for each in topic or ["#"]),
            folder=spool,
            version=settings.mqtt_version,
            receive_maximum=receive_maximum,
            seal=SealRule(after_s=seal_after),
        ),
    )
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: recorder.stop())
    # The loop makes many short-lived tuples and no cycles; looking for cycles at the default pace costs a tenth.
    gc.freeze()
    gc.set_threshold(200_000)
    recorder.run()


def _checked_group(share: str) -> str:
    if not share or set(share) & set("/+#"):
        raise ConfigError(f"The group {share!r} of a shared subscription may hold no `/`, `+` or `#`.")
    return share


def _print_status(folder: Path, client_id: str) -> int:
    from energy_assets.messaging.health import health_path, is_well, read_health, rendered

    health = read_health(health_path(folder, client_id))
    now = datetime.now(UTC)
    console.print(rendered(health, now=now), highlight=False, markup=False, soft_wrap=True)
    return 0 if is_well(health, now=now) else 1
