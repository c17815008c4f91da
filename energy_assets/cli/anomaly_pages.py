"""How anomaly events look in a terminal: a list of them, the facts of one, and its hours as two lines of bars."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl
from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from energy_assets.attention import COLOURS, length, next_step, signed, where, words

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 72
_WIDE = 116
_COLUMNS = ("event", "where", "cause", "since (UTC)", "lasted", "excess kWh", "cost", "severity", "state")
_NARROW_COLUMNS = ("event", "where", "cause", "since (UTC)", "excess kWh")


def listed(events: pl.DataFrame, *, title: str, width: int = 120) -> Table:
    """Return events as a table, a line each, in their order; a narrow terminal shows severity by colour only."""
    is_narrow = width < _WIDE
    lines = box.SIMPLE_HEAD if is_narrow else box.HEAVY_HEAD
    padding = (0, 1, 0, 0) if is_narrow else (0, 1)
    grid = Table(title=title, title_justify="left", min_width=len(title), box=lines, padding=padding)
    names = _NARROW_COLUMNS if is_narrow else _COLUMNS
    for name in names:
        right = name in {"lasted", "excess kWh", "cost"}
        is_place = name == "where"
        grid.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=not is_place,
            min_width=22 if is_place else None,
            overflow="fold",
        )
    for row in events.iter_rows(named=True):
        since = minute(row["starts_at_utc"])
        cells = {
            "event": row["event_id"][:8],
            "where": escape(where(row)),
            "cause": words(row["cause"]),
            "since (UTC)": since[5:] if is_narrow else since,
            "lasted": length(row["ends_at_utc"] - row["starts_at_utc"]),
            "excess kWh": signed(row["excess_kwh"]),
            "cost": signed(row["cost"], digits=2),
            "severity": f"[{COLOURS[row['severity']]}]{row['severity']}[/]",
            "state": row["state"],
        }
        grid.add_row(*(cells[name] for name in names), style=COLOURS[row["severity"]] if is_narrow else None)
    return grid


def facts(row: Mapping[str, Any], *, currency: str = "", probability: float | None = None) -> Table:
    """Return all that an event says of itself, a line each, and what to do about it."""
    energy = _energy(row)
    cost = None if row["cost"] is None else f"{signed(row['cost'], digits=2)} {currency}".rstrip()
    lines = {
        "event": row["event_id"],
        "where": where(row) + (f", site {row['site_id']}" if row["meter_id"] and row["site_id"] else ""),
        "cause": f"{words(row['cause'])} ({row['confidence']:.0%} of the evidence says so)",
        "evidence": row["evidence"],
        "when": f"{minute(row['starts_at_utc'])} to {minute(row['ends_at_utc'])} UTC, {row['slots']} intervals",
        "energy": energy,
        "cost": None if cost is None else f"{cost} at the published price",
        "emissions": None
        if row["greenhouse_gas_kg"] is None
        else f"{signed(row['greenhouse_gas_kg'], digits=1)} kg CO2e",
        "severity": row["severity"],
        "state": row["state"] + ("" if row["is_alert"] else ", asks for no attention"),
        "alerted": None if row["alerted_at_utc"] is None else f"{minute(row['alerted_at_utc'])} UTC",
        "ranker": None if probability is None else f"{probability:.0%} likely a fault",
        "next": next_step(row["cause"]),
        "incident": row["incident_id"] if row["meter_id"] else None,
    }
    grid = Table(show_header=False, box=None, pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in lines.items():
        if text is not None:
            grid.add_row(name, escape(text))
    return grid


def drawn(flags: pl.DataFrame) -> RenderableType:
    """Return the flagged intervals of an event as bars: what was reported, and below it what was expected."""
    slots = flags.unique("starts_at_utc", keep="first").sort("starts_at_utc").head(_MOST_BARS)
    values = [value for name in ("actual_kwh", "expected_kwh") for value in slots[name].to_list() if value is not None]
    top = max(values, default=0.0)
    lines = [Text(f"Its first {slots.height} flagged intervals; a full bar is {top:,.4g} kWh", style="dim")]
    for name, title in (("actual_kwh", "reported"), ("expected_kwh", "expected")):
        bars = "".join(_bar(value, top=top) for value in slots[name].to_list())
        lines.append(Text(f"{title} {bars}"))
    rules = flags.group_by("rule").len().sort("len", "rule", descending=[True, False])
    counts = ", ".join(f"{words(rule)} {count}" for rule, count in rules.iter_rows())
    return Group(*lines, Text(f"rules    {counts}"))


def minute(moment: object) -> str:
    """Return a time as people write it, to the minute."""
    return moment.strftime("%Y-%m-%d %H:%M") if isinstance(moment, datetime) else "–"


def _bar(value: float | None, *, top: float) -> str:
    if value is None:
        return " "
    share = min(max(value / top, 0.0), 1.0) if top > 0 else 0.0
    return _BARS[round(share * (len(_BARS) - 1))]


def _energy(row: Mapping[str, Any]) -> str | None:
    reported = "nothing reported" if row["actual_kwh"] is None else f"{row['actual_kwh']:,.1f} kWh reported"
    if row["expected_kwh"] is None:
        return reported
    expected = f"{reported}, {row['expected_kwh']:,.1f} kWh expected"
    if row["excess_kwh"] is None:
        return expected
    low, high = row["excess_low_kwh"], row["excess_high_kwh"]
    return f"{expected}: {row['excess_kwh']:+,.1f} kWh (90 % interval {low:+,.1f} to {high:+,.1f})"
