"""Commands of live meters: simulate them, and count what became of their messages."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.errors import ConfigError
from energy_assets.messaging.formats import FORMATS
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    from energy_assets.messaging.ledger_file import LedgerFile
    from energy_assets.messaging.sending import Sender
    from energy_assets.messaging.simulation import Plan, Round


@app.command()
def simulate(
    meters: Annotated[int, typer.Option(min=1, max=100_000, help="How many meters.")] = 20,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two messages of a meter.")] = 60.0,
    message_format: Annotated[
        str, typer.Option("--format", help=f"What they speak, as the built-in mapping reads it: {', '.join(FORMATS)}.")
    ] = "system_003",
    rounds: Annotated[int | None, typer.Option(min=1, help="Messages of each meter. Default: until stopped.")] = None,
    as_fast: Annotated[
        bool, typer.Option("--as-fast", help="As fast as the broker takes it, instead of in real time.")
    ] = False,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"], help="First instant, UTC.")
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that a round's messages are spread over. Default: the interval."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed sends the same.")] = 1,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Share of messages, as drop=0.01; drop, duplicate, reorder, late, reset, skew, garbage."),
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="Parquet file that tells what was sent.")] = None,
    client_id: Annotated[str, typer.Option(help="Name of the connection at the broker.")] = "simulator",
) -> None:
    """Send what households would over MQTT, live or in haste, with faults on demand."""
    from energy_assets.messaging.endpoint import endpoint_of
    from energy_assets.messaging.ledger_file import LedgerFile
    from energy_assets.messaging.sending import Sender
    from energy_assets.messaging.simulation import Plan

    if rounds is None and as_fast:
        raise ConfigError("As fast as the broker takes it has no end of its own: give --rounds.")
    settings = load_settings()
    plan = Plan(
        meters=meters,
        message_format=message_format,
        first_at=(start or datetime.now(UTC)).replace(tzinfo=UTC),
        interval=timedelta(seconds=interval),
        rounds=rounds,
        seed=seed,
        faults=dict(_share(each) for each in fault or []),
    )
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    spread_s = interval if within is None else min(within, interval)
    sender = Sender(
        endpoint_of(settings), client_id=client_id, version=settings.mqtt_version, is_over=lambda: bool(stopped)
    )
    with LedgerFile(ledger) as book, sender:
        sent, seconds = _play(plan, sender=sender, book=book, spread_s=None if as_fast else spread_s, stopped=stopped)
    console.print(
        f"{sent:,} messages of {meters:,} meters sent in {seconds:,.1f} s ({sent / max(seconds, 1e-9):,.0f}/s), "
        f"{sender.acknowledged:,} acknowledged",
        highlight=False,
    )
    if ledger is not None:
        console.print(f"What was sent stands in {ledger}. Count it: energy account {ledger} --source NAME")


def _play(
    plan: Plan, *, sender: Sender, book: LedgerFile, spread_s: float | None, stopped: Sequence[int]
) -> tuple[int, float]:
    """Send the rounds of a plan until a signal has stopped them; return how many messages went and the seconds.

    A round's messages are spread over `spread_s` from when it is due; None: as fast as the broker takes them.
    """
    from energy_assets.messaging.simulation import rounds

    began, sent = 0.0, 0
    for one in rounds(plan):
        began = began or time.monotonic()  # the first round comes when a month of loads was made
        if spread_s is None:
            gone = sender.send(one.messages)
        else:
            due, gone = began + (one.at - plan.first_at) / timedelta(seconds=1), 0
            for message in one.messages:
                sender.idle(due + gone * spread_s / len(one.messages) - time.monotonic())
                gone += sender.send([message])
        sent += gone
        book.add(_of(one, gone))
        if stopped:
            break
    sender.settle(within_s=60)
    book.forget([*sender.under_way, *sender.refused])
    return sent, time.monotonic() - began


@app.command()
def account(
    ledger: Annotated[Path, typer.Argument(help="Ledger that `energy simulate --ledger` wrote.")],
    source: Annotated[str, typer.Option(help="Source that landed the messages.")],
) -> None:
    """Count what became of simulated messages: each acknowledged one must be a reading in the lake."""
    import polars as pl

    from energy_assets.lake import Lake
    from energy_assets.messaging.ledger_file import read_ledger
    from energy_assets.messaging.simulation import account_of
    from energy_assets.sql import Query

    rows = Query(
        text="SELECT meter_id, starts_at_utc, value FROM readings.raw WHERE source = $source",
        parameters={"source": source},
    )
    stored = Lake.from_settings(load_settings()).query(rows)
    counts = account_of(
        read_ledger(ledger), stored.with_columns(meter=pl.col("meter_id").str.strip_prefix(f"{source}."))
    )
    for name, count in counts.items():
        console.print(f"{name:<10}{count:>12,}", highlight=False)
    if counts["lost"]:
        console.print("[red]Messages were acknowledged and are not in the lake.[/] Is everything landed yet?")
        raise typer.Exit(1)


def _of(one: Round, gone: int) -> list[dict[str, object]]:
    """Return the rows of a round of which only the first messages were sent before it was over."""
    if gone == len(one.messages):
        return one.made
    numbers = {message.number for message in one.messages[:gone]}
    return [row for row in one.made if row["number"] in numbers or not row["copies"]]


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise ConfigError(f"The fault {text!r} is not understood: write name=share, as drop=0.01.") from None
