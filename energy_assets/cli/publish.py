"""Commands that speak over MQTT: publish what the platform knows, and check what others publish."""

from __future__ import annotations

import logging
import signal
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.settings import load_settings


@app.command()
def publish(
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks at the lake.")] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Publish what changed, and end.")] = False,
    zone: Annotated[
        str | None, typer.Option(help="Zone of the bare price on energy/price. Default: the first.")
    ] = None,
    client_id: Annotated[str, typer.Option(help="Name of the connection at the broker.")] = "publisher",
    status: Annotated[
        bool, typer.Option("--status", help="Say how the publisher does; exit code 1 if not well.")
    ] = False,
) -> None:
    """Publish energy, forecasts and prices over MQTT at QoS 1, retained; of each only what changed."""
    from energy_assets.lake import Lake
    from energy_assets.messaging.endpoint import endpoint_of
    from energy_assets.messaging.sending import Sender
    from energy_assets.publishing import Memory, Publisher, troubles_of

    settings = load_settings()
    health_file = settings.home / "mqtt" / "publisher.json"
    if status:
        trouble = troubles_of(health_file, now=datetime.now(UTC))
        console.print(trouble or "The publisher is well.", highlight=False, soft_wrap=True)
        raise typer.Exit(1 if trouble else 0)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s")
    stopped: list[int] = []
    publisher = Publisher(
        lake=Lake.from_settings(settings),
        memory=Memory(settings.home / "mqtt" / "published.json"),
        connect=lambda: Sender(
            endpoint_of(settings), client_id=client_id, version=settings.mqtt_version, is_over=lambda: bool(stopped)
        ),
        health_file=health_file,
        zone=zone,
    )
    if once:
        console.print(f"{publisher.publish_once(now=datetime.now(UTC)):,} messages published", highlight=False)
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    for at, count in publisher.publish_on(
        every_s=every, clock=lambda: datetime.now(UTC), is_over=lambda: bool(stopped)
    ):
        console.print(f"{at:%Y-%m-%d %H:%M:%S}Z  {count:,} messages published", highlight=False)


@app.command()
def check(
    topic: Annotated[list[str] | None, typer.Argument(help="Topic filters. Default: everything.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long. Default: until stopped.")] = None,
    mapping: Annotated[str | None, typer.Option(help="Mapping that decodes; default: the built-in that fits.")] = None,
) -> None:
    """Watch what is on the broker: time, topic, and what a mapping reads in each message, with its unit."""
    from energy_assets.messaging.endpoint import endpoint_of
    from energy_assets.messaging.watching import watch

    settings = load_settings()
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    ends_at = None if seconds is None else time.monotonic() + seconds
    seen = 0
    for line in watch(
        endpoint_of(settings),
        filters=topic or ["#"],
        version=settings.mqtt_version,
        mapping=mapping,
        is_over=lambda: bool(stopped) or (ends_at is not None and time.monotonic() >= ends_at),
    ):
        seen += 1
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{seen:,} messages", highlight=False)
