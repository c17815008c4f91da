"""Commands of the quarantine: what was refused and why, and MQTT messages read again once their mapping is mended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from energy_assets.cli.root import app, console
from energy_assets.settings import load_settings

quarantine = typer.Typer(help="Rows that could not become readings.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")

SourceOption = Annotated[str | None, typer.Option(help="Name of one source; default: all.")]
ReasonOption = Annotated[str | None, typer.Option(help="One reason, as no_mapping; default: all.")]


@quarantine.command("list")
def list_quarantine(
    source: SourceOption = None,
    reason: ReasonOption = None,
    rows: Annotated[int, typer.Option(help="Examples shown of each source and reason.")] = 1,
) -> None:
    """Show how many rows were refused of each source, for what reason, with examples."""
    from rich.table import Table

    from energy_assets.lake import Lake
    from energy_assets.sql import Query

    found = Lake.from_settings(load_settings()).query(
        Query.from_file("energy_assets.messaging", "quarantine_shown", source=source, reason=reason, examples=rows)
    )
    if found.is_empty():
        asked = "".join(f" {word} {name}" for word, name in (("of", source), ("for", reason)) if name is not None)
        console.print(f"Nothing{asked} is in quarantine.", highlight=False)
        return
    table = Table("source", "reason", "rows", "newest, UTC", "example", title="Quarantine")
    for name, why, count, newest, examples in found.iter_rows():
        table.add_row(
            name, why, f"{count:,}", f"{newest:%Y-%m-%d %H:%M}", "\n".join(_shortened(each) for each in examples)
        )
    console.print(table)


@quarantine.command("replay")
def replay(source: SourceOption = None, reason: ReasonOption = None) -> None:
    """Read the refused MQTT messages again with their mappings as they are now."""
    from energy_assets.errors import ConfigError
    from energy_assets.lake import Lake
    from energy_assets.message_landing import replay_quarantine
    from energy_assets.readings.source import load_sources

    settings = load_settings()
    declared = [each for each in load_sources(settings.sources_folder) if each.kind == "mqtt"]
    wanted = [each for each in declared if source in (None, each.name)]
    if not wanted:
        names = ", ".join(each.name for each in declared) or "none"
        raise ConfigError(f"No source of MQTT messages is named {source!r}; declared are: {names}.")
    lake = Lake.from_settings(settings)
    for each in wanted:
        done = replay_quarantine(lake, each, reason=reason, now=datetime.now(UTC))
        if not done.rows:
            why = "" if reason is None else f" for {reason}"
            console.print(f"[bold]{each.name}[/]: nothing was refused{why}", highlight=False)
            continue
        console.print(
            f"[bold]{each.name}[/]: {done.rows:,} rows read again; of their messages {done.stored:,} readings stored, "
            f"{done.duplicate:,} duplicate, {done.quarantined:,} still refused, {done.ignored:,} ignored",
            soft_wrap=True,
        )


def _shortened(payload: str) -> str:
    from rich.markup import escape

    return escape(payload if len(payload) <= 160 else f"{payload[:157]}...")
