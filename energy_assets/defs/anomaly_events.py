"""Anomaly events and the lake: what a window of judged days changes in the stored ones, and what people say of them.

The events asset and the command line share these; what an event is stands in `energy_assets.anomalies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from energy_assets.anomalies.events import with_own_states
from energy_assets.anomalies.feedback import with_states
from energy_assets.anomalies.limits import DEFAULT_LIMITS, Limits
from energy_assets.anomalies.nightly import EventChanges, follow, incidents_since, spans_of
from energy_assets.anomalies.slots import widest_gap_hours
from energy_assets.anomalies.vocabulary import TELLING
from energy_assets.contracts import (
    ANOMALIES_DAYS,
    ANOMALIES_EVENTS,
    ANOMALIES_FEEDBACK,
    ANOMALIES_FLAGS,
    METERS,
    UTC_TIME,
    Window,
)
from energy_assets.contracts.anomalies import SEVERITIES
from energy_assets.errors import LakeError
from energy_assets.lake import Change, Lake
from energy_assets.sql import Query

_LEAST_PREFIX = 4


def changed_events(lake: Lake, *, window: Window, limits: Limits) -> EventChanges:
    """Return what the flags of a window of whole days change in the stored events; nothing is written."""
    starts = lake.query(_query("anomaly_incident_starts"))["starts_at_utc"].cast(UTC_TIME)
    since_utc = incidents_since(starts, window=window)
    stored = _events(
        lake.query(
            _query(
                "anomaly_stored_events",
                starts=window.starts_at_utc,
                ends=window.ends_at_utc,
                since=since_utc,
                widest=timedelta(hours=widest_gap_hours(limits)),
            )
        )
    )
    flagged = lake.read(ANOMALIES_FLAGS, window, columns=["meter_id", "rule"]).filter(~pl.col("rule").is_in(TELLING))
    flagged = flagged.select("meter_id").unique()
    spans = spans_of(stored, flagged=flagged, window=window, limits=limits)
    flags, prices = _flags_and_prices(lake, spans)
    return follow(
        flags,
        spans=spans,
        since_utc=since_utc,
        stored=stored,
        meters=lake.read(METERS),
        window=window,
        as_of_utc=max(window.ends_at_utc, judged_until(lake) or window.ends_at_utc),
        prices=prices,
        days=lake.read(ANOMALIES_DAYS, window),
        feedback=lake.read(ANOMALIES_FEEDBACK),
        limits=limits,
    )


def judged_until(lake: Lake) -> datetime | None:
    """Return the end of the newest day that was judged; None without any."""
    newest = lake.query(_query("anomaly_judged_until"))["newest"].cast(UTC_TIME).item()
    return None if newest is None else newest.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def attention(events: pl.DataFrame, *, rows: int = 20) -> pl.DataFrame:
    """Return the alerts that are not settled, the gravest and newest first, as people read them."""
    return (
        by_gravity(events.filter("is_alert", pl.col("state").is_in(["open", "closed"])))
        .head(rows)
        .select(
            "event_id",
            where=pl.coalesce("meter_id", pl.format("{}: {} meters", "site_id", "meters")),
            cause=pl.col("cause").str.replace_all("_", " "),
            since=pl.col("starts_at_utc").dt.strftime("%Y-%m-%d %H:%M"),
            severity="severity",
            state="state",
            excess_kwh=pl.col("excess_kwh").round(1),
            cost=pl.col("cost").round(2),
            evidence="evidence",
        )
    )  # fmt: skip


def by_gravity(events: pl.DataFrame) -> pl.DataFrame:
    """Return events by the day that showed them, the newest first, and the gravest of a day on top."""
    order = {name: rank for rank, name in enumerate(reversed(SEVERITIES))}
    return events.sort(
        pl.coalesce("alerted_at_utc", "first_seen_utc"), pl.col("severity").replace_strict(order), "score", "event_id",
        descending=[True, False, True, False],
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Said:
    """The events that somebody spoke about as they are now, and how many other alerts that silenced."""

    events: pl.DataFrame
    silenced: int


def say(lake: Lake, event_ids: Sequence[str], *, verdict: str, author: str, note: str | None, now: datetime) -> Said:
    """Keep what a person says about events, set their state, and silence or wake their like.

    `event_ids` may be beginnings of ids, as `energy anomalies list` shows them.

    Raises:
        LakeError: an id names no event, or several.
    """
    ids = list(dict.fromkeys(whole_id(lake, begin) for begin in event_ids))
    words = ANOMALIES_FEEDBACK.conform(
        pl.DataFrame(
            {"event_id": ids, "recorded_at_utc": now, "author": author, "verdict": verdict, "note": note},
            schema_overrides={"note": pl.String},
        )
    )
    before = _events(lake.query(_query("anomaly_related_events", event_ids=ids)))
    own = with_own_states(before, as_of_utc=judged_until(lake) or now, limits=DEFAULT_LIMITS)
    feedback = pl.concat([lake.read(ANOMALIES_FEEDBACK), words])
    after = _events(with_states(own, feedback=feedback, limits=DEFAULT_LIMITS))
    same = after.join(before, on=ANOMALIES_EVENTS.column_names, how="semi", nulls_equal=True)
    changed = after.join(same.select("event_id"), on="event_id", how="anti")
    changes = [Change(table=ANOMALIES_FEEDBACK, rows=words, kind="append")]
    if changed.height:
        changes.append(Change(table=ANOMALIES_EVENTS, rows=changed, where={"event_id": changed["event_id"].to_list()}))
    lake.commit(changes, message=f"{verdict} by {author}")
    is_named = pl.col("event_id").is_in(ids)
    quiet = after.filter(~pl.col("is_alert"), ~is_named)["event_id"]
    silenced = before.filter(pl.col("is_alert"), pl.col("event_id").is_in(quiet.implode()))
    return Said(events=after.filter(is_named), silenced=silenced.height)


def whole_id(lake: Lake, begin: str) -> str:
    """Return the id of the one event that begins so.

    Raises:
        LakeError: none does, or several.
    """
    ids = lake.query(_query("anomaly_ids", begin=begin))["event_id"].to_list() if len(begin) >= _LEAST_PREFIX else []
    if len(ids) != 1:
        fault = "is that of several events; give more of it" if ids else "names no event; `energy anomalies list` does"
        raise LakeError(f"The id {begin!r} {fault}.")
    return str(ids[0])


def _flags_and_prices(lake: Lake, spans: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    if spans.is_empty():
        return ANOMALIES_FLAGS.empty(), None
    bounds = {"first": spans["from_utc"].min(), "last": spans["until_utc"].max()}
    micros = {f"{name}_us": spans[f"{name}_utc"].dt.epoch("us").to_list() for name in ("from", "until")}
    flags = lake.query(_query("anomaly_span_flags", meter_ids=spans["meter_id"].to_list(), **micros, **bounds))
    prices = lake.query(_query("anomaly_prices", **bounds))
    return ANOMALIES_FLAGS.conform(flags), None if prices.is_empty() else prices.with_columns(
        pl.col("starts_at_utc").cast(UTC_TIME)
    )


def _events(rows: pl.DataFrame) -> pl.DataFrame:
    return ANOMALIES_EVENTS.conform(rows.select(ANOMALIES_EVENTS.column_names))


def _query(name: str, **parameters: object) -> Query:
    return Query.from_file("energy_assets.defs", name, **parameters)
