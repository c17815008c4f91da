"""What needs attention first, as people read it in the morning: few events, each with cause, evidence, cost and state.

`energy anomalies list`, `energy detect` and the end of `energy run` show events alike. What is new comes first, then
what still goes on, then what is over and nobody has spoken about; the gravest of each on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from energy_assets.contracts.anomalies import SEVERITIES

COLOURS = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}
_STATES = {"open": "goes on", "closed": "over", "false": "false alarm"}
_NEW, _OPEN, _OVER = 0, 1, 2
_NEXT = {
    "gap": "See whether meter and gateway are online; what comes late takes its place by itself.",
    "partial": "See whether meter and gateway are online; what comes late takes its place by itself.",
    "late": "See why the readings come late.",
    "register_reset": "Find out whether the meter was exchanged or reset, and enter its last reading.",
    "register_jump": "Read the meter's display and compare it with what was sent.",
    "impossible": "Check the declared capacity, then the meter's unit and pulse value.",
    "negative": "Check the wiring and the sign of the channel; declare feed-in if there is any.",
    "unit_shift": "Check unit and pulse value of meter and source: a factor between two units fits.",
    "spike": "Compare with the meter's register; the reading stays out of training until then.",
    "zero_run": "See whether the meter was disconnected, or the building switched off on purpose.",
    "stuck": "Restart the meter or its gateway: it repeats its last value.",
    "swapped": "Check which meter is which: the two seem to have changed places.",
    "clock_shift": "Set the clock or the time zone of meter or source.",
    "several_in_interval": "Correct the declared cadence of the meter.",
    "not_convertible": "Correct the declared unit of the meter.",
    "night_left_on": "See what runs at night: ventilation, lighting, a schedule that was overridden.",
    "weekend_as_weekday": "See whether the schedule of the weekend is set, or somebody worked.",
    "constant_offset": "Look for something that runs all the time since then, or an offset of the sensor.",
    "level_change": "Ask what changed then: a tenant, a plant, a schedule. If it is to stay, say `expected`.",
}
_UNNAMED = "Compare with what happened on site; say `expected` or `false`, and its like stays silent for four weeks."
_COUNTED = {_NEW: "new", _OPEN: "still going on", _OVER: "over"}
_HEADINGS = {_NEW: "New", _OPEN: "Still going on", _OVER: "Over, and nobody has said anything"}


def by_urgency(events: pl.DataFrame, *, ranking: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return events with `part` (new, going on, over), `probability` and `others`, the most urgent first.

    Within a part the gravest comes first, then what the ranker (rows of `anomalies.ranking`) holds for likely, then
    what costs most. Of several with one cause on one meter the first stands for all; `others` are the ids of the rest.
    """
    rank = {name: place for place, name in enumerate(SEVERITIES)}
    likely = pl.DataFrame(schema={"event_id": pl.String, "probability": pl.Float64})
    if ranking is not None:
        likely = ranking.select("event_id", "probability").unique("event_id")
    newest = events["alerted_at_utc"].max() if events.height else None
    is_new = pl.col("alerted_at_utc") == pl.lit(newest, dtype=events.schema["alerted_at_utc"])
    place = pl.coalesce("meter_id", pl.format("{} ({})", "site_id", "family"))
    return (
        events.join(likely, on="event_id", how="left", validate="1:1")
        .with_columns(
            part=pl.when(is_new.fill_null(value=False)).then(_NEW)
            .when(pl.col("state") == "open").then(_OPEN).otherwise(_OVER),
            gravity=pl.col("severity").replace_strict(rank),
            dear=pl.col("cost").abs().fill_null(0.0),
            place=place,
        )
        .sort(
            "part", "gravity", "probability", "dear", "score", "event_id",
            descending=[False, True, True, True, True, False], nulls_last=True,
        )
        .group_by("part", "place", "cause", maintain_order=True)
        .agg(pl.all().first(), others=pl.col("event_id").slice(1))
        .drop("gravity", "dear", "place")
    )  # fmt: skip


def attention_page(
    events: pl.DataFrame, *, ranking: pl.DataFrame | None = None, currency: str = "", limit: int = 15
) -> RenderableType:
    """Return the alerts as blocks of three lines under headings, `limit` of them, and one line that sums them up."""
    ordered = by_urgency(events, ranking=ranking)
    parts: list[RenderableType] = [Text(_summary(events, ordered=ordered, currency=currency))]
    for part, rows in ordered.head(limit).group_by("part", maintain_order=True):
        parts += [Text(""), Text(_HEADINGS[int(str(part[0]))], style="bold underline")]
        parts.append(blocks(rows, currency=currency))
    return Group(*parts)


def blocks(events: pl.DataFrame, *, currency: str = "") -> Table:
    """Return events as blocks: where and what, when and how much, and the evidence."""
    grid = Table(show_header=False, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True, style="dim", vertical="top")
    grid.add_column(overflow="fold")
    for row in events.iter_rows(named=True):
        said = Text.from_markup(
            f"[{COLOURS[row['severity']]}]{row['severity']}[/] [bold]{escape(where(row))}[/]: {words(row['cause'])}"
        )
        for line, style in ((amounts(row, currency=currency), ""), (row["evidence"], "dim")):
            said.append(f"\n{line}", style=style)
        if row.get("others"):
            ids = ", ".join(event[:8] for event in row["others"][:6])
            said.append(f"\n{len(row['others'])} more like it there: {ids}", style="dim")
        grid.add_row(row["event_id"][:8], said)
    return grid


def amounts(row: Mapping[str, Any], *, currency: str) -> str:
    """Return when an event was, what it amounts to, how sure its cause is, and where it stands, in one line."""
    parts = [
        f"since {moment(row['starts_at_utc'])} UTC, {length(row['ends_at_utc'] - row['starts_at_utc'])}",
        _STATES.get(row["state"], row["state"]),
    ]
    if row["excess_kwh"] is not None:
        share = row["excess_kwh"] / row["expected_kwh"] if row["expected_kwh"] else None
        parts.append(signed(row["excess_kwh"]) + " kWh" + ("" if share is None else f" ({share:+.0%})"))
    elif row["expected_kwh"] is not None:
        parts.append(f"{row['expected_kwh']:,.0f} kWh expected meanwhile")
    if row["cost"] is not None:
        parts.append(f"{signed(row['cost'], digits=2)} {currency}".rstrip())
    parts.append(f"cause {min(row['confidence'], 0.99):.0%} sure")
    if row.get("probability") is not None:
        parts.append(f"{row['probability']:.0%} likely a fault, by the ranker")
    return " · ".join(parts)


def next_step(cause: str) -> str:
    """Return what a person can do about a cause, in one sentence."""
    return _NEXT.get(cause, _UNNAMED)


def where(row: Mapping[str, Any]) -> str:
    """Return the meter, or the site of an incident and how many of its meters are part of it."""
    return str(row["meter_id"] or f"{row['site_id']}, {row['meters']} meters together")


def words(name: str) -> str:
    """Return the name of a cause as words."""
    return name.replace("_", " ")


def moment(at: datetime) -> str:
    """Return a time of the last weeks, with its weekday."""
    return f"{at:%a %d %b %H:%M}"


def length(span: timedelta) -> str:
    """Return a span in hours, or from two days on in days."""
    hours = span / timedelta(hours=1)
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.3g} h"


def signed(value: float | None, *, digits: int = 0) -> str:
    """Return a number with its sign; small ones keep three digits."""
    if value is None:
        return "–"
    return f"{value:+,.{digits}f}" if digits or abs(value) >= 10 else f"{value:+.3g}"


def _summary(events: pl.DataFrame, *, ordered: pl.DataFrame, currency: str) -> str:
    sizes = dict(ordered.group_by("part").agg((1 + pl.col("others").list.len()).sum()).iter_rows())
    told = ", ".join(f"{sizes.get(part, 0)} {said}" for part, said in _COUNTED.items())
    told = f"{events.height} events ask for attention: {told}."
    if not events["cost"].count():
        return told
    cost = f"{signed(float(events['cost'].sum()), digits=2)} {currency}".rstrip()
    return f"{told} Against what was expected they cost {cost}."
