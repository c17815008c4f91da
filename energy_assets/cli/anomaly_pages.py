"""How anomaly events look in a terminal: a list of them, the facts of one, and its hours as two lines of bars."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_COLOURS = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}
_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 72


def listed(events: pl.DataFrame, *, title: str) -> Table:
    """Return events as a table, a line each, in their order."""
    grid = Table(title=title, title_justify="left", min_width=len(title))
    for name in ("event", "where", "cause", "since (UTC)", "lasted", "excess kWh", "cost", "severity", "state"):
        right = name in {"lasted", "excess kWh", "cost"}
        grid.add_column(name, justify="right" if right else "left", no_wrap=name != "where", overflow="fold")
    for row in events.iter_rows(named=True):
        grid.add_row(
            row["event_id"][:8], escape(_where(row)), _words(row["cause"]), minute(row["starts_at_utc"]),
            _length(row["ends_at_utc"] - row["starts_at_utc"]), _signed(row["excess_kwh"]),
            _signed(row["cost"], digits=2), f"[{_COLOURS[row['severity']]}]{row['severity']}[/]", row["state"],
        )  # fmt: skip
    return grid


def facts(row: Mapping[str, Any]) -> Table:
    """Return all that an event says of itself, a line each."""
    energy = _energy(row)
    lines = {
        "event": row["event_id"],
        "where": _where(row) + (f", site {row['site_id']}" if row["meter_id"] and row["site_id"] else ""),
        "cause": f"{_words(row['cause'])} ({row['confidence']:.0%} of the evidence says so)",
        "evidence": row["evidence"],
        "when": f"{minute(row['starts_at_utc'])} to {minute(row['ends_at_utc'])} UTC, {row['slots']} intervals",
        "energy": energy,
        "cost": None if row["cost"] is None else f"{_signed(row['cost'], digits=2)} at the published price",
        "emissions": None
        if row["greenhouse_gas_kg"] is None
        else f"{_signed(row['greenhouse_gas_kg'], digits=1)} kg CO2e",
        "severity": row["severity"],
        "state": row["state"] + ("" if row["is_alert"] else ", asks for no attention"),
        "alerted": None if row["alerted_at_utc"] is None else f"{minute(row['alerted_at_utc'])} UTC",
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
    counts = ", ".join(f"{_words(rule)} {count}" for rule, count in rules.iter_rows())
    return Group(*lines, Text(f"rules    {counts}"))


def minute(moment: object) -> str:
    """Return a time as people write it, to the minute."""
    return moment.strftime("%Y-%m-%d %H:%M") if isinstance(moment, datetime) else "–"


def _bar(value: float | None, *, top: float) -> str:
    if value is None:
        return " "
    share = min(max(value / top, 0.0), 1.0) if top > 0 else 0.0
    return _BARS[round(share * (len(_BARS) - 1))]


def _where(row: Mapping[str, Any]) -> str:
    return str(row["meter_id"] or f"{row['site_id']}: {row['meters']} meters")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _length(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours / 24:.1f} d" if hours >= 48 else f"{hours:.3g} h"


def _signed(value: float | None, *, digits: int = 0) -> str:
    return "–" if value is None else f"{value:+,.{digits}f}"


def _energy(row: Mapping[str, Any]) -> str | None:
    reported = "nothing reported" if row["actual_kwh"] is None else f"{row['actual_kwh']:,.1f} kWh reported"
    if row["expected_kwh"] is None:
        return reported
    expected = f"{reported}, {row['expected_kwh']:,.1f} kWh expected"
    if row["excess_kwh"] is None:
        return expected
    low, high = row["excess_low_kwh"], row["excess_high_kwh"]
    return f"{expected}: {row['excess_kwh']:+,.1f} kWh (90 % interval {low:+,.1f} to {high:+,.1f})"
