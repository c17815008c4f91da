"""Commands on anomalies: detect on anybody's readings, without an instance; and the events of the platform's own."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer

from energy_assets.attention import attention_page, blocks
from energy_assets.cli.anomaly_pages import drawn, facts, listed, minute
from energy_assets.cli.root import app, console
from energy_assets.contracts import ANOMALIES_EVENTS, ANOMALIES_FEEDBACK, ANOMALIES_FLAGS, ANOMALIES_RANKING, Window
from energy_assets.settings import load_settings

if TYPE_CHECKING:
    from energy_assets.lake import Lake

anomalies = typer.Typer(help="Events that people act on: what is odd, why, what it costs.", no_args_is_help=True)
app.add_typer(anomalies, name="anomalies")

Ids = Annotated[list[str], typer.Argument(help="Events, by their id or its beginning.")]
Note = Annotated[str | None, typer.Option(help="Why, in your words.")]
Author = Annotated[str | None, typer.Option(help="Who says so; default: your login name.")]


@app.command()
def detect(
    readings: Annotated[
        Path, typer.Option(help="CSV or Parquet: meter_id, starts_at_utc, energy_kwh (null = missing).")
    ],
    flags: Annotated[Path, typer.Option(help="Where the flags go.")],
    events: Annotated[Path, typer.Option(help="Where the events go.")],
    weather: Annotated[
        Path | None, typer.Option(help="Weather: starts_at_utc, temperature_c, perhaps site_id.")
    ] = None,
    meters: Annotated[Path | None, typer.Option(help="What is known of the meters: meter_id, site_id, …")] = None,
    scores: Annotated[Path | None, typer.Option(help="Where the score of every slot goes.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where a JSON report goes.")] = None,
    timezone: Annotated[str, typer.Option(help="IANA zone of meters that do not say theirs.")] = "UTC",
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 country, for holidays.")] = None,
) -> None:
    """Find anomalies in your own readings, without an instance."""
    from energy_assets.anomalies.detect import detect_files

    found = detect_files(
        readings,
        flags_path=flags,
        events_path=events,
        scores_path=scores,
        report_path=report,
        weather_path=weather,
        meters_path=meters,
        timezone=timezone,
        country_code=country,
    )
    for note in found.notes:
        console.print(f"[yellow]![/] {note}", highlight=False, soft_wrap=True)
    alerts = found.events.filter("is_alert")
    console.print(
        f"{found.flags.height:,} flags in {flags}, {found.events.height:,} events in {events}; "
        f"{alerts.height:,} of them ask for attention.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if alerts.height:
        console.print("\n[bold]The strongest[/]")
        console.print(blocks(alerts.sort("score", "event_id", descending=True).head(10)))


@anomalies.command("list")
def list_events(
    everything: Annotated[
        bool, typer.Option("--all", help="Also what asks for no attention, and what is taken care of.")
    ] = False,
    site: Annotated[str | None, typer.Option(help="Only of this site.")] = None,
    meter: Annotated[str | None, typer.Option(help="Only of this meter.")] = None,
    state: Annotated[str | None, typer.Option(help="Only open, closed, acknowledged, false or expected ones.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How far back, from the newest event.")] = 14,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 15,
) -> None:
    """Show what asks for attention: what is new, what goes on, what is over; the gravest on top, with its evidence."""
    from energy_assets.defs.anomaly_events import by_gravity

    where = {name: value for name, value in {"site_id": site, "meter_id": meter, "state": state}.items() if value}
    with _lake() as lake:
        found = lake.read(ANOMALIES_EVENTS, where=where)
        ranking = lake.read(ANOMALIES_RANKING)
    if found.is_empty():
        console.print("No event matches." if where else "No events yet: `energy nightly` makes them.")
        return
    newest: datetime = found["last_seen_utc"].max()  # type: ignore[assignment]
    recent = found.filter(pl.col("last_seen_utc") > newest - timedelta(days=days))
    wanted = recent if everything or state else recent.filter("is_alert", pl.col("state") != "acknowledged")
    if wanted.is_empty():
        console.print(f"Nothing asks for attention. `--all` shows the {recent.height:,} events of {days} days.")
        return
    title = f"Events of the {days} days to {minute(newest)} UTC"
    if everything or state:
        console.print(listed(by_gravity(wanted).head(limit), title=title, width=console.width))
    else:
        console.print(f"[bold]{title}[/]", highlight=False)
        console.print(attention_page(wanted, ranking=ranking, currency=load_settings().currency_code, limit=limit))
    hidden = max(wanted.height - limit, 0)
    more = f"`--limit {wanted.height}` shows all; " if hidden else ""
    quiet = recent.height - wanted.height
    console.print(
        f"\n{more}{quiet:,} further events ask for no attention (`--all`). `energy anomalies show ID` draws one, "
        "`acknowledge`, `false` and `expected` take it off the list.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


@anomalies.command("show")
def show_event(event: Annotated[str, typer.Argument(help="The event, by its id or its beginning.")]) -> None:
    """Show one event: cause, evidence, energy and cost with their interval, hours, and what people said."""
    from energy_assets.defs.anomaly_events import whole_id

    with _lake() as lake:
        event_id = whole_id(lake, event)
        row = lake.read(ANOMALIES_EVENTS, where={"event_id": event_id}).row(0, named=True)
        members = lake.read(ANOMALIES_EVENTS, where={"incident_id": event_id}).filter(pl.col("meter_id").is_not_null())
        ranked = lake.read(ANOMALIES_RANKING, where={"event_id": event_id})
        words = lake.read(ANOMALIES_FEEDBACK, where={"event_id": event_id}).sort("recorded_at_utc")
        flags = ANOMALIES_FLAGS.empty()
        if row["meter_id"]:
            span = Window(starts_at_utc=row["starts_at_utc"], ends_at_utc=row["ends_at_utc"])
            flags = lake.read(ANOMALIES_FLAGS, span, where={"meter_id": row["meter_id"]})
    probability = ranked["probability"].item() if ranked.height else None
    console.print(facts(row, currency=load_settings().currency_code, probability=probability))
    if members.height:
        console.print(
            listed(
                members.sort("starts_at_utc", "meter_id").head(10), title="Its first ten meters", width=console.width
            )
        )
    if flags.height:
        console.print(drawn(flags))
    for said in words.iter_rows(named=True):
        note = f": {said['note']}" if said["note"] else ""
        console.print(
            f"{minute(said['recorded_at_utc'])}  {said['author']} said {said['verdict']}{note}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


@anomalies.command("acknowledge")
def acknowledge(events: Ids, note: Note = None, author: Author = None) -> None:
    """Say that somebody takes care of it: it leaves the list."""
    _say(events, verdict="acknowledged", note=note, author=author)


@anomalies.command("false")
def dismiss(events: Ids, note: Note = None, author: Author = None) -> None:
    """Say that it is no anomaly; the same cause on that meter stays silent for four weeks."""
    _say(events, verdict="false", note=note, author=author)


@anomalies.command("expected")
def expect(events: Ids, note: Note = None, author: Author = None) -> None:
    """Say that it is real and was to be expected; the same cause on that meter stays silent for four weeks."""
    _say(events, verdict="expected", note=note, author=author)


@anomalies.command("reopen")
def reopen(events: Ids, note: Note = None, author: Author = None) -> None:
    """Take back what was said: the event has its own state again, and its like may alert."""
    _say(events, verdict="reopened", note=note, author=author)


def _say(events: list[str], *, verdict: str, note: str | None, author: str | None) -> None:
    from energy_assets.defs.anomaly_events import say

    with _lake() as lake:
        said = say(lake, events, verdict=verdict, author=author or getpass.getuser(), note=note, now=datetime.now(UTC))
    console.print(listed(said.events, title=f"Kept: {verdict}", width=console.width))
    if said.silenced:
        console.print(f"{said.silenced} other alerts of the same cause are silent now.")


@contextmanager
def _lake() -> Iterator[Lake]:
    from energy_assets.lake import Lake

    lake = Lake.from_settings(load_settings(), author="energy anomalies")
    try:
        yield lake
    finally:
        lake.close()
